"""Of what there is no bundle, and why, in plain words."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.bundling import NotBundled, make_bundle
from gateway.domain.baseline.rule import shipped_sheets
from gateway.domain.settlement import SettlementStatement
from gateway.domain.verification import SitePart
from gateway.storage.sql_evidence import SqlEvidenceStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from tests.bundle_record import CONNECTION_ID, PROGRAM, SITE, STARTS_AT, Made, bundle_of, make


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
    later = replace(statement, statement_id="lab-1-later")
    await ledger.record_statement(later)
    with pytest.raises(NotBundled, match=r"after the last head of the log \(2026-07-16 10:00Z\): ask again"):
        await bundle_of(ledger, later)
    assert (await bundle_of(ledger, statement)).statement_id == statement.statement_id


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
            product_version="1.0",
        )
