"""Issuing: what the utility's people asked for at the terminal, put to the parties below us through our VTNs."""

import asyncio
from collections.abc import Mapping
from datetime import timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.issuing import IssueCommand, IssueKind, NothingChanges, changed_event, new_event
from gateway.domain.operator import CommandOutcome
from gateway.ledger import Ledger
from gateway.services.party_asking import ask_party
from gateway.services.readiness import EXPECTED_FAULTS, Readiness
from protocols.errors import QueueFull
from protocols.grid import GridEvent, GridProgram

log = structlog.get_logger()

PERIOD_S = 1.0
"""Commands come from other processes, which cannot wake us."""

PART = "issuing"


class Issuing:
    """Acts on commands about our own events in the order in which they were given, each once.

    A command that was acted on and not marked (we died in between) is acted on again: an event that stands already as
    it asks is left as it is.
    """

    def __init__(
        self, *, programs: Mapping[str, GridProgram], ledger: Ledger, clock: Clock, readiness: Readiness
    ) -> None:
        self._programs = programs
        self._ledger = ledger
        self._clock = clock
        self._readiness = readiness
        readiness.expect(PART)

    async def run(self, stop: asyncio.Event) -> None:
        """Act on what is open until told to stop."""
        while not stop.is_set():
            try:
                for command in await self._ledger.open_issues():
                    await self._act(command)
            except EXPECTED_FAULTS as fault:
                self._readiness.faulty(PART, str(fault) or type(fault).__name__)
            else:
                self._readiness.well(PART)
            await self._clock.wait(self._clock.now() + timedelta(seconds=PERIOD_S), stop)

    async def _act(self, command: IssueCommand) -> None:
        try:
            detail = await self._done(command)
        except (ValueError, QueueFull) as fault:
            done, detail = False, str(fault)
        else:
            done = True
        outcome = CommandOutcome(command_id=command.command_id, at=self._clock.now(), done=done, detail=detail)
        await self._ledger.record_issued(outcome)
        log.info(
            "issued" if done else "not_issued",
            connection=command.connection_id,
            event_id=command.event_id,
            kind=command.kind,
            by=command.by,
            detail=detail,
        )

    async def _done(self, command: IssueCommand) -> str:
        """Do it, and say so in plain words. Raises ``ValueError`` with why not."""
        program = self._programs.get(command.connection_id)
        if program is None:
            raise ValueError(f"this gateway has no VTN called {command.connection_id!r}")
        if command.asked is not None:
            return await ask_party(program, command, command.asked, self._clock.now())
        known = {event.event_id: event for event in await program.events()}.get(command.event_id)
        if command.kind is IssueKind.CREATE:
            return await self._create(program, command, known)
        if known is None:
            raise ValueError(f"no event {command.event_id!r} was issued by {command.connection_id}")
        if command.kind is IssueKind.CANCEL:
            await program.cancel(command.event_id)
            return f"event {command.event_id} is cancelled"
        try:
            event = changed_event(known, command.wish, self._clock.now())
        except NothingChanges as so:
            return str(so)
        await program.publish(event)
        return f"event {event.event_id} is changed: revision {event.revision}"

    async def _create(self, program: GridProgram, command: IssueCommand, known: GridEvent | None) -> str:
        event = new_event(command, self._clock.now())
        if known is None:
            await program.publish(event)
        elif known.signals != event.signals:
            raise ValueError(f"event {command.event_id!r} is there already: change it, or choose another id")
        return f"event {event.event_id} is offered to {'those it is aimed at' if event.targets else 'all parties'}"
