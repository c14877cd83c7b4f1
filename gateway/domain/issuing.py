"""Events that we issue as a VTN: what the utility's people asked for at the terminal, and the event that it comes to.

An event is changed by a revision of its own, which replaces the one before (2.0b: modificationNumber).
"""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from enum import StrEnum
from math import isfinite

from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind, Target
from protocols.grid_report import ReportQuantity

SIGNAL_NAMES = {
    SignalKind.LEVEL: "SIMPLE",
    SignalKind.ADJUST: "LOAD_DISPATCH",
    SignalKind.SETPOINT: "LOAD_DISPATCH",
    SignalKind.FRACTION: "LOAD_DISPATCH",
    SignalKind.LIMIT: "IMPORT_LIMIT",
    SignalKind.PRICE: "ELECTRICITY_PRICE",
}
"""What a signal of ours is called on our own page; each dialect writes its own word for the kind."""


class NothingChanges(ValueError):
    """The event is just as it is wished to be."""


class IssueKind(StrEnum):
    """What may be asked of an event of ours, or of a party to us."""

    CREATE = "create"
    CHANGE = "change"
    CANCEL = "cancel"
    REREGISTER = "reregister"
    DEREGISTER = "deregister"
    ORDER = "order"
    END_ORDER = "end order"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventWish:
    """What an event is to be; ``None`` leaves it as it is, or at its usual value in a new one.

    ``values`` are lengths in seconds and values in the kind's unit (watts, fractions, levels, price a kWh), one after
    another from the start; a length of ``None`` is the rest of the event. ``open_ended`` takes the end off.
    """

    program_id: str | None = None
    starts_at: datetime | None = None
    duration_s: float | None = None
    open_ended: bool = False
    kind: SignalKind | None = None
    values: tuple[tuple[float | None, float], ...] = ()
    currency: str | None = None
    targets: tuple[Target, ...] | None = None
    test: bool | None = None
    rank: int | None = None
    response_required: bool | None = None
    notification_s: float | None = None
    ramp_up_s: float | None = None
    recovery_s: float | None = None
    start_tolerance_s: float | None = None
    comment: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PartyWish:
    """What is asked of a party, known by its id or name; or of a report that was ordered.

    ``granularity_s`` is the length of each interval, ``report_back_s`` how often it is sent (0: once, at the end).
    Without a ``resource_id`` it is the only one that the party offers, from now on without a start.
    """

    party: str = ""
    order_id: str = ""
    resource_id: str = ""
    quantities: tuple[ReportQuantity, ...] = ()
    granularity_s: float = 60.0
    report_back_s: float = 60.0
    starts_at: datetime | None = None
    ends_at: datetime | None = None
    history: bool = False
    last_report: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class IssueCommand:
    """What a person asked of an event of ours, or (``asked``; no event then) of a party. ``by`` is their name."""

    command_id: str
    at: datetime
    by: str
    kind: IssueKind
    connection_id: str
    event_id: str = ""
    wish: EventWish = EventWish()
    asked: PartyWish | None = None


def new_event(command: IssueCommand, now: datetime) -> GridEvent:
    """The event that a command to create one comes to. Raises ``ValueError`` with what is missing."""
    wish = command.wish
    if wish.program_id is None:
        raise ValueError("an event needs a program")
    if wish.kind is None or not wish.values:
        raise ValueError("an event needs a signal: say what is asked for, such as level 2")
    if wish.duration_s is None and not wish.open_ended:
        raise ValueError("an event needs a duration, or is open ended")
    starts_at = wish.starts_at or now
    blank = GridEvent(
        event_id=command.event_id,
        connection_id=command.connection_id,
        program_id=wish.program_id,
        revision=0,
        status=EventStatus.FAR,
        created_at=now,
        starts_at=starts_at,
        duration_s=wish.duration_s,
        signals=(),
    )
    return _checked(_with(blank, wish), now)


def changed_event(event: GridEvent, wish: EventWish, now: datetime) -> GridEvent:
    """The next revision of an event.

    Raises ``ValueError`` where that cannot be, ``NothingChanges`` (which is one) where it is so already.
    """
    if event.status is EventStatus.CANCELLED:
        raise ValueError(f"event {event.event_id} is cancelled: create another")
    if event.ends_at is not None and event.ends_at <= now:
        raise ValueError(f"event {event.event_id} is over since {event.ends_at:%Y-%m-%d %H:%M:%SZ}")
    changed = _with(event, wish)
    if changed == event:
        raise NothingChanges(f"event {event.event_id} is so already")
    if changed.starts_at != event.starts_at and event.starts_at <= now:
        raise ValueError(f"event {event.event_id} has begun: its start stays")
    return _checked(replace(changed, revision=event.revision + 1, created_at=now), now)


def _with(event: GridEvent, wish: EventWish) -> GridEvent:
    if wish.duration_s is not None and wish.duration_s <= 0:
        raise ValueError("a duration is over 0; an event without an end is open ended")
    starts_at = wish.starts_at or event.starts_at
    duration_s = None if wish.open_ended else event.duration_s if wish.duration_s is None else wish.duration_s
    moved = replace(
        event,
        program_id=wish.program_id or event.program_id,
        starts_at=starts_at,
        duration_s=duration_s,
        targets=event.targets if wish.targets is None else wish.targets,
        test=event.test if wish.test is None else wish.test,
        rank=event.rank if wish.rank is None else wish.rank,
        response_required=event.response_required if wish.response_required is None else wish.response_required,
        notification_s=event.notification_s if wish.notification_s is None else wish.notification_s,
        ramp_up_s=event.ramp_up_s if wish.ramp_up_s is None else wish.ramp_up_s,
        recovery_s=event.recovery_s if wish.recovery_s is None else wish.recovery_s,
        start_tolerance_s=event.start_tolerance_s if wish.start_tolerance_s is None else wish.start_tolerance_s,
        comment=event.comment if wish.comment is None else wish.comment,
    )
    if wish.values:
        kind = wish.kind or event.signals[0].kind
        return replace(moved, signals=(_signal(kind, wish, starts_at, duration_s),))
    by = starts_at - event.starts_at
    return replace(moved, signals=tuple(_moved(signal, by, moved.ends_at) for signal in event.signals))


def _signal(kind: SignalKind, wish: EventWish, starts_at: datetime, duration_s: float | None) -> Signal:
    intervals: list[EventInterval] = []
    at_s = 0.0
    for index, (length_s, value) in enumerate(wish.values):
        if length_s is None and index < len(wish.values) - 1:
            raise ValueError("only the last interval may have no length of its own")
        left_s = None if duration_s is None else duration_s - at_s
        lasts_s = left_s if length_s is None else length_s
        if lasts_s is not None and (lasts_s <= 0 or (left_s is not None and lasts_s > left_s + 1e-6)):
            raise ValueError("the intervals are longer than the event")
        intervals.append(
            EventInterval(
                starts_at=starts_at + timedelta(seconds=at_s), duration_s=lasts_s, value=_in_range(kind, value)
            )
        )
        at_s += lasts_s or 0.0
    currency = wish.currency if kind is SignalKind.PRICE else None
    return Signal(name=SIGNAL_NAMES[kind], kind=kind, intervals=tuple(intervals), currency=currency)


def _in_range(kind: SignalKind, value: float) -> float:
    if not isfinite(value):
        raise ValueError(f"{value} is no value for a signal")
    if kind is SignalKind.LEVEL and value not in {0.0, 1.0, 2.0, 3.0}:
        raise ValueError(f"a level is 0, 1, 2 or 3, not {value:g}")
    if kind is SignalKind.FRACTION and not -1.0 <= value <= 1.0:
        raise ValueError(f"a fraction is from -1 to 1, not {value:g}")
    if kind is SignalKind.LIMIT and value < 0:
        raise ValueError(f"a limit on import is not negative: {value:g} W")
    return value


def _moved(signal: Signal, by: timedelta, ends_at: datetime | None) -> Signal:
    """The signal, begun earlier or later, and cut or drawn out to the end."""
    moved = [replace(item, starts_at=item.starts_at + by) for item in signal.intervals]
    kept = [item for item in moved if ends_at is None or item.starts_at < ends_at]
    if kept:
        last = kept[-1]
        kept[-1] = replace(last, duration_s=None if ends_at is None else (ends_at - last.starts_at).total_seconds())
    return replace(signal, intervals=tuple(kept))


def _checked(event: GridEvent, now: datetime) -> GridEvent:
    if event.ends_at is not None and event.ends_at <= now:
        raise ValueError(f"the event would end at {event.ends_at:%Y-%m-%d %H:%M:%SZ}, which is past")
    return event
