"""What the dialects remember across restarts, in the same database and through the same writer as the ledger."""

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, Table, delete, select
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.storage import party_tables, report_rows, rows
from gateway.storage.batches import Batches
from gateway.storage.sql_ledger import SqlLedger
from gateway.storage.unreadable import UnreadableAllowance
from protocols.grid import GridEvent, OptDecision, OptSchedule, Party
from protocols.grid_report import IntervalReport, ReportOrder
from protocols.party_store import PartyStore, PlacedOrder, QueuedMessage, RawMessage, Registration

_Arrival = RawMessage | tuple[str, IntervalReport]


async def _write_arrivals(connection: AsyncConnection, arrivals: Sequence[_Arrival]) -> list[bool]:
    """Keep messages and reports; for each whether it is new (messages always are)."""
    await report_rows.add_messages(connection, [one for one in arrivals if isinstance(one, RawMessage)])
    received = [one for one in arrivals if not isinstance(one, RawMessage)]
    new = await report_rows.add_received(connection, received)
    return [isinstance(one, RawMessage) or _is_first(one, new) for one in arrivals]


def _is_first(arrival: tuple[str, IntervalReport], new: dict[tuple[str, str, str], IntervalReport]) -> bool:
    """Whether it is the very report that was stored: of two alike in one batch the first is."""
    party_id, report = arrival
    return new.get((report.connection_id, party_id, report.report_id)) is report


class SqlPartyStore(PartyStore):
    """``PartyStore`` beside a ledger. Raises ``LedgerUnavailable`` where the database cannot be used just now."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._database = ledger.database
        # What comes with every message of every party shares its transactions.
        self._arrivals: Batches[_Arrival, bool] = Batches(self._database, _write_arrivals)
        self._unreadable = UnreadableAllowance()

    async def record_message(self, message: RawMessage) -> None:
        if self._unreadable.keeps(message):
            await self._arrivals.add(message)

    async def registration(self, connection_id: str) -> Registration | None:
        found = await self._documents(
            party_tables.registration, party_tables.registration.c.connection_id == connection_id
        )
        return found[0] if found else None

    async def save_registration(self, registration: Registration) -> None:
        row = {"connection_id": registration.connection_id, "document": registration}
        await self._replace(party_tables.registration, row)

    async def forget_registration(self, connection_id: str) -> None:
        async with self._database.write() as connection:
            for table in (party_tables.report_order, party_tables.registration):
                await connection.execute(delete(table).where(table.c.connection_id == connection_id))

    async def orders(self, connection_id: str) -> tuple[ReportOrder, ...]:
        found = await self._documents(
            party_tables.report_order, party_tables.report_order.c.connection_id == connection_id
        )
        return tuple(sorted(found, key=lambda order: (order.starts_at, order.order_id)))

    async def save_order(self, order: ReportOrder) -> None:
        row = {"connection_id": order.connection_id, "order_id": order.order_id, "document": order}
        await self._replace(party_tables.report_order, row)

    async def cancel_order(self, connection_id: str, order_id: str) -> None:
        table = party_tables.report_order
        ours = delete(table).where(table.c.connection_id == connection_id, table.c.order_id == order_id)
        async with self._database.write() as connection:
            await connection.execute(ours)

    async def parties(self, connection_id: str) -> tuple[Party, ...]:
        found = await self._documents(party_tables.party, party_tables.party.c.connection_id == connection_id)
        return tuple(sorted(found, key=lambda party: (party.registered_at, party.party_id)))

    async def save_party(self, party: Party) -> None:
        row = {"connection_id": party.connection_id, "party_id": party.party_id, "document": party}
        await self._replace(party_tables.party, row)

    async def issued_events(self, connection_id: str) -> tuple[GridEvent, ...]:
        table = party_tables.issued_event
        asked = select(table.c.document).where(table.c.connection_id == connection_id).order_by(table.c.id)
        async with self._database.read() as connection:
            return tuple((await connection.execute(asked)).scalars())

    async def save_issued_event(self, event: GridEvent) -> None:
        """Keep the event in place of its earlier revisions (and of this one); a lower revision changes nothing."""
        table = party_tables.issued_event
        key = {"connection_id": event.connection_id, "event_id": event.event_id}
        latest = {"revision": event.revision, "document": event}
        not_newer = table.c.revision <= event.revision
        async with self._database.write() as connection:
            if not await rows.add(connection, table, {**key, **latest}):
                await connection.execute(table.update().filter_by(**key).where(not_newer).values(latest))

    async def answers(self, connection_id: str, event_id: str) -> tuple[tuple[str, OptDecision], ...]:
        table = party_tables.party_answer
        asked = (
            select(table.c.party_id, table.c.document)
            .where(table.c.connection_id == connection_id, table.c.event_id == event_id)
            .order_by(table.c.party_id)
        )
        async with self._database.read() as connection:
            return tuple((row.party_id, row.document) for row in await connection.execute(asked))

    async def save_answer(self, party_id: str, decision: OptDecision) -> None:
        """Keep the answer in place of the party's last one to this event."""
        key = {"connection_id": decision.connection_id, "event_id": decision.event_id, "party_id": party_id}
        await self._replace(party_tables.party_answer, {**key, "document": decision})

    async def received_reports(self, connection_id: str, after: datetime) -> tuple[tuple[str, IntervalReport], ...]:
        """Reports created after the instant, by time of creation."""
        async with self._database.read() as connection:
            return await report_rows.received(connection, connection_id, after)

    async def save_received_report(self, party_id: str, report: IntervalReport) -> bool:
        """Keep a report; false where its party has sent one of this id before (parties choose ids by themselves)."""
        return await self._arrivals.add((party_id, report))

    async def received_report(self, connection_id: str, party_id: str, report_id: str) -> IntervalReport | None:
        column = party_tables.received_report.c
        ours = (column.connection_id == connection_id, column.party_id == party_id, column.report_id == report_id)
        async with self._database.read() as connection:
            return (await connection.execute(select(column.document).where(*ours))).scalar_one_or_none()

    async def placed_orders(self, connection_id: str) -> tuple[PlacedOrder, ...]:
        return await self._in_order(party_tables.placed_order, connection_id)

    async def save_placed_order(self, order: PlacedOrder) -> None:
        key = {"connection_id": order.order.connection_id, "order_id": order.order.order_id}
        await self._add_or_update(party_tables.placed_order, key, order)

    async def queued(self, connection_id: str) -> tuple[QueuedMessage, ...]:
        return await self._in_order(party_tables.party_message, connection_id)

    async def queue(self, message: QueuedMessage) -> None:
        """Keep a message after those that wait; one whose id is known keeps its place."""
        key = {
            "connection_id": message.connection_id,
            "party_id": message.party_id,
            "message_id": message.message_id,
        }
        await self._add_or_update(party_tables.party_message, key, message)

    async def unqueue(self, connection_id: str, party_id: str, message_id: str) -> None:
        key = {"connection_id": connection_id, "party_id": party_id, "message_id": message_id}
        async with self._database.write() as connection:
            await connection.execute(party_tables.party_message.delete().filter_by(**key))

    async def opts(self, connection_id: str) -> tuple[tuple[str, OptSchedule], ...]:
        table = party_tables.party_opt
        asked = (
            select(table.c.party_id, table.c.document)
            .where(table.c.connection_id == connection_id)
            .order_by(table.c.id)
        )
        async with self._database.read() as connection:
            return tuple((row.party_id, row.document) for row in await connection.execute(asked))

    async def save_opt(self, party_id: str, opt: OptSchedule) -> None:
        key = {"connection_id": opt.connection_id, "party_id": party_id, "opt_id": opt.opt_id}
        await self._add_or_update(party_tables.party_opt, key, opt)

    async def cancel_opt(self, connection_id: str, party_id: str, opt_id: str) -> None:
        key = {"connection_id": connection_id, "party_id": party_id, "opt_id": opt_id}
        async with self._database.write() as connection:
            await connection.execute(party_tables.party_opt.delete().filter_by(**key))

    async def _in_order(self, table: Table, connection_id: str) -> tuple[Any, ...]:
        """The documents of a connection, oldest first."""
        asked = select(table.c.document).where(table.c.connection_id == connection_id).order_by(table.c.id)
        async with self._database.read() as connection:
            return tuple((await connection.execute(asked)).scalars())

    async def _add_or_update(self, table: Table, key: rows.Row, document: object) -> None:
        """Insert the document, or put it in the place of the one with its key."""
        async with self._database.write() as connection:
            if not await rows.add(connection, table, {**key, "document": document}):
                await connection.execute(table.update().filter_by(**key).values(document=document))

    async def _documents(self, table: Table, condition: ColumnElement[bool]) -> tuple[Any, ...]:
        async with self._database.read() as connection:
            return tuple((await connection.execute(select(table.c.document).where(condition))).scalars())

    async def _replace(self, table: Table, row: rows.Row) -> None:
        async with self._database.write() as connection:
            await rows.replace(connection, table, row)
