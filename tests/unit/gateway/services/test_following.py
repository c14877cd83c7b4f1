"""A broker is listened to, and connected with anew after every end; that there is none is no fault."""

import asyncio
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise

from gateway.clock import VirtualClock
from gateway.services.following import LOOK_S, Following
from gateway.services.readiness import Readiness
from protocols.errors import Unreachable

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
PART = "broker of market"


class Scripted:
    """A connection whose broker does what the script says, one word a call; then it stops the service."""

    connection_id = "market"

    def __init__(self, script: Iterator[str], stop: asyncio.Event, readiness: Readiness) -> None:
        self._script = script
        self._stop = stop
        self._readiness = readiness
        self.calls: list[tuple[float, str | None]] = []

    async def listen(self, now: datetime) -> bool:
        self.calls.append(((now - NOON).total_seconds(), self._readiness.parts().get(PART)))
        word = next(self._script, "stop")
        if word == "ends":
            raise Unreachable("the broker ended the conversation")
        if word == "stop":
            self._stop.set()
        return word == "listened"


async def test_it_is_connected_with_anew_after_pauses_that_grow_and_a_fault_is_told_until_it_is_over() -> None:
    clock, stop, readiness = VirtualClock(NOON), asyncio.Event(), Readiness()
    connection = Scripted(iter(["nothing", "ends", "ends", "listened"]), stop, readiness)
    service = Following(connections=[connection], clock=clock, readiness=readiness)
    async with asyncio.timeout(10):
        await clock.tend(service.run(stop))
    starts = [at_s for at_s, _ in connection.calls]
    pauses = [after - before for before, after in pairwise(starts)]
    assert pauses == [LOOK_S, LOOK_S, 2 * LOOK_S, LOOK_S]
    faults = [fault for _, fault in connection.calls]
    assert faults == [None, None, *["the broker ended the conversation"] * 2, None]
