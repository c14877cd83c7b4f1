"""``gridgate vtn party`` and ``vtn opt``: who is registered with us, and when they said they will not take part."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.event import ByOption, WaitOption
from gateway.cli.output import BAD_USAGE, FAILED, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

party = typer.Typer(help="Who is registered with us.", no_args_is_help=True)
opt = typer.Typer(help="When parties said that they will, or will not, take part.", no_args_is_help=True)

ViaOption = Annotated[str, typer.Option("--connection", help="Name of the VTN in the config file.")]
PartyArgument = Annotated[str, typer.Argument(help="The party's id or name.")]


@party.command("list")
def list_parties(
    *,
    connection: Annotated[str | None, typer.Option(help="Name of the VTN; by default every VTN of --config.")] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """List who has registered with a VTN of ours; of OpenADR 2.0b those that have left too."""
    from gateway.cli.ask import read_all
    from gateway.cli.vtn_text import parties_by_vtn, parties_of

    url = database_url(config, database, json_wanted=json_wanted)
    names = _vtns(config, json_wanted=json_wanted) if connection is None else (connection,)
    found = read_all(url, parties_of(names), json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: parties_by_vtn(found, names))


def _vtns(config: Path | None, *, json_wanted: bool) -> tuple[str, ...]:
    """The names of the VTNs that a config file declares. Ends the command with exit code 2 where there is none."""
    from gateway.config import ConfigError, load_config

    if config is None:
        fail("say --connection NAME, or --config FILE for every VTN in it", code=BAD_USAGE, json_wanted=json_wanted)
    try:
        names = tuple(vtn.name for vtn in load_config(config).vtns)
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    if not names:
        fail(f'{config} declares no connection with role "vtn"', code=BAD_USAGE, json_wanted=json_wanted)
    return names


@party.command("show")
def show_party(
    name: PartyArgument,
    *,
    connection: ViaOption,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Show one party: what it can report, what was ordered of it, when it stays out, and what waits for it."""
    from gateway.cli.ask import read_all
    from gateway.cli.vtn_text import party_text, standing_of

    url = database_url(config, database, json_wanted=json_wanted)
    try:
        found = read_all(url, standing_of(name, connection), json_wanted=json_wanted)
    except ValueError as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: party_text(found))


@party.command("reregister")
def reregister(
    name: PartyArgument,
    *,
    connection: ViaOption,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Ask a party to register anew. Exit codes are those of vtn event create."""
    from gateway.cli.vtn_text import give
    from gateway.domain.issuing import IssueKind, PartyWish

    url = database_url(config, database, json_wanted=json_wanted)
    wish = PartyWish(party=name)
    give(url, IssueKind.REREGISTER, connection, wish, by=by, wait_s=wait, json_wanted=json_wanted)


@party.command("cancel")
def cancel(
    name: PartyArgument,
    *,
    connection: ViaOption,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """End a party's registration; one that is not shut out may register again. Exit codes are those of event create."""
    from gateway.cli.vtn_text import give
    from gateway.domain.issuing import IssueKind, PartyWish

    url = database_url(config, database, json_wanted=json_wanted)
    wish = PartyWish(party=name)
    give(url, IssueKind.DEREGISTER, connection, wish, by=by, wait_s=wait, json_wanted=json_wanted)


@opt.command("list")
def list_opts(
    *,
    connection: ViaOption,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """List what parties told by EiOpt and have not cancelled."""
    from gateway.cli.ask import read_all
    from gateway.cli.vtn_text import opts_text, told_opts

    url = database_url(config, database, json_wanted=json_wanted)
    found = read_all(url, told_opts(connection), json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: opts_text(found))
