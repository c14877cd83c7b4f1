"""What no schedule can beat, and which pauses would pay, from prices on power and on promises.

Lagrange: whatever prices are set on the shared limits, the best that each job could do alone, paying them, adds up to
at least what all can do together. So a bound needs no trust in the solver that the prices came from: with bad prices
it is loose, and never wrong.
"""

from dataclasses import dataclass

import numpy as np

from gateway.domain.curtailment.choice import NODE_PRICE, Pause, missing_price, ramp_room_w
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.tree import Floats, Indices

_TIE = 1e-5
"""Of jobs that are worth the same the first keeps its throughput: its worth counts for so much more than the last's."""


def tie_worth(prepared: Prepared) -> Floats:
    """Each job's worth with the order in which equals are curtailed; never under its worth."""
    count = max(1, len(prepared.jobs))
    worth: Floats = prepared.worth * (1.0 + _TIE * (1.0 - np.arange(len(prepared.jobs)) / count))
    return worth


@dataclass(frozen=True, slots=True, kw_only=True)
class Prices:
    """What a unit more of each limit is worth, in seconds of weighted throughput.

    For a watt of the target, of the ramp, of a node (a row each) in an interval, for a second that a job needs, and for
    a watt that begins or ends a pause at an edge.
    """

    target: Floats
    ramp: Floats
    node: Floats
    need: Floats
    begin: Floats
    end: Floats


def free(prices: Prices) -> Prices:
    """Everything for nothing: the bound at these is that nobody gives more than all it can."""
    return Prices(
        target=np.zeros_like(prices.target),
        ramp=np.zeros_like(prices.ramp),
        node=np.zeros_like(prices.node),
        need=np.zeros_like(prices.need),
        begin=np.zeros_like(prices.begin),
        end=np.zeros_like(prices.end),
    )


def between(one: Prices, other: Prices, part: float) -> Prices:
    """Prices that lie ``part`` of the way from one to the other."""
    return Prices(
        target=one.target + part * (other.target - one.target),
        ramp=one.ramp + part * (other.ramp - one.ramp),
        node=one.node + part * (other.node - one.node),
        need=one.need + part * (other.need - one.need),
        begin=one.begin + part * (other.begin - one.begin),
        end=one.end + part * (other.end - one.end),
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class Priced:
    """``bound`` is a fraction of all the jobs' worth; ``pauses`` are each job's best at these prices that pay."""

    bound: float
    pauses: tuple[Pause, ...]


def price_out(prepared: Prepared, prices: Prices, worth: Floats | None = None) -> Priced:
    """The bound at these prices, and the pauses in it; ``worth`` stands in for the jobs' own where it is given."""
    worth = tie_worth(prepared) if worth is None else worth
    seconds, problem = prepared.duration_s, prepared.problem
    # A price outside of these would let a limit be passed for nothing, or for a gain without end.
    highest = missing_price(prepared) * seconds
    asked_w = np.where(prepared.asked, prepared.target_w, 0.0)
    target = np.where(prepared.asked, np.clip(prices.target, 0.0, highest), 0.0)
    room_w = ramp_room_w(prepared)
    room_w[0] += np.inf if problem.power_before_w is None else problem.power_before_w
    ramp = np.where(np.isfinite(room_w), np.clip(prices.ramp, 0.0, highest), 0.0)
    room_w = np.where(np.isfinite(room_w), room_w, 0.0)
    node = np.clip(prices.node, 0.0, NODE_PRICE * highest)
    need = np.maximum(0.0, prices.need)
    site = target + ramp - np.append(ramp[1:], 0.0)
    budget_w = np.array([one.budget_w for one in problem.nodes], dtype=np.float64)
    total = float(target @ asked_w + ramp @ room_w) - problem.fixed_w * float(site.sum())
    total += float((node * budget_w[:, np.newaxis]).sum())
    power = site + prepared.node_share.T @ node
    value = worth[:, np.newaxis] * seconds
    cost = worth.copy()
    for price, asked in zip(need, prepared.needs, strict=True):
        value[asked.job] += price * asked.seconds
        cost[asked.job] += price
        total -= float(price) * asked.value_s
    owner = prepared.segment_job
    above = np.maximum(
        0.0, prepared.segment_gain[:, np.newaxis] * value[owner] - prepared.segment_w[:, np.newaxis] * power[owner]
    )
    runs = prepared.floor[:, np.newaxis] * value - prepared.floor_w[:, np.newaxis] * power
    np.add.at(runs, owner, above)
    total += float(runs.sum())
    better = -prepared.idle_w[:, np.newaxis] * power - runs
    begin, end = np.maximum(0.0, prices.begin), np.maximum(0.0, prices.end)
    due_w = np.maximum(prepared.stagger_w, prepared.due_w())
    total += prepared.stagger_w * float(begin.sum()) + float(due_w @ end)
    whole = prepared.total_worth or 1.0
    if not len(prepared.pausable):
        return Priced(bound=total / whole, pauses=())
    gained, pauses = _best_pauses(prepared, better, cost, begin, end)
    return Priced(bound=(total + gained) / whole, pauses=pauses)


def _best_pauses(
    prepared: Prepared, better: Floats, cost: Floats, begin: Floats, end: Floats
) -> tuple[float, tuple[Pause, ...]]:
    """For each job the pauses that gain most together, all jobs at once, edge by edge.

    ``better`` is what an interval of pause gains over running. A job is free at an edge where it runs and may be
    paused; ``best[p, b]`` is the most up to the end of a pause at edge ``b``, that pause included.
    """
    chosen, windows = prepared.pausable, prepared.windows
    count, edges = len(chosen), prepared.intervals + 1
    saved_w = (prepared.top_w - prepared.idle_w)[chosen, np.newaxis]
    gone = np.column_stack([np.zeros(count), np.cumsum(better[chosen], axis=1)])
    begins = np.column_stack([saved_w * begin, np.zeros(count)])
    top = prepared.top[chosen] * cost[chosen]
    begins[:, :] += (np.array([one.begin_cost_s for one in windows]) * top)[:, np.newaxis]
    ends = saved_w * end + (np.array([one.end_cost_s for one in windows]) * top)[:, np.newaxis]
    allowed = np.stack([one.allowed for one in windows])
    gain = np.where(allowed, gone[:, np.newaxis, :] - gone[:, :, np.newaxis] - begins[:, :, np.newaxis], -np.inf)
    gain -= ends[:, np.newaxis, :]
    ready = np.stack([one.ready for one in windows])
    first = np.stack([np.zeros(edges, np.bool_) if one.goes_on is None else one.goes_on for one in windows])
    goes_on = np.array([one.goes_on is not None for one in windows])
    best = np.where(first, gone - ends, -np.inf)
    came_from = np.full((count, edges), -1)
    free = np.full((count, edges + 1), -np.inf)
    free_from = np.full((count, edges + 1), -1)
    free[~goes_on, 0] = 0.0
    everyone = np.arange(count)
    for at in range(edges + 1):
        if at:
            free[:, at], free_from[:, at] = free[:, at - 1], free_from[:, at - 1]
            came = np.where(ready[:, :at] == at, best[:, :at], -np.inf)
            which = came.argmax(axis=1)
            higher = came[everyone, which] > free[:, at]
            free[higher, at], free_from[higher, at] = came[everyone, which][higher], which[higher]
        if 0 < at < edges:
            offers = free[:, :at] + gain[:, :at, at]
            which = offers.argmax(axis=1)
            higher = offers[everyone, which] > best[:, at]
            best[higher, at], came_from[higher, at] = offers[everyone, which][higher], which[higher]
    return float(free[:, edges].sum()), _traced(prepared, free_from, came_from)


def _traced(prepared: Prepared, free_from: Indices, came_from: Indices) -> tuple[Pause, ...]:
    found: list[Pause] = []
    for p, j in enumerate(prepared.pausable.tolist()):
        last = int(free_from[p, -1])
        while last >= 0:
            first = int(came_from[p, last])
            found.append(Pause(j, max(first, 0), last, first < 0))
            last = int(free_from[p, first]) if first >= 0 else -1
    return tuple(sorted(found))
