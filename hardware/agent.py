"""The node agent: the only one that touches a host's devices and jobs. What it answers, and what it puts back when.

Whatever ends - the gateway, the connection, this process - limits and jobs go back to how they were found: at the end
of their lease, at a graceful stop, or first of all at the next start, from the journal.
"""

import math
import time
from collections.abc import Callable
from pathlib import Path

import structlog

from hardware.device import CapResult, DeviceDriver, Outcome
from hardware.errors import HardwareError, JournalUnreadable
from hardware.job import JobDriver, JobResult
from hardware.journal import Journal
from hardware.limits import LimitKeeper
from hardware.pauses import PauseKeeper
from hardware.wire import (
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
)

log = structlog.get_logger()


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
