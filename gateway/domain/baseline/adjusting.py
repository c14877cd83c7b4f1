"""The adjustment: where its windows lie, and how far the day's own load in them moves the baseline."""

import math
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta, tzinfo

from gateway.domain.baseline.history import LoadHistory
from gateway.domain.baseline.method import Adjustment, AdjustmentKind, Anchor
from gateway.domain.baseline.question import Question
from gateway.domain.baseline.result import AdjustmentWorking


def windows(
    rule: Adjustment,
    load: LoadHistory,
    event: tuple[datetime, datetime],
    *,
    noticed_at: datetime | None,
    excluded: Sequence[tuple[datetime, datetime]],
) -> tuple[datetime, ...] | str:
    """The starts of the meter's intervals in the adjustment windows, or in words what is missing for them."""
    start, end = event
    if rule.kind is AdjustmentKind.NONE:
        return ()
    anchor = noticed_at if rule.anchor is Anchor.NOTICE else start
    if anchor is None:
        return "the adjustment window ends at the notice: give the time at which the site was told of the event"
    opens, closes = anchor + timedelta(hours=rule.from_h), anchor + timedelta(hours=rule.to_h)
    before: tuple[datetime, ...] | None = load.overlapping(opens, closes)
    if rule.search_back_h:
        before = _latest_clean(rule, load, (opens, closes), excluded)
    if before is None:
        hours = rule.to_h - rule.from_h
        return f"no {hours:g} hours without an event or a gap in the {rule.search_back_h:g} hours before the event"
    after = load.overlapping(end + timedelta(hours=rule.after_from_h), end + timedelta(hours=rule.after_to_h))
    return (*before, *after)


def _latest_clean(
    rule: Adjustment,
    load: LoadHistory,
    window: tuple[datetime, datetime],
    excluded: Sequence[tuple[datetime, datetime]],
) -> tuple[datetime, ...] | None:
    opens, closes = window
    step = timedelta(seconds=load.interval_s)
    for back in range(int(rule.search_back_h * 3_600 / load.interval_s) + 1):
        begins, ends = opens - back * step, closes - back * step
        starts = load.overlapping(begins, ends)
        complete = all(load.at(at) is not None for at in starts)
        if complete and not any(start < ends and end > begins for start, end in excluded):
            return starts
    return None


def adjust(question: Question, mean_w: Mapping[datetime, float], zone: tzinfo) -> AdjustmentWorking | str:
    """The adjustment's working, or in words why there is none where the rule wants one."""
    rule = question.method.adjustment
    if rule.kind is AdjustmentKind.NONE:
        return AdjustmentWorking(kind=rule.kind.value, raw=None, applied=None)
    found = [question.load.at(at) for at in question.adjustment]
    actual = [power_w for power_w in found if power_w is not None]
    if len(actual) < len(found):
        first = question.adjustment[found.index(None)].astimezone(zone)
        return (
            f"{len(found) - len(actual)} of the {len(found)} intervals of the adjustment window are missing on the "
            f"event's own day, the first at {first.isoformat(timespec='seconds')}"
        )
    actual_w = math.fsum(actual) / len(actual)
    expected_w = math.fsum(mean_w[at] for at in question.adjustment) / len(actual)
    if rule.kind is AdjustmentKind.MULTIPLICATIVE and expected_w <= 0:
        return f"the selected days draw {expected_w:g} W over the adjustment window: no ratio can be taken to that"
    raw = actual_w / expected_w if rule.kind is AdjustmentKind.MULTIPLICATIVE else actual_w - expected_w
    low, high = rule.clamp or (-math.inf, math.inf)
    return AdjustmentWorking(kind=rule.kind.value, raw=raw, applied=min(max(raw, low), high))


def moved(power_w: float, adjustment: AdjustmentWorking) -> float:
    """The baseline's power after the adjustment."""
    if adjustment.applied is None:
        return power_w
    if adjustment.kind == AdjustmentKind.ADDITIVE:
        return power_w + adjustment.applied
    return power_w * adjustment.applied
