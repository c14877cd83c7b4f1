"""``gridgate event``: what the grid asked, and what we did about it."""

import getpass
import json
import os
from datetime import UTC, datetime
from typing import Annotated, Any

import typer

from gateway.cli.output import BAD_USAGE, FAILED, as_json, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

LONGEST_TEXT = 300

ConnectionOption = Annotated[str | None, typer.Option("--connection", help="Connection, where the id is not unique.")]
ReasonOption = Annotated[
    str, typer.Option(help="Why, in your own words. It is for the record and not sent to the grid.")
]
ByOption = Annotated[str | None, typer.Option(help="Your name, where it is not that of the user at this terminal.")]
WaitOption = Annotated[
    float, typer.Option(min=0, max=600, help="Seconds to wait for the running gateway to act; 0 does not wait.")
]

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
    connection: ConnectionOption = None,
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


@event.command("opt-out")
def opt_out(
    event_id: str,
    *,
    reason: ReasonOption,
    connection: ConnectionOption = None,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Opt out of an event: its caps are let go and the grid is told. It stays so until you opt in again.

    Exit code 0 says that the running gateway has done it (with --wait 0: that the command is on record); 1 that it
    refuses, or has not acted yet. A command on record stands: a gateway acts on it as soon as it runs.
    """
    url = database_url(config, database, json_wanted=json_wanted)
    _give(url, "opt_out", event_id, connection=connection, by=by, reason=reason, wait_s=wait, json_wanted=json_wanted)


@event.command("opt-in")
def opt_in(
    event_id: str,
    *,
    reason: ReasonOption,
    connection: ConnectionOption = None,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Take part again in an event that was opted out of here.

    Exit codes are those of opt-out.
    """
    url = database_url(config, database, json_wanted=json_wanted)
    _give(url, "opt_in", event_id, connection=connection, by=by, reason=reason, wait_s=wait, json_wanted=json_wanted)


def _give(
    url: str,
    kind: str,
    event_id: str,
    *,
    connection: str | None,
    by: str | None,
    reason: str,
    wait_s: float,
    json_wanted: bool,
) -> None:
    """Give the command and say what became of it. Ends with exit code 1 where it is not done."""
    name = given_by(by, json_wanted=json_wanted)
    why = _line("--reason", reason, json_wanted=json_wanted)

    from gateway.cli.command import NoSuchEvent, give, not_done
    from gateway.domain.operator import CommandKind

    try:
        given = give(
            url,
            CommandKind(kind),
            event_id,
            connection_id=connection,
            by=name,
            reason=why,
            wait_s=wait_s,
            json_wanted=json_wanted,
        )
    except NoSuchEvent as fault:
        fail(str(fault), code=FAILED, json_wanted=json_wanted)
    say(given, given.outcome, not_done(given, wait_s), json_wanted=json_wanted)


def say(given: object, outcome: Any, error: str | None, *, json_wanted: bool) -> None:
    """Say what became of a command. Ends with exit code 1 where there is an ``error``."""
    if error is None:
        done = outcome.detail if outcome else "on record: a gateway acts on it as soon as it runs"
        show(given, json_wanted=json_wanted, text=lambda: done)
        return
    if json_wanted:
        typer.echo(json.dumps({"error": error, **as_json(given)}, indent=2))
    fail(error, code=FAILED)


def given_by(by: str | None, *, json_wanted: bool) -> str:
    """Who gives a command: by the option, else who sits at the terminal."""
    return _line("--by", _user(json_wanted=json_wanted) if by is None else by, json_wanted=json_wanted)


def _user(*, json_wanted: bool) -> str:
    """Who sits at the terminal; under sudo the one who became root."""
    try:
        return os.environ.get("SUDO_USER") or getpass.getuser()
    except (KeyError, OSError):
        fail("this user has no name here: give yours with --by", code=BAD_USAGE, json_wanted=json_wanted)


def _line(option: str, text: str, *, json_wanted: bool) -> str:
    """The text as one line. Ends the command with exit code 2 where it is none that a person can read."""
    line = " ".join(text.split())
    if not line:
        fail(f"{option} is empty", code=BAD_USAGE, json_wanted=json_wanted)
    if not line.isprintable() or len(line) > LONGEST_TEXT:
        text = f"{option} is to be text of at most {LONGEST_TEXT} characters that can be printed"
        fail(text, code=BAD_USAGE, json_wanted=json_wanted)
    return line
