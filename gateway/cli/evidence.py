"""``gridgate evidence``: the log that proves the record, its signed heads, and whether both still agree."""

from pathlib import Path
from typing import Annotated, Any

import typer

from gateway.cli.output import FAILED, as_json, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

evidence = typer.Typer(
    help="The log of evidence: signed heads, proofs, and whether the record is what was logged.", no_args_is_help=True
)


@evidence.command()
def heads(config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False) -> None:
    """List the signed heads, oldest first."""
    from gateway.cli.evidence_asked import all_heads, read_evidence

    found = read_evidence(database_url(config, database, json_wanted=json_wanted), all_heads, json_wanted=json_wanted)

    def text() -> str:
        lines = [
            f"{one.head.day or 'on demand'}  {one.head.size:>9} entries  root {one.head.root_sha256[:16]}  "
            f"key {one.key_id[:16]}"
            for one in found
        ]
        return (
            "\n".join(lines)
            or "no head was made yet: the first is made when a day is over, or by: gridgate evidence head"
        )

    show([{**as_json(one), "key_id": one.key_id} for one in found], json_wanted=json_wanted, text=text)


@evidence.command()
def head(
    config: Annotated[Path, typer.Option("--config", help="Config file of the gateway.")],
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Sign a head over everything on record now, and give it to all who take heads.

    Needs the gateway's key, which stands in its state_dir; the gateway may run meanwhile. Where nothing is new since
    the last head, that one is given again.
    """
    from gateway.cli.evidence_asked import NotSigned, sign_head
    from gateway.cli.settings import any_settings

    settings = any_settings(config, json_wanted=json_wanted)
    try:
        found = sign_head(database or settings.gateway.database, settings, json_wanted=json_wanted)
    except NotSigned as cause:
        fail(f"no head is made: {cause}", code=FAILED, json_wanted=json_wanted)

    def text() -> str:
        made = found.signed.head
        what = "is made" if found.made else "stands: nothing is new since"
        return (
            f"the head of {made.made_at:%Y-%m-%d %H:%M:%S}Z over {made.size} entries {what}\n"
            f"root {made.root_sha256}\nsigned by key {found.signed.key_id}\n"
            f"given to {', '.join(found.given_to) or 'nobody: declare heads_dir or deliver_to under [evidence]'}"
        )

    show({**as_json(found), "key_id": found.signed.key_id}, json_wanted=json_wanted, text=text)
    if found.fault:
        # JSON has it among the rest.
        fail(f"{found.fault}; the gateway gives it again when it runs", code=FAILED)


@evidence.command()
def key(
    config: Annotated[Path, typer.Option("--config", help="Config file of the gateway.")],
    json_wanted: JsonOption = False,
) -> None:
    """Print the public half of the key that signs heads: give it to whoever is to check them.

    Kept in a file it is what gridgate verify takes for --key.
    """
    from gateway.cli.evidence_asked import public_key
    from gateway.cli.settings import any_settings

    try:
        found = public_key(any_settings(config, json_wanted=json_wanted))
    except OSError as cause:
        fail(
            f"there is no key yet: it is made at the first start of the gateway ({cause})",
            code=FAILED,
            json_wanted=json_wanted,
        )
    show(found, json_wanted=json_wanted, text=lambda: f"{found['pem']}key id {found['key_id']}")


@evidence.command()
def prove(
    kind: Annotated[str, typer.Argument(help="Kind of record, such as statement, raw_message or reading.")],
    key: Annotated[str, typer.Argument(help="Its key, such as 2026-07-01T12:00:00Z/site.")],
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Prove that a record stands in the log under the last head: its entry, its place and the path to the root."""
    from gateway.cli.evidence_asked import proof_of, read_evidence

    url = database_url(config, database, json_wanted=json_wanted)
    found = read_evidence(url, proof_of(kind, key), json_wanted=json_wanted)
    if isinstance(found, str):
        fail(found, code=FAILED, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: _proof_in_words(found))


@evidence.command()
def check(config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False) -> None:
    """Hold the whole record against the log, and the log against its heads; exit code 1 names what differs."""
    from gateway.cli.evidence_asked import checked, read_evidence

    url = database_url(config, database, json_wanted=json_wanted)
    found = read_evidence(url, checked, json_wanted=json_wanted)

    def text() -> str:
        wrong = [f"{one.kind} {one.key} (entry {one.number}) {one.what}" for one in found["mismatches"]]
        wrong += found["heads"]
        held = f"{found['entries']} entries and {found['heads_checked']} heads: every record is what was logged"
        return "\n".join(wrong) or held

    show(found, json_wanted=json_wanted, text=text)
    if found["mismatches"] or found["heads"]:
        raise typer.Exit(FAILED)


def _proof_in_words(found: dict[str, Any]) -> str:
    head = found["head"]
    lines = [
        f"entry {found['entry'].number} of {head.size}, logged at {found['entry'].at:%Y-%m-%d %H:%M:%S}Z",
        f"content  SHA-256 {found['entry'].sha256}",
        f"leaf     {found['leaf']}",
        *(f"path     {step}" for step in found["path"]),
        f"root     {head.root_sha256}, signed for {head.day or 'no day'}",
    ]
    return "\n".join(lines)
