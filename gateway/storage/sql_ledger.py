"""The ledger on SQLite or PostgreSQL."""

import asyncio
import weakref
from collections.abc import AsyncIterator, Collection, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime
from typing import Any

from sqlalchemy import Table, case, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.event import EventRecord
from gateway.domain.evidence import fingerprint
from gateway.domain.issuing import IssueCommand
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.operator import CommandOutcome, OperatorCommand
from gateway.domain.plan import LiveBaseline, PowerPlan
from gateway.domain.verification import VerifiedReport
from gateway.domain.work_account import WorkAccount
from gateway.ledger import CapOutcome, Ledger, LedgerError, LogEntry, Quarantined, Topic, TotalMinute
from gateway.storage import command_rows, event_rows, issue_rows, metering_rows, report_rows, rows, tables, upgrade
from gateway.storage.database import Database
from gateway.storage.held import HeldOutcomes, HeldReadings, refuse_unusable
from gateway.storage.meter_data_rows import MeterDataVerbs
from gateway.storage.opt_rows import OptVerbs
from gateway.storage.statement_rows import StatementVerbs
from hardware.device import PowerReading, Quality
from protocols.grid import GridEvent, OptDecision
from protocols.grid_report import IntervalReport, Receipt
from protocols.party_store import RawMessage

HELD_READINGS = 500_000

ACCOUNTS_AT_ONCE = 250


@asynccontextmanager
async def open_ledger(
    url: str, *, migrate: bool, held_readings: int = HELD_READINGS, lasting_meters: Collection[str] = ()
) -> AsyncIterator["SqlLedger"]:
    """The ledger in the database at ``url``; at the end what it holds is flushed and every connection closed.

    With ``migrate`` an SQLite database is brought to the newest revision first, and made where there is none; one on
    PostgreSQL may be others' too and is not. While the database is unavailable at most ``held_readings`` readings are
    held; beyond that the oldest are dropped, those of ``lasting_meters`` last, and counted in ``dropped_readings``.
    Raises any ``LedgerError``.
    """
    if migrate and upgrade.is_sqlite(url):
        await upgrade.upgrade(url)
    else:
        await upgrade.require_newest(url)
    database = Database(url)
    ledger = SqlLedger(database, held_readings=held_readings, lasting_meters=lasting_meters)
    try:
        try:
            yield ledger
        except BaseException:
            # What brought us here matters more than a second failure.
            with suppress(LedgerError):
                await ledger.flush()
            raise
        await ledger.flush()
    finally:
        await database.close()


class SqlLedger(OptVerbs, StatementVerbs, MeterDataVerbs, Ledger):
    """The ledger's verbs on one ``Database``.

    A decision, plan or verification recorded later stands for the event from then on; the earlier ones are kept.
    """

    def __init__(
        self, database: Database, *, held_readings: int = HELD_READINGS, lasting_meters: Collection[str] = ()
    ) -> None:
        self.database = database
        self._latest: dict[str, PowerReading] = {}
        self._readings = HeldReadings(held_readings, lasting_meters)
        self._outcomes = HeldOutcomes()
        self._one_flush = asyncio.Lock()
        # Weak: a page that subscribes and goes away leaves nothing behind.
        self._subscribers: dict[Topic, weakref.WeakSet[asyncio.Event]] = {topic: weakref.WeakSet() for topic in Topic}

    @property
    def dropped_readings(self) -> int:
        """Readings that were lost because the database was unavailable for too long."""
        return self._readings.dropped

    async def begin_epoch(self, above: int = 0) -> int:
        # One statement on one row: of two processes at once the second waits for the first and gets the next number.
        last = tables.epoch.c.value
        one_up = update(tables.epoch).values(value=case((last < above, above), else_=last) + 1).returning(last)
        async with self.database.write() as connection:
            begun: int = (await connection.execute(one_up)).scalar_one()
        return begun

    def subscribe(self, *topics: Topic) -> asyncio.Event:
        wake = asyncio.Event()
        for topic in topics:
            self._subscribers[topic].add(wake)
        return wake

    def _wake(self, topic: Topic) -> None:
        for wake in self._subscribers[topic]:
            wake.set()

    async def record_event(self, event: GridEvent, at: datetime) -> bool:
        async with self.database.write() as connection:
            new = await event_rows.add_revision(connection, event, at)
        if new:
            self._wake(Topic.EVENTS)
        return new

    async def record_decision(self, decision: OptDecision) -> None:
        async with self.database.write() as connection:
            new = await event_rows.add_decision(connection, decision)
        if new:
            self._wake(Topic.EVENTS)

    async def record_acknowledged(self, connection_id: str, event_id: str, revision: int, at: datetime) -> None:
        row = {"connection_id": connection_id, "event_id": event_id, "revision": revision, "at": at}
        await self._add(tables.acknowledgement, row, Topic.EVENTS)

    async def end_event(self, connection_id: str, event_id: str, at: datetime, cause: str) -> None:
        async with self.database.write() as connection:
            marked = await event_rows.mark_ended(connection, connection_id, event_id, at, cause)
        if marked:
            self._wake(Topic.EVENTS)

    async def quarantine(self, item: Quarantined) -> None:
        row = {
            "connection_id": item.connection_id,
            "raw_sha256": item.raw_sha256,
            "at": item.at,
            "reason": item.reason,
            "digest": fingerprint(item),
        }
        await self._add(tables.quarantine, row)

    async def quarantined(self) -> tuple[Quarantined, ...]:
        table = tables.quarantine
        asked = select(table.c.connection_id, table.c.raw_sha256, table.c.at, table.c.reason).order_by(table.c.id)
        async with self.database.read() as connection:
            return tuple(Quarantined(**row) for row in (await connection.execute(asked)).mappings())

    async def raw_message(self, sha256: str) -> RawMessage | None:
        async with self.database.read() as connection:
            return await report_rows.message(connection, sha256)

    async def messages(self, connection_id: str, limit: int = 100) -> tuple[RawMessage, ...]:
        async with self.database.read() as connection:
            return await report_rows.messages(connection, connection_id, limit)

    async def event(self, connection_id: str, event_id: str) -> EventRecord | None:
        async with self.database.read() as connection:
            found = await event_rows.records(connection, event_rows.named(connection_id, event_id))
        return found[0] if found else None

    async def events(self, since: datetime | None = None) -> tuple[EventRecord, ...]:
        conditions = () if since is None else (event_rows.not_over_before(since),)
        async with self.database.read() as connection:
            return await event_rows.records(connection, *conditions)

    async def record_log(self, entry: LogEntry) -> None:
        async with self.database.write() as connection:
            await event_rows.add_log(connection, entry)

    async def log(self, connection_id: str, event_id: str) -> tuple[LogEntry, ...]:
        async with self.database.read() as connection:
            return await event_rows.log(connection, connection_id, event_id)

    async def record_command(self, command: OperatorCommand) -> None:
        async with self.database.write() as connection:
            await command_rows.add(connection, command)

    async def open_commands(self) -> tuple[OperatorCommand, ...]:
        async with self.database.read() as connection:
            return await command_rows.open_ones(connection)

    async def record_acted(
        self, outcome: CommandOutcome, decision: OptDecision | None = None, line: LogEntry | None = None
    ) -> bool:
        async with self.database.write() as connection:
            new = await command_rows.add_outcome(connection, outcome)
            if new and decision is not None:
                await event_rows.add_decision(connection, decision)
            if new and line is not None:
                await event_rows.add_log(connection, line)
        if new:
            self._wake(Topic.EVENTS)
        return new

    async def command_outcome(self, command_id: str) -> CommandOutcome | None:
        async with self.database.read() as connection:
            return await command_rows.outcome(connection, command_id)

    async def record_issue(self, command: IssueCommand) -> None:
        async with self.database.write() as connection:
            await issue_rows.add(connection, command)

    async def open_issues(self) -> tuple[IssueCommand, ...]:
        async with self.database.read() as connection:
            return await issue_rows.open_ones(connection)

    async def record_issued(self, outcome: CommandOutcome) -> bool:
        async with self.database.write() as connection:
            return await issue_rows.add_outcome(connection, outcome)

    async def issue_outcome(self, command_id: str) -> CommandOutcome | None:
        async with self.database.read() as connection:
            return await issue_rows.outcome(connection, command_id)

    async def standing_command(self, connection_id: str, event_id: str) -> OperatorCommand | None:
        async with self.database.read() as connection:
            return await command_rows.standing(connection, connection_id, event_id)

    async def untold_commands(self, connection_id: str) -> tuple[OperatorCommand, ...]:
        async with self.database.read() as connection:
            return await command_rows.untold(connection, connection_id)

    async def record_told(self, command_id: str, at: datetime, detail: str = "") -> None:
        row = {"command_id": command_id, "at": at, "detail": detail}
        await self._add(tables.command_told, row, Topic.EVENTS)

    async def freeze_baseline(self, baseline: LiveBaseline) -> LiveBaseline:
        table = tables.live_baseline
        key = {"connection_id": baseline.connection_id, "event_id": baseline.event_id}
        asked = select(table.c.document).filter_by(**key)
        async with self.database.write() as connection:
            new = await rows.add(connection, table, {**key, "document": baseline})
            stands: LiveBaseline = (await connection.execute(asked)).scalar_one()
        if new:
            self._wake(Topic.PLANS)
        return stands

    async def record_plan(self, plan: PowerPlan) -> None:
        await self._add(tables.plan, _of_event(plan), Topic.PLANS)

    async def plan(self, connection_id: str, event_id: str) -> PowerPlan | None:
        async with self.database.read() as connection:
            plan: PowerPlan | None = await _latest(connection, tables.plan, connection_id, event_id)
        return plan

    async def record_work_accounts(self, accounts: Sequence[WorkAccount]) -> None:
        found = [{"job_id": account.job_id, "document": account} for account in accounts]
        async with self.database.write() as connection:
            # In parts: to put thousands into words at once would hold up the control loop.
            for first in range(0, len(found), ACCOUNTS_AT_ONCE):
                await rows.replace_all(connection, tables.work_account, found[first : first + ACCOUNTS_AT_ONCE])

    async def work_accounts(self) -> tuple[WorkAccount, ...]:
        asked = select(tables.work_account.c.document).order_by(tables.work_account.c.job_id)
        async with self.database.read() as connection:
            return tuple((await connection.execute(asked)).scalars())

    def note_outcomes(self, outcomes: Sequence[CapOutcome]) -> None:
        self._outcomes.add(outcomes)

    async def outcomes_between(self, start: datetime, end: datetime) -> tuple[CapOutcome, ...]:
        # What is held is looked at first: what a flush takes out of it meanwhile is then found in the database.
        held = self._outcomes.between(start, end)
        async with self.database.read() as connection:
            stored = await metering_rows.outcomes(connection, start, end)
        return tuple(sorted({**stored, **held}.values(), key=lambda outcome: outcome.at))

    def publish(self, readings: Sequence[PowerReading], keep: bool = True) -> None:
        refuse_unusable(readings)
        for reading in readings:
            latest = self._latest.get(reading.meter_id)
            if latest is None or latest.measured_at < reading.measured_at or _better(reading, latest):
                self._latest[reading.meter_id] = reading
        if keep:
            self._readings.add(readings)
        if readings:
            self._wake(Topic.READINGS)

    def latest_readings(self) -> Mapping[str, PowerReading]:
        return dict(self._latest)

    async def flush(self) -> None:
        async with self._one_flush:
            if not self._readings and not self._outcomes:
                return
            try:
                async with self.database.write() as connection:
                    await metering_rows.add_readings(connection, self._readings.take())
                    await metering_rows.add_outcomes(connection, self._outcomes.take())
            except BaseException:
                # Cancellation too: whether it was stored is not known then, and storing twice stores once.
                self._readings.put_back()
                self._outcomes.put_back()
                raise
            self._readings.stored()
            self._outcomes.stored()

    async def readings_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[PowerReading, ...]:
        held = self._readings.between(meter_id, start, end)
        async with self.database.read() as connection:
            stored = await metering_rows.readings(connection, meter_id, start, end)
        if not held:
            return stored
        # The first of an instant stays, and what is stored came first.
        by_instant = {reading.measured_at: reading for reading in (*reversed(held), *stored)}
        return tuple(by_instant[at] for at in sorted(by_instant))

    async def totals_between(
        self, start: datetime, end: datetime, *, apart_from: Collection[str]
    ) -> tuple[TotalMinute, ...]:
        async with self.database.read() as connection:
            return await metering_rows.totals(connection, start, end, apart_from)

    async def record_energy(self, meter_id: str, intervals: Sequence[IntervalEnergy]) -> None:
        async with self.database.write() as connection:
            await metering_rows.add_energy(connection, meter_id, intervals)
        if intervals:
            self._wake(Topic.READINGS)

    async def energy_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]:
        async with self.database.read() as connection:
            return await metering_rows.energy(connection, meter_id, start, end)

    async def record_temperatures(self, series: Sequence[tuple[datetime, float]], at: datetime) -> None:
        async with self.database.write() as connection:
            await metering_rows.add_temperatures(connection, series, at)

    async def temperatures_between(
        self, start: datetime, end: datetime, *, known_by: datetime | None = None
    ) -> tuple[tuple[datetime, float], ...]:
        async with self.database.read() as connection:
            return await metering_rows.temperatures(connection, start, end, known_by)

    async def report_cursor(self, connection_id: str, order_id: str) -> datetime | None:
        async with self.database.read() as connection:
            return await report_rows.cursor(connection, connection_id, order_id)

    async def queue_report(self, report: IntervalReport, cursor: datetime) -> None:
        async with self.database.write() as connection:
            new = await report_rows.queue(connection, report, cursor)
        if new:
            self._wake(Topic.REPORTS)

    async def outbox(self, connection_id: str, limit: int = 100) -> tuple[IntervalReport, ...]:
        async with self.database.read() as connection:
            return await report_rows.outbox(connection, connection_id, limit)

    async def record_receipt(self, receipt: Receipt) -> None:
        async with self.database.write() as connection:
            new = await report_rows.add_receipt(connection, receipt)
        if new:
            self._wake(Topic.REPORTS)

    async def received_reports(self, connection_id: str, after: datetime) -> tuple[tuple[str, IntervalReport], ...]:
        async with self.database.read() as connection:
            return await report_rows.received(connection, connection_id, after)

    async def received_since(
        self, connection_id: str, number: int | None
    ) -> tuple[int, tuple[tuple[str, IntervalReport], ...]]:
        async with self.database.read() as connection:
            return await report_rows.received_since(connection, connection_id, number)

    async def record_verified(self, report: VerifiedReport) -> None:
        # What was reported of an event is corrected by what was stated of it, and by what was verified after that.
        await self._add(tables.verified_report, _of_event(report), Topic.REPORTS, Topic.STATEMENTS)

    async def verified(self, connection_id: str, event_id: str) -> VerifiedReport | None:
        async with self.database.read() as connection:
            report: VerifiedReport | None = await _latest(connection, tables.verified_report, connection_id, event_id)
        return report

    async def _add(self, table: Table, row: rows.Row, *topics: Topic) -> None:
        """Insert one row in a transaction of its own, and wake who waits for it where it is new."""
        async with self.database.write() as connection:
            new = await rows.add(connection, table, row)
        if new:
            for topic in topics:
                self._wake(topic)


def _of_event(document: PowerPlan | VerifiedReport) -> rows.Row:
    return {
        "connection_id": document.connection_id,
        "event_id": document.event_id,
        "digest": fingerprint(document),
        "document": document,
    }


async def _latest(connection: AsyncConnection, table: Table, connection_id: str, event_id: str) -> Any:
    asked = (
        select(table.c.document)
        .where(table.c.connection_id == connection_id, table.c.event_id == event_id)
        .order_by(table.c.id.desc())
        .limit(1)
    )
    return (await connection.execute(asked)).scalar_one_or_none()


def _better(reading: PowerReading, latest: PowerReading) -> bool:
    return reading.quality is Quality.GOOD and latest.quality is not Quality.GOOD
