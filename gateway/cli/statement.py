"""``gridgate statement``: what was delivered, and what it is worth."""

from pathlib import Path
from typing import Annotated

import typer

from gateway.cli.output import BAD_USAGE, FAILED, as_json, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url, read_record
from gateway.domain.settlement import SettlementStatement
from gateway.ledger import Ledger

statement = typer.Typer(help="Settlement statements.", no_args_is_help=True)


@statement.command("list")
def list_statements(
    config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False
) -> None:
    """List the statements on record."""

    async def every(ledger: Ledger) -> tuple[SettlementStatement, ...]:
        return await ledger.statements()

    found = read_record(database_url(config, database), every, json_wanted=json_wanted)

    def text() -> str:
        if not found:
            return "no statements on record"
        return "\n".join(
            f"{item.statement_id}  {item.verified.event_id}  {item.delivered_kwh} kWh  {item.amount} {item.currency}"
            f"  by {item.verified.rule}"
            for item in found
        )

    show([as_json(item) for item in found], json_wanted=json_wanted, text=text)


@statement.command("show")
def show_statement(
    statement_id: str,
    check: Annotated[
        bool, typer.Option("--check", help="Compute every figure again from the record; needs --config.")
    ] = False,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Show one statement: intervals, candidate days, adjustment, money."""

    async def one(ledger: Ledger) -> SettlementStatement | None:
        return await ledger.statement(statement_id)

    url = database_url(config, database)
    found = read_record(url, one, json_wanted=json_wanted)
    if found is None:
        fail(
            f"no statement {statement_id!r} on record; see: gridgate statement list",
            code=FAILED,
            json_wanted=json_wanted,
        )
    if check:
        _check(found, config, url, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: in_words(found))


def _check(found: SettlementStatement, config: Path | None, url: str, *, json_wanted: bool) -> None:
    """Compute the statement again from raw readings and signals; the first figure that differs ends the command."""
    from gateway.app import recheck
    from gateway.config import load_config

    if config is None:
        fail(
            "--check needs --config: the program's price and rule stand there", code=BAD_USAGE, json_wanted=json_wanted
        )
    settings = load_config(config)

    async def difference(ledger: Ledger) -> str | None:
        return await recheck(ledger, settings, found)

    wrong = read_record(url, difference, json_wanted=json_wanted)
    if wrong is not None:
        fail(f"statement {found.statement_id} does not follow from the record: {wrong}", json_wanted=json_wanted)
    typer.echo(f"every figure of {found.statement_id} follows from the record", err=True)


def in_words(item: SettlementStatement) -> str:
    """A statement as an auditor reads it, interval by interval."""
    verified = item.verified
    lines = [
        (
            f"Statement {item.statement_id} for event {verified.event_id} (revision {verified.revision}),"
            f" program {item.program_id}, site {item.site_id}"
        ),
        f"  baseline rule {verified.rule} {verified.rule_version}, issued {item.issued_at:%Y-%m-%d %H:%M:%SZ}",
    ]
    if verified.adjustment_raw is not None:
        lines.append(
            f"  adjustment {verified.adjustment_kind}: raw {verified.adjustment_raw:.6f},"
            f" applied {verified.adjustment_applied:.6f}"
        )
    lines += [f"  {day.date} {'taken' if day.selected else 'passed'}: {day.reason}" for day in verified.days]
    lines.append("  interval              baseline kWh  measured kWh  delivered kWh  coverage")
    lines += [
        f"  {row.starts_at:%Y-%m-%d %H:%M:%SZ}  {row.baseline_wh / 1000:12.3f}  {row.measured_wh / 1000:12.3f}"
        f"  {row.delivered_wh / 1000:13.3f}  {row.coverage_fraction:8.1%}"
        for row in verified.intervals
    ]
    lines.append(
        f"  delivered {item.delivered_kwh} kWh at {item.price_per_kwh} {item.currency}/kWh:"
        f" {item.amount} {item.currency}"
    )
    return "\n".join(lines + [f"  note: {note}" for note in item.notes])
