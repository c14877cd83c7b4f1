"""Settlement baseline against meter: signed reductions, interval by interval."""

from dataclasses import dataclass
from datetime import datetime


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedInterval:
    """``delivered_wh`` = ``baseline_wh`` - ``measured_wh``, signed and never clamped."""

    starts_at: datetime
    duration_s: float
    baseline_wh: float
    measured_wh: float
    delivered_wh: float
    coverage_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class CandidateDay:
    """A day that the rule looked at, and why it was taken or passed over."""

    date: str
    selected: bool
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReport:
    """What was delivered in one event, by the program's rule.

    ``adjustment_raw`` and ``adjustment_applied`` are ``None`` where the rule has none. ``insufficient`` says in plain
    words why the rule gives no baseline; there are no intervals then.
    """

    connection_id: str
    event_id: str
    revision: int
    rule: str
    rule_version: str
    verified_at: datetime
    intervals: tuple[VerifiedInterval, ...]
    days: tuple[CandidateDay, ...]
    adjustment_kind: str
    adjustment_raw: float | None
    adjustment_applied: float | None
    insufficient: str | None = None
