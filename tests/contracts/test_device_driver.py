"""What every ``DeviceDriver`` promises. Add a driver by adding a bench for it."""

import math
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

import pytest

from hardware.device import DeviceDriver
from hardware.errors import DeviceLost, WriteRefused
from hardware.lanes import FanOut, Lanes, Serial
from hardware.simulated import SITE_METER_ID, SimulatedFleet
from hardware.workloads import SimulatedJob
from tests.nvml_library.control import GPU_IS_LOST

SERIAL = Serial()


@dataclass
class Bench:
    """A driver whose first device is busy, how to let time pass, and how to take a device away and give it back."""

    driver: DeviceDriver
    pass_s: Callable[[float], None]
    lose: Callable[[str], None]
    find: Callable[[], None]
    reopen: Callable[[], DeviceDriver]
    """The driver as another process would open it after this one was killed."""


def simulated(request) -> Bench:
    from hardware.faults import Faults

    tmp_path = request.getfixturevalue("tmp_path")

    now = [datetime(2026, 7, 1, tzinfo=UTC)]
    job = SimulatedJob(job_id="j", workload="finetune-8b", tier="flex3", devices=2)

    def opened() -> SimulatedFleet:
        return SimulatedFleet(
            hosts=1,
            devices_per_host=4,
            seed=3,
            now=lambda: now[0],
            state_path=tmp_path / "devices",
            jobs=[job],
        )

    def pass_s(seconds: float) -> None:
        now[0] += timedelta(seconds=seconds)

    fleet = opened()
    return Bench(
        driver=fleet,
        pass_s=pass_s,
        lose=lambda device_id: fleet.inject(Faults(lost=frozenset({device_id}))),
        find=lambda: fleet.inject(Faults()),
        reopen=opened,
    )


def nvml_in_lanes(request) -> Bench:
    """As an agent has it: each GPU asked in a thread of its own."""
    lanes = Lanes(deadline_s=10.0)
    request.addfinalizer(lanes.close)
    return nvml(request, lanes)


def nvml(request, lanes: FanOut = SERIAL) -> Bench:
    """The real binding over our own library, whose devices lie in a mapped file."""
    from hardware.nvml.driver import NvmlDriver

    board = request.getfixturevalue("nvml_board")
    lost = []

    def now() -> datetime:
        return datetime.fromtimestamp(board.state.now_us / 1e6, UTC)

    def opened() -> NvmlDriver:
        return NvmlDriver(host_id="h00", now=now, lanes=lanes)

    def lose(device_id: str) -> None:
        lost.append(board.named(device_id))
        lost[-1].lost = GPU_IS_LOST

    def find() -> None:
        lost.pop().lost = 0

    return Bench(driver=opened(), pass_s=board.pass_s, lose=lose, find=find, reopen=opened)


@pytest.fixture(params=[simulated, nvml, nvml_in_lanes], ids=lambda make: make.__name__)
def bench(request) -> Bench:
    return request.param(request)


def test_devices_have_names_of_their_own_and_limits_in_range(bench):
    views = bench.driver.devices()
    assert len({view.device_id for view in views}) == len(views) > 0
    for view in views:
        assert view.host_id
        assert view.model
        assert 0.0 < view.cap_range.min_w <= view.cap_range.default_w <= view.cap_range.max_w
        assert view.limit_w == bench.driver.limit_w(view.device_id) == bench.driver.asked_w(view.device_id)
        assert view.present


def test_devices_have_slots_of_their_own(bench):
    assert [view.slot for view in bench.driver.devices()] == [0, 1, 2, 3]


def test_limit_is_read_back(bench):
    view = bench.driver.devices()[0]
    for limit_w in (view.cap_range.min_w, 250.0, view.cap_range.max_w):
        bench.driver.set_limit_w(view.device_id, limit_w)
        assert bench.driver.limit_w(view.device_id) == pytest.approx(limit_w, abs=0.5)
        assert bench.driver.asked_w(view.device_id) == pytest.approx(limit_w, abs=0.5)
    others = bench.driver.devices()[1:]
    assert all(other.limit_w == other.cap_range.default_w for other in others)


def test_limit_out_of_range_is_refused_and_changes_nothing(bench):
    view = bench.driver.devices()[0]
    for limit_w in (view.cap_range.min_w - 1.0, view.cap_range.max_w + 1.0, -1.0, math.nan, math.inf):
        with pytest.raises(WriteRefused) as caught:
            bench.driver.set_limit_w(view.device_id, limit_w)
        assert caught.value.device_id == view.device_id
    assert bench.driver.limit_w(view.device_id) == view.limit_w


def test_unknown_device_is_lost(bench):
    for call in (bench.driver.limit_w, bench.driver.asked_w):
        with pytest.raises(DeviceLost):
            call("no-such-device")
    with pytest.raises(DeviceLost):
        bench.driver.set_limit_w("no-such-device", 200.0)


def test_lost_device_is_absent_and_does_not_hide_the_others(bench):
    lost, other = bench.driver.devices()[:2]
    bench.lose(lost.device_id)
    for call in (
        bench.driver.limit_w,
        bench.driver.asked_w,
        lambda device_id: bench.driver.set_limit_w(device_id, 200.0),
    ):
        with pytest.raises(DeviceLost) as caught:
            call(lost.device_id)
        assert caught.value.device_id == lost.device_id
    present = {view.device_id: view.present for view in bench.driver.devices()}
    assert not present.get(lost.device_id, False)
    assert present[other.device_id]
    assert lost.device_id not in {reading.meter_id for reading in bench.driver.readings()}
    bench.driver.set_limit_w(other.device_id, 200.0)
    bench.find()
    assert bench.driver.limit_w(lost.device_id) > 0.0


def test_lost_device_that_is_found_again_is_present(bench):
    lost = bench.driver.devices()[0]
    bench.lose(lost.device_id)
    assert not {view.device_id: view.present for view in bench.driver.devices()}.get(lost.device_id, False)
    bench.find()
    assert {view.device_id: view.present for view in bench.driver.devices()}[lost.device_id]
    assert lost.device_id in {reading.meter_id for reading in bench.driver.readings()}


def test_readings_of_every_device(bench):
    bench.pass_s(2.0)
    readings = {reading.meter_id: reading for reading in bench.driver.readings()}
    ids = {view.device_id for view in bench.driver.devices()}
    assert ids <= set(readings)
    assert set(readings) - ids <= {SITE_METER_ID}
    for reading in readings.values():
        assert math.isfinite(reading.power_w)
        assert reading.power_w >= 0.0
        assert reading.measured_at.utcoffset() == timedelta(0)


def test_energy_is_power_over_time(bench):
    bench.pass_s(5.0)
    first = {reading.meter_id: reading for reading in bench.driver.readings()}
    bench.pass_s(5.0)
    for reading in bench.driver.readings():
        assert reading.energy_j is not None
        counted_j = reading.energy_j - first[reading.meter_id].energy_j
        assert counted_j == pytest.approx(5.0 * reading.power_w, rel=0.05)


def test_power_follows_the_limit_within_two_seconds(bench):
    view = bench.driver.devices()[0]

    def power_w() -> float:
        return next(one.power_w for one in bench.driver.readings() if one.meter_id == view.device_id)

    bench.pass_s(2.0)
    before_w = power_w()
    limit_w = view.cap_range.min_w + 50.0
    assert before_w > limit_w
    bench.driver.set_limit_w(view.device_id, limit_w)
    bench.pass_s(2.0)
    assert power_w() < 1.05 * limit_w
    bench.driver.set_limit_w(view.device_id, view.limit_w)
    bench.pass_s(2.0)
    assert power_w() == pytest.approx(before_w, rel=0.1)


def test_limit_outlives_the_process_that_set_it(bench):
    view = bench.driver.devices()[0]
    bench.driver.set_limit_w(view.device_id, 250.0)
    assert bench.reopen().limit_w(view.device_id) == pytest.approx(250.0, abs=0.5)
