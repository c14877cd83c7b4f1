import asyncio
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from hardware.device import PowerReading
from hardware.device_sum import OverheadRange, Verdict, reconcile
from hardware.errors import MeterSilent
from hardware.site_meter import FailoverMeter, Source

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
RETURN_AFTER = 3

silences = st.lists(st.tuples(st.booleans(), st.booleans(), st.booleans()), min_size=1, max_size=30)


class Meter:
    def __init__(self, power_w: float) -> None:
        self.power_w = power_w
        self.speaks = True

    async def read(self) -> tuple[PowerReading, ...]:
        if not self.speaks:
            raise MeterSilent("silent")
        return (PowerReading(meter_id="m", power_w=self.power_w, measured_at=START),)


async def active_at_each(rounds: list[tuple[bool, ...]]) -> list[str | None]:
    meters = [Meter(float(place)) for place in range(3)]
    site = FailoverMeter(
        meter_id="site",
        sources=[Source(name=str(place), meter=meter) for place, meter in enumerate(meters)],
        now=lambda: START + timedelta(seconds=1),
        return_after_reads=RETURN_AFTER,
    )
    active: list[str | None] = []
    for speaking in rounds:
        for meter, speaks in zip(meters, speaking, strict=True):
            meter.speaks = speaks
        try:
            (reading,) = await site.read()
        except MeterSilent:
            active.append(None)
        else:
            assert str(int(reading.power_w)) == site.active
            active.append(site.active)
    return active


@given(rounds=silences)
def test_a_good_meter_is_left_only_for_a_better_one_that_spoke_well_for_long(rounds: list[tuple[bool, ...]]):
    active = asyncio.run(active_at_each(rounds))
    for now, (speaking, chosen) in enumerate(zip(rounds, active, strict=True)):
        assert (chosen is None) is not any(speaking)
        if chosen is None:
            continue
        assert speaking[int(chosen)]
        before = active[now - 1] if now else None
        if before not in {None, chosen} and speaking[int(before or 0)]:
            assert int(chosen) < int(before or 0)
            assert all(row[int(chosen)] for row in rounds[now - RETURN_AFTER + 1 : now + 1])
            assert now + 1 >= RETURN_AFTER


@given(rounds=silences)
def test_the_first_meter_is_the_active_one_once_it_spoke_well_for_long(rounds: list[tuple[bool, ...]]):
    steady = [(True, second, third) for _, second, third in rounds]
    before = [(False, second, third) for _, second, third in rounds]
    assert set(asyncio.run(active_at_each(before + steady))[len(before) + RETURN_AFTER - 1 :]) <= {"0"}


def test_failover_minimal_example():
    rounds = [(True, True, True), (False, True, True), (True, True, True), (True, True, True), (True, True, True)]
    assert asyncio.run(active_at_each(rounds)) == ["0", "1", "1", "1", "0"]


watts = st.floats(0.0, 1e9)


@given(devices_w=watts, least_w=watts, more_w=watts, share=st.floats(0.0, 1.0), place=st.floats(0.0, 1.0))
def test_a_site_within_the_overhead_agrees_and_one_beyond_it_does_not(
    devices_w: float, least_w: float, more_w: float, share: float, place: float
):
    overhead = OverheadRange(min_w=least_w, max_w=least_w + more_w, max_fraction=share)
    low_w, high_w = devices_w + least_w, devices_w * (1.0 + share) + (least_w + more_w)
    assert reconcile(min(high_w, low_w + place * (high_w - low_w)), devices_w, overhead) is Verdict.AGREES
    assert reconcile(low_w - 1.0, devices_w, overhead) is Verdict.METER_LOW
    assert reconcile(high_w + 1.0, devices_w, overhead) is Verdict.METER_HIGH


def test_reconcile_minimal_example():
    assert reconcile(0.0, 0.0, OverheadRange(min_w=0.0, max_w=0.0)) is Verdict.AGREES
