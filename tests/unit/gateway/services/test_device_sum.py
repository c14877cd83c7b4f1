from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.services.device_sum import DeviceSum
from hardware.device import CapRange, DeviceView, PowerReading, Quality
from hardware.errors import MeterSilent

AT = datetime(2026, 7, 1, tzinfo=UTC)
RANGE = CapRange(min_w=100.0, default_w=400.0, max_w=400.0)


class Devices:
    def __init__(self) -> None:
        self.views = {
            key: DeviceView(device_id=key, host_id="h", model="m", cap_range=RANGE, limit_w=400.0) for key in "abc"
        }
        self.found = [
            PowerReading(meter_id=key, power_w=100.0, energy_j=5.0, measured_at=AT + timedelta(seconds=index))
            for index, key in enumerate("abc")
        ]

    def devices(self):
        return self.views

    async def read(self):
        if not self.found:
            raise MeterSilent("nobody answers")
        return tuple(self.found)


async def site(devices):
    read = await DeviceSum(devices, meter_id="site").read()
    assert read[: len(devices.found)] == tuple(devices.found), "the devices' own readings stay"
    return read[len(devices.found) :]


async def test_sum_of_the_devices():
    assert await site(Devices()) == (
        PowerReading(meter_id="site", power_w=300.0, measured_at=AT + timedelta(seconds=2)),
    )


async def test_no_sum_while_a_device_that_is_present_is_silent():
    devices = Devices()
    devices.found.pop()
    assert await site(devices) == ()


async def test_a_lost_device_is_left_out():
    devices = Devices()
    devices.found.pop()
    devices.views["c"] = replace(devices.views["c"], present=False)
    (reading,) = await site(devices)
    assert reading.power_w == 200.0


async def test_a_meter_that_takes_no_cap_counts_too():
    devices = Devices()
    del devices.views["c"]
    (reading,) = await site(devices)
    assert reading.power_w == 300.0


async def test_no_sum_before_any_device_is_known():
    devices = Devices()
    devices.views.clear()
    assert await site(devices) == ()


async def test_as_suspect_as_its_worst_part():
    devices = Devices()
    devices.found[1] = replace(devices.found[1], quality=Quality.SUSPECT)
    (reading,) = await site(devices)
    assert reading.quality is Quality.SUSPECT


async def test_silence_is_passed_on():
    devices = Devices()
    devices.found.clear()
    with pytest.raises(MeterSilent):
        await site(devices)
