"""Schedules of ours: commands, what became of them, and what the grid was told."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None

# In the order of creation; the other way round they can be dropped. All are append-only.
TABLES = ("opt_command", "opt_outcome", "opt_told")


def upgrade() -> None:
    # SQLite counts by itself only in a column of type INTEGER.
    serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "opt_command",
        sa.Column("id", serial, autoincrement=True, nullable=False),
        sa.Column("command_id", sa.Text, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_opt_command")),
        sa.UniqueConstraint("command_id", name=op.f("uq_opt_command_command_id")),
    )
    for table, word in (("opt_outcome", "done"), ("opt_told", "taken")):
        op.create_table(
            table,
            sa.Column("command_id", sa.Text, nullable=False),
            sa.Column("at", sa.BigInteger, nullable=False),
            sa.Column(word, sa.Boolean, nullable=False),
            sa.Column("detail", sa.Text, nullable=False),
            sa.PrimaryKeyConstraint("command_id", name=op.f(f"pk_{table}")),
            sa.ForeignKeyConstraint(["command_id"], ["opt_command.command_id"], name=op.f(f"fk_{table}_opt_command")),
        )
    refuse_changes()


def downgrade() -> None:
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
