"""What a rule looks at: from when and until when it reads the meter, and whether it asks when the site was told."""

from datetime import datetime, timedelta, tzinfo

from gateway.domain.baseline.days import midnight
from gateway.domain.baseline.method import Anchor, Selection
from gateway.domain.baseline.rule import DayMatching, GeneratorOutput, MeterBeforeAfter, Regression, Rule, SameDay


def look_back(rule: Rule) -> timedelta:
    """How long before the start closed intervals are looked at; nothing for a rule that looks at minutes instead."""
    method = rule.method.typical if isinstance(rule.method, GeneratorOutput) else rule.method
    if isinstance(method, MeterBeforeAfter):
        return timedelta()
    days = 0
    if isinstance(method, DayMatching):
        days = method.extended_days or method.look_back_days
    elif isinstance(method, Regression):
        days = method.look_back_days
    return timedelta(days=days + 1)


def reads_until(rule: Rule, event_start: datetime, event_end: datetime, timezone: tzinfo) -> datetime:
    """The end of the last hour that a rule reads for an event, never before the event's end."""
    method = rule.method.typical if isinstance(rule.method, GeneratorOutput) else rule.method
    match method:
        case SameDay():
            return event_end + timedelta(hours=method.after_h[1])
        case DayMatching():
            adjusted = event_end + timedelta(hours=method.adjustment.after_to_h)
            if method.selection is not Selection.NEAREST:
                return adjusted
            # Like days are found by the whole of the event's own day.
            tomorrow = event_start.astimezone(timezone).date() + timedelta(days=1)
            return max(adjusted, midnight(tomorrow, timezone))
        case _:
            return event_end


def asks_notice(rule: Rule) -> bool:
    """Whether a rule counts from when the site was told of the event."""
    method = rule.method.typical if isinstance(rule.method, GeneratorOutput) else rule.method
    match method:
        case DayMatching():
            return Anchor.NOTICE in {method.count_from, method.adjustment.anchor}
        case MeterBeforeAfter():
            return method.anchor is Anchor.NOTICE
        case _:
            return False
