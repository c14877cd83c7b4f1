import math
from collections.abc import Collection
from datetime import UTC, datetime, timedelta

import pytest

from hardware.device import PowerReading, Quality
from hardware.device_sum import DeviceSum, EstimatedMeter, OverheadRange, Total, Verdict, reconcile
from hardware.errors import AgentUnreachable, MeterSilent

START = datetime(2026, 7, 1, 12, tzinfo=UTC)


class Fleet:
    """Readings that the test sets, by device."""

    def __init__(self, **powers_w: float) -> None:
        self.second = 0.0
        self.powers_w: dict[str, float] = dict(powers_w)
        self.present: Collection[str] = tuple(powers_w)

    def now(self) -> datetime:
        return START + timedelta(seconds=self.second)

    async def read(self) -> tuple[PowerReading, ...]:
        if not self.powers_w:
            raise AgentUnreachable("nobody")
        return tuple(
            PowerReading(meter_id=one, power_w=power_w, measured_at=self.now())
            for one, power_w in self.powers_w.items()
        )

    def sum(self) -> DeviceSum:
        return DeviceSum(devices=self, expected=lambda: self.present, site_meter_id="site", now=self.now)


async def test_the_sum_leaves_the_site_out() -> None:
    fleet = Fleet(a=300.0, b=400.0, site=900.0)
    fleet.present = ("a", "b")
    devices = fleet.sum()
    assert devices.total() is None
    assert [reading.meter_id for reading in await devices.read()] == ["a", "b"]
    assert devices.total() == Total(power_w=700.0, measured_at=START, quality=Quality.GOOD)


async def test_no_sum_without_each_device() -> None:
    fleet = Fleet(a=300.0, b=400.0)
    devices = fleet.sum()
    await devices.read()
    fleet.second = 8.0
    del fleet.powers_w["b"]
    await devices.read()
    assert devices.total() == Total(
        power_w=700.0, measured_at=START, quality=Quality.GOOD
    )  # The last word of b is still fresh.
    fleet.second = 11.0
    await devices.read()
    assert devices.total() is None
    fleet.present = ("a",)  # b was lost and is expected no more.
    assert devices.total() == Total(power_w=300.0, measured_at=fleet.now(), quality=Quality.GOOD)
    fleet.present = ()
    assert devices.total() is None


async def test_no_sum_of_what_is_no_number_and_none_that_grew_old() -> None:
    fleet = Fleet(a=300.0, b=math.nan)
    devices = fleet.sum()
    await devices.read()
    assert devices.total() is None
    fleet.powers_w = {"b": 1.0}
    await devices.read()
    assert devices.total() == Total(power_w=301.0, measured_at=START, quality=Quality.GOOD)
    fleet.powers_w, fleet.second = {}, 20.0
    with pytest.raises(AgentUnreachable):
        await devices.read()
    assert devices.total() is None


async def test_an_estimate_of_the_site() -> None:
    fleet = Fleet(a=300.0, b=700.0)
    devices = fleet.sum()
    estimate = EstimatedMeter(meter_id="guess", devices=devices, overhead_w=250.0, overhead_fraction=0.2)
    with pytest.raises(MeterSilent, match="guess: not every device"):
        await estimate.read()
    await devices.read()
    assert await estimate.read() == (
        PowerReading(meter_id="guess", power_w=1450.0, measured_at=START, quality=Quality.ESTIMATED),
    )


@pytest.mark.parametrize(
    ("site_w", "verdict"),
    [
        (1199.9, Verdict.METER_LOW),
        (1200.0, Verdict.AGREES),
        (1800.0, Verdict.AGREES),
        (1800.1, Verdict.METER_HIGH),
    ],
)
def test_reconciliation(site_w: float, verdict: Verdict) -> None:
    overhead = OverheadRange(min_w=100.0, max_w=300.0, min_fraction=0.1, max_fraction=0.5)
    assert reconcile(site_w, 1000.0, overhead) is verdict


@pytest.mark.parametrize(("min_w", "max_w", "max_fraction"), [(2.0, 1.0, 0.0), (0.0, 1.0, -0.1), (math.nan, 1.0, 0.0)])
def test_an_overhead_that_is_no_range(min_w: float, max_w: float, max_fraction: float) -> None:
    with pytest.raises(ValueError, match="is no range"):
        OverheadRange(min_w=min_w, max_w=max_w, max_fraction=max_fraction)
