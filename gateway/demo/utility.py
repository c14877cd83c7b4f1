"""The demonstration's utility: it calls events through a VTN of ours."""

import asyncio
from dataclasses import dataclass
from datetime import timedelta

import structlog

from gateway.clock import Clock
from protocols.grid import EventInterval, EventStatus, GridEvent, GridProgram, Signal, SignalKind

log = structlog.get_logger()


@dataclass(frozen=True, slots=True, kw_only=True)
class Schedule:
    """When the demonstration's utility asks, in seconds: first call after the start, notice, length, pause between."""

    first_s: float
    notice_s: float
    duration_s: float
    again_after_s: float | None


class Utility:
    """The other side: publishes an event through its VTN when a VEN has registered, and again if it is to."""

    def __init__(self, *, program: GridProgram, program_id: str, schedule: Schedule, clock: Clock) -> None:
        self._program = program
        self._program_id = program_id
        self._schedule = schedule
        self._clock = clock

    async def run(self, stop: asyncio.Event) -> None:
        """Publish event after event until told to stop."""
        await self._clock.wait(self._clock.now() + timedelta(seconds=self._schedule.first_s), stop)
        number = 1
        while not stop.is_set():
            if not await self._program.parties():
                await self._clock.wait(self._clock.now() + timedelta(seconds=1), stop)
                continue
            event = self._event(number)
            await self._program.publish(event)
            log.info("utility_calls", event_id=event.event_id, starts_at=event.starts_at.isoformat())
            if self._schedule.again_after_s is None:
                return
            pause_s = self._schedule.notice_s + self._schedule.duration_s + self._schedule.again_after_s
            await self._clock.wait(self._clock.now() + timedelta(seconds=pause_s), stop)
            number += 1

    def _event(self, number: int) -> GridEvent:
        now = self._clock.now()
        # Whole minutes look better on a page, and are what the site's meter intervals are.
        starts_at = (now + timedelta(seconds=self._schedule.notice_s + 59)).replace(second=0, microsecond=0)
        signal = Signal(
            name="SIMPLE",
            kind=SignalKind.LEVEL,
            dialect_kind="level",
            intervals=(EventInterval(starts_at=starts_at, duration_s=self._schedule.duration_s, value=2.0),),
        )
        return GridEvent(
            event_id=f"demo-{now:%Y%m%d}-{number}",
            connection_id=self._program.connection_id,
            program_id=self._program_id,
            revision=0,
            status=EventStatus.FAR,
            created_at=now,
            starts_at=starts_at,
            duration_s=self._schedule.duration_s,
            signals=(signal,),
            comment="A quarter less than usual, please.",
        )
