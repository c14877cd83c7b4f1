"""The worker: the process around an agent that requests come to, by one door or several, and that writes caps.

It has a thread for devices and one for jobs, so that neither holds the other up. Its journal is its keeper's, and so is
whatever puts a limit back: ``keeper.py``. When the keeper dies, the worker puts everything back itself and ends.
"""

import asyncio
import signal
import socket
import time
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager, suppress
from dataclasses import replace
from functools import partial
from typing import Any, Protocol

import structlog

from hardware.agent import Agent
from hardware.device import DeviceDriver, Outcome
from hardware.errors import HardwareError, JournalTaken, JournalUnreadable, WireError
from hardware.job import Asker, JobAction, JobResult, JobView, NodeView
from hardware.journal import Journal
from hardware.keeper_link import KeeperLink, RemoteJournal, leases_to_json
from hardware.lanes import FanOut
from hardware.lease import KeptLease
from hardware.wire import (
    Act,
    Acted,
    Answer,
    Apply,
    Describe,
    Described,
    Failed,
    Read,
    Reply,
    Request,
    Restore,
    decode_request,
    encode_reply,
)
from hardware.worker import Worker

log = structlog.get_logger()

TICK_S = 0.25
"""How often leases that ended are looked for, and the keeper is told that all is well."""

STOP_S = 8.0
"""A stop waits so long for the drivers; what they did not put back by then the journal puts back at the next start."""

MOST_WAITING = 64
"""So many requests may wait, of all doors together; the next is turned away at once."""

JOBS_S = 1.0
"""A description waits so long for a scheduler, and then tells of its jobs as they were last heard of."""

ACT_S = 1.0
"""So long a gateway waits for its jobs to be acted on; then it goes on meanwhile, and the gateway asks again."""

TAKE_OVER_S = 3.0
"""The journal of a keeper that died is free at once; after so long it is a new keeper's."""

KEEPER_SILENT_S = 15.0
"""A keeper that says nothing for so long is ended: it could put nothing back."""


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


class Beats(Protocol):
    """Whoever is told, in the threads themselves, that they go on, and which leases there are."""

    def devices(self) -> None: ...

    def jobs(self) -> None: ...


class Unheard:
    """Nobody is told."""

    def devices(self) -> None:
        return

    def jobs(self) -> None:
        return


class Desk:
    """Takes requests of every door to the agent's threads, a bounded number at once, and looks after leases meanwhile.

    Made within a running loop. ``crashed`` gets the first bug of either thread.
    """

    def __init__(self, agent: Agent, beats: Beats | None = None) -> None:
        self._agent = agent
        self._beats = beats or Unheard()
        self._devices = Worker(f"devices {agent.host_id}")
        self._jobs = self._devices if agent.one_thread else Worker(f"jobs {agent.host_id}")
        self._waiting = 0
        self._last_jobs: tuple[tuple[JobView, ...], tuple[NodeView, ...]] = ((), ())
        self.crashed = (self._devices.crashed, self._jobs.crashed)

    async def recover(self) -> None:
        """Put back first what an agent that died left. A scheduler in a thread of its own is not waited for."""
        await self._devices.run(self._round_devices)
        if self._jobs is self._devices:
            await self._jobs.run(self._round_jobs)

    async def watch(self) -> None:
        """Enforce leases for ever."""
        await asyncio.gather(
            self._again_and_again(self._devices, self._round_devices),
            self._again_and_again(self._jobs, self._round_jobs),
        )

    async def answer(self, line: bytes, received_s: float) -> bytes:
        """The reply to one line that came at ``received_s`` on the agent's clock; never raises for what is in it."""
        if self._waiting >= MOST_WAITING:
            return encode_reply(Failed(error="AgentUnreachable", detail=f"busy: {self._waiting} requests wait already"))
        self._waiting += 1
        try:
            request = decode_request(line)
            return encode_reply(await self._reply(request, received_s), to=request)
        except WireError as fault:
            return encode_reply(Failed(error="WireError", detail=str(fault)))
        finally:
            self._waiting -= 1

    async def restore_all(self) -> None:
        """Put everything back. Raises ``HardwareError`` where the drivers do not answer in time, and bugs of theirs."""
        try:
            async with asyncio.timeout(STOP_S):
                await asyncio.gather(
                    self._devices.run(self._agent.restore_limits), self._jobs.run(self._agent.restore_jobs)
                )
                await self._devices.run(self._agent.close)
        except TimeoutError as cause:
            raise HardwareError(
                f"the drivers did not answer for {STOP_S:g} s: the journal puts limits back at the next start"
            ) from cause

    def bug(self) -> BaseException | None:
        """The bug that ended a thread's call, if one did."""
        return next((future.exception() for future in self.crashed if future.done()), None)

    def close(self) -> None:
        """End the threads, after the calls that they are in."""
        for worker in {self._devices, self._jobs}:
            worker.close()

    async def _reply(self, request: Request, received_s: float) -> Reply:
        if isinstance(request, Act):
            return await self._reply_to_act(request, received_s)
        reply = await self._devices.run(partial(self._answer_for_devices, request, received_s))
        return await self._with_jobs(reply) if isinstance(reply, Described) else reply

    async def _reply_to_act(self, request: Act, received_s: float) -> Reply:
        """What came of it, or that it is not done yet: a gateway's caps wait behind its other requests.

        What was begun goes on in its thread, and what waited for its turn is not done. A person waits to the end.
        """
        waits_s = None if any(action.asker is Asker.OPERATOR for action in request.actions) else ACT_S
        try:
            async with asyncio.timeout(waits_s):
                return await self._jobs.run(partial(self._act, request, received_s))
        except TimeoutError:
            return Acted(results=tuple(_not_done_yet(action) for action in request.actions))

    async def _with_jobs(self, described: Described) -> Described:
        try:
            async with asyncio.timeout(JOBS_S):
                described = await self._jobs.run(partial(self._agent.with_jobs, described))
        except TimeoutError:
            jobs, nodes = self._last_jobs
            return replace(described, jobs=jobs, nodes=nodes)
        self._last_jobs = (described.jobs, described.nodes)
        return described

    def _answer_for_devices(self, request: Describe | Read | Apply | Restore, received_s: float) -> Reply:
        reply = self._agent.answer_for_devices(request, received_s)
        if isinstance(request, Apply | Restore):
            self._beats.devices()
        return reply

    def _act(self, request: Act, received_s: float) -> Reply:
        reply = self._agent.act(request, received_s)
        self._beats.jobs()
        return reply

    def _round_devices(self) -> None:
        self._agent.expire_limits()
        self._beats.devices()

    def _round_jobs(self) -> None:
        self._agent.expire_jobs()
        self._beats.jobs()

    async def _again_and_again(self, worker: Worker, call: Callable[[], None]) -> None:
        while True:
            await worker.run(call)
            await asyncio.sleep(TICK_S)


def _not_done_yet(action: JobAction) -> JobResult:
    return JobResult(
        job_id=action.job_id,
        verb=action.verb,
        state=None,
        outcome=Outcome.TIMED_OUT,
        detail=f"not done after {ACT_S:g} s: it goes on, ask again",
    )


class BeatsToKeeper:
    """Tells the keeper that the threads go on, and which leases there are whenever they changed."""

    def __init__(self, link: KeeperLink, agent: Agent, doors: Sequence[Door], lanes: FanOut) -> None:
        self._link = link
        self._agent = agent
        self._doors = doors
        self._lanes = lanes
        self._told: dict[str, Mapping[str, KeptLease]] = {}

    def devices(self) -> None:
        if time.monotonic() - self._link.heard_s > KEEPER_SILENT_S:
            self._link.break_off()
        clients = sum(door.clients for door in self._doors)
        self._tell("limits", self._agent.kept_limits(), hung=dict(self._lanes.hung()), clients=clients)

    def jobs(self) -> None:
        self._tell("jobs", self._agent.kept_jobs())

    def _tell(self, part: str, kept: Mapping[str, KeptLease], **more: object) -> None:
        changed = {} if self._told.get(part) == kept else {"leases": leases_to_json(kept)}
        self._told[part] = kept
        self._link.tell("beat", part=part, **changed, **more)


async def serve(desk: Desk, doors: Sequence[Door], *ends: asyncio.Event) -> None:
    """Answer what comes by the doors and enforce leases, until one of ``ends`` is set or a driver has a bug."""
    waits: list[asyncio.Future[Any]] = [asyncio.ensure_future(end.wait()) for end in ends]
    recovering: asyncio.Future[Any] = asyncio.ensure_future(desk.recover())
    watching: asyncio.Future[Any] | None = None
    try:
        await asyncio.wait([recovering, *waits, *desk.crashed], return_when=asyncio.FIRST_COMPLETED)
        if recovering.done() and not recovering.cancelled():
            for door in doors:
                await door.open(desk.answer)
            watching = asyncio.ensure_future(desk.watch())
            await asyncio.wait([watching, *waits, *desk.crashed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        tasks = [task for task in (recovering, watching, *waits) if task is not None]
        for task in tasks:
            task.cancel()
        for door in doors:
            await door.close()
        await asyncio.gather(*tasks, return_exceptions=True)


class WorkerLife:
    """One life of a worker: its journal, which is its keeper's, and the socket that was handed to it."""

    def __init__(self, link: KeeperLink, listener: socket.socket, file: Journal, ends: Sequence[asyncio.Event]) -> None:
        self.journal = RemoteJournal(link)
        self.listener = listener
        self._link = link
        self._file = file
        self._stop, self._gone = ends

    def raise_back(self, devices: DeviceDriver) -> Callable[[str, float], None]:
        """What puts a limit back: the keeper; once that has died, the driver. Raises ``HardwareError``."""

        def put_back(device_id: str, limit_w: float) -> None:
            if self._link.gone:
                devices.set_limit_w(device_id, limit_w)
            else:
                self._link.ask("put_back", device_id=device_id, limit_w=limit_w)

        return put_back

    async def serve(self, agent: Agent, doors: Sequence[Door], lanes: FanOut) -> None:
        """Serve until the keeper says to stop, and then puts everything back.

        When it dies, everything is put back from here. Raises ``HardwareError`` where that could not be done in time,
        or a driver has a bug, which is in the log.
        """
        desk = Desk(agent, BeatsToKeeper(self._link, agent, doors, lanes))
        try:
            log.info("worker_ready", host_id=agent.host_id)
            await serve(desk, doors, self._stop, self._gone)
            if self._gone.is_set() and self.journal.handed_over:
                await _stand_in_for_keeper(desk, self._link, self.journal, self._file)
        finally:
            desk.close()
        bug = desk.bug()
        if bug is not None:
            log.error("driver_bug", error=f"{type(bug).__name__}: {bug}", exc_info=bug)
            raise HardwareError("a driver has a bug, which is in the log; the keeper goes on with another worker")


@asynccontextmanager
async def worker_life(
    connection: socket.socket, listener: socket.socket, *, file: Journal
) -> AsyncIterator[WorkerLife]:
    """A worker's life, begun: its keeper has handed over the journal, or has said why it cannot yet.

    ``file`` is that journal, for when the keeper dies. Raises ``HardwareError`` where it has died already.
    """
    loop = asyncio.get_running_loop()
    for name in (signal.SIGTERM, signal.SIGINT):
        # A terminal, or a service manager, sends these to both: it is the keeper that decides.
        loop.add_signal_handler(name, lambda: None)
    stop, gone = asyncio.Event(), asyncio.Event()

    def tell(event: asyncio.Event) -> None:
        # At the very end there is no loop any more to be told.
        with suppress(RuntimeError):
            loop.call_soon_threadsafe(event.set)

    link = KeeperLink(connection, on_stop=partial(tell, stop), on_gone=partial(tell, gone))
    life = WorkerLife(link, listener, file, (stop, gone))
    try:
        # Before any driver is opened: only then is it clear what was left, and by whom.
        await asyncio.to_thread(life.journal.open)
    except JournalUnreadable as fault:
        log.warning("journal_not_handed_over", detail=str(fault))
    if link.gone:
        raise HardwareError("the keeper has gone before it handed over")
    yield life


async def _stand_in_for_keeper(desk: Desk, link: KeeperLink, journal: RemoteJournal, file: Journal) -> None:
    log.error("keeper_gone")
    link.end_keeper()
    for _ in range(int(TAKE_OVER_S / TICK_S)):
        try:
            journal.take_over(file)
            break
        except JournalTaken:
            await asyncio.sleep(TICK_S)
        except JournalUnreadable as fault:
            log.error("journal_unreadable", detail=str(fault))
            break
    else:
        if not link.keeper_lives:
            log.warning("keeper_replaced")
            return  # Another keeper has the journal, and follows it.
        log.error("keeper_not_ended", detail="limits are put back all the same; its journal has them until it is read")
    await desk.restore_all()
