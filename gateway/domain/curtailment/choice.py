"""What was decided for each job in each interval, and what that is worth: the same sums whoever decided."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np

from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.tree import Flags, Floats

NOT_WORTH_A_PAUSE = 0.001
"""To pause any one job for its shortest costs less than to miss this fraction of the target for an interval."""

MISSING_PRICE = 10.0
"""What is missing costs so many times what the dearest watt of a job does, at the least."""

NODE_PRICE = 10.0
"""A watt over a node's limit costs so many times what one over the target does."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Choice:
    """One row a job, one column an interval: the power of all its devices together, and whether it is paused."""

    power_w: Floats
    paused: Flags


class Pause(NamedTuple):
    """Job ``job`` is paused from edge ``first`` to edge ``last``; ``goes_on`` where it was so before the first edge."""

    job: int
    first: int
    last: int
    goes_on: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class Worth:
    """What a choice gives. One row a job and one column an interval, or one element an interval.

    ``throughput`` is a device's, without what pauses cost beyond their time, which is ``pause_cost_s`` for each job in
    seconds of full throughput. ``missing_w`` is what the site draws over its target, ``over_ramp_w`` what it rises too
    fast, ``over_node_w`` (a row a node) what a node draws over its budget; ``lacking_ws`` is the energy of them all,
    a node's counted ``NODE_PRICE`` times. ``objective`` is the weighted throughput less the price of all that is
    missing, as a fraction of all the jobs' worth; ``weighted_throughput`` is it alone.
    """

    throughput: Floats
    pause_cost_s: Floats
    site_w: Floats
    missing_w: Floats
    over_ramp_w: Floats
    over_node_w: Floats
    lacking_ws: float
    weighted_throughput: float
    objective: float


def pauses(prepared: Prepared, paused: Flags) -> list[Pause]:
    """The pauses in a table of paused intervals, by job and time; one that ends at once is among them."""
    found: list[Pause] = []
    for j, windows in zip(prepared.pausable.tolist(), prepared.windows, strict=True):
        edges = np.flatnonzero(np.diff(paused[j].astype(np.int8), prepend=0, append=0))
        spans = [(int(first), int(last)) for first, last in edges.reshape(-1, 2)]
        if windows.goes_on is not None and (not spans or spans[0][0] > 0):
            found.append(Pause(j, 0, 0, True))
        found.extend(Pause(j, first, last, first == 0 and windows.goes_on is not None) for first, last in spans)
    return found


def throughput(prepared: Prepared, choice: Choice) -> Floats:
    """A device's throughput from its power, on the envelope; a paused job's is nothing."""
    found = np.zeros_like(choice.power_w)
    for j, curve in enumerate(prepared.envelopes):
        found[j] = np.interp(choice.power_w[j] / prepared.devices[j], curve.power_w, curve.throughput)
    return np.where(choice.paused, 0.0, found)


def missing_price(prepared: Prepared) -> float:
    """What a missing watt costs for a second, in seconds of weighted throughput."""
    steepest = prepared.worth[prepared.segment_job] * prepared.segment_gain / prepared.segment_w
    price = MISSING_PRICE * float(steepest.max(initial=1e-6))
    asked_w = float(prepared.target_w[prepared.asked].max(initial=0.0))
    small_ws = max(1.0, NOT_WORTH_A_PAUSE * asked_w) * float(prepared.duration_s.min())
    for j in prepared.pausable:
        pause = prepared.jobs[j].pause
        if pause is not None:
            length_s = max(pause.min_rest_s, float(prepared.duration_s.max()))
            cost_s = pause.checkpoint_cost_s + pause.resume_cost_s
            price = max(price, float(prepared.worth[j] * prepared.top[j]) * (length_s + cost_s) / small_ws)
    return price


def pause_cost_s(prepared: Prepared, pause: Pause) -> float:
    """What a pause costs beyond its time, in seconds of a device's full throughput; one that goes on has begun."""
    terms = prepared.jobs[pause.job].pause
    if terms is None:
        return 0.0
    lost_s = terms.resume_cost_s if pause.goes_on else terms.resume_cost_s + terms.checkpoint_cost_s
    return lost_s * float(prepared.top[pause.job])


def ramp_room_w(prepared: Prepared) -> Floats:
    """How far the site may rise into each interval; infinite where nobody said."""
    rate = prepared.problem.ramp_up_w_per_s
    if rate is None:
        return np.full(prepared.intervals, np.inf)
    before_s = np.concatenate([[0.0], prepared.duration_s[:-1]])
    return rate * (before_s + prepared.duration_s) / 2.0


def worth(prepared: Prepared, choice: Choice) -> Worth:
    """What a choice is worth."""
    given = throughput(prepared, choice)
    cost_s = np.zeros(len(prepared.jobs))
    for pause in pauses(prepared, choice.paused):
        cost_s[pause.job] += pause_cost_s(prepared, pause)
    site_w = prepared.problem.fixed_w + choice.power_w.sum(axis=0)
    first_w = np.inf if prepared.problem.power_before_w is None else prepared.problem.power_before_w
    over_ramp_w = np.maximum(0.0, site_w - np.concatenate([[first_w], site_w[:-1]]) - ramp_room_w(prepared))
    missing_w = np.maximum(0.0, site_w - prepared.target_w)
    budget_w = np.array([node.budget_w for node in prepared.problem.nodes], dtype=np.float64)
    over_node_w = np.maximum(0.0, prepared.node_share @ choice.power_w - budget_w[:, np.newaxis])
    gained = float(prepared.worth @ (given @ prepared.duration_s - cost_s))
    lacking_ws = float((missing_w + over_ramp_w + NODE_PRICE * over_node_w.sum(axis=0)) @ prepared.duration_s)
    whole = prepared.total_worth or 1.0
    return Worth(
        throughput=given,
        pause_cost_s=cost_s,
        site_w=site_w,
        missing_w=missing_w,
        over_ramp_w=over_ramp_w,
        over_node_w=over_node_w,
        lacking_ws=lacking_ws,
        weighted_throughput=gained / prepared.total_worth if prepared.total_worth > 0.0 else 1.0,
        objective=(gained - missing_price(prepared) * lacking_ws) / whole,
    )


def gap_of(found: Worth, bound: float) -> float:
    """How far a bound lies above what was found, as a fraction of its weighted throughput.

    Where something is missing, its price is in the objective and not in that throughput: it flatters no gap.
    """
    return max(0.0, bound - found.objective) / max(abs(found.weighted_throughput), 1e-9)
