"""The driver on real GPUs. Reads only, unless GRIDGATE_GPU_WRITE=1; what was measured is printed (`make gpu`)."""

import os
import platform
import statistics
import time
from collections.abc import Callable, Iterator
from datetime import UTC, datetime

import pytest

from hardware.device import PowerReading
from hardware.errors import WriteRefused
from hardware.nvml.driver import NvmlDriver
from hardware.nvml.sensors import energy_check

pytestmark = pytest.mark.gpu

SAMPLES = 20
PERIOD_S = 0.2
CALLS = 50


@pytest.fixture(scope="module")
def driver() -> Iterator[NvmlDriver]:
    with NvmlDriver(host_id=platform.node()) as opened:
        yield opened


def say(text: str) -> None:
    print(f"\n  {datetime.now(UTC):%Y-%m-%d} {text}", end="")  # noqa: T201 - figures are what these tests are for


def sampled(driver: NvmlDriver, seconds: float) -> dict[str, list[PowerReading]]:
    found: dict[str, list[PowerReading]] = {}
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        for reading in driver.readings():
            found.setdefault(reading.meter_id, []).append(reading)
        time.sleep(PERIOD_S)
    return found


def test_discovery_and_constraints(driver: NvmlDriver) -> None:
    for view in driver.devices():
        say(f"{view.device_id} {view.model}: {view.limit_w:g} W in force, {view.cap_range}")
        assert view.device_id.startswith("GPU-")
        assert view.present
        assert 0.0 < view.cap_range.min_w <= view.cap_range.default_w <= view.cap_range.max_w
        assert view.limit_w <= driver.asked_w(view.device_id) + 0.5


def test_power_by_fields(driver: NvmlDriver) -> None:
    readings = {reading.meter_id: reading for reading in driver.readings()}
    assert set(readings) >= {view.device_id for view in driver.devices()}
    for details in driver.details():
        reading = readings[details.device_id]
        say(f"{details.device_id}: {reading.power_w:.1f} W by {details.source}; {driver.limiting(details.device_id)}")
        assert details.source is not None
        assert 1.0 < reading.power_w < 5000.0


def test_energy_against_power(driver: NvmlDriver) -> None:
    for device_id, readings in sampled(driver, SAMPLES * PERIOD_S).items():
        if readings[0].energy_j is None:
            say(f"{device_id}: no energy counter of its power's scope")
            continue
        check = energy_check(readings)
        assert check is not None
        say(f"{device_id}: power comes to {100 * check.difference_fraction:+.1f} % of the counter beyond it, {check}")
        assert abs(check.difference_fraction) < 0.5


def test_latencies_of_calls(driver: NvmlDriver) -> None:
    device_id = driver.devices()[0].device_id
    calls: dict[str, Callable[[], object]] = {
        "limit in force": lambda: driver.limit_w(device_id),
        "limit asked for": lambda: driver.asked_w(device_id),
        "readings of all": driver.readings,
        "devices of all": driver.devices,
    }
    for what, call in calls.items():
        took_s = []
        for _ in range(CALLS):
            began = time.perf_counter()
            call()
            took_s.append(time.perf_counter() - began)
        say(f"{what}: median {1e3 * statistics.median(took_s):.2f} ms, longest {1e3 * max(took_s):.2f} ms")
        assert statistics.median(took_s) < 1.0


def test_a_limit_that_is_out_of_range_is_refused(driver: NvmlDriver) -> None:
    for view in driver.devices():
        for limit_w in (view.cap_range.min_w - 1.0, view.cap_range.max_w + 1.0):
            with pytest.raises(WriteRefused):
                driver.set_limit_w(view.device_id, limit_w)
        assert driver.limit_w(view.device_id) == pytest.approx(view.limit_w, abs=0.5)


def test_a_limit_is_in_force_and_then_put_back(driver: NvmlDriver) -> None:
    if os.environ.get("GRIDGATE_GPU_WRITE") != "1":
        pytest.skip("changes no limit unless GRIDGATE_GPU_WRITE=1")
    for view in driver.devices():
        found_w = driver.asked_w(view.device_id)
        lower_w = max(view.cap_range.min_w, round(0.9 * min(found_w, view.limit_w)))
        before_w = statistics.mean(one.power_w for one in sampled(driver, 2.0)[view.device_id])
        try:
            began = time.perf_counter()
            driver.set_limit_w(view.device_id, lower_w)
            in_force_w = driver.limit_w(view.device_id)
            took_ms = 1e3 * (time.perf_counter() - began)
            time.sleep(2.0)
            after_w = statistics.mean(one.power_w for one in sampled(driver, 2.0)[view.device_id])
        finally:
            driver.set_limit_w(view.device_id, found_w)
        say(f"{view.device_id}: {lower_w:g} W written and read back in {took_ms:.1f} ms")
        say(f"{view.device_id}: {before_w:.1f} W before, {after_w:.1f} W under it")
        assert in_force_w == pytest.approx(lower_w, abs=1.0)
        assert after_w <= lower_w * 1.05
        assert driver.asked_w(view.device_id) == pytest.approx(found_w, abs=0.5)
