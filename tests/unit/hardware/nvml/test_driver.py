"""The driver through the real binding: what it finds, writes and reads, and what it does when the driver goes."""

import ctypes
from datetime import UTC, datetime

import pynvml
import pytest
from structlog.testing import capture_logs

from hardware.device import CapRange, Quality
from hardware.errors import DeviceLost, DriverLost, MeterSilent, Unsupported, WriteRefused
from hardware.nvml.driver import NvmlDriver
from hardware.nvml.sensors import PowerSource
from tests.nvml_library import control
from tests.nvml_library.control import Board, compiled, installed

SET = "nvmlDeviceSetPowerManagementLimit"
ENFORCED = "nvmlDeviceGetEnforcedPowerLimit"


@pytest.fixture
def board(nvml_board):
    return nvml_board


@pytest.fixture
def driver(board):
    with NvmlDriver(host_id="h00", now=lambda: datetime.fromtimestamp(board.state.now_us / 1e6, UTC)) as opened:
        yield opened


def power_w(driver, device_id):
    return next(reading.power_w for reading in driver.readings() if reading.meter_id == device_id)


def test_what_it_finds(board, driver):
    board.devices[1].min_milliwatts, board.devices[1].max_milliwatts = 200_000, 700_000
    board.devices[1].default_milliwatts = 650_000
    with NvmlDriver(host_id="gpu-7") as other:
        views = other.devices()
    assert [view.device_id for view in views] == board.ids
    assert {view.host_id for view in views} == {"gpu-7"}
    assert views[0].cap_range == CapRange(min_w=100.0, default_w=400.0, max_w=400.0)
    assert views[1].cap_range == CapRange(min_w=200.0, default_w=650.0, max_w=700.0)
    assert views[0].model == "simulated accelerator, 400 W"


def test_indices_may_change_under_us(board, driver):
    first, second = board.ids[:2]
    board.state.order[0], board.state.order[1] = 1, 0
    driver.devices()
    driver.set_limit_w(first, 210.0)
    assert (board.named(first).limit_w, board.named(second).limit_w) == (210.0, 400.0)
    assert [view.device_id for view in driver.devices()] == board.ids, "the order of the first sight stays"


def test_watts_become_milliwatts_and_back(board, driver):
    driver.set_limit_w(board.ids[0], 250.1234)
    assert board.devices[0].limit_milliwatts == 250_123
    assert driver.limit_w(board.ids[0]) == 250.123


def test_the_limit_in_force_may_be_lower_than_the_one_asked_for(board, driver):
    board.devices[0].outside_w = 220.0
    driver.set_limit_w(board.ids[0], 300.0)
    assert (driver.asked_w(board.ids[0]), driver.limit_w(board.ids[0])) == (300.0, 220.0)
    board.pass_s(2.0)
    assert power_w(driver, board.ids[0]) < 225.0


def test_a_limit_out_of_range_never_reaches_the_library(board, driver):
    with pytest.raises(WriteRefused, match="450 W is not from 100 to 400 W"):
        driver.set_limit_w(board.ids[0], 450.0)
    assert board.devices[0].writes == 0


def test_the_setter_used_is_one_whose_return_code_the_binding_checks(board, driver):
    board.fail(SET, control.NO_PERMISSION)
    with pytest.raises(WriteRefused, match="SYS_ADMIN") as caught:
        driver.set_limit_w(board.ids[0], 250.0)
    assert isinstance(caught.value.__cause__, pynvml.NVMLError)
    assert driver.limit_w(board.ids[0]) == 400.0


def test_the_bindings_second_setter_does_not_check_its_return_code(board, driver):
    """Why the driver must not use it. Once this fails the binding has been mended."""
    refusing = ctypes.CFUNCTYPE(ctypes.c_int, ctypes.c_void_p, ctypes.c_void_p)(lambda handle, value: 4)
    pynvml._nvmlGetFunctionPointer_cache["nvmlDeviceSetPowerManagementLimit_v2"] = refusing
    handle = pynvml.nvmlDeviceGetHandleByUUID(board.ids[0])
    assert pynvml.nvmlDeviceSetPowerManagementLimit_v2(handle, 0, 250_000) == pynvml.NVML_SUCCESS


def test_mig_is_listed_on_the_parent_and_an_instance_is_no_device(board, driver):
    board.devices[2].mig = 1
    board.devices[2].reset()
    driver.readings()
    driver.devices()
    views = {view.device_id: view for view in driver.devices()}
    assert views[board.ids[2]].model.endswith("(in MIG mode)")
    assert [details.mig for details in driver.details()] == [False, False, True, False]
    with pytest.raises(Unsupported, match="cap the GPU"):
        driver.set_limit_w("MIG-0c757cd7-e942-5726-a0b8-0e8fb7067135", 200.0)


def test_a_gpu_that_takes_no_limit_has_a_range_of_one_point(board, driver):
    device = board.devices[0]
    device.abilities &= ~control.SET
    with pytest.raises(Unsupported):
        driver.set_limit_w(device.device_id, 250.0)
    view = driver.devices()[0]
    assert view.cap_range == CapRange(min_w=400.0, default_w=400.0, max_w=400.0)
    assert not driver.details()[0].can_cap
    assert driver.details()[1].can_cap
    device.abilities |= control.SET
    with pytest.raises(Unsupported, match="takes no power limit"):
        driver.set_limit_w(device.device_id, 250.0)


def test_a_gpu_without_limits_is_metered_all_the_same(board):
    board.devices[0].abilities &= ~control.LIMIT
    with NvmlDriver(host_id="h00") as driver:
        assert [view.device_id for view in driver.devices()] == board.ids[1:]
        assert [reading.meter_id for reading in driver.readings()] == board.ids
        with pytest.raises(Unsupported):
            driver.limit_w(board.ids[0])
        board.devices[0].lost = control.GPU_IS_LOST
        driver.devices()
        assert board.ids[0] not in {reading.meter_id for reading in driver.readings()}
        board.devices[0].lost = 0
        driver.devices()
        assert [reading.meter_id for reading in driver.readings()] == board.ids


@pytest.mark.parametrize(
    ("abilities", "source", "extra_w"),
    [
        (control.GPU_AVERAGE | control.GPU_INSTANT | control.MODULE_AVERAGE, PowerSource.GPU_AVERAGE, 0.0),
        (control.GPU_INSTANT | control.MODULE_AVERAGE, PowerSource.GPU_INSTANT, 0.0),
        (control.MODULE_AVERAGE | control.POWER_USAGE, PowerSource.MODULE_AVERAGE, 150.0),
        (control.MODULE_INSTANT | control.POWER_USAGE, PowerSource.MODULE_INSTANT, 150.0),
        (control.POWER_USAGE, PowerSource.POWER_USAGE, 0.0),
    ],
)
def test_power_falls_back_by_scope(board, abilities, source, extra_w):
    device = board.devices[0]
    device.abilities = abilities | control.ENERGY | control.LIMIT | control.SET
    device.module_extra_w = 150.0
    with NvmlDriver(host_id="h00") as driver:
        driver.devices()
        board.pass_s(2.0)
        reading = driver.readings()[0]
        assert reading.power_w == pytest.approx(control.WORKLOAD.power_w[-1] + extra_w, abs=0.1)
        assert driver.details()[0].source is source
        assert (reading.energy_j is None) == source.is_module, "the counter is the GPU's, not the module's"


def test_a_series_never_changes_its_scope(board, driver):
    device = board.devices[0]
    device.abilities |= control.MODULE_AVERAGE
    assert device.device_id in {reading.meter_id for reading in driver.readings()}
    for status in (3, 10, 999):
        device.field_errors[0] = status
        assert device.device_id not in {reading.meter_id for reading in driver.readings()}
    device.field_errors[0] = 0
    assert device.device_id in {reading.meter_id for reading in driver.readings()}
    assert driver.details()[0].source is PowerSource.GPU_AVERAGE


def test_a_field_that_fails_at_the_moment_is_not_passed_over_for_another_scope(board, driver):
    device = board.devices[0]
    device.abilities = control.USUAL & ~control.GPU_INSTANT | control.MODULE_AVERAGE
    device.field_errors[0] = 10
    assert device.device_id not in {reading.meter_id for reading in driver.readings()}
    device.field_errors[0] = 0
    driver.readings()
    assert driver.details()[0].source is PowerSource.GPU_AVERAGE


def test_no_power_at_all_is_suspect(board, driver):
    board.state.idle_w = 0.0
    board.devices[3].busy = 0
    driver.readings()
    board.pass_s(5.0)
    assert [reading.quality for reading in driver.readings()] == [Quality.GOOD] * 3 + [Quality.SUSPECT]


def test_the_energy_register_runs_on_over_a_reset(board, driver):
    driver.readings()
    board.pass_s(10.0)
    before_j = driver.readings()[0].energy_j
    board.devices[0].reset_energy = 1
    with capture_logs() as logs:
        assert driver.readings()[0].energy_j == pytest.approx(before_j, abs=0.01)
        board.pass_s(10.0)
        assert driver.readings()[0].energy_j == pytest.approx(2.0 * before_j, rel=0.01)
    assert [line["event"] for line in logs] == ["nvml_energy_counter_reset"]
    assert [details.energy_resets for details in driver.details()] == [1, 0, 0, 0]


def test_energy_that_parts_from_the_power_is_said_once(board, driver):
    def a_minute(shed_j):
        """A minute of readings, with so much lost from the first GPU's counter each second."""
        for _ in range(65):
            board.pass_s(1.0)
            board.devices[0].energy_base_j += shed_j
            driver.readings()
        return [
            (line["event"], line["device_id"] == board.ids[0]) for line in logs if line["event"].startswith("nvml_ener")
        ]

    driver.readings()
    with capture_logs() as logs:
        assert a_minute(0.0) == []
        assert driver.details()[0].energy_difference_fraction == pytest.approx(0.0, abs=0.02)
        assert a_minute(150.0) == [("nvml_energy_parted_from_power", True)]
        assert a_minute(150.0) == [("nvml_energy_parted_from_power", True)]
        assert driver.details()[0].energy_difference_fraction > 0.35
        assert a_minute(0.0) == [("nvml_energy_parted_from_power", True), ("nvml_energy_agrees_again", True)]


def test_a_gpu_without_an_energy_counter(board, driver):
    board.devices[0].abilities &= ~control.ENERGY
    first, second = driver.readings()[:2]
    assert (first.energy_j, second.energy_j is None) == (None, False)


def test_an_energy_counter_that_fails_leaves_the_power(board, driver):
    board.fail("nvmlDeviceGetTotalEnergyConsumption", 999, device=0)
    readings = driver.readings()
    assert len(readings) == 4
    assert readings[0].energy_j is None


def test_is_it_our_cap_that_bites(board, driver):
    busy, idle = board.ids[0], board.ids[3]
    assert not driver.limiting(busy).power_cap
    driver.set_limit_w(busy, 200.0)
    assert driver.limiting(busy).ours
    board.devices[0].other_reasons = pynvml.nvmlClocksEventReasonHwThermalSlowdown
    assert driver.limiting(busy).power_cap
    assert not driver.limiting(busy).ours
    assert driver.limiting(busy).others == ("too hot (hardware)",)
    assert driver.limiting(idle).idle
    assert driver.devices()[0].slowed_by == ("power limit", "too hot (hardware)")
    assert driver.devices()[3].slowed_by == ()
    board.fail("nvmlDeviceGetCurrentClocksEventReasons", 3, device=0)
    board.fail("nvmlDeviceGetCurrentClocksThrottleReasons", 3, device=0)
    assert driver.devices()[0].slowed_by == ()
    assert driver.devices()[0].fault is None


def test_a_reset_makes_handles_stale_and_the_next_call_asks_anew(board, driver):
    driver.set_limit_w(board.ids[0], 250.0)
    board.devices[0].reset()
    with pytest.raises(DeviceLost):
        driver.limit_w(board.ids[0])
    assert driver.limit_w(board.ids[0]) == 400.0
    assert all(view.present for view in driver.devices())


def test_a_device_that_went_is_said_once_and_so_is_its_return(board, driver):
    board.devices[1].lost = control.GPU_IS_LOST
    with capture_logs() as logs:
        for _ in range(3):
            driver.readings()
            assert [view.present for view in driver.devices()] == [True, False, True, True]
        board.devices[1].lost = 0
        for _ in range(3):
            assert all(view.present for view in driver.devices())
    assert [line["event"] for line in logs] == ["nvml_device_lost", "nvml_device_back"]
    assert logs[0]["log_level"] == "error"
    assert "Xid 79" in logs[0]["detail"]


def test_a_device_that_answers_everything_but_its_limit_is_not_back(board, driver):
    board.fail(ENFORCED, 16, device=0)
    with capture_logs() as logs:
        for _ in range(3):
            assert not driver.devices()[0].present
    assert [line["event"] for line in logs] == ["nvml_device_lost"]


def test_a_device_that_is_not_listed_any_more(board, driver):
    board.state.devices = 3
    assert [view.present for view in driver.devices()] == [True, True, True, False]
    with pytest.raises(DeviceLost, match="cannot read the enforced limit"):
        driver.limit_w("GPU-00000003-0000-4000-8000-000000000000")


def test_a_limit_that_cannot_be_read_for_the_moment_is_as_last_heard_of(board, driver):
    driver.set_limit_w(board.ids[0], 250.0)
    driver.limit_w(board.ids[0])
    board.fail(ENFORCED, 10, device=0)
    assert (driver.devices()[0].limit_w, driver.devices()[0].present) == (250.0, True)


@pytest.mark.parametrize(("code", "cure"), [(9, "modprobe nvidia"), (18, "restart the agent"), (1, "begins anew")])
def test_a_driver_that_goes_takes_every_device_with_it_and_is_begun_anew(board, driver, code, cure):
    driver.set_limit_w(board.ids[0], 250.0)
    board.unload_driver(code)
    with capture_logs() as logs:
        for call in (driver.limit_w, driver.asked_w, driver.limiting):
            with pytest.raises(DriverLost, match=cure):
                call(board.ids[0])
        with pytest.raises(DriverLost):
            driver.set_limit_w(board.ids[0], 200.0)
        with pytest.raises(DriverLost):
            driver.readings()
        assert [view.present for view in driver.devices()] == [False] * 4
    assert {line["event"] for line in logs} == {"nvml_driver_lost"}
    assert len(logs) <= 2, "once where it was noticed, once where it could not be opened"
    board.load_driver()
    with capture_logs() as logs:
        assert {reading.meter_id for reading in driver.readings()} == set(board.ids)
        assert [view.present for view in driver.devices()] == [True] * 4
    assert [line["event"] for line in logs if line["event"].startswith("nvml_driver")] == ["nvml_driver_back"]
    assert driver.limit_w(board.ids[0]) == 400.0, "a driver that was loaded anew keeps no limit"
    driver.set_limit_w(board.ids[0], 250.0)
    assert board.devices[0].limit_w == 250.0


def test_a_driver_loaded_anew_between_two_calls(board, driver):
    board.load_driver()
    with pytest.raises(DriverLost, match="loaded anew"):
        driver.limit_w(board.ids[0])
    assert driver.limit_w(board.ids[0]) == 400.0


def test_no_driver_at_the_start(board):
    board.unload_driver()
    with pytest.raises(DriverLost, match="modprobe nvidia"), NvmlDriver(host_id="h00"):
        pass
    late = NvmlDriver(host_id="h00")
    with pytest.raises(DriverLost):
        late.devices()
    board.load_driver()
    assert len(late.devices()) == 4
    late.close()


def test_no_library(board, monkeypatch):
    def missing(name):
        raise OSError(f"{name}: cannot open shared object file")

    monkeypatch.setattr(pynvml, "nvmlLib", None)
    monkeypatch.setattr(pynvml, "CDLL", missing)
    with pytest.raises(DriverLost, match="libnvidia-ml"), NvmlDriver(host_id="h00"):
        pass


def test_no_devices(tmp_path, nvml_library):
    with installed(nvml_library, Board(tmp_path / "none", devices=0)), NvmlDriver(host_id="h00") as driver:
        assert driver.devices() == ()
        with pytest.raises(MeterSilent):
            driver.readings()


def test_begun_and_ended_in_pairs(board):
    with NvmlDriver(host_id="one") as one, NvmlDriver(host_id="two") as two:
        assert one.devices()[0].limit_w == two.devices()[0].limit_w
    one.close()
    assert (board.state.inits, board.state.shutdowns) == (2, 2)
    assert len(one.devices()) == 4, "a closed driver that is asked begins anew"
    one.close()
    assert (board.state.inits, board.state.shutdowns) == (3, 3)


def test_an_old_driver_lacks_fields_and_energy_and_goes_by_what_it_has(tmp_path):
    library = compiled(tmp_path / "old", old_driver=True)
    with installed(library, Board(tmp_path / "state")) as board, NvmlDriver(host_id="h00") as driver:
        reading = driver.readings()[0]
        assert driver.details()[0].source is PowerSource.POWER_USAGE
        assert reading.energy_j is None
        driver.set_limit_w(board.ids[0], 200.0)
        assert driver.limit_w(board.ids[0]) == 200.0
        assert driver.limiting(board.ids[0]).ours
