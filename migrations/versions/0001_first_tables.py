"""First tables: events, dispatch, metering, reporting, settling, and what the dialects remember."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None

# In the order of creation; the other way round they can be dropped.
TABLES = (
    "epoch",
    "raw_body",
    "raw_message",
    "event_revision",
    "event",
    "decision",
    "acknowledgement",
    "event_log",
    "quarantine",
    "live_baseline",
    "plan",
    "cap_outcome",
    "reading",
    "energy",
    "report_cursor",
    "report",
    "outbox",
    "receipt",
    "verified_report",
    "statement",
    "registration",
    "report_order",
    "party",
    "issued_event",
    "party_answer",
    "received_report",
)
APPEND_ONLY = (
    "raw_body",
    "raw_message",
    "event_revision",
    "decision",
    "acknowledgement",
    "event_log",
    "quarantine",
    "live_baseline",
    "plan",
    "cap_outcome",
    "reading",
    "energy",
    "report",
    "receipt",
    "verified_report",
    "statement",
    "received_report",
)


def upgrade() -> None:
    create_epoch()
    create_messages()
    create_events()
    create_dispatch()
    create_metering()
    create_reporting()
    create_parties()
    refuse_changes()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)
    if op.get_bind().dialect.name == "postgresql":
        op.execute("DROP FUNCTION gridgate_refuse_change()")


def serial(*, counts: bool = True) -> sa.Column:
    """The number of a row. SQLite counts by itself only in a column of type INTEGER."""
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("id", kind, autoincrement=counts, nullable=False)


def text(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Text, nullable=nullable)


def number(name: str, *, nullable: bool = False) -> sa.Column:
    """A whole number of 64 bits: a revision, or an instant in microseconds since 1970 UTC."""
    return sa.Column(name, sa.BigInteger, autoincrement=False, nullable=nullable)


def double(name: str, *, nullable: bool = False) -> sa.Column:
    return sa.Column(name, sa.Double, nullable=nullable)


def sha256(name: str) -> sa.Column:
    return sa.Column(name, sa.String(64), nullable=False)


def key(table: str, *columns: str) -> sa.PrimaryKeyConstraint:
    return sa.PrimaryKeyConstraint(*columns, name=op.f(f"pk_{table}"))


def unique(table: str, *columns: str) -> sa.UniqueConstraint:
    return sa.UniqueConstraint(*columns, name=op.f(f"uq_{table}_{'_'.join(columns)}"))


def index(table: str, *columns: str) -> None:
    op.create_index(op.f(f"ix_{table}_{'_'.join(columns)}"), table, list(columns))


def create_epoch() -> None:
    epoch = op.create_table(
        "epoch", sa.Column("id", sa.Integer, autoincrement=False, nullable=False), number("value"), key("epoch", "id")
    )
    op.bulk_insert(epoch, [{"id": 1, "value": 0}])


def create_messages() -> None:
    op.create_table(
        "raw_body", sha256("sha256"), sa.Column("body", sa.LargeBinary, nullable=False), key("raw_body", "sha256")
    )
    op.create_table(
        "raw_message",
        serial(),
        sha256("sha256"),
        text("connection_id"),
        sa.Column("direction", sa.String(3), nullable=False),
        number("at"),
        text("name"),
        key("raw_message", "id"),
        unique("raw_message", "sha256", "connection_id", "direction", "at"),
        sa.ForeignKeyConstraint(["sha256"], ["raw_body.sha256"], name=op.f("fk_raw_message_raw_body")),
    )


def create_events() -> None:
    op.create_table(
        "event_revision",
        text("connection_id"),
        text("event_id"),
        number("revision"),
        number("received_at"),
        text("document"),
        key("event_revision", "connection_id", "event_id", "revision"),
    )
    op.create_table(
        "event",
        text("connection_id"),
        text("event_id"),
        number("revision"),
        number("first_received_at"),
        number("starts_at"),
        number("over_at", nullable=True),
        number("ended_at", nullable=True),
        text("end_cause"),
        key("event", "connection_id", "event_id"),
        sa.ForeignKeyConstraint(
            ["connection_id", "event_id", "revision"],
            ["event_revision.connection_id", "event_revision.event_id", "event_revision.revision"],
            name=op.f("fk_event_event_revision"),
        ),
    )
    index("event", "over_at")
    op.create_table(
        "decision",
        serial(),
        text("connection_id"),
        text("event_id"),
        number("revision"),
        sha256("digest"),
        text("document"),
        key("decision", "id"),
        unique("decision", "digest"),
    )
    index("decision", "connection_id", "event_id", "revision", "id")
    op.create_table(
        "acknowledgement",
        text("connection_id"),
        text("event_id"),
        number("revision"),
        number("at"),
        key("acknowledgement", "connection_id", "event_id", "revision"),
    )
    op.create_table(
        "event_log",
        serial(),
        text("connection_id"),
        text("event_id"),
        number("at"),
        text("what"),
        text("detail"),
        sha256("digest"),
        key("event_log", "id"),
        unique("event_log", "digest"),
    )
    index("event_log", "connection_id", "event_id")
    op.create_table(
        "quarantine",
        serial(),
        text("connection_id"),
        sha256("raw_sha256"),
        number("at"),
        text("reason"),
        sha256("digest"),
        key("quarantine", "id"),
        unique("quarantine", "digest"),
    )


def create_dispatch() -> None:
    op.create_table(
        "live_baseline",
        text("connection_id"),
        text("event_id"),
        text("document"),
        key("live_baseline", "connection_id", "event_id"),
    )
    op.create_table(
        "plan",
        serial(),
        text("connection_id"),
        text("event_id"),
        sha256("digest"),
        text("document"),
        key("plan", "id"),
        unique("plan", "digest"),
    )
    index("plan", "connection_id", "event_id", "id")
    op.create_table(
        "cap_outcome",
        serial(),
        number("at"),
        text("device_id"),
        double("requested_w", nullable=True),
        double("applied_w", nullable=True),
        text("outcome"),
        text("detail"),
        sha256("digest"),
        key("cap_outcome", "id"),
        unique("cap_outcome", "digest"),
    )
    index("cap_outcome", "at")


def create_metering() -> None:
    op.create_table(
        "reading",
        text("meter_id"),
        number("measured_at"),
        double("power_w"),
        double("energy_j", nullable=True),
        sa.Column("quality", sa.String(9), nullable=False),
        key("reading", "meter_id", "measured_at"),
        sqlite_with_rowid=False,
    )
    op.create_table(
        "energy",
        text("meter_id"),
        number("starts_at"),
        double("duration_s"),
        double("energy_wh"),
        double("coverage_fraction"),
        sa.Column("quality", sa.String(9), nullable=False),
        key("energy", "meter_id", "starts_at", "duration_s"),
        sqlite_with_rowid=False,
    )


def create_reporting() -> None:
    op.create_table(
        "report_cursor",
        text("connection_id"),
        text("order_id"),
        number("cursor_at"),
        key("report_cursor", "connection_id", "order_id"),
    )
    op.create_table(
        "report", serial(), text("report_id"), text("document"), key("report", "id"), unique("report", "report_id")
    )
    op.create_table(
        "outbox",
        serial(counts=False),
        text("connection_id"),
        key("outbox", "id"),
        sa.ForeignKeyConstraint(["id"], ["report.id"], name=op.f("fk_outbox_report")),
    )
    index("outbox", "connection_id", "id")
    op.create_table(
        "receipt",
        text("report_id"),
        sa.Column("accepted", sa.Boolean, nullable=False),
        number("received_at"),
        text("code"),
        text("detail"),
        key("receipt", "report_id"),
    )
    op.create_table(
        "verified_report",
        serial(),
        text("connection_id"),
        text("event_id"),
        sha256("digest"),
        text("document"),
        key("verified_report", "id"),
        unique("verified_report", "digest"),
    )
    index("verified_report", "connection_id", "event_id", "id")
    op.create_table(
        "statement",
        serial(),
        text("statement_id"),
        text("document"),
        key("statement", "id"),
        unique("statement", "statement_id"),
    )


def create_parties() -> None:
    op.create_table("registration", text("connection_id"), text("document"), key("registration", "connection_id"))
    op.create_table(
        "report_order",
        text("connection_id"),
        text("order_id"),
        text("document"),
        key("report_order", "connection_id", "order_id"),
    )
    op.create_table(
        "party", text("connection_id"), text("party_id"), text("document"), key("party", "connection_id", "party_id")
    )
    op.create_table(
        "issued_event",
        serial(),
        text("connection_id"),
        text("event_id"),
        number("revision"),
        text("document"),
        key("issued_event", "id"),
        unique("issued_event", "connection_id", "event_id"),
    )
    op.create_table(
        "party_answer",
        text("connection_id"),
        text("event_id"),
        text("party_id"),
        text("document"),
        key("party_answer", "connection_id", "event_id", "party_id"),
    )
    op.create_table(
        "received_report",
        serial(),
        text("connection_id"),
        text("party_id"),
        text("report_id"),
        number("created_at"),
        text("document"),
        key("received_report", "id"),
        unique("received_report", "connection_id", "party_id", "report_id"),
    )
    index("received_report", "connection_id", "created_at")


def refuse_changes() -> None:
    """Make the record append-only in the database itself, against mistakes of ours and of whoever opens it by hand.

    Dropping a table drops its triggers. On SQLite, REPLACE passes a deletion trigger by unless the connection has
    ``recursive_triggers``, which ours have.
    """
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE FUNCTION gridgate_refuse_change() RETURNS trigger LANGUAGE plpgsql AS $$ "
            "BEGIN RAISE EXCEPTION '% is append-only', TG_TABLE_NAME; END $$"
        )
    for table in APPEND_ONLY:
        if op.get_bind().dialect.name == "postgresql":
            op.execute(
                f"CREATE TRIGGER {table}_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON {table} "
                "FOR EACH STATEMENT EXECUTE FUNCTION gridgate_refuse_change()"
            )
            continue
        for change in ("UPDATE", "DELETE"):
            op.execute(
                f"CREATE TRIGGER {table}_no_{change.lower()} BEFORE {change} ON {table} "
                f"BEGIN SELECT RAISE(ABORT, '{table} is append-only'); END"
            )
