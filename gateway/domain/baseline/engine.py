"""The engine: a rule, a metered history and an event in; a baseline, or why there is none, out."""

from collections.abc import Mapping, Sequence
from datetime import datetime, tzinfo
from typing import assert_never

from gateway.domain.baseline.before_after import before_after
from gateway.domain.baseline.generator import generator_output
from gateway.domain.baseline.matching import match_days
from gateway.domain.baseline.method import Anchor
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import (
    DayMatching,
    DeclaredLevel,
    GeneratorOutput,
    MeterBeforeAfter,
    Regression,
    Rule,
    SameDay,
)
from gateway.domain.baseline.same_day import declared_level, same_day
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
    noticed_at: datetime | None = None,
    generation: Sequence[IntervalEnergy] | None = None,
    declared_w: float | None = None,
    temperature_c: Mapping[datetime, float] | None = None,
) -> Baseline | Insufficient:
    """Evaluate a rule for one event.

    ``history`` is metered energy in any order, the event's day included; the same question always gets the same answer.
    ``timezone`` decides what a day is. ``excluded`` are other events as ``(start, end)``, the event itself may be among
    them. ``ramp_start`` is where the response begins, by default the event's start. Some rules need more, and say so
    where it is not given: ``noticed_at``, when the site was told; ``generation``, output of the generator behind the
    meter, positive; ``declared_w``, the level declared to the programme. ``temperature_c``, by the start of the meter's
    intervals in UTC, may be given to a regression. Raises ``ValueError`` for an event that does
    not end after its start, or a naive instant.
    """
    if epoch_us(event_end) <= epoch_us(event_start):
        raise ValueError(f"the event ends at {event_end.isoformat()}, not after its start {event_start.isoformat()}")
    method = rule.method
    match method:
        case DayMatching():
            return match_days(
                rule,
                method,
                history,
                event_start=event_start,
                event_end=event_end,
                timezone=timezone,
                excluded=excluded,
                noticed_at=noticed_at,
            )
        case MeterBeforeAfter():
            return _meter_before(
                rule,
                method,
                history,
                event=(event_start, event_end),
                timezone=timezone,
                anchor=noticed_at if method.anchor is Anchor.NOTICE else ramp_start or event_start,
            )
        case SameDay():
            return same_day(rule, method, history, event_start=event_start, event_end=event_end, timezone=timezone)
        case DeclaredLevel():
            return declared_level(rule, history, event_start=event_start, event_end=event_end, declared_w=declared_w)
        case GeneratorOutput():
            return generator_output(
                rule,
                method,
                history,
                event_start=event_start,
                event_end=event_end,
                timezone=timezone,
                excluded=excluded,
                noticed_at=noticed_at,
                generation=generation,
            )
        case Regression():
            # NumPy alone takes longer to load than all other rules; those who ask for none of this need not wait.
            from gateway.domain.baseline.regression import time_of_week  # noqa: PLC0415

            return time_of_week(
                rule,
                method,
                history,
                event_start=event_start,
                event_end=event_end,
                timezone=timezone,
                excluded=excluded,
                temperature_c=temperature_c,
            )
    assert_never(method)


def _meter_before(
    rule: Rule,
    method: MeterBeforeAfter,
    history: Sequence[IntervalEnergy],
    *,
    event: tuple[datetime, datetime],
    timezone: tzinfo,
    anchor: datetime | None,
) -> Baseline | Insufficient:
    if anchor is None:
        return Insufficient(
            rule=rule.rule_id,
            rule_version=rule.version,
            reason="the rule looks before the notice: give the time at which the site was told of the event",
        )
    start, end = event
    return before_after(
        rule,
        method,
        history,
        event_start=start,
        event_end=end,
        ramp_start=min(anchor, start),
        timezone=timezone,
    )
