"""What the site can give, as the page lists it."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime, tzinfo

from gateway.domain.capability import Capability, CapabilityRow
from gateway.domain.load_kind import LoadKind
from gateway.http import words

NOTHING_YET = "It is not known yet what the site can give."

_KINDS = {
    LoadKind.STEADY: "works steadily",
    LoadKind.BURSTY: "works in bursts",
    LoadKind.IDLE: "is idle",
    LoadKind.UNKNOWN: "is not known long enough",
}
_OF_MANY = {
    LoadKind.STEADY: "work steadily",
    LoadKind.BURSTY: "work in bursts",
    LoadKind.IDLE: "are idle",
    LoadKind.UNKNOWN: "are not known long enough",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityLine:
    """So much of what devices want to draw can be held back over a stretch of time, in watts and in words.

    ``expected_w`` and ``lower_w`` are of caps alone, ``with_pauses_w`` of caps and pauses; ``lower_w`` and
    ``with_pauses_lower_w`` are there nine times of ten. ``reason`` says what binds.
    """

    starts_at: datetime
    ends_at: datetime
    expected_w: float
    lower_w: float
    with_pauses_w: float
    with_pauses_lower_w: float
    span: str
    expected: str
    lower: str
    with_pauses: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityLines:
    """``held`` begins now and lasts ever longer; ``hours`` are single hours; ``kinds`` counts the devices of jobs.

    ``at`` is ``None``, and the rest empty, while nothing is known.
    """

    at: datetime | None
    words: str
    kinds: Mapping[LoadKind, int]
    held: tuple[CapabilityLine, ...]
    hours: tuple[CapabilityLine, ...]


def capability_lines(found: Capability | None, zone: tzinfo) -> CapabilityLines:
    """What was found last."""
    if found is None:
        return CapabilityLines(at=None, words=NOTHING_YET, kinds=dict.fromkeys(LoadKind, 0), held=(), hours=())
    return CapabilityLines(
        at=found.at,
        words=_kinds_in_words(found.kinds),
        kinds=found.kinds,
        held=tuple(_line(row, words.span((row.ends_at - row.starts_at).total_seconds())) for row in found.held),
        hours=tuple(_line(row, _from_to(row, zone, found.at)) for row in found.hours),
    )


def _from_to(row: CapabilityRow, zone: tzinfo, now: datetime) -> str:
    """``14:02 to 15:02``: of single hours the minute is enough."""
    starts_at = row.starts_at.replace(second=0, microsecond=0)
    return f"{words.instant(starts_at, zone, now)} to {row.ends_at.astimezone(zone):%H:%M}"


def _line(row: CapabilityRow, span: str) -> CapabilityLine:
    return CapabilityLine(
        starts_at=row.starts_at,
        ends_at=row.ends_at,
        expected_w=row.expected_w,
        lower_w=row.lower_w,
        with_pauses_w=row.with_pauses_w,
        with_pauses_lower_w=row.with_pauses_lower_w,
        span=span,
        expected=words.power(row.expected_w),
        lower=words.power(row.lower_w),
        with_pauses=words.power(row.with_pauses_w),
        reason=f"{row.reason[:1].upper()}{row.reason[1:]}.",
    )


def _kinds_in_words(kinds: Mapping[LoadKind, int]) -> str:
    """How many devices work how, such as ``250 work steadily, 6 are idle``."""
    total = sum(kinds.values())
    if not total:
        return "No device has a job that can be slowed down."
    told = [f"{kinds[kind]:,} {(_KINDS if kinds[kind] == 1 else _OF_MANY)[kind]}" for kind in _KINDS if kinds[kind]]
    return f"Of {words.count(total, 'device')} with a job {', '.join(told)}."
