"""Schedules of ours: when we will or will not take part, whatever events come, said before they do.

A schedule of times out keeps us out of the events that touch one of its periods, as an operator's opt-out does: not
where the contract is mandatory, and not of an event that runs already. An opt-in to one event goes before it.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from difflib import get_close_matches
from enum import StrEnum

from gateway.domain.contract import Program
from gateway.domain.operator import CommandKind, CommandOutcome, OperatorCommand
from protocols.grid import EventStatus, GridEvent, Opt, OptDecision, OptSchedule, Refusal


class OptKind(StrEnum):
    """What may be asked of a schedule."""

    CREATE = "create"
    CANCEL = "cancel"


class OptState(StrEnum):
    """How a schedule of ours stands, with us and with the grid."""

    WAITING = "not acted on yet"
    REFUSED = "refused"
    TO_BE_TOLD = "to be told"
    TOLD = "told"
    NOT_TAKEN = "in force with us, not taken by the grid"
    CANCELLED = "cancelled"
    CANCEL_TO_BE_TOLD = "cancelled, to be told"


@dataclass(frozen=True, slots=True, kw_only=True)
class OptCommand:
    """What a person asked of a schedule. ``by`` is their name; a cancel carries the schedule that it is about."""

    command_id: str
    at: datetime
    by: str
    kind: OptKind
    schedule: OptSchedule


@dataclass(frozen=True, slots=True, kw_only=True)
class OptTold:
    """What the grid made of a command, said once. ``detail`` says why where it has not ``taken`` it."""

    command_id: str
    at: datetime
    taken: bool
    detail: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class OptRecord:
    """A command, what became of it with us (``None``: not acted on yet) and with the grid (``None``: not told)."""

    command: OptCommand
    outcome: CommandOutcome | None = None
    told: OptTold | None = None

    @property
    def done(self) -> bool:
        return self.outcome is not None and self.outcome.done


@dataclass(frozen=True, slots=True, kw_only=True)
class OptLine:
    """One schedule, as it stands."""

    schedule: OptSchedule
    by: str
    state: OptState
    detail: str = ""


def standing_schedules(records: Iterable[OptRecord]) -> tuple[OptSchedule, ...]:
    """The schedules in force, in the order in which they were given."""
    done = [record.command for record in records if record.done]
    ended = {command.schedule.opt_id for command in done if command.kind is OptKind.CANCEL}
    return tuple(
        command.schedule for command in done if command.kind is OptKind.CREATE and command.schedule.opt_id not in ended
    )


def opt_lines(records: Sequence[OptRecord]) -> tuple[OptLine, ...]:
    """Every schedule that was ever given and how it stands, oldest first."""
    cancels = {
        record.command.schedule.opt_id: record
        for record in records
        if record.command.kind is OptKind.CANCEL and record.done
    }
    return tuple(
        _line(record, cancels.get(record.command.schedule.opt_id))
        for record in records
        if record.command.kind is OptKind.CREATE
    )


def _line(record: OptRecord, cancel: OptRecord | None) -> OptLine:
    told, outcome = record.told, record.outcome
    detail = "" if outcome is None else outcome.detail
    if outcome is None:
        state = OptState.WAITING
    elif not outcome.done:
        state = OptState.REFUSED
    elif cancel is not None:
        state = OptState.CANCELLED if cancel.told is not None else OptState.CANCEL_TO_BE_TOLD
        detail = "" if cancel.told is None else cancel.told.detail
    elif told is None:
        state = OptState.TO_BE_TOLD
    else:
        state = OptState.TOLD if told.taken else OptState.NOT_TAKEN
        detail = told.detail or detail
    return OptLine(schedule=record.command.schedule, by=record.command.by, state=state, detail=detail)


def judge_opt(
    command: OptCommand, records: Sequence[OptRecord], programs: Mapping[str, Program], connections: Sequence[str]
) -> tuple[bool, str]:
    """Whether a command is done, and what it comes to in plain words."""
    schedule = command.schedule
    if schedule.connection_id not in connections:
        return False, f"no connection {schedule.connection_id!r}: {_nearest(schedule.connection_id, connections)}"
    if command.kind is OptKind.CREATE:
        return _created(schedule, programs)
    if schedule.opt_id not in {one.opt_id for one in standing_schedules(records)}:
        return False, f"schedule {schedule.opt_id} does not stand: there is nothing to cancel"
    return True, f"schedule {schedule.opt_id} is cancelled"


def _created(schedule: OptSchedule, programs: Mapping[str, Program]) -> tuple[bool, str]:
    if schedule.program_id and schedule.program_id not in programs:
        return False, f"no program {schedule.program_id!r}: {_nearest(schedule.program_id, list(programs))}"
    if schedule.opt is Opt.IN:
        return True, f"schedule {schedule.opt_id} stands: it is said to the grid, and changes no answer of ours"
    if schedule.program_id and programs[schedule.program_id].mandatory:
        return False, f"program {schedule.program_id} is mandatory: its events cannot be opted out of"
    overridden = [] if schedule.program_id else sorted(name for name, one in programs.items() if one.mandatory)
    but = f"; events of {', '.join(overridden)} are mandatory and taken part in all the same" if overridden else ""
    return True, f"schedule {schedule.opt_id} stands: we stay out of events that touch it{but}"


def scheduled_out(
    decision: OptDecision,
    event: GridEvent,
    program: Program | None,
    schedules: Iterable[OptSchedule],
    standing: OperatorCommand | None,
) -> OptDecision:
    """Our answer to a revision, after our schedules. ``standing`` is the operator's last word on this very event.

    A revision of an event that we take part in and that has begun is not for here: it goes on.
    """
    if decision.opt is Opt.OUT or (program is not None and program.mandatory):
        return decision
    if standing is not None and standing.kind is CommandKind.OPT_IN:
        return decision
    found = next((one for one in schedules if keeps_out(one, event)), None)
    if found is None:
        return decision
    return replace(decision, opt=Opt.OUT, refusal=Refusal.OPERATOR, detail=why_out(found))


def own_word(standing: OperatorCommand | None, records: Iterable[OptRecord]) -> OperatorCommand | None:
    """The operator's last word on an event itself: ``None`` where it is what a schedule had said to the event.

    That holds for as long as the schedule keeps us out of the event, and not when a revision has moved it away.
    """
    if standing is None:
        return None
    said = {said_id(record.command, standing.event_id) for record in records}
    return None if standing.command_id in said else standing


def said_id(command: OptCommand, event_id: str) -> str:
    """The id of what a command about a schedule says to an event."""
    return f"{command.command_id}-{event_id}"


def keeps_out(schedule: OptSchedule, event: GridEvent) -> bool:
    """Whether an event touches a period in which we said that we are out.

    A schedule for resources is about events that name one of them.
    """
    if schedule.opt is not Opt.OUT or schedule.connection_id != event.connection_id:
        return False
    if schedule.program_id not in {"", event.program_id} or event.status is EventStatus.CANCELLED:
        return False
    if schedule.targets and not set(schedule.targets) & set(event.targets):
        return False
    return any(_touches(event, starts_at, length_s) for starts_at, length_s in schedule.periods)


def why_out(schedule: OptSchedule) -> str:
    """Why we are out, in words for people and for the grid."""
    return f"operator's schedule {schedule.opt_id}" + (f": {schedule.reason}" if schedule.reason else "")


def _touches(event: GridEvent, starts_at: datetime, length_s: float) -> bool:
    begins_after = event.starts_at >= starts_at + timedelta(seconds=length_s)
    return not begins_after and (event.ends_at is None or event.ends_at > starts_at)


def _nearest(name: str, known: Sequence[str]) -> str:
    near = get_close_matches(name, known, cutoff=0.5) or sorted(known)
    return f"there is {', '.join(near)}" if near else "there is none"
