"""CPU ms that a VTN spends on a request: ours on its SQLite database beside openleadr's, interleaved in one run.

Each server is a process of its own; twenty connections that are kept alive ask it in a closed loop from here. What
counts is the server's user and system time by request. openleadr keeps nothing; ours has everything on disk before it
answers. The smallest of the rounds counts: another process can only make a round slower.

    python tests/benchmarks/openadr2b_vtn.py [ROUNDS]
"""

import asyncio
import gc
import logging
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from functools import partial
from pathlib import Path
from typing import Any

from openleadr import messaging, objects

from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind
from protocols.grid_report import ReportOffer
from protocols.openadr2b import model, model_report
from protocols.openadr2b.codec import decode, encode
from protocols.openadr2b.neutral_event import write_event
from protocols.openadr2b.neutral_metadata import write_offers

CONNECTIONS = 20
REQUESTS = {"empty poll": 2000, "poll to 10 events": 200, "report of 60 intervals": 300}
SERVICES = {"empty poll": "OadrPoll", "poll to 10 events": "OadrPoll", "report of 60 intervals": "EiReport"}
AIMS = {
    "empty poll": 2.0,
    "poll to 10 events": 2.0,
    "report of 60 intervals": 5.0,
    "encode 1 event": 5.0,
    "encode 10 events": 5.0,
}
"""How many times less than openleadr's."""

PATH = "/OpenADR2/Simple/2.0b"
REPORT_ID = b"REPORT-NUMBER"


def neutral_event(index: int, now: datetime) -> GridEvent:
    """An event of four intervals, in an hour."""
    begin = now.replace(microsecond=0) + timedelta(hours=1)
    quarter = timedelta(minutes=15)
    return GridEvent(
        event_id=f"ev{index}",
        connection_id="program",
        program_id="http://u.example/dr",
        revision=0,
        status=EventStatus.FAR,
        created_at=now,
        starts_at=begin,
        duration_s=3600.0,
        rank=1,
        signals=(
            Signal(
                name="SIMPLE",
                kind=SignalKind.LEVEL,
                dialect_kind="level",
                intervals=tuple(
                    EventInterval(starts_at=begin + step * quarter, duration_s=900.0, value=1.0) for step in range(4)
                ),
            ),
        ),
    )


def their_event(index: int, now: datetime) -> objects.Event:
    """The same in openleadr's words."""
    begin, quarter = now + timedelta(hours=1), timedelta(minutes=15)
    return objects.Event(
        event_descriptor=objects.EventDescriptor(
            event_id=f"ev{index}",
            modification_number=0,
            market_context="http://u.example/dr",
            event_status="far",
            created_date_time=now,
            priority=1,
        ),
        active_period=objects.ActivePeriod(dtstart=begin, duration=4 * quarter),
        event_signals=[
            objects.EventSignal(
                intervals=[
                    objects.Interval(dtstart=begin + step * quarter, duration=quarter, signal_payload=1.0, uid=step)
                    for step in range(4)
                ],
                signal_name="SIMPLE",
                signal_type="level",
                signal_id="s",
            )
        ],
        targets=[{"ven_id": "ven-load"}],
        response_required="always",
    )


async def serve_ours(case: str, port: int, folder: Path) -> None:
    """Our VTN on a database of its own. Prints READY and the order that reports are for."""
    from aiohttp import web

    from gateway.storage import upgrade
    from gateway.storage.party_store import SqlPartyStore
    from gateway.storage.sql_ledger import open_ledger
    from protocols.openadr2b.vtn import Vtn
    from protocols.openadr2b.vtn_parties import DeclaredParty, VtnParties

    url = f"sqlite+aiosqlite:///{folder}/{port}.db"
    await upgrade.upgrade(url)
    async with open_ledger(url, migrate=False) as ledger:
        parties = VtnParties([DeclaredParty(name="load", ven_id="ven-load")])
        vtn = Vtn(
            connection_id="program",
            vtn_id="VTN_A",
            store=SqlPartyStore(ledger),
            now=lambda: datetime.now(UTC),
            parties=parties,
        )
        now = datetime.now(UTC)
        register = model.CreatePartyRegistration(
            request_id="r",
            profile="2.0b",
            transport="simpleHttp",
            report_only=False,
            xml_signature=False,
            ven_name="load",
        )
        await vtn.answer("EiRegisterParty", encode(register))
        offers = write_offers(ReportOffer(resource_id="site", min_sampling_s=1, max_sampling_s=3600), now)
        offer = model_report.RegisterReport(request_id="r", reports=offers, ven_id="ven-load")
        answer: Any = decode(await vtn.answer("EiReport", encode(offer)))
        if case == "poll to 10 events":
            for index in range(10):
                await vtn.publish(neutral_event(index, now))
        application = web.Application()
        application.add_routes(vtn.routes())
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", port).start()
        # As `gridgate serve` does once it is open.
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        print("READY", answer.requests[0].report_request_id, flush=True)
        await asyncio.Event().wait()


async def serve_theirs(case: str, port: int, _folder: Path) -> None:
    """openleadr's VTN, which keeps nothing."""
    from openleadr import OpenADRServer

    logging.disable(logging.WARNING)
    server = OpenADRServer(vtn_id="VTN_A", http_port=port)
    server.add_handler("on_update_report", lambda _: None)
    if case == "poll to 10 events":
        now = datetime.now(UTC)

        def events(ven_id: str) -> tuple[str, dict[str, Any]]:
            return "oadrDistributeEvent", {"events": [their_event(index, now) for index in range(10)]}

        server.add_handler("on_poll", events)
    await server.run()
    print("READY order-1", flush=True)
    await asyncio.Event().wait()


class Server:
    """One contender's process, and the CPU time that it took."""

    def __init__(self, who: str, case: str, port: int, folder: str) -> None:
        command = [sys.executable, __file__, "--serve", who, case, str(port), folder]
        self.port = port
        self.process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        assert self.process.stdout is not None
        line = next(line for line in self.process.stdout if line.startswith("READY"))
        self.body = body_of(case, line.split()[1])

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.process.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def end(self) -> None:
        self.process.send_signal(signal.SIGKILL)
        self.process.wait()


def body_of(case: str, order_id: str) -> bytes:
    """The message that is sent again and again; a report's id is put in each time."""
    if case != "report of 60 intervals":
        return encode(model.Poll(ven_id="ven-load"))
    now = datetime.now(UTC).replace(microsecond=0)
    report = model_report.Report(
        report_request_id=order_id,
        specifier_id="telemetry-site",
        created_at=now,
        starts_at=now,
        report_id=REPORT_ID.decode(),
        name="TELEMETRY_USAGE",
        intervals=tuple(
            model_report.ReportInterval(
                starts_at=now + timedelta(seconds=index),
                duration=timedelta(seconds=1),
                uid=str(index),
                payloads=(model_report.ReportPayload(r_id="site", value=1000.0 + index / 7),),
            )
            for index in range(60)
        ),
    )
    return encode(model_report.UpdateReport(request_id="r", reports=(report,), ven_id="ven-load"))


async def load(server: Server, service: str, count: int, numbers: Callable[[], bytes]) -> None:
    """``count`` requests over the kept connections."""

    async def connection(share: int) -> None:
        reader, writer = await asyncio.open_connection("127.0.0.1", server.port)
        for _ in range(share):
            body = server.body.replace(REPORT_ID, numbers())
            head = f"POST {PATH}/{service} HTTP/1.1\r\nHost: a\r\nContent-Type: application/xml\r\n"
            writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
            answer = await reader.readuntil(b"\r\n\r\n")
            if not answer.startswith(b"HTTP/1.1 200"):
                raise RuntimeError(answer.decode())
            length = answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
            said = await reader.readexactly(int(length))
            if b"responseCode>200" not in said:
                raise RuntimeError(said.decode())
        writer.close()

    await asyncio.gather(*(connection(count // CONNECTIONS) for _ in range(CONNECTIONS)))


def served(rounds: int, folder: str) -> dict[str, dict[str, float]]:
    """CPU ms a request, by case and contender."""
    best: dict[str, dict[str, float]] = {}
    issued = iter(range(1 << 40))
    numbers = lambda: b"report-%d" % next(issued)  # noqa: E731 - one for all connections
    port = 18100 + os.getpid() % 1000
    for case, count in REQUESTS.items():
        servers = {}
        try:
            for who in ("ours", "openleadr"):
                port += 1
                servers[who] = Server(who, case, port, folder)
                asyncio.run(load(servers[who], SERVICES[case], CONNECTIONS * 2, numbers))
            best[case] = dict.fromkeys(servers, float("inf"))
            for _ in range(rounds):
                for who, server in servers.items():
                    before = server.cpu_s()
                    asyncio.run(load(server, SERVICES[case], count, numbers))
                    best[case][who] = min(best[case][who], 1e3 * (server.cpu_s() - before) / count)
        finally:
            for server in servers.values():
                server.end()
    return best


def encoded(rounds: int) -> dict[str, dict[str, float]]:
    """CPU ms to build and write an oadrDistributeEvent."""
    now = datetime.now(UTC)
    best: dict[str, dict[str, float]] = {}
    for count in (1, 10):
        events = [neutral_event(index, now) for index in range(count)]
        theirs = {
            "request_id": "r",
            "vtn_id": "VTN_A",
            "response": {"request_id": "r", "response_code": 200, "response_description": "OK"},
        }

        def ours(events: list[GridEvent] = events) -> bytes:
            offered = tuple(write_event(event, now=now) for event in events)
            return encode(model.DistributeEvent(request_id="r", vtn_id="VTN_A", events=offered))

        def openleadr(count: int = count, theirs: dict[str, Any] = theirs) -> object:
            their_events = [their_event(index, now) for index in range(count)]
            return messaging.create_message("oadrDistributeEvent", events=their_events, **theirs)

        name = f"encode {count} event{'s' if count > 1 else ''}"
        best[name] = {"ours": float("inf"), "openleadr": float("inf")}
        for _ in range(rounds):
            for who, work in (("ours", ours), ("openleadr", openleadr)):
                best[name][who] = min(best[name][who], cpu_ms(work, 200 // count))
    return best


def cpu_ms(work: Callable[[], object], repeats: int) -> float:
    """CPU time of one call, in ms."""
    begin = time.process_time()
    for _ in range(repeats):
        work()
    return 1e3 * (time.process_time() - begin) / repeats


def main(rounds: int) -> None:
    """Measure and print."""
    logging.disable(logging.WARNING)
    with tempfile.TemporaryDirectory() as folder:
        figures = {**encoded(rounds), **served(rounds, folder)}
    print("CPU ms a request              ours  openleadr  times less  aim")
    for case, best in figures.items():
        ratio = best["openleadr"] / best["ours"]
        verdict = "met" if ratio >= AIMS[case] else "MISSED"
        print(f"{case:26} {best['ours']:7.3f} {best['openleadr']:10.3f} {ratio:11.1f} {AIMS[case]:4g}  {verdict}")


if __name__ == "__main__":
    if "--serve" in sys.argv:
        who, case, port, folder = sys.argv[2:]
        serve = partial(serve_ours if who == "ours" else serve_theirs)
        asyncio.run(serve(case, int(port), Path(folder)))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 3)
