"""The operator's word: an event that was opted out of at the terminal, and taken part in again.

Opting out is possible where the contract is voluntary. What an operator opted out of stays so, over later revisions of
the event too, until an operator opts in again.
"""

from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, EventState, effective_end, state
from protocols.grid import GridEvent, Opt, OptDecision, Refusal


class CommandKind(StrEnum):
    """What an operator may ask."""

    OPT_OUT = "opt_out"
    OPT_IN = "opt_in"


@dataclass(frozen=True, slots=True, kw_only=True)
class OperatorCommand:
    """What a person asked of the gateway. ``by`` is their name, ``reason`` in their own words."""

    command_id: str
    at: datetime
    by: str
    kind: CommandKind
    connection_id: str
    event_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandOutcome:
    """What became of a command, said once: ``done``, or refused. ``detail`` says which in plain words."""

    command_id: str
    at: datetime
    done: bool
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Verdict:
    """What a command comes to: our new answer to the event, ``None`` where it is refused; and so in plain words."""

    decision: OptDecision | None
    detail: str


def judge(
    command: OperatorCommand,
    record: EventRecord | None,
    program: Program | None,
    standing: OperatorCommand | None,
    now: datetime,
) -> Verdict:
    """What a command comes to at ``now``.

    ``record`` and ``program`` are those of its event, ``None`` where they are not known; ``standing`` is the last
    command that was done for the event. Test events can be opted out of as well: our answer is what they test.
    """
    if record is None:
        return _refused(f"no event {command.event_id!r} is on record over {command.connection_id}")
    if state(record, now) in {EventState.COMPLETED, EventState.CANCELLED}:
        over_at = effective_end(record)
        since = "" if over_at is None else f" since {over_at:%Y-%m-%d %H:%M:%SZ}"
        return _refused(f"event {command.event_id} is over already{since}")
    if command.kind is CommandKind.OPT_OUT:
        return _opt_out(command, record, program, now)
    return _opt_in(record, standing, now)


def _opt_out(command: OperatorCommand, record: EventRecord, program: Program | None, now: datetime) -> Verdict:
    event, decision = record.event, record.decision
    if program is not None and program.mandatory:
        return _refused(f"program {program.program_id} is mandatory: its events cannot be opted out of")
    if decision is not None and decision.opt is Opt.OUT:
        return _refused(f"we are out of event {event.event_id} already: {_why(decision)}")
    return Verdict(
        decision=_out(event, command, now),
        detail=f"we are out of event {event.event_id}; what is held for it alone is let go, and {_settled(event, now)}",
    )


def _settled(event: GridEvent, now: datetime) -> str:
    if event.test or now <= event.starts_at:
        return "it is not settled"
    return "it is settled up to now, unless we opt in again"


def _opt_in(record: EventRecord, standing: OperatorCommand | None, now: datetime) -> Verdict:
    event, decision = record.event, record.decision
    if decision is not None and decision.refusal not in {None, Refusal.OPERATOR}:
        return _refused(f"no operator's opt-out keeps us out of event {event.event_id}: {_why(decision)}")
    by_schedule = decision is not None and decision.refusal is Refusal.OPERATOR
    if not by_schedule and (standing is None or standing.kind is not CommandKind.OPT_OUT):
        return _refused(f"no operator has opted out of event {event.event_id}")
    back = OptDecision(
        connection_id=event.connection_id,
        event_id=event.event_id,
        revision=event.revision,
        opt=Opt.IN,
        decided_at=now,
        # Who and why stand in the history. This goes to the grid as it is.
        detail="the operator opted in again",
    )
    return Verdict(decision=back, detail=f"we take part in event {event.event_id} again")


def kept_out(
    decision: OptDecision, event: GridEvent, program: Program | None, standing: OperatorCommand | None, now: datetime
) -> OptDecision:
    """Our answer to a revision, after the operator's word: where they have opted out, no revision opts in.

    ``decision`` is what it would be without them. One that has become mandatory meanwhile is taken part in.
    """
    if standing is None or standing.kind is not CommandKind.OPT_OUT or decision.opt is Opt.OUT:
        return decision
    if program is not None and program.mandatory:
        return decision
    return _out(event, standing, now)


def said_by(command: OperatorCommand) -> str:
    """``opted out by NAME: reason``."""
    done = "opted out" if command.kind is CommandKind.OPT_OUT else "opted in again"
    return f"{done} by {command.by}: {command.reason}"


def _out(event: GridEvent, command: OperatorCommand, now: datetime) -> OptDecision:
    return OptDecision(
        connection_id=event.connection_id,
        event_id=event.event_id,
        revision=event.revision,
        opt=Opt.OUT,
        decided_at=now,
        refusal=Refusal.OPERATOR,
        detail=said_by(command),
    )


def _why(decision: OptDecision) -> str:
    if decision.refusal is Refusal.OPERATOR:
        return decision.detail
    return ": ".join(part for part in (decision.refusal, decision.detail) if part) or "no reason given"


def _refused(reason: str) -> Verdict:
    return Verdict(decision=None, detail=reason)
