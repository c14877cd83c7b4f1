"""What a rule answers: a baseline with its working, or why there is none."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateDay:
    """A day that the rule looked at, and why it was taken or passed over.

    ``reason`` is one of ``selected``, ``refilled`` (an event day taken back), ``weekend``, ``holiday``, the name of
    another day type and "day", ``event day``, ``clock change``, ``incomplete``, ``low use``, ``not needed``, and ``not
    highest``, ``not middle``, ``not nearest`` and ``not last`` after the rule's selection; ``detail`` says more.
    """

    date: str
    selected: bool
    reason: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class BaselineInterval:
    """Mean power over one metered interval; ``reduction_w`` is baseline less measured, signed.

    ``measured_w`` and ``reduction_w`` are ``None`` where there is no reading.
    """

    starts_at: datetime
    duration_s: float
    unadjusted_w: float
    baseline_w: float
    measured_w: float | None
    reduction_w: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class AdjustmentWorking:
    """``raw`` is the ratio (the watts, for additive) before the clamp; both are ``None`` where the rule has none."""

    kind: str
    raw: float | None
    applied: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Baseline:
    """A baseline at the meter's own intervals, every one that overlaps the event.

    ``after_w`` is the mean power after the event where the rule reports it: beside the baseline, never part of it.
    """

    rule: str
    rule_version: str
    intervals: tuple[BaselineInterval, ...]
    adjustment: AdjustmentWorking
    days: tuple[CandidateDay, ...] = ()
    notes: tuple[str, ...] = ()
    after_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Insufficient:
    """The rule gives no baseline: ``reason`` in plain words, and the days that were looked at."""

    rule: str
    rule_version: str
    reason: str
    days: tuple[CandidateDay, ...] = ()
