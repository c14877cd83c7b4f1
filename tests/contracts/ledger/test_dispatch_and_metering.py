import asyncio
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.plan import LiveBaseline, PlanInterval, PowerPlan
from gateway.domain.work_account import brought_up, opened
from gateway.ledger import CapOutcome, Ledger, Topic, TotalMinute
from gateway.storage.sql_ledger import open_ledger
from hardware.device import PowerReading, Quality

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)
HOUR = timedelta(hours=1)


def a_baseline(power_w: float = 90_000.1) -> LiveBaseline:
    return LiveBaseline(
        connection_id="utility", event_id="e1", power_w=power_w, from_at=NOON - HOUR / 4, to_at=NOON, readings=900
    )


def a_plan(**changes) -> PowerPlan:
    plan = PowerPlan(
        connection_id="utility",
        event_id="e1",
        revision=0,
        made_at=NOON,
        baseline_w=90_000.1,
        intervals=(
            PlanInterval(starts_at=NOON, ends_at=NOON + HOUR, start_w=90_000.1, end_w=70_000.0),
            PlanInterval(starts_at=NOON + HOUR, ends_at=None, start_w=70_000.0, end_w=70_000.0),
        ),
        paused_job_ids=("job-3", "job-1"),
        expected_w=70_000.0,
        shortfall_w=0.0,
        reason="reduces by 20 kW",
    )
    return replace(plan, **changes)


def an_outcome(seconds: float = 0.0, **changes) -> CapOutcome:
    outcome = CapOutcome(
        at=NOON + seconds * SECOND,
        device_id="gpu-0",
        requested_w=300.0,
        applied_w=300.5,
        outcome="clamped",
        detail="out of range",
    )
    return replace(outcome, **changes)


def a_reading(seconds: float = 0.0, power_w: float = 1000.25, meter_id: str = "site", **more) -> PowerReading:
    return PowerReading(meter_id=meter_id, power_w=power_w, measured_at=NOON + seconds * SECOND, **more)


def an_interval(minutes: int = 0, energy_wh: float = 83.1, **more) -> IntervalEnergy:
    return IntervalEnergy(
        starts_at=NOON + minutes * 60 * SECOND, duration_s=300.0, energy_wh=energy_wh, coverage_fraction=0.97, **more
    )


async def test_the_first_live_baseline_stands(ledger: Ledger) -> None:
    wake = ledger.subscribe(Topic.PLANS)

    assert await ledger.freeze_baseline(a_baseline()) == a_baseline()
    assert wake.is_set()
    assert await ledger.freeze_baseline(a_baseline(power_w=1.0)) == a_baseline()


async def test_the_latest_plan_of_the_event_counts(ledger: Ledger) -> None:
    assert await ledger.plan("utility", "e1") is None
    wake = ledger.subscribe(Topic.PLANS)
    for plan in (a_plan(), a_plan(revision=1, made_at=NOON + HOUR), a_plan(event_id="e2"), a_plan(revision=7)):
        wake.clear()
        await ledger.record_plan(plan)
        assert wake.is_set()
    wake.clear()
    await ledger.record_plan(a_plan())

    assert await ledger.plan("utility", "e1") == a_plan(revision=7)
    assert await ledger.plan("utility", "e2") == a_plan(event_id="e2")
    assert await ledger.plan("market", "e1") is None
    assert not wake.is_set()


async def test_outcomes_are_found_in_order_before_and_after_the_flush(ledger: Ledger) -> None:
    unknown = an_outcome(2, requested_w=None, applied_w=None, outcome="lost", detail="")
    ledger.note_outcomes([an_outcome(3), unknown, an_outcome(1), an_outcome(4)])

    expected = (an_outcome(1), unknown, an_outcome(3))
    assert await ledger.outcomes_between(NOON + SECOND, NOON + 4 * SECOND) == expected
    await ledger.flush()
    assert await ledger.outcomes_between(NOON + SECOND, NOON + 4 * SECOND) == expected


async def test_the_same_outcome_twice_is_one(ledger: Ledger, url: str) -> None:
    ledger.note_outcomes([an_outcome(), an_outcome()])
    await ledger.flush()
    ledger.note_outcomes([an_outcome(), an_outcome(device_id="gpu-1")])
    await ledger.flush()

    async with open_ledger(url, migrate=False) as restarted:
        assert len(await restarted.outcomes_between(NOON, NOON + HOUR)) == 2


async def test_outcomes_that_are_no_numbers_are_refused_together(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="JSON"):
        ledger.note_outcomes([an_outcome(), an_outcome(1, applied_w=float("nan"))])

    assert await ledger.outcomes_between(NOON, NOON + HOUR) == ()


async def test_the_latest_reading_of_each_meter_is_served_from_memory(ledger: Ledger) -> None:
    wake = ledger.subscribe(Topic.READINGS)

    ledger.publish([a_reading(0), a_reading(1), a_reading(meter_id="gpu-0", power_w=300.0)], keep=False)

    assert wake.is_set()
    assert ledger.latest_readings() == {"site": a_reading(1), "gpu-0": a_reading(meter_id="gpu-0", power_w=300.0)}


async def test_a_good_reading_replaces_a_suspect_one_from_the_future(ledger: Ledger) -> None:
    ahead = PowerReading(meter_id="site", power_w=1.0, measured_at=NOON + timedelta(hours=1), quality=Quality.SUSPECT)
    ledger.publish([ahead])
    assert ledger.latest_readings()["site"] == ahead
    good = PowerReading(meter_id="site", power_w=2.0, measured_at=NOON)
    ledger.publish([good])
    assert ledger.latest_readings()["site"] == good


async def test_an_older_reading_is_kept_and_is_not_the_latest(ledger: Ledger) -> None:
    ledger.publish([a_reading(5)])
    ledger.publish([a_reading(3), a_reading(5, power_w=7.0)])

    assert ledger.latest_readings() == {"site": a_reading(5)}
    assert await ledger.readings_between("site", NOON, NOON + HOUR) == (a_reading(3), a_reading(5))


async def test_readings_are_found_in_order_before_and_after_the_flush(ledger: Ledger) -> None:
    ledger.publish([a_reading(2, quality=Quality.SUSPECT), a_reading(0), a_reading(3), a_reading(1, meter_id="gpu-0")])
    await ledger.flush()
    ledger.publish([a_reading(1, energy_j=0.1 + 0.2), a_reading(4)])

    expected = (a_reading(0), a_reading(1, energy_j=0.1 + 0.2), a_reading(2, quality=Quality.SUSPECT), a_reading(3))
    assert await ledger.readings_between("site", NOON, NOON + 4 * SECOND) == expected
    await ledger.flush()
    assert await ledger.readings_between("site", NOON, NOON + 4 * SECOND) == expected


async def test_an_instant_is_kept_to_the_microsecond_in_any_zone(ledger: Ledger) -> None:
    zoned = replace(a_reading(), measured_at=datetime.fromisoformat("2026-07-01T14:00:00.000001+02:00"))
    ledger.publish([zoned, a_reading(1e-6, power_w=5.0)])
    await ledger.flush()

    assert await ledger.readings_between("site", NOON, NOON + HOUR) == (zoned,)
    assert await ledger.readings_between("site", NOON, NOON + 1e-6 * SECOND) == ()


async def test_readings_that_are_not_kept_are_not_stored(ledger: Ledger) -> None:
    ledger.publish([a_reading()], keep=False)
    await ledger.flush()

    assert await ledger.readings_between("site", NOON, NOON + HOUR) == ()


async def test_of_two_readings_at_one_instant_the_first_is_stored(ledger: Ledger) -> None:
    ledger.publish([a_reading(), a_reading(power_w=2.0)])
    assert await ledger.readings_between("site", NOON, NOON + HOUR) == (a_reading(),)
    await ledger.flush()
    ledger.publish([a_reading(power_w=3.0)])
    assert await ledger.readings_between("site", NOON, NOON + HOUR) == (a_reading(),)
    await ledger.flush()

    assert await ledger.readings_between("site", NOON, NOON + HOUR) == (a_reading(),)


@pytest.mark.parametrize("bad", [{"power_w": float("nan")}, {"power_w": float("-inf")}, {"energy_j": float("inf")}])
async def test_readings_that_are_no_numbers_are_refused_together(ledger: Ledger, bad: dict[str, float]) -> None:
    wake = ledger.subscribe(Topic.READINGS)

    with pytest.raises(ValueError, match="no reading"):
        ledger.publish([a_reading(), a_reading(1, **bad)])
    with pytest.raises(ValueError, match="time zone"):
        ledger.publish([a_reading(), replace(a_reading(), measured_at=datetime(2026, 7, 1))])  # noqa: DTZ001 - the case

    assert ledger.latest_readings() == {}
    assert await ledger.readings_between("site", NOON, NOON + HOUR) == ()
    assert not wake.is_set()


async def test_flushed_readings_are_there_after_a_restart(ledger: Ledger, url: str) -> None:
    ledger.publish([a_reading(second, meter_id=f"gpu-{gpu}") for second in range(10) for gpu in range(257)])
    await ledger.flush()

    async with open_ledger(url, migrate=False) as restarted:
        assert len(await restarted.readings_between("gpu-256", NOON, NOON + HOUR)) == 10
        assert restarted.latest_readings() == {}


async def test_what_is_held_is_flushed_at_the_end(url: str) -> None:
    async def run_into_a_bug() -> None:
        async with open_ledger(url, migrate=False) as second:
            second.publish([a_reading(1)])
            raise ZeroDivisionError

    async with open_ledger(url, migrate=False) as first:
        first.publish([a_reading()])
    with pytest.raises(ZeroDivisionError):
        await run_into_a_bug()

    async with open_ledger(url, migrate=False) as third:
        assert await third.readings_between("site", NOON, NOON + HOUR) == (a_reading(), a_reading(1))


async def test_nothing_is_missed_while_flushes_and_questions_meet(ledger: Ledger) -> None:
    async def measure() -> None:
        for second in range(40):
            ledger.publish([a_reading(second)])
            await ledger.flush()

    async def ask() -> list[int]:
        return [len(await ledger.readings_between("site", NOON, NOON + HOUR)) for _ in range(40)]

    _, _, counts = await asyncio.gather(measure(), ledger.flush(), ask())

    assert counts == sorted(counts)
    assert len(await ledger.readings_between("site", NOON, NOON + HOUR)) == 40


async def test_closed_intervals_are_kept_as_they_first_were(ledger: Ledger) -> None:
    wake = ledger.subscribe(Topic.READINGS)
    later, first = an_interval(5), an_interval(0, quality=Quality.ESTIMATED)
    await ledger.record_energy("site", [later, first])
    assert wake.is_set()
    await ledger.record_energy("site", [an_interval(0, energy_wh=1.0), replace(an_interval(0), duration_s=900.0)])
    await ledger.record_energy("gpu-0", [an_interval(0)])
    await ledger.record_energy("site", [])

    found = await ledger.energy_between("site", NOON, NOON + HOUR)

    assert found == (first, replace(an_interval(0), duration_s=900.0), later)
    assert await ledger.energy_between("site", NOON + SECOND, NOON + 300 * SECOND) == ()
    assert await ledger.energy_between("gpu-0", NOON, NOON + SECOND) == (an_interval(0),)


async def test_energy_that_is_no_number_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="no measurement"):
        await ledger.record_energy("site", [an_interval(0), an_interval(5, energy_wh=float("nan"))])

    assert await ledger.energy_between("site", NOON, NOON + HOUR) == ()


async def test_the_account_of_a_job_is_the_last_one_recorded(ledger: Ledger) -> None:
    assert await ledger.work_accounts() == ()
    one = opened("train-1", NOON)
    other = brought_up(opened("chat-1", NOON), NOON, throughput=0.8, cost_s=12.5)
    await ledger.record_work_accounts([one, other])
    later = brought_up(one, NOON + timedelta(seconds=10), throughput=0.5)
    await ledger.record_work_accounts([later])
    await ledger.record_work_accounts([])
    assert await ledger.work_accounts() == (other, later)


async def test_more_accounts_than_are_written_at_once_are_all_written(ledger: Ledger) -> None:
    accounts = tuple(opened(f"job-{number:04d}", NOON) for number in range(600))
    await ledger.record_work_accounts(accounts)
    assert await ledger.work_accounts() == accounts


async def test_minutes_of_all_meters_together_leave_out_those_that_are_none_of_them(ledger: Ledger) -> None:
    gpus = [a_reading(second, 100.0 + second, f"gpu-{number}") for number in range(3) for second in (0, 30)]
    alone = [a_reading(60 + second, 200.0, "gpu-1") for second in (0, 1, 59.999)]
    ledger.publish([*gpus, *alone, a_reading(10, 9_999.0, "site"), a_reading(-1, 7.0, "gpu-0"), a_reading(120, 7.0)])
    await ledger.flush()
    found = await ledger.totals_between(NOON, NOON + 120 * SECOND, apart_from={"site", "none"})
    assert found == (
        TotalMinute(starts_at=NOON, power_w=345.0, meters=3),
        TotalMinute(starts_at=NOON + 60 * SECOND, power_w=200.0, meters=1),
    )
    assert await ledger.totals_between(NOON - HOUR, NOON - HOUR / 2, apart_from=()) == ()


async def test_temperatures_are_given_as_they_were_known_by_then(ledger: Ledger) -> None:
    await ledger.record_temperatures([(NOON, 20.5), (NOON + HOUR, 21.0)], NOON - HOUR)
    await ledger.record_temperatures([(NOON + HOUR, 24.0), (NOON + 2 * HOUR, 25.0)], NOON + HOUR)
    early = await ledger.temperatures_between(NOON, NOON + 3 * HOUR, known_by=NOON)
    assert early == ((NOON, 20.5), (NOON + HOUR, 21.0))
    late = await ledger.temperatures_between(NOON + HOUR, NOON + 2 * HOUR, known_by=NOON + HOUR)
    assert late == ((NOON + HOUR, 24.0),)
    with pytest.raises(ValueError, match="no finite number"):
        await ledger.record_temperatures([(NOON + 5 * HOUR, 1.0), (NOON + 6 * HOUR, float("nan"))], NOON)
    assert await ledger.temperatures_between(NOON + 5 * HOUR, NOON + 7 * HOUR, known_by=NOON + HOUR) == ()
