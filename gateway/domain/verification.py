"""Settlement baseline against meter: signed reductions, interval by interval."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise

from gateway.domain.baseline.days import same_wall_clock
from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.result import Baseline, BaselineInterval, CandidateDay, Insufficient
from gateway.domain.baseline.rule import Rule
from gateway.domain.evidence import ADDED, fingerprint
from gateway.domain.measurement import IntervalEnergy
from hardware.device import Quality

__all__ = [
    "CandidateDay",
    "SitePart",
    "VerificationInputs",
    "VerifiedInterval",
    "VerifiedReport",
    "looked_back_at",
    "verify",
    "verify_event",
]


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedInterval:
    """``delivered_wh`` = ``baseline_wh`` - ``measured_wh``, signed and never clamped.

    Both count the covered share of the interval only: time without a reading is neither credited nor charged.
    ``quality`` is the meter's.
    """

    starts_at: datetime
    duration_s: float
    baseline_wh: float
    measured_wh: float
    delivered_wh: float
    coverage_fraction: float
    quality: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class SitePart:
    """What one site below gives to a verified report that is the sum of its sites.

    ``report_ids`` are its reports that were looked at. ``reason`` says why its part is not whole, ``""`` where it is.
    """

    party: str
    connection_id: str
    party_id: str
    weight_w: float
    report_ids: tuple[str, ...]
    baseline_wh: float
    measured_wh: float
    delivered_wh: float
    coverage_fraction: float
    reason: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class VerifiedReport:
    """What was delivered in one event, by the program's rule.

    ``adjustment_raw`` and ``adjustment_applied`` are ``None`` where the rule has none. ``insufficient`` says in plain
    words why the rule gives no baseline; there are no intervals then. ``inputs_sha256`` is over the canonical JSON of
    the ``VerificationInputs``, ``""`` where the report was not made from any. ``sites`` are the parts of a report that
    is the sum of its sites, and ``notes`` what its reader has to know beside the figures.
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
    inputs_sha256: str = ""
    sites: tuple[SitePart, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class VerificationInputs:
    """Everything that a verification is computed from, so that anybody can compute it again.

    ``history`` is the metered energy that the rule looks at, ``measured`` the settled slices of the event; ``excluded``
    are the other events of the site as ``(start, end)``.

    What only some rules ask is given to those: ``noticed_at``, when the site was told of the event; ``generation``,
    output of the generator behind the meter, positive; ``declared_w``, the level declared to the program;
    ``temperature_c`` by the start of the meter's intervals.
    """

    connection_id: str
    event_id: str
    revision: int
    event_start: datetime
    event_end: datetime
    ramp_start: datetime | None
    rule: Rule
    timezone: tzinfo
    history: tuple[IntervalEnergy, ...]
    measured: tuple[IntervalEnergy, ...]
    excluded: tuple[tuple[datetime, datetime], ...] = ()
    noticed_at: datetime | None = field(default=None, metadata=ADDED)
    generation: tuple[IntervalEnergy, ...] = field(default=(), metadata=ADDED)
    declared_w: float | None = field(default=None, metadata=ADDED)
    temperature_c: tuple[tuple[datetime, float], ...] = field(default=(), metadata=ADDED)


def verify_event(inputs: VerificationInputs, *, verified_at: datetime) -> VerifiedReport:
    """Evaluate the rule and hold the meter against it; raises as ``evaluate`` and ``verify`` do."""
    baseline = evaluate(
        inputs.rule,
        inputs.history,
        event_start=inputs.event_start,
        event_end=inputs.event_end,
        timezone=inputs.timezone,
        excluded=inputs.excluded,
        ramp_start=inputs.ramp_start,
        noticed_at=inputs.noticed_at,
        generation=inputs.generation,
        declared_w=inputs.declared_w,
        temperature_c=dict(inputs.temperature_c) or None,
    )
    return verify(
        baseline,
        inputs.measured,
        connection_id=inputs.connection_id,
        event_id=inputs.event_id,
        revision=inputs.revision,
        verified_at=verified_at,
        inputs_sha256=fingerprint(inputs),
    )


def looked_back_at(inputs: VerificationInputs, report: VerifiedReport) -> tuple[tuple[datetime, datetime], ...]:
    """The time before the event that its baseline rests on.

    The days that were taken, at the event's time of day; of rules without such days all that they look at before it.
    """
    anchor = inputs.event_start.astimezone(inputs.timezone).date()
    days = [date.fromisoformat(day.date) for day in report.days if day.selected]
    if days:
        starts = [same_wall_clock(inputs.event_start, anchor, day, inputs.timezone) for day in days]
        return tuple((start, start + (inputs.event_end - inputs.event_start)) for start in starts if start is not None)
    before = [one for one in inputs.history if one.ends_at <= (inputs.ramp_start or inputs.event_start)]
    return ((min(one.starts_at for one in before), max(one.ends_at for one in before)),) if before else ()


def verify(
    baseline: Baseline | Insufficient,
    measured: Sequence[IntervalEnergy],
    *,
    connection_id: str,
    event_id: str,
    revision: int,
    verified_at: datetime,
    inputs_sha256: str = "",
) -> VerifiedReport:
    """Hold settled slices against the baseline of the intervals that contain them.

    Slices may be shorter or longer than the baseline's intervals. Raises ``ValueError`` where slices overlap, or reach
    outside the baseline.
    """
    made = baseline if isinstance(baseline, Baseline) else None
    return VerifiedReport(
        connection_id=connection_id,
        event_id=event_id,
        revision=revision,
        rule=baseline.rule,
        rule_version=baseline.rule_version,
        verified_at=verified_at,
        intervals=_intervals(made.intervals, measured) if made else (),
        days=baseline.days,
        adjustment_kind=made.adjustment.kind if made else "none",
        adjustment_raw=made.adjustment.raw if made else None,
        adjustment_applied=made.adjustment.applied if made else None,
        insufficient=baseline.reason if isinstance(baseline, Insufficient) else None,
        inputs_sha256=inputs_sha256,
    )


def _intervals(
    baseline: Sequence[BaselineInterval], measured: Sequence[IntervalEnergy]
) -> tuple[VerifiedInterval, ...]:
    ordered = sorted(measured, key=lambda energy: energy.starts_at)
    for earlier, later in pairwise(ordered):
        if later.starts_at < earlier.ends_at:
            raise ValueError(f"the settled slices overlap at {later.starts_at.isoformat()}")
    return tuple(_interval(baseline, energy) for energy in ordered)


def _interval(baseline: Sequence[BaselineInterval], energy: IntervalEnergy) -> VerifiedInterval:
    shares = []
    for interval in baseline:
        ends_at = interval.starts_at + timedelta(seconds=interval.duration_s)
        shared_s = (min(ends_at, energy.ends_at) - max(interval.starts_at, energy.starts_at)).total_seconds()
        if shared_s > 0:
            shares.append((shared_s, interval.baseline_w))
    if abs(math.fsum(shared_s for shared_s, _ in shares) - energy.duration_s) > 1e-6:
        raise ValueError(f"the slice at {energy.starts_at.isoformat()} reaches outside the baseline")
    whole_wh = math.fsum(shared_s * power_w for shared_s, power_w in shares) / 3_600
    baseline_wh = whole_wh * energy.coverage_fraction
    return VerifiedInterval(
        starts_at=energy.starts_at,
        duration_s=energy.duration_s,
        baseline_wh=baseline_wh,
        measured_wh=energy.energy_wh,
        delivered_wh=baseline_wh - energy.energy_wh,
        coverage_fraction=energy.coverage_fraction,
        quality=energy.quality,
    )
