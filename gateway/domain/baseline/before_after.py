"""Meter before, meter after: flat, from the last minutes before the ramp."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

from gateway.domain.baseline.history import beside_meter, gather, grid_note
from gateway.domain.baseline.method import MeterBeforeAfter
from gateway.domain.baseline.result import AdjustmentWorking, Baseline, Insufficient
from gateway.domain.baseline.rule import Rule
from gateway.domain.measurement import IntervalEnergy


def before_after(
    rule: Rule,
    method: MeterBeforeAfter,
    history: Sequence[IntervalEnergy],
    *,
    event_start: datetime,
    event_end: datetime,
    ramp_start: datetime,
    timezone: tzinfo,
) -> Baseline | Insufficient:
    """Mean power over ``[ramp_start - length, ramp_start)``, or over what there is of it, for the whole event.

    An interval that reaches past the ramp's start holds some of the response and is left out; one that begins before
    the window counts by its share in it. ``timezone`` is for the words only.
    """
    length = timedelta(seconds=method.length_s)
    if method.align_s is not None:
        ramp_start -= timedelta(seconds=ramp_start.timestamp() % method.align_s)
    metered = {interval for interval in history if interval.coverage_fraction > 0}
    before = [interval for interval in metered if interval.ends_at <= ramp_start]
    after = [interval for interval in metered if interval.starts_at >= event_end]
    load = gather(history, minimum_coverage_fraction=0)
    before_w = _mean_within(before, ramp_start - length, ramp_start)
    if load is None or before_w is None:
        last = max((interval.ends_at for interval in before), default=None)
        found = f"the last one ends at {_words(last, timezone)}" if last else "there is none before it at all"
        return Insufficient(
            rule=rule.rule_id,
            rule_version=rule.version,
            reason=f"no reading in the {method.length_s / 60:g} minutes before {_words(ramp_start, timezone)}: {found}",
        )
    return Baseline(
        rule=rule.rule_id,
        rule_version=rule.version,
        intervals=tuple(
            beside_meter(load, start, unadjusted_w=before_w, baseline_w=before_w)
            for start in load.overlapping(event_start, event_end)
        ),
        adjustment=AdjustmentWorking(kind="none", raw=None, applied=None),
        notes=grid_note(load, event_start, event_end),
        after_w=_mean_within(after, event_end, event_end + length),
    )


def _mean_within(intervals: Sequence[IntervalEnergy], start: datetime, end: datetime) -> float | None:
    """Mean power over the covered part of ``[start, end)``, ``None`` where nothing covers it."""
    energies_wh, covered_s = [], []
    for interval in intervals:
        shared_s = (min(interval.ends_at, end) - max(interval.starts_at, start)).total_seconds()
        if shared_s > 0:
            energies_wh.append(interval.energy_wh * shared_s / interval.duration_s)
            covered_s.append(interval.coverage_fraction * shared_s)
    return math.fsum(energies_wh) * 3_600 / math.fsum(covered_s) if covered_s else None


def _words(at: datetime, zone: tzinfo) -> str:
    return at.astimezone(zone).isoformat(timespec="seconds")
