"""What operators ask for, what became of it, and whether the grid was told."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None

# In the order of creation; the other way round they can be dropped. All of them are append-only.
TABLES = ("operator_command", "command_outcome", "command_told")


def upgrade() -> None:
    op.create_table(
        "operator_command",
        serial(),
        text("command_id"),
        text("connection_id"),
        text("event_id"),
        text("document"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_operator_command")),
        sa.UniqueConstraint("command_id", name=op.f("uq_operator_command_command_id")),
    )
    op.create_index(
        op.f("ix_operator_command_connection_id_event_id"), "operator_command", ["connection_id", "event_id"]
    )
    op.create_table(
        "command_outcome",
        serial(),
        text("command_id"),
        instant("at"),
        sa.Column("done", sa.Boolean, nullable=False),
        text("detail"),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_command_outcome")),
        sa.UniqueConstraint("command_id", name=op.f("uq_command_outcome_command_id")),
        of_a_command("command_outcome"),
    )
    op.create_table(
        "command_told",
        text("command_id"),
        instant("at"),
        text("detail"),
        sa.PrimaryKeyConstraint("command_id", name=op.f("pk_command_told")),
        of_a_command("command_told"),
    )
    refuse_changes()


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def serial() -> sa.Column:
    """The number of a row. SQLite counts by itself only in a column of type INTEGER."""
    kind = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    return sa.Column("id", kind, autoincrement=True, nullable=False)


def text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text, nullable=False)


def instant(name: str) -> sa.Column:
    """Microseconds since 1970 UTC."""
    return sa.Column(name, sa.BigInteger, nullable=False)


def of_a_command(table: str) -> sa.ForeignKeyConstraint:
    return sa.ForeignKeyConstraint(
        ["command_id"], ["operator_command.command_id"], name=op.f(f"fk_{table}_operator_command")
    )


def refuse_changes() -> None:
    """As in the first revision, which also made the function. Dropping a table drops its triggers."""
    for table in TABLES:
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
