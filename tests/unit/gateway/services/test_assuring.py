"""The assurance of a statement from what is on record; what is not, is said to be missing."""

import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.domain.assurance.assure import Assurance, NotAssured
from gateway.domain.assurance.gaming import Verdict
from gateway.domain.assurance.inputs import AssuranceInputs
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.fleet import Site
from gateway.domain.settlement import SettlementStatement
from gateway.domain.verification import SitePart
from gateway.services.assuring import AssuranceSources, assurance_of, gather_assurance
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from tests.assured_record import (
    BUILDING,
    BUILDING_END,
    CLUSTER,
    CLUSTER_END,
    CLUSTER_START,
    peak,
    read,
    record_building,
    record_cluster,
    settled,
    take,
)


@pytest.fixture
async def ledger(empty_database: Path, tmp_path: Path) -> AsyncIterator[SqlLedger]:
    path = tmp_path / "record.db"
    shutil.copy(empty_database, path)
    async with open_ledger(f"sqlite+aiosqlite:///{path}", migrate=False) as ledger:
        yield ledger


def sources(ledger: SqlLedger, site: Site, **changed: object) -> AssuranceSources:
    return replace(AssuranceSources(ledger=ledger, site=site, rules=shipped_rules()), **changed)  # type: ignore[arg-type]


async def assured(ledger: SqlLedger, site: Site, statement: SettlementStatement) -> Assurance:
    found = await assurance_of(sources(ledger, site), statement)
    assert isinstance(found, Assurance), found
    return found


async def asked(ledger: SqlLedger, site: Site, statement: SettlementStatement) -> AssuranceInputs:
    found = await gather_assurance(sources(ledger, site), statement)
    assert isinstance(found, AssuranceInputs), found
    return found


def test_of(found: Assurance, name: str) -> tuple[Verdict, str]:
    return next((one.verdict, one.found) for one in found.gaming if one.name == name)


test_of.__test__ = False  # type: ignore[attr-defined]


async def test_a_real_building_s_event_from_the_record_says_what_its_readings_say(
    ledger: SqlLedger, shared: Path
) -> None:
    statement = await record_building(ledger, shared)
    found = await assured(ledger, BUILDING, statement)
    assert found.reduction_wh == pytest.approx(sum(one.delivered_wh for one in statement.verified.intervals))
    assert float(statement.delivered_kwh) == pytest.approx(3.347, abs=5e-4)
    # As the offline command finds it from the same readings.
    assert (found.p90.rank, found.p90.days) == (22, 23)
    assert found.p90.value is not None
    assert found.p50.value is not None
    assert found.p90.value < 0 < found.p50.value < 2 * found.reduction_wh
    assert found.certificate.within_pjm is True
    assert len(found.intervals) == len(statement.verified.intervals)
    assert found.rebound.rebound_wh is not None
    assert found.sensitivity.highest_wh == pytest.approx(7_700, abs=20)


async def test_what_is_not_on_record_is_missing_and_never_zero(ledger: SqlLedger, shared: Path) -> None:
    found = await assured(ledger, BUILDING, await record_building(ledger, shared))
    assert found.rebound.deferred_gpu_h is None
    assert "not known" in found.rebound.finding
    assert found.reconciliation.ratio is None
    assert "no device telemetry" in found.reconciliation.note
    assert test_of(found, "jobs started before the event")[0] is Verdict.CANNOT_SAY


async def test_the_same_record_gives_the_same_answer(ledger: SqlLedger, shared: Path) -> None:
    statement = await record_building(ledger, shared)
    assert await assured(ledger, BUILDING, statement) == await assured(ledger, BUILDING, statement)


async def test_an_event_within_the_meter_s_intervals_is_bounded_by_its_own_time_alone(
    ledger: SqlLedger, shared: Path
) -> None:
    statement = await record_building(ledger, shared, quarters=6.5)
    found = await assured(ledger, BUILDING, statement)
    assert found.reduction_wh == pytest.approx(sum(one.delivered_wh for one in statement.verified.intervals))
    assert [one.duration_s for one in statement.verified.intervals] == [900.0] * 6 + [450.0]
    inputs = await asked(ledger, BUILDING, statement)
    assert found.p90.value is not None
    # An error of the last interval counts for the half of it that was called.
    errors_wh = sorted(
        sum(error_w * (0.25 if place < 6 else 0.125) for place, error_w in enumerate(day.errors_w))
        for day in found.placebo.days
    )
    assert found.p90.value == pytest.approx(found.reduction_wh - errors_wh[found.p90.rank - 1])
    assert inputs.after_h == 4.0


async def test_the_cluster_s_gpus_are_held_against_its_meter(ledger: SqlLedger, shared: Path) -> None:
    statement = await record_cluster(ledger, shared)
    found = await assured(ledger, CLUSTER, statement)
    assert found.reconciliation.ratio == pytest.approx(0.82)
    assert found.reconciliation.unexplained_fraction == pytest.approx(0.18)
    assert found.rebound.deferred_gpu_h == pytest.approx(64.0)
    # One afternoon is no history: there is no bound, and it is said why.
    assert (found.p90.value, found.p90.days, found.p90.days_needed) == (None, 0, 9)


async def test_minutes_in_which_a_gpu_is_silent_do_not_look_like_a_fall(ledger: SqlLedger, shared: Path) -> None:
    statement = await record_cluster(ledger, shared, silent_from=CLUSTER_START + timedelta(hours=1))
    found = await assured(ledger, CLUSTER, statement)
    assert found.reconciliation.ratio == pytest.approx(0.82)
    whole = await asked(ledger, CLUSTER, statement)
    assert whole.devices is not None
    assert sum(one.coverage_fraction == 0.0 for one in whole.devices) == 24


async def test_a_meter_that_is_no_device_is_left_out_of_their_sum(ledger: SqlLedger, shared: Path) -> None:
    statement = await record_cluster(ledger, shared, devices=False)
    assert (await asked(ledger, CLUSTER, statement)).devices is None
    generator = [(CLUSTER_START + timedelta(minutes=index), 5_000.0) for index in range(60)]

    await read(ledger, generator, meter_id="generator")
    assert (await asked(ledger, CLUSTER, statement)).devices is not None
    beside = replace(CLUSTER, generator_meter_id="generator")
    found = await gather_assurance(sources(ledger, beside), statement)
    assert isinstance(found, AssuranceInputs)
    assert found.devices is None


@pytest.mark.parametrize("later_min", [30, -60])
async def test_work_that_belongs_to_another_event_is_not_this_event_s(
    ledger: SqlLedger, shared: Path, later_min: int
) -> None:
    statement = await record_cluster(ledger, shared, devices=False)
    (account,) = await ledger.work_accounts()
    if later_min > 0:
        await ledger.record_work_accounts(
            [replace(account, asked_since=CLUSTER_END + timedelta(minutes=later_min), asked_lost_s=0.0)]
        )
    else:
        # Something was asked right up to this event's ramp: one stretch, and nobody can tell whose the loss is.
        ramp = CLUSTER_START - timedelta(minutes=15)
        await take(ledger, peak(ramp - timedelta(hours=1), ramp, event_id="before"))
    assert (await asked(ledger, CLUSTER, statement)).work is None


async def test_a_job_on_an_unknown_number_of_gpus_leaves_the_deferred_work_unknown(
    ledger: SqlLedger, shared: Path
) -> None:
    statement = await record_cluster(ledger, shared, devices=False)
    (account,) = await ledger.work_accounts()
    await ledger.record_work_accounts([replace(account, devices=None)])
    assert (await asked(ledger, CLUSTER, statement)).work is None


async def test_the_hours_after_end_where_the_next_event_begins(ledger: SqlLedger, shared: Path) -> None:
    statement = await record_building(ledger, shared)
    next_at = BUILDING_END + timedelta(hours=1)
    await take(ledger, peak(next_at, next_at + timedelta(hours=1), event_id="next"))
    assert (await asked(ledger, BUILDING, statement)).after_h == 1.0
    await take(ledger, peak(next_at - timedelta(hours=2), next_at, event_id="going-on"))
    inputs = await asked(ledger, BUILDING, statement)
    assert inputs.after_h == 0.0
    assert (await assured(ledger, BUILDING, statement)).rebound.rebound_wh is None


async def test_a_change_of_rule_between_statements_is_looked_at(ledger: SqlLedger, shared: Path) -> None:
    first = await record_building(ledger, shared)
    assert test_of(await assured(ledger, BUILDING, first), "self-chosen rule")[0] is Verdict.PASS
    later = BUILDING_END + timedelta(days=2)
    await take(ledger, peak(later, later + timedelta(hours=1), event_id="peak-2"))
    near = await ledger.energy_between("site", later, later + timedelta(hours=1))

    await read(
        ledger, [(one.starts_at + m * timedelta(minutes=1), one.energy_wh * 4) for one in near for m in range(15)]
    )
    second = await settled(ledger, BUILDING, "10-of-10", "building-utility-peak-2-r0", event_id="peak-2")
    assert test_of(await assured(ledger, BUILDING, second), "self-chosen rule")[0] is Verdict.LOOK
    assert test_of(await assured(ledger, BUILDING, first), "self-chosen rule")[0] is Verdict.PASS


async def test_a_rule_of_minutes_is_tried_on_the_minutes_of_other_days(ledger: SqlLedger, shared: Path) -> None:
    # A ramp off the meter's intervals: the quarter of an hour before it is read from the readings themselves.
    statement = await record_cluster(ledger, shared, devices=False)
    assert (await asked(ledger, CLUSTER, statement)).minutes == ()
    start = CLUSTER_START + timedelta(minutes=2)
    await take(ledger, peak(start, CLUSTER_END, event_id="off-grid"))

    for back in range(1, 16):
        begins = start - timedelta(days=back)
        await read(ledger, [(begins + timedelta(minutes=m), 90_000.0 + 50 * m) for m in range(-20, 200)])
    off = await settled(ledger, CLUSTER, "meter-before-after", "off", event_id="off-grid")
    inputs = await asked(ledger, CLUSTER, off)
    assert {one.duration_s for one in inputs.minutes} == {60.0}
    found = await assured(ledger, CLUSTER, off)
    assert found.reduction_wh == pytest.approx(sum(one.delivered_wh for one in off.verified.intervals))
    assert found.placebo.days
    # A load that rises by 50 W a minute is over its own quarter of an hour before: no rule of minutes sees that.
    assert all(day.error_wh < 0 for day in found.placebo.days)


async def test_what_cannot_be_assessed_says_why(ledger: SqlLedger, shared: Path) -> None:
    statement = await record_building(ledger, shared)
    verified = statement.verified
    part = SitePart(
        party="a", connection_id="below", party_id="1", weight_w=1.0, report_ids=(), baseline_wh=0.0,
        measured_wh=0.0, delivered_wh=0.0, coverage_fraction=0.0,
    )  # fmt: skip
    for changed, words in (
        ({"sites": (part,)}, "sites below"),
        ({"insufficient": "too few days"}, "too few days"),
        ({"event_id": "gone"}, "not on record"),
        ({"revision": 3}, "revision 0"),
        ({"rule_version": "1900"}, "does not come with"),
    ):
        found = await assurance_of(sources(ledger, BUILDING), replace(statement, verified=replace(verified, **changed)))
        assert isinstance(found, NotAssured)
        assert words in found.reason
