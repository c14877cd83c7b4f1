"""How every command speaks: results to standard output, everything else to standard error, exit codes 0, 1 and 2."""

import json
from collections.abc import Callable, Mapping
from dataclasses import fields, is_dataclass
from datetime import UTC, datetime
from decimal import Decimal
from enum import Enum
from pathlib import Path
from typing import Any, NoReturn
from zoneinfo import ZoneInfo

import typer

DONE = 0
FAILED = 1
BAD_USAGE = 2


def as_json(value: object) -> Any:
    """A value in JSON's terms: instants in UTC with ``Z``, Decimals as strings, dataclasses as objects."""
    if isinstance(value, Mapping):
        return {str(key): as_json(item) for key, item in value.items()}
    if isinstance(value, list | tuple | set | frozenset):
        return [as_json(item) for item in value]
    if is_dataclass(value) and not isinstance(value, type):
        return {field.name: as_json(getattr(value, field.name)) for field in fields(value)}
    return _scalar(value)


def _scalar(value: object) -> object:
    match value:
        case datetime():
            return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
        case Enum():
            return value.value
        case Decimal():
            return str(value)
        case ZoneInfo():
            return value.key
        case _:
            return value


def show(result: object, *, json_wanted: bool, text: Callable[[], str]) -> None:
    """Print the result: as JSON where wanted, else as ``text()``."""
    typer.echo(json.dumps(as_json(result), indent=2, allow_nan=False) if json_wanted else text())


def fail(text: str, *, code: int = FAILED, json_wanted: bool = False) -> NoReturn:
    """End the command with one clear line on standard error (and ``{"error": ...}`` on standard output for JSON)."""
    if json_wanted:
        typer.echo(json.dumps({"error": text}))
    typer.echo(f"gridgate: {text}", err=True)
    raise typer.Exit(code)


def read_input(path: Path, *, json_wanted: bool = False) -> bytes:
    """A file's bytes; a file that cannot be read ends the command with exit code 2."""
    try:
        return path.read_bytes()
    except OSError as cause:
        fail(f"cannot read {path}: {cause.strerror}", code=BAD_USAGE, json_wanted=json_wanted)
