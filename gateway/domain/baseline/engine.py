"""The engine: a rule, a metered history and an event in; a baseline, or why there is none, out."""

from collections.abc import Sequence
from datetime import datetime, tzinfo
from typing import assert_never

from gateway.domain.baseline.before_after import before_after
from gateway.domain.baseline.matching import match_days
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import DayMatching, MeterBeforeAfter, Rule
from gateway.domain.measurement import IntervalEnergy, epoch_us


def evaluate(
    rule: Rule,
    history: Sequence[IntervalEnergy],
    *,
    event_start: datetime,
    event_end: datetime,
    timezone: tzinfo,
    excluded: Sequence[tuple[datetime, datetime]] = (),
    ramp_start: datetime | None = None,
) -> Baseline | Insufficient:
    """Evaluate a rule for one event.

    ``history`` is metered energy in any order, the event's day included; the same question always gets the same answer.
    ``timezone`` decides what a day is. ``excluded`` are other events as ``(start, end)``, the event itself may be among
    them. ``ramp_start`` is where the response begins, by default the event's start. Raises ``ValueError`` for an event
    that does not end after its start, or a naive instant.
    """
    if epoch_us(event_end) <= epoch_us(event_start):
        raise ValueError(f"the event ends at {event_end.isoformat()}, not after its start {event_start.isoformat()}")
    match rule.method:
        case DayMatching() as method:
            return match_days(
                rule,
                method,
                history,
                event_start=event_start,
                event_end=event_end,
                timezone=timezone,
                excluded=excluded,
            )
        case MeterBeforeAfter() as method:
            return before_after(
                rule,
                method,
                history,
                event_start=event_start,
                event_end=event_end,
                ramp_start=event_start if ramp_start is None else min(ramp_start, event_start),
                timezone=timezone,
            )
    assert_never(rule.method)
