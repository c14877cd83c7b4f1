"""``gridgate event``: what the grid asked, and what we did about it."""

from datetime import UTC, datetime
from typing import Annotated

import typer

from gateway.cli.output import FAILED, as_json, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

event = typer.Typer(help="Events: what the grid asked, and what we did about it.", no_args_is_help=True)


@event.command("list")
def list_events(config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False) -> None:
    """List the events on record, by start."""
    from gateway.cli.ask import read_record
    from gateway.cli.event_text import all_events, listing
    from gateway.domain.event import state

    now = datetime.now(UTC)
    url = database_url(config, database, json_wanted=json_wanted)
    records = read_record(url, all_events, json_wanted=json_wanted)
    rows = [{"state": state(record, now), **as_json(record)} for record in records]
    show(rows, json_wanted=json_wanted, text=lambda: listing(records, now))


@event.command("show")
def show_event(
    event_id: str,
    connection: Annotated[str | None, typer.Option(help="Connection, where the id is not unique.")] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Show one event: its signals, our answer, the plan and the history."""
    from gateway.cli.ask import read_record
    from gateway.cli.event_text import histories, in_words
    from gateway.domain.event import state

    url = database_url(config, database, json_wanted=json_wanted)
    found = read_record(url, histories(event_id, connection), json_wanted=json_wanted)
    if not found:
        fail(f"no event {event_id!r} on record; see: gridgate event list", code=FAILED, json_wanted=json_wanted)
    if len(found) > 1:
        names = ", ".join(history.record.event.connection_id for history in found)
        fail(f"event {event_id!r} came over {names}: choose with --connection", code=FAILED, json_wanted=json_wanted)
    history = found[0]
    moment = datetime.now(UTC)
    answer = {"state": state(history.record, moment), **as_json(history)}
    show(answer, json_wanted=json_wanted, text=lambda: in_words(history, moment))
