"""What we remember of those that we ask: orders, messages not taken yet, opts; and the stamps of signed messages."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

# In the order of creation.
TABLES = ("placed_order", "party_message", "party_opt", "nonce")


def upgrade() -> None:
    documents("placed_order", "connection_id", "order_id")
    documents("party_message", "connection_id", "party_id", "message_id")
    documents("party_opt", "connection_id", "party_id", "opt_id")
    op.create_table(
        "nonce",
        text("signer"),
        instant("signed_at"),
        text("nonce"),
        instant("until"),
        sa.PrimaryKeyConstraint("signer", "signed_at", "nonce", name=op.f("pk_nonce")),
    )
    op.create_index(op.f("ix_nonce_until"), "nonce", ["until"])


def downgrade() -> None:
    for table in reversed(TABLES):
        op.drop_table(table)


def documents(table: str, *key: str) -> None:
    """A table of numbered documents, one for each key. SQLite counts by itself only in a column of type INTEGER."""
    number = sa.BigInteger().with_variant(sa.Integer, "sqlite")
    op.create_table(
        table,
        sa.Column("id", number, autoincrement=True, nullable=False),
        *(text(name) for name in key),
        text("document"),
        sa.PrimaryKeyConstraint("id", name=op.f(f"pk_{table}")),
        sa.UniqueConstraint(*key, name=op.f(f"uq_{table}_{'_'.join(key)}")),
    )


def text(name: str) -> sa.Column:
    return sa.Column(name, sa.Text, nullable=False)


def instant(name: str) -> sa.Column:
    """Microseconds since 1970 UTC."""
    return sa.Column(name, sa.BigInteger, nullable=False)
