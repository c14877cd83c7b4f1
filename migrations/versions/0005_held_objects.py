"""What a VTN of OpenADR 3 holds for its clients: their objects, its tokens, and notifications on their way."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "held_object",
        sa.Column("connection_id", sa.Text, nullable=False),
        sa.Column("kind", sa.Text, nullable=False),
        sa.Column("object_id", sa.Text, nullable=False),
        sa.Column("owner", sa.Text, nullable=False),
        sa.Column("program_id", sa.Text, nullable=False),
        sa.Column("parent_id", sa.Text, nullable=False),
        sa.Column("name", sa.Text, nullable=False),
        sa.Column("unique_key", sa.Text, nullable=True),
        sa.Column("created_at", sa.BigInteger, nullable=False),
        sa.Column("modified_at", sa.BigInteger, nullable=False),
        sa.Column("body", sa.Text, nullable=False),
        sa.PrimaryKeyConstraint("connection_id", "kind", "object_id", name=op.f("pk_held_object")),
        sa.UniqueConstraint(
            "connection_id", "kind", "unique_key", name=op.f("uq_held_object_connection_id_kind_unique_key")
        ),
    )
    op.create_index(
        op.f("ix_held_object_connection_id_kind_created_at"), "held_object", ["connection_id", "kind", "created_at"]
    )
    op.create_index(
        op.f("ix_held_object_connection_id_kind_parent_id"), "held_object", ["connection_id", "kind", "parent_id"]
    )


def downgrade() -> None:
    op.drop_table("held_object")
