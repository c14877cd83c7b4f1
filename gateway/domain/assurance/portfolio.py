"""Several sites and events together: a bootstrap over whole placebo days, so that what sites have in common stays."""

import math
import random
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from gateway.domain.assurance.placebo import Placebo
from gateway.domain.evidence import fingerprint

DRAWS = 2_000
_LEAST_DAYS = 9
"""Ours: as many as a single event's P90 needs; a bootstrap of fewer days repeats a few figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteEvent:
    """One site in one event: its signed reduction and its placebo days at those hours."""

    site_id: str
    reduction_wh: float
    placebo: Placebo


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioBound:
    """Lower bounds of the sum over all; ``None`` where an event has too few days that all of its sites share."""

    reduction_wh: float
    p50_wh: float | None
    p90_wh: float | None
    days: int
    days_needed: int
    seed: str


def portfolio(events: Sequence[Sequence[SiteEvent]]) -> PortfolioBound:
    """Bound the sum of the events, each given as its sites.

    For each event one whole day is drawn for all of its sites, from the days that they share. The seed is the inputs'
    fingerprint: the same inputs give the same bounds.
    """
    reduction_wh = math.fsum(site.reduction_wh for event in events for site in event)
    errors = [_errors_by_day(event) for event in events]
    seed = fingerprint([sorted(by_day.items()) for by_day in errors])
    days = min((len(by_day) for by_day in errors), default=0)
    if days < _LEAST_DAYS:
        return PortfolioBound(
            reduction_wh=reduction_wh, p50_wh=None, p90_wh=None, days=days, days_needed=_LEAST_DAYS, seed=seed
        )
    dice = random.Random(seed)  # noqa: S311 - a simulation that must repeat, no secret
    pools = [sorted(by_day.values()) for by_day in errors]
    totals = sorted(math.fsum(dice.choice(pool) for pool in pools) for _ in range(DRAWS))
    return PortfolioBound(
        reduction_wh=reduction_wh,
        p50_wh=reduction_wh - totals[DRAWS // 2],
        p90_wh=reduction_wh - totals[math.ceil(0.9 * DRAWS)],
        days=days,
        days_needed=_LEAST_DAYS,
        seed=seed,
    )


def _errors_by_day(event: Sequence[SiteEvent]) -> Mapping[str, float]:
    tables = [{day.date: day.error_wh for day in site.placebo.days} for site in event]
    shared = set.intersection(*map(set, tables)) if tables else set()
    return {day: math.fsum(table[day] for table in tables) for day in sorted(shared)}
