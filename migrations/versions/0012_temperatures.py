"""Temperatures at the site, as they were imported."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "temperature",
        # SQLite counts by itself only in a column of type INTEGER.
        sa.Column("id", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("recorded_at", sa.BigInteger, nullable=False),
        sa.Column("temperature_c", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_temperature")),
        sa.UniqueConstraint("starts_at", "recorded_at", name=op.f("uq_temperature_starts_at_recorded_at")),
    )
    refuse_changes()


def downgrade() -> None:
    op.drop_table("temperature")


def refuse_changes() -> None:
    """As in the first revision, which also made the function. Dropping a table drops its triggers."""
    if op.get_bind().dialect.name == "postgresql":
        op.execute(
            "CREATE TRIGGER temperature_append_only BEFORE UPDATE OR DELETE OR TRUNCATE ON temperature "
            "FOR EACH STATEMENT EXECUTE FUNCTION gridgate_refuse_change()"
        )
        return
    for change in ("UPDATE", "DELETE"):
        op.execute(
            f"CREATE TRIGGER temperature_no_{change.lower()} BEFORE {change} ON temperature "
            "BEGIN SELECT RAISE(ABORT, 'temperature is append-only'); END"
        )
