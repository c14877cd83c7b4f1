"""A host as it runs in production, keeper and worker, in one thread and one process: each call on it is one step.

The keeper, the worker's desk, its link and its journal are the real ones; what they do in threads and over a pair of
sockets is done by whoever asks. Either side can be killed, also at any call on a device, and the machine restarted.
"""

import asyncio
import time
from collections.abc import Callable, Coroutine, Mapping
from pathlib import Path
from typing import Any
from unittest.mock import patch

from hardware.agent import Agent, Drivers
from hardware.agent_process import BeatsToKeeper, Desk, WorkerLife, _stand_in_for_keeper
from hardware.errors import AgentUnreachable, HardwareError
from hardware.faults import Faults
from hardware.journal import Journal
from hardware.keeper import Keeper
from hardware.keeper_link import decoded, encoded, fault_from_json
from hardware.lanes import Serial
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.simulated import SimulatedFleet
from hardware.wire import Reply, Request, decode_reply, encode_request
from hardware.worker_process import WorkerProcess


class Killed(BaseException):
    """kill -9 at this very call."""

    def __init__(self, process: "Process") -> None:
        super().__init__(process)
        self.process = process


class AtOnce:
    """The work of a thread, done by whoever asks for it."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.crashed: Any = asyncio.Event()

    async def run(self, call: Callable[[], Any]) -> Any:
        return call()

    def close(self) -> None:
        return


class Process:
    """The devices and jobs as one process has them, which can be killed just before or just after any write."""

    def __init__(self, fleet: SimulatedFleet, about_to_write: Callable[[str, float], None]) -> None:
        self._fleet = fleet
        self._about_to_write = about_to_write
        self.calls_to_live: int | None = None
        self.devices, self.readings = fleet.devices, fleet.readings
        self.limit_w, self.asked_w, self.jobs = fleet.limit_w, fleet.asked_w, fleet.jobs

    def set_limit_w(self, device_id: str, limit_w: float) -> None:
        self._live()
        self._about_to_write(device_id, limit_w)
        self._fleet.set_limit_w(device_id, limit_w)
        self._live()

    def pause(self, job_id: str) -> None:
        self._live()
        self._fleet.pause(job_id)
        self._live()

    def resume(self, job_id: str) -> None:
        self._live()
        self._fleet.resume(job_id)
        self._live()

    def _live(self) -> None:
        if self.calls_to_live is not None:
            self.calls_to_live -= 1
            if self.calls_to_live < 0:
                raise Killed(self)


class _NoProcess:
    """What is left of a worker's process: it has ended."""

    pid, returncode = 0, -9


class _Writer:
    """The keeper's way to a worker that listens to nothing: what is asked is answered where it is asked."""

    def is_closing(self) -> bool:
        return True

    def close(self) -> None:
        return


class Link:
    """The worker's end of the link: what it says goes through the very lines, and is done at once by the keeper."""

    def __init__(self, host: "WholeHost", of_keeper: Any) -> None:
        self._host = host
        self._of_keeper = of_keeper
        self.gone = False

    @property
    def heard_s(self) -> float:
        return time.monotonic()

    def ask(self, what: str, **content: Any) -> Any:
        if self.gone:
            raise HardwareError("the keeper of this agent has gone")
        message = decoded(encoded({"id": 1, "ask": what, **content}))
        keeper, worker = self._host.keeper, self._of_keeper
        assert keeper is not None
        said: list[Mapping[str, Any]] = []
        with patch.object(worker, "send", said.append):
            try:
                if what == "open":
                    drive(keeper._answer(worker, 1, keeper._own.hand_over(worker)))
                elif what == "commit":
                    drive(keeper._answer(worker, 1, keeper._grants.commit(worker, message)))
                else:
                    put_back = keeper._grants.put_back(worker, message["device_id"], message["limit_w"])
                    drive(keeper._answer(worker, 1, put_back))
            except Killed as killed:
                if killed.process is not self._host.of_keeper:
                    raise
                self._host.keeper_is_dead()
                raise HardwareError("the keeper of this agent has gone") from None
        answer = decoded(encoded(said[0]))
        if "fault" in answer:
            raise fault_from_json(answer["fault"])
        return answer["answer"]

    def tell(self, what: str, **content: Any) -> None:
        if not self.gone and self._host.keeper is not None:
            self._host.keeper._hear_beat(self._of_keeper, decoded(encoded({"tell": what, **content})))

    def end_keeper(self) -> None:
        return

    def break_off(self) -> None:
        raise AssertionError("the keeper was heard just now")


def drive(work: Coroutine[Any, Any, Any]) -> Any:
    """What a coroutine comes to that waits for nothing but its turn."""
    while True:
        try:
            assert work.send(None) is None
        except StopIteration as end:
            return end.value


class WholeHost:
    """One host of two devices and a job. ``about_to_write`` is asked before each write, whoever makes it.

    The coroutines are for a running loop. ``now_s`` is the time of the world; the host's own clock begins with each
    life of its machine.
    """

    def __init__(
        self,
        number: int,
        *,
        fleet: SimulatedFleet,
        folder: Path,
        now_s: Callable[[], float],
        about_to_write: Callable[["WholeHost", str, float], None],
        ceilings: Ceilings,
    ) -> None:
        self.host_id = f"h{number:02d}"
        self.fleet = fleet
        self.device_ids = tuple(view.device_id for view in fleet.devices())
        self.journal_path = folder / f"{self.host_id}.json"
        self.faults = Faults()
        self._now_s = now_s
        self._about_to_write = about_to_write
        self._ceilings = ceilings
        self._boots = 1
        self._booted_s = now_s() - 100.0 * number
        self.keeper: Keeper | None = None
        self.of_keeper: Process | None = None
        self.desk: Desk | None = None
        self.of_worker: Process | None = None
        self._life: WorkerLife | None = None
        self._link: Link | None = None
        self._part: Any = None

    @property
    def boot_id(self) -> str:
        return f"boot {self._boots}"

    def boot_s(self) -> float:
        return self._now_s() - self._booted_s

    @property
    def guarded(self) -> bool:
        """Whether anything runs that enforces leases."""
        return self.keeper is not None or self.desk is not None

    @property
    def orphaned(self) -> bool:
        """Whether the keeper has just died at something: at its next turn the worker puts everything back."""
        return self.keeper is None and self.desk is not None

    async def start(self) -> None:
        """The service manager starts the keeper, and the keeper a worker."""
        if self.keeper is None and self.desk is None:
            journal = Journal(self.journal_path, boot_id=self.boot_id)
            journal.open()
            devices = Process(self.fleet, self._writes)
            self.of_keeper = devices
            with patch("hardware.keeper.Worker", AtOnce):
                self.keeper = Keeper(
                    host_id=self.host_id,
                    journal=journal,
                    listener=None,  # type: ignore[arg-type]
                    command=(),
                    open_drivers=lambda: self._drivers(devices),
                    boot_s=self.boot_s,
                    ceilings=self._ceilings,
                    ramp=RestoreRamp(),
                )
            self.keeper._drivers = self._drivers(devices)
            self.keeper._own.begin()
            await self.tick()
        await self.start_worker()

    async def start_worker(self) -> None:
        """The keeper starts a worker anew, and hands over."""
        if self.keeper is None or self.desk is not None:
            return
        self._part = WorkerProcess(_NoProcess(), None, _Writer())  # type: ignore[arg-type]
        self.keeper._worker = self._part
        self._link = Link(self, self._part)
        file = Journal(self.journal_path, boot_id=self.boot_id)
        ends = (asyncio.Event(), asyncio.Event())
        life = self._life = WorkerLife(self._link, None, file, ends)  # type: ignore[arg-type]
        devices = self.of_worker = Process(self.fleet, self._writes)
        agent = Agent(
            host_id=self.host_id,
            devices=devices,
            jobs=devices,
            journal=life.journal,
            kept=lambda: life.journal.kept,
            boot_s=self.boot_s,
            ceilings=self._ceilings,
            raise_back=life.raise_back(devices),
        )
        with patch("hardware.agent_process.Worker", AtOnce):
            self.desk = Desk(agent, BeatsToKeeper(self._link, agent, (), Serial()))  # type: ignore[arg-type]
        try:
            life.journal.open()
        except HardwareError:
            pass  # It is asked again at each turn.
        except Killed as killed:
            await self._died(killed)
        await self.tick()

    async def tick(self) -> None:
        """One turn of every thread that there is."""
        try:
            if self._link is not None and self._link.gone:
                await self._stand_in()
            elif self.desk is not None:
                self.desk._round_devices()
                self.desk._round_jobs()
            elif self.keeper is not None and self.keeper._own.acting is not None:
                self.keeper._own.acting.expire_limits()
                self.keeper._own.acting.expire_jobs()
        except Killed as killed:
            await self._died(killed)

    async def answer(self, request: Request) -> Reply:
        """What the worker answers. Raises ``AgentUnreachable`` where there is none, or it died at it."""
        if self.desk is None:
            raise AgentUnreachable("no worker")
        try:
            return decode_reply(await self.desk.answer(encode_request(request).rstrip(), self.boot_s()), to=request)
        except Killed as killed:
            await self._died(killed)
            raise AgentUnreachable("the worker died") from None

    async def kill_worker(self) -> None:
        """The keeper finds that it has died."""
        self._forget_worker()
        if self.keeper is not None and self._part is not None:
            await self.keeper._kill(self._part)
            if self.keeper._own.acting is None:
                self.keeper._own.begin()
        self._part = None

    def keeper_is_dead(self) -> None:
        """The worker finds it at its next turn."""
        if self.keeper is not None:
            self.keeper._journal.close()
        self.keeper = self.of_keeper = None
        if self._link is not None:
            self._link.gone = True

    async def kill_both(self) -> None:
        if self._life is not None:
            self._life.journal.close()
        self._forget_worker()
        self._part = None
        self.keeper_is_dead()

    async def stop(self) -> None:
        """The service manager stops the keeper: the worker is let go, everything is put back."""
        if self.keeper is None:
            return
        await self.kill_worker()
        keeper = self.keeper
        try:
            if keeper is not None:
                await keeper._own.restore_all()
        except HardwareError:
            pass  # The journal has what is left.
        except Killed as killed:
            await self._died(killed)
        self.keeper_is_dead()

    async def restart_machine(self) -> None:
        await self.kill_both()
        self._boots += 1
        self._booted_s = self._now_s()

    async def _stand_in(self) -> None:
        """The keeper has died: the worker puts everything back, and ends."""
        assert self.desk is not None
        assert self._life is not None
        if self._life.journal.handed_over:
            await _stand_in_for_keeper(self.desk, self._link, self._life.journal, self._life._file)  # type: ignore[arg-type]
        self._life.journal.close()
        self._forget_worker()
        self._part = None

    async def _died(self, killed: Killed) -> None:
        if killed.process is self.of_keeper:
            self.keeper_is_dead()
            return
        if self._life is not None:
            self._life.journal.close()
        await self.kill_worker()

    def _forget_worker(self) -> None:
        self.desk = self.of_worker = self._life = self._link = None

    def _writes(self, device_id: str, limit_w: float) -> None:
        self._about_to_write(self, device_id, limit_w)

    def _drivers(self, devices: Process) -> Drivers:
        return Drivers(devices=devices, open_jobs=lambda: devices, lanes=Serial(), one_thread=True, close=lambda: None)
