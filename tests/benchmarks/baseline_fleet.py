"""Prints what a baseline of many sites at once takes, with its reasons, beside the same rule site by site.

    python tests/benchmarks/baseline_fleet.py [SITES]

An event of a whole day of 288 five-minute intervals, by ten of the last ten days, after 46 days of history in which one
interval in ten thousand is missing. The fleet's time is the median of nine runs over a history in arrays, whose making
is printed beside it; site by site is the median of a sample of the sites, times their number, and puts each history on
its grid, as ``evaluate`` always does.
"""

import statistics
import sys
import time
from datetime import UTC, datetime, timedelta

import numpy as np

from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.fleet import evaluate_fleet
from gateway.domain.baseline.fleet_load import fleet_load
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.measurement import IntervalEnergy

SITES, INTERVALS, DAYS, SAMPLE = 2_000, 288, 46, 3
BOUND_S = 0.050
START = datetime(2025, 6, 18, tzinfo=UTC)
END = START + timedelta(days=1)


def main(sites: int) -> bool:
    dice = np.random.default_rng(1)
    table = dice.uniform(2e4, 6e4, ((DAYS + 1) * INTERVALS, sites))
    table[dice.random(table.shape) < 1e-4] = np.nan
    first = START - timedelta(days=DAYS)
    began = time.perf_counter()
    load = fleet_load(first, 300.0, table)
    made_s = time.perf_counter() - began
    rule = shipped_rules()["10-of-10"]
    taken_s = []
    for _ in range(9):
        began = time.perf_counter()
        fleet = evaluate_fleet(rule, load, event_start=START, event_end=END, timezone=UTC)
        taken_s.append(time.perf_counter() - began)
    fleet_s = statistics.median(taken_s)
    alone_s = []
    for site in range(SAMPLE):
        history = [
            IntervalEnergy(
                starts_at=first + timedelta(minutes=5 * number),
                duration_s=300.0,
                energy_wh=float(power_w) / 12,
                coverage_fraction=1.0,
            )
            for number, power_w in enumerate(table[:, site])
            if np.isfinite(power_w)
        ]
        began = time.perf_counter()
        evaluate(rule, history, event_start=START, event_end=END, timezone=UTC)
        alone_s.append(time.perf_counter() - began)
    one_by_one_s = statistics.median(alone_s) * sites
    kept = fleet_s < BOUND_S
    print(
        f"{sites:,} sites x {INTERVALS} intervals, {rule.rule_id} with the reasons of {len(fleet.days)} days each,"
        f" {len(fleet.alone)} sites by themselves: {fleet_s * 1000:.1f} ms (bound {BOUND_S * 1000:.0f} ms),"
        f" after {made_s:.1f} s to make the arrays,"
        f" 1/{one_by_one_s / fleet_s:,.0f} of site by site: {'kept' if kept else 'BROKEN'}"
    )
    return kept


if __name__ == "__main__":
    sys.exit(0 if main(int(sys.argv[1]) if len(sys.argv) > 1 else SITES) else 1)
