"""``gridgate vtn``: where we ask. Events to the parties below us, who they are, and what they answered."""

from datetime import UTC, datetime
from typing import Annotated
from uuid import uuid4

import typer

from gateway.cli.event import ByOption, WaitOption, given_by, say
from gateway.cli.output import BAD_USAGE, fail
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url
from gateway.cli.vtn_party import opt, party
from gateway.cli.vtn_report import report

vtn = typer.Typer(help="Where we ask: events to the parties below us.", no_args_is_help=True)
event = typer.Typer(help="Events that we issue: create, change, cancel.", no_args_is_help=True)
vtn.add_typer(event, name="event")
vtn.add_typer(party, name="party")
vtn.add_typer(opt, name="opt")
vtn.add_typer(report, name="report")

ViaOption = Annotated[str, typer.Option("--connection", help="Name of the VTN in the config file.")]
StartsOption = Annotated[str | None, typer.Option(help="now, +10m, or an instant such as 2026-12-01T17:00:00Z.")]
DurationOption = Annotated[str | None, typer.Option(help="90s, 15m, 2h, or open for no end.")]
SignalOption = Annotated[
    str | None, typer.Option(help="What is asked: level, fraction, limit-kw, adjust-kw, setpoint-kw or price.")
]
ValueOption = Annotated[
    list[str] | None, typer.Option("--value", help="A value, as 2 or '2 for 15m'; give it again for what follows.")
]
TargetOption = Annotated[
    list[str] | None, typer.Option("--target", help="Whom it is for, as ven=NAME or group=NAME; all where not given.")
]
CurrencyOption = Annotated[str | None, typer.Option(help="Of a price, as EUR.")]
TestOption = Annotated[bool | None, typer.Option("--test/--real", help="A test is answered, not acted on.")]
RankOption = Annotated[int | None, typer.Option(min=0, help="Lower is more important, 0 says nothing.")]
AnswerOption = Annotated[bool | None, typer.Option("--answer/--no-answer", help="Whether an answer is wanted.")]
NotificationOption = Annotated[str | None, typer.Option(help="How long before its start it is to be told.")]
RampOption = Annotated[str | None, typer.Option("--ramp-up", help="From the start on; with a minus, up to it.")]
RecoveryOption = Annotated[str | None, typer.Option(help="From the end on; with a minus, up to it.")]
WithinOption = Annotated[str | None, typer.Option("--start-within", help="Each begins at random within this.")]
CommentOption = Annotated[str | None, typer.Option(help="Words that go with it.")]


@event.command("create")
def create(
    *,
    connection: ViaOption,
    program: Annotated[str, typer.Option(help="Program that it is under.")],
    signal: SignalOption,
    value: ValueOption,
    duration: DurationOption,
    event_id: Annotated[str | None, typer.Option("--id", help="Its id; chosen for you where not given.")] = None,
    starts: StartsOption = "now",
    currency: CurrencyOption = None,
    target: TargetOption = None,
    test: TestOption = None,
    rank: RankOption = None,
    answer: AnswerOption = None,
    notification: NotificationOption = None,
    ramp_up: RampOption = None,
    recovery: RecoveryOption = None,
    start_within: WithinOption = None,
    comment: CommentOption = None,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Ask the parties below us for something.

    Exit code 0 says that the running gateway offers it (with --wait 0: that the command is on record); 1 that it
    refuses, or has not acted yet. A command on record stands: a gateway acts on it as soon as it runs.
    """
    from gateway.cli.event_wish import Options

    options = Options(
        program=program,
        starts=starts,
        duration=duration,
        signal=signal,
        values=value or (),
        currency=currency,
        targets=target or (),
        test=test,
        rank=rank,
        answer=answer,
        notification=notification,
        ramp_up=ramp_up,
        recovery=recovery,
        start_within=start_within,
        comment=comment,
    )
    url = database_url(config, database, json_wanted=json_wanted)
    found = event_id or f"{program}-{datetime.now(UTC):%Y%m%d-%H%M%S}-{uuid4().hex[:4]}"
    _give(url, "create", connection, found, options=options, by=by, wait_s=wait, json_wanted=json_wanted)


@event.command("change")
def change(
    event_id: str,
    *,
    connection: ViaOption,
    starts: StartsOption = None,
    duration: DurationOption = None,
    signal: SignalOption = None,
    value: ValueOption = None,
    currency: CurrencyOption = None,
    target: TargetOption = None,
    rank: RankOption = None,
    comment: CommentOption = None,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Change an event, before or while it runs; what is not named stays. Exit codes are those of create."""
    from gateway.cli.event_wish import Options

    options = Options(
        starts=starts,
        duration=duration,
        signal=signal,
        values=value or (),
        currency=currency,
        targets=target or (),
        rank=rank,
        comment=comment,
    )
    url = database_url(config, database, json_wanted=json_wanted)
    _give(url, "change", connection, event_id, options=options, by=by, wait_s=wait, json_wanted=json_wanted)


@event.command("cancel")
def cancel(
    event_id: str,
    *,
    connection: ViaOption,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Cancel an event. Exit codes are those of create."""
    url = database_url(config, database, json_wanted=json_wanted)
    _give(url, "cancel", connection, event_id, options=None, by=by, wait_s=wait, json_wanted=json_wanted)


def _give(
    url: str,
    kind: str,
    connection_id: str,
    event_id: str,
    *,
    options: object,
    by: str | None,
    wait_s: float,
    json_wanted: bool,
) -> None:
    """Give the command and say what became of it. Ends with exit code 1 where it is not done, 2 for bad usage."""
    name = given_by(by, json_wanted=json_wanted)

    from gateway.cli.event_wish import Options, wish_of
    from gateway.cli.issue import issue, not_done
    from gateway.domain.issuing import EventWish, IssueCommand, IssueKind

    now = datetime.now(UTC)
    try:
        wish = wish_of(options, now) if isinstance(options, Options) else EventWish()
    except ValueError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    command = IssueCommand(
        command_id=uuid4().hex,
        at=now,
        by=name,
        kind=IssueKind(kind),
        connection_id=connection_id,
        event_id=event_id,
        wish=wish,
    )
    given = issue(url, command, wait_s=wait_s, json_wanted=json_wanted)
    say(given, given.outcome, not_done(given, wait_s), json_wanted=json_wanted)
