"""Prints what sharing out a budget costs on one core: 100,000 devices in 10,000 jobs, each job with a curve of its own.

The bound is for a control step: from the budget to each job's cap, throughput and power (``Allocator.solve``), and from
there to the cap of each device (``device_caps``). What is outside the step is said beside it: building the allocator,
which is done anew when jobs or pauses change. Curves are the measured ones, each with 2 % of noise: no two are alike.
"""

import gc
import random
import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import replace

from gateway.domain.allocate import Allocator
from gateway.domain.fleet import allocation_jobs, device_caps
from hardware.job import CurvePoint, JobView
from hardware.job_terms import MIN_THROUGHPUT
from hardware.workloads import CAP_RANGE, CAPS_W, WORKLOADS

JOBS, DEVICES_PER_JOB = 10_000, 10
BOUND_MS = 100.0
ROUNDS = 30
NOISE_FRACTION = 0.02


def views() -> tuple[JobView, ...]:
    dice = random.Random("allocate at scale")
    workloads, tiers = sorted(WORKLOADS), sorted(MIN_THROUGHPUT)
    found = []
    for number in range(JOBS):
        workload, tier = WORKLOADS[workloads[number % len(workloads)]], tiers[number // len(workloads) % len(tiers)]
        points = zip(CAPS_W, workload.power_w, workload.throughput, strict=True)
        found.append(
            JobView(
                job_id=f"job-{number}",
                device_ids=tuple(f"d{number * DEVICES_PER_JOB + slot}" for slot in range(DEVICES_PER_JOB)),
                tier=tier,
                weight=dice.choice((0.5, 1.0, 2.0)),
                min_throughput=MIN_THROUGHPUT[tier],
                curve=tuple(
                    CurvePoint(
                        cap_w=cap_w,
                        power_w=power_w * dice.gauss(1.0, NOISE_FRACTION),
                        throughput=throughput * dice.gauss(1.0, NOISE_FRACTION),
                    )
                    for cap_w, power_w, throughput in points
                ),
            )
        )
    return tuple(found)


def main() -> bool:
    jobs = views()
    # One range a device, as the fleet has them.
    ranges = {device_id: replace(CAP_RANGE) for job in jobs for device_id in job.device_ids}
    able = allocation_jobs(jobs, ranges=ranges)
    allocator = Allocator(able)
    low_w, high_w = allocator.floor_w, allocator.ceiling_w
    targets = [low_w + share / 10 * (high_w - low_w) for share in range(11)]
    allocation = allocator.solve(targets[5])
    print(f"{len(ranges)} devices in {len(able)} jobs, {low_w / 1e6:.1f} to {high_w / 1e6:.1f} MW; a core's time")
    solve_ms = told("solve", lambda turn: allocator.solve(targets[turn % len(targets)]), ROUNDS)
    caps_ms = told("device_caps", lambda _: device_caps(allocation, jobs, ranges), ROUNDS)
    step_ms = told(
        "both, as at a step", lambda turn: device_caps(allocator.solve(targets[turn % 11]), jobs, ranges), ROUNDS
    )
    build_ms = told("build an Allocator, when jobs or pauses change", lambda _: Allocator(able), 5)
    told("allocation_jobs, before that", lambda _: allocation_jobs(jobs, ranges=ranges), 5)
    for what, cost_ms in (("solve", solve_ms), ("solve and device_caps", step_ms)):
        print(f"bound: {BOUND_MS:.0f} ms, {what}: {'kept' if cost_ms < BOUND_MS else 'BROKEN'}")
    outside = "within it, too" if build_ms + solve_ms + caps_ms < BOUND_MS else "over it, and outside the step"
    print(f"with a new Allocator: {build_ms + solve_ms + caps_ms:.0f} ms: {outside}")
    return max(solve_ms, step_ms) < BOUND_MS


def told(what: str, work: Callable[[int], object], rounds: int) -> float:
    """The median of the processor time in milliseconds, printed with the worst."""
    spent = []
    for turn in range(rounds):
        gc.collect()
        began = time.process_time()
        work(turn)
        spent.append((time.process_time() - began) * 1000.0)
    print(f"{what}: {statistics.median(spent):.1f} ms, at worst {max(spent):.1f} ms")
    return statistics.median(spent)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
