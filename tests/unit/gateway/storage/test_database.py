import asyncio
import sqlite3
from pathlib import Path

import pytest
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, OperationalError

from gateway.ledger import LedgerError, LedgerUnavailable
from gateway.storage.database import Database, parse_url
from gateway.storage.faults import as_ledger_error


@pytest.fixture
async def database(tmp_path: Path) -> Database:
    one = Database(f"sqlite+aiosqlite:///{tmp_path / 'a.db'}")
    async with one.write() as connection:
        await connection.execute(text("CREATE TABLE thing (name TEXT PRIMARY KEY)"))
    yield one
    await one.close()


async def insert(database: Database, name: str) -> None:
    async with database.write() as connection:
        await connection.execute(text("INSERT INTO thing VALUES (:name)"), {"name": name})


async def names(database: Database) -> list[str]:
    async with database.read() as connection:
        return list((await connection.execute(text("SELECT name FROM thing ORDER BY name"))).scalars())


async def test_the_writer_is_durable_at_a_power_cut(database: Database) -> None:
    async with database.write() as connection:
        settings = {
            name: (await connection.execute(text(f"PRAGMA {name}"))).scalar_one()
            for name in ("journal_mode", "synchronous", "foreign_keys", "recursive_triggers")
        }

    # 2 is FULL: https://www.sqlite.org/pragma.html#pragma_synchronous
    assert settings == {"journal_mode": "wal", "synchronous": 2, "foreign_keys": 1, "recursive_triggers": 1}


async def test_readers_cannot_write(database: Database) -> None:
    async def write_as_reader() -> None:
        async with database.read() as connection:
            await connection.execute(text("PRAGMA query_only = OFF"))
            await connection.execute(text("INSERT INTO thing VALUES ('x')"))

    with pytest.raises(LedgerUnavailable, match="readonly"):
        await write_as_reader()
    assert await names(database) == []


async def test_what_fails_half_way_is_not_done_at_all(database: Database) -> None:
    async def fail_half_way() -> None:
        async with database.write() as connection:
            await connection.execute(text("INSERT INTO thing VALUES ('x')"))
            raise KeyError("a bug")

    with pytest.raises(KeyError):
        await fail_half_way()
    assert await names(database) == []
    await insert(database, "x")
    assert await names(database) == ["x"]


async def test_readers_see_what_was_durable_when_they_began(database: Database) -> None:
    await insert(database, "a")
    async with database.read() as connection:
        before = (await connection.execute(text("SELECT count(*) FROM thing"))).scalar_one()
        await insert(database, "b")
        after = (await connection.execute(text("SELECT count(*) FROM thing"))).scalar_one()

    assert (before, after) == (1, 1)
    assert await names(database) == ["a", "b"]


async def test_more_readers_than_connections_take_turns(database: Database) -> None:
    await insert(database, "a")

    assert await asyncio.gather(*(names(database) for _ in range(20))) == [["a"]] * 20


async def test_a_writer_takes_the_lock_before_it_reads(database: Database, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "a.db", isolation_level=None, timeout=0) as other:
        async with database.write():
            with pytest.raises(sqlite3.OperationalError, match="locked"):
                other.execute("BEGIN IMMEDIATE")
    other.close()


async def test_a_wrong_statement_is_a_bug_and_goes_on_as_it_is(database: Database) -> None:
    await insert(database, "a")

    with pytest.raises(DBAPIError, match="UNIQUE"):
        await insert(database, "a")


@pytest.mark.parametrize(
    ("url", "message"),
    [
        ("gridgate.db", "not a database address"),
        ("mysql://localhost/x", "mysql is not supported"),
        ("sqlite:///x.db", "sqlite is not supported"),
        ("postgresql://localhost/x", "postgresql is not supported"),
        ("sqlite+aiosqlite://", "must be a file"),
        ("sqlite+aiosqlite:///:memory:", "must be a file"),
        ("sqlite+aiosqlite:///file:x?mode=memory&uri=true", "must be a file"),
    ],
)
def test_an_address_that_cannot_be_used_is_refused_in_plain_words(url: str, message: str) -> None:
    with pytest.raises(LedgerError, match=message):
        parse_url(url)


def test_postgresql_without_its_driver_names_the_extra(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)

    with pytest.raises(LedgerError, match=r"extra \[postgres\]"):
        parse_url("postgresql+asyncpg://localhost/x")


class PostgresError(Exception):
    def __init__(self, sqlstate: str) -> None:
        super().__init__(sqlstate)
        self.sqlstate = sqlstate


@pytest.mark.parametrize(
    ("sqlstate", "kind"),
    [
        ("53100", LedgerUnavailable),  # disk_full
        ("57P01", LedgerUnavailable),  # admin_shutdown
        ("40001", LedgerUnavailable),  # serialization_failure
        ("25006", LedgerUnavailable),  # read_only_sql_transaction
        ("28P01", LedgerError),  # invalid_password
        ("3D000", LedgerError),  # invalid_catalog_name
        ("42P01", type(None)),  # undefined_table
        ("25P02", type(None)),  # in_failed_sql_transaction
    ],
)
def test_what_postgresql_reports_in_the_ledgers_terms(sqlstate: str, kind: type) -> None:
    cause = OperationalError("SELECT 1", {}, PostgresError(sqlstate))

    assert type(as_ledger_error(cause)) is kind


def test_a_refused_connection_may_be_tried_again() -> None:
    assert isinstance(as_ledger_error(ConnectionRefusedError(111, "refused")), LedgerUnavailable)
    assert isinstance(as_ledger_error(TimeoutError()), LedgerUnavailable)
