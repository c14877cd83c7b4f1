"""Each NVML error, on a read and on a write: what it is raised as, its cure, and that the next call may go well."""

import pynvml
import pytest
from structlog.testing import capture_logs

from hardware.errors import DeviceLost, DriverLost, MeterSilent, Unsupported, WriteRefused
from hardware.nvml.driver import NvmlDriver
from hardware.nvml.policy import POLICIES, policy_of

SET = "nvmlDeviceSetPowerManagementLimit"
ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"

CASES = [
    (3, Unsupported, Unsupported, "cannot do it"),
    (13, Unsupported, Unsupported, "too old"),
    (25, Unsupported, Unsupported, "too old"),
    (4, MeterSilent, WriteRefused, "cap-add SYS_ADMIN"),
    (17, MeterSilent, WriteRefused, "device cgroup"),
    (2, MeterSilent, WriteRefused, "invalid"),
    (8, MeterSilent, WriteRefused, "power cables"),
    (10, MeterSilent, WriteRefused, "read back later"),
    *((code, MeterSilent, WriteRefused, "it may go well later") for code in (11, 19, 20, 21, 23, 27, 29)),
    (999, MeterSilent, WriteRefused, "Xid"),
    (777, MeterSilent, WriteRefused, "Xid"),
    (15, DeviceLost, DeviceLost, "power-cycle"),
    (16, DeviceLost, DeviceLost, "gpu-reset"),
    (6, DeviceLost, DeviceLost, "nvidia-smi"),
    (28, DeviceLost, DeviceLost, "nvidia-smi"),
    (1, DriverLost, DriverLost, "begins anew"),
    (9, DriverLost, DriverLost, "modprobe"),
    (12, DriverLost, DriverLost, "install the NVIDIA driver"),
    (18, DriverLost, DriverLost, "upgraded under us"),
]


@pytest.fixture
def driver(nvml_board):
    with NvmlDriver(host_id="h00") as opened:
        yield opened


@pytest.mark.parametrize(("code", "read", "write", "cure"), CASES, ids=str)
def test_error_on_a_read(nvml_board, driver, code, read, write, cure):
    nvml_board.fail(ENFORCED, code, device=0, times=1)
    with capture_logs() as logs, pytest.raises(read, match=cure) as caught:
        driver.limit_w(nvml_board.ids[0])
    assert type(caught.value) is read
    assert isinstance(caught.value.__cause__, pynvml.NVMLError)
    assert caught.value.device_id == nvml_board.ids[0]
    assert read is Unsupported or [line["log_level"] for line in logs] in (["warning"], ["error"])
    assert driver.limit_w(nvml_board.ids[0]) == 400.0
    assert len(driver.readings()) == 4


@pytest.mark.parametrize(("code", "read", "write", "cure"), CASES, ids=str)
def test_error_on_a_write(nvml_board, driver, code, read, write, cure):
    nvml_board.fail(SET, code, device=0, times=1)
    with capture_logs() as logs, pytest.raises(write, match=cure) as caught:
        driver.set_limit_w(nvml_board.ids[0], 250.0)
    assert type(caught.value) is write
    assert caught.value.device_id == nvml_board.ids[0]
    assert len(logs) == 1
    assert nvml_board.limits_w() == [400.0] * 4
    assert driver.limit_w(nvml_board.ids[0]) == 400.0
    driver.set_limit_w(nvml_board.ids[1], 250.0)
    assert nvml_board.limits_w() == [400.0, 250.0, 400.0, 400.0]


def test_an_invalid_argument_is_answered_with_the_valid_range(nvml_board, driver):
    nvml_board.fail(SET, 2)
    with pytest.raises(WriteRefused, match=r"to 250 W \(it takes 100 to 400 W\)"):
        driver.set_limit_w(nvml_board.ids[0], 250.0)


def test_a_trouble_that_goes_on_is_said_once_and_its_end_once(nvml_board, driver):
    rule = nvml_board.fail(SET, 4)
    with capture_logs() as logs:
        for limit_w in (200.0, 250.0, 300.0):
            with pytest.raises(WriteRefused):
                driver.set_limit_w(nvml_board.ids[0], limit_w)
            driver.limit_w(nvml_board.ids[0])
        rule.taken_back()
        driver.set_limit_w(nvml_board.ids[0], 200.0)
    assert [line["event"] for line in logs] == ["nvml_trouble", "nvml_trouble_over"]
    assert "SYS_ADMIN" in logs[0]["detail"]


def test_every_error_of_the_binding_has_a_policy_and_a_cure():
    codes = {getattr(pynvml, name) for name in dir(pynvml) if name.startswith("NVML_ERROR_")}
    named = {code for code, *_ in CASES}
    assert set(POLICIES) <= named
    for code in codes:
        assert policy_of(code).cure
