"""The live baseline of each event: found once, frozen then, and kept whatever becomes of the record."""

from collections.abc import Collection, Iterable, Sequence
from datetime import datetime, timedelta

from gateway.domain.event import ramp_starts_at
from gateway.domain.measurement import mean_power
from gateway.domain.overlap import EventKey
from gateway.domain.plan import LiveBaseline, PowerPlan, target_w
from gateway.ledger import Ledger, LedgerUnavailable
from hardware.device import PowerReading, Quality
from protocols.grid import GridEvent

WINDOW = timedelta(minutes=15)


class LiveBaselines:
    """Freezes baselines in the record. While that is away they hold all the same, and are written down later."""

    def __init__(self, ledger: Ledger, meter_id: str) -> None:
        self._ledger = ledger
        self._meter_id = meter_id
        self._frozen: dict[EventKey, LiveBaseline] = {}
        self._unwritten: dict[EventKey, LiveBaseline] = {}

    async def of(self, event: GridEvent, now: datetime, plans: Iterable[PowerPlan]) -> LiveBaseline | None:
        """The event's baseline: the first that was found, whatever revision the event is of.

        ``plans`` are those of all events. ``None`` while the site meter has never spoken.
        """
        key = (event.connection_id, event.event_id)
        if key not in self._frozen:
            found = await self.as_it_is(event, now, plans)
            if found is None:
                return None
            try:
                found = await self._ledger.freeze_baseline(found)
            except LedgerUnavailable:
                self._unwritten[key] = found
            self._frozen[key] = found
        return self._frozen[key]

    def keep(self, keys: Collection[EventKey]) -> None:
        """Forget those of other events: they stand in the record."""
        self._frozen = {key: baseline for key, baseline in self._frozen.items() if key in keys}

    async def write_down(self) -> None:
        """Freeze in the record what could not be before. Raises ``LedgerUnavailable``; what is left is kept."""
        for key, baseline in tuple(self._unwritten.items()):
            await self._ledger.freeze_baseline(baseline)
            del self._unwritten[key]

    async def as_it_is(self, event: GridEvent, now: datetime, plans: Iterable[PowerPlan]) -> LiveBaseline | None:
        """Mean site power over the last 15 minutes before the ramp (or before now), or over what there is; not frozen.

        While another event holds the site down its own frozen baseline stands in: what we curtail now must not lower
        what the next event is measured from.
        """
        to_at = min(ramp_starts_at(event), now)
        held = [plan for plan in plans if target_w(plan, to_at) is not None]
        if held:
            power_w, count, from_at = held[0].baseline_w, 0, to_at
        else:
            from_at = to_at - WINDOW
            readings = await self._readings(from_at, to_at)
            # What stands in for a silent meter is the most that may be drawn: it must not raise what we promise from.
            measured = [reading for reading in readings if reading.quality is Quality.GOOD]
            mean = mean_power(measured or readings, from_at, to_at)
            if mean is None:
                latest = self._ledger.latest_readings().get(self._meter_id)
                if latest is None:
                    return None
                mean = (latest.power_w, 1)
                from_at, to_at = latest.measured_at, now
            power_w, count = mean
        return LiveBaseline(
            connection_id=event.connection_id,
            event_id=event.event_id,
            power_w=power_w,
            from_at=from_at,
            to_at=to_at,
            readings=count,
        )

    async def _readings(self, start: datetime, end: datetime) -> Sequence[PowerReading]:
        """The site meter's readings, none where the record cannot be read: the latest one must do then."""
        try:
            return await self._ledger.readings_between(self._meter_id, start, end)
        except LedgerUnavailable:
            return ()
