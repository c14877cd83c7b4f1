"""The random start that an event asks for (2.0b ``startafter``, 3.x ``randomizeStart``), and the end of a cancel.

The delay is drawn from the event's own ids and the site's: the same after a restart and for every revision, and another
at the next site, so that sites do not move together.
"""

from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256

from protocols.grid import GridEvent


def delay_s(event: GridEvent, site_id: str) -> float:
    """How much later than asked the event begins here: 0 up to its tolerance, in seconds."""
    return _drawn(event, site_id, "start")


def begun_late(event: GridEvent, site_id: str) -> GridEvent:
    """The event as it is to be followed here: as long as asked, later by the delay. Its tolerance stays to be seen."""
    delay = timedelta(seconds=delay_s(event, site_id))
    if not delay:
        return event
    return replace(
        event,
        starts_at=event.starts_at + delay,
        signals=tuple(
            replace(
                signal,
                intervals=tuple(replace(item, starts_at=item.starts_at + delay) for item in signal.intervals),
            )
            for signal in event.signals
        ),
    )


def cancelled_late(event: GridEvent, site_id: str, now: datetime) -> datetime:
    """When an event that is running and cancelled now ends here: within its tolerance, as it began."""
    return now + timedelta(seconds=_drawn(event, site_id, "cancel"))


def _drawn(event: GridEvent, site_id: str, what: str) -> float:
    text = f"{site_id}\n{event.connection_id}\n{event.event_id}\n{what}"
    share = int.from_bytes(sha256(text.encode()).digest()[:8], "big") / 2**64
    # Whole seconds, which is all that a tolerance is given in.
    return float(int(share * (event.start_tolerance_s + 1.0))) if event.start_tolerance_s > 0.0 else 0.0
