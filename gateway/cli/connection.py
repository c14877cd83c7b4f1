"""``gridgate connection``: who we are connected with, what went over a connection, and what is wrong with it."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import BAD_USAGE, FAILED, as_json, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url
from gateway.cli.settings import any_settings

connection = typer.Typer(help="Connections: what went over them, and what is wrong with one.", no_args_is_help=True)

FileOption = Annotated[Path, typer.Option("--config", help="Config file that declares the connection.")]


@connection.command("list")
def list_connections(config: FileOption, *, json_wanted: JsonOption = False) -> None:
    """List the connections that a config file declares."""
    settings = any_settings(config, json_wanted=json_wanted)
    rows = [
        {"name": one.name, "kind": one.kind, "role": one.role, "where": one.url if one.role == "ven" else one.listen}
        for one in settings.connection
    ]
    show(
        rows,
        json_wanted=json_wanted,
        text=lambda: (
            "\n".join(f"{row['name']}  {row['kind']} {row['role']}  {row['where']}" for row in rows) or "no connections"
        ),
    )


@connection.command("trace")
def trace(
    name: str,
    *,
    last: Annotated[int, typer.Option(min=1, max=10_000, help="How many messages.")] = 20,
    body: Annotated[str | None, typer.Option(help="Print one message whole, by the begin of its digest.")] = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Show what came and went over a connection, secrets taken out. Polls that bring nothing are not on record."""
    from gateway.app import decode_message
    from gateway.cli.ask import read_record
    from gateway.domain.message_trace import masked
    from gateway.domain.message_trace import trace as traced

    url = database_url(config, database, json_wanted=json_wanted)
    messages = read_record(url, lambda ledger: ledger.messages(name, last), json_wanted=json_wanted)
    if not messages:
        fail(f"nothing on record over {name!r}; see: gridgate connection list", code=FAILED, json_wanted=json_wanted)
    if body is not None:
        found = [message for message in messages if message.sha256.startswith(body)]
        if not found:
            fail(f"no message {body!r} among the last {last}", code=FAILED, json_wanted=json_wanted)
        text = masked(found[-1].body).decode("utf-8", "replace")
        show({"sha256": found[-1].sha256, "body": text}, json_wanted=json_wanted, text=lambda: text)
        return
    lines = traced(messages, decode_message)

    def table() -> str:
        from gateway.cli.trace_text import listing

        return listing(lines)

    show(lines, json_wanted=json_wanted, text=table)


@connection.command("secret")
def secret(*, json_wanted: JsonOption = False) -> None:
    """Make a new secret for a client of our OpenADR 3 VTN, and the hash of it for the config file.

    The secret is shown once: give it to the client by a way of its own.
    """
    from gateway.app import new_secret

    made, hashed = new_secret()
    show(
        {"client_secret": made, "secret_hash": hashed},
        json_wanted=json_wanted,
        text=lambda: f'for the client:       {made}\nfor the config file:  secret_hash = "{hashed}"',
    )


@connection.command("acl")
def acl(name: str, *, config: FileOption, json_wanted: JsonOption = False) -> None:
    """Print who may read what on the MQTT broker of our OpenADR 3 VTN, as an acl_file of Mosquitto.

    Write it anew, and have the broker read it, when clients come or go.
    """
    from gateway.app import mosquitto_acl
    from gateway.cli.run import run_to_end

    rules = run_to_end(mosquitto_acl(any_settings(config, json_wanted=json_wanted), name), json_wanted=json_wanted)
    show({"acl": rules}, json_wanted=json_wanted, text=lambda: rules)


@connection.command("test")
def try_out(name: str, *, config: FileOption, json_wanted: JsonOption = False) -> None:
    """Try a connection, step by step: name, way, TLS, clocks, who they are, registration. Nothing is changed.

    Exit code 0 says that all is well, 1 that something is wrong: it says what, and what to do.
    """
    import asyncio

    from gateway.app import check_connection

    settings = any_settings(config, json_wanted=json_wanted)
    if name not in [one.name for one in settings.connection]:
        known = ", ".join(one.name for one in settings.connection) or "none"
        fail(f"no connection {name!r} in {config}; there are: {known}", code=BAD_USAGE, json_wanted=json_wanted)
    findings = asyncio.run(check_connection(settings, name))

    def text() -> str:
        from gateway.cli.trace_text import findings_in_words

        return findings_in_words(findings)

    show([as_json(finding) for finding in findings], json_wanted=json_wanted, text=text)
    if any(not finding.well for finding in findings):
        raise typer.Exit(FAILED)
