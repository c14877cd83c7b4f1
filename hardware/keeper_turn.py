"""The keeper's own turn: what it does with the journal while no worker acts. It enforces the leases, and puts back.

A turn begins when a worker has died, and ends when the next one is handed the journal.
"""

import asyncio
import time
from collections.abc import Callable, Mapping
from functools import partial

from hardware.agent import Agent, Drivers
from hardware.errors import HardwareError, JournalUnreadable
from hardware.journal import Journal, JournalState, PriorLimit, written
from hardware.keeper_link import leases_to_json
from hardware.lease import Kept, KeptLease
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.worker import Worker
from hardware.worker_process import WorkerProcess

TICK_S = 0.25

JOBS_S = 1.0
"""A worker that takes over waits so long for a scheduler that the keeper itself has asked."""

RESTORE_S = 7.0
"""At a stop the drivers have so long; what they did not put back by then the journal puts back at the next start."""


class _TurnJournal:
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


class OwnTurn:
    """The turns of one keeper, each an agent of its own over the same journal, under the leases that were told last.

    ``drivers`` gives what it acts with, ``None`` until they are open; ``devices`` and ``jobs`` are the threads that
    they are called in. ``may_forget`` raises ``JournalUnreadable`` where an entry must stay in the journal.
    """

    def __init__(
        self,
        *,
        host_id: str,
        journal: Journal,
        drivers: Callable[[], Drivers | None],
        devices: Worker,
        jobs: Worker,
        boot_s: Callable[[], float],
        ceilings: Ceilings,
        ramp: RestoreRamp,
        may_forget: Callable[[Mapping[str, PriorLimit]], None],
    ) -> None:
        self._host_id = host_id
        self._journal = journal
        self._drivers = drivers
        self._devices = devices
        self._jobs = jobs
        self._boot_s = boot_s
        self._ceilings = ceilings
        self._ramp = ramp
        self._may_forget = may_forget
        self._kept = Kept()
        self._turn: _TurnJournal | None = None
        self.acting: Agent | None = None
        """Who acts while it is the keeper's turn, else ``None``."""

    def thread_of_jobs(self) -> Worker:
        """The thread that jobs are acted on in."""
        drivers = self._drivers()
        return self._devices if drivers is not None and drivers.one_thread else self._jobs

    def begin(self) -> None:
        """Begin a turn: the leases that were told run on, and what has none is put back."""
        drivers = self._drivers()
        if drivers is None:
            return
        kept = self._kept
        self._turn = _TurnJournal(self._journal, self._may_forget)
        self.acting = Agent(
            host_id=self._host_id,
            devices=drivers.devices,
            # Anew each time: what the worker has stopped since is read from its record.
            jobs=drivers.open_jobs(),
            one_thread=drivers.one_thread,
            journal=self._turn,
            kept=lambda: kept,
            boot_s=self._boot_s,
            lanes=drivers.lanes,
            ceilings=self._ceilings,
            ramp=self._ramp,
        )

    async def enforce(self, thread: Worker, part: Callable[[Agent], object]) -> None:
        """Have this part of what is due done several times a second, whenever it is the keeper's turn. Never ends."""
        while True:
            if self.acting is not None:
                await thread.run(partial(part, self.acting))
            await asyncio.sleep(TICK_S)

    def hear_leases(self, part: str, leases: Mapping[str, KeptLease]) -> None:
        """Go on with these of ``limits`` or ``jobs`` at the next turn."""
        self._kept = self._kept._replace(**{part: leases})

    def leased(self) -> bool:
        """Whether any lease that was told last has time to run."""
        now_s = self._boot_s()
        return any(lease.expires_s > now_s for part in self._kept for lease in part.values())

    async def hand_over(self, worker: WorkerProcess) -> object:
        """End the turn, and answer the worker: the journal, and the leases that run."""
        acting, turn = self.acting, self._turn
        if not worker.handed_over:
            if acting is None or turn is None:
                return JournalUnreadable("the keeper is not ready yet")
            unready = await self._devices.run(acting.expire_limits)
            if unready is not None:
                return JournalUnreadable(unready)
            jobs = await self._kept_jobs(acting)
            if worker.ended or self.acting is not acting:
                return JournalUnreadable("the keeper has gone on by itself meanwhile")
            # Whatever of the keeper's own still runs in its jobs' thread commits nothing from here on.
            turn.over = True
            self.acting = self._turn = None
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
                return await self.thread_of_jobs().run(acting.kept_jobs)
        except TimeoutError:
            return self._kept.jobs

    async def restore_all(self) -> None:
        """Put everything back, in a turn of its own where none has begun.

        Raises ``HardwareError`` that says what could not be.
        """
        if self.acting is None:
            self.begin()
        acting, drivers = self.acting, self._drivers()
        if acting is None or drivers is None:
            return
        try:
            async with asyncio.timeout(RESTORE_S):
                why, _ = await asyncio.gather(
                    self._devices.run(partial(_restored_limits, acting)),
                    self.thread_of_jobs().run(partial(_restored_jobs, acting)),
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
