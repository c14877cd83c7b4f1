"""``gridgate opt``: when we will or will not take part, said before the grid asks."""

from datetime import UTC, datetime
from typing import TYPE_CHECKING, Annotated
from uuid import uuid4

import typer

from gateway.cli.event import ByOption, WaitOption, given_by, say
from gateway.cli.output import BAD_USAGE, FAILED, fail, show
from gateway.cli.record import ConfigOption, DatabaseOption, JsonOption, database_url

if TYPE_CHECKING:
    from gateway.domain.opting import OptCommand

opt = typer.Typer(help="Schedules: when we will, or will not, take part.", no_args_is_help=True)

ViaOption = Annotated[str, typer.Option("--connection", help="Name of the connection in the config file.")]
OutOption = Annotated[bool, typer.Option("--out/--in", help="Whether we stay out, or say that we take part.")]
StartOption = Annotated[str | None, typer.Option(help="now, +10m, or an instant such as 2026-12-01T17:00:00Z.")]
DurationOption = Annotated[str | None, typer.Option(help="90s, 15m or 2h.")]
PeriodOption = Annotated[
    list[str] | None, typer.Option(help="One more, as in '2026-12-01T17:00:00Z for 2h'. Repeat for several.")
]
ProgramOption = Annotated[str | None, typer.Option(help="For events of this program only.")]
ResourceOption = Annotated[list[str] | None, typer.Option(help="For events that name this resource only.")]
ReasonOption = Annotated[str, typer.Option(help="Why, in your own words or one of OpenADR's, such as maintenance.")]


@opt.command("create")
def create(
    *,
    connection: ViaOption,
    out: OutOption,
    start: StartOption = None,
    duration: DurationOption = None,
    period: PeriodOption = None,
    program: ProgramOption = None,
    resource: ResourceOption = None,
    reason: ReasonOption = "",
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """Stay out of events to come that touch a period; the grid is told as soon as it can be reached.

    Events of a mandatory program are taken part in all the same, and one that runs already goes on. Exit code 0 says
    that the schedule is in force in the running gateway (with --wait 0: that the command is on record); 1 that it is
    refused, or that no gateway has acted yet.
    """
    from gateway.domain.opting import OptCommand, OptKind
    from protocols.grid import Opt, OptSchedule, Target

    now = datetime.now(UTC)
    url = database_url(config, database, json_wanted=json_wanted)
    try:
        periods = _periods(start, duration, period or (), now)
    except ValueError as cause:
        fail(str(cause), code=BAD_USAGE, json_wanted=json_wanted)
    opt_id = f"opt-{now:%Y%m%d-%H%M%S}-{uuid4().hex[:4]}"
    schedule = OptSchedule(
        opt_id=opt_id,
        connection_id=connection,
        opt=Opt.OUT if out else Opt.IN,
        created_at=now,
        periods=periods,
        reason=" ".join(reason.split())[:300],
        program_id=program or "",
        targets=tuple(Target(kind="resource", value=name) for name in resource or ()),
    )
    name = given_by(by, json_wanted=json_wanted)
    command = OptCommand(command_id=opt_id, at=now, by=name, kind=OptKind.CREATE, schedule=schedule)
    _give(url, command, wait_s=wait, json_wanted=json_wanted)


@opt.command("cancel")
def cancel(
    opt_id: str,
    *,
    by: ByOption = None,
    wait: WaitOption = 5.0,
    config: ConfigOption = None,
    database: DatabaseOption = None,
    json_wanted: JsonOption = False,
) -> None:
    """End a schedule: events to come that it alone kept us out of are taken part in. Exit codes are those of create."""
    from difflib import get_close_matches

    from gateway.cli.ask import read_record
    from gateway.domain.opting import OptCommand, OptKind

    url = database_url(config, database, json_wanted=json_wanted)
    records = read_record(url, lambda ledger: ledger.opts(), json_wanted=json_wanted)
    known = {one.command.schedule.opt_id: one.command.schedule for one in records if one.command.kind is OptKind.CREATE}
    if opt_id not in known:
        near = get_close_matches(opt_id, known, cutoff=0.5)
        hint = f"did you mean {', '.join(near)}?" if near else "see: gridgate opt list"
        fail(f"no schedule {opt_id!r} on record: {hint}", code=FAILED, json_wanted=json_wanted)
    command = OptCommand(
        command_id=uuid4().hex,
        at=datetime.now(UTC),
        by=given_by(by, json_wanted=json_wanted),
        kind=OptKind.CANCEL,
        schedule=known[opt_id],
    )
    _give(url, command, wait_s=wait, json_wanted=json_wanted)


@opt.command("list")
def list_opts(config: ConfigOption = None, database: DatabaseOption = None, json_wanted: JsonOption = False) -> None:
    """List our schedules, and whether the grid has been told."""
    from gateway.cli.ask import read_record
    from gateway.cli.opt_text import listing
    from gateway.domain.opting import opt_lines

    url = database_url(config, database, json_wanted=json_wanted)
    lines = opt_lines(read_record(url, lambda ledger: ledger.opts(), json_wanted=json_wanted))
    show(lines, json_wanted=json_wanted, text=lambda: listing(lines))


def _periods(
    start: str | None, duration: str | None, more: list[str] | tuple[str, ...], now: datetime
) -> tuple[tuple[datetime, float], ...]:
    """The periods of the options. Raises ``ValueError`` with what cannot be read, or is missing."""
    from gateway.cli.event_wish import instant, seconds

    pairs = [tuple(text.partition(" for ")[::2]) for text in more]
    if (start is None) != (duration is None):
        raise ValueError("--start and --duration belong together")
    if start is not None and duration is not None:
        pairs.insert(0, (start, duration))
    if not pairs:
        raise ValueError("a schedule needs a time: say --start and --duration, or --period")
    found = tuple((instant(begins, now), seconds(length)) for begins, length in pairs)
    for begins, length_s in found:
        if length_s < 1.0:
            raise ValueError("a period lasts a second at least")
        if begins.timestamp() + length_s <= now.timestamp():
            raise ValueError(f"the period that begins {begins:%Y-%m-%d %H:%M:%SZ} is past")
    return found


def _give(url: str, command: "OptCommand", *, wait_s: float, json_wanted: bool) -> None:
    """Give the command and say what became of it. Ends with exit code 1 where it is not done."""
    from gateway.cli.opt_text import give, not_done

    given = give(url, command, wait_s=wait_s, json_wanted=json_wanted)
    say(given, given.outcome, not_done(given, wait_s), json_wanted=json_wanted)
