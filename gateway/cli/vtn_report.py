"""``gridgate vtn report``: reports that we order from parties, and the data that came."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from gateway.cli.event import ByOption, WaitOption
from gateway.cli.output import BAD_USAGE, FAILED, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url
from gateway.cli.vtn_party import ViaOption

report = typer.Typer(help="Reports from parties: order, cancel, list, show.", no_args_is_help=True)

QUANTITIES = ("power", "baseline", "reduction", "available", "state")


@report.command("order")
def order(
    *,
    connection: ViaOption,
    party: Annotated[str, typer.Option(help="The party's id or name.")],
    quantity: Annotated[list[str], typer.Option(help=f"{', '.join(QUANTITIES)}. Repeat for several.")],
    resource: Annotated[str | None, typer.Option(help="Of this resource, where the party has several.")] = None,
    granularity: Annotated[str, typer.Option(help="Length of each interval: 60s, 5m.")] = "60s",
    every: Annotated[str, typer.Option(help="How often it is sent; 0s is once, at the end.")] = "60s",
    start: Annotated[str | None, typer.Option(help="now, +10m, or an instant; by default now.")] = None,
    end: Annotated[str | None, typer.Option(help="As --start; by default until cancelled.")] = None,
    history: Annotated[bool, typer.Option("--history", help="Of the past, from --start to --end.")] = False,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Order a report. Exit codes are those of vtn event create."""
    from gateway.cli.event_wish import instant, seconds
    from gateway.cli.vtn_text import give
    from gateway.domain.issuing import IssueKind, PartyWish
    from protocols.grid_report import ReportQuantity

    now = datetime.now(UTC)
    url = database_url(config, database, json_wanted=json_wanted)
    unknown = [word for word in quantity if word not in QUANTITIES]
    try:
        if unknown:
            raise ValueError(f"{unknown[0]!r} is no quantity: choose of {', '.join(QUANTITIES)}")
        wish = PartyWish(
            party=party,
            order_id=f"order-{uuid4().hex}",
            resource_id=resource or "",
            quantities=tuple(ReportQuantity(word) for word in dict.fromkeys(quantity)),
            granularity_s=seconds(granularity),
            report_back_s=seconds(every),
            starts_at=None if start is None else instant(start, now),
            ends_at=None if end is None else instant(end, now),
            history=history,
        )
        if wish.ends_at is not None and wish.ends_at <= (wish.starts_at or now):
            raise ValueError("--end is to be after --start")
        if history and (wish.starts_at is None or wish.ends_at is None):
            raise ValueError("--history needs --start and --end")
    except ValueError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    give(url, IssueKind.ORDER, connection, wish, by=by, wait_s=wait, json_wanted=json_wanted)


@report.command("cancel")
def cancel(
    order_id: str,
    *,
    connection: ViaOption,
    last: Annotated[bool, typer.Option("--last", help="Have what is measured until then sent once more.")] = False,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """End a report that was ordered; what came stays. Exit codes are those of vtn event create."""
    from gateway.cli.vtn_text import give
    from gateway.domain.issuing import IssueKind, PartyWish

    url = database_url(config, database, json_wanted=json_wanted)
    wish = PartyWish(order_id=order_id, last_report=last)
    give(url, IssueKind.END_ORDER, connection, wish, by=by, wait_s=wait, json_wanted=json_wanted)


@report.command("list")
def list_reports(
    *,
    connection: ViaOption,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """List the reports that were ordered, ended ones too."""
    from gateway.cli.ask import read_all
    from gateway.cli.vtn_text import orders_text

    url = database_url(config, database, json_wanted=json_wanted)
    found = read_all(url, lambda record: record.parties.placed_orders(connection), json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: orders_text(found))


@report.command("show")
def show_report(
    order_id: str,
    *,
    connection: ViaOption,
    csv_wanted: Annotated[bool, typer.Option("--csv", help="Print CSV.")] = False,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Show the data that came for a report, an interval a line; corrected ones as they were said last."""
    from gateway.cli.ask import read_all
    from gateway.cli.vtn_text import data_of, data_text

    if csv_wanted and json_wanted:
        fail("--csv and --json: choose one", code=BAD_USAGE, json_wanted=True)
    url = database_url(config, database, json_wanted=json_wanted)
    try:
        found = read_all(url, data_of(order_id, connection), json_wanted=json_wanted)
    except ValueError as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: data_text(found, "," if csv_wanted else "  "))
