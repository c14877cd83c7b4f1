"""Asking the record a question. Apart from the commands that do, so that their ``--help`` loads none of this."""

import asyncio
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import TypeVar

from gateway.app import open_record
from gateway.cli.output import FAILED, fail
from gateway.ledger import Ledger, LedgerError, LedgerNotUpgraded
from gateway.stages import Record

T = TypeVar("T")

_SQLITE = "sqlite+aiosqlite:///"


def read_record(url: str, question: Callable[[Ledger], Awaitable[T]], *, json_wanted: bool) -> T:
    """Ask the ledger a question. Ends the command with exit code 1 where the record cannot be read."""
    return read_all(url, lambda record: question(record.ledger), json_wanted=json_wanted)


def read_all(url: str, question: Callable[[Record], Awaitable[T]], *, json_wanted: bool) -> T:
    """Ask a question of all that is on record, parties too. Ends the command as ``read_record`` does."""

    async def asked() -> T:
        async with open_record(url, migrate=False) as record:
            return await question(record)

    try:
        return asyncio.run(asked())
    except LedgerNotUpgraded as cause:
        missing = _missing_file(url)
        text = str(cause) if missing is None else f"there is no {missing} here: name yours with --config or --database"
        fail(text, code=FAILED, json_wanted=json_wanted)
    except LedgerError as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)


def _missing_file(url: str) -> Path | None:
    """The file of an SQLite record that does not exist: asked in the wrong folder, more often than not yet made."""
    if not url.startswith(_SQLITE):
        return None
    file = Path(url.removeprefix(_SQLITE).partition("?")[0])
    return None if file.exists() else file
