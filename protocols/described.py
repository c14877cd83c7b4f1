"""What every dialect's ``describe`` says alike: prices flattened, and a message as plain objects."""

from dataclasses import fields, is_dataclass
from datetime import timedelta
from decimal import Decimal
from math import isfinite
from typing import Any

from protocols.grid import GridEvent, SignalKind


def prices_of(event: GridEvent) -> list[dict[str, object]]:
    """The event's prices, one element an interval of a price signal."""
    return [
        {
            "event_id": event.event_id,
            "starts_at": interval.starts_at,
            "duration_s": interval.duration_s,
            "price_per_kwh": interval.value,
            "currency": signal.currency,
        }
        for signal in event.signals
        if signal.kind is SignalKind.PRICE
        for interval in signal.intervals
    ]


def plain(value: object) -> Any:
    """A message as plain objects: durations in seconds, numbers that are not finite as text.

    Fields that are not to be shown (``repr=False``: secrets) are left out.
    """
    if is_dataclass(value):
        return {field.name: plain(getattr(value, field.name)) for field in fields(value) if field.repr}
    if isinstance(value, tuple):
        return [plain(item) for item in value]
    if isinstance(value, timedelta):
        return value.total_seconds()
    if isinstance(value, Decimal) or (isinstance(value, float) and not isfinite(value)):
        return str(value)
    return value
