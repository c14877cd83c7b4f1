"""Loads that come in bursts, and what a judge may see of the simulated site."""

from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from hardware.device import CapRange
from hardware.faults import Faults
from hardware.simulated import SITE_METER_ID, SimulatedFleet
from hardware.workloads import IN_A_MIX, SimulatedJob, job_mix


@dataclass
class Time:
    now: datetime = field(default_factory=lambda: datetime(2026, 7, 1, tzinfo=UTC))

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


def fleet(time: Time, *, seed: int = 3, burst_fraction: float = 0.6) -> SimulatedFleet:
    jobs = [
        SimulatedJob(
            job_id=name, workload="inference-8b", tier="flex2", devices=4, burst_fraction=burst_fraction, burst_s=30.0
        )
        for name in ("a", "b")
    ]
    return SimulatedFleet(hosts=2, devices_per_host=4, seed=seed, now=lambda: time.now, jobs=jobs)


def site_every_second(seconds: int, make: Callable[[Time], SimulatedFleet]) -> list[float]:
    time = Time()
    site = make(time)
    seen = []
    for _ in range(seconds):
        time.pass_s(1.0)
        seen.append(site.site_w())
    return seen


def test_a_bursty_load_has_lulls_and_comes_back_to_full() -> None:
    seen = np.array(site_every_second(1200, fleet))
    steady = np.array(site_every_second(1200, lambda time: fleet(time, burst_fraction=0.0)))
    assert (seen <= steady + 1e-6).all()
    assert (seen > 0.98 * steady).any()
    assert (seen < 0.8 * steady).any()
    assert (steady > 0.96 * steady.max()).all()


def test_bursts_are_the_same_for_the_same_seed_however_often_it_is_looked_at() -> None:
    often = site_every_second(600, fleet)
    time = Time()
    seldom = fleet(time)
    for _ in range(6):
        time.pass_s(100.0)
        seldom.site_w()
    assert seldom.site_w() == pytest.approx(often[-1])
    assert site_every_second(600, lambda time: fleet(time, seed=4)) != often


def test_a_lull_slows_nobody() -> None:
    time = Time()
    site = fleet(time)
    time.pass_s(600.0)
    assert site.work_s() == pytest.approx({"a": 600.0, "b": 600.0})


def test_what_is_possible_is_what_comes_true_under_each_cap() -> None:
    time = Time()
    site = fleet(time)
    time.pass_s(95.0)
    possible = site.possible()
    for column, cap_w in ((1, 100.0), (3, 250.0), (6, 400.0)):
        for device in site.devices():
            site.set_limit_w(device.device_id, cap_w)
        before_j, before_s = site.drawn_j(), site.work_s()
        time.pass_s(1.0)
        drawn_w = site.drawn_j() - before_j
        # The limit is on its way for some hundredths of a second.
        assert drawn_w == pytest.approx(float(possible.power_w[:, column].sum()), rel=0.03)
        done = [after - before for after, before in zip(site.work_s().values(), before_s.values(), strict=True)]
        assert done == pytest.approx(possible.throughput[:, column].tolist())


def test_what_is_lost_is_not_possible() -> None:
    time = Time()
    site = fleet(time)
    whole = site.possible()
    site.inject(Faults(lost=frozenset({"h00-d0", "h00-d1"})))
    left = site.possible()
    assert left.throughput[:, -1].tolist() == [0.5, 1.0]
    assert left.power_w[0, -1] == pytest.approx(0.5 * whole.power_w[0, -1], rel=0.02)
    assert left.rest_w > whole.rest_w


def test_what_the_meter_latched_is_known_while_it_is_silent() -> None:
    time = Time()
    site = fleet(time)
    site.inject(Faults(silent_meters=frozenset({SITE_METER_ID})))
    time.pass_s(5.0)
    assert SITE_METER_ID not in {reading.meter_id for reading in site.readings()}
    assert site.metered().measured_at == time.now
    assert site.metered().power_w == pytest.approx(site.site_w(), rel=0.01)


def test_a_mix_keeps_to_the_workloads_it_always_had() -> None:
    assert {job.workload for seed in range(5) for job in job_mix(64, seed)} == set(IN_A_MIX)


def test_a_device_without_a_job_counts_among_the_rest() -> None:
    time = Time()
    jobs = [SimulatedJob(job_id="a", workload="pretrain-7b", tier="flex3", devices=6)]
    site = SimulatedFleet(hosts=2, devices_per_host=4, seed=1, now=lambda: time.now, jobs=jobs)
    assert site.possible().rest_w == pytest.approx(2 * 58.0, rel=0.05)
    assert {device.cap_range for device in site.devices()} == {CapRange(min_w=100.0, default_w=400.0, max_w=400.0)}
