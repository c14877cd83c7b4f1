"""Commands about our own events; and how long answers took."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"
branch_labels = None
depends_on = None

# In the order of creation; the other way round they can be dropped. Both are append-only.
TABLES = ("issue_command", "issue_outcome")


def upgrade() -> None:
    # SQLite counts by itself only in a column of type INTEGER.
    serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "issue_command",
        sa.Column("id", serial, autoincrement=True, nullable=False),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_issue_command")),
        sa.UniqueConstraint("command_id", name=op.f("uq_issue_command_command_id")),
    )
    op.create_table(
        "issue_outcome",
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("done", sa.Boolean, nullable=False),
        sa.Column("detail", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("command_id", name=op.f("pk_issue_outcome")),
        sa.ForeignKeyConstraint(
            ["command_id"], ["issue_command.command_id"], name=op.f("fk_issue_outcome_issue_command")
        ),
    )
    op.add_column("raw_message", sa.Column("took_s", sa.Double, nullable=True))
    op.create_index(op.f("ix_raw_message_connection_id_id"), "raw_message", ["connection_id", "id"])
    refuse_changes()


def downgrade() -> None:
    op.drop_index(op.f("ix_raw_message_connection_id_id"), "raw_message")
    op.drop_column("raw_message", "took_s")
    for table in reversed(TABLES):
        op.drop_table(table)


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
