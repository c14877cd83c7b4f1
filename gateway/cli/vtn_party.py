"""``gridgate vtn party`` and ``vtn opt``: who is registered with us, and when they said they will not take part."""

from typing import Annotated

import typer

from gateway.cli.event import ByOption, WaitOption
from gateway.cli.output import FAILED, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

party = typer.Typer(help="Who is registered with us.", no_args_is_help=True)
opt = typer.Typer(help="When parties said that they will, or will not, take part.", no_args_is_help=True)

ViaOption = Annotated[str, typer.Option("--connection", help="Name of the VTN, as in [[connection]].")]
PartyArgument = Annotated[str, typer.Argument(help="The party's id or name.")]


@party.command("list")
def list_parties(
    *,
    connection: ViaOption,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """List who has registered with a VTN of ours; of OpenADR 2.0b those that have left too."""
    from gateway.app import parties_to
    from gateway.cli.ask import read_all
    from gateway.cli.vtn_text import parties_text

    url = database_url(config, database, json_wanted=json_wanted)
    found = read_all(url, lambda record: parties_to(record, connection), json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: parties_text(found, connection))


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
