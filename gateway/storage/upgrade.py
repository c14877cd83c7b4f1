"""Bringing a database to the revision that this gridgate needs, by Alembic, without an ``alembic.ini``.

Each call is one transaction, under the database's own lock: killed half-way, or run twice at once, it leaves a whole
revision behind.
"""

from collections.abc import Callable
from pathlib import Path

import alembic.command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, text
from sqlalchemy.exc import SQLAlchemyError

from gateway.ledger import LedgerError, LedgerNotUpgraded, LedgerTooNew
from gateway.storage.database import ledger_errors, parse_url, reader_engine, sqlite_file, writer_engine

# The folder beside this package, in a checkout and in an installation alike. Asking Python for a package of that name
# would find somebody else's `migrations` in the working directory first.
SCRIPTS = Path(__file__).resolve().parents[2] / "migrations"

_LOCK_WAIT_S = 10.0
# Any number will do as long as it is ours: it keeps two upgrades of one PostgreSQL database apart.
_POSTGRES_LOCK = 0x67726964


def is_sqlite(url: str) -> bool:
    """Whether the database is a file of our own. Raises ``LedgerError`` for an address that cannot be used."""
    return sqlite_file(parse_url(url)) is not None


def newest() -> str:
    """The revision that this gridgate needs."""
    head = _scripts().get_current_head()
    if head is None:
        raise LedgerError(f"no migrations in {SCRIPTS}: the installation is not whole")
    return head


async def current(url: str) -> str | None:
    """The revision of the database, ``None`` where it was never upgraded or does not exist. Writes nothing."""
    parsed = parse_url(url)
    file = sqlite_file(parsed)
    if file is not None and not file.exists():
        return None
    engine = reader_engine(parsed)
    try:
        async with ledger_errors(), engine.connect() as connection:
            return await connection.run_sync(_revision)
    finally:
        await engine.dispose()


async def check(url: str) -> tuple[str | None, str]:
    """The database's revision and the one that is needed. Raises ``LedgerTooNew`` for a revision that we don't know."""
    revision = await current(url)
    _refuse_unknown(revision)
    return revision, newest()


async def require_newest(url: str) -> None:
    """Raise ``LedgerNotUpgraded`` or ``LedgerTooNew`` where the database is not of the revision that is needed."""
    revision, needed = await check(url)
    if revision != needed:
        found = "has no tables yet" if revision is None else f"is of revision {revision}, {needed} is needed"
        raise LedgerNotUpgraded(f"the database {found}: run `gridgate db upgrade`")


async def upgrade(url: str, revision: str = "head") -> str:
    """Bring the database up, creating it where it is an SQLite file that does not exist; returns its revision."""
    return await _migrate(url, lambda config: alembic.command.upgrade(config, revision)) or ""


async def downgrade(url: str, revision: str) -> str | None:
    """Take the database down to ``revision`` (``base`` drops every table); returns its revision."""
    return await _migrate(url, lambda config: alembic.command.downgrade(config, revision))


async def _migrate(url: str, command: Callable[[Config], None]) -> str | None:
    engine = writer_engine(parse_url(url), busy_timeout_s=_LOCK_WAIT_S)

    def work(connection: Connection) -> str | None:
        if connection.dialect.name == "postgresql":
            connection.execute(text("SELECT pg_advisory_xact_lock(:key)"), {"key": _POSTGRES_LOCK})
        _refuse_unknown(_revision(connection))
        config = Config()
        # The parser of these options reads a per cent sign as the start of a name.
        config.set_main_option("script_location", str(SCRIPTS).replace("%", "%%"))
        config.set_main_option("path_separator", "os")
        config.attributes["connection"] = connection
        command(config)
        return _revision(connection)

    try:
        async with ledger_errors(), engine.begin() as open_connection:
            return await open_connection.run_sync(work)
    except SQLAlchemyError as cause:
        raise LedgerError(f"the database cannot be brought to this revision: {cause}") from cause
    finally:
        await engine.dispose()


def _scripts() -> ScriptDirectory:
    return ScriptDirectory(str(SCRIPTS))


def _revision(connection: Connection) -> str | None:
    return MigrationContext.configure(connection).get_current_revision()


def _refuse_unknown(revision: str | None) -> None:
    if revision is not None and revision not in {script.revision for script in _scripts().walk_revisions()}:
        raise LedgerTooNew(
            f"the database was written by a newer gridgate (its revision {revision} is not known to this one): "
            "install that version, or restore a backup made before it"
        )
