"""``gridgate archive``: closed days as files, whether they are as they were written, and totals over them."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Annotated, Any, TypeVar

import typer

from gateway.cli.output import BAD_USAGE, FAILED, fail, show
from gateway.cli.record import JsonOption
from gateway.cli.settings import any_settings

T = TypeVar("T")

ConfigOption = Annotated[Path, typer.Option("--config", help="Config file with an archive section.")]

archive = typer.Typer(help="Closed days as Parquet files with hashes, and totals over them.", no_args_is_help=True)


@archive.command("list")
def list_days(config: ConfigOption, json_wanted: JsonOption = False) -> None:
    """List the archived days, each by its last version."""
    found = _asked(config, lambda one: one.manifests(), json_wanted=json_wanted)

    def text() -> str:
        lines = [
            f"{one.day}  version {one.version}  {sum(file.rows for file in one.files):>9,} rows  {one.sha256[:16]}"
            for one in found
        ]
        return "\n".join(lines) or "no day is archived yet"

    show(
        [{"day": one.day, "version": one.version, "sha256": one.sha256, "files": one.files} for one in found],
        json_wanted=json_wanted,
        text=text,
    )


@archive.command()
def check(config: ConfigOption, json_wanted: JsonOption = False) -> None:
    """Hold every file against its manifest, and the manifests against each other; exit code 1 names what differs."""
    broken = _asked(config, lambda one: one.check(), json_wanted=json_wanted)

    def text() -> str:
        return "\n".join(f"{one.path}: {one.what}" for one in broken) or "every file is as it was written"

    show({"broken": broken}, json_wanted=json_wanted, text=text)
    if broken:
        raise typer.Exit(FAILED)


@archive.command()
def totals(
    config: ConfigOption,
    first: Annotated[str, typer.Option("--from", help="First day, such as 2026-07-01.")],
    last: Annotated[str, typer.Option("--to", help="Last day, included.")],
    json_wanted: JsonOption = False,
) -> None:
    """Say what each event delivered, summed over the archived intervals; exit code 1 where a statement says otherwise.

    Days are the site's own, and an event is of the day on which it began.
    """
    days = (_day(first, json_wanted=json_wanted), _day(last, json_wanted=json_wanted))
    found = _asked(config, lambda one: one.totals(*days), json_wanted=json_wanted)

    def text() -> str:
        lines = [
            f"{one.event_id}  {one.delivered_kwh.normalize():f} kWh in {one.intervals} intervals, stated "
            f"{one.stated_kwh.normalize():f} kWh, {one.amount.normalize():f} {one.currency}"
            + ("" if one.agrees else "  THE STATEMENT SAYS OTHERWISE")
            for one in found
        ]
        return "\n".join(lines) or "no event began on these days"

    shown = [{**_figures(one), "delivered_kwh": one.delivered_kwh, "agrees": one.agrees} for one in found]
    show(shown, json_wanted=json_wanted, text=text)
    if not all(one.agrees for one in found):
        raise typer.Exit(FAILED)


@archive.command()
def write(
    day: Annotated[str, typer.Argument(help="A day that is over, such as 2026-07-01.")],
    config: ConfigOption,
    json_wanted: JsonOption = False,
) -> None:
    """Write a day now, as its next version where the record has more of it than the archive."""
    from gateway.cli.archive_day import written

    wanted = _day(day, json_wanted=json_wanted)
    manifest = written(any_settings(config, json_wanted=json_wanted), wanted, json_wanted=json_wanted)
    if manifest is None:
        fail(f"the record has nothing of {day}", code=FAILED, json_wanted=json_wanted)
    show(manifest, json_wanted=json_wanted, text=lambda: f"{manifest.day} is archived, version {manifest.version}")


def _figures(total: Any) -> dict[str, object]:
    from dataclasses import asdict

    return asdict(total)


def _day(text: str, *, json_wanted: bool) -> date:
    try:
        return date.fromisoformat(text)
    except ValueError:
        fail(f"{text!r} is no day: write it as 2026-07-01", code=BAD_USAGE, json_wanted=json_wanted)


def _asked(config: Path, question: Callable[[Any], T], *, json_wanted: bool) -> T:
    """Ask the archive that the config file declares."""
    from gateway.app import open_archive
    from gateway.archive import ArchiveError
    from gateway.config import ConfigError

    try:
        found = open_archive(any_settings(config, json_wanted=json_wanted))
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    if found is None:
        fail(f"{config} declares no [archive]: give it a folder there", code=BAD_USAGE, json_wanted=json_wanted)
    try:
        return question(found)
    except ArchiveError as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
