"""Several events at once, from the record to the site's power, in virtual time."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.domain.contract import Program
from protocols.grid import SignalKind
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, Rig

RESERVE = Program(program_id="reserve", levels={1: 0.10, 2: 0.20, 3: 0.30})


async def baseline_w(rig: Rig) -> float:
    record = await rig.ledger.plan(CONNECTION_ID, "peak-1")
    assert record is not None
    return record.baseline_w


async def site_w(rig: Rig, since_s: float, until_s: float, began: datetime) -> float:
    """Mean site power over a stretch of the run."""
    readings = await rig.ledger.readings_between(
        rig.site.meter_id, began + timedelta(seconds=since_s), began + timedelta(seconds=until_s)
    )
    return sum(reading.power_w for reading in readings) / len(readings)


async def test_reductions_of_programs_that_stack_add_up_on_one_baseline(rig: Rig) -> None:
    rig.programs = {"peak": replace(PROGRAM, stacks=True), "reserve": replace(RESERVE, stacks=True)}
    began = rig.clock.now()
    await rig.take(rig.event(in_s=20, lasts_s=80, value=1.0))
    await rig.take(rig.event(event_id="reserve-1", program_id="reserve", in_s=40, lasts_s=30, value=2.0))
    await rig.run(rig.metering(), rig.dispatch(), for_s=120)
    full_w = await baseline_w(rig)
    assert await site_w(rig, 28, 39, began) == pytest.approx(0.90 * full_w, rel=0.01)
    assert await site_w(rig, 48, 69, began) == pytest.approx(0.70 * full_w, rel=0.01)
    assert await site_w(rig, 78, 99, began) == pytest.approx(0.90 * full_w, rel=0.01)


async def test_reductions_of_other_programs_do_not_add_up(rig: Rig) -> None:
    rig.programs = {"peak": PROGRAM, "reserve": RESERVE}
    began = rig.clock.now()
    await rig.take(rig.event(in_s=20, lasts_s=60, value=1.0))
    await rig.take(rig.event(event_id="reserve-1", program_id="reserve", in_s=20, lasts_s=60, value=2.0))
    await rig.run(rig.metering(), rig.dispatch(), for_s=90)
    assert await site_w(rig, 30, 79, began) == pytest.approx(0.80 * await baseline_w(rig), rel=0.01)


async def test_a_more_important_event_comes_first_and_the_other_goes_on_after_it(rig: Rig) -> None:
    began = rig.clock.now()
    await rig.take(rig.event(in_s=20, lasts_s=80, value=2.0, rank=5))
    await rig.take(rig.event(event_id="urgent", in_s=40, lasts_s=30, value=1.0, rank=1))
    await rig.run(rig.metering(), rig.dispatch(), for_s=120)
    full_w = await baseline_w(rig)
    assert await site_w(rig, 28, 39, began) == pytest.approx(0.80 * full_w, rel=0.01)
    assert await site_w(rig, 55, 69, began) == pytest.approx(0.90 * full_w, rel=0.015)
    assert await site_w(rig, 78, 99, began) == pytest.approx(0.80 * full_w, rel=0.01)
    assert "outranked" in await rig.words()


async def test_a_ceiling_holds_beside_a_more_important_reduction(rig: Rig) -> None:
    rig.programs = {"peak": PROGRAM, "reserve": RESERVE}
    began = rig.clock.now()
    await rig.take(rig.event(in_s=20, lasts_s=60, value=1.0, rank=1))
    ceiling_w = 0.75 * rig.physical._physics.site_w()
    limit = rig.event(event_id="limit", in_s=20, lasts_s=60, kind=SignalKind.LIMIT, value=ceiling_w, rank=9)
    await rig.take(limit)
    await rig.run(rig.metering(), rig.dispatch(), for_s=90)
    assert await site_w(rig, 30, 79, began) == pytest.approx(ceiling_w, rel=0.01)


async def test_one_cancelled_in_the_middle_leaves_what_the_other_asks(rig: Rig) -> None:
    rig.programs = {"peak": replace(PROGRAM, stacks=True), "reserve": replace(RESERVE, stacks=True)}
    began = rig.clock.now()
    await rig.take(rig.event(in_s=20, lasts_s=80, value=1.0))
    await rig.take(rig.event(event_id="reserve-1", program_id="reserve", in_s=20, lasts_s=80, value=2.0))

    async def cancel() -> None:
        await rig.ledger.end_event(CONNECTION_ID, "reserve-1", rig.clock.now(), "cancelled by the sender")

    await rig.run(rig.metering(), rig.dispatch(), for_s=120, script={50.0: cancel})
    full_w = await baseline_w(rig)
    assert await site_w(rig, 30, 49, began) == pytest.approx(0.70 * full_w, rel=0.01)
    assert await site_w(rig, 60, 99, began) == pytest.approx(0.90 * full_w, rel=0.01)


async def test_between_notice_and_start_nothing_is_written_and_nothing_rises(rig: Rig) -> None:
    began = rig.clock.now()
    await rig.run(rig.metering(), rig.dispatch(), for_s=30)
    before_w = await site_w(rig, 5, 30, began)
    await rig.take(rig.event(in_s=60, lasts_s=30))
    await rig.run(rig.metering(), rig.dispatch(), for_s=59)
    assert rig.link.commands == []
    assert await site_w(rig, 31, 89, began) <= before_w * 1.005
