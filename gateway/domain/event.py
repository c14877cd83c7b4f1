"""What we hold true about an event: its state machine, what a newly arrived batch changes, and what we answer.

Terms are OpenADR 2.0b's (EiEvent), where they are the same in 3.x. ``x-eiRampUp`` and ``x-eiRecovery`` are signed: a
positive ramp runs from the event's start on and a positive recovery from its end on, a negative one ends there.
"""

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from datetime import datetime, timedelta
from enum import StrEnum

from gateway.domain.contract import Program
from gateway.domain.governing import governing_signal, is_noted, not_understood
from protocols.grid import EventBatch, EventStatus, GridEvent, Opt, OptDecision, Refusal, SignalKind

NEAR_S = 900.0
"""How long before its start an event without a ramp of its own before it is near."""

_LONGEST_S = 10 * 366 * 86400.0


class EventState(StrEnum):
    """Where one event stands for us at one instant."""

    FAR = "far"
    NEAR = "near"
    ACTIVE = "active"
    COMPLETED = "completed"
    CANCELLED = "cancelled"
    SUPERSEDED = "superseded"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventRecord:
    """An event as the ledger holds it: its latest revision, and what we did about it.

    ``decision`` and ``acknowledged_at`` belong to this revision. ``ended_at`` is set once it was cancelled (by the
    grid's word, or by implication), with ``end_cause`` in plain words. ``restated_at`` is when the grid was last told
    that an operator changed our answer. ``left_at`` is when an operator opted out of it and we are out since, ``None``
    where none did: up to then we took part.
    """

    event: GridEvent
    first_received_at: datetime
    received_at: datetime
    decision: OptDecision | None = None
    acknowledged_at: datetime | None = None
    ended_at: datetime | None = None
    end_cause: str = ""
    restated_at: datetime | None = None
    left_at: datetime | None = None


EventVersion = tuple[str, str, int, datetime | None]
"""Connection, event, revision, and when it was ended early."""


def is_answer_told(record: EventRecord) -> bool:
    """Whether the grid has the answer that stands now, not an earlier one."""
    told = (record.acknowledged_at, record.restated_at)
    return record.decision is not None and any(at is not None and at >= record.decision.decided_at for at in told)


def ramp_starts_at(event: GridEvent) -> datetime:
    """When power begins to move: before the start for a negative ramp, else at the start."""
    return event.starts_at + timedelta(seconds=min(0.0, event.ramp_up_s))


def near_starts_at(event: GridEvent) -> datetime:
    """From when the event is near, "pending soon".

    2.0b leaves the length to the market and wants it to begin with the ramp-up period. So it does where a ramp runs
    before the start; without one it begins ``NEAR_S`` before the start.
    """
    ramp = ramp_starts_at(event)
    return ramp if ramp < event.starts_at else event.starts_at - timedelta(seconds=NEAR_S)


def cancelled_at(record: EventRecord) -> datetime | None:
    """When the event was cancelled, ``None`` where it was not, or only once it was over by its own time.

    An event that we never knew otherwise than cancelled counts as cancelled before it began.
    """
    event = record.event
    if event.status is EventStatus.CANCELLED and record.first_received_at == record.received_at:
        return min(event.starts_at, record.received_at)
    at = record.ended_at
    if at is None and event.status is EventStatus.CANCELLED:
        at = record.received_at
    if at is None or (event.ends_at is not None and at >= event.ends_at):
        return None
    return at


def _over_at(record: EventRecord) -> datetime | None:
    event = record.event
    by_word = record.received_at if event.status is EventStatus.COMPLETED else None
    ends = (event.ends_at, cancelled_at(record), by_word)
    return min((end for end in ends if end is not None), default=None)


def effective_end(record: EventRecord) -> datetime | None:
    """End of the period that counts for settlement; ``None`` while the event is open ended and not ended.

    An event cancelled in its middle counts up to the cancellation, one cancelled before its start has an empty period
    (the end is the start).
    """
    over_at = _over_at(record)
    return None if over_at is None else max(over_at, record.event.starts_at)


def took_part_until(record: EventRecord) -> datetime | None:
    """As ``effective_end``, but no later than when an operator opted out; the start where we never took part."""
    start, end = record.event.starts_at, effective_end(record)
    if record.left_at is not None:
        left_at = max(record.left_at, start)
        return left_at if end is None else min(left_at, end)
    return start if record.decision is None or record.decision.opt is not Opt.IN else end


def version(record: EventRecord) -> EventVersion:
    """What of an event is settled once: another revision, or another end, is settled anew."""
    return record.event.connection_id, record.event.event_id, record.event.revision, record.ended_at


def dispatch_ends_at(record: EventRecord) -> datetime | None:
    """When the last of our caps goes: after a positive recovery, or at once where the event was cut short.

    ``None`` while the event is open ended and not ended.
    """
    over_at = _over_at(record)
    if over_at is None or over_at != record.event.ends_at:
        return over_at
    return over_at + timedelta(seconds=max(0.0, record.event.recovery_s))


def state(record: EventRecord, now: datetime) -> EventState:
    """Where the latest revision stands at ``now``, by our own clock and not by the sender's status.

    Never ``SUPERSEDED``: that is the state of an older revision, see ``revision_state``.
    """
    over_at = _over_at(record)
    if over_at is not None and now >= over_at:
        return EventState.COMPLETED if cancelled_at(record) is None else EventState.CANCELLED
    if now >= record.event.starts_at:
        return EventState.ACTIVE
    return EventState.NEAR if now >= near_starts_at(record.event) else EventState.FAR


def revision_state(record: EventRecord, revision: int, now: datetime) -> EventState:
    """Where one revision stands: ``SUPERSEDED`` once a higher one is known, else as ``state`` says."""
    return EventState.SUPERSEDED if revision < record.event.revision else state(record, now)


def acts(event: GridEvent) -> bool:
    """Whether an event may move power at all: a test event is answered and never actuated (2.0b, testEvent)."""
    return not event.test and event.status is not EventStatus.CANCELLED


def acts_at(record: EventRecord, now: datetime) -> bool:
    """As ``acts``, where an event that is cancelled and ends at a random instant goes on up to there."""
    if record.event.status is not EventStatus.CANCELLED:
        return acts(record.event)
    ends_at = cancelled_at(record)
    return not record.event.test and ends_at is not None and now < ends_at


class ChangeKind(StrEnum):
    """What one event of a batch means to us."""

    NEW = "new"
    MODIFIED = "modified"
    """A higher revision of an event that we know."""
    CANCELLED = "cancelled"
    """The sender ended it (the revision may be a new one, which is to be kept as well)."""
    IMPLIED_CANCEL = "implied cancel"
    """We know it, it is not over, and a message that lists every event does not list it."""
    REPEATED = "repeated"
    """Known already: nothing to do but to answer again."""
    STALE = "stale"
    """A lower revision than the one we hold: ignored."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """One event of a batch against what we know. ``event`` is the known one where the batch has none.

    ``cause`` says in plain words why, where the kind alone does not.
    """

    kind: ChangeKind
    event: GridEvent
    cause: str = ""


def changes(known: Mapping[str, EventRecord], batch: EventBatch) -> tuple[Change, ...]:
    """What a batch changes; ``known`` are this connection's records by event_id.

    In the order of the batch, implied cancels last. Once they are applied the same batch gives only ``REPEATED`` (and
    ``STALE``, where it carried an old revision). An event that could not be read is there all the same: it is never
    cancelled by implication.
    """
    highest: dict[str, int] = {}
    for event in batch.events:
        highest[event.event_id] = max(event.revision, highest.get(event.event_id, event.revision))
    found: list[Change] = []
    taken: set[str] = set()
    for event in batch.events:
        if event.revision < highest[event.event_id]:
            found.append(Change(kind=ChangeKind.STALE, event=event, cause="the same message has a higher revision"))
        elif event.event_id in taken:
            found.append(Change(kind=ChangeKind.REPEATED, event=event, cause="listed twice in one message"))
        else:
            taken.add(event.event_id)
            found.append(_change(event, known.get(event.event_id)))
    if batch.complete:
        listed = taken | {fault.event_id for fault in batch.faults}
        found += [
            Change(
                kind=ChangeKind.IMPLIED_CANCEL,
                event=record.event,
                cause="cancelled by implication: no longer among the events that the sender lists",
            )
            for event_id, record in known.items()
            if event_id not in listed and _can_be_implied(record, batch)
        ]
    return tuple(found)


def _can_be_implied(record: EventRecord, batch: EventBatch) -> bool:
    ours = record.event.connection_id == batch.connection_id
    over = (EventState.COMPLETED, EventState.CANCELLED)
    return ours and record.ended_at is None and state(record, batch.received_at) not in over


def _change(event: GridEvent, record: EventRecord | None) -> Change:
    cancelled = event.status is EventStatus.CANCELLED
    if record is None or event.revision > record.event.revision:
        if cancelled:
            return Change(kind=ChangeKind.CANCELLED, event=event, cause="cancelled by the sender")
        return Change(kind=ChangeKind.NEW if record is None else ChangeKind.MODIFIED, event=event)
    if event.revision < record.event.revision:
        return Change(kind=ChangeKind.STALE, event=event, cause=f"we hold revision {record.event.revision}")
    return _same_revision(event, record)


def _same_revision(event: GridEvent, record: EventRecord) -> Change:
    cancelled = event.status is EventStatus.CANCELLED
    if record.ended_at is not None or record.event.status is EventStatus.CANCELLED:
        # Only a higher revision takes a cancellation back, so that an old message cannot start an event again.
        cause = "" if cancelled else "ended for us already; only a higher revision takes that back"
        return Change(kind=ChangeKind.REPEATED, event=event, cause=cause)
    if cancelled:
        # 2.0b wants a higher revision here; a cancel that forgot it is a cancel all the same.
        return Change(kind=ChangeKind.CANCELLED, event=event, cause="cancelled by the sender, at the same revision")
    ended_by_word = event.status is EventStatus.COMPLETED and record.event.status is not EventStatus.COMPLETED
    if ended_by_word and record.event.duration_s is None:
        return Change(kind=ChangeKind.CANCELLED, event=event, cause="open ended, and completed by the sender's word")
    return Change(kind=ChangeKind.REPEATED, event=event)


def decide(
    event: GridEvent,
    programs: Mapping[str, Program],
    party_ids: Collection[str],
    now: datetime,
    *,
    not_ours: Callable[[GridEvent], str | None] | None = None,
) -> OptDecision:
    """Our answer to an event: in where the program is ours, the targets include us and a signal is understood.

    ``programs`` by program_id; ``party_ids`` are the ids under which this connection's counterparty knows us. A
    connection that judges targets itself says by ``not_ours`` why an event is not for us. An event that is cancelled or
    completed is acknowledged with opt in, as 2.0b's counterparties expect. A price, or another notice, is noted: we opt
    in, and nothing is dispatched for it.
    """
    refusal, detail = _verdict(event, programs, not_ours or (lambda event: _not_by_id(event, party_ids)), now)
    return OptDecision(
        connection_id=event.connection_id,
        event_id=event.event_id,
        revision=event.revision,
        opt=Opt.IN if refusal is None else Opt.OUT,
        decided_at=now,
        refusal=refusal,
        detail=detail,
    )


def _verdict(
    event: GridEvent, programs: Mapping[str, Program], not_ours: Callable[[GridEvent], str | None], now: datetime
) -> tuple[Refusal | None, str]:
    fault = _fault(event)
    if fault is not None:
        return Refusal.INVALID, fault
    if event.status is EventStatus.CANCELLED:
        return None, "the cancellation is acknowledged"
    if event.status is EventStatus.COMPLETED or (event.ends_at is not None and event.ends_at <= now):
        return None, "over already: acknowledged, nothing is done for it"
    meant_for = not_ours(event)
    if meant_for is not None:
        return Refusal.NOT_OUR_TARGET, meant_for
    program = programs.get(event.program_id)
    if program is None:
        return Refusal.PROGRAM_UNKNOWN, f"no program {event.program_id!r} is declared here"
    return _signal_verdict(event, program)


def _not_by_id(event: GridEvent, party_ids: Collection[str]) -> str | None:
    named = {target.value for target in event.targets if target.kind == "ven"}
    return f"meant for {', '.join(sorted(named))}" if named and named.isdisjoint(party_ids) else None


def _signal_verdict(event: GridEvent, program: Program) -> tuple[Refusal | None, str]:
    signal = governing_signal(event, program)
    test = "; a test event: answered, not acted on" if event.test else ""
    if signal is not None:
        return None, f"{signal.name} governs{test}"
    if program.signal is None and any(is_noted(signal) for signal in event.signals):
        priced = any(signal.kind is SignalKind.PRICE for signal in event.signals)
        noted = "the price" if priced else "what it says"
        return None, f"{noted} is noted, no reduction follows from it{test}"
    return Refusal.SIGNAL_NOT_UNDERSTOOD, _why_no_signal(event, program)


def _fault(event: GridEvent) -> str | None:
    lengths = [event.duration_s or 0.0]
    lengths += [interval.duration_s or 0.0 for signal in event.signals for interval in signal.intervals]
    signed = [event.ramp_up_s, event.recovery_s]
    if not all(abs(length) <= _LONGEST_S for length in lengths + signed):
        return "a duration is no number, or longer than ten years"
    if min(lengths) < 0:
        return "a duration is negative"
    return None


def _why_no_signal(event: GridEvent, program: Program) -> str:
    if not event.signals:
        return "the event carries no signal"
    if program.signal is not None and program.signal.casefold() not in {s.name.casefold() for s in event.signals}:
        return f"program {program.program_id} is governed by {program.signal}, which the event does not carry"
    reasons = [not_understood(signal, program) for signal in event.signals]
    return "; ".join(reason for reason in reasons if reason is not None)
