"""``gridgate temperature``: temperatures at the site, for baselines that go by them."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import BAD_USAGE, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

temperature = typer.Typer(help="Temperatures at the site, for baselines that go by them.", no_args_is_help=True)


@temperature.callback()
def temperature_root() -> None:
    """Temperatures at the site, for baselines that go by them."""


@temperature.command("import")
def import_file(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="CSV with a header: start,temperature_c.")],
    *,
    timezone_name: Annotated[
        str | None, typer.Option("--timezone", metavar="ZONE", help="IANA zone of naive stamps.")
    ] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Keep temperatures in the record. Each holds until the next, and for an hour at the most.

    An event is settled with what was imported by its end; what comes later corrects later events only.
    """
    from datetime import UTC, datetime

    from gateway.cli.ask import read_record
    from gateway.cli.history_csv import HistoryError
    from gateway.cli.metered_event import read_temperatures, zone_named
    from gateway.ledger import Ledger

    try:
        series = read_temperatures(file, zone_named(timezone_name), json_wanted=json_wanted)
        if not series:
            raise HistoryError(f"{file}: there is no temperature in it")
    except HistoryError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)

    async def keep(ledger: Ledger) -> None:
        await ledger.record_temperatures(series, datetime.now(UTC))

    read_record(database_url(config, database, json_wanted=json_wanted), keep, json_wanted=json_wanted)
    first, last = series[0][0], series[-1][0]
    show(
        {"temperatures": len(series), "first": first.isoformat(), "last": last.isoformat()},
        json_wanted=json_wanted,
        text=lambda: f"{len(series)} temperatures kept, {first:%Y-%m-%d %H:%MZ} to {last:%Y-%m-%d %H:%MZ}",
    )
