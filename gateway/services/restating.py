"""Restating: what an operator changed of our answers, told to the grid over one connection."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.event import EventRecord, EventState, state
from gateway.domain.operator import OperatorCommand
from gateway.ledger import Ledger, LedgerUnavailable, LogEntry, Topic
from gateway.services.readiness import Backoff
from protocols.errors import MessageError, ProtocolError, Rejected
from protocols.grid import GridConnection, OptDecision

log = structlog.get_logger()

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 60.0
WANTS_NONE = "it wants no answer to this event"


class Restating:
    """Each change is told once. Where that fails it is tried again later, and the conversation goes on meanwhile."""

    def __init__(self, *, connection: GridConnection, ledger: Ledger, clock: Clock) -> None:
        self._connection = connection
        self._ledger = ledger
        self._clock = clock
        self._backoff = Backoff(FIRST_RETRY_S, LONGEST_RETRY_S)
        self._again_at: datetime | None = None
        self._trouble: str | None = None
        # Set at every change of an event, and at first: an earlier life may have left something untold.
        self._changed = ledger.subscribe(Topic.EVENTS)
        self._changed.set()

    async def tell(self, answered: Collection[OptDecision]) -> str | None:
        """Tell what is untold; ``answered`` is what the grid has just heard from us anyway.

        Returns what is in the way in plain words, ``None`` where nothing is. Raises ``LedgerUnavailable``.
        """
        if self._again_at is not None and self._clock.now() < self._again_at and not answered:
            return self._trouble
        if self._trouble is None and not self._changed.is_set():
            return None
        self._changed.clear()
        try:
            return await self._tell_all(answered)
        except LedgerUnavailable:
            self._changed.set()
            raise

    async def _tell_all(self, answered: Collection[OptDecision]) -> str | None:
        self._again_at = self._trouble = None
        untold = await self._ledger.untold_commands(self._connection.connection_id)
        for event_id in dict.fromkeys(command.event_id for command in untold):
            try:
                await self._tell(event_id, [one for one in untold if one.event_id == event_id], answered)
            except (ProtocolError, OSError, TimeoutError) as fault:
                self._again_at = self._clock.now() + timedelta(seconds=self._backoff.delay_s())
                why = str(fault) or type(fault).__name__
                self._trouble = f"the grid does not know yet how we changed our answer to event {event_id}: {why}"
                return self._trouble
        self._backoff.well()
        return None

    async def _tell(
        self, event_id: str, commands: Sequence[OperatorCommand], answered: Collection[OptDecision]
    ) -> None:
        """Tell the answer that stands now, whatever came before it while the grid was away."""
        connection_id = self._connection.connection_id
        record = await self._ledger.event(connection_id, event_id)
        if record is None or record.decision is None:
            return
        refused = await self._say(record, record.decision, answered)
        for command in commands:
            await self._ledger.record_told(command.command_id, self._clock.now(), refused or "")
        told = f"we opt {record.decision.opt}" if refused is None else f"not taken by the grid: {refused}"
        log.info("answer_restated", connection=connection_id, event_id=event_id, opt=record.decision.opt, fault=refused)
        await self._ledger.record_log(
            LogEntry(
                connection_id=connection_id, event_id=event_id, at=self._clock.now(), what="grid told", detail=told
            )
        )

    async def _say(self, record: EventRecord, decision: OptDecision, answered: Collection[OptDecision]) -> str | None:
        """Why the grid takes no notice of our answer, ``None`` where it has it."""
        if not record.event.response_required:
            return WANTS_NONE
        if decision in answered:
            return None
        now = self._clock.now()
        try:
            return await self._connection.restate(decision, now)
        except (Rejected, MessageError) as fault:
            # It may pass, but an event that is over is not worth a connection that is never well again.
            if state(record, now) in {EventState.COMPLETED, EventState.CANCELLED}:
                return str(fault)
            raise
