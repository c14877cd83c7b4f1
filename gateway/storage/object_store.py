"""The objects of our OpenADR 3 VTNs, in the same database and through the same writer as the ledger."""

from collections.abc import Sequence

from sqlalchemy import delete, select

from gateway.storage import party_tables, rows
from gateway.storage.sql_ledger import SqlLedger
from protocols.object_store import Asked, ObjectStore, StoredObject

_COLUMNS = (
    "kind",
    "object_id",
    "owner",
    "program_id",
    "parent_id",
    "name",
    "unique_key",
    "created_at",
    "modified_at",
    "body",
)
_FILTERS = ("object_id", "owner", "program_id", "parent_id", "name", "unique_key")


class SqlObjectStore(ObjectStore):
    """``ObjectStore`` beside a ledger. Raises ``LedgerUnavailable`` where the database cannot be used just now."""

    def __init__(self, ledger: SqlLedger) -> None:
        self._database = ledger.database

    async def objects(self, connection_id: str, asked: Asked) -> tuple[StoredObject, ...]:
        table = party_tables.held_object
        wanted = {name: getattr(asked, name) for name in _FILTERS}
        conditions = [table.c[name] == value for name, value in wanted.items() if value is not None]
        query = (
            select(*(table.c[name] for name in _COLUMNS))
            .where(table.c.connection_id == connection_id, table.c.kind == asked.kind, *conditions)
            .order_by(table.c.created_at, table.c.object_id)
            .offset(asked.skip)
        )
        if asked.limit is not None:
            query = query.limit(asked.limit)
        async with self._database.read() as connection:
            found = (await connection.execute(query)).mappings().all()
        return tuple(StoredObject(**row) for row in found)

    async def change(
        self, connection_id: str, *, kept: Sequence[StoredObject] = (), gone: Sequence[tuple[str, str]] = ()
    ) -> None:
        table = party_tables.held_object
        async with self._database.write() as connection:
            for kind, object_id in gone:
                await connection.execute(
                    delete(table).where(
                        table.c.connection_id == connection_id, table.c.kind == kind, table.c.object_id == object_id
                    )
                )
            kept_rows = [
                {"connection_id": connection_id, **{name: getattr(item, name) for name in _COLUMNS}} for item in kept
            ]
            await rows.replace_all(connection, table, kept_rows)
