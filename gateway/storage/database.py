"""One database: a single writer and several readers, SQLite or PostgreSQL.

On SQLite the writer is one connection with ``BEGIN IMMEDIATE`` and a write-ahead log with ``synchronous=FULL`` (with
NORMAL an acknowledged event is lost at a power cut), and the readers cannot write.
"""

import asyncio
import importlib.util
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any
from urllib.parse import quote

from sqlalchemy import URL, Connection, event, make_url
from sqlalchemy.engine.interfaces import DBAPIConnection
from sqlalchemy.exc import ArgumentError
from sqlalchemy.ext.asyncio import AsyncConnection, AsyncEngine, create_async_engine
from sqlalchemy.pool import ConnectionPoolEntry

from gateway.ledger import LedgerError
from gateway.storage.faults import as_ledger_error

BUSY_TIMEOUT_S = 0.5
"""How long a writer waits for another process. Short: what could not be written is kept and tried again."""
READERS = 4

_SQLITE = "sqlite+aiosqlite"
_POSTGRES = "postgresql+asyncpg"
_WRITER_PRAGMAS = ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "recursive_triggers=ON")
_READER_PRAGMAS = ("query_only=ON",)


def parse_url(text: str) -> URL:
    """The address of a database that we can use. Raises ``LedgerError`` naming what is wrong with it."""
    try:
        url = make_url(text)
    except ArgumentError as cause:
        raise LedgerError(f"not a database address; write {_SQLITE}:///FILE or {_POSTGRES}://HOST/NAME") from cause
    if url.drivername == _SQLITE:
        if url.database in {None, "", ":memory:"} or "mode" in url.query:
            raise LedgerError("the record must be a file: write its name after sqlite+aiosqlite:///")
        return url
    if url.drivername == _POSTGRES:
        if importlib.util.find_spec("asyncpg") is None:
            raise LedgerError("PostgreSQL needs asyncpg: install gridgate with its extra [postgres]")
        return url
    raise LedgerError(f"{url.drivername} is not supported; write {_SQLITE}:///FILE or {_POSTGRES}://HOST/NAME")


def sqlite_file(url: URL) -> Path | None:
    """The file of an SQLite database, ``None`` for another kind."""
    return Path(url.database) if url.drivername == _SQLITE and url.database else None


def writer_engine(url: URL, *, busy_timeout_s: float = BUSY_TIMEOUT_S) -> AsyncEngine:
    """An engine of one connection that may write."""
    file = sqlite_file(url)
    if file is None:
        # The server's own setting may trade durability for speed; ours is to be durable before we acknowledge.
        settings = {"synchronous_commit": "on", "lock_timeout": str(int(busy_timeout_s * 1000))}
        return _postgres_engine(url, settings, connections=1)
    if not file.absolute().parent.is_dir():
        raise LedgerError(f"there is no folder {file.absolute().parent} for the database")
    return _sqlite_engine(url, _WRITER_PRAGMAS, "BEGIN IMMEDIATE", connections=1, timeout_s=busy_timeout_s)


def reader_engine(url: URL) -> AsyncEngine:
    """An engine of several connections that cannot write, nor create the database."""
    file = sqlite_file(url)
    if file is None:
        return _postgres_engine(url, {"default_transaction_read_only": "on"}, connections=READERS)
    read_only = url.set(database=f"file:{quote(str(file.absolute()))}", query={"mode": "ro", "uri": "true"})
    return _sqlite_engine(read_only, _READER_PRAGMAS, "BEGIN", connections=READERS, timeout_s=BUSY_TIMEOUT_S)


def _sqlite_engine(
    url: URL, pragmas: tuple[str, ...], begin: str, *, connections: int, timeout_s: float
) -> AsyncEngine:
    engine = create_async_engine(
        url,
        pool_size=connections,
        max_overflow=0,
        # The driver must not begin transactions on its own: it knows only the deferred kind, which fails half-way
        # where two writers meet.
        connect_args={"isolation_level": None, "timeout": timeout_s},
    )

    @event.listens_for(engine.sync_engine, "connect")
    def configure(connection: DBAPIConnection, _entry: ConnectionPoolEntry) -> None:
        cursor = connection.cursor()
        try:
            for pragma in pragmas:
                cursor.execute(f"PRAGMA {pragma}")
        finally:
            cursor.close()

    @event.listens_for(engine.sync_engine, "begin")
    def begin_transaction(connection: Connection) -> None:
        connection.exec_driver_sql(begin)

    return engine


def _postgres_engine(url: URL, settings: dict[str, str], *, connections: int) -> AsyncEngine:
    arguments: dict[str, Any] = {"server_settings": settings, "timeout": 5.0, "command_timeout": 60.0}
    # A ping before use finds the connections that a restart of the server has cut.
    return create_async_engine(url, pool_size=connections, max_overflow=0, pool_pre_ping=True, connect_args=arguments)


@asynccontextmanager
async def ledger_errors() -> AsyncIterator[None]:
    """Raise what the database reports in the ledger's terms."""
    try:
        yield
    except Exception as cause:
        error = as_ledger_error(cause)
        if error is None:
            raise
        raise error from cause


class Database:
    """Transactions on one database. What ``write`` did is durable when its block is left, or not done at all.

    Both raise ``LedgerUnavailable`` where the database cannot be used just now.
    """

    def __init__(self, url: str) -> None:
        parsed = parse_url(url)
        self._writer = writer_engine(parsed)
        self._readers = reader_engine(parsed)
        self._one_writer = asyncio.Lock()

    @asynccontextmanager
    async def write(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that may write; one at a time."""
        async with self._one_writer, ledger_errors(), self._writer.begin() as connection:
            yield connection

    @asynccontextmanager
    async def read(self) -> AsyncIterator[AsyncConnection]:
        """A transaction that sees what is durable."""
        async with ledger_errors(), self._readers.connect() as connection:
            yield connection

    async def close(self) -> None:
        await self._readers.dispose()
        await self._writer.dispose()
