"""The page of a statement, and the reports behind its links."""

import asyncio
import io
import json
import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path
from urllib.parse import quote

import pytest
from aiohttp.test_utils import TestClient, TestServer
from openpyxl import load_workbook
from pypdf import PdfReader

from gateway import reports
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.report.document import MINUS
from gateway.domain.report.material import StatementMaterial
from gateway.domain.settlement import Edition, Run, SettlementStatement
from gateway.domain.statement_versions import VersionLine
from gateway.http.site import make_site
from gateway.http.statements import StatementPages
from gateway.http.words import statement_address
from gateway.ledger import Ledger
from gateway.services.assuring import AssuranceSources
from gateway.statement_pages import statement_pages, written_report
from gateway.storage.sql_ledger import open_ledger
from tests.assured_record import BUILDING, BUILDING_END, BUILDING_ID, building_file, program
from tests.statement_material import assured, material
from tests.unit.gateway.http.conftest import Stage

HERE = f"/statements/{BUILDING_ID}"


@pytest.fixture(scope="module")
def building(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"sqlite+aiosqlite:///{building_file(tmp_path_factory.mktemp('record'), shared)}"


@asynccontextmanager
async def served(ledger: Ledger, pages: StatementPages) -> AsyncIterator[TestClient]:
    peak = program("caiso-10-in-10")
    application = make_site(
        ledger=ledger,
        site=BUILDING,
        programs={peak.program_id: peak},
        now=lambda: BUILDING_END + timedelta(hours=5),
        parts=dict,
        ready=lambda: True,
        devices=dict,
        jobs=dict,
        capability=lambda: None,
        version="1.2.3",
        statement_pages=pages,
    )
    async with TestClient(TestServer(application)) as client:
        yield client


@pytest.fixture
async def client(building: str) -> AsyncIterator[TestClient]:
    """The building's page over its real record."""
    async with open_ledger(building, migrate=False) as ledger:
        pages = statement_pages(AssuranceSources(ledger=ledger, site=BUILDING, rules=shipped_rules()))
        async with served(ledger, pages) as client:
            yield client


async def test_the_page_says_range_and_verdict_and_links_every_report(client: TestClient) -> None:
    front = await (await client.get("/")).text()
    assert f'href="{HERE}"' in front
    answer = await client.get(HERE)
    text = await answer.text()
    assert answer.status == 200
    assert f"at least {MINUS}0.858 kWh in nine of ten events, 4.153 kWh in one of two" in text
    assert "None of 7 tests found anything to look at. 1 could not be taken." in text
    assert "power came back" in text
    for form, kind in (("pdf", "application/pdf"), ("csv", "text/csv"), ("json", "application/json")):
        assert f'href="{HERE}.{form}"' in text
        got = await client.get(f"{HERE}.{form}")
        assert (got.status, got.content_type) == (200, kind)
        assert f"{BUILDING_ID}.{form}" in got.headers["Content-Disposition"]
    pdf = PdfReader(io.BytesIO(await (await client.get(f"{HERE}.pdf")).read()))
    assert "nine of ten events" in "".join(page.extract_text() for page in pdf.pages)
    sheets = load_workbook(io.BytesIO(await (await client.get(f"{HERE}.xlsx")).read())).sheetnames
    assert "accuracy" in sheets
    drawn = await client.get(f"{HERE}.svg")
    assert drawn.content_type == "image/svg+xml"
    assert "kWh less" in await drawn.text()
    assert len(json.loads(await (await client.get(f"{HERE}.json")).read())["sections"]) == 17


async def test_an_unknown_statement_and_an_unknown_form_are_nothing(client: TestClient) -> None:
    for path in ("/statements/none", "/statements/none.pdf", f"{HERE}.doc", f"{HERE}/x"):
        assert (await client.get(path)).status == 404


async def test_a_form_that_is_not_installed_says_which_extra_has_it(
    client: TestClient, monkeypatch: pytest.MonkeyPatch
) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError("No module named 'typst'", name="typst")

    monkeypatch.setattr(reports, "import_module", missing)
    got = await client.get(f"{HERE}.pdf")
    assert got.status == 501
    assert "gridgate[reports]" in await got.text()
    assert (await client.get(HERE)).status == 200


class Counted:
    """Gathers in a while, and counts."""

    def __init__(self, found: StatementMaterial) -> None:
        self.found, self.count, self.at_once = found, 0, 0

    async def __call__(self, statement: SettlementStatement) -> StatementMaterial:
        self.count, self.at_once = self.count + 1, self.at_once + 1
        assert self.at_once == 1
        await asyncio.sleep(0)
        self.at_once -= 1
        return replace(self.found, statement=statement)


async def test_what_was_read_is_kept_for_a_minute_and_read_one_at_a_time() -> None:
    found = material()
    counted = Counted(found)
    pages = StatementPages(gather=counted, write=written_report)
    now = datetime.fromisoformat("2026-01-01T00:00Z")
    await asyncio.gather(*(pages.material(found.statement, now) for _ in range(3)))
    assert counted.count == 1
    others = [replace(found.statement, statement_id=f"st-{number}") for number in range(5)]
    await asyncio.gather(*(pages.material(one, now) for one in others))
    assert counted.count == 6
    await pages.material(found.statement, now)
    assert counted.count == 7, "only the last few are kept"
    await pages.material(found.statement, now + timedelta(minutes=1))
    assert counted.count == 8


async def test_an_id_with_anything_in_it_has_a_page_and_is_shown_as_text(stage: Stage) -> None:
    hostile = 'a/b?c=d#e"><script>alert(1)</script> ü.x'
    found = assured(material(statement_id=hostile))
    await stage.ledger.record_statement(found.statement)
    counted = Counted(found)
    async with served(stage.ledger, StatementPages(gather=counted, write=written_report)) as client:
        link = re.search(r'href="(/statements/[^"]*)"', await (await client.get("/")).text())
        assert link is not None
        assert link.group(1) == statement_address(hostile)
        answer = await client.get(link.group(1))
        text = await answer.text()
        assert answer.status == 200, text
        assert "<script>alert" not in text
        csv = await client.get(f"{link.group(1)}.csv")
        assert csv.status == 200
        assert quote(hostile, safe="") in csv.headers["Content-Disposition"]


async def test_a_statement_of_nothing_says_so_and_has_no_rows_to_give(stage: Stage) -> None:
    found = material(history=False)
    await stage.ledger.record_statement(found.statement)
    async with served(stage.ledger, StatementPages(gather=Counted(found), write=written_report)) as client:
        here = statement_address(found.statement.statement_id)
        text = await (await client.get(here)).text()
        assert "no measurement" in text
        assert '<img class="drawing"' not in text
        for form in ("csv", "svg"):
            assert (await client.get(f"{here}.{form}")).status == 404
        assert (await client.get(f"{here}.pdf")).status == 200


async def test_without_pages_of_statements_there_is_nothing_at_their_address(stage: Stage) -> None:
    await stage.ledger.record_statement(material().statement)
    assert (await stage.get(statement_address(material().statement.statement_id))).status == 404


async def test_the_page_says_which_version_it_is_and_links_the_others(stage: Stage) -> None:
    first = material().statement
    edition = Edition(version=2, run=Run.RECALCULATED, supersedes=first.statement_id, shadow=False)
    second = replace(first, statement_id=f"{first.statement_id}-v2", edition=edition)
    lines = tuple(
        VersionLine(statement=one, reviews=(), approved_by=(), open_disputes=(), received=()) for one in (first, second)
    )
    for one in (first, second):
        await stage.ledger.record_statement(one)
    counted = Counted(replace(material(), versions=lines))
    async with served(stage.ledger, StatementPages(gather=counted, write=written_report)) as client:
        older = await (await client.get(statement_address(first.statement_id))).text()
        newer = await (await client.get(statement_address(second.statement_id))).text()
    assert "Version 1 (initial), by our own metering: no data of the revenue meter is loaded." in older
    assert f'href="{statement_address(second.statement_id)}">2 (recalculated' in older
    assert "superseded" in older
    assert "Version 2 (recalculated), by the revenue meter." in newer
    assert f'href="{statement_address(first.statement_id)}">1 (initial' in newer
