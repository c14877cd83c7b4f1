"""What the keeper grants its worker: commits to the journal, and limits that are put back. Each is checked here first.

What a restore will write is not for the worker alone to say, nor how far a limit is raised.
"""

import asyncio
from collections.abc import Callable, Mapping
from functools import partial
from typing import Any

from hardware.agent import Drivers
from hardware.errors import HardwareError, JournalUnreadable, WriteRefused
from hardware.journal import Journal, PriorLimit
from hardware.keeper_link import limits_from_json, names_from_json
from hardware.limit_access import same
from hardware.limit_terms import Ceilings
from hardware.worker import Worker
from hardware.worker_process import LINGERS_CURE, WorkerProcess

DIFFERS_CURE = "it may have been set at this very moment: the next command reads it anew"

NO_STATE = (ValueError, TypeError, AttributeError)
"""What Python says of a commit that is none."""


class Grants:
    """Commits and put-backs of one host, as its worker asks for them.

    ``drivers`` gives what limits are read and written with, ``None`` until they are open; ``devices`` is the thread
    that they are called in, and ``disk`` the one of the journal.
    """

    def __init__(
        self,
        *,
        journal: Journal,
        drivers: Callable[[], Drivers | None],
        devices: Worker,
        disk: Worker,
        ceilings: Ceilings,
    ) -> None:
        self._journal = journal
        self._drivers = drivers
        self._devices = devices
        self._disk = disk
        self._ceilings = ceilings
        self._in_order = asyncio.Lock()
        self._raising: dict[str, tuple[float, list[asyncio.Future[HardwareError | None]]]] = {}
        self.lingering: list[WorkerProcess] = []
        """Workers that were killed, and that the system keeps in a call to a driver."""

    async def commit(self, worker: WorkerProcess, asked: Mapping[str, Any]) -> object:
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
        drivers = self._drivers()
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

    def may_forget(self, limits: Mapping[str, PriorLimit]) -> None:
        """Raise where an entry would go that a killed worker may be writing to yet: then nobody would notice it."""
        self.lingering = [worker for worker in self.lingering if worker.process.returncode is None]
        for worker in self.lingering:
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
                self.may_forget(given["limits"])
            self._journal.commit(**given)
        except JournalUnreadable as fault:
            return fault
        except NO_STATE as fault:
            return JournalUnreadable(f"no state of a journal: {fault}")
        return None

    async def put_back(self, worker: WorkerProcess, device_id: str, limit_w: float) -> object:
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
        drivers = self._drivers()
        if drivers is None:
            return {key: WriteRefused("the keeper has no driver", device_id=key) for key in goals_w}
        return dict(drivers.lanes.each(goals_w, lambda key: self._raise(key, goals_w[key])))

    def _raise(self, device_id: str, limit_w: float) -> None:
        """Write one limit, if it is one that may be put back."""
        prior, drivers = self._journal.state.limits.get(device_id), self._drivers()
        if prior is None or drivers is None:
            raise WriteRefused("nothing of ours is there to be put back", device_id=device_id)
        most_w = min(prior.found_w, self._ceilings.of(device_id))
        # Written so that no limit that is not a number passes.
        if not limit_w <= most_w and limit_w != min(prior.found_w, self._floor_w(device_id)):
            raise WriteRefused(f"{limit_w:g} W is over the {most_w:g} W to be put back", device_id=device_id)
        drivers.devices.set_limit_w(device_id, limit_w)

    def _floor_w(self, device_id: str) -> float:
        """The least that the device takes: what goes back where the ceiling is lower yet."""
        drivers = self._drivers()
        views = () if drivers is None else drivers.devices.devices()
        return next((view.cap_range.min_w for view in views if view.device_id == device_id), 0.0)
