"""The simulated site's physics and its faults, on a clock that the test moves."""

import json
import statistics
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from structlog.testing import capture_logs

from hardware.errors import (
    CallHangs,
    Condition,
    DeviceLost,
    HardwareError,
    MeterSilent,
    Unsupported,
    WriteRefused,
)
from hardware.faults import Faults
from hardware.job import JobState
from hardware.simulated import SITE_METER_ID, SimulatedFleet, faults_path
from hardware.workloads import SimulatedJob

START = datetime(2026, 7, 1, 16, tzinfo=UTC)


class Clock:
    def __init__(self) -> None:
        self.now = START

    def __call__(self) -> datetime:
        return self.now

    def pass_s(self, seconds: float) -> None:
        self.now += timedelta(seconds=seconds)


@pytest.fixture
def clock():
    return Clock()


def fleet(clock, *, hosts=4, seed=1, **more):
    return SimulatedFleet(hosts=hosts, devices_per_host=8, seed=seed, now=clock, **more)


def readings(site):
    return by_id(site.readings())


def by_id(found):
    return {reading.meter_id: reading for reading in found}


def cap_all(site, limit_w):
    for view in site.devices():
        site.set_limit_w(view.device_id, limit_w)


def watch(site, clock, seconds):
    powers = []
    for _ in range(seconds):
        clock.pass_s(1.0)
        powers.append(readings(site)[SITE_METER_ID].power_w)
    return powers


@pytest.mark.parametrize("seed", range(5))
def test_256_devices_draw_what_such_a_cluster_draws(clock, seed):
    site = fleet(clock, hosts=32, seed=seed)
    assert len(site.devices()) == 256
    assert 95_000.0 < readings(site)[SITE_METER_ID].power_w < 115_000.0


def test_steady_load_stays_within_two_percent_over_ten_seconds(clock):
    site = fleet(clock)
    for _ in range(30):
        powers = watch(site, clock, 10)
        assert (max(powers) - min(powers)) / statistics.mean(powers) < 0.02
        clock.pass_s(300.0)


def test_site_is_more_than_its_devices(clock):
    site = fleet(clock)
    clock.pass_s(5.0)
    found = readings(site)
    devices_w = sum(reading.power_w for key, reading in found.items() if key != SITE_METER_ID)
    assert found[SITE_METER_ID].power_w == pytest.approx((devices_w * 1.04 + 32 * 8.0) * 1.15, rel=0.01)


def test_limit_is_nine_tenths_reached_in_35_ms_and_a_third_in_6(clock):
    site = fleet(clock, hosts=1)
    before_w = site.site_w()
    cap_all(site, 200.0)
    falls = []
    for pause_s in (0.006, 0.029, 0.965):
        clock.pass_s(pause_s)
        falls.append(before_w - site.site_w())
    assert falls[0] / falls[2] == pytest.approx(0.33, abs=0.02)
    assert falls[1] / falls[2] == pytest.approx(0.90, abs=0.02)


def test_device_sensor_shows_the_mean_of_the_last_second(clock):
    site = fleet(clock, hosts=1)
    clock.pass_s(10.0)
    full_w = readings(site)["h00-d0"].power_w
    cap_all(site, 200.0)
    clock.pass_s(0.5)
    half_w = readings(site)["h00-d0"].power_w
    clock.pass_s(0.6)
    capped_w = readings(site)["h00-d0"].power_w
    assert half_w == pytest.approx((full_w + capped_w) / 2.0, rel=0.05)
    assert capped_w == pytest.approx(197.0, abs=8.0)


def test_capped_device_draws_what_was_measured_at_that_cap(clock):
    job = SimulatedJob(job_id="j", workload="pretrain-13b", tier="flex3", devices=8)
    site = fleet(clock, hosts=1, jobs=[job])
    (view,) = site.jobs()
    for point in view.curve:
        cap_all(site, point.cap_w)
        clock.pass_s(30.0)
        mean_w = statistics.mean(reading.power_w for key, reading in readings(site).items() if key != SITE_METER_ID)
        assert mean_w == pytest.approx(point.power_w, rel=0.02)
        assert site.jobs()[0].throughput == pytest.approx(point.throughput, abs=0.011)


def test_idle_devices_give_no_reduction(clock):
    site = fleet(clock)
    busy = {device_id for job in site.jobs() for device_id in job.device_ids}
    idle = [view.device_id for view in site.devices() if view.device_id not in busy]
    assert idle
    before_w = site.site_w()
    for device_id in idle:
        site.set_limit_w(device_id, 100.0)
    clock.pass_s(2.0)
    assert site.site_w() == pytest.approx(before_w, rel=1e-3)
    assert readings(site)[idle[0]].power_w < 70.0


def test_every_device_works_for_one_job_at_most(clock):
    site = fleet(clock)
    used = [device_id for job in site.jobs() for device_id in job.device_ids]
    assert len(used) == len(set(used))
    assert set(used) <= {view.device_id for view in site.devices()}


def test_cooling_lags_by_minutes(clock):
    site = fleet(clock)
    before_w = site.site_w()
    cap_all(site, 200.0)
    clock.pass_s(2.0)
    soon_w = site.site_w()
    clock.pass_s(178.0)
    later_w = site.site_w()
    clock.pass_s(1800.0)
    end_w = site.site_w()
    assert before_w > soon_w > later_w > end_w
    cooling_w = soon_w - end_w
    assert cooling_w / (before_w - end_w) == pytest.approx(0.13, abs=0.015)
    assert (soon_w - later_w) / cooling_w == pytest.approx(1 - np.exp(-178 / 180), abs=0.05)


def test_site_register_is_the_integral_of_what_the_meter_shows(clock):
    site = fleet(clock)
    clock.pass_s(1.0)
    first = readings(site)[SITE_METER_ID]
    shown_j = 0.0
    for second in range(120):
        if second == 40:
            cap_all(site, 180.0)
        shown_j += watch(site, clock, 1)[0]
    counted_j = readings(site)[SITE_METER_ID].energy_j - first.energy_j
    assert shown_j == pytest.approx(counted_j, rel=1e-3)


def test_one_long_step_comes_to_the_same_as_many_short_ones(clock):
    other = Clock()
    one, many = fleet(clock), fleet(other)
    cap_all(one, 200.0)
    cap_all(many, 200.0)
    clock.pass_s(600.0)
    for _ in range(2400):
        other.pass_s(0.25)
        many.site_w()
    assert one.site_w() == pytest.approx(many.site_w(), rel=1e-9)
    ones, manys = readings(one), readings(many)
    assert ones[SITE_METER_ID].energy_j == pytest.approx(manys[SITE_METER_ID].energy_j, rel=1e-9)
    assert ones["h00-d0"].energy_j == pytest.approx(manys["h00-d0"].energy_j, rel=1e-9)
    assert ones["h00-d0"].power_w == pytest.approx(manys["h00-d0"].power_w, rel=1e-6)
    assert ones[SITE_METER_ID].power_w == pytest.approx(manys[SITE_METER_ID].power_w, rel=1e-6)


def test_years_pass_in_a_moment_and_a_clock_set_back_stands_still(clock):
    site = fleet(clock)
    clock.pass_s(10 * 365 * 86_400.0)
    assert site.site_w() > 0.0
    before = site.readings()
    clock.pass_s(-3600.0)
    assert site.readings() == before
    clock.pass_s(3601.0)
    assert readings(site)[SITE_METER_ID].energy_j > by_id(before)[SITE_METER_ID].energy_j


def test_site_meter_reads_at_whole_seconds(clock):
    site = fleet(clock)
    clock.pass_s(10.4)
    first = readings(site)[SITE_METER_ID]
    clock.pass_s(0.4)
    assert readings(site)[SITE_METER_ID] == first
    clock.pass_s(0.4)
    second = readings(site)[SITE_METER_ID]
    assert first.measured_at == START + timedelta(seconds=10)
    assert second.measured_at == START + timedelta(seconds=11)


def test_site_that_begins_between_two_seconds_meters_the_first_one_right(clock):
    clock.pass_s(0.7)
    site = fleet(clock)
    powers = watch(site, clock, 3)
    assert powers[0] == pytest.approx(powers[2], rel=0.01)


def test_same_seed_and_times_give_the_same_numbers():
    runs = []
    for _ in range(2):
        clock = Clock()
        site = fleet(clock)
        run = watch(site, clock, 5)
        cap_all(site, 230.0)
        runs.append((run + watch(site, clock, 5), site.readings(), site.jobs()))
    assert runs[0] == runs[1]


def test_what_is_done_does_not_change_the_load_underneath():
    """The counterfactual is the same seed with no event: after the caps are off, both are alike."""
    run_clock, idle_clock = Clock(), Clock()
    run, idle = fleet(run_clock), fleet(idle_clock)
    watch(run, run_clock, 7)
    cap_all(run, 150.0)
    watch(run, run_clock, 61)
    cap_all(run, 400.0)
    run_clock.pass_s(3600.0)
    idle_clock.pass_s(3668.0)
    assert readings(run)["h00-d0"].power_w == pytest.approx(readings(idle)["h00-d0"].power_w, rel=1e-9)
    assert run.site_w() == pytest.approx(idle.site_w(), rel=1e-6)


def test_paused_job_stands_still_and_keeps_its_devices_warm(clock):
    site = fleet(clock)
    job = site.jobs()[0]
    site.pause(job.job_id)
    clock.pass_s(2.0)
    paused = site.jobs()[0]
    assert (paused.state, paused.throughput) == (JobState.PAUSED, 0.0)
    assert 70.0 < readings(site)[job.device_ids[0]].power_w < 100.0
    site.resume(job.job_id)
    clock.pass_s(2.0)
    assert site.jobs()[0].throughput == 1.0
    with pytest.raises(Unsupported):
        site.pause("nobody")


def test_a_pause_longer_than_peers_wait_is_by_checkpoint(clock):
    jobs = tuple(
        SimulatedJob(job_id=name, workload="finetune-8b", tier="flex3", devices=1, max_pause_s=longest_s)
        for name, longest_s in (("short", 240.0), ("long", 14_400.0))
    )
    fleet = SimulatedFleet(hosts=1, devices_per_host=2, seed=1, now=clock, jobs=jobs)
    assert {job.job_id: job.method.value for job in fleet.jobs()} == {"short": "signal", "long": "checkpoint"}


def test_work_is_counted(clock):
    site = fleet(clock)
    job = site.jobs()[0]
    clock.pass_s(100.0)
    before = site.work_s()[job.job_id]
    assert before == pytest.approx(100.0)
    for device_id in job.device_ids:
        site.set_limit_w(device_id, 200.0)
    clock.pass_s(1.0)
    throughput = site.jobs()[0].throughput
    assert throughput < 0.85
    clock.pass_s(99.0)
    assert site.work_s()[job.job_id] - before == pytest.approx(100.0 * throughput, rel=0.02)
    site.pause(job.job_id)
    stopped = site.work_s()[job.job_id]
    clock.pass_s(100.0)
    assert site.work_s()[job.job_id] == pytest.approx(stopped)


@pytest.mark.parametrize("limit_w", [99.9, 400.1, -1.0, float("nan"), float("inf")])
def test_limit_out_of_range_is_refused(clock, limit_w):
    site = fleet(clock, hosts=1)
    with pytest.raises(WriteRefused):
        site.set_limit_w("h00-d0", limit_w)
    assert site.limit_w("h00-d0") == 400.0


def test_lost_device(clock):
    site = fleet(clock, hosts=1)
    site.set_limit_w("h00-d0", 300.0)
    site.inject(Faults(lost=frozenset({"h00-d0"})))
    for call in (lambda: site.limit_w("h00-d0"), lambda: site.set_limit_w("h00-d0", 200.0)):
        with pytest.raises(DeviceLost, match="h00-d0"):
            call()
    assert not site.devices()[0].present
    assert "h00-d0" not in readings(site)
    clock.pass_s(1.0)
    assert min(job.throughput for job in site.jobs()) < 1.0
    site.inject(Faults())
    assert site.devices()[0].present
    assert site.limit_w("h00-d0") == 300.0


def test_write_refused_limit_stuck_and_power_stuck(clock):
    site = fleet(clock, hosts=1)
    site.inject(
        Faults(
            write_refused=frozenset({"h00-d0"}),
            limit_stuck=frozenset({"h00-d1"}),
            power_stuck=frozenset({"h00-d2"}),
        )
    )
    with pytest.raises(WriteRefused):
        site.set_limit_w("h00-d0", 200.0)
    site.set_limit_w("h00-d1", 200.0)
    assert site.limit_w("h00-d1") == 400.0
    before_w = readings(site)["h00-d2"].power_w
    site.set_limit_w("h00-d2", 200.0)
    clock.pass_s(3.0)
    assert site.limit_w("h00-d2") == 200.0
    assert readings(site)["h00-d2"].power_w == pytest.approx(before_w, rel=0.03)
    site.inject(Faults())
    clock.pass_s(3.0)
    assert readings(site)["h00-d2"].power_w < 210.0


def test_limit_of_somebody_else(clock):
    site = fleet(clock, hosts=1)
    site.inject(Faults(limits_w={"h00-d0": 250.0, "nobody": 1.0}))
    assert site.limit_w("h00-d0") == 250.0
    site.set_limit_w("h00-d0", 300.0)
    assert site.limit_w("h00-d0") == 300.0, "it was set once, not for good"


def test_silent_meters(clock):
    site = fleet(clock, hosts=1)
    site.inject(Faults(silent_meters=frozenset({SITE_METER_ID, "h00-d3"})))
    assert SITE_METER_ID not in readings(site)
    assert "h00-d3" not in readings(site)
    assert len(site.readings()) == 7
    everything = frozenset({SITE_METER_ID, *(view.device_id for view in site.devices())})
    site.inject(Faults(silent_meters=everything))
    with pytest.raises(MeterSilent):
        site.readings()


def test_state_outlives_the_object(clock, tmp_path):
    path = tmp_path / "state"
    first = fleet(clock, state_path=path)
    job = next(job for job in first.jobs() if job.max_pause_s > 0.0)
    first.set_limit_w("h00-d0", 250.0)
    first.pause(job.job_id)
    clock.pass_s(100.0)
    left = readings(first)
    del first
    clock.pass_s(5.0)
    second = fleet(clock, state_path=path)
    assert second.limit_w("h00-d0") == 250.0
    assert [found.state for found in second.jobs() if found.job_id == job.job_id] == [JobState.PAUSED]
    found = readings(second)
    gained_j = found[SITE_METER_ID].energy_j - left[SITE_METER_ID].energy_j
    assert gained_j == pytest.approx(5.0 * left[SITE_METER_ID].power_w, rel=0.01)


@pytest.mark.parametrize(
    ("before", "after", "kept"), [("a", "a", True), ("a", "b", False), ("", "b", True), ("a", "", True)]
)
def test_limits_and_pauses_end_with_the_machines_life(clock, tmp_path, before, after, kept):
    path = tmp_path / "state"
    first = fleet(clock, state_path=path, boot_id=before)
    job = next(job for job in first.jobs() if job.max_pause_s > 0.0)
    first.set_limit_w("h00-d0", 250.0)
    first.pause(job.job_id)
    del first
    second = fleet(clock, state_path=path, boot_id=after)
    assert second.limit_w("h00-d0") == (250.0 if kept else 400.0)
    assert (JobState.PAUSED in {found.state for found in second.jobs()}) == kept
    second.set_limit_w("h00-d0", 260.0)
    del second
    assert fleet(clock, state_path=path, boot_id=after).limit_w("h00-d0") == 260.0, "forgotten once"


def test_call_that_hangs_is_told_on_the_device_and_over_when_it_is_over(clock):
    site = fleet(clock, hosts=1)
    with capture_logs() as logs:
        site.inject(Faults(hanging=frozenset({"h00-d1"})))
        for call in (site.limit_w, site.asked_w, lambda key: site.set_limit_w(key, 200.0)):
            with pytest.raises(CallHangs):
                call("h00-d1")
        views = {view.device_id: view for view in site.devices()}
        assert views["h00-d1"].present
        assert views["h00-d1"].fault.condition is Condition.CALL_HANGS
        assert [view.slot for view in views.values()] == list(range(8))
        assert "h00-d1" not in readings(site)
        site.inject(Faults())
        assert {view.fault for view in site.devices()} == {None}
    assert [line["event"] for line in logs] == ["simulated_trouble", "simulated_trouble_over"]
    assert site.limit_w("h00-d1") == 400.0


def test_state_of_another_fleet_is_not_taken(clock, tmp_path):
    fleet(clock, state_path=tmp_path / "state")
    with pytest.raises(HardwareError, match="another simulated fleet"):
        fleet(clock, hosts=5, state_path=tmp_path / "state")
    with pytest.raises(HardwareError, match="cannot be used"):
        fleet(clock, state_path=tmp_path / "state" / "under a file")


def test_faults_come_from_a_file_and_go_with_it(clock, tmp_path):
    site = fleet(clock, hosts=1, state_path=tmp_path / "state")
    file = faults_path(tmp_path / "state")
    file.write_text(json.dumps({"lost": ["h00-d0"], "limits_w": {"h00-d1": 222.0}}))
    clock.pass_s(1.0)
    assert not site.devices()[0].present
    assert site.limit_w("h00-d1") == 222.0
    site.set_limit_w("h00-d1", 300.0)
    clock.pass_s(1.0)
    assert site.limit_w("h00-d1") == 300.0
    file.write_text('{"lost": [')
    clock.pass_s(1.0)
    assert not site.devices()[0].present, "a file that cannot be read changes nothing"
    file.write_text('{"gone": ["h00-d1"]}')
    clock.pass_s(1.0)
    assert not site.devices()[0].present
    file.unlink()
    clock.pass_s(1.0)
    assert site.devices()[0].present


def test_two_fleets_stand_side_by_side(clock):
    one = fleet(clock, hosts=2)
    two = fleet(clock, hosts=2, first_host=2, site_meter_id=None)
    ids = [{view.device_id for view in site.devices()} for site in (one, two)]
    jobs = [{job.job_id for job in site.jobs()} for site in (one, two)]
    assert not ids[0] & ids[1]
    assert not jobs[0] & jobs[1]
    assert SITE_METER_ID not in readings(two)


@pytest.mark.parametrize("devices", [0, 9])
def test_jobs_that_do_not_fit(clock, devices):
    job = SimulatedJob(job_id="j", workload="finetune-8b", tier="flex1", devices=devices)
    with pytest.raises(ValueError, match="simulated fleet needs"):
        fleet(clock, hosts=1, jobs=[job])


def test_work_left_falls_as_fast_as_the_job_works(clock):
    due = START + timedelta(hours=3)
    asked = SimulatedJob(
        job_id="train", workload="pretrain-13b", tier="flex3", devices=8, work_s=3600.0, deadline_at=due
    )
    endless = SimulatedJob(job_id="serve", workload="inference-8b", tier="flex1", devices=8)
    site = fleet(clock, hosts=2, jobs=[asked, endless])
    clock.pass_s(600.0)
    half_way, serve = site.jobs()
    assert half_way.deadline_at == due
    assert half_way.remaining_s == pytest.approx(3000.0, rel=0.02)
    assert (serve.deadline_at, serve.remaining_s) == (None, None)
    cap_all(site, 200.0)
    clock.pass_s(600.0)
    slowed = site.jobs()[0]
    assert half_way.remaining_s - slowed.remaining_s == pytest.approx(600.0 * 0.624, rel=0.05)
    clock.pass_s(86_400.0)
    assert site.jobs()[0].remaining_s == 0.0
