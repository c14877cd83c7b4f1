"""The log of evidence and the heads over it."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

# In the order of creation; the other way round they can be dropped. Both are append-only.
TABLES = ("evidence_entry", "tree_head")


def upgrade() -> None:
    op.create_table(
        "evidence_entry",
        sa.Column("number", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("position", sa.BigInteger, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("leaf", sa.String(64), nullable=False),
        sa.PrimaryKeyConstraint("number", name=op.f("pk_evidence_entry")),
    )
    op.create_index(op.f("ix_evidence_entry_kind_key"), "evidence_entry", ["kind", "key"])
    op.create_index(op.f("ix_evidence_entry_kind_position"), "evidence_entry", ["kind", "position"])
    op.create_table(
        "tree_head",
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("log_id", sa.Text, nullable=False),
        sa.Column("size", sa.BigInteger, nullable=False),
        sa.Column("made_at", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("sha256", name=op.f("pk_tree_head")),
    )
    op.create_index(op.f("ix_tree_head_made_at"), "tree_head", ["made_at"])
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
