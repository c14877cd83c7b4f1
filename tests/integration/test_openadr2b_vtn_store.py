"""A VTN on a real database and a real socket: what is kept, in which order, and what it says while nothing can be."""

import sqlite3
from collections.abc import AsyncIterator
from contextlib import closing
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from io import BytesIO
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.storage import upgrade
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_ledger import open_ledger
from protocols.grid_report import ReportOffer
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_metadata import write_offers
from protocols.openadr2b.vtn import PATH, Vtn


@dataclass(frozen=True)
class Program:
    """A VTN's address, its database, and a VEN's way of talking to it."""

    url: str
    file: Path
    vtn: Vtn
    session: aiohttp.ClientSession

    async def ask(self, service: str, message: codec.Message) -> tuple[int, Any]:
        async with self.session.post(f"{self.url}/{service}", data=codec.encode(message)) as response:
            body = await response.read()
            return response.status, codec.decode(body) if response.status == 200 else body.decode()

    def rows(self, query: str) -> list[tuple[Any, ...]]:
        with closing(sqlite3.connect(self.file)) as connection:
            return connection.execute(query).fetchall()


@pytest.fixture
async def program(tmp_path: Path) -> AsyncIterator[Program]:
    file = tmp_path / "program.db"
    url = f"sqlite+aiosqlite:///{file}"
    await upgrade.upgrade(url)
    async with open_ledger(url, migrate=False) as ledger, aiohttp.ClientSession() as session:
        vtn = Vtn(connection_id="program", vtn_id="VTN-1", store=SqlPartyStore(ledger), now=lambda: datetime.now(UTC))
        application = web.Application()
        application.add_routes(vtn.routes())
        runner = web.AppRunner(application, access_log=None, shutdown_timeout=0.1)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        yield Program(f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}", file, vtn, session)
        await runner.cleanup()


REGISTER = model.CreatePartyRegistration(
    request_id="r",
    profile="2.0b",
    transport="simpleHttp",
    report_only=False,
    xml_signature=False,
    ven_name="hall",
    http_pull_model=True,
)


async def reporting(program: Program) -> tuple[str, model_report.ReportRequest]:
    """A registered VEN and the order that it has."""
    _, registered = await program.ask("EiRegisterParty", REGISTER)
    now = datetime.now(UTC)
    offers = write_offers(ReportOffer(resource_id="hall", min_sampling_s=1, max_sampling_s=3600), now)
    message = model_report.RegisterReport(request_id="r", reports=offers, ven_id=registered.ven_id)
    _, answer = await program.ask("EiReport", message)
    return registered.ven_id, answer.requests[0]


def update(ven_id: str, request: model_report.ReportRequest, report_id: str) -> model_report.UpdateReport:
    now = datetime.now(UTC)
    interval = model_report.ReportInterval(
        starts_at=now, duration=timedelta(seconds=1), payloads=(model_report.ReportPayload(r_id="hall", value=7.0),)
    )
    report = model_report.Report(
        report_request_id=request.report_request_id,
        specifier_id=request.specifier.specifier_id,
        created_at=now,
        report_id=report_id,
        intervals=(interval,),
    )
    return model_report.UpdateReport(request_id="u", reports=(report,), ven_id=ven_id)


async def test_every_message_is_kept_as_it_came_and_went_before_its_answer(program: Program) -> None:
    ven_id, request = await reporting(program)
    await program.ask("EiReport", update(ven_id, request, "report-1"))
    assert program.rows("SELECT direction, name FROM raw_message ORDER BY id") == [
        ("in", "oadrCreatePartyRegistration"),
        ("out", "oadrCreatedPartyRegistration"),
        ("in", "oadrRegisterReport"),
        ("out", "oadrRegisteredReport"),
        ("in", "oadrUpdateReport"),
        ("out", "oadrUpdatedReport"),
    ]
    assert program.rows("SELECT report_id FROM received_report") == [("report-1",)]


async def test_while_the_database_is_held_the_answer_is_503_and_nothing_is_lost(program: Program) -> None:
    ven_id, request = await reporting(program)
    message = update(ven_id, request, "report-1")
    with closing(sqlite3.connect(program.file, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        status, said = await program.ask("EiReport", message)
        assert (status, "send the message again" in said) == (503, True)
        status, _ = await program.ask("EiRegisterParty", model.QueryRegistration(request_id="q"))
        assert status == 503
        # An empty poll says nothing that would have to be kept.
        status, answer = await program.ask("OadrPoll", model.Poll(ven_id=ven_id))
        assert (status, answer.response.code) == (200, "200")
        other.execute("ROLLBACK")
    for _ in range(2):
        status, answer = await program.ask("EiReport", message)
        assert (status, answer.response.code) == (200, "200")
    assert program.rows("SELECT report_id FROM received_report") == [("report-1",)]


async def test_a_body_that_is_too_large_or_no_message_changes_nothing(program: Program) -> None:
    for body, expected in ((b" " * 3_000_000, 413), (b"<oadrPoll", 400), (b"<a/>", 400), (b"", 400)):
        async with program.session.post(f"{program.url}/OadrPoll", data=BytesIO(body)) as response:
            assert response.status == expected
    assert await program.vtn.parties() == ()
