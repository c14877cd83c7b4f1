"""Operating: what operators asked for, put into effect."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.contract import Program
from gateway.domain.event import EventRecord
from gateway.domain.operator import CommandKind, CommandOutcome, OperatorCommand, Verdict, judge, said_by
from gateway.ledger import Ledger, LogEntry
from gateway.services.readiness import EXPECTED_FAULTS, Readiness

log = structlog.get_logger()

PERIOD_S = 1.0
"""Commands come from other processes, which cannot wake us."""

PART = "operating"


class Operating:
    """Acts on commands in the order in which they were given, each once. The new answer is what wakes dispatch."""

    def __init__(self, *, programs: Mapping[str, Program], ledger: Ledger, clock: Clock, readiness: Readiness) -> None:
        self._programs = programs
        self._ledger = ledger
        self._clock = clock
        self._readiness = readiness
        readiness.expect(PART)

    async def run(self, stop: asyncio.Event) -> None:
        """Act on what is open until told to stop."""
        while not stop.is_set():
            try:
                for command in await self._ledger.open_commands():
                    await self._act(command)
            except EXPECTED_FAULTS as fault:
                self._readiness.faulty(PART, str(fault) or type(fault).__name__)
            else:
                self._readiness.well(PART)
            await self._clock.wait(self._clock.now() + timedelta(seconds=PERIOD_S), stop)

    async def _act(self, command: OperatorCommand) -> None:
        before = await self._ledger.standing_command(command.connection_id, command.event_id)
        record = await self._ledger.event(command.connection_id, command.event_id)
        verdict = self._judge(command, record, before)
        done = verdict.decision is not None
        outcome = CommandOutcome(command_id=command.command_id, at=self._clock.now(), done=done, detail=verdict.detail)
        await self._ledger.record_acted(outcome, verdict.decision, self._in_history(command, verdict))
        log.info(
            "operator_obeyed" if done else "operator_refused",
            connection=command.connection_id,
            event_id=command.event_id,
            kind=command.kind,
            by=command.by,
            detail=verdict.detail,
        )
        await self._follow(command, record, before)

    async def _follow(
        self, command: OperatorCommand, record: EventRecord | None, before: OperatorCommand | None
    ) -> None:
        """Have the command hold also for a revision that came while we acted on it."""
        latest = await self._ledger.event(command.connection_id, command.event_id)
        if record is None or latest is None or latest.event.revision == record.event.revision:
            return
        decision = self._judge(command, latest, before).decision
        if decision is not None:
            await self._ledger.record_decision(decision)

    def _judge(self, command: OperatorCommand, record: EventRecord | None, before: OperatorCommand | None) -> Verdict:
        program = None if record is None else self._programs.get(record.event.program_id)
        return judge(command, record, program, before, self._clock.now())

    def _in_history(self, command: OperatorCommand, verdict: Verdict) -> LogEntry:
        asked = "opt-out" if command.kind is CommandKind.OPT_OUT else "opt-in"
        refused = verdict.decision is None
        return LogEntry(
            connection_id=command.connection_id,
            event_id=command.event_id,
            at=self._clock.now(),
            what=f"{asked} refused" if refused else asked,
            detail=f"{verdict.detail} (asked by {command.by}: {command.reason})" if refused else said_by(command),
        )
