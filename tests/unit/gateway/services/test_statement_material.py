"""What a report is made from, out of a record with its log of evidence."""

import asyncio
import shutil
from collections.abc import AsyncIterator
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.merkle import check_inclusion
from gateway.domain.report.material import Topic
from gateway.domain.report.statement import report_of
from gateway.services.assuring import AssuranceSources
from gateway.services.statement_material import material_of
from gateway.storage.sql_evidence import SqlEvidenceStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from tests.bundle_record import PROGRAM, SITE, STARTS_AT, STATEMENT_ID, add_head, make


@pytest.fixture(scope="module")
def record(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("record")
    asyncio.run(make(folder))
    return folder / "record.db"


@pytest.fixture
async def ledger(record: Path, tmp_path: Path) -> AsyncIterator[SqlLedger]:
    shutil.copy(record, tmp_path / "record.db")
    async with open_ledger(f"sqlite+aiosqlite:///{tmp_path}/record.db", migrate=True) as ledger:
        yield ledger


def sources(ledger: SqlLedger) -> AssuranceSources:
    return AssuranceSources(ledger=ledger, site=SITE, rules=shipped_rules(), programs={PROGRAM.program_id: PROGRAM})


async def test_a_statement_is_proved_to_stand_under_the_first_head_that_covers_it(ledger: SqlLedger) -> None:
    evidence = SqlEvidenceStore(ledger)
    statement = await ledger.statement(STATEMENT_ID)
    assert statement is not None
    found = await material_of(ledger, statement, sources(ledger), evidence)
    assert found.proof is not None
    assert found.proof.head is not None
    head = found.proof.head.head
    number = found.proof.entry.number
    check_inclusion(found.proof.entry.leaf, number, head.size, found.proof.path, bytes.fromhex(head.root_sha256))
    # A later head changes no report.
    heads = await evidence.heads()
    await add_head(evidence, STARTS_AT + timedelta(days=1), heads[-1])
    again = await material_of(ledger, statement, sources(ledger), evidence)
    assert report_of(again) == report_of(found)
    proofs = next(one for one in report_of(found).sections if one.title == Topic.PROOFS.value)
    assert "under a signed head" in proofs.lead
    assert {"proofs", "head", "inclusion"} == {table.name for table in proofs.tables}


async def test_the_whole_report_of_a_record_has_all_sections_and_no_proof_without_a_log(ledger: SqlLedger) -> None:
    statement = await ledger.statement(STATEMENT_ID)
    assert statement is not None
    found = await material_of(ledger, statement, sources(ledger))
    assert found.proof is None
    assert [line.statement.statement_id for line in found.versions] == [STATEMENT_ID]
    assert found.inputs is not None
    assert len(report_of(found).sections) == 17
    bare = await material_of(ledger, statement, None)
    assert (bare.inputs, bare.assurance, bare.around) == (None, None, ())
