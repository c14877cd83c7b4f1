"""What of the record goes into the log of evidence, and how the content of each record is spelled.

Content is the row as it was stored, documents as the text that stands there: a field that a later version adds to a
document changes no fingerprint. An hour of a meter's readings is one record, since there are too many for one each.
"""

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import (
    BigInteger,
    Column,
    ColumnElement,
    RowMapping,
    Select,
    String,
    Table,
    Text,
    cast,
    func,
    literal,
    select,
    type_coerce,
)
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.evidence import canonical_json
from gateway.storage import meter_tables, party_tables, tables
from gateway.storage.documents import Document

READING = "reading"
HOUR = timedelta(hours=1)

NUMBERED = (
    tables.raw_message,
    tables.decision,
    tables.event_log,
    tables.quarantine,
    tables.operator_command,
    tables.command_outcome,
    tables.issue_command,
    tables.plan,
    tables.cap_outcome,
    tables.report,
    tables.verified_report,
    tables.statement,
    tables.statement_review,
    tables.counterparty_statement,
    party_tables.received_report,
    meter_tables.reading_import,
    meter_tables.imported_energy,
    meter_tables.meter_register,
    meter_tables.reading_edit,
    meter_tables.temperature,
)
"""Tables whose rows have a number that rises; a record's key is that number, or what ``KEYS`` says."""

KEYS: Mapping[Table, tuple[Column[Any], ...]] = {
    meter_tables.imported_energy: (meter_tables.imported_energy.c.import_id, meter_tables.imported_energy.c.starts_at),
    meter_tables.reading_edit: (
        meter_tables.reading_edit.c.starts_at,
        meter_tables.reading_edit.c.meter_id,
        meter_tables.reading_edit.c.edit_id,
    ),
}
"""Keys that say of which interval a numbered record is: so a bundle holds those that count, and no more."""

NAMED = (
    tables.event_revision,
    tables.acknowledgement,
    tables.command_told,
    tables.issue_outcome,
    tables.live_baseline,
    tables.receipt,
    tables.energy,
)
"""Tables whose rows have names; a record's key is its primary key, with ``/`` between."""

SOURCES: Mapping[str, Table] = {table.name: table for table in (*NUMBERED, *NAMED)}


def key_of(table: Table) -> ColumnElement[str]:
    """A record's key, as text."""
    parts = [cast(type_coerce(column, _plain(column.type)), String) for column in KEYS.get(table, table.primary_key)]
    key: ColumnElement[str] = parts[0]
    for part in parts[1:]:
        key = key + literal("/") + part
    return key


def position_of(table: Table) -> ColumnElement[int]:
    """Where a record stands among those of its kind: its number, the start of an interval, else nowhere."""
    if table in NUMBERED:
        return type_coerce(table.c.id, BigInteger)
    if table is tables.energy:
        return type_coerce(table.c.starts_at, BigInteger)
    return literal(0, BigInteger)


def contents(table: Table) -> Select[Any]:
    """Every record of a table: its key, its position and its columns as they were stored."""
    columns = [
        type_coerce(column, Text).label(column.name) if isinstance(column.type, Document) else column
        for column in table.columns
        if column.name != "id"
    ]
    return select(key_of(table).label("_key"), position_of(table).label("_position"), *columns)


def spelled(row: RowMapping) -> bytes:
    """A record's content in canonical JSON."""
    return canonical_json({name: value for name, value in row.items() if not name.startswith("_")})


def hour_key(meter_id: str, starts_at: datetime) -> str:
    """The key of an hour of a meter's readings, such as ``2026-07-01T12:00:00Z/site``."""
    return f"{starts_at.astimezone(UTC):%Y-%m-%dT%H:%M:%SZ}/{meter_id}"


def of_hour_key(key: str) -> tuple[str, datetime]:
    """The meter and the start of an hour's key."""
    hour, _, meter_id = key.partition("/")
    return meter_id, datetime.fromisoformat(hour)


async def hours_of_readings(
    connection: AsyncConnection, starts_at: datetime, meter_id: str | None = None
) -> dict[str, list[list[Any]]]:
    """By meter, its readings of one hour in order of time: instant, watts, joules, quality."""
    table = tables.reading
    found: dict[str, list[list[Any]]] = {}
    # One meter after the other, as the key is made: by time alone every reading there is would be looked at.
    for meter in await _meters(connection) if meter_id is None else [meter_id]:
        asked = (
            select(table.c.measured_at, table.c.power_w, table.c.energy_j, table.c.quality)
            .where(table.c.meter_id == meter, table.c.measured_at >= starts_at, table.c.measured_at < starts_at + HOUR)
            .order_by(table.c.measured_at)
        )
        rows = [[row.measured_at, row.power_w, row.energy_j, row.quality] for row in await connection.execute(asked)]
        if rows:
            found[meter] = rows
    return found


async def next_reading(connection: AsyncConnection, at: datetime) -> datetime | None:
    """When the first reading from an instant on was taken, by any meter; ``None`` where there is none."""
    table = tables.reading
    firsts = [
        (
            await connection.execute(
                select(func.min(table.c.measured_at)).where(table.c.meter_id == meter, table.c.measured_at >= at)
            )
        ).scalar()
        for meter in await _meters(connection)
    ]
    return min((one for one in firsts if one is not None), default=None)


async def _meters(connection: AsyncConnection) -> list[str]:
    """The meters that have readings, each found by a step through the key."""
    table = tables.reading
    found: list[str] = []
    while True:
        asked = select(func.min(table.c.meter_id))
        if found:
            asked = asked.where(table.c.meter_id > found[-1])
        meter = (await connection.execute(asked)).scalar()
        if meter is None:
            return found
        found.append(meter)


def _plain(kind: Any) -> Any:
    """Instants as the whole numbers that they are stored as; other types as they are."""
    return BigInteger() if type(kind).__name__ == "Instant" else kind
