"""The tables of what dialects remember: registrations, parties, their messages, reports and objects."""

from sqlalchemy import BigInteger, Column, Index, Table, Text, UniqueConstraint

from gateway.storage.documents import Document, Instant
from gateway.storage.table_parts import metadata, serial
from protocols.grid import GridEvent, OptDecision, OptSchedule, Party
from protocols.grid_report import IntervalReport, ReportOrder
from protocols.party_store import PlacedOrder, QueuedMessage, Registration

registration = Table(
    "registration",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("document", Document(Registration), nullable=False),
)
report_order = Table(
    "report_order",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("order_id", Text, primary_key=True),
    Column("document", Document(ReportOrder), nullable=False),
)
party = Table(
    "party",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("party_id", Text, primary_key=True),
    Column("document", Document(Party), nullable=False),
)
issued_event = Table(
    "issued_event",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("event_id", Text, nullable=False),
    Column("revision", BigInteger, nullable=False),
    Column("document", Document(GridEvent), nullable=False),
    UniqueConstraint("connection_id", "event_id"),
)
party_answer = Table(
    "party_answer",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("event_id", Text, primary_key=True),
    Column("party_id", Text, primary_key=True),
    Column("document", Document(OptDecision), nullable=False),
)
received_report = Table(
    "received_report",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("party_id", Text, nullable=False),
    Column("report_id", Text, nullable=False),
    Column("created_at", Instant, nullable=False),
    Column("document", Document(IntervalReport, plain=True), nullable=False),
    UniqueConstraint("connection_id", "party_id", "report_id"),
    Index(None, "connection_id", "created_at"),
)
placed_order = Table(
    "placed_order",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("order_id", Text, nullable=False),
    Column("document", Document(PlacedOrder), nullable=False),
    UniqueConstraint("connection_id", "order_id"),
)
# What parties have not taken yet: a row goes when it is taken.
party_message = Table(
    "party_message",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("party_id", Text, nullable=False),
    Column("message_id", Text, nullable=False),
    Column("document", Document(QueuedMessage), nullable=False),
    UniqueConstraint("connection_id", "party_id", "message_id"),
)
party_opt = Table(
    "party_opt",
    metadata,
    serial(),
    Column("connection_id", Text, nullable=False),
    Column("party_id", Text, nullable=False),
    Column("opt_id", Text, nullable=False),
    Column("document", Document(OptSchedule), nullable=False),
    UniqueConstraint("connection_id", "party_id", "opt_id"),
)
# Stamps of signed messages, as long as they could be sent again.
nonce = Table(
    "nonce",
    metadata,
    Column("signer", Text, primary_key=True),
    Column("signed_at", Instant, primary_key=True),
    Column("nonce", Text, primary_key=True),
    Column("until", Instant, nullable=False, index=True),
)
held_object = Table(
    "held_object",
    metadata,
    Column("connection_id", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("object_id", Text, primary_key=True),
    Column("owner", Text, nullable=False),
    Column("program_id", Text, nullable=False),
    Column("parent_id", Text, nullable=False),
    Column("name", Text, nullable=False),
    Column("unique_key", Text, nullable=True),
    Column("created_at", Instant, nullable=False),
    Column("modified_at", Instant, nullable=False),
    Column("body", Text, nullable=False),
    UniqueConstraint("connection_id", "kind", "unique_key"),
    Index(None, "connection_id", "kind", "created_at"),
    Index(None, "connection_id", "kind", "parent_id"),
)
