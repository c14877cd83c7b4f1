"""Ten virtual days between a VTN and a gateway's services, over real sockets through a line that goes wrong.

Messages are delayed past the timeout, dropped either way, cut off, reset, or left half open; a few times the line is
down for up to an hour. Nothing may be lost by that: every event is known as it ended, acted on once, and power is
reported without a gap.
"""

import asyncio
import os
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp import web

from gateway import app
from gateway.clock import VirtualClock
from gateway.domain.contract import Program
from gateway.domain.fleet import Site
from gateway.ledger import Ledger
from gateway.listening import listening
from gateway.services import reporting as reporting_service
from gateway.services.intake import Intake
from gateway.services.readiness import Readiness
from gateway.services.reporting import Reporting
from hardware.device import PowerReading
from protocols.grid import EventInterval, EventStatus, GridEvent, Opt, Signal, SignalKind
from protocols.grid_report import ReportOffer
from protocols.openadr2b.exchange import HttpExchange
from protocols.openadr2b.ven import Ven
from protocols.openadr2b.vtn import Vtn

pytestmark = [pytest.mark.soak, pytest.mark.timeout(3600)]

STARTS = datetime(2026, 7, 1, tzinfo=UTC)
DAYS = float(os.environ.get("GRIDGATE_SOAK_DAYS", "10"))
POLL_S = 30.0
SEED = int(os.environ.get("GRIDGATE_SOAK_SEED", "1"))
TIMEOUT_S = 0.15
"""Of real time, which a fault lasts longer than. Virtual time stands still meanwhile."""

FAULTS = ("delayed", "request dropped", "answer dropped", "answer cut", "reset", "half open", "slow body")
FAULT_SHARE = 0.05


class Line:
    """A TCP line to a port, each of whose connections may go wrong in one way."""

    def __init__(self, port: int, seed: int) -> None:
        self._port = port
        self._random = random.Random(seed)
        self.down = False
        self.faults: Counter[str] = Counter()
        # asyncio holds the task of a connection weakly: one that only waits could be collected under our hands.
        self._connections: set[asyncio.Task[None]] = set()

    def accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        connection = asyncio.create_task(self._serve_one(reader, writer))
        self._connections.add(connection)
        connection.add_done_callback(self._connections.discard)

    async def close(self) -> None:
        for connection in list(self._connections):
            connection.cancel()
        await asyncio.gather(*self._connections, return_exceptions=True)

    async def _serve_one(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await self._serve(reader, writer)
        except (OSError, asyncio.IncompleteReadError):
            pass
        finally:
            writer.close()
            with suppress(OSError):
                await writer.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        fault = self._random.choice(FAULTS) if self._random.random() < FAULT_SHARE else ""
        if self.down:
            fault = "reset"
        if fault:
            self.faults[fault] += 1
        if fault == "reset":
            return
        request = await _message(reader)
        if fault == "request dropped":
            await asyncio.sleep(2 * TIMEOUT_S)
            return
        theirs, to_them = await asyncio.open_connection("127.0.0.1", self._port)
        try:
            to_them.write(request)
            answer = await _message(theirs)
        finally:
            to_them.close()
        await self._answer(writer, answer, fault)

    async def _answer(self, writer: asyncio.StreamWriter, answer: bytes, fault: str) -> None:
        if fault in {"answer dropped", "half open", "delayed"}:
            # The VTN has acted on it; we do not hear so in time.
            await asyncio.sleep(2 * TIMEOUT_S)
            if fault == "delayed":
                writer.write(answer)
                await writer.drain()
            return
        if fault == "answer cut":
            answer = answer[: len(answer) // 2]
        if fault == "slow body":
            for start in range(0, len(answer), max(1, len(answer) // 20)):
                writer.write(answer[start : start + max(1, len(answer) // 20)])
                await writer.drain()
                await asyncio.sleep(TIMEOUT_S / 10)
            return
        writer.write(answer)
        await writer.drain()


async def _message(reader: asyncio.StreamReader) -> bytes:
    """One HTTP message with the length that it says."""
    head = await reader.readuntil(b"\r\n\r\n")
    length = next(
        (int(line.split(b":")[1]) for line in head.split(b"\r\n") if line.lower().startswith(b"content-length:")), 0
    )
    return head + (await reader.readexactly(length) if length else b"")


@asynccontextmanager
async def line_to(port: int, seed: int) -> AsyncIterator[tuple[Line, int]]:
    line = Line(port, seed)
    server = await asyncio.start_server(line.accept, "127.0.0.1", 0)
    try:
        yield line, server.sockets[0].getsockname()[1]
    finally:
        server.close()
        await server.wait_closed()
        await line.close()


def event(number: int, at: datetime, chance: random.Random) -> GridEvent:
    starts_at = at + timedelta(minutes=chance.randint(5, 90))
    duration_s = 60.0 * chance.randint(5, 60)
    interval = EventInterval(starts_at=starts_at, duration_s=duration_s, value=float(chance.randint(1, 3)))
    return GridEvent(
        event_id=f"e{number}",
        connection_id="utility",
        program_id="peak",
        revision=0,
        status=EventStatus.FAR,
        created_at=at,
        starts_at=starts_at,
        duration_s=duration_s,
        signals=(Signal(name="SIMPLE", kind=SignalKind.LEVEL, intervals=(interval,)),),
    )


class Utility:
    """Publishes an event now and then, changes or cancels some of them; and now and then there is no line at all."""

    def __init__(self, vtn: Vtn, clock: VirtualClock, line: Line, seed: int) -> None:
        self._vtn = vtn
        self._clock = clock
        self._line = line
        self._chance = random.Random(seed)
        self.issued: dict[str, GridEvent] = {}

    async def run(self, stop: asyncio.Event) -> None:
        while self._clock.now() < STARTS + timedelta(days=DAYS):
            await self._pass_minutes(20, 240)
            made = event(len(self.issued) + 1, self._clock.now(), self._chance)
            await self._publish(made)
            if self._chance.random() < 0.5:
                await self._pass_minutes(1, 30)
                if self._clock.now() < made.starts_at:
                    await self._publish(replace(made, revision=1, comment="changed", created_at=self._clock.now()))
            if self._chance.random() < 0.3:
                await self._pass_minutes(1, 60)
                await self._cancel(made)
            if self._chance.random() < 0.15:
                self._line.down = True
                await self._pass_minutes(5, 60)
                self._line.down = False
        # What is on its way arrives.
        await self._clock.wait(self._clock.now() + timedelta(hours=3))
        stop.set()

    async def _pass_minutes(self, least: int, most: int) -> None:
        await self._clock.wait(self._clock.now() + timedelta(minutes=self._chance.randint(least, most)))

    async def _publish(self, made: GridEvent) -> None:
        await self._vtn.publish(made)
        self.issued[made.event_id] = made

    async def _cancel(self, made: GridEvent) -> None:
        if self._clock.now() < made.ends_at:
            await self._vtn.cancel(made.event_id)
            (known,) = [one for one in await self._vtn.events() if one.event_id == made.event_id]
            self.issued[made.event_id] = known


async def meter(ledger: Ledger, clock: VirtualClock, stop: asyncio.Event) -> None:
    """A reading every 20 s, always of the same power: seconds would only take longer."""
    while not stop.is_set():
        ledger.publish([PowerReading(meter_id="site", power_w=50_000.0, measured_at=clock.now())])
        if clock.now().minute % 5 == 0:
            await ledger.flush()
        await clock.wait(clock.now() + timedelta(seconds=20), stop)


async def test_ten_days_over_a_bad_line_lose_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Orders are looked for every two seconds; here they come once.
    monkeypatch.setattr(reporting_service, "LOOK_S", 60.0)
    clock = VirtualClock(STARTS)
    site = Site(site_id="site-1", timezone=ZoneInfo("UTC"), meter_id="site", interval_s=60)
    stop = asyncio.Event()
    async with (
        app.open_record(f"sqlite+aiosqlite:///{tmp_path}/utility.db", migrate=True) as theirs,
        app.open_record(f"sqlite+aiosqlite:///{tmp_path}/site.db", migrate=True) as ours,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(force_close=True)) as session,
    ):
        vtn = Vtn(
            connection_id="below",
            vtn_id="Lab-VTN",
            store=theirs.parties,
            now=clock.now,
            poll_s=POLL_S,
            granularity_s=60.0,
            report_back_s=300.0,
        )
        application = web.Application()
        application.add_routes(vtn.routes())
        async with listening(application, "127.0.0.1:0") as port, line_to(port, SEED) as (line, through):
            ven = Ven(
                connection_id="utility",
                ven_name="site-1",
                exchange=HttpExchange(f"http://127.0.0.1:{through}/OpenADR2/Simple/2.0b", session, TIMEOUT_S),
                store=ours.parties,
                offers=(ReportOffer(resource_id="site-1", min_sampling_s=1.0, max_sampling_s=3600.0),),
                poll_s=POLL_S,
            )
            intake = Intake(
                connection=ven,
                ledger=ours.ledger,
                clock=clock,
                programs={"peak": Program(program_id="peak", levels={1: 0.1, 2: 0.25, 3: 0.4})},
                readiness=Readiness(),
                site_id="site-1",
            )
            reporting = Reporting(connection=ven, site=site, ledger=ours.ledger, clock=clock, readiness=Readiness())
            utility = Utility(vtn, clock, line, SEED)
            work = (intake.run(stop), reporting.run(stop), meter(ours.ledger, clock, stop), utility.run(stop))
            await asyncio.gather(*(clock.tend(one) for one in work))
            await no_event_is_lost_nor_acted_on_twice(utility.issued, vtn, ours.ledger, clock)
            count = await power_is_reported_without_a_gap(vtn)
            assert sum(line.faults.values()) > 50 * DAYS
            print(f"\n{len(utility.issued)} events, {count} intervals, faults {dict(line.faults)}")  # noqa: T201


async def no_event_is_lost_nor_acted_on_twice(
    issued: dict[str, GridEvent], vtn: Vtn, ledger: Ledger, clock: VirtualClock
) -> None:
    (party,) = await vtn.parties()
    known = {record.event.event_id: record for record in await ledger.events()}
    # Cancelled, or over, before the line came back: a VTN does not offer what is over.
    never_heard = issued.keys() - known.keys()
    assert len(never_heard) <= 0.05 * len(issued)
    assert all(issued[event_id].status is EventStatus.CANCELLED for event_id in never_heard)
    for event_id, record in known.items():
        told = Counter(entry.what for entry in await ledger.log("utility", event_id))
        assert told["new"] == 1, f"{event_id} was begun {told['new']} times"
        last = issued[event_id]
        if last.status is EventStatus.CANCELLED:
            assert record.ended_at is not None or record.event.ends_at <= clock.now()
        else:
            assert record.event.revision == last.revision, event_id
        if record.acknowledged_at is not None:
            assert dict(await vtn.answers(event_id))[party.party_id].opt is Opt.IN


async def power_is_reported_without_a_gap(vtn: Vtn) -> int:
    reports = [report for _, report in await vtn.reports(STARTS - timedelta(days=1))]
    starts = sorted(interval.starts_at for report in reports for interval in report.intervals)
    steps = {after - before for before, after in pairwise(starts)}
    assert steps == {timedelta(minutes=1)}, "each minute once"
    assert len(starts) > 0.99 * DAYS * 24 * 60
    return len(starts)
