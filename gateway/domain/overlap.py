"""Several events at once: the one target that holds for the site.

* Of ceilings on import the lowest holds, whoever asks. Rank never lifts a limit.
* Reductions do not add up: the lowest target holds, since each counts from the same baseline. They add only where their
  programs' contracts say that they stack.
* Rank compares within one connection's program and nowhere else: there a reduction of lower rank gives way to a more
  important one while both are in force (OpenADR 2.0b, priority: overlapping events in one market context), even where
  that asks for less. One without a rank is the least important.
"""

from collections.abc import Iterable, Sequence
from datetime import datetime
from math import inf
from typing import NamedTuple

from gateway.domain.plan import PowerPlan, target_w

EventKey = tuple[str, str]
"""connection_id and event_id."""


class GoverningTarget(NamedTuple):
    """The target that holds, in watts of site power.

    ``event_keys`` are all events in force: those that make the target first, then the others, the lowest first.
    ``outranked`` give way to a more important one meanwhile.
    """

    target_w: float
    event_keys: tuple[EventKey, ...]
    outranked: tuple[EventKey, ...] = ()


class _Asked(NamedTuple):
    target_w: float
    key: EventKey
    plan: PowerPlan


def governing_target(plans: Iterable[PowerPlan], at: datetime) -> GoverningTarget | None:
    """The target for site power at an instant, ``None`` where no plan asks for anything then."""
    asked = sorted(
        (
            _Asked(target, (plan.connection_id, plan.event_id), plan)
            for plan in plans
            if (target := target_w(plan, at)) is not None
        ),
        key=lambda one: one[:2],
    )
    if not asked:
        return None
    outranked = _outranked(asked)
    in_force = [one for one in asked if one.key not in outranked]
    stacked = [one for one in in_force if one.plan.stacks]
    lowest_w, makers = in_force[0].target_w, in_force[:1]
    if len(stacked) > 1:
        together_w = _together_w(stacked)
        if together_w < lowest_w:
            lowest_w, makers = together_w, stacked
    keys = dict.fromkeys(one.key for one in (*makers, *in_force))
    return GoverningTarget(lowest_w, tuple(keys), tuple(sorted(outranked)))


def _outranked(asked: Sequence[_Asked]) -> set[EventKey]:
    """Reductions that a more important one of the same program and connection stands before."""
    best: dict[tuple[str, str], float] = {}
    ranked = [one for one in asked if not one.plan.is_limit and not one.plan.stacks]
    for one in ranked:
        place = (one.plan.connection_id, one.plan.program_id)
        best[place] = min(best.get(place, inf), _rank(one.plan))
    return {one.key for one in ranked if _rank(one.plan) > best[one.plan.connection_id, one.plan.program_id]}


def _rank(plan: PowerPlan) -> float:
    return inf if plan.rank is None else float(plan.rank)


def _together_w(stacked: Sequence[_Asked]) -> float:
    """What is left where every reduction comes on top of the others, each from its own frozen baseline."""
    reduction_w = sum(max(0.0, one.plan.baseline_w - one.target_w) for one in stacked)
    return max(0.0, min(one.plan.baseline_w for one in stacked) - reduction_w)
