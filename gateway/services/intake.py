"""Intake: from one connection's messages to durable events and answers."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

import structlog

from gateway.clock import Clock
from gateway.domain.contract import Program
from gateway.domain.contract_answer import left_after, within_contract
from gateway.domain.event import Change, ChangeKind, EventRecord, EventState, acts, changes, decide, state
from gateway.domain.operator import kept_out
from gateway.domain.opting import own_word, scheduled_out, standing_schedules
from gateway.domain.random_start import begun_late, cancelled_late, delay_s
from gateway.ledger import Ledger, LogEntry, Quarantined
from gateway.services.readiness import EXPECTED_FAULTS, Backoff, Readiness
from gateway.services.restating import Restating
from protocols.errors import MessageError
from protocols.grid import (
    AimedConnection,
    EventBatch,
    EventStatus,
    GridConnection,
    GridEvent,
    Opt,
    OptDecision,
    Refusal,
    WakingConnection,
)

log = structlog.get_logger()

_UTC = ZoneInfo("UTC")

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 60.0
REFUSED = "the events could not be processed"


class Intake:
    """Takes what one connection brings. An event is acknowledged only when it and our decision are durable.

    A batch stays pending until it was answered: while the ledger or the connection is down it is tried again, and
    nothing is asked of the grid in between.

    A random start that an event asks for is drawn here, once for all that follows: what is on record begins when we do.
    So is the random end of one that is cancelled while it runs. ``site_id`` has sites draw differently.
    """

    def __init__(
        self,
        *,
        connection: GridConnection,
        ledger: Ledger,
        clock: Clock,
        programs: Mapping[str, Program],
        readiness: Readiness,
        zone: ZoneInfo = _UTC,
        site_id: str = "",
    ) -> None:
        self._zone = zone
        self._site_id = site_id
        self._connection = connection
        self._ledger = ledger
        self._clock = clock
        self._programs = programs
        self._readiness = readiness
        self._restating = Restating(connection=connection, ledger=ledger, clock=clock)
        self._pending: EventBatch | None = None
        self._part = f"connection {connection.connection_id}"
        # What is sent to us unasked is taken at once.
        self._woken = connection.woken if isinstance(connection, WakingConnection) else asyncio.Event()
        self._not_ours = connection.not_ours if isinstance(connection, AimedConnection) else None
        readiness.expect(self._part)

    async def run(self, stop: asyncio.Event) -> None:
        """Take turn after turn until told to stop."""
        backoff = Backoff(min(FIRST_RETRY_S, self._connection.poll_s), LONGEST_RETRY_S)
        while not stop.is_set():
            wakes = [stop]
            self._woken.clear()
            try:
                answered = await self._turn()
                untold = await self._restating.tell(answered)
            except MessageError as fault:
                # We are connected: the message is set aside, and the next one may be better.
                await self._set_aside(fault)
                backoff.well()
                delay_s = self._connection.poll_s
            except EXPECTED_FAULTS as fault:
                self._readiness.faulty(self._part, str(fault) or type(fault).__name__)
                delay_s = backoff.delay_s()
            else:
                if untold is None:
                    self._readiness.well(self._part)
                else:
                    self._readiness.faulty(self._part, untold)
                backoff.well()
                delay_s = self._connection.poll_s
                wakes.append(self._woken)
            await self._clock.wait(self._clock.now() + timedelta(seconds=delay_s), *wakes)

    async def _turn(self) -> tuple[OptDecision, ...]:
        """Take what is new and answer it; returns the answers."""
        batch = self._pending or await self._connection.receive(self._clock.now())
        if batch is None:
            return ()
        self._pending = batch
        decisions: tuple[OptDecision, ...] = ()
        try:
            decisions = await self._take(batch)
        except EXPECTED_FAULTS:
            raise
        except Exception as bug:  # noqa: BLE001 - whatever a message does to us, it must not stop the others
            await self._quarantine(batch, bug)
            await self._connection.refuse(batch, REFUSED, self._clock.now())
        else:
            await self._connection.respond(batch, decisions, self._clock.now())
            for decision in decisions:
                await self._ledger.record_acknowledged(
                    decision.connection_id, decision.event_id, decision.revision, self._clock.now()
                )
        self._pending = None
        return decisions

    async def _take(self, batch: EventBatch) -> tuple[OptDecision, ...]:
        """Make the batch durable; returns one decision for each event it brought."""
        batch = replace(batch, events=tuple(begun_late(event, self._site_id) for event in batch.events))
        known = await self._known(batch)
        answers: list[OptDecision] = list(batch.faults)
        for change in changes(known, batch):
            try:
                decision = await self._record(change, known.get(change.event.event_id))
            except EXPECTED_FAULTS:
                raise
            except Exception as bug:  # noqa: BLE001 - nor must one event of a message stop the others in it
                await self._quarantine(batch, bug)
                decision = None if change.kind is ChangeKind.IMPLIED_CANCEL else _not_processed(change.event, batch)
            if decision is not None:
                answers.append(decision)
        return tuple(answers)

    async def _known(self, batch: EventBatch) -> dict[str, EventRecord]:
        """What the batch can change: this connection's events that are not over, and those that it names."""
        current = await self._ledger.events(since=batch.received_at)
        known = {
            record.event.event_id: record for record in current if record.event.connection_id == batch.connection_id
        }
        for event_id in {event.event_id for event in batch.events} - known.keys():
            record = await self._ledger.event(batch.connection_id, event_id)
            if record is not None:
                known[event_id] = record
        return known

    async def _record(self, change: Change, record: EventRecord | None) -> OptDecision | None:
        now = self._clock.now()
        event = change.event
        if change.kind is ChangeKind.IMPLIED_CANCEL:
            if not self._is_over_for_the_grid(event, now):
                if record is None or not await self._end_late(change, record, now):
                    await self._ledger.end_event(event.connection_id, event.event_id, now, change.cause)
                await self._log(change)
            return None
        if change.kind is ChangeKind.REPEATED and record is not None and record.decision is not None:
            return record.decision
        if change.kind is ChangeKind.STALE:
            return record.decision if record is not None else None
        decision = decide(event, self._programs, self._connection.party_ids, now, not_ours=self._not_ours)
        if not _is_over(event, now):
            decision = await self._within_contract(decision, event, record, now)
        if (
            record is not None
            and record.decision is not None
            and record.decision.opt is Opt.OUT
            and _is_over(event, now)
        ):
            # That it is over is acknowledged; it does not make us have taken part.
            decision = replace(decision, opt=Opt.OUT)
        answer = await self._after_the_operator(decision, event, record, now)
        if change.kind is ChangeKind.CANCELLED and record is not None:
            # Before it is on record as cancelled, which would end it at once.
            await self._end_late(change, record, now)
        # The decision first: a revision without one would stop what its forerunner had begun.
        await self._ledger.record_decision(answer)
        await self._ledger.record_event(event, now)
        again = await self._after_the_operator(decision, event, record, now)
        if again != answer:
            # The operator spoke while we recorded the revision.
            await self._ledger.record_decision(again)
        if change.kind is ChangeKind.CANCELLED:
            await self._ledger.end_event(event.connection_id, event.event_id, now, change.cause)
        await self._log(change, again)
        return again

    def _is_over_for_the_grid(self, event: GridEvent, now: datetime) -> bool:
        """Whether an event that we began late is over by the grid's time: that it lists it no more is no cancel."""
        late = timedelta(seconds=delay_s(event, self._site_id))
        return event.ends_at is not None and event.ends_at - late <= now

    async def _end_late(self, change: Change, record: EventRecord, now: datetime) -> bool:
        """Mark when an event that runs and is cancelled ends, where that is to be at random; false where it is not."""
        ends_at = cancelled_late(change.event, self._site_id, now)
        took_part = record.decision is not None and record.decision.opt is Opt.IN
        if ends_at <= now or not took_part or not acts(record.event) or state(record, now) is not EventState.ACTIVE:
            return False
        cause = f"{change.cause}; at random, {(ends_at - now).total_seconds():.0f} s later"
        await self._ledger.end_event(change.event.connection_id, change.event.event_id, ends_at, cause)
        return True

    async def _within_contract(
        self, decision: OptDecision, event: GridEvent, record: EventRecord | None, now: datetime
    ) -> OptDecision:
        """Our answer, or that the event is not within the contract. A change that moves no start keeps its notice."""
        program = self._programs.get(event.program_id)
        if program is None or program.contract is None:
            return decision
        moved = record is None or record.event.starts_at != event.starts_at
        notified_at = now if record is None or moved else record.first_received_at
        others = await self._ledger.events()
        return within_contract(decision, event, program, others, notified_at=notified_at, zone=self._zone)

    async def _left(self, event: GridEvent) -> str:
        """What its contract still allows after an event, to be added to a line of its history."""
        program = self._programs.get(event.program_id)
        if program is None or program.contract is None:
            return ""
        left = left_after(event, program, await self._ledger.events(), zone=self._zone)
        return f"; {left}" if left else ""

    async def _after_the_operator(
        self, decision: OptDecision, event: GridEvent, record: EventRecord | None, now: datetime
    ) -> OptDecision:
        """Our answer to a revision, or the operator's where they have opted out of its event."""
        if _is_over(event, now):
            return decision
        opts = await self._ledger.opts()
        standing = own_word(await self._ledger.standing_command(event.connection_id, event.event_id), opts)
        program = self._programs.get(event.program_id)
        if record is None or record.decision is None or record.decision.opt is Opt.OUT or event.starts_at > now:
            # One that we take part in already goes on: a schedule is about events to come.
            decision = scheduled_out(decision, event, program, standing_schedules(opts), standing)
        return kept_out(decision, event, program, standing, now)

    async def _log(self, change: Change, decision: OptDecision | None = None) -> None:
        event = change.event
        answer = "" if decision is None else f"; we opt {decision.opt} {decision.detail}".rstrip()
        if change.kind in {ChangeKind.NEW, ChangeKind.MODIFIED} and (later_s := delay_s(event, self._site_id)):
            answer += f"; it begins {later_s:.0f} s later, drawn at random as it asks"
        if decision is not None and decision.opt is Opt.IN and not _is_over(event, self._clock.now()):
            answer += await self._left(event)
        if decision is not None and decision.refusal is Refusal.OPERATOR:
            answer = f"; it stays {decision.detail}"
        log.info(
            "event_received",
            connection=event.connection_id,
            event_id=event.event_id,
            revision=event.revision,
            change=change.kind,
            opt=None if decision is None else decision.opt,
        )
        await self._ledger.record_log(
            LogEntry(
                connection_id=event.connection_id,
                event_id=event.event_id,
                at=self._clock.now(),
                what=str(change.kind),
                detail=f"revision {event.revision}{': ' + change.cause if change.cause else ''}{answer}",
            )
        )

    async def _quarantine(self, batch: EventBatch, bug: Exception) -> None:
        """Mark a message that we could read but not process, or not all of it."""
        log.error("batch_quarantined", connection=batch.connection_id, raw_sha256=batch.raw_sha256, exc_info=bug)
        await self._ledger.quarantine(
            Quarantined(
                connection_id=batch.connection_id,
                raw_sha256=batch.raw_sha256,
                at=self._clock.now(),
                reason=f"{type(bug).__name__}: {bug}",
            )
        )

    async def _set_aside(self, fault: MessageError) -> None:
        """Mark a message that could not be read; its bytes are kept already, and the grid has its answer."""
        self._readiness.faulty(self._part, f"its last message cannot be read: {fault}")
        item = Quarantined(
            connection_id=self._connection.connection_id,
            raw_sha256=fault.raw_sha256,
            at=self._clock.now(),
            reason=str(fault),
        )
        try:
            await self._ledger.quarantine(item)
        except EXPECTED_FAULTS as unavailable:
            log.warning("not_marked_quarantined", raw_sha256=fault.raw_sha256, reason=str(unavailable))


def _is_over(event: GridEvent, now: datetime) -> bool:
    ended = event.status in {EventStatus.CANCELLED, EventStatus.COMPLETED}
    return ended or (event.ends_at is not None and event.ends_at <= now)


def _not_processed(event: GridEvent, batch: EventBatch) -> OptDecision:
    """The answer for an event that a bug of ours kept from the record."""
    return OptDecision(
        connection_id=event.connection_id,
        event_id=event.event_id,
        revision=event.revision,
        opt=Opt.OUT,
        decided_at=batch.received_at,
        refusal=Refusal.INTERNAL_ERROR,
        detail="the event could not be processed",
    )
