"""What the site expects to draw in intervals to come: what it draws as a rule now, and less where a plan asks for less.

No weather, no calendar and no job that is still to come is in it: an estimate, and it is reported as one.
"""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

from gateway.domain.event import EventRecord, acts_at, dispatch_ends_at
from gateway.domain.measurement import Slice
from gateway.domain.plan import PowerPlan, target_w

_PARTS = 60
"""A plan's target may slope, so that an interval's mean is taken over so many equal parts, each at its middle."""

Planned = tuple[EventRecord, PowerPlan]


def usual_w(drawn_w: float | None, planned: Collection[Planned], now: datetime) -> float | None:
    """What the site draws when nothing is asked of it: as it draws now, or by the baseline of a plan that holds now."""
    held = [plan.baseline_w for record, plan in planned if _target_w(record, plan, now) is not None]
    return max(held) if held else drawn_w


def expected_w(pieces: Sequence[Slice], usual: float, planned: Collection[Planned]) -> tuple[float, ...]:
    """Mean power in watts over each interval, of several plans by the lowest."""
    return tuple(_mean_w(piece, usual, planned) for piece in pieces)


def _mean_w(piece: Slice, usual: float, planned: Collection[Planned]) -> float:
    step = timedelta(seconds=piece.duration_s) / _PARTS
    instants = (piece.starts_at + step * (part + 0.5) for part in range(_PARTS))
    return sum(_at(at, usual, planned) for at in instants) / _PARTS


def _at(at: datetime, usual: float, planned: Collection[Planned]) -> float:
    lowest = usual
    for record, plan in planned:
        asked_w = _target_w(record, plan, at)
        if asked_w is not None:
            # A plan that cannot reach its target is expected to come as low as it can.
            lowest = min(lowest, max(asked_w, plan.expected_w))
    return lowest


def _target_w(record: EventRecord, plan: PowerPlan, at: datetime) -> float | None:
    ends_at = dispatch_ends_at(record)
    if plan.revision != record.event.revision or not acts_at(record, at) or (ends_at is not None and at >= ends_at):
        return None
    return target_w(plan, at)
