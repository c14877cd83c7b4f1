"""Opting: schedules of ours, put into force and told to the grid."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

import structlog

from gateway.clock import Clock
from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, EventState, state
from gateway.domain.operator import CommandKind, CommandOutcome, OperatorCommand
from gateway.domain.opting import (
    OptCommand,
    OptKind,
    OptRecord,
    OptTold,
    judge_opt,
    keeps_out,
    said_id,
    standing_schedules,
    why_out,
)
from gateway.ledger import Ledger
from gateway.services.readiness import EXPECTED_FAULTS, Backoff, Readiness
from protocols.errors import MessageError, ProtocolError, Rejected
from protocols.grid import GridConnection, Opt, OptSchedule, Refusal

log = structlog.get_logger()

PERIOD_S = 1.0
"""Commands come from other processes, which cannot wake us."""

FIRST_RETRY_S = 5.0
LONGEST_RETRY_S = 60.0
MOST_TRIES = 4
"""Of what is answered with HTTP 500 each time: a VTN may have the service in name only (openleadr 0.5.36)."""

PART = "opting"
NO_WORD = "the protocol of this connection has no word for schedules: each event is answered when it comes"


@runtime_checkable
class TakesOpts(Protocol):
    """A connection whose protocol can say when we will not take part."""

    async def create_opt(self, schedule: OptSchedule, now: datetime) -> None:
        """Tell of a schedule, in place of one with its id. ``ValueError`` where it cannot be said."""

    async def cancel_opt(self, opt_id: str, now: datetime) -> None: ...


class Opting:
    """Acts on commands in the order in which they were given, each once, and tells them until they are heard.

    Telling again says the same under the same id, which is one schedule to whoever heard it before.
    """

    def __init__(
        self,
        *,
        connections: Sequence[GridConnection],
        programs: Mapping[str, Program],
        ledger: Ledger,
        clock: Clock,
        readiness: Readiness,
    ) -> None:
        self._connections = {one.connection_id: one for one in connections}
        self._programs = programs
        self._ledger = ledger
        self._clock = clock
        self._readiness = readiness
        self._backoff = {name: Backoff(FIRST_RETRY_S, LONGEST_RETRY_S) for name in self._connections}
        self._again_at: dict[str, datetime] = {}
        self._trouble: dict[str, str] = {}
        self._failed: dict[str, int] = {}
        readiness.expect(PART)

    async def run(self, stop: asyncio.Event) -> None:
        """Act on what is open, and tell what is untold, until told to stop."""
        while not stop.is_set():
            try:
                await self._turn()
            except EXPECTED_FAULTS as fault:
                self._readiness.faulty(PART, str(fault) or type(fault).__name__)
            else:
                if self._trouble:
                    self._readiness.faulty(PART, "; ".join(self._trouble.values()))
                else:
                    self._readiness.well(PART)
            await self._clock.wait(self._clock.now() + timedelta(seconds=PERIOD_S), stop)

    async def _turn(self) -> None:
        for record in await self._ledger.opts():
            if record.outcome is None:
                await self._act(record.command)
        records = await self._ledger.opts()
        now = self._clock.now()
        for name, connection in self._connections.items():
            ours = [one for one in records if one.command.schedule.connection_id == name]
            if now >= self._again_at.get(name, now):
                await self._tell_all(name, connection, ours)

    async def _act(self, command: OptCommand) -> None:
        records = await self._ledger.opts()
        done, detail = judge_opt(command, records, self._programs, list(self._connections))
        if done:
            # Before it is marked: where we die in between it is done again, and says the same to the same events.
            detail += await self._put_to_events(command, standing_schedules(records))
        outcome = CommandOutcome(command_id=command.command_id, at=self._clock.now(), done=done, detail=detail)
        await self._ledger.record_opt_acted(outcome)
        log.info("schedule_acted", opt_id=command.schedule.opt_id, kind=command.kind, done=done, detail=detail)

    async def _put_to_events(self, command: OptCommand, standing: Sequence[OptSchedule]) -> str:
        """Have the operator's word said to each event on record that the schedule is about; what is left, in words."""
        running = []
        others = [one for one in standing if one.opt_id != command.schedule.opt_id]
        for record in await self._ledger.events(since=self._clock.now()):
            if not keeps_out(command.schedule, record.event):
                continue
            now_state = state(record, self._clock.now())
            if command.kind is OptKind.CREATE and now_state is EventState.ACTIVE and _is_in(record):
                running.append(record.event.event_id)
            elif wish := self._wish(command, record, others):
                await self._ledger.record_command(self._said_to(record, command, wish))
        if not running:
            return ""
        return f"; {', '.join(running)} runs already and goes on: opt out of it by gridgate event opt-out"

    def _wish(self, command: OptCommand, record: EventRecord, others: Sequence[OptSchedule]) -> CommandKind | None:
        """What is to be asked of an event that the schedule is about, ``None`` for nothing."""
        program = self._programs.get(record.event.program_id)
        if program is not None and program.mandatory:
            return None
        if command.kind is OptKind.CREATE:
            return CommandKind.OPT_OUT if _is_in(record) else None
        ours = record.decision is not None and record.decision.refusal is Refusal.OPERATOR
        by_this = ours and why_out(command.schedule) in (record.decision.detail if record.decision else "")
        return CommandKind.OPT_IN if by_this and not any(keeps_out(one, record.event) for one in others) else None

    def _said_to(self, record: EventRecord, command: OptCommand, kind: CommandKind) -> OperatorCommand:
        return OperatorCommand(
            command_id=said_id(command, record.event.event_id),
            at=self._clock.now(),
            by=command.by,
            kind=kind,
            connection_id=record.event.connection_id,
            event_id=record.event.event_id,
            reason=why_out(command.schedule) + ("" if kind is CommandKind.OPT_OUT else ", cancelled"),
        )

    async def _tell_all(self, name: str, connection: GridConnection, records: Sequence[OptRecord]) -> None:
        self._again_at.pop(name, None)
        self._trouble.pop(name, None)
        told = {one.command.schedule.opt_id: one.told for one in records if one.command.kind is OptKind.CREATE}
        for record in records:
            if not record.done or record.told is not None:
                continue
            schedule = record.command.schedule
            created = told.get(schedule.opt_id)
            if record.command.kind is OptKind.CANCEL and created is not None and not created.taken:
                said = self._told(record, taken=True)
            else:
                try:
                    said = await self._tell(connection, record)
                except (ProtocolError, OSError, TimeoutError) as fault:
                    self._again_at[name] = self._clock.now() + timedelta(seconds=self._backoff[name].delay_s())
                    self._trouble[name] = f"{name} does not know yet of schedule {schedule.opt_id}: {fault}"
                    return
            await self._ledger.record_opt_told(said)
            if record.command.kind is OptKind.CREATE:
                told[schedule.opt_id] = said
        self._backoff[name].well()

    async def _tell(self, connection: GridConnection, record: OptRecord) -> OptTold:
        """What the grid made of a command. Raises what may pass."""
        if not isinstance(connection, TakesOpts):
            return self._told(record, taken=False, detail=NO_WORD)
        schedule, now = record.command.schedule, self._clock.now()
        try:
            if record.command.kind is OptKind.CREATE:
                await connection.create_opt(schedule, now)
            else:
                await connection.cancel_opt(schedule.opt_id, now)
        except (Rejected, ValueError) as fault:
            if isinstance(fault, Rejected) and self._may_pass(fault, record.command.command_id):
                raise
            return self._told(record, taken=False, detail=str(fault))
        except MessageError as fault:
            return self._told(record, taken=False, detail=f"its answer cannot be read: {fault}")
        return self._told(record, taken=True)

    def _may_pass(self, fault: Rejected, command_id: str) -> bool:
        """Whether saying it again may help."""
        if fault.code == "500":
            self._failed[command_id] = self._failed.get(command_id, 0) + 1
            return self._failed[command_id] < MOST_TRIES
        return fault.code.startswith("5") and fault.code != "501"

    def _told(self, record: OptRecord, *, taken: bool, detail: str = "") -> OptTold:
        return OptTold(command_id=record.command.command_id, at=self._clock.now(), taken=taken, detail=detail)


def _is_in(record: EventRecord) -> bool:
    return record.decision is not None and record.decision.opt is Opt.IN
