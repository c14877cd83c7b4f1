"""Metered energy that somebody hands over as a file: what an import is, which of several stands, what they cover.

Raw rows stay as they came. Of intervals that overlap, the one that was imported last stands, those of the revenue meter
before those of a meter of ours; one that stands only in part does not stand at all, since nobody knows how its energy
lies in it.
"""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.domain.measurement import IntervalEnergy

LONGEST_INTERVAL_S = 86_400.0
"""No imported interval is longer, so that those that reach into a stretch of time begin at most so long before it."""


class MeterKind(StrEnum):
    """Whose meter an import is from."""

    REVENUE = "revenue"
    """The meter that bills are made from: settlement goes by it wherever it covers."""
    GATEWAY = "gateway"
    """A meter of ours, such as what its own memory held while we were away."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterImport:
    """One file of metered energy that was taken into the record.

    ``source`` is the file's name, ``sha256`` that of its bytes, ``unit`` the one that its values were written in.
    ``by`` took it in, ``at`` that instant. Its ``count`` intervals lie in ``[starts_at, ends_at)``.
    """

    import_id: str
    meter_id: str
    source: str
    sha256: str
    unit: str
    kind: MeterKind
    by: str
    at: datetime
    starts_at: datetime
    ends_at: datetime
    count: int


@dataclass(frozen=True, slots=True, kw_only=True)
class RegisterReading:
    """What the running register of a meter stood at, import positive."""

    at: datetime
    energy_wh: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ImportedEnergy:
    """Intervals of one import, in order of time."""

    source: MeterImport
    intervals: tuple[IntervalEnergy, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class StandingEnergy:
    """An interval that stands, and the import that it is from."""

    interval: IntervalEnergy
    source: MeterImport


def standing(imports: Sequence[ImportedEnergy]) -> tuple[StandingEnergy, ...]:
    """The intervals that stand, in order of time; ``imports`` are in the order in which they were recorded."""
    found: list[StandingEnergy] = []
    by_weight = sorted(imports, key=lambda one: one.source.kind is MeterKind.REVENUE)
    for one in reversed(by_weight):
        taken = [known.interval for known in found]
        free = without_overlap(one.intervals, taken)
        found = sorted(
            [*found, *(StandingEnergy(interval=interval, source=one.source) for interval in free)],
            key=lambda known: known.interval.starts_at,
        )
    return tuple(found)


def without_overlap(intervals: Iterable[IntervalEnergy], taken: Sequence[IntervalEnergy]) -> tuple[IntervalEnergy, ...]:
    """Those that share no time with ``taken``, which is in order of time and does not overlap itself."""
    return tuple(one for one in intervals if not _overlaps(taken, one))


def covers(intervals: Iterable[IntervalEnergy], start: datetime, end: datetime) -> bool:
    """Whether every instant of ``[start, end)`` lies in one of the intervals; of no time at all, yes."""
    reached = start
    for interval in sorted(intervals, key=_start):
        if interval.starts_at > reached:
            break
        reached = max(reached, interval.ends_at)
    return reached >= end


def _overlaps(ordered: Sequence[IntervalEnergy], interval: IntervalEnergy) -> bool:
    """Whether one of the intervals, which don't overlap each other, shares time with this one."""
    after = bisect_right(ordered, interval.starts_at, key=_start)
    return (after > 0 and ordered[after - 1].ends_at > interval.starts_at) or (
        after < len(ordered) and ordered[after].starts_at < interval.ends_at
    )


def _start(interval: IntervalEnergy) -> datetime:
    return interval.starts_at
