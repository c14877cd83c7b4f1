"""What validation finds: of which kind, where, by which figures, how bad, and what to do."""

from collections.abc import Iterable
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import NamedTuple

from gateway.domain.measurement import IntervalEnergy, from_epoch_us


class Kind(StrEnum):
    """What can be wrong with meter data."""

    GAP = "gap"
    DUPLICATE = "duplicate"
    """The same interval more than once, with one energy or with several."""
    OVERLAP = "overlap"
    LENGTH = "length"
    """Intervals that last longer or shorter than the meter's."""
    CLOCK_STEP = "clock-step"
    LOCAL_TIME = "local-time"
    """Local time taken for UTC, or a repeated hour taken for one, at a change between winter and summer time."""
    DAY_COUNT = "day-count"
    SPIKE = "spike"
    HIGH = "high"
    """More than the site can draw."""
    STUCK = "stuck"
    NEGATIVE = "negative"
    REGISTER = "register"
    """The intervals do not add up to the register."""
    UNIT = "unit"


class Severity(StrEnum):
    """The verdict on the intervals from the first to the last instant."""

    SUSPECT = "suspect"
    """Their quality is ``Quality.SUSPECT``: not to be paid on until somebody clears it."""
    NOTE = "note"
    """To be looked at; their quality stays as it is."""


class Figure(NamedTuple):
    """A number that a finding rests on, with its unit (empty for a count or a ratio)."""

    name: str
    value: float
    unit: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """One thing found over ``[starts_at, ends_at)``. ``text`` says in plain sentences what it is and what to do."""

    kind: Kind
    severity: Severity
    starts_at: datetime
    ends_at: datetime
    figures: tuple[Figure, ...]
    text: str

    def figure(self, name: str) -> float:
        """The value of one of its figures. Raises ``KeyError`` for a name that it does not have."""
        return {one.name: one.value for one in self.figures}[name]

    def touches(self, interval: IntervalEnergy) -> bool:
        """Whether the interval lies in it, if only in part."""
        return interval.starts_at < self.ends_at and self.starts_at < interval.ends_at


def found(kind: Kind, severity: Severity, begin_us: int, end_us: int, text: str, *figures: Figure) -> Finding:
    """A finding from microseconds since the epoch."""
    return Finding(
        kind=kind,
        severity=severity,
        starts_at=from_epoch_us(begin_us),
        ends_at=from_epoch_us(end_us),
        figures=figures,
        text=text,
    )


def counted(intervals: float) -> str:
    """A number of intervals in words."""
    return f"{intervals:g} interval{'' if intervals == 1 else 's'}"


def in_order(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """By time, then by kind."""
    kinds = list(Kind)
    return tuple(sorted(findings, key=lambda one: (one.starts_at, kinds.index(one.kind), one.ends_at, one.text)))
