import numpy as np
import pytest

from gateway.domain.allocate import AllocationJob, allocate
from gateway.simulation.optimum import NoOptimum, OptimumJob, best_throughput
from hardware.physics import COOLING_FRACTION, FOLLOWING_FRACTION, Possible
from hardware.workloads import WORKLOADS

JOBS = {"finetune-8b": 8, "inference-8b": 4, "pretrain-7b": 12}
WEIGHTS = {"finetune-8b": 1.0, "inference-8b": 3.0, "pretrain-7b": 1.0}


def steady(count: int) -> list[Possible]:
    workloads = [WORKLOADS[name] for name in JOBS]
    devices = np.array(list(JOBS.values()), dtype=np.float64)[:, np.newaxis]
    one = Possible(
        power_w=devices * np.array([workload.power_w for workload in workloads]),
        throughput=np.array([workload.throughput for workload in workloads]),
        rest_w=0.0,
        overhead_w=200.0,
    )
    return [one] * count


def jobs(min_throughput: float = 0.3) -> list[OptimumJob]:
    return [OptimumJob(weight=WEIGHTS[name], devices=JOBS[name], min_throughput=min_throughput) for name in JOBS]


def test_with_cooling_settled_it_is_what_the_allocator_finds() -> None:
    fleet_w = 5600.0
    # An interval so long that the cooling is where the load wants it: the last of two counts.
    site_w = (fleet_w * (1.0 + FOLLOWING_FRACTION) + 200.0) * (1.0 + COOLING_FRACTION)
    found = best_throughput(jobs(), steady(2), [site_w, site_w], step_s=1e9)
    exact = allocate(
        [
            AllocationJob(
                job_id=name,
                weight=WEIGHTS[name],
                devices=JOBS[name],
                min_throughput=0.3,
                can_pause=False,
                curve=WORKLOADS[name].curve(),
            )
            for name in JOBS
        ],
        target_w=fleet_w,
    )
    assert found == pytest.approx(exact.weighted_throughput, abs=1e-6)


def test_cooling_that_has_not_fallen_yet_costs_throughput() -> None:
    target_w = 7500.0
    slow = best_throughput(jobs(), steady(4), [target_w] * 4, step_s=30.0)
    settled = best_throughput(jobs(), steady(4), [target_w] * 4, step_s=1e9)
    assert slow < settled - 0.005


def test_without_a_target_nothing_is_slowed() -> None:
    assert best_throughput(jobs(), steady(3), [float("nan")] * 3, step_s=60.0) == pytest.approx(1.0)


def test_a_tier_costs_the_others() -> None:
    free = best_throughput(jobs(0.1), steady(6), [6500.0] * 6, step_s=60.0)
    promised = best_throughput(
        [OptimumJob(weight=0.1 * one.weight, devices=one.devices, min_throughput=0.6) for one in jobs()],
        steady(6),
        [6500.0] * 6,
        step_s=60.0,
    )
    assert promised < free


def test_what_no_tier_allows_has_no_optimum() -> None:
    with pytest.raises(NoOptimum):
        best_throughput(jobs(0.9), steady(3), [4000.0] * 3, step_s=60.0)
