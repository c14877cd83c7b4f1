"""Time stamps of an authority over heads of the log of evidence."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "head_stamp",
        sa.Column("head_sha256", sa.String(64), nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("response", sa.LargeBinary, nullable=False),
        sa.PrimaryKeyConstraint("head_sha256", name=op.f("pk_head_stamp")),
        sa.ForeignKeyConstraint(["head_sha256"], ["tree_head.sha256"], name=op.f("fk_head_stamp_tree_head")),
    )
    refuse_changes()


def downgrade() -> None:
    op.drop_table("head_stamp")


def refuse_changes() -> None:
    """As in the first revision, which also made the function. Dropping a table drops its triggers."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER head_stamp_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON head_stamp "
            "FOR EACH STATEMENT EXECUTE FUNCTION gridgate_refuse_change()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER head_stamp_no_{change.lower()} BEFORE {change} ON head_stamp "
            "BEGIN SELECT RAISE(ABORT, 'head_stamp is append-only'); END"
        )
