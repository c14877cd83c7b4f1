"""Our own library itself: the physics of the simulated fleet, and faults as asked for."""

from datetime import UTC, datetime, timedelta

import pynvml
import pytest

from hardware.nvml.sensors import FIELDS, power_fields
from hardware.simulated import SimulatedFleet
from hardware.workloads import SimulatedJob
from tests.nvml_library import control

USAGE = "nvmlDeviceGetPowerUsage"


@pytest.fixture
def handle(nvml_board):
    pynvml.nvmlInit()
    return pynvml.nvmlDeviceGetHandleByUUID(nvml_board.ids[0])


def usage_w(handle):
    return pynvml.nvmlDeviceGetPowerUsage(handle) / 1000.0


def code_of(call, *given):
    try:
        call(*given)
    except pynvml.NVMLError as error:
        return error.value
    return 0


def test_power_is_the_simulated_fleets(nvml_board, handle):
    """Both after the same steps; the fleet's devices differ by a spread, its sensors by noise, its jobs by a swing."""
    now = [datetime(2026, 7, 1, tzinfo=UTC)]
    job = SimulatedJob(job_id="j", workload="finetune-8b", tier="flex3", devices=1)
    fleet = SimulatedFleet(hosts=1, devices_per_host=1, seed=1, now=lambda: now[0], jobs=[job])
    spread = fleet.readings()[0].power_w / control.WORKLOAD.power_w[-1]
    for limit_w in (150.0, 330.0, 100.0, 400.0):
        fleet.set_limit_w("h00-d0", limit_w)
        pynvml.nvmlDeviceSetPowerManagementLimit(handle, round(limit_w * 1000))
        for seconds in (0.01, 0.02, 0.5, 0.7):
            now[0] += timedelta(seconds=seconds)
            nvml_board.pass_s(seconds)
            (theirs, _) = fleet.readings()
            assert usage_w(handle) * spread == pytest.approx(theirs.power_w, rel=0.02, abs=4.0)


def test_instant_is_there_before_the_average(nvml_board, handle):
    usage_w(handle)
    nvml_board.pass_s(3.0)
    pynvml.nvmlDeviceSetPowerManagementLimit(handle, 150_000)
    nvml_board.pass_s(0.035)
    average, instant, *_ = power_fields(handle, FIELDS).values()
    before_w = control.WORKLOAD.power_w[-1]
    after_w = 0.5 * (control.WORKLOAD.power_w[0] + control.WORKLOAD.power_w[1])
    assert (before_w - instant.power_w) / (before_w - after_w) == pytest.approx(0.9, abs=0.01)
    assert average.power_w > before_w - 10.0


def test_sensor_shows_something_new_only_every_so_often(nvml_board, handle):
    usage_w(handle)
    nvml_board.pass_s(2.0)
    nvml_board.state.sensor_ms = 100
    pynvml.nvmlDeviceSetPowerManagementLimit(handle, 150_000)
    shown = []
    for _ in range(40):
        nvml_board.pass_s(0.01)
        shown.append(power_fields(handle, FIELDS[:1])[FIELDS[0]].power_w)
    assert len(set(shown)) in {4, 5}


def test_faults_after_so_many_calls_and_so_often(nvml_board, handle):
    nvml_board.fail(USAGE, 999, skip_calls=2, times=3)
    assert [code_of(pynvml.nvmlDeviceGetPowerUsage, handle) for _ in range(7)] == [0, 0, 999, 999, 999, 0, 0]


def test_faults_by_probability_are_the_same_each_time(nvml_board, handle):
    def codes(seed):
        rule = nvml_board.fail(USAGE, 10, probability=0.3, seed=seed)
        found = [code_of(pynvml.nvmlDeviceGetPowerUsage, handle) for _ in range(400)]
        rule.taken_back()
        return found

    once = codes(1)
    assert once == codes(1) != codes(2)
    assert 0.2 < once.count(10) / 400 < 0.4


def test_call_that_works_and_says_it_did_not(nvml_board, handle):
    nvml_board.fail("nvmlDeviceSetPowerManagementLimit", 10, works=True, times=1)
    assert code_of(pynvml.nvmlDeviceSetPowerManagementLimit, handle, 200_000) == 10
    assert nvml_board.limits_w()[0] == 200.0


def test_call_that_says_it_worked_and_did_not(nvml_board, handle):
    nvml_board.fail("nvmlDeviceSetPowerManagementLimit", 0, times=1)
    pynvml.nvmlDeviceSetPowerManagementLimit(handle, 200_000)
    assert nvml_board.limits_w()[0] == 400.0


def test_nothing_works_before_initialisation_and_on_an_unknown_handle(nvml_board):
    assert code_of(pynvml.nvmlDeviceGetCount) == 1  # The binding's own answer: its library is there, its session not.
    pynvml.nvmlInit()
    assert code_of(pynvml.nvmlDeviceGetHandleByUUID, "GPU-unknown") == 6
    assert code_of(pynvml.nvmlDeviceGetHandleByIndex, 4) == 2
