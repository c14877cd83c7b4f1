"""Prints how long a curtailment takes to plan, how near to the best it is, and how near the heuristic alone.

500 jobs, four measured kinds of work on 4 to 32 devices, in four tiers; a third of the devices' power beside them that
no cap moves; 40 racks with room for 93 % of what their devices draw; a ramp, a first step and a deeper one in intervals
of 5 minutes, three hours in all, and a recovery. Shallow, as deep as the second step of the field test, deeper so that
pauses pay, and deeper than can be delivered. Time is CPU time of the one process, which has one thread. The gap is a
fraction of the weighted throughput; a missing watt counts in it at its price, so that of what cannot be delivered it
says little about throughput.
"""

import random
import sys
import time
from datetime import UTC, datetime

from gateway.domain.curtailment.optimising import plan_by_optimisation
from gateway.domain.curtailment.planning import plan_by_heuristic
from gateway.domain.curtailment.problem import (
    CurtailmentInterval,
    CurtailmentJob,
    CurtailmentProblem,
    NodeLimit,
    PauseTerms,
)
from gateway.domain.curtailment.schedule import Status
from hardware.job import PauseMethod
from hardware.workloads import WORKLOADS

JOBS, INTERVALS, RACKS = 500, 36, 40
DEPTHS = {"shallow": 0.15, "field test": 0.31, "pauses pay": 0.35, "too deep": 0.40}
TIERS = {"flex0": 1.0, "flex1": 0.9, "flex2": 0.75, "flex3": 0.5}
FLOORS = {"flex0": 0.5, "flex1": 0.5, "flex2": 0.5, "flex3": 0.3}
BOUND_S, BOUND_GAP = 5.0, 0.01
SEARCH_S = 4.0


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


def measure(name: str, depth: float, seed: int) -> bool:
    asked = problem(depth, seed)
    began = time.process_time()
    plan_by_heuristic(asked)
    heuristic_s = time.process_time() - began
    began, wall = time.process_time(), time.perf_counter()
    found = plan_by_optimisation(asked, left_s=lambda: began + SEARCH_S - time.process_time())
    spent_s, wall_s = time.process_time() - began, time.perf_counter() - wall
    kept = spent_s < BOUND_S and (found.gap < BOUND_GAP or found.status is Status.INFEASIBLE)
    missing_w = max((one.missing_w for one in found.missing), default=0.0)
    print(
        f"{name:>12} {depth:.0%} seed {seed}: {found.status}, {found.made_by}, {spent_s:.2f} s of CPU ({wall_s:.2f} s),"
        f" weighted throughput {found.weighted_throughput:.4f}, gap {found.gap:.2%}; {len(found.pauses)} pauses,"
        f" up to {missing_w / 1000:.0f} kW missing; heuristic {heuristic_s:.2f} s, gap {found.heuristic_gap:.2%}"
    )
    print(
        f"bound: {BOUND_S:.0f} s, gap under {BOUND_GAP:.0%} where it can be delivered: {'kept' if kept else 'BROKEN'}"
    )
    return kept


if __name__ == "__main__":
    results = [measure(name, depth, seed) for name, depth in DEPTHS.items() for seed in (1, 2, 3)]
    sys.exit(0 if all(results) else 1)
