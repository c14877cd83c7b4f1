"""The node agent: the only one that touches a host's devices, and the process around it on a local socket.

Whatever ends - the gateway, the connection, this process - limits and jobs go back to how they were found: at the end
of their lease, at a graceful stop, or first of all at the next start, from the journal.
"""

import asyncio
import math
import os
import socket
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

import structlog

from hardware.device import CapResult, DeviceDriver, Outcome
from hardware.errors import HardwareError, JournalUnreadable, WireError
from hardware.job import JobDriver, JobResult
from hardware.journal import Journal
from hardware.limits import LimitKeeper
from hardware.pauses import PauseKeeper
from hardware.wire import (
    MAX_LINE_BYTES,
    Act,
    Acted,
    Applied,
    Apply,
    Describe,
    Described,
    Failed,
    Read,
    Readings,
    Reply,
    Request,
    Restore,
    decode_request,
    encode_reply,
)
from hardware.worker import Worker

log = structlog.get_logger()

TICK_S = 0.25
"""How often the process looks for leases that ended."""

STOP_S = 10.0
"""A stop waits so long for the drivers; what they did not put back by then the journal puts back at the next start."""

MOST_CLIENTS = 16

ANSWER_S = 5.0
"""A client that does not take its answer in this time is let go."""


def boot_s() -> float:
    """Seconds since the machine started, sleep included: a clock that nobody sets."""
    if hasattr(time, "CLOCK_BOOTTIME"):
        return time.clock_gettime(time.CLOCK_BOOTTIME)
    return time.monotonic()


class Agent:
    """Answers requests over drivers, enforces leases, keeps the journal. Blocking, for one thread at a time.

    ``journal`` is a file that outlives the process; with ``None`` there is nothing to recover (in-process fleets).
    ``boot_s`` gives the time for leases, in seconds.
    """

    def __init__(
        self,
        *,
        host_id: str,
        devices: DeviceDriver,
        jobs: JobDriver | None = None,
        journal: Path | None = None,
        boot_s: Callable[[], float] = boot_s,
    ) -> None:
        self.host_id = host_id
        self._devices = devices
        self._jobs = jobs
        self._boot_s = boot_s
        self._journal = Journal(journal)
        self._limits = LimitKeeper(devices, self._journal)
        self._pauses = PauseKeeper(jobs, self._journal)
        self._recovered = False
        self._told: object = None

    @property
    def leased(self) -> bool:
        """Whether any lease still has time to run."""
        now_s = self._boot_s()
        return self._limits.runs(now_s) or self._pauses.runs(now_s)

    def now_s(self) -> float:
        """The time that leases count in."""
        return self._boot_s()

    def handle(self, request: Request, received_s: float | None = None) -> Reply:
        """Answer one request, which came at ``received_s`` (default: now). Expected faults are answers, too."""
        try:
            unready = self._try_to_recover()
            self.expire()
            if isinstance(request, Describe):
                return self._described()
            if isinstance(request, Read):
                # A number that is none is no reading, and no JSON.
                readings = self._devices.readings()
                return Readings(readings=tuple(reading for reading in readings if math.isfinite(reading.power_w)))
            if unready is not None:
                return _all_refused(request, unready)
            return self._command(request, received_s)
        except (HardwareError, OSError) as fault:
            return Failed(error=type(fault).__name__, detail=str(fault))

    def recover(self) -> None:
        """Put back first what an agent that died left.

        Where the journal cannot be read, nothing is written at all, and it is tried again at every request.
        """
        fault = self._try_to_recover()
        if fault is not None:
            log.error("journal_unreadable", detail=fault)

    def expire(self) -> None:
        """Put back what has no lease any more. Called a few times a second, and with every request."""
        now_s = self._boot_s()
        self._tell("lease_ended", self._limits.expire(now_s), self._pauses.expire(now_s))
        for device_id in self._limits.newly_held_over(now_s):
            log.warning("lease_ended_cap_held", device_id=device_id)

    def restore_all(self) -> None:
        """Put everything back, held caps too; what cannot be is left to the journal."""
        self._tell("all_restored", self._limits.restore_all(), self._pauses.resume_all(self._boot_s()))

    def close(self) -> None:
        """Let another agent have the journal."""
        self._journal.close()
        self._recovered = False

    def _try_to_recover(self) -> str | None:
        """Why nothing may be written yet, ``None`` once the journal was read and followed."""
        if self._recovered:
            return None
        try:
            self._journal.open()
        except JournalUnreadable as fault:
            return str(fault)
        self._recovered = True
        self._tell("recovered", self._limits.recover(), self._pauses.resume_all(self._boot_s()))
        return None

    def _command(self, request: Apply | Restore | Act, received_s: float | None) -> Reply:
        now_s = self._boot_s()
        since_s = now_s if received_s is None else received_s
        if isinstance(request, Apply):
            return Applied(results=self._limits.apply(request.commands, received_s=since_s, now_s=now_s))
        if isinstance(request, Restore):
            return Applied(results=self._limits.restore(request.device_ids, request.epoch))
        return Acted(results=self._pauses.act(request.actions, received_s=since_s, now_s=now_s))

    def _described(self) -> Described:
        return Described(
            host_id=self.host_id,
            highest_epoch=self._journal.state.epoch,
            devices=self._devices.devices(),
            jobs=() if self._jobs is None else self._jobs.jobs(),
        )

    def _tell(self, what: str, limits: tuple[CapResult, ...], jobs: tuple[JobResult, ...]) -> None:
        """One line a change: what is tried again and comes to the same is not said again."""
        if not limits and not jobs:
            return
        kept = [f"{result.device_id} {result.outcome} {result.detail}" for result in limits if _not_done(result)]
        kept += [f"{result.job_id} {result.outcome} {result.detail}" for result in jobs if _not_done(result)]
        if kept and (what, kept) == self._told:
            return
        self._told = (what, kept)
        log.log(30 if kept else 20, what, devices=len(limits), jobs=len(jobs), not_restored=kept[:8])


def _not_done(result: CapResult | JobResult) -> bool:
    return result.outcome is not Outcome.APPLIED


def _all_refused(request: Apply | Restore | Act, detail: str) -> Reply:
    if isinstance(request, Act):
        return Acted(
            results=tuple(
                JobResult(job_id=action.job_id, verb=action.verb, state=None, outcome=Outcome.REFUSED, detail=detail)
                for action in request.actions
            )
        )
    if isinstance(request, Apply):
        asked = [(command.device_id, command.cap_w) for command in request.commands]
    else:
        asked = [(device_id, 0.0) for device_id in request.device_ids]
    return Applied(
        results=tuple(
            CapResult(device_id=key, requested_w=cap_w, applied_w=None, outcome=Outcome.REFUSED, detail=detail)
            for key, cap_w in asked
        )
    )


async def run_agent(
    agent: Agent,
    socket_path: Path,
    stop: asyncio.Event,
    *,
    lifeline: int | None = None,
    orphan_s: float = 60.0,
) -> None:
    """Serve an agent on a local socket until ``stop`` is set, then put everything back.

    ``lifeline`` is the reading end of a pipe that a starting gateway holds open (a child's standard input). Once it
    ends, the gateway has died: leases are enforced on, and when no client has come for ``orphan_s`` seconds and no
    lease runs any more, everything is put back and this returns.

    Raises ``HardwareError`` where another agent serves there, or the drivers did not let go in time; any other
    exception is a bug in a driver, raised after everything else was put back.
    """
    door = _Door(socket_path)
    worker = Worker(f"agent {agent.host_id}")
    desk = _Desk(agent, worker)
    gone = _ended(lifeline)
    server: asyncio.Server | None = None
    waits: list[asyncio.Future[Any]] = []
    try:
        await worker.run(agent.recover)
        server = await asyncio.start_unix_server(desk.serve, sock=door.listener, limit=MAX_LINE_BYTES)
        log.info("agent_ready", host_id=agent.host_id, socket=str(socket_path))
        waits = [asyncio.ensure_future(stop.wait()), asyncio.ensure_future(desk.tick(gone, orphan_s))]
        await asyncio.wait([*waits, worker.crashed], return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()
        if server is not None:
            server.close()
        door.close()
        if lifeline is not None:
            asyncio.get_running_loop().remove_reader(lifeline)
        await desk.close()
        await _put_everything_back(agent, worker)


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


class _Desk:
    """Takes clients' requests to the worker, one at a time a client, and looks after leases meanwhile."""

    def __init__(self, agent: Agent, worker: Worker) -> None:
        self._agent = agent
        self._worker = worker
        self._clients: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        if task is None or len(self._clients) >= MOST_CLIENTS:
            writer.close()
            return
        self._clients.add(task)
        try:
            while True:
                line = await reader.readuntil()
                writer.write(await self._answer(line, self._agent.now_s()))
                async with asyncio.timeout(ANSWER_S):
                    await writer.drain()
        except asyncio.LimitOverrunError:
            writer.write(encode_reply(Failed(error="WireError", detail=f"a line of over {MAX_LINE_BYTES} bytes")))
        except (asyncio.IncompleteReadError, OSError):
            pass  # The client has gone; what it asked for is under a lease. TimeoutError is an OSError, too.
        finally:
            self._clients.discard(task)
            writer.close()

    async def tick(self, gone: asyncio.Event, orphan_s: float) -> None:
        """Enforce leases for ever, or until nobody is left to serve."""
        alone_since_s: float | None = None
        while True:
            await asyncio.sleep(TICK_S)
            leased = await self._worker.run(self._expire)
            now_s = asyncio.get_running_loop().time()
            if not gone.is_set() or self._clients:
                alone_since_s = None
            elif alone_since_s is None:
                alone_since_s = now_s
            elif not leased and now_s - alone_since_s >= orphan_s:
                log.warning("agent_orphaned", host_id=self._agent.host_id)
                return

    async def close(self) -> None:
        """Let every client go."""
        clients = tuple(self._clients)
        for task in clients:
            task.cancel()
        await asyncio.gather(*clients, return_exceptions=True)

    async def _answer(self, line: bytes, received_s: float) -> bytes:
        try:
            request = decode_request(line)
            return encode_reply(await self._worker.run(partial(self._agent.handle, request, received_s)))
        except WireError as fault:
            return encode_reply(Failed(error="WireError", detail=str(fault)))

    def _expire(self) -> bool:
        self._agent.expire()
        return self._agent.leased


class _Door:
    """A bound socket that only this user reaches. A socket file that nobody listens on any more makes room for it."""

    def __init__(self, path: Path) -> None:
        self._path = path
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.is_socket() and not _is_served(path):
                path.unlink(missing_ok=True)
            self.listener = _bound(path)
            self._born = path.stat()
        except OSError as cause:
            raise HardwareError(f"cannot serve at {path}: {cause}") from cause

    def close(self) -> None:
        """Close it and remove its file, unless somebody else's is there by now."""
        self.listener.close()
        try:
            found = self._path.stat()
            if (found.st_dev, found.st_ino) == (self._born.st_dev, self._born.st_ino):
                self._path.unlink()
        except OSError:
            return


def _bound(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    mask = os.umask(0o177)
    try:
        listener.bind(str(path))
        # At once, and not only when the journal was followed: nobody shall take the socket for one left behind.
        listener.listen(MOST_CLIENTS)
    except OSError:
        listener.close()
        raise
    finally:
        os.umask(mask)
    return listener


def _is_served(path: Path) -> bool:
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
        probe.settimeout(1.0)
        try:
            probe.connect(str(path))
        except (ConnectionRefusedError, FileNotFoundError):
            return False
    return True


def _ended(lifeline: int | None) -> asyncio.Event:
    """An event that is set when the pipe's other end was closed."""
    gone = asyncio.Event()
    if lifeline is None:
        return gone
    loop = asyncio.get_running_loop()
    pipe = lifeline

    def look() -> None:
        try:
            if os.read(pipe, 4096):
                return
        except BlockingIOError:
            return
        except OSError:
            log.warning("lifeline_broken")
        loop.remove_reader(pipe)
        gone.set()

    os.set_blocking(pipe, False)
    loop.add_reader(pipe, look)
    return gone
