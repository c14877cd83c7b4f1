"""``gridgate db``: the database's revision, and bringing it up to what this gridgate needs."""

from collections.abc import Awaitable, Callable
from typing import TypeVar

import typer

from gateway.cli.output import FAILED, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

T = TypeVar("T")

db = typer.Typer(help="The database: its revision, and bringing it up to date.", no_args_is_help=True)


@db.command()
def upgrade(config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False) -> None:
    """Bring the database to the revision that this version needs; make it where it is an SQLite file."""
    from gateway.app import upgrade_database

    revision = _answer(
        upgrade_database, database_url(config, database, json_wanted=json_wanted), json_wanted=json_wanted
    )
    show({"revision": revision}, json_wanted=json_wanted, text=lambda: f"the database is of revision {revision}")


@db.command()
def check(config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False) -> None:
    """Say whether the database is of the revision that this version needs; exit code 1 where it is not."""
    from gateway.app import check_database

    current, newest = _answer(
        check_database, database_url(config, database, json_wanted=json_wanted), json_wanted=json_wanted
    )
    up_to_date = current == newest

    def text() -> str:
        if up_to_date:
            return f"the database is of revision {current}, the newest"
        found = "has no tables yet" if current is None else f"is of revision {current}"
        return f"the database {found}, {newest} is needed: run `gridgate db upgrade`"

    show({"revision": current, "newest": newest, "up_to_date": up_to_date}, json_wanted=json_wanted, text=text)
    if not up_to_date:
        raise typer.Exit(FAILED)


def _answer(question: Callable[[str], Awaitable[T]], url: str, *, json_wanted: bool) -> T:
    """Ask about the database. Ends the command with exit code 1 where it cannot be used."""
    import asyncio

    from gateway.ledger import LedgerError

    async def asked() -> T:
        return await question(url)

    try:
        return asyncio.run(asked())
    except LedgerError as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
