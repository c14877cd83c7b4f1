"""Of what there is no bundle, and why, in plain words."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest
from sqlalchemy import text

from gateway.app import check_signature, decode_message
from gateway.bundle_recorded import Recorded
from gateway.bundle_stamps import STAMPS, stamps_of
from gateway.bundle_verify import verify
from gateway.bundling import HeadTooOld, NotBundled, make_bundle
from gateway.domain.baseline.rule import shipped_sheets
from gateway.domain.measurement import epoch_us
from gateway.domain.settlement import Edition, Run, SettlementStatement
from gateway.domain.tariff.sheet import shipped_tariff_sheets
from gateway.domain.verification import SitePart
from gateway.storage.sql_evidence import SqlEvidenceStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from hardware.device import PowerReading
from tests.bundle_record import (
    CONNECTION_ID,
    PROGRAM,
    SITE,
    STARTS_AT,
    Made,
    add_head,
    bundle_of,
    faults,
    make,
)


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, Made]:
    folder = tmp_path_factory.mktemp("record")
    return folder, asyncio.run(make(folder))


@pytest.fixture
async def ledger(record: tuple[Path, Made], tmp_path: Path) -> AsyncIterator[SqlLedger]:
    shutil.copy(record[0] / "record.db", tmp_path / "record.db")
    async with open_ledger(f"sqlite+aiosqlite:///{tmp_path}/record.db", migrate=True) as ledger:
        yield ledger


@pytest.fixture
def statement(record: tuple[Path, Made]) -> SettlementStatement:
    return record[1].statement


async def test_a_statement_issued_after_the_last_head_waits_for_the_next(
    ledger: SqlLedger, statement: SettlementStatement
) -> None:
    later = replace(
        statement,
        statement_id=f"{statement.statement_id}-v2",
        edition=Edition(version=2, run=Run.RECALCULATED, supersedes=statement.statement_id),
    )
    await ledger.record_statement(later)
    with pytest.raises(HeadTooOld, match=r"issued after the last head of the log \(2026-07-16 10:00Z\)"):
        await bundle_of(ledger, later)
    with pytest.raises(NotBundled, match="superseded by lab-1-utility-peak-1-r0-v2: bundle that one"):
        await bundle_of(ledger, statement)


async def test_readings_that_came_after_the_head_wait_for_the_next(
    ledger: SqlLedger, statement: SettlementStatement
) -> None:
    evidence = SqlEvidenceStore(ledger)
    late = PowerReading(meter_id="site", power_w=1.0, measured_at=STARTS_AT + timedelta(seconds=90))
    ledger.publish([late])
    await ledger.flush()
    # On record and in no entry of the log: what the bundle holds is not what was logged, as with any other change.
    found = await bundle_of(ledger, statement)
    assert (
        "is not what was logged"
        in faults(await verify(found, decode=decode_message, check_signature=check_signature))["records"]
    )
    await evidence.log_late(STARTS_AT, STARTS_AT + timedelta(hours=1), STARTS_AT + timedelta(hours=13))
    with pytest.raises(HeadTooOld, match=r"readings that it rests on have come since the last head"):
        await bundle_of(ledger, statement)
    await add_head(evidence, STARTS_AT + timedelta(hours=13), (await evidence.heads())[-1])
    assert "records" not in faults(
        await verify(await bundle_of(ledger, statement), decode=decode_message, check_signature=check_signature)
    )


async def logged_while_it_ran(ledger: SqlLedger) -> None:
    """A head on demand within the event's hour."""
    evidence = SqlEvidenceStore(ledger)
    at = STARTS_AT + timedelta(minutes=50)
    async with ledger.database.write() as connection:
        # As if the hour had been logged only then, for a head on demand.
        await connection.execute(text("DROP TRIGGER evidence_entry_no_update"))
        await connection.execute(
            text("UPDATE evidence_entry SET at = :at WHERE kind = 'reading'"), {"at": epoch_us(at)}
        )
        await connection.execute(text("DROP TRIGGER tree_head_no_delete"))
        await connection.execute(text("DELETE FROM tree_head"))
    await add_head(evidence, at, None)


@pytest.mark.parametrize(("minute", "grown"), [(55, False), (59, True)])
async def test_an_hour_that_ran_at_the_head_is_as_it_was_then_where_it_has_only_grown(
    ledger: SqlLedger, statement: SettlementStatement, minute: int, grown: bool
) -> None:
    await logged_while_it_ran(ledger)
    before = await bundle_of(ledger, statement)
    at = STARTS_AT + timedelta(minutes=minute, seconds=1)
    ledger.publish([PowerReading(meter_id="site", power_w=1.0, measured_at=at)])
    await ledger.flush()
    if grown:
        assert await bundle_of(ledger, statement) == before
    else:
        with pytest.raises(HeadTooOld, match=r"readings that it rests on have come since the last head"):
            await bundle_of(ledger, statement)


async def test_stamps_of_heads_go_along(ledger: SqlLedger, statement: SettlementStatement) -> None:
    evidence = SqlEvidenceStore(ledger)
    assert STAMPS not in (await bundle_of(ledger, statement)).files
    last = (await evidence.heads())[-1].head.sha256
    await evidence.record_stamp(last, b"response", STARTS_AT)
    bundle = await bundle_of(ledger, statement)
    assert stamps_of(Recorded(bundle)) == {last: b"response"}


async def test_the_sum_of_sites_below_is_bundled_by_each_of_them(
    ledger: SqlLedger, statement: SettlementStatement
) -> None:
    part = SitePart(
        party="a",
        connection_id="below",
        party_id="a",
        weight_w=1.0,
        report_ids=(),
        baseline_wh=1.0,
        measured_wh=0.0,
        delivered_wh=1.0,
        coverage_fraction=1.0,
    )
    with pytest.raises(NotBundled, match="each of them"):
        await bundle_of(ledger, replace(statement, verified=replace(statement.verified, sites=(part,))))


async def test_of_an_event_that_was_revised_the_last_statement_is_bundled(
    ledger: SqlLedger, statement: SettlementStatement
) -> None:
    record = await ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    await ledger.record_event(replace(record.event, revision=record.event.revision + 1), STARTS_AT + timedelta(hours=2))
    with pytest.raises(NotBundled, match=r"revised since \(revision \d+\)"):
        await bundle_of(ledger, statement)


async def test_without_its_event_there_is_no_bundle(ledger: SqlLedger, statement: SettlementStatement) -> None:
    with pytest.raises(NotBundled, match="'none' is not on record"):
        await bundle_of(ledger, replace(statement, verified=replace(statement.verified, event_id="none")))


async def test_what_rests_on_a_generator_s_meter_says_that_bundles_do_not_hold_it(
    ledger: SqlLedger, statement: SettlementStatement
) -> None:
    with pytest.raises(NotBundled, match="generator's meter"):
        await make_bundle(
            ledger,
            SqlEvidenceStore(ledger),
            statement,
            site=SITE,
            program=PROGRAM,
            sheet=shipped_sheets()["generator-output"],
            tariff_sheet=shipped_tariff_sheets()[PROGRAM.tariff],
            product_version="1.0",
        )
