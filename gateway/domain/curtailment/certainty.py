"""How sure it is that no other schedule does better: first of what is missing, then of the throughput.

What is missing costs more than any throughput, so that one gap for both would be a gap of prices that nobody pays. So
there are two. The energy missing is compared with the least that any schedule misses, in parts of the reduction asked
for; the throughput with the most that any schedule gives that misses no more.
"""

from dataclasses import dataclass, replace

import numpy as np

from gateway.domain.curtailment.choice import MISSING_PRICE, Worth, gap_of, missing_price
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.pricing import Prices, price_out, tie_worth
from gateway.domain.tree import Floats

_NOTHING_WS = 1.0

_CHEAPER = (0.3, 0.2, 0.15, 0.1, 0.07)
"""Throughput is bounded at so many times the price of missing watts: at the full one a watt outweighs all of it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Certainty:
    """What is proven of a schedule.

    ``missing_wh`` is the energy over its limits (see ``Worth.lacking_ws``) and ``least_missing_wh`` what no schedule
    falls below; ``missing_gap`` is how far they are apart, in parts of the reduction asked for. ``gap`` is how far the
    weighted throughput lies below the most that can be given with no more missing, in parts of itself.
    """

    missing_wh: float
    least_missing_wh: float
    missing_gap: float
    gap: float


def certainty(prepared: Prepared, found: Worth, *, bound: float, prices: Prices) -> Certainty:
    """What ``bound`` on the objective, and these prices, prove of a schedule; nothing missing needs no prices."""
    lacking_ws = found.lacking_ws
    if lacking_ws < _NOTHING_WS:
        return Certainty(missing_wh=0.0, least_missing_wh=0.0, missing_gap=0.0, gap=gap_of(found, bound))
    least_ws = min(lacking_ws, _least_missing_ws(prepared, prices))
    most = min(bound + _price_of(prepared, lacking_ws), _most_throughput(prepared, prices, lacking_ws))
    return Certainty(
        missing_wh=lacking_ws / 3600.0,
        least_missing_wh=least_ws / 3600.0,
        missing_gap=(lacking_ws - least_ws) / max(lacking_ws, asked_ws(prepared)),
        gap=max(0.0, most - found.weighted_throughput) / max(abs(found.weighted_throughput), 1e-9),
    )


def asked_ws(prepared: Prepared) -> float:
    """The reduction asked for: what the site would draw uncapped over its targets."""
    uncapped_w = prepared.problem.fixed_w + float(prepared.top_w.sum())
    return float(np.maximum(0.0, uncapped_w - prepared.target_w) @ prepared.duration_s)


def _price_of(prepared: Prepared, lacking_ws: float) -> float:
    return missing_price(prepared) * lacking_ws / (prepared.total_worth or 1.0)


def _least_missing_ws(prepared: Prepared, prices: Prices) -> float:
    """The least that any schedule misses: the bound where only what is missing costs."""
    worthless = np.zeros(len(prepared.jobs))
    once = _revalued(prepared, prices, 1.0, worthless)
    bound = min(price_out(prepared, one, worthless).bound for one in (once, _of_missing(prepared, once)))
    return max(0.0, -bound * prepared.total_worth / missing_price(prepared))


def _of_missing(prepared: Prepared, prices: Prices) -> Prices:
    """Without the prices of watts that are no higher than the worth of some job's: nothing need be missing there."""
    worth = missing_price(prepared) * prepared.duration_s / MISSING_PRICE
    return replace(
        prices,
        target=np.where(prices.target > worth, prices.target, 0.0),
        ramp=np.where(prices.ramp > worth, prices.ramp, 0.0),
        node=np.where(prices.node > worth, prices.node, 0.0),
    )


def _most_throughput(prepared: Prepared, prices: Prices, lacking_ws: float) -> float:
    """The most weighted throughput of the schedules that miss no more.

    At whatever price of missing watts the bound holds for throughput less that price; who misses no more pays no more.
    """
    worth = tie_worth(prepared)
    most = np.inf
    for factor in _CHEAPER:
        lowest = price_out(prepared, _revalued(prepared, prices, factor, worth)).bound
        most = min(most, lowest + factor * _price_of(prepared, lacking_ws))
    return most


def _revalued(prepared: Prepared, prices: Prices, factor: float, worth: Floats) -> Prices:
    """Prices ``factor`` times as high for jobs of this worth instead of their own.

    A job that is held to what it needs chooses the same at both: its worth and its need together rise with the prices.
    """
    before = tie_worth(prepared)
    dearest: dict[int, int] = {}
    for i, need in enumerate(prepared.needs):
        if prices.need[i] > max(0.0, prices.need[dearest[need.job]] if need.job in dearest else 0.0):
            dearest[need.job] = i
    need_price = factor * np.maximum(0.0, prices.need)
    for j, i in dearest.items():
        need_price[i] = max(0.0, float(need_price[i]) + factor * float(before[j]) - float(worth[j]))
    return Prices(
        target=factor * prices.target,
        ramp=factor * prices.ramp,
        node=factor * prices.node,
        need=need_price,
        begin=factor * prices.begin,
        end=factor * prices.end,
    )
