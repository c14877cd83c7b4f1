"""Metered energy that was handed over as files, and edits of metered energy."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None

# In the order of creation; the other way round they can be dropped. All are append-only.
TABLES = ("reading_import", "imported_energy", "meter_register", "reading_edit")


def upgrade() -> None:
    # SQLite counts by itself only in a column of type INTEGER.
    serial = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        "reading_import",
        sa.Column("id", serial, autoincrement=True, nullable=False),
        sa.Column("import_id", sa.Text, nullable=False),
        sa.Column("meter_id", sa.Text, nullable=False),
        sa.Column("source", sa.Text, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
        sa.Column("unit", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("by", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("ends_at", sa.BigInteger, nullable=False),
        sa.Column("count", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_import")),
        sa.UniqueConstraint("import_id", name=op.f("uq_reading_import_import_id")),
        sa.UniqueConstraint("meter_id", "sha256", name=op.f("uq_reading_import_meter_id_sha256")),
    )
    op.create_index(op.f("ix_reading_import_meter_id_starts_at"), "reading_import", ["meter_id", "starts_at"])
    op.create_table(
        "imported_energy",
        sa.Column("id", serial, autoincrement=True, nullable=False),
        sa.Column("import_id", sa.Text, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("duration_s", sa.Double, nullable=False),
        sa.Column("energy_wh", sa.Double, nullable=False),
        sa.Column("quality", sa.String(9), nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_imported_energy")),
        sa.UniqueConstraint("import_id", "starts_at", name=op.f("uq_imported_energy_import_id_starts_at")),
        sa.ForeignKeyConstraint(
            ["import_id"], ["reading_import.import_id"], name=op.f("fk_imported_energy_reading_import")
        ),
    )
    op.create_table(
        "meter_register",
        sa.Column("id", serial, autoincrement=True, nullable=False),
        sa.Column("import_id", sa.Text, nullable=False),
        sa.Column("at", sa.BigInteger, nullable=False),
        sa.Column("energy_wh", sa.Double, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_meter_register")),
        sa.UniqueConstraint("import_id", "at", name=op.f("uq_meter_register_import_id_at")),
        sa.ForeignKeyConstraint(
            ["import_id"], ["reading_import.import_id"], name=op.f("fk_meter_register_reading_import")
        ),
    )
    op.create_table(
        "reading_edit",
        sa.Column("id", serial, autoincrement=True, nullable=False),
        sa.Column("edit_id", sa.Text, nullable=False),
        sa.Column("meter_id", sa.Text, nullable=False),
        sa.Column("starts_at", sa.BigInteger, nullable=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_reading_edit")),
        sa.UniqueConstraint("edit_id", name=op.f("uq_reading_edit_edit_id")),
    )
    op.create_index(op.f("ix_reading_edit_meter_id_starts_at"), "reading_edit", ["meter_id", "starts_at"])
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
