"""Curves learnt from the readings of a simulated site whose jobs do other work than their tables say."""

from collections import defaultdict
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from statistics import fmean

import numpy as np

from gateway.domain.curve_learning import learnt, observe, seeded
from gateway.domain.curve_observation import WINDOW_S, CapInForce, observations
from gateway.domain.load_kind import DemandHistory, LoadKind, demanded_w, job_loads
from hardware.device import PowerReading
from hardware.simulated import SimulatedFleet
from hardware.workloads import CAP_RANGE, WORKLOADS, SimulatedJob

HOSTS, PER_HOST = 4, 4
CAPS_W = (400.0, 320.0, 240.0, 190.0)
A_CAP_S = 80
WRONG = WORKLOADS["finetune-8b"].curve()


class Site:
    """Four jobs on a host each, but for the last host's last two devices, which are idle."""

    def __init__(self) -> None:
        self.now = datetime(2026, 7, 1, 12, tzinfo=UTC)
        self.fleet = SimulatedFleet(
            hosts=HOSTS,
            devices_per_host=PER_HOST,
            seed=3,
            now=lambda: self.now,
            jobs=[
                SimulatedJob(job_id=name, workload=name, tier="flex2", devices=PER_HOST if i < 3 else 2)
                for i, name in enumerate(sorted(WORKLOADS))
            ],
        )
        self.caps: dict[str, CapInForce] = {}
        self.window_from = self.now
        self.window: dict[str, list[PowerReading]] = defaultdict(list)
        self.evidence = {view.job_id: seeded(WRONG) for view in self.fleet.jobs()}
        self.demand = DemandHistory(windows=32)

    def cap(self, cap_w: float) -> None:
        for device in self.fleet.devices():
            self.fleet.set_limit_w(device.device_id, cap_w)
            self.caps[device.device_id] = CapInForce(cap_w=cap_w, since=self.now)

    def second(self) -> None:
        self.now += timedelta(seconds=1)
        for reading in self.fleet.readings():
            self.window[reading.meter_id].append(reading)
        if (self.now - self.window_from).total_seconds() >= WINDOW_S:
            self.learn()
            self.window.clear()
            self.window_from = self.now

    def learn(self) -> None:
        # As dispatch would have it: jobs come with the table of their kind, wrong as it is.
        views = [replace(view, curve=WRONG) for view in self.fleet.jobs()]
        for seen in observations(
            views,
            readings=self.window,
            caps=self.caps,
            window_from=self.window_from,
            window_to=self.now,
            throughput_seen={view.job_id for view in views},
        ):
            self.evidence[seen.job_id] = observe(self.evidence[seen.job_id], seen)
        wanted_w = {}
        for device_id, cap in self.caps.items():
            mean_w = fmean(reading.power_w for reading in self.window[device_id])
            wanted_w[device_id] = float(demanded_w(np.array(mean_w), cap.cap_w, 380.0))
        self.demand.add(wanted_w)


def test_a_site_teaches_what_its_jobs_really_draw_and_give() -> None:
    site = Site()
    for cap_w in CAPS_W:
        site.cap(cap_w)
        for _ in range(A_CAP_S):
            site.second()
    before = {point.cap_w: point.throughput for point in WRONG}
    for name, workload in WORKLOADS.items():
        found = {point.cap_w: point for point in learnt(site.evidence[name], site.now).points}
        for real in workload.curve()[1:]:
            point = found[real.cap_w]
            # Devices of one make differ by about 1 % in power, and loads swing by up to 3 %.
            assert abs(point.power_w - real.power_w) < 0.025 * real.power_w
            assert abs(point.throughput - real.throughput) < 0.045
            was_off = abs(before[real.cap_w] - real.throughput)
            assert was_off < 0.1 or abs(point.throughput - real.throughput) < 0.3 * was_off


def test_idle_devices_of_a_site_are_told_from_busy_ones() -> None:
    site = Site()
    site.cap(CAP_RANGE.max_w)
    for second in range(320):
        if second == 160:
            # Under a cap busy devices fill it: they still want what they wanted.
            site.cap(240.0)
        site.second()
    busy = [device_id for view in site.fleet.jobs() for device_id in view.device_ids]
    idle = sorted(site.caps.keys() - set(busy))
    assert (len(busy), len(idle)) == (14, 2)
    (found,) = job_loads(site.demand.of([*busy, *idle]), [200.0], lowest_cap_w=CAP_RANGE.min_w, free_w=380.0)
    assert found.kinds == (LoadKind.STEADY,) * 14 + (LoadKind.IDLE,) * 2
    assert found.devices_over == 14.0
    assert 14 * 130.0 < found.countable_w <= found.expected_w < 14 * 190.0
