"""Green Button feeds in neutral terms: one meter, net of what is given back, with its registers and remarks."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import RegisterReading
from gateway.meter_files import MeterFileError, read_green_button, write_green_button
from hardware.device import Quality
from protocols.greenbutton.codec import encode
from protocols.greenbutton.model import (
    EnergySeries,
    Flow,
    IntervalReading,
    ReadingType,
    RegisterSeries,
    UsageData,
)
from protocols.greenbutton.model import Quality as FeedQuality
from protocols.greenbutton.model import RegisterReading as FeedRegister

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def energy(meter_id: str, flow: Flow, *energies_wh: float, first: datetime = NOON, tou: int = 0) -> EnergySeries:
    return EnergySeries(
        meter_id=meter_id,
        title=meter_id,
        type=ReadingType(flow=flow, interval_s=900, tou=tou),
        readings=tuple(
            IntervalReading(
                starts_at=first + timedelta(minutes=15 * index),
                duration_s=900,
                energy_wh=energy_wh,
                quality=FeedQuality.ESTIMATED if index else FeedQuality.GOOD,
            )
            for index, energy_wh in enumerate(energies_wh)
        ),
    )


def feed(*series: EnergySeries, registers: tuple[RegisterSeries, ...] = ()) -> bytes:
    return encode(UsageData(usage_point_id="hall-1", energy=series, registers=registers))


def test_energy_quality_and_registers_are_read() -> None:
    registers = RegisterSeries(
        meter_id="r", title="Register", readings=(FeedRegister(read_at=NOON, register_wh=5_000.0),)
    )
    found = read_green_button(
        feed(energy("a", Flow.FORWARD, 100, 200), registers=(registers,)), usage_point=None, local_time=None
    )
    assert [(one.starts_at, one.duration_s, one.energy_wh, one.quality) for one in found.intervals] == [
        (NOON, 900.0, 100.0, Quality.GOOD),
        (NOON + timedelta(minutes=15), 900.0, 200.0, Quality.ESTIMATED),
    ]
    assert found.registers == (RegisterReading(at=NOON, energy_wh=5_000.0),)
    assert found.usage_point == "hall-1"


def test_what_is_given_back_is_taken_off() -> None:
    body = feed(energy("a", Flow.FORWARD, 100, 200), energy("b", Flow.REVERSE, 30, 250))
    found = read_green_button(body, usage_point=None, local_time=None)
    assert [one.energy_wh for one in found.intervals] == [70.0, -50.0]
    assert found.remarks[-1] == "energy that is given back was taken off"
    shifted = feed(energy("a", Flow.FORWARD, 100), energy("b", Flow.REVERSE, 30, first=NOON - timedelta(minutes=15)))
    with pytest.raises(MeterFileError, match="over other intervals"):
        read_green_button(shifted, usage_point=None, local_time=None)


def test_of_several_meters_none_is_chosen() -> None:
    body = feed(energy("a", Flow.FORWARD, 100), energy("b", Flow.FORWARD, 200))
    with pytest.raises(MeterFileError, match="several meters of energy"):
        read_green_button(body, usage_point=None, local_time=None)
    with pytest.raises(MeterFileError, match="nothing to import"):
        read_green_button(feed(energy("a", Flow.FORWARD, 100, tou=1)), usage_point=None, local_time=None)
    with pytest.raises(MeterFileError):
        read_green_button(b"start,kWh", usage_point=None, local_time=None)


def test_what_the_format_has_no_room_for_is_refused() -> None:
    odd = IntervalEnergy(starts_at=NOON, duration_s=0.5, energy_wh=1.0, coverage_fraction=1.0)
    with pytest.raises(MeterFileError, match="whole seconds alone"):
        write_green_button([odd], meter_id="site", title="site")
