"""``gridgate statement`` after the figures: versions, approvals, disputes, the counterparty's statement, sums."""

from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, NoReturn
from uuid import uuid4

import typer

from gateway.cli.event import ByOption, given_by
from gateway.cli.output import BAD_USAGE, FAILED, fail, read_input, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

if TYPE_CHECKING:
    from gateway.domain.contract import Program
    from gateway.domain.statement_review import ReviewKind

ReasonOption = Annotated[str, typer.Option(help="Why, in your own words.")]
LineOption = Annotated[list[str] | None, typer.Option("--line", help="A figure that it is about. Repeat for several.")]


def versions(
    statement_id: str, config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False
) -> None:
    """Show all versions of an event's statement: what changed, why, and what was said to each."""
    from gateway.cli.ask import read_record
    from gateway.cli.statement_review_text import versions_in_words
    from gateway.domain.statement_review import ReviewRefused
    from gateway.services.reviewing import versions as versions_of

    url = database_url(config, database, json_wanted=json_wanted)
    try:
        found = read_record(url, lambda ledger: versions_of(ledger, statement_id), json_wanted=json_wanted)
    except ReviewRefused as cause:
        _refused(cause, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: versions_in_words(found))


def diff(
    before_id: str,
    after_id: str,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Show what differs between two statements of an event, line by line, each with its cause."""
    from gateway.cli.ask import read_record
    from gateway.cli.statement_review_text import changes_in_words, two_of_one_event
    from gateway.domain.statement_review import ReviewRefused

    url = database_url(config, database, json_wanted=json_wanted)
    try:
        found = read_record(url, two_of_one_event(before_id, after_id), json_wanted=json_wanted)
    except ReviewRefused as cause:
        _refused(cause, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: changes_in_words(found))


def approve(
    statement_id: str,
    *,
    reason: ReasonOption = "",
    by: ByOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Approve a statement. It is final only once it is made so: gridgate statement finalise."""
    from gateway.domain.statement_review import ReviewKind

    said = _Said(statement_id=statement_id, kind=ReviewKind.APPROVED, by=by, reason=reason)
    _say(said, database_url(config, database, json_wanted=json_wanted), json_wanted=json_wanted)


def dispute(
    statement_id: str,
    *,
    reason: ReasonOption,
    line: LineOption = None,
    by: ByOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Dispute a statement within the time that was agreed. While a dispute is open it does not become final."""
    from gateway.domain.statement_review import ReviewKind

    lines = tuple(line or ())
    said = _Said(statement_id=statement_id, kind=ReviewKind.DISPUTED, by=by, reason=reason, lines=lines)
    _say(said, database_url(config, database, json_wanted=json_wanted), json_wanted=json_wanted)


def resolve(
    statement_id: str,
    dispute_id: Annotated[str, typer.Argument(help="As gridgate statement versions names it.")],
    *,
    reason: ReasonOption,
    by: ByOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Close a dispute with what became of it."""
    from gateway.domain.statement_review import ReviewKind

    said = _Said(statement_id=statement_id, kind=ReviewKind.RESOLVED, by=by, reason=reason, answers=dispute_id)
    _say(said, database_url(config, database, json_wanted=json_wanted), json_wanted=json_wanted)


def finalise(
    statement_id: str,
    *,
    shadow_because: Annotated[
        str, typer.Option(help="Why there will be no data of the revenue meter; the statement stays a shadow.")
    ] = "",
    by: ByOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Make a statement final: nothing is recalculated after it. It says everything that is still missing."""
    from gateway.cli.ask import read_record
    from gateway.domain.statement_review import ReviewRefused
    from gateway.services.reviewing import finalise as make_final

    name, url = given_by(by, json_wanted=json_wanted), database_url(config, database, json_wanted=json_wanted)
    try:
        found = read_record(
            url,
            lambda ledger: make_final(
                ledger, statement_id, by=name, at=datetime.now(UTC), shadow_because=shadow_because
            ),
            json_wanted=json_wanted,
        )
    except ReviewRefused as cause:
        fail(f"{statement_id} is not made final: {cause}", code=FAILED, json_wanted=json_wanted)
    show(
        found,
        json_wanted=json_wanted,
        text=lambda: f"{found.statement_id} is final: {found.delivered_kwh} kWh, {found.amount} {found.currency}",
    )


def reconcile(
    statement_id: str,
    file: Annotated[Path, typer.Option("--file", help="The counterparty's statement, JSON or CSV.")],
    *,
    reference: Annotated[str, typer.Option(help="Their name for it; needed for CSV.")] = "",
    party: Annotated[str, typer.Option(help="Whose it is; needed for CSV.")] = "",
    amount: Annotated[str, typer.Option(help="Their amount, such as '12.50 USD'; needed for CSV.")] = "",
    disputing: Annotated[bool, typer.Option("--dispute", help="Dispute our statement where the two differ.")] = False,
    by: ByOption = None,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Take in the counterparty's statement and hold it against ours, line by line.

    JSON: reference, party, event_id, currency, amount and, where it has them, delivered_kwh and intervals, each with
    starts_at, duration_s and of baseline_kwh, measured_kwh, delivered_kwh what it states; or a statement as gridgate
    statement show --json prints it. CSV: a header with starts_at, duration_s and those figures.
    Exit code 1 says that the two differ.
    """
    from gateway.cli.ask import read_record
    from gateway.cli.counterparty_file import CounterpartyFileError, Named, read_counterparty
    from gateway.cli.statement_review_text import reconciliation_in_words, reconciling
    from gateway.domain.statement_review import ReviewRefused

    name, url = given_by(by, json_wanted=json_wanted), database_url(config, database, json_wanted=json_wanted)
    content = read_input(file, json_wanted=json_wanted)
    named = Named(reference=reference, party=party, amount=amount)
    dispute_id = uuid4().hex[:12] if disputing else None
    try:
        found = read_record(
            url,
            reconciling(
                statement_id,
                lambda event_id: read_counterparty(content, named, event_id),
                by=name,
                at=datetime.now(UTC),
                dispute_id=dispute_id,
            ),
            json_wanted=json_wanted,
        )
    except CounterpartyFileError as cause:
        fail(f"{file}: {cause}", code=BAD_USAGE, json_wanted=json_wanted)
    except (ReviewRefused, ValueError) as cause:
        _refused(cause, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: reconciliation_in_words(found, dispute_id))
    if not found.agrees:
        raise typer.Exit(FAILED)


def month(
    name: Annotated[str, typer.Argument(metavar="YYYY-MM", help="The month of the site's clock.")],
    program: Annotated[str, typer.Option(help="Id of the program.")],
    config: Annotated[Path, typer.Option("--config", help="Config file: site, programs and database.")],
    *,
    availability_hours: Annotated[str, typer.Option(help="Hours for which the site was to be available.")] = "",
    availability_factor: Annotated[str, typer.Option(help="The share of them in which it was, 0 to 1.")] = "1",
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Settle a month of a program: its events by their last statements, and what is paid and bounded by month."""
    from gateway.cli.ask import read_record
    from gateway.cli.statement_month import MonthError, month_in_words, month_of, wanted_month
    from gateway.config import ConfigError, load_config
    from gateway.domain.tariff.terms import TariffError

    try:
        settings = load_config(config)
        wanted = wanted_month(name, program, settings, availability_hours, availability_factor)
        found = read_record(
            database_url(config, database, json_wanted=json_wanted), month_of(wanted), json_wanted=json_wanted
        )
    except (ConfigError, MonthError) as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    except (TariffError, ValueError) as cause:
        fail(f"{name} of {program} is not settled: {cause}", code=FAILED, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: month_in_words(found))


def portfolio(
    files: Annotated[
        list[Path],
        typer.Argument(metavar="FILE.json ...", help="Statements, as show --json prints them; best with --assurance."),
    ],
    *,
    pooled: Annotated[
        bool, typer.Option("--pooled", help="Settle one event over all sites as one, too; needs --program, --config.")
    ] = False,
    program: Annotated[str, typer.Option(help="Id of the program whose tariff settles them as one.")] = "",
    config: ConfigOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Add up statements of several sites and events, to the cent, and say how sure the sum is. Offline.

    How sure it is needs statements printed with --assurance. Settled as one, a surplus makes up for a shortfall, and
    the amount is split by what each site delivered.
    """
    from gateway.cli.counterparty_file import CounterpartyFileError
    from gateway.cli.portfolio import answer, in_words, read_given
    from gateway.domain.tariff.terms import TariffError

    under = _program(program, config, json_wanted=json_wanted) if pooled else None
    given = []
    for file in files:
        content = read_input(file, json_wanted=json_wanted)
        try:
            given.append(read_given(content))
        except CounterpartyFileError as cause:
            fail(f"{file}: {cause}", code=BAD_USAGE, json_wanted=json_wanted)
    try:
        found = answer(given, under)
    except (TariffError, ValueError) as cause:
        fail(str(cause), code=FAILED, json_wanted=json_wanted)
    show(found, json_wanted=json_wanted, text=lambda: in_words(found))


def _program(name: str, config: Path | None, *, json_wanted: bool) -> "Program":
    from gateway.config import ConfigError, load_config

    if config is None or not name:
        fail("--pooled needs --program and --config: the tariff and its prices stand there", code=BAD_USAGE)
    try:
        programs = load_config(config).programs()
    except ConfigError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    if name not in programs:
        known = ", ".join(programs) or "none"
        fail(f"no program {name!r}: declared are {known}", code=BAD_USAGE, json_wanted=json_wanted)
    return programs[name]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Said:
    """A word on a statement as the options give it."""

    statement_id: str
    kind: "ReviewKind"
    by: str | None
    reason: str
    lines: tuple[str, ...] = ()
    answers: str = ""


def _say(said: _Said, url: str, *, json_wanted: bool) -> None:
    from gateway.cli.ask import read_record
    from gateway.domain.statement_review import ReviewRefused, StatementReview
    from gateway.services.reviewing import review

    made = StatementReview(
        review_id=uuid4().hex[:12],
        statement_id=said.statement_id,
        kind=said.kind,
        by=given_by(said.by, json_wanted=json_wanted),
        at=datetime.now(UTC),
        reason=said.reason,
        lines=said.lines,
        answers=said.answers,
    )
    try:
        read_record(url, lambda ledger: review(ledger, made), json_wanted=json_wanted)
    except ReviewRefused as cause:
        fail(f"{made.statement_id} is not {made.kind.value}: {cause}", code=FAILED, json_wanted=json_wanted)
    text = f"{made.statement_id} {made.kind.value} by {made.by} ({made.review_id})"
    if made.answers:
        text = f"dispute {made.answers} of {made.statement_id} is resolved by {made.by}"
    show(made, json_wanted=json_wanted, text=lambda: text)


def _refused(cause: Exception, *, json_wanted: bool) -> NoReturn:
    fail(str(cause), code=FAILED, json_wanted=json_wanted)
