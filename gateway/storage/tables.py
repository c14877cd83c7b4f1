"""The tables, as Alembic's target. The migrations make them; nothing else does.

Whole dataclasses stand in ``document`` columns, beside the columns that are asked for. ``digest`` (of the canonical
JSON) makes recording the same thing twice record it once. Tables in ``APPEND_ONLY`` refuse updates and deletions by
triggers of their own.
"""

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    Double,
    ForeignKey,
    ForeignKeyConstraint,
    Index,
    Integer,
    LargeBinary,
    String,
    Table,
    Text,
    UniqueConstraint,
)

from gateway.domain.issuing import IssueCommand
from gateway.domain.operator import OperatorCommand
from gateway.domain.opting import OptCommand
from gateway.domain.plan import LiveBaseline, PowerPlan
from gateway.domain.reconciliation import ReceivedStatement
from gateway.domain.settlement import SettlementStatement
from gateway.domain.statement_review import StatementReview
from gateway.domain.verification import VerifiedReport
from gateway.domain.work_account import WorkAccount
from gateway.storage.documents import Document, Instant
from gateway.storage.evidence_tables import evidence_entry, head_stamp, tree_head
from gateway.storage.meter_tables import imported_energy, meter_register, reading_edit, reading_import, temperature
from gateway.storage.party_tables import received_report
from gateway.storage.table_parts import digest, metadata, serial
from protocols.grid import GridEvent, OptDecision
from protocols.grid_report import IntervalReport

epoch = Table(
    "epoch",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("value", BigInteger, nullable=False),
)

raw_body = Table(
    "raw_body",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)
raw_message = Table(
    "raw_message",
    metadata,
    serial(),
    Column("sha256", ForeignKey("raw_body.sha256"), nullable=False),
    Column("connection_id", Text, nullable=False),
    Column("direction", String(3), nullable=False),
    Column("at", Instant, nullable=False),
    Column("name", Text, nullable=False),
    Column("took_s", Double),
    UniqueConstraint("sha256", "connection_id", "direction", "at"),
    Index(None, "connection_id", "id"),
)

event_revision = Table(
    "event_revision",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("received_at", Instant, nullable=False),
    Column("document", Document(GridEvent), nullable=False),
)
# Points at the latest revision of each event. `over_at` is the earlier of its end and of its being ended, NULL while
# neither is known: what is over must not slow down the question what is on.
event = Table(
    "event",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("revision", BigInteger, nullable=False),
    Column("first_received_at", Instant, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("over_at", Instant, index=True),
    Column("ended_at", Instant),
    Column("end_cause", Text, nullable=False),
    ForeignKeyConstraint(
        ["connection_id", "event_id", "revision"],
        ["event_revision.connection_id", "event_revision.event_id", "event_revision.revision"],
    ),
)
decision = Table(
    "decision",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    digest(),
    Column("document", Document(OptDecision), nullable=False),
    Index(None, "connection_id", "event_id", "revision", "id"),
)
acknowledgement = Table(
    "acknowledgement",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("revision", BigInteger, primary_key=True, autoincrement=False),
    Column("at", Instant, nullable=False),
)
event_log = Table(
    "event_log",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("what", Text, nullable=False),
    Column("detail", Text, nullable=False),
    digest(),
    Index(None, "connection_id", "event_id"),
)
quarantine = Table(
    "quarantine",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("raw_sha256", String(64), nullable=False),
    Column("at", Instant, nullable=False),
    Column("reason", Text, nullable=False),
    digest(),
)

operator_command = Table(
    "operator_command",
    metadata,
    serial(),
    Column("command_id", Text, nullable=False, unique=True),
    Column("connection_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("document", Document(OperatorCommand), nullable=False),
    Index(None, "connection_id", "event_id"),
)
# Marks are rows of their own, so that the command stays as it was given.
command_outcome = Table(
    "command_outcome",
    metadata,
    serial(),
    Column("command_id", ForeignKey("operator_command.command_id"), nullable=False, unique=True),
    Column("at", Instant, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("detail", Text, nullable=False),
)
command_told = Table(
    "command_told",
    metadata,
    Column("command_id", ForeignKey("operator_command.command_id"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("detail", Text, nullable=False),
)

issue_command = Table(
    "issue_command",
    metadata,
    serial(),
    Column("command_id", Text, nullable=False, unique=True),
    Column("document", Document(IssueCommand), nullable=False),
)
issue_outcome = Table(
    "issue_outcome",
    metadata,
    Column("command_id", ForeignKey("issue_command.command_id"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("detail", Text, nullable=False),
)

opt_command = Table(
    "opt_command",
    metadata,
    serial(),
    Column("command_id", Text, nullable=False, unique=True),
    Column("document", Document(OptCommand), nullable=False),
)
opt_outcome = Table(
    "opt_outcome",
    metadata,
    Column("command_id", ForeignKey("opt_command.command_id"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("done", Boolean, nullable=False),
    Column("detail", Text, nullable=False),
)
opt_told = Table(
    "opt_told",
    metadata,
    Column("command_id", ForeignKey("opt_command.command_id"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("taken", Boolean, nullable=False),
    Column("detail", Text, nullable=False),
)

live_baseline = Table(
    "live_baseline",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("document", Document(LiveBaseline), nullable=False),
)
plan = Table(
    "plan",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    digest(),
    Column("document", Document(PowerPlan), nullable=False),
    Index(None, "connection_id", "event_id", "id"),
)
work_account = Table(
    "work_account",
    metadata,
    Column("job_id", Text, primary_key=True),
    Column("document", Document(WorkAccount), nullable=False),
)
cap_outcome = Table(
    "cap_outcome",
    metadata,
    serial(),
    Column("at", Instant, nullable=False, index=True),
    Column("device_id", Text, nullable=False),
    Column("requested_w", Double),
    Column("applied_w", Double),
    Column("outcome", Text, nullable=False),
    Column("detail", Text, nullable=False),
    digest(),
)

# Clustered by meter, since they are read by meter: SQLite keeps such a table in its primary key.
reading = Table(
    "reading",
    metadata,
    Column("meter_id", Text, primary_key=True),
    Column("measured_at", Instant, primary_key=True),
    Column("power_w", Double, nullable=False),
    Column("energy_j", Double),
    Column("quality", String(9), nullable=False),
    sqlite_with_rowid=False,
)
energy = Table(
    "energy",
    metadata,
    Column("meter_id", Text, primary_key=True),
    Column("starts_at", Instant, primary_key=True),
    Column("duration_s", Double, primary_key=True),
    Column("energy_wh", Double, nullable=False),
    Column("coverage_fraction", Double, nullable=False),
    Column("quality", String(9), nullable=False),
    sqlite_with_rowid=False,
)

report_cursor = Table(
    "report_cursor",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("cursor_at", Instant, nullable=False),
)
report = Table(
    "report",
    metadata,
    serial(),
    Column("report_id", Text, nullable=False, unique=True),
    Column("document", Document(IntervalReport), nullable=False),
)
# What waits for a receipt: small however many reports there were.
outbox = Table(
    "outbox",
    metadata,
    Column("id", ForeignKey("report.id"), primary_key=True, autoincrement=False),
    Column("connection_id", Text, nullable=False),
    Index(None, "connection_id", "id"),
)
receipt = Table(
    "receipt",
    metadata,
    Column("report_id", Text, primary_key=True),
    Column("accepted", Boolean, nullable=False),
    Column("received_at", Instant, nullable=False),
    Column("code", Text, nullable=False),
    Column("detail", Text, nullable=False),
)
verified_report = Table(
    "verified_report",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    digest(),
    Column("document", Document(VerifiedReport), nullable=False),
    Index(None, "connection_id", "event_id", "id"),
)
statement = Table(
    "statement",
    metadata,
    serial(),
    Column("statement_id", Text, nullable=False, unique=True),
    Column("document", Document(SettlementStatement), nullable=False),
)
statement_inputs = Table(
    "statement_inputs",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("body", LargeBinary, nullable=False),
)
statement_review = Table(
    "statement_review",
    metadata,
    serial(),
    Column("review_id", Text, nullable=False, unique=True),
    Column("document", Document(StatementReview), nullable=False),
)
counterparty_statement = Table(
    "counterparty_statement",
    metadata,
    serial(),
    digest(),
    Column("document", Document(ReceivedStatement), nullable=False),
)

APPEND_ONLY = (
    raw_body,
    raw_message,
    event_revision,
    decision,
    acknowledgement,
    event_log,
    quarantine,
    operator_command,
    command_outcome,
    command_told,
    issue_command,
    issue_outcome,
    opt_command,
    opt_outcome,
    opt_told,
    live_baseline,
    temperature,
    plan,
    cap_outcome,
    reading,
    energy,
    report,
    receipt,
    verified_report,
    statement,
    statement_inputs,
    statement_review,
    counterparty_statement,
    received_report,
    reading_import,
    imported_energy,
    meter_register,
    reading_edit,
    evidence_entry,
    tree_head,
    head_stamp,
)
