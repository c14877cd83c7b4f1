"""Meter data: what settlement reads, with imports and edits laid over the record, and without any as it always was."""

from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import pytest

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.evidence import fingerprint
from gateway.domain.measurement import IntervalEnergy, integrate, slices
from gateway.domain.meter_import import MeterImport, MeterKind
from gateway.domain.settlement import check
from gateway.domain.vee.edit import Edit, Method
from gateway.services.meter_data import MeterData
from gateway.services.settling import gather_inputs
from hardware.device import PowerReading, Quality
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, PROGRAM_ID, SITE, STARTS_AT, Rig

QUARTER = timedelta(minutes=15)
EVENT = (STARTS_AT + timedelta(minutes=20), STARTS_AT + timedelta(minutes=50))
"""From 23:00 to 23:30: two whole quarters of an hour."""

FLAT = replace(PROGRAM, baseline_rule="meter-before-after")


async def meter(rig: Rig, *powers: tuple[float, datetime, datetime]) -> None:
    """Readings of our own meter each half minute, and its closed intervals."""
    for power_w, opens, closes in powers:
        count = int((closes - opens).total_seconds() / 30)
        readings = [
            PowerReading(meter_id=SITE.meter_id, power_w=power_w, measured_at=opens + timedelta(seconds=30 * index))
            for index in range(count)
        ]
        rig.ledger.publish(readings)
        await rig.ledger.flush()
        await rig.ledger.record_energy(SITE.meter_id, integrate(readings, slices(opens, closes, SITE.interval_s)))


async def hand_over(
    rig: Rig, energies_wh: list[float], *, first: datetime, each: timedelta = QUARTER, at: datetime | None = None
) -> MeterImport:
    """Import intervals of the revenue meter."""
    intervals = [
        IntervalEnergy(
            starts_at=first + index * each,
            duration_s=each.total_seconds(),
            energy_wh=energy_wh,
            coverage_fraction=1.0,
        )
        for index, energy_wh in enumerate(energies_wh)
    ]
    source = MeterImport(
        import_id=uuid4().hex,
        meter_id=SITE.meter_id,
        source="revenue.csv",
        sha256=uuid4().hex * 2,
        unit="Wh",
        kind=MeterKind.REVENUE,
        by="ann",
        at=at or rig.clock.now(),
        starts_at=first,
        ends_at=intervals[-1].ends_at,
        count=len(intervals),
    )
    assert await rig.ledger.record_import(source, intervals)
    return source


async def edit(rig: Rig, starts_at: datetime, minutes: float, energy_wh: float | None) -> None:
    await rig.ledger.record_edit(
        Edit(
            edit_id=uuid4().hex,
            meter_id=SITE.meter_id,
            starts_at=starts_at,
            duration_s=minutes * 60,
            energy_wh=energy_wh,
            quality=Quality.ESTIMATED if energy_wh is not None else Quality.SUSPECT,
            reason="meter swapped",
            by="ann",
            at=rig.clock.now(),
            method=Method.ENTERED if energy_wh is not None else Method.REMOVED,
        )
    )


async def one_event(rig: Rig) -> None:
    """Forty minutes of 100 kW, 80 kW in the event, 100 kW after it."""
    rig.programs = {PROGRAM_ID: FLAT}
    begins, ends = EVENT
    await meter(
        rig,
        (100_000.0, begins - timedelta(minutes=45), begins),
        (80_000.0, begins, ends),
        (100_000.0, ends, ends + timedelta(minutes=30)),
    )
    await rig.take(rig.event(in_s=(begins - STARTS_AT).total_seconds(), lasts_s=(ends - begins).total_seconds()))
    rig.clock._now = ends + timedelta(minutes=30)


async def statement_of(rig: Rig, for_s: float = 10.0):
    await rig.run(rig.settling(), for_s=for_s)
    return (await rig.ledger.statements())[-1]


async def test_a_revenue_meter_that_differs_by_one_per_cent_makes_the_statement(rig: Rig) -> None:
    await one_event(rig)
    # A hundredth more than ours in every quarter of an hour, from 22:15 to 23:30: 25 250 Wh, in the event 20 200 Wh.
    await hand_over(rig, [25_250.0, 25_250.0, 25_250.0, 20_200.0, 20_200.0], first=EVENT[0] - 3 * QUARTER)
    statement = await statement_of(rig)
    found = [(one.starts_at, one.duration_s, one.measured_wh, one.quality) for one in statement.verified.intervals]
    assert found == [
        (EVENT[0], 900.0, 20_200.0, Quality.GOOD),
        (EVENT[0] + QUARTER, 900.0, 20_200.0, Quality.GOOD),
    ]
    # By hand: (25 250 - 20 200) Wh in each of two quarters, where our own meter would say 10.000 kWh.
    assert str(statement.delivered_kwh) == "10.100"
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    inputs = await gather_inputs(rig.ledger, SITE, record, shipped_rules()[FLAT.baseline_rule])
    assert check(statement, inputs, FLAT) is None


async def test_what_was_settled_before_an_import_is_computed_again_as_it_was(rig: Rig) -> None:
    await one_event(rig)
    statement = await statement_of(rig)
    assert str(statement.delivered_kwh) == "10.000"
    rig.clock._now += timedelta(hours=1)
    await hand_over(rig, [25_250.0] * 3 + [20_200.0] * 2, first=EVENT[0] - 3 * QUARTER)
    await edit(rig, EVENT[0], 15, 30_000.0)
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    rule, at = shipped_rules()[FLAT.baseline_rule], statement.verified.verified_at
    assert check(statement, await gather_inputs(rig.ledger, SITE, record, rule, as_of=at), FLAT) is None
    now = await gather_inputs(rig.ledger, SITE, record, rule)
    assert [one.energy_wh for one in now.measured] == [30_000.0, 20_200.0]


async def test_an_event_that_begins_within_an_imported_interval_has_its_share(rig: Rig) -> None:
    begins, ends = STARTS_AT + timedelta(minutes=25), STARTS_AT + timedelta(minutes=50)
    await meter(rig, (100_000.0, begins - timedelta(minutes=45), begins), (80_000.0, begins, ends))
    # From 23:00 to 23:05 our meter has 8333.3 Wh, then 13 333.3 Wh to 23:15: of 21 883.3 Wh there 13 466.7 Wh.
    await hand_over(rig, [21_883.333, 20_200.0], first=begins - timedelta(minutes=5))
    found = await MeterData(rig.ledger).measured_between(SITE.meter_id, begins, ends, 60)
    assert [(one.starts_at, one.duration_s, one.quality) for one in found] == [
        (begins, 600.0, Quality.ESTIMATED),
        (begins + timedelta(minutes=10), 900.0, Quality.GOOD),
    ]
    assert found[0].energy_wh == pytest.approx(21_883.333 * 13_333.3333 / 21_666.6667)
    assert found[1].energy_wh == 20_200.0


async def test_an_interval_is_shared_out_by_the_readings_of_all_of_it(rig: Rig) -> None:
    begins, ends = EVENT
    # The last reading before the interval stands for its first forty seconds; after the event power is higher.
    stamps = [
        (begins - timedelta(seconds=20), 30_000.0),
        *((begins + timedelta(seconds=40 + 20 * index), 60_000.0) for index in range(103)),
        *((ends + timedelta(minutes=5, seconds=20 * index), 90_000.0) for index in range(30)),
    ]
    rig.ledger.publish(
        [PowerReading(meter_id=SITE.meter_id, power_w=power_w, measured_at=at) for at, power_w in stamps]
    )
    await rig.ledger.flush()
    # From 23:00 to 23:45, where the event is settled from 23:01 to 23:30.
    await hand_over(rig, [40_000.0], first=begins, each=3 * QUARTER)
    (found,) = await MeterData(rig.ledger).measured_between(SITE.meter_id, begins + timedelta(minutes=1), ends, 900)
    # By hand, in kWs: 30 x 40 + 60 x 20 before it, 60 x 1740 in it, 60 x 300 and 90 x 600 after it.
    assert found.energy_wh == pytest.approx(40_000.0 * 104_400 / (1_200 + 1_200 + 104_400 + 18_000 + 54_000))


async def test_where_the_revenue_meter_ends_our_own_readings_go_on(rig: Rig) -> None:
    await meter(rig, (60_000.0, EVENT[0], EVENT[1]))
    await hand_over(rig, [7_000.0], first=EVENT[0])
    data = MeterData(rig.ledger, interval_s=300)
    found = await data.measured_between(SITE.meter_id, *EVENT, 300)
    assert [(one.duration_s, one.energy_wh) for one in found] == [(900.0, 7_000.0), *[(300.0, 5_000.0)] * 3]
    assert await data.revenue_covers(SITE.meter_id, EVENT[0], EVENT[0] + QUARTER)
    assert not await data.revenue_covers(SITE.meter_id, *EVENT)
    assert not await data.revenue_covers("other", EVENT[0], EVENT[0] + QUARTER)


async def test_history_stays_on_the_sites_own_grid(rig: Rig) -> None:
    begins = EVENT[0]
    await meter(
        rig,
        (60_000.0, begins, begins + timedelta(minutes=5)),
        (30_000.0, begins + timedelta(minutes=5), begins + timedelta(minutes=35)),
    )
    # 60 kW for five minutes and 30 kW for ten: half and half. Of the second quarter nothing is changed, and one more
    # is of a time before the gateway was there.
    await hand_over(rig, [9_000.0, 12_000.0], first=begins - QUARTER)
    data = MeterData(rig.ledger, interval_s=300)
    found = await data.energy_between(SITE.meter_id, begins - QUARTER, begins + QUARTER)
    assert [one.duration_s for one in found] == [300.0] * 6
    assert [one.energy_wh for one in found] == pytest.approx([3_000.0] * 3 + [6_000.0, 3_000.0, 3_000.0])
    later = await data.energy_between(SITE.meter_id, begins + QUARTER, begins + 2 * QUARTER)
    assert later == await rig.ledger.energy_between(SITE.meter_id, begins + QUARTER, begins + 2 * QUARTER)


async def test_an_edit_of_our_own_interval_is_settled(rig: Rig) -> None:
    await meter(rig, (60_000.0, EVENT[0], EVENT[1]))
    await edit(rig, EVENT[0], 1, 1_500.0)
    await edit(rig, EVENT[0] + timedelta(minutes=1), 1, None)
    data = MeterData(rig.ledger, interval_s=60)
    found = await data.measured_between(SITE.meter_id, *EVENT, 60)
    assert [(one.energy_wh, one.coverage_fraction, one.quality) for one in found[:3]] == [
        (1_500.0, 1.0, Quality.ESTIMATED),
        (0.0, 0.0, Quality.SUSPECT),
        (1_000.0, 1.0, Quality.GOOD),
    ]
    closed = await data.energy_between(SITE.meter_id, *EVENT)
    assert closed == found
    # Half of the edited minute.
    found = await data.measured_between(SITE.meter_id, EVENT[0] + timedelta(seconds=30), EVENT[1], 60)
    assert (found[0].energy_wh, found[0].quality) == (750.0, Quality.ESTIMATED)


async def test_whether_an_interval_stands_does_not_hang_on_what_is_asked(rig: Rig) -> None:
    hour = timedelta(hours=1)
    await hand_over(rig, [100_000.0], first=EVENT[0], each=hour)
    await hand_over(rig, [7_000.0], first=EVENT[0] + 2 * QUARTER)
    data = MeterData(rig.ledger, interval_s=300)
    # The later quarter displaces the hour, though it lies outside of the first one.
    assert not await data.revenue_covers(SITE.meter_id, EVENT[0], EVENT[0] + QUARTER)
    assert await data.revenue_covers(SITE.meter_id, EVENT[0] + 2 * QUARTER, EVENT[0] + 3 * QUARTER)
    found = await data.measured_between(SITE.meter_id, EVENT[0], EVENT[0] + QUARTER, 900)
    assert [one.coverage_fraction for one in found] == [0.0]


@pytest.mark.parametrize("rule_id", ["meter-before-after", "caiso-10-in-10"])
async def test_without_imports_the_inputs_are_what_they_always_were(rig: Rig, rule_id: str) -> None:
    await one_event(rig)
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    rule, interval_s = shipped_rules()[rule_id], SITE.interval_s
    inputs = await gather_inputs(rig.ledger, SITE, record, rule)
    margin = timedelta(minutes=1)
    readings = await rig.ledger.readings_between(SITE.meter_id, EVENT[0] - margin, EVENT[1])
    expected = integrate(readings, slices(*EVENT, interval_s))
    if rule_id == "meter-before-after":
        minutes = [
            *slices(EVENT[0] - QUARTER, EVENT[0], 60),
            *slices(EVENT[0], EVENT[1], 60),
        ]
        around = await rig.ledger.readings_between(SITE.meter_id, EVENT[0] - QUARTER - margin, EVENT[1])
        history = integrate(around, minutes)
    else:
        history = await rig.ledger.energy_between(SITE.meter_id, EVENT[0] - timedelta(days=46), EVENT[1])
    assert fingerprint(inputs) == fingerprint(replace(inputs, measured=expected, history=history))
    # And that an edit changes them shows that the fingerprint would tell.
    await edit(rig, EVENT[0], 1, 1.0)
    assert fingerprint(await gather_inputs(rig.ledger, SITE, record, rule)) != fingerprint(inputs)
