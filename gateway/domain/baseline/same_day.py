"""Rules that look at no other day: hours before and after the event, or a level declared beforehand."""

import math
from collections.abc import Sequence
from datetime import datetime, timedelta, tzinfo

from gateway.domain.baseline.history import LoadHistory, beside_meter, gather, grid_note
from gateway.domain.baseline.method import SameDay
from gateway.domain.baseline.result import AdjustmentWorking, Baseline, Insufficient
from gateway.domain.baseline.rule import Rule
from gateway.domain.measurement import IntervalEnergy


def same_day(
    rule: Rule,
    method: SameDay,
    history: Sequence[IntervalEnergy],
    *,
    event_start: datetime,
    event_end: datetime,
    timezone: tzinfo,
) -> Baseline | Insufficient:
    """Mean power over the hours before and after the event, flat; ``timezone`` is for the words only."""
    load = gather(history, minimum_coverage_fraction=method.minimum_coverage_fraction)
    if load is None:
        return _cannot(rule, "there are no readings at all")
    windows = [(event_start, method.before_h), (event_end, method.after_h)]
    starts = [
        start
        for anchor, (from_h, to_h) in windows
        for start in load.overlapping(anchor + timedelta(hours=from_h), anchor + timedelta(hours=to_h))
    ]
    powers_w = [load.at(start) for start in starts]
    found_w = [power_w for power_w in powers_w if power_w is not None]
    if len(found_w) < len(powers_w):
        first = starts[powers_w.index(None)].astimezone(timezone).isoformat(timespec="seconds")
        return _cannot(
            rule,
            f"{len(powers_w) - len(found_w)} of the {len(powers_w)} intervals of the hours before and after the event "
            f"are missing, the first at {first}",
        )
    return _flat(rule, load, (event_start, event_end), math.fsum(found_w) / len(found_w))


def declared_level(
    rule: Rule,
    history: Sequence[IntervalEnergy],
    *,
    event_start: datetime,
    event_end: datetime,
    declared_w: float | None,
) -> Baseline | Insufficient:
    """Flat, at the declared level in watts."""
    if declared_w is None:
        return _cannot(rule, "the rule holds the meter against a declared level: give that level in watts")
    load = gather(history, minimum_coverage_fraction=0)
    if load is None:
        return _cannot(rule, "there are no readings at all")
    return _flat(rule, load, (event_start, event_end), declared_w)


def _flat(rule: Rule, load: LoadHistory, event: tuple[datetime, datetime], power_w: float) -> Baseline:
    return Baseline(
        rule=rule.rule_id,
        rule_version=rule.version,
        intervals=tuple(
            beside_meter(load, start, unadjusted_w=power_w, baseline_w=power_w) for start in load.overlapping(*event)
        ),
        adjustment=AdjustmentWorking(kind="none", raw=None, applied=None),
        notes=grid_note(load, *event),
    )


def _cannot(rule: Rule, reason: str) -> Insufficient:
    return Insufficient(rule=rule.rule_id, rule_version=rule.version, reason=reason)
