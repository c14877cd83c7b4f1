"""The keeper: the small process that keeps the journal, puts limits back, and keeps a worker running.

It speaks to nobody but its worker. While the worker lives it commits what the worker asks, and makes the writes that
put limits back, so that the way of a bad day is the way of every day. While none lives it enforces the leases itself.
When the keeper dies, the worker puts everything back; when both die, the next keeper does, from the journal.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any

import structlog

from hardware.agent import Agent, Drivers
from hardware.errors import HardwareError
from hardware.journal import Journal
from hardware.keeper_grants import Grants
from hardware.keeper_link import decoded, fault_to_json, leases_from_json
from hardware.keeper_turn import OwnTurn
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.worker import Worker
from hardware.worker_process import HUNG_S, WorkerProcess, started

log = structlog.get_logger()

TICK_S = 0.25

LANE_HUNG_S = 30.0
"""A call on one device that hangs for so long has the worker started anew, once in ``LANE_AGAIN_S``."""

LANE_AGAIN_S = 600.0

WELL_S = 60.0
"""A worker that lived so long did not die of how it was started."""

LONGEST_BACKOFF_S = 30.0

DISK_S = 1.0
"""A commit that is under way when its worker dies is waited for so long."""

LEAVE_S = 3.0
"""A worker that is told to stop has so long before it is killed."""

MOST_ASKED = 1024


class Keeper:
    """One host's keeper, over an open (or unreadable) journal and a bound socket: see ``take_host``.

    ``command`` starts a worker; it is given ``--worker LINK:LISTENER``, two numbers of files that it inherits.
    ``open_drivers`` is called once, in a thread, and may raise ``HardwareError``. Once ``gone`` is set, the gateway
    that started us has died: when no client has come for ``orphan_s`` seconds and no lease runs, the keeper ends.
    """

    def __init__(
        self,
        *,
        host_id: str,
        journal: Journal,
        listener: socket.socket,
        command: Sequence[str],
        open_drivers: Callable[[], Drivers],
        boot_s: Callable[[], float],
        ceilings: Ceilings,
        ramp: RestoreRamp,
        gone: asyncio.Event | None = None,
        orphan_s: float = 60.0,
    ) -> None:
        self._host_id = host_id
        self._journal = journal
        self._listener = listener
        self._command = tuple(command)
        self._open_drivers = open_drivers
        self._gone = gone or asyncio.Event()
        self._orphan_s = orphan_s
        self._devices = Worker(f"keeper devices {host_id}")
        self._jobs = Worker(f"keeper jobs {host_id}")
        self._disk = Worker(f"keeper journal {host_id}")
        self._drivers: Drivers | None = None
        self._grants = Grants(
            journal=journal, drivers=lambda: self._drivers, devices=self._devices, disk=self._disk, ceilings=ceilings
        )
        self._own = OwnTurn(
            host_id=host_id,
            journal=journal,
            drivers=lambda: self._drivers,
            devices=self._devices,
            jobs=self._jobs,
            boot_s=boot_s,
            ceilings=ceilings,
            ramp=ramp,
            may_forget=self._grants.may_forget,
        )
        self._worker: WorkerProcess | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._lane_again_s = 0.0

    async def run(self, stop: asyncio.Event) -> None:
        """Keep a worker running until ``stop`` is set, then put everything back.

        Raises ``HardwareError`` where there is no driver, or not everything could be put back; other exceptions are
        bugs of a driver, raised after everything else was put back.
        """
        stopping: asyncio.Future[Any] = asyncio.ensure_future(stop.wait())
        work: list[asyncio.Future[Any]] = []
        try:
            # The worker starts while the drivers are opened, and waits for the journal to be followed.
            first = await self._start_worker()
            opening: asyncio.Future[Any] = asyncio.ensure_future(self._devices.run(self._try_to_open))
            crashed = tuple(thread.crashed for thread in self._threads())
            await asyncio.wait([opening, stopping, *crashed], return_when=asyncio.FIRST_COMPLETED)
            if stopping.done() or not opening.done() or opening.cancelled():
                return
            opened = opening.result()
            if isinstance(opened, HardwareError):
                raise opened
            self._drivers = opened
            self._own.begin()
            work = [
                asyncio.ensure_future(self._attend_for_ever(first)),
                asyncio.ensure_future(self._own.enforce(self._devices, Agent.expire_limits)),
                asyncio.ensure_future(self._own.enforce(self._own.thread_of_jobs(), Agent.expire_jobs)),
                asyncio.ensure_future(self._until_orphaned()),
            ]
            await asyncio.wait([stopping, *crashed, *work], return_when=asyncio.FIRST_COMPLETED)
            for task in work:
                if task.done():
                    task.result()
        finally:
            for task in (stopping, *work):
                task.cancel()
            await asyncio.gather(stopping, *work, return_exceptions=True)
            await self._end()

    def _try_to_open(self) -> Drivers | HardwareError:
        try:
            return self._open_drivers()
        except HardwareError as fault:
            return fault

    async def _until_orphaned(self) -> None:
        await self._gone.wait()
        alone_since_s = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            if self._worker is not None and self._worker.clients:
                alone_since_s = time.monotonic()
            elif time.monotonic() - alone_since_s >= self._orphan_s and not self._own.leased():
                log.warning("agent_orphaned", host_id=self._host_id)
                return

    async def _start_worker(self) -> WorkerProcess | None:
        self._worker = await started(self._command, self._listener) or self._worker
        return self._worker

    async def _attend_for_ever(self, worker: WorkerProcess | None) -> None:
        """Serve one worker after the other; one that keeps dying is started anew ever more slowly."""
        delay_s = 0.0
        while True:
            if worker is not None:
                await self._attend(worker)
                lived_s = time.monotonic() - worker.started_s
                delay_s = 0.0 if lived_s >= WELL_S else delay_s
                log.error("worker_ended", exit_code=worker.process.returncode, next_in_s=delay_s)
            if self._own.acting is None:
                await self._until_on_disk()
                self._own.begin()
            await asyncio.sleep(delay_s)
            delay_s = min(max(0.5, 2.0 * delay_s), LONGEST_BACKOFF_S)
            worker = await self._start_worker()

    async def _until_on_disk(self) -> None:
        """Let a commit of the worker that died end before the journal is acted on; a disk that hangs is no reason."""
        try:
            async with asyncio.timeout(DISK_S):
                await self._disk.run(lambda: None)
        except TimeoutError:
            log.error("disk_hangs", waited_s=DISK_S)

    async def _attend(self, worker: WorkerProcess) -> None:
        """Answer a worker until it ends, or hangs and is killed."""
        listening = asyncio.ensure_future(self._listen(worker))
        watching = asyncio.ensure_future(self._watch(worker))
        try:
            await asyncio.wait([listening, watching], return_when=asyncio.FIRST_COMPLETED)
            for task in (listening, watching):
                if task.done():
                    task.result()
        finally:
            for task in (listening, watching):
                task.cancel()
        # Not where this is cancelled: at a stop the worker is let go in peace.
        await self._kill(worker)

    async def _listen(self, worker: WorkerProcess) -> None:
        try:
            while line := await worker.reader.readline():
                self._hear(worker, decoded(line))
        except (OSError, ValueError, TypeError, KeyError, AttributeError) as fault:
            log.error("worker_not_understood", reason=f"{type(fault).__name__}: {fault}")

    async def _watch(self, worker: WorkerProcess) -> None:
        """Come back when the worker hangs."""
        looked_s = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            now_s = time.monotonic()
            if now_s - looked_s > HUNG_S / 3.0:
                # We stood still ourselves: its beats wait to be read.
                worker.devices_s = worker.jobs_s = now_s
            looked_s = now_s
            why = worker.why_hung(now_s)
            hung_s = max(worker.hung.values(), default=0.0)
            if why is None and hung_s > LANE_HUNG_S and now_s >= self._lane_again_s:
                self._lane_again_s = now_s + LANE_AGAIN_S
                why = "a call on a device hangs"
            if why is not None:
                log.error("worker_hangs", process_id=worker.process.pid, reason=why)
                return

    async def _kill(self, worker: WorkerProcess) -> None:
        if not await worker.kill():
            self._grants.lingering.append(worker)
        if self._worker is worker:
            self._worker = None

    def _hear(self, worker: WorkerProcess, message: Mapping[str, Any]) -> None:
        if message.get("tell") == "beat":
            self._hear_beat(worker, message)
            return
        number, what = int(message["id"]), message["ask"]
        if len(self._tasks) >= MOST_ASKED:
            worker.send({"id": number, "fault": fault_to_json(HardwareError("the keeper is busy"))})
            return
        answers: dict[str, Callable[[], Coroutine[Any, Any, object]]] = {
            "open": lambda: self._own.hand_over(worker),
            "commit": lambda: self._grants.commit(worker, message),
            "put_back": lambda: self._grants.put_back(worker, str(message["device_id"]), float(message["limit_w"])),
        }
        task = asyncio.ensure_future(self._answer(worker, number, answers[what]()))
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    def _hear_beat(self, worker: WorkerProcess, beat: Mapping[str, Any]) -> None:
        leases = leases_from_json(beat["leases"]) if "leases" in beat else None
        if beat["part"] == "limits":
            worker.devices_s = time.monotonic()
            worker.clients = int(beat["clients"])
            worker.hung = {str(lane): float(hung_s) for lane, hung_s in beat["hung"].items()}
        else:
            worker.jobs_s = time.monotonic()
        if leases is not None and worker.handed_over:
            self._own.hear_leases(beat["part"], leases)
        worker.send({"tell": "heard"})

    async def _answer(self, worker: WorkerProcess, number: int, work: Coroutine[Any, Any, object]) -> None:
        answer = await work
        if isinstance(answer, HardwareError):
            worker.send({"id": number, "fault": fault_to_json(answer)})
        else:
            worker.send({"id": number, "answer": answer})

    async def _end(self) -> None:
        """Let the worker go, put everything back, and say what could not be."""
        worker = self._worker
        if worker is not None and worker.handed_over:
            worker.send({"tell": "stop"})
            listening = asyncio.ensure_future(self._listen(worker))
            try:
                async with asyncio.timeout(LEAVE_S):
                    await worker.process.wait()
            except TimeoutError:
                log.warning("worker_killed", process_id=worker.process.pid)
            listening.cancel()
            await asyncio.gather(listening, return_exceptions=True)
        if worker is not None:
            await self._kill(worker)
        try:
            await self._own.restore_all()
        finally:
            bug = next((one.crashed.exception() for one in self._threads() if one.crashed.done()), None)
            for thread in self._threads():
                thread.close()
            self._journal.close()
            if bug is not None:
                raise bug

    def _threads(self) -> tuple[Worker, ...]:
        return (self._devices, self._jobs, self._disk)
