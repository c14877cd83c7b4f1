"""When a report order is reported, and in which intervals: everything is counted from the order's own start.

An interval ends at a whole number of granularities after the start, a report at the last such instant in each
report-back. Only the first interval (where an order goes on from where another stopped) and the last (at the order's
end) may be shorter, so that there is neither a gap nor anything twice.
"""

from collections.abc import Iterator
from datetime import datetime, timedelta

from gateway.domain.measurement import Slice
from protocols.grid_report import ReportOrder

MOST_INTERVALS = 300
"""In one report; after an outage the backlog goes out in several."""

SHORTEST = timedelta(seconds=1)
"""Shorter than that no interval is: what would be is part of the next, or is left out at the end."""


def granularity(order: ReportOrder) -> timedelta:
    """The length of an interval; one that was ordered "as measured" is a second."""
    return max(timedelta(seconds=order.granularity_s), SHORTEST)


def report_end(order: ReportOrder, start: datetime) -> datetime | None:
    """Where the report that begins at ``start`` ends, ``None`` where nothing of the order is left."""
    if order.ends_at is not None and order.ends_at - start < SHORTEST:
        return None
    step = granularity(order)
    first = _grid_after(order, start, step)
    if order.report_back_s > 0.0:
        end = max(first, _report_back_after(order, start, step))
    else:
        end = first if order.ends_at is None else order.ends_at
    end = min(end, first + (MOST_INTERVALS - 1) * step)
    if order.ends_at is not None and order.ends_at - end < SHORTEST:
        return order.ends_at
    return end


def forecast_start(order: ReportOrder, cursor: datetime | None, now: datetime) -> datetime | None:
    """From when on the next forecast is, ``None`` where nothing of the order is left.

    ``cursor`` is before when all were made. One that was missed is not made up for: only the latest counts.
    """
    at = order.starts_at if cursor is None else cursor
    step = timedelta(seconds=order.report_back_s) if order.report_back_s > 0.0 else granularity(order)
    at = max(at, order.starts_at + max(0, (now - order.starts_at) // step) * step)
    made = cursor is not None and order.report_back_s <= 0.0
    over = order.ends_at is not None and max(at, now) >= order.ends_at
    return None if made or over else at


def forecast_end(order: ReportOrder, start: datetime) -> datetime:
    """Up to when the forecast that begins at ``start`` goes."""
    made_at = start if order.report_back_s > 0.0 else order.starts_at
    return min(made_at + timedelta(seconds=order.ahead_s), start + MOST_INTERVALS * granularity(order))


def intervals(order: ReportOrder, start: datetime, end: datetime) -> tuple[Slice, ...]:
    """The intervals of a report over ``[start, end)``."""
    return tuple(_cut(order, start, end))


def _cut(order: ReportOrder, start: datetime, end: datetime) -> Iterator[Slice]:
    step = granularity(order)
    while start < end:
        stop = min(_grid_after(order, start, step), end)
        if end - stop < SHORTEST:
            stop = end
        yield Slice(starts_at=start, duration_s=(stop - start).total_seconds())
        start = stop


def _grid_after(order: ReportOrder, at: datetime, step: timedelta) -> datetime:
    """The first end of an interval that is at least the shortest interval away."""
    return order.starts_at + ((at - order.starts_at + SHORTEST - timedelta.resolution) // step + 1) * step


def _report_back_after(order: ReportOrder, at: datetime, step: timedelta) -> datetime:
    """The last end of an interval within the report-back that ``at`` is in, or in the next where it is that end."""
    back = timedelta(seconds=order.report_back_s)
    number = (at - order.starts_at) // back + 1
    while True:  # at most as often as report-backs fit into a granularity
        end = order.starts_at + (number * back // step) * step
        if end > at:
            return end
        number += 1


def report_start(order: ReportOrder, at: datetime) -> datetime:
    """Where the report that ``at`` falls in begins, or one a little before it; the order's start where it is before."""
    step = granularity(order)
    if at <= order.starts_at or (order.report_back_s <= 0.0 and order.ends_at is not None):
        return order.starts_at
    back = timedelta(seconds=order.report_back_s) if order.report_back_s > 0.0 else step
    number = (at - order.starts_at) // back
    return order.starts_at + (number * back // step) * step
