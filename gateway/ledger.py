"""The storage port, in verbs of the domain. What the services know of each other is what stands here.

Every ``async`` method that records is durable when it returns; ``publish`` and ``note_outcomes`` are kept in memory
until the next ``flush``. Raw messages, readings and outcomes are append-only. Recording the same thing twice records it
once.

* LedgerError
  + LedgerUnavailable        cannot be read or written just now (locked, full, connection lost): try again, nothing lost
  + LedgerTooNew             written by a newer gridgate than this one
  + LedgerNotUpgraded        written by an older one, and not ours to migrate unasked
"""

import asyncio
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from gateway.domain.event import EventRecord
from gateway.domain.issuing import IssueCommand
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import ImportedEnergy, MeterImport, RegisterReading
from gateway.domain.operator import CommandOutcome, OperatorCommand
from gateway.domain.opting import OptCommand, OptRecord, OptTold
from gateway.domain.plan import LiveBaseline, PowerPlan
from gateway.domain.reconciliation import ReceivedStatement
from gateway.domain.settlement import SettlementStatement
from gateway.domain.site_verification import SiteVerificationInputs
from gateway.domain.statement_review import StatementReview
from gateway.domain.vee.edit import Edit
from gateway.domain.verification import VerificationInputs, VerifiedReport
from gateway.domain.work_account import WorkAccount
from hardware.device import PowerReading
from protocols.grid import GridEvent, OptDecision
from protocols.grid_report import IntervalReport, Receipt
from protocols.party_store import RawMessage, StoreUnavailable


class LedgerError(Exception):
    """Root of the tree."""


class LedgerUnavailable(LedgerError, StoreUnavailable):
    """The database cannot be read or written just now. Nothing was lost: what was not stored may be tried again."""


class LedgerTooNew(LedgerError):
    """The database was written by a newer gridgate."""


class LedgerNotUpgraded(LedgerError):
    """The database was written by an older gridgate and needs ``gridgate db upgrade``."""


class Topic(StrEnum):
    """What a subscriber can be woken for."""

    EVENTS = "events"
    PLANS = "plans"
    READINGS = "readings"
    REPORTS = "reports"
    STATEMENTS = "statements"
    METER_DATA = "meter_data"
    """Metered energy was imported or edited: what was settled may come to other figures."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LogEntry:
    """One line of an event's history, for people and auditors: who did what, in plain words."""

    connection_id: str
    event_id: str
    at: datetime
    what: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapOutcome:
    """What became of one cap or restore, kept when it changed something. ``at`` is when the answer came."""

    at: datetime
    device_id: str
    requested_w: float | None
    applied_w: float | None
    outcome: str
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class TotalMinute:
    """One minute of ``meters`` meters together: the sum of their means in watts."""

    starts_at: datetime
    power_w: float
    meters: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Quarantined:
    """A message that could not be processed."""

    connection_id: str
    raw_sha256: str
    at: datetime
    reason: str


class Ledger(Protocol):
    """The record. One writer at a time; readers see what is durable, and what ``publish`` holds in memory."""

    async def begin_epoch(self, above: int = 0) -> int:
        """Begin a new life of the gateway: an epoch above every earlier one and over ``above``, durable.

        ``above`` is the highest that an agent has heard: after a backup was restored it may be over all we remember.
        """

    def subscribe(self, *topics: Topic) -> asyncio.Event:
        """An event that is set at every change of these topics; the subscriber clears it."""

    # intake

    async def record_event(self, event: GridEvent, at: datetime) -> bool:
        """Keep a revision; false where this revision (or a higher one) of the event is known already."""

    async def record_decision(self, decision: OptDecision) -> None:
        """Keep our answer to a revision; the last one recorded stands."""

    async def record_acknowledged(self, connection_id: str, event_id: str, revision: int, at: datetime) -> None:
        """Mark a revision as acknowledged to the grid. The first mark stays."""

    async def end_event(self, connection_id: str, event_id: str, at: datetime, cause: str) -> None:
        """Mark an event as ended early. The first mark stays; a later revision that is not cancelled takes it off."""

    async def quarantine(self, item: Quarantined) -> None: ...

    async def quarantined(self) -> tuple[Quarantined, ...]: ...

    async def raw_message(self, sha256: str) -> RawMessage | None: ...

    async def messages(self, connection_id: str, limit: int = 100) -> tuple[RawMessage, ...]:
        """The last messages that came or went over a connection, oldest first."""

    async def event(self, connection_id: str, event_id: str) -> EventRecord | None: ...

    async def events(self, since: datetime | None = None) -> tuple[EventRecord, ...]:
        """The latest revision of each event, by start; ``since`` leaves out those that ended before it."""

    async def record_log(self, entry: LogEntry) -> None: ...

    async def log(self, connection_id: str, event_id: str) -> tuple[LogEntry, ...]: ...

    # the operator's word

    async def record_command(self, command: OperatorCommand) -> None:
        """Keep what an operator asks for; one with a known id is kept as it was."""

    async def open_commands(self) -> tuple[OperatorCommand, ...]:
        """Commands that nobody has acted on yet, oldest first."""

    async def record_acted(
        self, outcome: CommandOutcome, decision: OptDecision | None = None, line: LogEntry | None = None
    ) -> bool:
        """Keep what became of a command and, in the same transaction, our new answer to its event and its history.

        The first outcome stays: false, and nothing else is kept, where there is one already.
        """

    async def command_outcome(self, command_id: str) -> CommandOutcome | None:
        """What became of a command, ``None`` while nobody has acted on it."""

    async def standing_command(self, connection_id: str, event_id: str) -> OperatorCommand | None:
        """The command that was done last for the event, ``None`` where none was."""

    async def untold_commands(self, connection_id: str) -> tuple[OperatorCommand, ...]:
        """Commands that were done, and that the grid has not been told of; in the order in which they were done."""

    async def record_told(self, command_id: str, at: datetime, detail: str = "") -> None:
        """Mark a command as told to the grid; ``detail`` where it took no notice, or wants none. The first stays."""

    # the utility's word, about events of our own

    async def record_issue(self, command: IssueCommand) -> None:
        """Keep what is asked of an event of ours; one with a known id is kept as it was."""

    async def open_issues(self) -> tuple[IssueCommand, ...]:
        """Those that nobody has acted on yet, oldest first."""

    async def record_issued(self, outcome: CommandOutcome) -> bool:
        """Keep what became of one; false where there is an outcome already: the first stays."""

    async def issue_outcome(self, command_id: str) -> CommandOutcome | None:
        """What became of one, ``None`` while nobody has acted on it."""

    # schedules of ours: when we will, or will not, take part

    async def record_opt(self, command: OptCommand) -> None:
        """Keep what is asked of a schedule; one with a known id is kept as it was."""

    async def record_opt_acted(self, outcome: CommandOutcome) -> bool:
        """Keep what became of one; false where there is an outcome already: the first stays."""

    async def record_opt_told(self, told: OptTold) -> bool:
        """Keep what the grid made of one; false where that is known: the first stays."""

    async def opts(self) -> tuple[OptRecord, ...]:
        """All that was asked of schedules and what became of it, oldest first."""

    # dispatch

    async def freeze_baseline(self, baseline: LiveBaseline) -> LiveBaseline:
        """Freeze the event's live baseline; returns the one that stands (the first)."""

    async def record_plan(self, plan: PowerPlan) -> None: ...

    async def plan(self, connection_id: str, event_id: str) -> PowerPlan | None:
        """The latest plan for the event."""

    async def record_work_accounts(self, accounts: Sequence[WorkAccount]) -> None:
        """Keep what was kept back from jobs, each in place of what was known of its job."""

    async def work_accounts(self) -> tuple[WorkAccount, ...]:
        """The accounts as last recorded, by job_id."""

    def note_outcomes(self, outcomes: Sequence[CapOutcome]) -> None: ...

    async def outcomes_between(self, start: datetime, end: datetime) -> tuple[CapOutcome, ...]:
        """Outcomes with ``start <= at < end`` in order of time, the ones not yet flushed included."""

    # metering

    def publish(self, readings: Sequence[PowerReading], keep: bool = True) -> None:
        """Make readings the latest; ``keep`` also stores them at the next flush.

        One that is older than its meter's latest does not replace it, unless it is good and the latest is not (a stamp
        from the future would stay the latest until time caught up). Of two of the same meter and instant the first is
        stored. Raises ``ValueError`` where one is NaN or infinite; none is taken then.
        """

    def latest_readings(self) -> Mapping[str, PowerReading]: ...

    async def flush(self) -> None:
        """Store what is held in memory, in one transaction. On ``LedgerUnavailable`` it stays held."""

    async def readings_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[PowerReading, ...]:
        """Readings with ``start <= measured_at < end`` in order of time, the ones not yet flushed included."""

    async def totals_between(
        self, start: datetime, end: datetime, *, apart_from: Collection[str]
    ) -> tuple[TotalMinute, ...]:
        """Minutes of all meters but some, in order of time: those of the clock from ``start`` on, up to before ``end``.

        A mean is over a meter's stored readings of the minute; what is not flushed yet is not in it.
        """

    async def record_energy(self, meter_id: str, intervals: Sequence[IntervalEnergy]) -> None:
        """Keep closed intervals; one with the same meter, start and duration is kept as it was."""

    async def energy_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]:
        """Closed intervals that start in ``[start, end)``, in order of time."""

    async def record_temperatures(self, series: Sequence[tuple[datetime, float]], at: datetime) -> None:
        """Keep temperatures at the site, in degrees Celsius by the start they hold from; a correction comes later.

        Raises ``ValueError`` for one that is no finite number, and keeps none then.
        """

    async def temperatures_between(
        self, start: datetime, end: datetime, *, known_by: datetime | None = None
    ) -> tuple[tuple[datetime, float], ...]:
        """Those that hold from ``[start, end)``, in order of time, as they were known by an instant, or as they are."""

    # meter data that was handed over, and edits

    async def record_import(
        self,
        source: MeterImport,
        intervals: Sequence[IntervalEnergy],
        registers: Sequence[RegisterReading] = (),
    ) -> bool:
        """Keep an import whole, or nothing of it.

        False, and nothing is kept, where this file (by its SHA-256) was imported for this meter before. Raises
        ``ValueError`` where energy or a length is no finite number, and where an interval is not whole, or is longer
        than a day.
        """

    async def imports(self, meter_id: str | None = None) -> tuple[MeterImport, ...]:
        """All imports, or those of one meter, in the order in which they were recorded."""

    async def imported_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[ImportedEnergy, ...]:
        """By import, in the order of recording, its intervals that share time with ``[start, end)``; none without."""

    async def registers_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[RegisterReading, ...]:
        """Imported readings of a meter's register, ``start <= at < end``, by time; of one instant the last import's."""

    async def record_edit(self, edit: Edit) -> bool:
        """Keep an edit; false where its id is known, and it stays as it was.

        Raises ``ValueError`` for an interval longer than a day.
        """

    async def record_edits(self, edits: Sequence[Edit]) -> int:
        """Keep edits, all of them or none, as ``record_edit`` does each; how many of them are new."""

    async def edits_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[Edit, ...]:
        """Edits of intervals that share time with ``[start, end)``, in the order in which they were recorded."""

    async def meter_data_count(self) -> int:
        """How many imports, temperatures and edits are on record, of whichever process.

        What was settled is due again as it rises.
        """

    # reporting

    async def report_cursor(self, connection_id: str, order_id: str) -> datetime | None:
        """Up to where the order has been reported (or queued), ``None`` at first."""

    async def queue_report(self, report: IntervalReport, cursor: datetime) -> None:
        """Put a report into the outbox and move the order's cursor (never back), in one transaction."""

    async def outbox(self, connection_id: str, limit: int = 100) -> tuple[IntervalReport, ...]:
        """Reports without a receipt, oldest first."""

    async def record_receipt(self, receipt: Receipt) -> None:
        """Keep the grid's answer, which takes the report out of the outbox. The first answer stays."""

    async def received_reports(self, connection_id: str, after: datetime) -> tuple[tuple[str, IntervalReport], ...]:
        """What sites below have reported over a connection, by party_id, created after the instant, oldest first."""

    async def received_since(
        self, connection_id: str, number: int | None
    ) -> tuple[int, tuple[tuple[str, IntervalReport], ...]]:
        """What sites below have reported over a connection since a call that returned this number, as it came.

        By party_id; with the number to go on from. ``None`` begins now, with nothing.
        """

    async def record_verified(self, report: VerifiedReport) -> None:
        """Keep a verification beside earlier ones of its event."""

    async def verified(self, connection_id: str, event_id: str) -> VerifiedReport | None:
        """The latest verification of the event."""

    # settling

    async def record_statement(
        self,
        statement: SettlementStatement,
        inputs: VerificationInputs | SiteVerificationInputs | None = None,
    ) -> bool:
        """Keep a statement, and what it was computed from; false where its id is known, and nothing is kept then."""

    async def statements(self) -> tuple[SettlementStatement, ...]:
        """All statements, in the order they were recorded."""

    async def statements_of(self, connection_id: str, event_id: str) -> tuple[SettlementStatement, ...]:
        """Those of one event, in the order they were recorded."""

    async def statement(self, statement_id: str) -> SettlementStatement | None: ...

    async def statement_inputs(self, sha256: str) -> VerificationInputs | SiteVerificationInputs | None:
        """What a verification with this ``inputs_sha256`` was computed from, ``None`` where it was not kept.

        Raises ``LedgerError`` where it can no longer be read as what it was, as after a change of its rule's sheet.
        """

    async def record_review(self, review: StatementReview) -> None: ...

    async def reviews(self) -> tuple[StatementReview, ...]:
        """All that was said to statements, in the order it was recorded."""

    async def record_counterparty(self, received: ReceivedStatement) -> bool:
        """Keep a statement of a counterparty; false for one that is kept already."""

    async def counterparty_statements(self, statement_id: str) -> tuple[ReceivedStatement, ...]:
        """Those that were held against a statement of ours, in the order they came."""
