"""Tables of metered energy that was handed over as files, and of edits of metered energy."""

from sqlalchemy import BigInteger, Column, Double, ForeignKey, Index, String, Table, Text, UniqueConstraint

from gateway.domain.vee.edit import Edit
from gateway.storage.documents import Document, Instant
from gateway.storage.table_parts import metadata, serial

reading_import = Table(
    "reading_import",
    metadata,
    serial(),
    Column("import_id", Text, nullable=False, unique=True),
    Column("meter_id", Text, nullable=False),
    Column("source", Text, nullable=False),
    Column("sha256", String(64), nullable=False),
    Column("unit", Text, nullable=False),
    Column("kind", Text, nullable=False),
    Column("by", Text, nullable=False),
    Column("at", Instant, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("ends_at", Instant, nullable=False),
    Column("count", BigInteger, nullable=False),
    # The same file counts once for a meter.
    UniqueConstraint("meter_id", "sha256"),
    Index(None, "meter_id", "starts_at"),
)
imported_energy = Table(
    "imported_energy",
    metadata,
    serial(),
    Column("import_id", ForeignKey("reading_import.import_id"), nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("duration_s", Double, nullable=False),
    Column("energy_wh", Double, nullable=False),
    Column("quality", String(9), nullable=False),
    UniqueConstraint("import_id", "starts_at"),
)
meter_register = Table(
    "meter_register",
    metadata,
    serial(),
    Column("import_id", ForeignKey("reading_import.import_id"), nullable=False),
    Column("at", Instant, nullable=False),
    Column("energy_wh", Double, nullable=False),
    UniqueConstraint("import_id", "at"),
)
reading_edit = Table(
    "reading_edit",
    metadata,
    serial(),
    Column("edit_id", Text, nullable=False, unique=True),
    Column("meter_id", Text, nullable=False),
    Column("starts_at", Instant, nullable=False),
    Column("document", Document(Edit), nullable=False),
    Index(None, "meter_id", "starts_at"),
)
# A correction is a row of its own, recorded later.
temperature = Table(
    "temperature",
    metadata,
    serial(),
    Column("starts_at", Instant, nullable=False),
    Column("recorded_at", Instant, nullable=False),
    Column("temperature_c", Double, nullable=False),
    UniqueConstraint("starts_at", "recorded_at"),
)
