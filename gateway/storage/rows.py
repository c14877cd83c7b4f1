"""Insertions in the words of both databases: add what is new, replace what is known."""

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.ext.asyncio import AsyncConnection

Row = Mapping[str, Any]


async def add(connection: AsyncConnection, table: Table, row: Row) -> bool:
    """Insert the row; false where a key of it is known already, and nothing has changed."""
    return (await connection.execute(_insert_new(connection, table), row)).rowcount > 0


async def add_all(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """Insert those rows whose keys are not known. Rows have the same columns."""
    if rows:
        await connection.execute(_insert_new(connection, table), rows)


async def add_new(
    connection: AsyncConnection, table: Table, rows: Sequence[Row], columns: Sequence[Column[Any]]
) -> Sequence[Any]:
    """As ``add_all``; the ``columns`` of those that were inserted."""
    statement = _insert_new(connection, table).returning(*columns)
    return (await connection.execute(statement, rows)).all()


async def replace(connection: AsyncConnection, table: Table, row: Row) -> None:
    """Insert the row, or overwrite the one with its primary key."""
    await connection.execute(_insert_or_replace(connection, table, row), row)


async def replace_all(connection: AsyncConnection, table: Table, rows: Sequence[Row]) -> None:
    """As ``replace``, each of the rows. Rows have the same columns."""
    if rows:
        await connection.execute(_insert_or_replace(connection, table, rows[0]), rows)


def _insert(connection: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return sqlite.insert(table) if connection.dialect.name == "sqlite" else postgresql.insert(table)


def _insert_or_replace(connection: AsyncConnection, table: Table, row: Row) -> sqlite.Insert | postgresql.Insert:
    key = [column.name for column in table.primary_key]
    insert = _insert(connection, table)
    others = {name: insert.excluded[name] for name in row if name not in key}
    return insert.on_conflict_do_update(index_elements=key, set_=others)


def _insert_new(connection: AsyncConnection, table: Table) -> sqlite.Insert | postgresql.Insert:
    return _insert(connection, table).on_conflict_do_nothing()
