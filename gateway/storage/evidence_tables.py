"""The tables of the log of evidence. All are append-only."""

from sqlalchemy import BigInteger, Column, ForeignKey, Index, LargeBinary, String, Table, Text

from gateway.domain.tree_head import SignedHead
from gateway.storage.documents import Document, Instant
from gateway.storage.table_parts import metadata

# `number` is the place in the log and counted by its writer: a number of the database's own may have gaps. `position`
# is where the record stands among those of its kind, so that what is new is found without a search.
evidence_entry = Table(
    "evidence_entry",
    metadata,
    Column("number", BigInteger, primary_key=True, autoincrement=False),
    Column("kind", Text, nullable=False),
    Column("key", Text, nullable=False),
    Column("position", BigInteger, nullable=False),
    Column("at", Instant, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("leaf", String(64), nullable=False),
    Index(None, "kind", "key"),
    Index(None, "kind", "position"),
)
tree_head = Table(
    "tree_head",
    metadata,
    Column("sha256", String(64), primary_key=True),
    Column("log_id", Text, nullable=False),
    Column("size", BigInteger, nullable=False),
    Column("made_at", Instant, nullable=False, index=True),
    Column("document", Document(SignedHead), nullable=False),
)
# An authority's answer about a head, as it came.
head_stamp = Table(
    "head_stamp",
    metadata,
    Column("head_sha256", ForeignKey("tree_head.sha256"), primary_key=True),
    Column("at", Instant, nullable=False),
    Column("response", LargeBinary, nullable=False),
)
