"""A meter that lies, as the gateway reads it."""

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.simulation.meter import PlayedMeter
from gateway.simulation.scenario import FaultPart
from hardware.device import PowerReading
from hardware.errors import MeterSilent

START = datetime(2026, 7, 1, tzinfo=UTC)


def latched(second: int) -> PowerReading:
    at = START + timedelta(seconds=second)
    return PowerReading(meter_id="site", power_w=1000.0 + second, measured_at=at, energy_j=1000.0 * second)


async def told(seconds: int, **fault: Any) -> list[PowerReading]:
    """What is read each second, of a meter that goes wrong at second 2."""
    now = [0]
    meter = PlayedMeter(lambda: latched(now[0]))
    found: list[PowerReading] = []
    for second in range(seconds):
        now[0] = second
        if second == 2:
            meter.go_wrong(FaultPart(at_s=2, **fault))
        found += await meter.read()
    meter.go_wrong(None)
    assert await meter.read() == (latched(now[0]),)
    return found


async def test_a_stuck_meter_shows_one_power_under_new_stamps() -> None:
    readings = await told(5, what="meter_stuck")
    assert [reading.power_w for reading in readings] == [1000.0, 1001.0, 1002.0, 1002.0, 1002.0]
    assert readings[4].measured_at == latched(4).measured_at
    assert readings[4].energy_j == latched(2).energy_j


async def test_a_wrong_meter_shows_a_share_of_the_truth_and_its_register_never_falls() -> None:
    readings = await told(5, what="meter_wrong", factor=0.5)
    assert [reading.power_w for reading in readings[2:]] == [501.0, 501.5, 502.0]
    assert [reading.energy_j for reading in readings[1:]] == [1000.0, 2000.0, 2500.0, 3000.0]


async def test_a_meter_that_jumps_shows_single_absurd_readings() -> None:
    readings = await told(8, what="meter_jumps", factor=3.0, every_s=3)
    off = [reading.power_w / latched(second).power_w for second, reading in enumerate(readings)]
    assert off == [1.0, 1.0, 3.0, 1.0, 1.0, 3.0, 1.0, 1.0]


async def test_a_silent_meter_says_nothing() -> None:
    with pytest.raises(MeterSilent):
        await told(3, what="meter_silent")
