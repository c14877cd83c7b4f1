"""Delivering: what waits for parties of our VTNs is brought to those that listen instead of asking."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from gateway.clock import Clock
from gateway.services.readiness import EXPECTED_FAULTS, Readiness

PERIOD_S = 1.0


@runtime_checkable
class Delivers(Protocol):
    """A VTN that brings messages to those who asked for that."""

    @property
    def connection_id(self) -> str: ...

    async def deliver_due(self, now: datetime) -> object:
        """Bring what is due. Who does not answer is tried again later."""


class Delivering:
    """Has every VTN deliver each second. For a party that cannot be reached its VTN waits: that is no fault here."""

    def __init__(self, *, programs: Sequence[Delivers], clock: Clock, readiness: Readiness) -> None:
        self._programs = tuple(programs)
        self._clock = clock
        self._readiness = readiness
        for program in self._programs:
            readiness.expect(_part(program))

    async def run(self, stop: asyncio.Event) -> None:
        """Deliver until told to stop. One VTN that is slow does not hold up the others."""
        async with asyncio.TaskGroup() as group:
            for program in self._programs:
                group.create_task(self._run(program, stop))

    async def _run(self, program: Delivers, stop: asyncio.Event) -> None:
        while not stop.is_set():
            try:
                await program.deliver_due(self._clock.now())
            except EXPECTED_FAULTS as fault:
                self._readiness.faulty(_part(program), str(fault) or type(fault).__name__)
            else:
                self._readiness.well(_part(program))
            await self._clock.wait(self._clock.now() + timedelta(seconds=PERIOD_S), stop)


def _part(program: Delivers) -> str:
    return f"vtn {program.connection_id}"
