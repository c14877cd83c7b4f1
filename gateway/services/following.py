"""Following: the word that a VTN sends over a broker is listened to, so that the next poll comes at once."""

import asyncio
from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Protocol, runtime_checkable

from gateway.clock import Clock
from gateway.services.readiness import EXPECTED_FAULTS, Backoff, Readiness

CONNECTED_S = 15.0
"""Who listens for so long is connected."""

LOOK_S = 5.0
"""Where there is nothing to follow yet, it is looked for again so often."""


@runtime_checkable
class Follows(Protocol):
    """A connection that can be told of changes by a broker."""

    @property
    def connection_id(self) -> str: ...

    async def listen(self, now: datetime) -> bool:
        """Listen for as long as the connection lasts; false at once where there is nothing to follow (yet)."""


class Following:
    """Listens, and connects anew after every end. Without the broker polls go on as ever."""

    def __init__(self, *, connections: Sequence[Follows], clock: Clock, readiness: Readiness) -> None:
        self._connections = tuple(connections)
        self._clock = clock
        self._readiness = readiness

    async def run(self, stop: asyncio.Event) -> None:
        """Follow all until told to stop."""
        async with asyncio.TaskGroup() as group:
            tasks = [group.create_task(self._follow(connection, stop)) for connection in self._connections]
            await stop.wait()
            for task in tasks:
                task.cancel()

    async def _follow(self, connection: Follows, stop: asyncio.Event) -> None:
        backoff = Backoff(LOOK_S, 60.0)
        part = f"broker of {connection.connection_id}"
        while not stop.is_set():
            delay_s = LOOK_S
            try:
                listening = asyncio.ensure_future(connection.listen(self._clock.now()))
                try:
                    await asyncio.wait([listening], timeout=CONNECTED_S)
                    if not listening.done():
                        self._readiness.well(part)
                        backoff.well()
                    await listening
                finally:
                    listening.cancel()
            except EXPECTED_FAULTS as fault:
                self._readiness.faulty(part, str(fault) or type(fault).__name__)
                delay_s = backoff.delay_s()
            else:
                self._readiness.well(part)
            await self._clock.wait(self._clock.now() + timedelta(seconds=delay_s), stop)
