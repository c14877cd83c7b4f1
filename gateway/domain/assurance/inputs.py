"""What an assessment is made from, and the one way in which it asks a rule."""

import math
from bisect import bisect_left
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta, tzinfo
from operator import attrgetter

from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.reach import look_back, reads_until
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import Rule
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.verification import VerifiedInterval

_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class RuleInForce:
    """From ``since`` on the site was settled by ``rule``; ``chosen_by_site`` where the site itself asked for it."""

    since: datetime
    rule: str
    chosen_by_site: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkKept:
    """What a job on ``gpus`` GPUs went without over the event, in seconds of its full work (``WorkAccount.lost_s``)."""

    job_id: str
    gpus: int
    lost_s: float


@dataclass(frozen=True, slots=True, kw_only=True)
class AssuranceInputs:
    """Everything that an assessment is computed from.

    ``history`` is the site meter's energy in order of time, the event's day and the hours after it included;
    ``minutes`` is the same in finer intervals, for a ``rule`` that reads those. ``settled`` is what a statement says of
    the event: where it is given its reduction is assessed, slice by slice, and not the rule's over whole intervals of
    the meter. ``excluded`` are the other events as ``(start, end)``. ``devices`` is the energy of all GPUs together on
    the meter's own intervals. ``past_rules``, ``work`` and ``job_starts`` are ``None`` where nobody has said.
    ``look_back_days`` bounds the placebo days, ``after_h`` is how long the rebound is looked for.
    """

    rule: Rule
    history: tuple[IntervalEnergy, ...]
    event_start: datetime
    event_end: datetime
    timezone: tzinfo
    excluded: tuple[tuple[datetime, datetime], ...] = ()
    ramp_start: datetime | None = None
    noticed_at: datetime | None = None
    generation: tuple[IntervalEnergy, ...] = ()
    declared_w: float | None = None
    temperature_c: tuple[tuple[datetime, float], ...] = ()
    minutes: tuple[IntervalEnergy, ...] = ()
    settled: tuple[VerifiedInterval, ...] = ()
    other_rules: tuple[Rule, ...] = ()
    devices: tuple[IntervalEnergy, ...] | None = None
    past_rules: tuple[RuleInForce, ...] | None = None
    work: tuple[WorkKept, ...] | None = None
    job_starts: tuple[datetime, ...] | None = None
    look_back_days: int = 60
    after_h: float = 4.0


def answer(
    inputs: AssuranceInputs, rule: Rule, start: datetime, end: datetime, *, as_placebo: bool = False
) -> Baseline | Insufficient:
    """A rule's answer for ``[start, end)``; ramp and notice stand to that start as they do to the event's.

    A placebo is asked as if nobody had called: the real event is one of the others then.
    """
    moved = start - inputs.event_start
    excluded = (*inputs.excluded, (inputs.event_start, inputs.event_end)) if as_placebo else inputs.excluded
    history = inputs.minutes if inputs.minutes and rule == inputs.rule else inputs.history
    return evaluate(
        rule,
        _looked_at(history, inputs, rule, start, end) if as_placebo else history,
        event_start=start,
        event_end=end,
        timezone=inputs.timezone,
        excluded=excluded,
        ramp_start=None if inputs.ramp_start is None else inputs.ramp_start + moved,
        noticed_at=None if inputs.noticed_at is None else inputs.noticed_at + moved,
        generation=inputs.generation,
        declared_w=inputs.declared_w,
        temperature_c=dict(inputs.temperature_c) or None,
    )


def _looked_at(
    history: Sequence[IntervalEnergy], inputs: AssuranceInputs, rule: Rule, start: datetime, end: datetime
) -> Sequence[IntervalEnergy]:
    """What the rule can see of a history in order of time: months that it never looks at are most of the work."""
    noticed = inputs.event_start if inputs.noticed_at is None else inputs.noticed_at
    earliest = min(start, start + (noticed - inputs.event_start)) - look_back(rule) - 2 * _DAY
    latest = reads_until(rule, start, end, inputs.timezone) + _DAY
    first, last = (bisect_left(history, at, key=attrgetter("starts_at")) for at in (earliest, latest))
    return history[first:last]


def reduction_wh(baseline: Baseline, start: datetime, end: datetime) -> float:
    """Signed reduction within ``[start, end)`` where there are readings; an interval at an edge by its share."""
    parts = []
    for interval in baseline.intervals:
        ends_at = interval.starts_at + timedelta(seconds=interval.duration_s)
        shared_s = (min(ends_at, end) - max(interval.starts_at, start)).total_seconds()
        parts.append((interval.reduction_w or 0.0) * max(0.0, shared_s) / 3_600)
    return math.fsum(parts)


def mean_between_w(history: Sequence[IntervalEnergy], start: datetime, end: datetime) -> float | None:
    """Mean power over the intervals that lie wholly in ``[start, end)``, ``None`` unless readings fill it."""
    inside = [energy for energy in history if start <= energy.starts_at and energy.ends_at <= end]
    covered_s = math.fsum(energy.duration_s * energy.coverage_fraction for energy in inside)
    if covered_s <= 0.0 or covered_s < 0.9 * (end - start).total_seconds():
        return None
    return math.fsum(energy.energy_wh for energy in inside) * 3_600 / covered_s
