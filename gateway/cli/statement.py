"""``gridgate statement``: what was delivered, and what it is worth."""

from hashlib import sha256
from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import BAD_USAGE, FAILED, as_json, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url
from gateway.cli.statement_review import (
    approve,
    diff,
    dispute,
    finalise,
    month,
    portfolio,
    reconcile,
    resolve,
    versions,
)

statement = typer.Typer(help="Settlement statements: figures, versions, reviews, sums.", no_args_is_help=True)


@statement.command("list")
def list_statements(
    config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False
) -> None:
    """List the statements on record."""
    from gateway.cli.ask import read_record
    from gateway.cli.statement_text import all_statements, listing

    found = read_record(
        database_url(config, database, json_wanted=json_wanted), all_statements, json_wanted=json_wanted
    )
    show([as_json(item) for item in found], json_wanted=json_wanted, text=lambda: listing(found))


@statement.command("show")
def show_statement(
    statement_id: str,
    *,
    check: Annotated[
        bool, typer.Option("--check", help="Compute every figure again from the record; needs --config.")
    ] = False,
    assurance: Annotated[
        bool,
        typer.Option("--assurance", help="Say how sure the figures are; takes some seconds and needs --config."),
    ] = False,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Show one statement: intervals, candidate days, adjustment, money."""
    from gateway.cli.ask import read_record
    from gateway.cli.statement_text import assurance_in_words, assured, difference, in_words, one_statement
    from gateway.config import ConfigError, load_config

    if check and config is None:
        fail(
            "--check needs --config: the program's price and rule stand there", code=BAD_USAGE, json_wanted=json_wanted
        )
    if assurance and config is None:
        fail(
            "--assurance needs --config: the site's meter and time zone stand there",
            code=BAD_USAGE,
            json_wanted=json_wanted,
        )
    url = database_url(config, database, json_wanted=json_wanted)
    found = read_record(url, one_statement(statement_id), json_wanted=json_wanted)
    if found is None:
        fail(
            f"no statement {statement_id!r} on record; see: gridgate statement list",
            code=FAILED,
            json_wanted=json_wanted,
        )
    settings = None
    if (check or assurance) and config is not None:
        try:
            settings = load_config(config)
        except ConfigError as cause:
            fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    if check and settings is not None:
        wrong = read_record(url, difference(found, settings), json_wanted=json_wanted)
        if wrong is not None:
            fail(f"statement {found.statement_id} does not follow from the record: {wrong}", json_wanted=json_wanted)
        typer.echo(f"every figure of {found.statement_id} follows from the record", err=True)
    if not assurance or settings is None:
        show(found, json_wanted=json_wanted, text=lambda: in_words(found))
        return
    sure = read_record(url, assured(found, settings), json_wanted=json_wanted)
    show(
        {**as_json(found), "assurance": as_json(sure)},
        json_wanted=json_wanted,
        text=lambda: f"{in_words(found)}\n{assurance_in_words(sure)}",
    )


@statement.command("bundle")
def bundle_statement(
    statement_id: str,
    config: Annotated[Path, typer.Option("--config", help="Config file: site, programs and database.")],
    out: Annotated[Path | None, typer.Option("--out", help="File to write; by default STATEMENT_ID.zip.")] = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Write all that a statement rests on into one file, for somebody who has to check it: gridgate verify FILE.

    It names every record of the log, and holds every event, answer and statement, so that none can be left out. Where
    the last head of the log is too old for the statement, a new one is signed and given to all who take heads.
    """
    from gateway.bundle_file import write_bundle
    from gateway.bundling import NotBundled
    from gateway.cli.ask import read_all
    from gateway.cli.statement_text import bundle_of
    from gateway.config import ConfigError, load_config

    try:
        settings = load_config(config)
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    path = out or Path(f"{statement_id.replace('/', '_')}.zip")
    url = database_url(config, database, json_wanted=json_wanted)
    try:
        made = read_all(url, bundle_of(statement_id, settings), json_wanted=json_wanted)
        body = write_bundle(made.bundle)
        path.write_bytes(body)
    except NotBundled as cause:
        fail(f"no bundle of {statement_id}: {cause}", code=FAILED, json_wanted=json_wanted)
    except OSError as cause:
        fail(f"cannot write {path}: {cause.strerror}", code=FAILED, json_wanted=json_wanted)
    for note in made.notes:
        typer.echo(f"gridgate: {note}", err=True)
    if made.faults:
        fail(f"{path} is written and does not hold: {'; '.join(made.faults)}", code=FAILED, json_wanted=json_wanted)
    result = {
        "file": str(path),
        "statement_id": statement_id,
        "bytes": len(body),
        "files": len(made.bundle.files),
        "notes": made.notes,
    }
    show(
        result,
        json_wanted=json_wanted,
        text=lambda: f"{path}: {len(body) / 1e6:.1f} MB, and everything in it holds; check it: gridgate verify {path}",
    )


@statement.command()
def report(
    statement_id: str,
    form: Annotated[str, typer.Option("--format", help="pdf, xlsx, csv, json or parquet.")],
    out: Annotated[Path, typer.Option("--out", help="File to write; one that is there is not overwritten.")],
    *,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Write a report on one statement for people.

    With --config it has the baseline's inputs, local times, and how far the figures can be trusted: bounds, other
    rules, gaming tests, rebound. With --database alone it says what is missing.
    """
    from gateway.cli.ask import read_all
    from gateway.cli.statement_report import all_of, settings_of, write_new
    from gateway.domain.report.statement import report_of
    from gateway.reports import Form, ReportsMissing, written

    if form not in set(Form):
        fail(f"--format {form}: take one of {', '.join(Form)}", code=BAD_USAGE, json_wanted=json_wanted)
    url = database_url(config, database, json_wanted=json_wanted)
    settings = settings_of(config, json_wanted=json_wanted)
    material = read_all(url, all_of(statement_id, settings), json_wanted=json_wanted)
    if material is None:
        fail(f"no statement {statement_id!r} on record; see: gridgate statement list", json_wanted=json_wanted)
    try:
        body = written(report_of(material), Form(form))
        write_new(out, body)
    except (ReportsMissing, ValueError) as cause:
        fail(str(cause), json_wanted=json_wanted)
    except OSError as cause:
        fail(f"cannot write {out}: {cause.strerror}", code=BAD_USAGE, json_wanted=json_wanted)
    made = {"file": str(out), "format": form, "bytes": len(body), "sha256": sha256(body).hexdigest()}
    show(made, json_wanted=json_wanted, text=lambda: f"{out}: {len(body):,} bytes, SHA-256 {made['sha256']}")


for command in (versions, diff, approve, dispute, resolve, finalise, reconcile, month, portfolio):
    statement.command()(command)
