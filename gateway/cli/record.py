"""How commands find the record they read: a database URL, or the one that a config file names."""

import os
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import BAD_USAGE, fail

DEFAULT_DATABASE = "sqlite+aiosqlite:///gridgate.db"

ConfigOption = Annotated[Path | None, typer.Option("--config", help="Config file that names the database.")]
DatabaseOption = Annotated[str | None, typer.Option("--database", help=f"Database URL; by default {DEFAULT_DATABASE}.")]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]


def database_url(config: Path | None, database: str | None, *, json_wanted: bool = False) -> str:
    """The URL that the options name, else the environment. Ends the command with exit code 2 where they cannot be used.

    Without a config file ``GRIDGATE_GATEWAY__DATABASE`` holds as it does over one.
    """
    if database is not None:
        return database
    if config is None:
        return os.environ.get("GRIDGATE_GATEWAY__DATABASE", DEFAULT_DATABASE)

    from gateway.config import ConfigError, load_config

    try:
        return load_config(config).gateway.database
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
