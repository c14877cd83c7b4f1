"""Prints how long a curtailment takes to plan, how near to the best it is, and how near the heuristic alone.

500 jobs, four measured kinds of work on 4 to 32 devices, in four tiers; a third of the devices' power beside them that
no cap moves; 40 racks with room for 93 % of what their devices draw; a ramp, a first step and a deeper one in intervals
of 5 minutes, three hours in all, and a recovery. Three depths that can be delivered, in the last of which pauses pay;
one about as deep as can be; and two far past that. Of what cannot be delivered there are two gaps: of the energy
missing to the least that has to be, in parts of the reduction asked for, and of the throughput to the most that can be
had with no more missing.

Time is CPU time of the one process, which has one thread; each problem is planned as often as is asked (``argv[1]``,
once by default), and the best and the worst of each figure are printed.
"""

import random
import sys
import time
from collections.abc import Callable
from datetime import UTC, datetime

from gateway.domain.curtailment.optimising import plan_by_optimisation
from gateway.domain.curtailment.problem import (
    CurtailmentInterval,
    CurtailmentJob,
    CurtailmentProblem,
    NodeLimit,
    PauseTerms,
)
from gateway.domain.curtailment.schedule import CurtailmentSchedule
from hardware.job import PauseMethod
from hardware.workloads import WORKLOADS

JOBS, INTERVALS, RACKS = 500, 36, 40
DEPTHS = {
    "shallow": 0.15,
    "field test": 0.31,
    "pauses pay": 0.34,
    "about all there is": 0.36,
    "far past": 0.40,
    "half as much again": 0.50,
}
SEEDS = (1, 2, 3)
TIERS = {"flex0": 1.0, "flex1": 0.9, "flex2": 0.75, "flex3": 0.5}
FLOORS = {"flex0": 0.5, "flex1": 0.5, "flex2": 0.5, "flex3": 0.3}
BOUND_S, BOUND_GAP = 5.0, 0.01
SEARCH_S = 4.6
"""What is left of the bound is for preparing, and for stating what was found."""


def jobs(dice: random.Random) -> tuple[CurtailmentJob, ...]:
    names = sorted(WORKLOADS)
    made: list[CurtailmentJob] = []
    for i in range(JOBS):
        workload = WORKLOADS[names[i % len(names)]]
        tier = dice.choice(("flex0", "flex1", "flex1", "flex2", "flex2", "flex3", "flex3"))
        pause = None
        if workload.checkpoints and tier in {"flex2", "flex3"}:
            pause = PauseTerms(
                method=PauseMethod.CHECKPOINT,
                max_pause_s=dice.choice((1800.0, 3600.0, 7200.0, 14400.0)),
                min_run_s=900.0,
                min_rest_s=600.0,
                checkpoint_cost_s=dice.uniform(30.0, 200.0),
                resume_cost_s=dice.uniform(60.0, 300.0),
            )
        made.append(
            CurtailmentJob(
                job_id=f"job-{i:03d}",
                tier=tier,
                weight=dice.choice((1.0, 1.0, 2.0)),
                devices=dice.choice((4, 8, 16, 32)),
                curve=workload.curve(),
                min_throughput=FLOORS[tier],
                tier_mean=TIERS[tier],
                throughput_so_far=dice.uniform(TIERS[tier] - 0.03, 1.0),
                elapsed_s=dice.uniform(0.0, 36_000.0),
                idle_w=60.0,
                pause=pause,
            )
        )
    return tuple(made)


def problem(depth: float, seed: int) -> CurtailmentProblem:
    dice = random.Random(seed)
    able = jobs(dice)
    top_w = [job.devices * job.curve[-1].power_w for job in able]
    fixed_w = 0.3 * sum(top_w)
    baseline_w = sum(top_w) + fixed_w
    intervals: list[CurtailmentInterval] = []
    for t in range(INTERVALS):
        ramp, first, second = min(1.0, (t + 1) / 4), t < 18, t < 31
        less = (0.6 * ramp if first else 1.0 if second else 0.0) * depth
        # No two targets are the same, so that no two intervals are one.
        less -= dice.uniform(0.0, 0.002) if less else 0.0
        intervals.append(CurtailmentInterval(duration_s=300.0, target_w=baseline_w * (1.0 - less)))
    nodes = tuple(
        NodeLimit(
            node_id=f"rack-{rack}",
            budget_w=0.93 * sum(top_w[rack::RACKS]),
            devices={job.job_id: job.devices for job in able[rack::RACKS]},
        )
        for rack in range(RACKS)
    )
    return CurtailmentProblem(
        starts_at=datetime(2026, 7, 1, 16, tzinfo=UTC),
        intervals=tuple(intervals),
        jobs=able,
        fixed_w=fixed_w,
        nodes=nodes,
        ramp_up_w_per_s=baseline_w * 0.1 / 300.0,
        stagger_fraction=0.1,
    )


def left_s(budget_s: float) -> Callable[[], float]:
    """Seconds on the clock that this much CPU time, from now, takes at the share of a core that we get.

    The solver watches the clock: on a busy machine it would be stopped long before it had its CPU time.
    """
    began_s, began_cpu_s = time.perf_counter(), time.process_time()

    def left() -> float:
        spent_s, spent_cpu_s = time.perf_counter() - began_s, time.process_time() - began_cpu_s
        return (budget_s - spent_cpu_s) * max(1.0, spent_s / max(spent_cpu_s, 1e-3))

    return left


def span(values: list[float], form: str) -> str:
    low, high = format(min(values), form), format(max(values), form)
    return low if low == high else f"{low} to {high}"


def measure(name: str, depth: float, seed: int, times: int) -> bool:
    asked = problem(depth, seed)
    spent_s: list[float] = []
    found: list[CurtailmentSchedule] = []
    for _ in range(times):
        began_s = time.process_time()
        found.append(plan_by_optimisation(asked, left_s=left_s(SEARCH_S)))
        spent_s.append(time.process_time() - began_s)
    kept = max(spent_s) < BOUND_S and all(max(one.gap, one.missing_gap) < BOUND_GAP for one in found)
    last = found[-1]
    print(
        f"{name:>18} {depth:.0%} seed {seed}: {last.status}, {last.made_by}, {span(spent_s, '.2f')} s of CPU,"
        f" weighted throughput {last.weighted_throughput:.4f},"
        f" gap {span([one.gap for one in found], '.2%')}; {len(last.pauses)} pauses;"
        f" {span([one.missing_wh / 1000.0 for one in found], '.1f')} kWh of {last.asked_wh / 1000.0:.0f} missing,"
        f" up to {max((one.missing_w for one in last.missing), default=0.0) / 1000.0:.0f} kW,"
        f" gap {span([one.missing_gap for one in found], '.2%')};"
        f" heuristic: gap {last.heuristic_gap:.2%}, {last.heuristic_missing_wh / 1000.0:.1f} kWh missing"
        f" | bound: {BOUND_S:.0f} s, both gaps under {BOUND_GAP:.0%}: {'kept' if kept else 'BROKEN'}",
        flush=True,
    )
    return kept


if __name__ == "__main__":
    often = int(sys.argv[1]) if len(sys.argv) > 1 else 1
    results = [measure(name, depth, seed, often) for name, depth in DEPTHS.items() for seed in SEEDS]
    sys.exit(0 if all(results) else 1)
