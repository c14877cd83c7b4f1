"""Intake: from one connection's messages to durable events and answers."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.contract import Program
from gateway.domain.event import Change, ChangeKind, EventRecord, changes, decide
from gateway.ledger import Ledger, LogEntry, Quarantined
from gateway.services.readiness import EXPECTED_FAULTS, Backoff, Readiness
from protocols.errors import MessageError
from protocols.grid import EventBatch, GridConnection, OptDecision

log = structlog.get_logger()

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 60.0
LOOK_BACK = timedelta(days=30)
"""What ended longer ago cannot be changed by a message any more."""


class Intake:
    """Polls one connection. An event is acknowledged only when it and our decision are durable.

    A batch stays pending until it was answered: while the ledger or the connection is down it is tried again, and
    nothing is asked of the grid in between.
    """

    def __init__(
        self,
        *,
        connection: GridConnection,
        ledger: Ledger,
        clock: Clock,
        programs: Mapping[str, Program],
        readiness: Readiness,
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._clock = clock
        self._programs = programs
        self._readiness = readiness
        self._pending: EventBatch | None = None
        self._part = f"connection {connection.connection_id}"

    async def run(self, stop: asyncio.Event) -> None:
        """Take turn after turn until told to stop."""
        backoff = Backoff(min(FIRST_RETRY_S, self._connection.poll_s), LONGEST_RETRY_S)
        while not stop.is_set():
            try:
                await self._turn()
            except MessageError as fault:
                # The connection itself works: the message is set aside, and the next one may be better.
                await self._set_aside(fault)
                delay_s = self._connection.poll_s
            except EXPECTED_FAULTS as fault:
                self._readiness.faulty(self._part, str(fault) or type(fault).__name__)
                delay_s = backoff.delay_s()
            else:
                self._readiness.well(self._part)
                backoff.well()
                delay_s = self._connection.poll_s
            await self._clock.wait(self._clock.now() + timedelta(seconds=delay_s), stop)

    async def _turn(self) -> None:
        batch = self._pending or await self._connection.receive(self._clock.now())
        if batch is None:
            return
        self._pending = batch
        try:
            decisions = await self._take(batch)
        except EXPECTED_FAULTS:
            raise
        except Exception as bug:  # noqa: BLE001 - whatever a message does to us, it must not stop the others
            await self._refuse(batch, bug)
        else:
            await self._connection.respond(batch, decisions, self._clock.now())
            for decision in decisions:
                await self._ledger.record_acknowledged(
                    decision.connection_id, decision.event_id, decision.revision, self._clock.now()
                )
        self._pending = None

    async def _take(self, batch: EventBatch) -> tuple[OptDecision, ...]:
        """Make the batch durable; returns one decision for each event it brought."""
        known = {
            record.event.event_id: record
            for record in await self._ledger.events(since=self._clock.now() - LOOK_BACK)
            if record.event.connection_id == batch.connection_id
        }
        answers: list[OptDecision] = list(batch.faults)
        for change in changes(known, batch):
            decision = await self._record(change, known.get(change.event.event_id))
            if decision is not None:
                answers.append(decision)
        return tuple(answers)

    async def _record(self, change: Change, record: EventRecord | None) -> OptDecision | None:
        now = self._clock.now()
        event = change.event
        if change.kind is ChangeKind.IMPLIED_CANCEL:
            await self._ledger.end_event(event.connection_id, event.event_id, now, change.cause)
            await self._log(change)
            return None
        if change.kind is ChangeKind.REPEATED and record is not None and record.decision is not None:
            return record.decision
        if change.kind is ChangeKind.STALE:
            return record.decision if record is not None else None
        decision = decide(event, self._programs, self._connection.party_ids, now)
        await self._ledger.record_event(event, now)
        if change.kind is ChangeKind.CANCELLED:
            await self._ledger.end_event(event.connection_id, event.event_id, now, change.cause)
        await self._ledger.record_decision(decision)
        await self._log(change, decision)
        return decision

    async def _log(self, change: Change, decision: OptDecision | None = None) -> None:
        event = change.event
        answer = "" if decision is None else f"; we opt {decision.opt} {decision.detail}".rstrip()
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

    async def _refuse(self, batch: EventBatch, bug: Exception) -> None:
        """Set a batch aside that we could read but not process, and tell the grid so."""
        reason = f"{type(bug).__name__}: {bug}"
        log.error("batch_quarantined", connection=batch.connection_id, raw_sha256=batch.raw_sha256, exc_info=bug)
        await self._ledger.quarantine(
            Quarantined(
                connection_id=batch.connection_id,
                raw_sha256=batch.raw_sha256,
                at=self._clock.now(),
                reason=reason,
            )
        )
        await self._connection.refuse(batch, "the events could not be processed", self._clock.now())

    async def _set_aside(self, fault: MessageError) -> None:
        log.warning("message_quarantined", connection=self._connection.connection_id, reason=str(fault))
        item = Quarantined(
            connection_id=self._connection.connection_id,
            raw_sha256=fault.raw_sha256,
            at=self._clock.now(),
            reason=str(fault),
        )
        try:
            await self._ledger.quarantine(item)
        except EXPECTED_FAULTS as unavailable:
            # The bytes are kept already, and the grid has its answer: only the mark is missing.
            self._readiness.faulty("ledger", str(unavailable))
