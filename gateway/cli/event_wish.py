"""What is asked of an event of ours, from the options of a command."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from gateway.domain.issuing import EventWish
from protocols.grid import SignalKind, Target

_UNITS_S = {"": 1.0, "s": 1.0, "m": 60.0, "min": 60.0, "h": 3600.0}
_LENGTH = re.compile(r"(\d+(?:\.\d+)?)\s*(s|m|min|h)?")

SIGNALS: Mapping[str, tuple[SignalKind, float]] = {
    "level": (SignalKind.LEVEL, 1.0),
    "fraction": (SignalKind.FRACTION, 1.0),
    "limit-kw": (SignalKind.LIMIT, 1000.0),
    "adjust-kw": (SignalKind.ADJUST, 1000.0),
    "setpoint-kw": (SignalKind.SETPOINT, 1000.0),
    "price": (SignalKind.PRICE, 1.0),
}
"""By the option's word: the kind, and what its unit is in the kind's own."""

TARGETS = ("ven", "group", "resource", "party")


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """The options as they were typed; ``None`` (or empty) where they were not."""

    program: str | None = None
    starts: str | None = None
    duration: str | None = None
    signal: str | None = None
    values: Sequence[str] = ()
    currency: str | None = None
    targets: Sequence[str] = ()
    test: bool | None = None
    rank: int | None = None
    answer: bool | None = None
    notification: str | None = None
    ramp_up: str | None = None
    recovery: str | None = None
    start_within: str | None = None
    comment: str | None = None


def wish_of(options: Options, now: datetime) -> EventWish:
    """What the options wish for. Raises ``ValueError`` with the option that cannot be read, and how it is written."""
    if options.values and options.signal is None:
        raise ValueError(f"--value needs --signal: one of {', '.join(SIGNALS)}")
    kind, scale = (None, 1.0) if options.signal is None else _signal(options.signal)
    return EventWish(
        program_id=options.program,
        # Whole seconds, as people and other parties' statements write them.
        starts_at=None if options.starts is None else instant(options.starts, whole_second(now)),
        duration_s=None if options.duration in {None, "open"} else seconds(str(options.duration)),
        open_ended=options.duration == "open",
        kind=kind,
        values=tuple(_value(text, scale) for text in options.values),
        currency=options.currency,
        targets=tuple(_target(text) for text in options.targets) if options.targets else None,
        test=options.test,
        rank=options.rank,
        response_required=options.answer,
        notification_s=_length(options.notification),
        ramp_up_s=_length(options.ramp_up),
        recovery_s=_length(options.recovery),
        start_tolerance_s=_length(options.start_within),
        comment=options.comment,
    )


def seconds(text: str) -> float:
    """A length of time: ``90``, ``90s``, ``15m``, ``2h``. Raises ``ValueError``."""
    found = _LENGTH.fullmatch(text.strip())
    if found is None:
        raise ValueError(f"{text!r} is no length of time: write 90s, 15m or 2h")
    return float(found[1]) * _UNITS_S[found[2] or ""]


def _length(text: str | None) -> float | None:
    if text is None:
        return None
    return -seconds(text[1:]) if text.startswith("-") else seconds(text)


def whole_second(at: datetime) -> datetime:
    """The first whole second from an instant on."""
    floor = at.replace(microsecond=0)
    return floor if floor == at else floor + timedelta(seconds=1)


def instant(text: str, now: datetime) -> datetime:
    """A start: ``now``, ``+10m``, or an instant with its zone, in UTC. Raises ``ValueError``."""
    if text == "now":
        return now
    if text.startswith("+"):
        return now + timedelta(seconds=seconds(text[1:]))
    try:
        found = datetime.fromisoformat(text)
    except ValueError as cause:
        raise ValueError(f"{text!r} is no start: write now, +10m or 2026-12-01T17:00:00Z") from cause
    if found.tzinfo is None:
        raise ValueError(f"{text!r} does not say in which time zone: end it with Z or +01:00")
    return found.astimezone(UTC)


def _signal(text: str) -> tuple[SignalKind, float]:
    if text not in SIGNALS:
        raise ValueError(f"{text!r} is no signal: choose one of {', '.join(SIGNALS)}")
    return SIGNALS[text]


def _value(text: str, scale: float) -> tuple[float | None, float]:
    """``2``, or ``2 for 15m`` where it does not last for the rest of the event."""
    number, given, length = text.partition(" for ")
    try:
        value = float(number)
    except ValueError as cause:
        raise ValueError(f"{text!r} is no value: write a number, or as in '2 for 15m'") from cause
    return (seconds(length) if given else None, value * scale)


def _target(text: str) -> Target:
    kind, given, value = text.partition("=")
    if not given or not value or kind not in TARGETS:
        raise ValueError(f"{text!r} is no target: write as in ven=NAME; kinds are {', '.join(TARGETS)}")
    return Target(kind=kind, value=value)
