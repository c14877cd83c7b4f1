"""Metering generator output: only the device behind the meter is measured."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, tzinfo

from gateway.domain.baseline.history import gather
from gateway.domain.baseline.matching import match_days
from gateway.domain.baseline.method import GeneratorOutput
from gateway.domain.baseline.result import Baseline, BaselineInterval, Insufficient
from gateway.domain.baseline.rule import Rule
from gateway.domain.measurement import IntervalEnergy


def generator_output(
    rule: Rule,
    method: GeneratorOutput,
    history: Sequence[IntervalEnergy],
    *,
    event_start: datetime,
    event_end: datetime,
    timezone: tzinfo,
    excluded: Sequence[tuple[datetime, datetime]],
    noticed_at: datetime | None,
    generation: Sequence[IntervalEnergy] | None,
) -> Baseline | Insufficient:
    """What the site would have drawn had its generator run as it typically does.

    The baseline is the site's own load plus what the generator gave more than typical, so that the reduction is the
    generator's alone. Both meters are on one grid of intervals.
    """
    if not generation:
        reason = "the rule measures a generator behind the meter: give the readings of its output"
        return Insufficient(rule=rule.rule_id, rule_version=rule.version, reason=reason)
    typical = match_days(
        rule,
        method.typical,
        generation,
        event_start=event_start,
        event_end=event_end,
        timezone=timezone,
        excluded=excluded,
        noticed_at=noticed_at,
    )
    if isinstance(typical, Insufficient):
        return replace(typical, reason=f"of the generator's output: {typical.reason}")
    load = gather(history, minimum_coverage_fraction=method.typical.minimum_coverage_fraction)
    intervals = []
    for output in typical.intervals:
        site_w = None if load is None or load.interval_s != output.duration_s else load.at(output.starts_at)
        if site_w is None or output.measured_w is None:
            at = output.starts_at.astimezone(timezone).isoformat(timespec="seconds")
            reason = f"there is no reading of both the site and its generator for the {output.duration_s:g} s from {at}"
            return Insufficient(rule=rule.rule_id, rule_version=rule.version, reason=reason, days=typical.days)
        more_w = output.measured_w - output.baseline_w
        intervals.append(
            BaselineInterval(
                starts_at=output.starts_at,
                duration_s=output.duration_s,
                unadjusted_w=site_w + more_w,
                baseline_w=site_w + more_w,
                measured_w=site_w,
                reduction_w=more_w,
            )
        )
    return replace(typical, intervals=tuple(intervals))
