"""A site in virtual time for the services' tests: real ledger, real simulated fleet behind its agent."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import uuid4
from zoneinfo import ZoneInfo

from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.clock import VirtualClock
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Program
from gateway.domain.fleet import Site
from gateway.domain.operator import CommandKind, OperatorCommand
from gateway.domain.site_verification import SiteBelow
from gateway.ledger import LedgerUnavailable
from gateway.services.actuator import Actuator
from gateway.services.dispatch import Dispatch
from gateway.services.intake import Intake
from gateway.services.metering import Metering
from gateway.services.operating import Operating
from gateway.services.readiness import Readiness
from gateway.services.reporting import Reporting
from gateway.services.settling import Settling
from gateway.storage.database import Database
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_ledger import SqlLedger
from hardware.agent import Agent
from hardware.agent_links import LocalLink
from hardware.device import CapCommand
from hardware.errors import AgentUnreachable
from hardware.fleet import AgentFleet
from hardware.simulated import SimulatedFleet
from hardware.wire import Apply, Reply, Request, Restore
from protocols.grid import (
    EventBatch,
    EventInterval,
    EventStatus,
    GridConnection,
    GridEvent,
    Opt,
    OptDecision,
    Signal,
    SignalKind,
)
from protocols.grid_report import IntervalReport, Receipt, ReportOrder

STARTS_AT = datetime(2026, 7, 15, 22, 40, tzinfo=UTC)
"""A Wednesday afternoon in Phoenix."""

CONNECTION_ID = "utility"
PROGRAM_ID = "peak"
SITE = Site(site_id="lab-1", timezone=ZoneInfo("America/Phoenix"), meter_id="site", interval_s=60)
PROGRAM = Program(program_id=PROGRAM_ID, levels={1: 0.10, 2: 0.20, 3: 0.30})
LEASE_S = 15.0


class LockableDatabase(Database):
    """A database that another process may hold: then nothing can be written, or nothing be read either."""

    locked = False
    unreadable = False

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        if self.locked:
            raise LedgerUnavailable("another process holds the database")
        async with super().write() as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        if self.unreadable:
            raise LedgerUnavailable("the disk under the database fails")
        async with super().read() as connection:
            yield connection


class WatchedLink(LocalLink):
    """The way to the agent, which may be cut; keeps what was written and restored."""

    def __init__(self, agent: Agent) -> None:
        super().__init__(agent)
        self.cut = False
        self.commands: list[CapCommand] = []
        self.asked: list[set[str]] = []

    async def request(self, message: Request) -> Reply:
        if self.cut:
            raise AgentUnreachable("the agent does not answer")
        if isinstance(message, Apply):
            self.commands += message.commands
        if isinstance(message, Restore):
            self.asked.append(set(message.device_ids))
        return await super().request(message)


class ScriptedConnection(GridConnection):
    """A counterparty that says what a test wants it to say, message by message."""

    connection_id = CONNECTION_ID
    party_ids = frozenset({"ven-1"})
    poll_s = 2.0

    def __init__(self) -> None:
        self.says: list[EventBatch | Exception | None] = []
        self.asked_at: list[datetime] = []
        self.answers: list[tuple[OptDecision, ...]] = []
        self.refused: list[EventBatch] = []
        self.restated: list[OptDecision] = []
        self.restate_fails: Exception | str | None = None
        self.ordered: tuple[ReportOrder, ...] = ()
        self.reports: list[IntervalReport] = []
        self.refuses_reports = False
        self.down: Exception | None = None

    async def receive(self, now: datetime) -> EventBatch | None:
        self.asked_at.append(now)
        if self.down is not None:
            raise self.down
        said = self.says.pop(0) if self.says else None
        if isinstance(said, Exception):
            raise said
        return said

    async def respond(self, batch: EventBatch, decisions: Sequence[OptDecision], now: datetime) -> None:
        if self.down is not None:
            raise self.down
        self.answers.append(tuple(decisions))

    async def restate(self, decision: OptDecision, now: datetime) -> str | None:
        fails = self.restate_fails or self.down
        if isinstance(fails, Exception):
            raise fails
        self.restated.append(decision)
        return fails

    async def refuse(self, batch: EventBatch, detail: str, now: datetime) -> None:
        self.refused.append(batch)

    async def orders(self) -> tuple[ReportOrder, ...]:
        return self.ordered

    async def send_report(self, report: IntervalReport, now: datetime) -> Receipt:
        if self.down is not None:
            raise self.down
        self.reports.append(report)
        return Receipt(
            report_id=report.report_id,
            accepted=not self.refuses_reports,
            received_at=now,
            code="452" if self.refuses_reports else "200",
        )


Step = Callable[[], Awaitable[object] | object]


@dataclass(kw_only=True)
class Rig:
    """What is open, and short words for what tests do with it."""

    clock: VirtualClock
    database: LockableDatabase
    ledger: SqlLedger
    physical: SimulatedFleet
    link: WatchedLink
    fleet: AgentFleet
    readiness: Readiness = field(default_factory=Readiness)
    connection: ScriptedConnection = field(default_factory=ScriptedConnection)
    programs: Mapping[str, Program] = field(default_factory=lambda: {PROGRAM_ID: PROGRAM})
    site: Site = SITE
    epoch: int = 1

    @property
    def parties(self) -> SqlPartyStore:
        return SqlPartyStore(self.ledger)

    def actuator(self, fleet: Any = None) -> Actuator:
        return Actuator(
            fleet=fleet or self.fleet,
            ledger=self.ledger,
            clock=self.clock,
            epoch=self.epoch,
            lease_s=LEASE_S,
            tree=self.site.tree,
        )

    def dispatch(self) -> Dispatch:
        return Dispatch(
            fleet=self.fleet,
            site=self.site,
            programs=self.programs,
            ledger=self.ledger,
            clock=self.clock,
            actuator=self.actuator(),
            readiness=self.readiness,
        )

    def metering(self, meter: Any = None, flush_s: float = 60.0) -> Metering:
        return Metering(
            meter=meter or self.fleet,
            site=self.site,
            ledger=self.ledger,
            clock=self.clock,
            readiness=self.readiness,
            flush_s=flush_s,
        )

    def intake(self, connection: GridConnection | None = None, **more: Any) -> Intake:
        return Intake(
            connection=connection or self.connection,
            ledger=self.ledger,
            clock=self.clock,
            programs=self.programs,
            readiness=self.readiness,
            **more,
        )

    def operating(self) -> Operating:
        return Operating(programs=self.programs, ledger=self.ledger, clock=self.clock, readiness=self.readiness)

    def reporting(self, connection: GridConnection | None = None, **more: Any) -> Reporting:
        return Reporting(
            connection=connection or self.connection,
            site=self.site,
            ledger=self.ledger,
            clock=self.clock,
            readiness=self.readiness,
            **more,
        )

    def settling(self, *below: SiteBelow) -> Settling:
        return Settling(
            site=self.site,
            programs=self.programs,
            rules=shipped_rules(),
            ledger=self.ledger,
            clock=self.clock,
            readiness=self.readiness,
            below=lambda: below,
        )

    async def run(self, *services: Any, for_s: float, script: Mapping[float, Step] | None = None) -> None:
        """Run services for some virtual seconds; ``script`` says what to do after how many of them."""
        stop = asyncio.Event()
        began_at = self.clock.now()

        async def play() -> None:
            for at_s, act in sorted((script or {}).items()):
                await self.clock.wait(began_at + timedelta(seconds=at_s))
                done = act()
                if isinstance(done, Awaitable):
                    await done
            await self.clock.wait(began_at + timedelta(seconds=for_s))
            stop.set()

        async with asyncio.TaskGroup() as group:
            work = [self.clock.tend(service.run(stop)) for service in services]
            for item in (*work, self.clock.tend(play())):
                group.create_task(item)

    def event(self, *, in_s: float = 0.0, lasts_s: float | None = 60.0, **changes: Any) -> GridEvent:
        """Level 2 for a minute from now on, but for the changes."""
        starts_at = self.clock.now() + timedelta(seconds=in_s)
        value = changes.pop("value", 2.0)
        kind = changes.pop("kind", SignalKind.LEVEL)
        signal = Signal(
            name="SIMPLE",
            kind=kind,
            intervals=(EventInterval(starts_at=starts_at, duration_s=lasts_s, value=value),),
        )
        known = GridEvent(
            event_id="peak-1",
            connection_id=CONNECTION_ID,
            program_id=PROGRAM_ID,
            revision=0,
            status=EventStatus.FAR,
            created_at=self.clock.now(),
            starts_at=starts_at,
            duration_s=lasts_s,
            signals=(signal,),
        )
        return replace(known, **changes)

    async def take(self, event: GridEvent, opt: Opt = Opt.IN) -> GridEvent:
        """Put an event on record, as intake does."""
        now = self.clock.now()
        await self.ledger.record_decision(
            OptDecision(
                connection_id=event.connection_id,
                event_id=event.event_id,
                revision=event.revision,
                opt=opt,
                decided_at=now,
            )
        )
        await self.ledger.record_event(event, now)
        return event

    async def ask(self, kind: CommandKind, **changes: Any) -> OperatorCommand:
        """Put an operator's command on record, as the command line does."""
        command = OperatorCommand(
            command_id=uuid4().hex,
            at=self.clock.now(),
            by="ann",
            kind=kind,
            connection_id=CONNECTION_ID,
            event_id="peak-1",
            reason="chiller down",
        )
        command = replace(command, **changes)
        await self.ledger.record_command(command)
        return command

    def batch(self, *events: GridEvent, complete: bool = True, **changes: Any) -> EventBatch:
        """A message that lists these events."""
        batch = EventBatch(
            connection_id=CONNECTION_ID,
            events=events,
            complete=complete,
            request_id="r-1",
            raw_sha256="ab" * 32,
            received_at=self.clock.now(),
        )
        return replace(batch, **changes)

    def capped(self) -> int:
        """How many devices are held under their default limit."""
        return sum(device.limit_w < device.cap_range.default_w - 0.5 for device in self.physical.devices())

    async def words(self, event_id: str = "peak-1") -> list[str]:
        """What the event's history says happened."""
        return [line.what for line in await self.ledger.log(CONNECTION_ID, event_id)]


@asynccontextmanager
async def open_rig(url: str) -> AsyncIterator[Rig]:
    """A rig on a database that exists, with eight devices on two hosts."""
    clock = VirtualClock(STARTS_AT)

    def boot_s() -> float:
        return (clock.now() - STARTS_AT).total_seconds()

    physical = SimulatedFleet(hosts=2, devices_per_host=4, seed=7, now=clock.now)
    agent = Agent(
        host_id="local",
        devices=physical,
        jobs=physical,
        boot_s=boot_s,
    )
    link = WatchedLink(agent)
    database = LockableDatabase(url)
    try:
        yield Rig(
            clock=clock,
            database=database,
            ledger=SqlLedger(database),
            physical=physical,
            link=link,
            fleet=AgentFleet([link]),
        )
    finally:
        await database.close()
