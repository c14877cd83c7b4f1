"""The process around an agent: doors that requests come in by, a thread for what blocks, and an eye on leases."""

import asyncio
import os
from collections.abc import Sequence
from functools import partial
from typing import Protocol

import structlog

from hardware.agent import Agent
from hardware.errors import HardwareError, WireError
from hardware.wire import Answer, Failed, decode_request, encode_reply
from hardware.worker import Worker

log = structlog.get_logger()

TICK_S = 0.25
"""How often leases that ended are looked for."""

STOP_S = 10.0
"""A stop waits so long for the drivers; what they did not put back by then the journal puts back at the next start."""

MOST_WAITING = 64
"""So many requests may wait, of all doors together; the next is turned away at once."""


class Door(Protocol):
    """A way that requests come in by."""

    @property
    def clients(self) -> int:
        """How many gateways are connected now, as far as the door can tell."""

    async def open(self, answer: Answer) -> None:
        """Begin to serve: hand each line, and when it came on the agent's clock, to ``answer``, and send the answer.

        Raises ``HardwareError`` where it can never be opened; what may pass (a server away) it tries again by itself.
        """

    async def close(self) -> None:
        """End serving; requests that wait may go unanswered."""


class Desk:
    """Takes requests of every door to the agent's thread, a bounded number at once."""

    def __init__(self, agent: Agent, worker: Worker) -> None:
        self._agent = agent
        self._worker = worker
        self._waiting = 0

    async def answer(self, line: bytes, received_s: float) -> bytes:
        """The reply to one line that came at ``received_s`` on the agent's clock; never raises for what is in it."""
        if self._waiting >= MOST_WAITING:
            return encode_reply(Failed(error="AgentUnreachable", detail=f"busy: {self._waiting} requests wait already"))
        self._waiting += 1
        try:
            request = decode_request(line)
            return encode_reply(await self._worker.run(partial(self._agent.handle, request, received_s)))
        except WireError as fault:
            return encode_reply(Failed(error="WireError", detail=str(fault)))
        finally:
            self._waiting -= 1


async def run_agent(
    agent: Agent,
    doors: Sequence[Door],
    stop: asyncio.Event,
    *,
    gone: asyncio.Event | None = None,
    orphan_s: float = 60.0,
) -> None:
    """Serve an agent at its doors until ``stop`` is set, then put everything back.

    Once ``gone`` is set, the gateway that started us has died: leases are enforced on, and when no client has come for
    ``orphan_s`` seconds and no lease runs any more, everything is put back and this returns.

    Raises ``HardwareError`` where the drivers did not let go in time; any other exception is a bug in a driver, raised
    after everything else was put back.
    """
    worker = Worker(f"agent {agent.host_id}")
    desk = Desk(agent, worker)
    waits: list[asyncio.Future[object]] = []
    try:
        await worker.run(agent.recover)
        for door in doors:
            await door.open(desk.answer)
        log.info("agent_ready", host_id=agent.host_id)
        tick = _tick(agent, worker, doors, gone or asyncio.Event(), orphan_s)
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(tick)]
        await asyncio.wait([*waits, worker.crashed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        for door in doors:
            await door.close()
        await _put_everything_back(agent, worker)


async def _tick(agent: Agent, worker: Worker, doors: Sequence[Door], gone: asyncio.Event, orphan_s: float) -> None:
    """Enforce leases for ever, or until nobody is left to serve."""
    alone_since_s: float | None = None
    while True:
        await asyncio.sleep(TICK_S)
        leased = await worker.run(partial(_expire, agent))
        now_s = asyncio.get_running_loop().time()
        if not gone.is_set() or any(door.clients for door in doors):
            alone_since_s = None
        elif alone_since_s is None:
            alone_since_s = now_s
        elif not leased and now_s - alone_since_s >= orphan_s:
            log.warning("agent_orphaned", host_id=agent.host_id)
            return


def _expire(agent: Agent) -> bool:
    agent.expire()
    return agent.leased


async def _put_everything_back(agent: Agent, worker: Worker) -> None:
    bug = worker.crashed.exception() if worker.crashed.done() else None
    try:
        async with asyncio.timeout(STOP_S):
            await worker.run(agent.restore_all)
            await worker.run(agent.close)
    except TimeoutError as cause:
        raise HardwareError(
            f"the drivers did not answer for {STOP_S:g} s: the journal puts limits back at the next start"
        ) from cause
    finally:
        worker.close()
    if bug is not None:
        raise bug


def ended(lifeline: int) -> asyncio.Event:
    """An event that is set when the other end of a pipe, which a starting gateway holds open, was closed."""
    gone = asyncio.Event()
    loop = asyncio.get_running_loop()

    def look() -> None:
        try:
            if os.read(lifeline, 4096):
                return
        except BlockingIOError:
            return
        except OSError:
            log.warning("lifeline_broken")
        loop.remove_reader(lifeline)
        gone.set()

    os.set_blocking(lifeline, False)
    loop.add_reader(lifeline, look)
    return gone
