"""The keeper: the small process that keeps the journal, puts limits back, and keeps a worker running.

It speaks to nobody but its worker. While the worker lives it commits what the worker asks, and makes the writes that
put limits back, so that the way of a bad day is the way of every day. While none lives it enforces the leases itself.
When the keeper dies, the worker puts everything back; when both die, the next keeper does, from the journal.
"""

import asyncio
import socket
import time
from collections.abc import Callable, Coroutine, Mapping, Sequence
from functools import partial
from typing import Any

import structlog

from hardware.agent import Agent, Drivers
from hardware.errors import HardwareError, JournalUnreadable, WriteRefused
from hardware.journal import Journal, JournalState, PriorLimit, written
from hardware.keeper_link import (
    decoded,
    fault_to_json,
    leases_from_json,
    leases_to_json,
    limits_from_json,
    names_from_json,
)
from hardware.lease import Kept, KeptLease
from hardware.limit_access import same
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.worker import Worker
from hardware.worker_process import HUNG_S, LINGERS_CURE, WorkerProcess, started

log = structlog.get_logger()

TICK_S = 0.25

LANE_HUNG_S = 30.0
"""A call on one device that hangs for so long has the worker started anew, once in ``LANE_AGAIN_S``."""

LANE_AGAIN_S = 600.0

WELL_S = 60.0
"""A worker that lived so long did not die of how it was started."""

LONGEST_BACKOFF_S = 30.0

JOBS_S = 1.0
"""A worker that takes over waits so long for a scheduler that the keeper itself has asked."""

DISK_S = 1.0
"""A commit that is under way when its worker dies is waited for so long."""

LEAVE_S = 3.0
"""A worker that is told to stop has so long before it is killed."""

RESTORE_S = 7.0
"""At a stop the drivers have so long; what they did not put back by then the journal puts back at the next start."""

MOST_ASKED = 1024

DIFFERS_CURE = "it may have been set at this very moment: the next command reads it anew"

NO_STATE = (ValueError, TypeError, AttributeError)
"""What Python says of a commit that is none."""


class _Turn:
    """The journal while it is the keeper's own turn to act; once that is over, nothing more is committed by it."""

    def __init__(self, journal: Journal, may_forget: Callable[[Mapping[str, PriorLimit]], None]) -> None:
        self._journal = journal
        self._may_forget = may_forget
        self.over = False

    @property
    def state(self) -> JournalState:
        return self._journal.state

    @property
    def boot_id(self) -> str:
        return self._journal.boot_id

    def open(self) -> None:
        self._journal.open()

    def commit(
        self,
        *,
        epoch: int | None = None,
        limits: Mapping[str, PriorLimit] | None = None,
        paused: frozenset[str] | None = None,
        held: frozenset[str] | None = None,
        drained: frozenset[str] | None = None,
    ) -> None:
        if self.over:
            raise JournalUnreadable("it has been handed over to the worker")
        if limits is not None:
            self._may_forget(limits)
        self._journal.commit(epoch=epoch, limits=limits, paused=paused, held=held, drained=drained)

    def close(self) -> None:
        return


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
        self._boot_s = boot_s
        self._ceilings = ceilings
        self._ramp = ramp
        self._gone = gone or asyncio.Event()
        self._orphan_s = orphan_s
        self._devices = Worker(f"keeper devices {host_id}")
        self._jobs = Worker(f"keeper jobs {host_id}")
        self._disk = Worker(f"keeper journal {host_id}")
        self._drivers: Drivers | None = None
        self._kept = Kept()
        self._turn: _Turn | None = None
        self._acting: Agent | None = None
        self._worker: WorkerProcess | None = None
        self._lingering: list[WorkerProcess] = []
        """Workers that were killed, and that the system keeps in a call to a driver."""
        self._in_order = asyncio.Lock()
        self._tasks: set[asyncio.Task[None]] = set()
        self._raising: dict[str, tuple[float, list[asyncio.Future[HardwareError | None]]]] = {}
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
            self._act()
            work = [
                asyncio.ensure_future(self._attend_for_ever(first)),
                asyncio.ensure_future(self._enforce(self._devices, Agent.expire_limits)),
                asyncio.ensure_future(self._enforce(self._thread_of_jobs(), Agent.expire_jobs)),
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

    def _thread_of_jobs(self) -> Worker:
        return self._devices if self._drivers is not None and self._drivers.one_thread else self._jobs

    def _act(self) -> None:
        """Begin the keeper's own turn: the leases that were told run on, and what has none is put back."""
        if self._drivers is None:
            return
        kept = self._kept
        self._turn = _Turn(self._journal, self._may_forget)
        self._acting = Agent(
            host_id=self._host_id,
            devices=self._drivers.devices,
            # Anew each time: what the worker has stopped since is read from its record.
            jobs=self._drivers.open_jobs(),
            one_thread=self._drivers.one_thread,
            journal=self._turn,
            kept=lambda: kept,
            boot_s=self._boot_s,
            lanes=self._drivers.lanes,
            ceilings=self._ceilings,
            ramp=self._ramp,
        )

    async def _enforce(self, worker: Worker, part: Callable[[Agent], object]) -> None:
        while True:
            if self._acting is not None:
                await worker.run(partial(part, self._acting))
            await asyncio.sleep(TICK_S)

    async def _until_orphaned(self) -> None:
        await self._gone.wait()
        alone_since_s = time.monotonic()
        while True:
            await asyncio.sleep(TICK_S)
            if self._worker is not None and self._worker.clients:
                alone_since_s = time.monotonic()
            elif time.monotonic() - alone_since_s >= self._orphan_s and not self._leased():
                log.warning("agent_orphaned", host_id=self._host_id)
                return

    def _leased(self) -> bool:
        now_s = self._boot_s()
        return any(lease.expires_s > now_s for part in self._kept for lease in part.values())

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
            if self._acting is None:
                await self._until_on_disk()
                self._act()
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
            self._lingering.append(worker)
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
            "open": lambda: self._hand_over(worker),
            "commit": lambda: self._check_and_commit(worker, message),
            "put_back": lambda: self._put_back(worker, str(message["device_id"]), float(message["limit_w"])),
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
            self._kept = self._kept._replace(**{beat["part"]: leases})
        worker.send({"tell": "heard"})

    async def _answer(self, worker: WorkerProcess, number: int, work: Coroutine[Any, Any, object]) -> None:
        answer = await work
        if isinstance(answer, HardwareError):
            worker.send({"id": number, "fault": fault_to_json(answer)})
        else:
            worker.send({"id": number, "answer": answer})

    async def _hand_over(self, worker: WorkerProcess) -> object:
        """End the keeper's own turn: the journal, and the leases that run."""
        acting, turn = self._acting, self._turn
        if not worker.handed_over:
            if acting is None or turn is None:
                return JournalUnreadable("the keeper is not ready yet")
            unready = await self._devices.run(acting.expire_limits)
            if unready is not None:
                return JournalUnreadable(unready)
            jobs = await self._kept_jobs(acting)
            if worker.ended or self._acting is not acting:
                return JournalUnreadable("the keeper has gone on by itself meanwhile")
            # Whatever of the keeper's own still runs in its jobs' thread commits nothing from here on.
            turn.over = True
            self._acting = self._turn = None
            self._kept = Kept(await self._devices.run(acting.kept_limits), jobs)
            # It may have ended in this very moment: then the keeper has begun its own turn anew, or will.
            worker.handed_over = not worker.ended
            worker.devices_s = worker.jobs_s = time.monotonic()
        return {
            "journal": written(self._journal.state).decode(),
            "boot_id": self._journal.boot_id,
            "limits": leases_to_json(self._kept.limits),
            "jobs": leases_to_json(self._kept.jobs),
        }

    async def _kept_jobs(self, acting: Agent) -> Mapping[str, KeptLease]:
        """The leases of jobs; where a scheduler keeps the thread busy, those that were told last."""
        try:
            async with asyncio.timeout(JOBS_S):
                return await self._thread_of_jobs().run(acting.kept_jobs)
        except TimeoutError:
            return self._kept.jobs

    async def _check_and_commit(self, worker: WorkerProcess, asked: Mapping[str, Any]) -> object:
        """Commit what the worker asks, in the order that it asks.

        The limit found of a device that the journal did not name is read here, too: what a restore will write is not
        for the worker alone to say.
        """
        async with self._in_order:
            if worker.handed_over and "limits" in asked:
                differs = await self._devices.run(partial(self._differs, asked["limits"]))
                if differs is not None:
                    return differs
            return await self._disk.run(partial(self._commit, worker, asked))

    def _differs(self, limits: Any) -> HardwareError | None:
        """Why the limit found of a new device cannot be taken; ``None`` where all can, or where these are no limits."""
        known = self._journal.state.limits
        try:
            found_w = {key: prior.found_w for key, prior in limits_from_json(limits).items() if key not in known}
        except NO_STATE:
            return None
        drivers = self._drivers
        if not found_w or drivers is None:
            return None
        for key, asked_w in drivers.lanes.each(found_w, drivers.devices.asked_w).items():
            if isinstance(asked_w, HardwareError):
                return JournalUnreadable(f"the keeper cannot read the limit found: {asked_w}", device_id=key)
            if not same(asked_w, found_w[key]):
                return JournalUnreadable(
                    f"the keeper reads {asked_w:g} W, and its worker {found_w[key]:g} W, as the limit found",
                    device_id=key,
                    cure=DIFFERS_CURE,
                )
        return None

    def _may_forget(self, limits: Mapping[str, PriorLimit]) -> None:
        """Raise where an entry would go that a killed worker may be writing to yet: then nobody would notice it."""
        self._lingering = [worker for worker in self._lingering if worker.process.returncode is None]
        for worker in self._lingering:
            for device_id in self._journal.state.limits.keys() - limits.keys():
                if worker.may_write(device_id):
                    raise JournalUnreadable(
                        f"a worker that was killed (process {worker.process.pid}) is in a call to the driver yet",
                        device_id=device_id,
                        cure=LINGERS_CURE,
                    )

    def _commit(self, worker: WorkerProcess, asked: Mapping[str, Any]) -> object:
        """Make durable what the worker asks. The limit found of a device does not change while it stands there."""
        if not worker.handed_over:
            return JournalUnreadable("it has not been handed over")
        try:
            given: dict[str, Any] = {
                name: names_from_json(asked[name]) for name in ("paused", "held", "drained") if name in asked
            }
            if "epoch" in asked:
                given["epoch"] = int(asked["epoch"])
            if "limits" in asked:
                given["limits"] = limits_from_json(asked["limits"])
                for device_id, prior in given["limits"].items():
                    before = self._journal.state.limits.get(device_id)
                    if before is not None and before.found_w != prior.found_w:
                        raise JournalUnreadable("the limit found does not change", device_id=device_id)
                self._may_forget(given["limits"])
            self._journal.commit(**given)
        except JournalUnreadable as fault:
            return fault
        except NO_STATE as fault:
            return JournalUnreadable(f"no state of a journal: {fault}")
        return None

    async def _put_back(self, worker: WorkerProcess, device_id: str, limit_w: float) -> object:
        """Have a limit raised. Those asked for at once are written side by side."""
        if not worker.handed_over:
            return WriteRefused("the journal has not been handed over", device_id=device_id)
        done: asyncio.Future[HardwareError | None] = asyncio.get_running_loop().create_future()
        waiting = self._raising[device_id][1] if device_id in self._raising else []
        begins = not self._raising
        self._raising[device_id] = (limit_w, [*waiting, done])
        if begins:
            # Those that come in this very moment go with it.
            await asyncio.sleep(0)
            batch, self._raising = self._raising, {}
            goals_w = {key: goal_w for key, (goal_w, _) in batch.items()}
            answers = await self._devices.run(partial(self._raise_all, goals_w))
            for key, (_, waits) in batch.items():
                for wait in waits:
                    if not wait.done():
                        wait.set_result(answers[key])
        return await done

    def _raise_all(self, goals_w: Mapping[str, float]) -> dict[str, HardwareError | None]:
        if self._drivers is None:
            return {key: WriteRefused("the keeper has no driver", device_id=key) for key in goals_w}
        return dict(self._drivers.lanes.each(goals_w, lambda key: self._raise(key, goals_w[key])))

    def _raise(self, device_id: str, limit_w: float) -> None:
        """Write one limit, if it is one that may be put back."""
        prior = self._journal.state.limits.get(device_id)
        if prior is None or self._drivers is None:
            raise WriteRefused("nothing of ours is there to be put back", device_id=device_id)
        most_w = min(prior.found_w, self._ceilings.of(device_id))
        # Written so that no limit that is not a number passes.
        if not limit_w <= most_w and limit_w != min(prior.found_w, self._floor_w(device_id)):
            raise WriteRefused(f"{limit_w:g} W is over the {most_w:g} W to be put back", device_id=device_id)
        self._drivers.devices.set_limit_w(device_id, limit_w)

    def _floor_w(self, device_id: str) -> float:
        """The least that the device takes: what goes back where the ceiling is lower yet."""
        views = () if self._drivers is None else self._drivers.devices.devices()
        return next((view.cap_range.min_w for view in views if view.device_id == device_id), 0.0)

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
            await self._restore_all()
        finally:
            bug = next((one.crashed.exception() for one in self._threads() if one.crashed.done()), None)
            for thread in self._threads():
                thread.close()
            self._journal.close()
            if bug is not None:
                raise bug

    def _threads(self) -> tuple[Worker, ...]:
        return (self._devices, self._jobs, self._disk)

    async def _restore_all(self) -> None:
        if self._acting is None:
            self._act()
        acting, drivers = self._acting, self._drivers
        if acting is None or drivers is None:
            return
        try:
            async with asyncio.timeout(RESTORE_S):
                why, _ = await asyncio.gather(
                    self._devices.run(partial(_restored_limits, acting)),
                    self._thread_of_jobs().run(partial(_restored_jobs, acting)),
                )
                await self._devices.run(drivers.close)
        except TimeoutError as cause:
            raise HardwareError(f"the drivers did not answer for {RESTORE_S:g} s: {self._left({})}") from cause
        left = self._left(why)
        if left:
            raise HardwareError(f"not everything could be put back: {left}")

    def _left(self, why: Mapping[str, str]) -> str:
        """What should have gone back and has not, in words; empty where there is nothing. Held caps stay."""
        state = self._journal.state
        names = [why.get(device_id, device_id) for device_id, prior in state.limits.items() if not prior.hold]
        names += sorted(state.paused | state.held | state.drained)
        more = f" and {len(names) - 8} more" if len(names) > 8 else ""
        return f"the journal puts limits back at the next start ({', '.join(names[:8])}{more})" if names else ""


def _restored_limits(agent: Agent) -> dict[str, str]:
    """Put limits back: in words, by device, what is wrong where that could not be done."""
    agent.expire_limits()
    done = agent.restore_limits()
    return {one.device_id: one.detail for one in done if one.fault is not None and one.device_id in one.detail}


def _restored_jobs(agent: Agent) -> None:
    agent.expire_jobs()
    agent.restore_jobs()
