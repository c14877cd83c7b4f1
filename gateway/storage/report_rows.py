"""Raw messages, reports and their receipts, in rows."""

import hashlib
from collections.abc import Sequence
from datetime import datetime

from sqlalchemy import RowMapping, delete, func, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage import party_tables, rows, tables
from protocols.grid_report import IntervalReport, Receipt
from protocols.party_store import Direction, RawMessage


async def add_message(connection: AsyncConnection, message: RawMessage) -> None:
    """Keep an arrival (or departure) of a message, see ``add_messages``."""
    await add_messages(connection, (message,))


async def add_messages(connection: AsyncConnection, messages: Sequence[RawMessage]) -> None:
    """Keep arrivals (and departures) of messages; a body that came before is not kept twice.

    Raises ``ValueError`` where ``sha256`` is not the body's: it would be found under a name not its own.
    """
    for message in messages:
        if hashlib.sha256(message.body).hexdigest() != message.sha256:
            raise ValueError(f"{message.sha256} is not the SHA-256 of the message's body")
    bodies = [{"sha256": message.sha256, "body": message.body} for message in messages]
    await rows.add_all(connection, tables.raw_body, bodies)
    arrivals = [
        {
            "sha256": message.sha256,
            "connection_id": message.connection_id,
            "direction": message.direction.value,
            "at": message.at,
            "name": message.name,
            "took_s": message.took_s,
        }
        for message in messages
    ]
    await rows.add_all(connection, tables.raw_message, arrivals)


async def add_received(
    connection: AsyncConnection, received: Sequence[tuple[str, IntervalReport]]
) -> dict[tuple[str, str, str], IntervalReport]:
    """Keep reports of parties whose ids are not known; those that were stored, by connection, party and report id."""
    table = party_tables.received_report
    first: dict[tuple[str, str, str], IntervalReport] = {}
    for party_id, report in received:
        first.setdefault((report.connection_id, party_id, report.report_id), report)
    if not first:
        return {}
    values = [
        {
            "connection_id": connection_id,
            "party_id": party_id,
            "report_id": report_id,
            "created_at": report.created_at,
            "document": report,
        }
        for (connection_id, party_id, report_id), report in first.items()
    ]
    columns = (table.c.connection_id, table.c.party_id, table.c.report_id)
    stored = {(row[0], row[1], row[2]) for row in await rows.add_new(connection, table, values, columns)}
    return {key: report for key, report in first.items() if key in stored}


async def message(connection: AsyncConnection, sha256: str) -> RawMessage | None:
    """The first arrival of a message with this body."""
    asked = _messages.where(tables.raw_message.c.sha256 == sha256).order_by(tables.raw_message.c.id).limit(1)
    row = (await connection.execute(asked)).mappings().one_or_none()
    return None if row is None else _message(row)


async def messages(connection: AsyncConnection, connection_id: str, limit: int) -> tuple[RawMessage, ...]:
    """The last messages over a connection, in the order in which they were kept."""
    arrival = tables.raw_message
    asked = _messages.where(arrival.c.connection_id == connection_id).order_by(arrival.c.id.desc()).limit(limit)
    return tuple(_message(row) for row in reversed((await connection.execute(asked)).mappings().all()))


_messages = select(
    tables.raw_message.c.connection_id,
    tables.raw_message.c.direction,
    tables.raw_message.c.at,
    tables.raw_message.c.name,
    tables.raw_message.c.sha256,
    tables.raw_message.c.took_s,
    tables.raw_body.c.body,
).join(tables.raw_body, tables.raw_body.c.sha256 == tables.raw_message.c.sha256)


def _message(row: RowMapping) -> RawMessage:
    return RawMessage(**{**row, "direction": Direction(row["direction"])})


async def cursor(connection: AsyncConnection, connection_id: str, order_id: str) -> datetime | None:
    """Up to where the order has been reported."""
    table = tables.report_cursor
    asked = select(table.c.cursor_at).where(table.c.connection_id == connection_id, table.c.order_id == order_id)
    return (await connection.execute(asked)).scalar_one_or_none()


async def queue(connection: AsyncConnection, report: IntervalReport, cursor_at: datetime) -> bool:
    """Put the report into the outbox and move the cursor, never back; false where the report is known."""
    if not await rows.add(connection, tables.report, {"report_id": report.report_id, "document": report}):
        return False
    number = select(tables.report.c.id).where(tables.report.c.report_id == report.report_id)
    queued = {"id": (await connection.execute(number)).scalar_one(), "connection_id": report.connection_id}
    await rows.add(connection, tables.outbox, queued)
    before = await cursor(connection, report.connection_id, report.order_id)
    if before is None or before < cursor_at:
        key = {"connection_id": report.connection_id, "order_id": report.order_id}
        await rows.replace(connection, tables.report_cursor, {**key, "cursor_at": cursor_at})
    return True


async def outbox(connection: AsyncConnection, connection_id: str, limit: int) -> tuple[IntervalReport, ...]:
    """The connection's reports without a receipt, oldest first."""
    waiting, report = tables.outbox, tables.report
    asked = (
        select(report.c.document)
        .join(waiting, waiting.c.id == report.c.id)
        .where(waiting.c.connection_id == connection_id)
        .order_by(waiting.c.id)
        .limit(limit)
    )
    return tuple((await connection.execute(asked)).scalars())


async def add_receipt(connection: AsyncConnection, receipt: Receipt) -> bool:
    """Keep the receipt and take its report out of the outbox; false where the report has one."""
    row = {
        "report_id": receipt.report_id,
        "accepted": receipt.accepted,
        "received_at": receipt.received_at,
        "code": receipt.code,
        "detail": receipt.detail,
    }
    if not await rows.add(connection, tables.receipt, row):
        return False
    number = select(tables.report.c.id).where(tables.report.c.report_id == receipt.report_id).scalar_subquery()
    await connection.execute(delete(tables.outbox).where(tables.outbox.c.id == number))
    return True


async def received(
    connection: AsyncConnection, connection_id: str, after: datetime
) -> tuple[tuple[str, IntervalReport], ...]:
    """What was reported to us over a connection, created after the instant, by time of creation."""
    table = party_tables.received_report
    asked = (
        select(table.c.party_id, table.c.document)
        .where(table.c.connection_id == connection_id, table.c.created_at > after)
        .order_by(table.c.created_at, table.c.id)
    )
    return tuple((row.party_id, row.document) for row in await connection.execute(asked))


async def received_since(
    connection: AsyncConnection, connection_id: str, number: int | None
) -> tuple[int, tuple[tuple[str, IntervalReport], ...]]:
    """What was reported to us over a connection after the report of that number, and the last number."""
    table = party_tables.received_report
    if number is None:
        last = (await connection.execute(select(func.max(table.c.id)))).scalar_one_or_none()
        return last or 0, ()
    asked = (
        select(table.c.id, table.c.party_id, table.c.document)
        .where(table.c.connection_id == connection_id, table.c.id > number)
        .order_by(table.c.id)
    )
    found = (await connection.execute(asked)).all()
    return (found[-1].id if found else number), tuple((row.party_id, row.document) for row in found)
