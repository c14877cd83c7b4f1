"""Bad input through the real chain: one clear error each, and nothing lost."""

import asyncio
import json
import resource
import sqlite3
import subprocess
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import closing
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import aiohttp
import pytest
from aiohttp import web

from gateway.clock import SystemClock, VirtualClock
from gateway.domain.contract import Program
from gateway.domain.fleet import Site
from gateway.services.intake import Intake
from gateway.services.metering import Metering
from gateway.services.readiness import Readiness
from gateway.storage import upgrade
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from hardware.device import PowerReading, Quality
from protocols.grid import EventInterval, EventStatus, GridEvent, Opt, Signal, SignalKind
from protocols.grid_report import ReportOffer
from protocols.openadr2b.ven import HttpExchange, Ven
from protocols.openadr2b.vtn import Vtn

ROOT = Path(__file__).parents[2]
PROGRAM = "http://utility.example/peak"
PATH = "/OpenADR2/Simple/2.0b"


async def until(question: Callable[[], Any], within_s: float = 20.0) -> Any:
    """Ask a coroutine function until its answer is true."""
    async with asyncio.timeout(within_s):
        while True:
            answer = await question()
            if answer:
                return answer
            await asyncio.sleep(0.05)


@dataclass
class Utility:
    """A VTN of ours on loopback that says something else to a poll when it is told to."""

    vtn: Vtn
    instead: list[bytes] = field(default_factory=list)

    async def post(self, request: web.Request) -> web.Response:
        service = request.match_info["service"]
        body = await request.read()
        if service == "OadrPoll" and self.instead:
            answer = self.instead.pop(0)
        else:
            answer = await self.vtn.answer(service, body)
        return web.Response(body=answer, content_type="application/xml")


@dataclass
class Connected:
    """A gateway's intake over real HTTP and a real database, and the utility at the other end."""

    utility: Utility
    ledger: SqlLedger
    parties: SqlPartyStore
    readiness: Readiness

    async def registered(self) -> Any:
        return await self.parties.registration("utility")

    async def taken(self, event_id: str) -> bool:
        record = await self.ledger.event("utility", event_id)
        return (
            record is not None and record.acknowledged_at is not None and bool(await self.utility.vtn.answers(event_id))
        )

    async def ready(self) -> bool:
        return self.readiness.ready


def an_event(event_id: str) -> GridEvent:
    now = datetime.now(UTC).replace(microsecond=0)
    interval = EventInterval(starts_at=now + timedelta(hours=1), duration_s=900.0, value=2.0)
    return GridEvent(
        event_id=event_id,
        connection_id="utility",
        program_id=PROGRAM,
        revision=0,
        status=EventStatus.FAR,
        created_at=now,
        starts_at=interval.starts_at,
        duration_s=interval.duration_s,
        signals=(Signal(name="SIMPLE", kind=SignalKind.LEVEL, dialect_kind="level", intervals=(interval,)),),
    )


@pytest.fixture
async def connected(tmp_path: Path) -> AsyncIterator[Connected]:
    clock = SystemClock()
    async with (
        open_ledger(f"sqlite+aiosqlite:///{tmp_path}/theirs.db", migrate=True) as theirs,
        open_ledger(f"sqlite+aiosqlite:///{tmp_path}/ours.db", migrate=True) as ledger,
        aiohttp.ClientSession() as session,
    ):
        utility = Utility(
            Vtn(connection_id="utility", vtn_id="VTN", store=SqlPartyStore(theirs), now=clock.now, poll_s=1)
        )
        application = web.Application(client_max_size=4 << 20)
        application.router.add_post(PATH + "/{service}", utility.post)
        runner = web.AppRunner(application)
        await runner.setup()
        await web.TCPSite(runner, "127.0.0.1", 0).start()
        port = runner.addresses[0][1]
        parties = SqlPartyStore(ledger)
        ven = Ven(
            connection_id="utility",
            ven_name="ven",
            exchange=HttpExchange(f"http://127.0.0.1:{port}{PATH}", session),
            store=parties,
            offers=(ReportOffer(resource_id="site", min_sampling_s=1.0, max_sampling_s=60.0),),
        )
        readiness = Readiness()
        intake = Intake(
            connection=ven,
            ledger=ledger,
            clock=clock,
            programs={PROGRAM: Program(program_id=PROGRAM, levels={2: 0.25})},
            readiness=readiness,
        )
        stop = asyncio.Event()
        running = asyncio.create_task(intake.run(stop))
        connected = Connected(utility, ledger, parties, readiness)
        await until(connected.registered)
        try:
            yield connected
        finally:
            stop.set()
            await running
            await runner.cleanup()


RESPONSE = b"""<?xml version="1.0"?>
<oadrPayload xmlns="%s"><oadrSignedObject>
<oadrResponse xmlns:ei="http://docs.oasis-open.org/ns/energyinterop/201110" ei:schemaVersion="2.0b">
<ei:eiResponse><ei:responseCode>200</ei:responseCode><pyld:requestID
 xmlns:pyld="http://docs.oasis-open.org/ns/energyinterop/201110/payloads">r</pyld:requestID></ei:eiResponse>
</oadrResponse></oadrSignedObject></oadrPayload>"""
GOOD = RESPONSE % b"http://openadr.org/oadr-2.0b/2012/07"
BOMB = (
    b'<?xml version="1.0"?><!DOCTYPE x [<!ENTITY a "ha">'
    + b"".join(b'<!ENTITY %c "%s">' % (98 + level, b"&%c;" % (97 + level) * 10) for level in range(9))
    + b"]><oadrPayload>&j;</oadrPayload>"
)
OF_2_0A = RESPONSE % b"http://openadr.org/oadr-2.0a/2012/07"


@pytest.mark.parametrize(
    ("body", "says", "kept"),
    [
        (GOOD[: len(GOOD) // 2], "not well-formed XML", True),
        (GOOD.replace(b"?>", b"?><!--" + b"x" * (1 << 20) + b"-->", 1), "more than 1048576 bytes", False),
        (b"<a>" * 300 + b"</a>" * 300, "levels of elements", True),
        (BOMB, "document type declaration", True),
        (OF_2_0A, "oadr-2.0a", True),
        (b"\x00\xff\xfe nothing that is XML", "", True),
    ],
    ids=["truncated", "over 1 MiB", "deeply nested", "entity bomb", "wrong namespace", "no XML"],
)
async def test_a_message_that_cannot_be_read_changes_nothing_and_the_next_is_taken(
    connected: Connected, body: bytes, says: str, kept: bool
) -> None:
    await connected.utility.vtn.publish(an_event("before"))
    await until(lambda: connected.taken("before"))
    registration = await connected.registered()
    before = await connected.ledger.events()

    connected.utility.instead.append(body)
    (item,) = await until(connected.ledger.quarantined)

    assert item.connection_id == "utility"
    assert says in item.reason
    assert "\n" not in item.reason
    assert await connected.ledger.events() == before
    assert await connected.registered() == registration
    raw = await connected.ledger.raw_message(item.raw_sha256)
    assert (None if raw is None else raw.body) == (body if kept else None)

    await connected.utility.vtn.publish(an_event("after"))
    await until(lambda: connected.taken("after"))
    ((_, decision),) = await connected.utility.vtn.answers("after")
    assert decision.opt is Opt.IN
    assert len(await connected.ledger.quarantined()) == 1
    await until(connected.ready)


START = datetime(2026, 7, 1, 12, tzinfo=UTC)


class ScriptedMeter:
    """A site meter that says what a script tells it to, a second after another."""

    def __init__(self, clock: VirtualClock, script: Sequence[tuple[float, float] | None]) -> None:
        self._clock = clock
        self._script = script

    async def read(self) -> Sequence[PowerReading]:
        second = round((self._clock.now() - START).total_seconds())
        said = self._script[second] if second < len(self._script) else None
        if said is None:
            return ()
        stamp_s, power_w = said
        return (PowerReading(meter_id="site", power_w=power_w, measured_at=START + timedelta(seconds=stamp_s)),)


async def meter(folder: Path, script: Sequence[tuple[float, float] | None]) -> None:
    """Run metering over four minutes of a meter that follows the script."""
    async with open_ledger(f"sqlite+aiosqlite:///{folder}/ours.db", migrate=True) as ledger:
        clock = VirtualClock(START)
        site = Site(site_id="site", timezone=ZoneInfo("UTC"), meter_id="site", interval_s=60)
        service = Metering(
            meter=ScriptedMeter(clock, script), site=site, ledger=ledger, clock=clock, readiness=Readiness()
        )
        stop = asyncio.Event()

        async def end() -> None:
            await clock.wait(START + timedelta(seconds=243))
            stop.set()

        await asyncio.gather(clock.tend(service.run(stop)), clock.tend(end()))


async def recorded(
    folder: Path, script: Sequence[tuple[float, float] | None]
) -> tuple[tuple[PowerReading, ...], list[tuple[float, float, Quality]]]:
    """What stands in the database afterwards: the readings, and energy, coverage and quality of each minute."""
    await meter(folder, script)
    end = START + timedelta(minutes=4)
    async with open_ledger(f"sqlite+aiosqlite:///{folder}/ours.db", migrate=False) as ledger:
        readings = await ledger.readings_between("site", START - timedelta(hours=1), end + timedelta(hours=1))
        energy = await ledger.energy_between("site", START, end)
    return readings, [(item.energy_wh, item.coverage_fraction, item.quality) for item in energy]


def steady(seconds: int, power_w: float = 3600.0) -> list[tuple[float, float] | None]:
    return [(float(second), power_w) for second in range(seconds)]


async def test_a_meter_without_faults_is_the_measure_of_the_others(tmp_path: Path) -> None:
    readings, minutes = await recorded(tmp_path, steady(244))

    assert len(readings) == 243
    assert minutes == [(pytest.approx(60.0), 1.0, Quality.GOOD)] * 4


async def test_a_gap_is_not_covered_and_not_made_up(tmp_path: Path) -> None:
    script = steady(244)
    script[30:180] = [None] * 150

    readings, minutes = await recorded(tmp_path, script)

    assert len(readings) == 93
    # A reading stands for a minute at most: that of second 29 until second 89.
    assert [coverage for _, coverage, _ in minutes] == pytest.approx([1.0, 29 / 60, 1.0])
    assert [energy_wh for energy_wh, _, _ in minutes] == pytest.approx([60.0, 29.0, 60.0])


async def test_of_readings_with_one_stamp_the_first_counts(tmp_path: Path) -> None:
    script = steady(244)
    script[31] = script[30]
    script[91] = (90.0, 99_999.0)

    readings, minutes = await recorded(tmp_path, script)

    assert len(readings) == 241
    assert {reading.power_w for reading in readings} == {3600.0}
    assert [energy_wh for energy_wh, _, _ in minutes] == pytest.approx([60.0] * 4)


async def test_a_clock_that_steps_neither_loses_nor_doubles_energy(tmp_path: Path) -> None:
    script = steady(244)
    # For ten seconds the meter's clock is 20 s behind, then right again.
    script[90:100] = [(float(second - 20), 3600.0) for second in range(90, 100)]
    # And for five seconds an hour ahead.
    script[150:155] = [(float(second + 3600), 3600.0) for second in range(150, 155)]

    readings, minutes = await recorded(tmp_path, script)

    assert [energy_wh for energy_wh, _, _ in minutes] == pytest.approx([60.0] * 4)
    assert [coverage for _, coverage, _ in minutes] == [1.0] * 4
    ahead = [reading for reading in readings if reading.measured_at > START + timedelta(minutes=10)]
    assert [reading.quality for reading in ahead] == [Quality.SUSPECT] * 5


async def test_negative_watts_are_kept_as_they_came_and_marked(tmp_path: Path) -> None:
    script = steady(244)
    script[70:80] = [(float(second), -3600.0) for second in range(70, 80)]

    readings, minutes = await recorded(tmp_path, script)

    negative = [reading for reading in readings if reading.power_w < 0]
    assert [reading.quality for reading in negative] == [Quality.SUSPECT] * 10
    assert [energy_wh for energy_wh, _, _ in minutes] == pytest.approx([60.0, 40.0, 60.0, 60.0])
    assert [quality for _, _, quality in minutes] == [Quality.GOOD, Quality.SUSPECT, Quality.GOOD, Quality.GOOD]


CONFIG = """
[gateway]
database = "sqlite+aiosqlite:///{folder}/gridgate.db"
state_dir = "{folder}/state"
[site]
id = "a"
[[hardware]]
kind = "simulated"
"""


@pytest.fixture
def site(tmp_path: Path) -> Path:
    (tmp_path / "gridgate.toml").write_text(CONFIG.format(folder=tmp_path))
    return tmp_path


def typed(folder: Path, *words: str, most_bytes: int | None = None) -> subprocess.CompletedProcess[str]:
    """A command as a user types it, with files of at most so many bytes."""

    def limit() -> None:
        if most_bytes is not None:
            resource.setrlimit(resource.RLIMIT_FSIZE, (most_bytes, most_bytes))

    done = subprocess.run(
        [sys.executable, "-m", "gateway", *words, "--config", str(folder / "gridgate.toml")],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
        preexec_fn=limit,
    )
    assert "Traceback" not in done.stderr
    return done


@pytest.mark.parametrize("command", [("serve",), ("db", "check")])
def test_a_database_of_a_newer_revision_is_left_alone(site: Path, command: Sequence[str]) -> None:
    asyncio.run(upgrade.upgrade(f"sqlite+aiosqlite:///{site}/gridgate.db"))
    with closing(sqlite3.connect(site / "gridgate.db")) as connection, connection:
        connection.execute("UPDATE alembic_version SET version_num = 'f00d'")
    before = (site / "gridgate.db").read_bytes()

    done = typed(site, *command)

    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith("gridgate: the database was written by a newer gridgate")
    assert done.stderr.count("\n") == 1
    assert (site / "gridgate.db").read_bytes() == before


def test_a_locked_database_is_said_and_can_still_be_read(site: Path) -> None:
    asyncio.run(upgrade.upgrade(f"sqlite+aiosqlite:///{site}/gridgate.db"))
    with closing(sqlite3.connect(site / "gridgate.db", isolation_level=None)) as holder:
        holder.execute("BEGIN EXCLUSIVE")
        listed = typed(site, "event", "list", "--json")
        served = typed(site, "serve")

    assert (listed.returncode, json.loads(listed.stdout)) == (0, [])
    assert (served.returncode, served.stdout) == (1, "")
    assert served.stderr.startswith("gridgate: another process holds the database")
    assert served.stderr.count("\n") == 1


def test_a_full_disk_is_said_and_leaves_no_half_made_database(site: Path) -> None:
    full = typed(site, "serve", most_bytes=16 << 10)
    later = typed(site, "db", "upgrade", "--json")

    assert (full.returncode, full.stdout) == (1, "")
    assert full.stderr.startswith("gridgate: ")
    assert full.stderr.count("\n") == 1
    assert "disk" in full.stderr or "space" in full.stderr
    assert later.returncode == 0, later.stderr
