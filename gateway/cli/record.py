"""How commands find the record they read: a database URL, or the one that a config file names."""

from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Annotated, TypeVar

import typer

from gateway.cli.output import BAD_USAGE, FAILED, fail
from gateway.ledger import Ledger

T = TypeVar("T")

DEFAULT_DATABASE = "sqlite+aiosqlite:///gridgate.db"

ConfigOption = Annotated[Path | None, typer.Option("--config", help="Config file that names the database.")]
DatabaseOption = Annotated[str | None, typer.Option("--database", help=f"Database URL [default: {DEFAULT_DATABASE}].")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def database_url(config: Path | None, database: str | None) -> str:
    """The URL that the options name. Ends the command with exit code 2 where they cannot be used."""
    from gateway.config import ConfigError, load_config

    if database is not None:
        return database
    if config is None:
        return DEFAULT_DATABASE
    try:
        return load_config(config).gateway.database
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE)


def read_record(url: str, question: Callable[[Ledger], Awaitable[T]], *, json_wanted: bool) -> T:
    """Ask the record a question. Ends the command with exit code 1 where the record cannot be read."""
    import asyncio

    from gateway.app import open_record
    from gateway.ledger import LedgerError

    async def asked() -> T:
        async with open_record(url, migrate=False) as record:
            return await question(record.ledger)

    try:
        return asyncio.run(asked())
    except LedgerError as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
