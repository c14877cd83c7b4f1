"""The driver over lanes: GPUs asked side by side, one that hangs, and a driver that several lanes find gone at once."""

import threading
import time

import pytest
from structlog.testing import capture_logs

from hardware.errors import CallHangs, Condition, DriverLost, HardwareError
from hardware.lanes import Lanes
from hardware.nvml.driver import DRIVER_LANE, NvmlDriver
from tests.lab import eventually
from tests.nvml_library import control

ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"


@pytest.fixture
def lanes(nvml_board):
    made = Lanes(deadline_s=0.3)
    yield made
    nvml_board.heal()
    eventually("no call hangs", lambda: not made.hung(), within_s=10.0, every_s=0.01)
    made.close()


@pytest.fixture
def driver(nvml_board, lanes):
    with NvmlDriver(host_id="h00", lanes=lanes) as opened:
        yield opened


@pytest.mark.parametrize(
    "function",
    [ENFORCED, "nvmlDeviceGetFieldValues", "nvmlDeviceGetHandleByIndex_v2", "nvmlDeviceGetUUID"],
)
def test_a_gpu_that_hangs_holds_none_of_the_others_up(nvml_board, lanes, driver, function):
    driver.devices()
    nvml_board.fail(function, 0, device=1, works=True, delay_ms=60_000)
    driver.devices()
    driver.readings()
    began_s = time.monotonic()
    for _ in range(20):
        views = driver.devices()
        readings = {reading.meter_id for reading in driver.readings()}
    assert time.monotonic() - began_s < 4.0, "the deadline was waited for once, not forty times"
    assert [view.device_id for view in views] == nvml_board.ids
    assert all(view.present for view in views)
    assert [view.fault and view.fault.condition for view in views] == [None, Condition.CALL_HANGS, None, None]
    assert readings == {nvml_board.ids[0], nvml_board.ids[2], nvml_board.ids[3]}
    nvml_board.heal()
    eventually("no call hangs", lambda: not lanes.hung(), within_s=10.0, every_s=0.01)
    assert [view.fault for view in driver.devices()] == [None] * 4
    assert len(driver.readings()) == 4


def test_a_driver_that_hangs_as_a_whole_is_on_every_view(nvml_board, lanes, driver):
    driver.devices()
    nvml_board.fail("nvmlDeviceGetCount_v2", 0, works=True, delay_ms=60_000)
    views = driver.devices()
    assert {view.fault.condition for view in views} == {Condition.CALL_HANGS}
    assert lanes.hung().keys() == {DRIVER_LANE}


def test_a_driver_that_hangs_before_any_gpu_was_found(nvml_board, lanes):
    nvml_board.fail("nvmlDeviceGetCount_v2", 0, works=True, delay_ms=60_000)
    with pytest.raises(CallHangs):
        NvmlDriver(host_id="h00", lanes=lanes).open()


def test_a_driver_loaded_anew_is_found_by_every_lane_and_begun_once(nvml_board, lanes, driver):
    ids = nvml_board.ids
    for _ in range(20):
        nvml_board.load_driver()
        with capture_logs() as logs:
            for _ in range(3):
                answers = lanes.each(ids, driver.limit_w)
        assert answers == dict.fromkeys(ids, 400.0), "each lane fails at most at its first calls"
        assert [line["event"] for line in logs if line["event"] == "nvml_driver_lost"] == ["nvml_driver_lost"]
    state = nvml_board.state
    assert (state.inits, state.shutdowns) == (21, 20), "one session for each time that it was loaded"


def test_a_driver_that_has_gone_is_told_once_by_all_lanes(nvml_board, lanes, driver):
    nvml_board.unload_driver(control.VERSION_MISMATCH)
    with capture_logs() as logs:
        answers = lanes.each(nvml_board.ids, driver.limit_w)
        views = driver.devices()
    assert {type(answer) for answer in answers.values()} == {DriverLost}
    assert [line["event"] for line in logs] == ["nvml_driver_lost"]
    assert {(view.present, view.fault.condition) for view in views} == {(False, Condition.VERSION_MISMATCH)}


def test_limits_may_be_written_by_many_threads(nvml_board, driver):
    wrong = []

    def write(device_id: str) -> None:
        for limit_w in range(150, 250):
            try:
                driver.set_limit_w(device_id, float(limit_w))
                if driver.limit_w(device_id) != limit_w:
                    wrong.append((device_id, limit_w))
            except HardwareError as fault:
                wrong.append((device_id, fault))

    threads = [threading.Thread(target=write, args=(device_id,)) for device_id in nvml_board.ids]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []
    assert nvml_board.limits_w() == [249.0] * 4


def test_a_gpu_without_a_number_on_the_host(nvml_board):
    nvml_board.fail("nvmlDeviceGetMinorNumber", 3, device=2)
    with NvmlDriver(host_id="h00") as driver:
        views = driver.devices()
    assert [view.slot for view in views] == [0, 1, None, 3]
    assert [view.fault for view in views] == [None] * 4
