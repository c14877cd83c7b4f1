"""The commands, put together."""

from typing import Annotated

import typer

from gateway.cli.allocate import allocate
from gateway.cli.archive import archive
from gateway.cli.asset import asset
from gateway.cli.baseline import baseline
from gateway.cli.connection import connection
from gateway.cli.db import db
from gateway.cli.decode import decode
from gateway.cli.enrol import enrol, remove
from gateway.cli.event import event
from gateway.cli.evidence import evidence
from gateway.cli.job import job
from gateway.cli.meter import meter
from gateway.cli.opt import opt
from gateway.cli.run import agent, demo, serve
from gateway.cli.simulate import simulate
from gateway.cli.statement import statement
from gateway.cli.tariff import tariff
from gateway.cli.temperature import temperature
from gateway.cli.verification import verification
from gateway.cli.verify import verify
from gateway.cli.vtn import vtn

app = typer.Typer(
    name="gridgate",
    help="Demand-response gateway for AI data centres: grid signals in, GPU power caps out, verified reduction back.",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
)


def _print_version(wanted: bool) -> None:
    if wanted:
        from gateway.app import product_version

        typer.echo(f"gridgate {product_version()}")
        raise typer.Exit


@app.callback()
def root(
    _version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Demand-response gateway for AI data centres."""


for command in (demo, simulate, serve, agent, allocate, baseline, decode, verify):
    app.command()(command)
asset.command("enrol")(enrol)
asset.command("remove")(remove)
app.add_typer(asset, name="asset")
app.add_typer(job, name="job")
app.add_typer(event, name="event")
app.add_typer(opt, name="opt")
app.add_typer(connection, name="connection")
app.add_typer(vtn, name="vtn")
app.add_typer(meter, name="meter")
app.add_typer(statement, name="statement")
app.add_typer(verification, name="verification")
app.add_typer(archive, name="archive")
app.add_typer(evidence, name="evidence")
app.add_typer(tariff, name="tariff")
app.add_typer(temperature, name="temperature")
app.add_typer(db, name="db")
