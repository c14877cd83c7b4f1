"""The node agent: the only one that touches a host's devices and jobs. What it answers, and what it puts back when.

Whatever ends - the gateway, the connection, this process - limits and jobs go back to how they were found: at the end
of their lease, at a graceful stop, or first of all at the next start, from the journal. Only caps that are to be held
stay through all of it, until a gateway asks for them to go back.
"""

import math
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import structlog

from hardware.device import CapResult, DeviceDriver, DeviceView, Outcome
from hardware.effect import EffectWatch
from hardware.errors import HardwareError, JournalUnreadable
from hardware.job import JobDriver, JobResult
from hardware.journal import Journal, JournalPort
from hardware.lanes import FanOut, Serial
from hardware.lease import Kept, KeptLease
from hardware.limit_terms import Ceilings, RestoreRamp
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


@dataclass(frozen=True, slots=True, kw_only=True)
class Drivers:
    """What an agent acts with. ``open_jobs`` gives the driver of jobs, if there is one, as its scheduler has them now.

    ``one_thread``: devices and jobs are for one thread. ``close`` lets go of the devices.
    """

    devices: DeviceDriver
    open_jobs: Callable[[], JobDriver | None]
    lanes: FanOut
    one_thread: bool
    close: Callable[[], None]


class Agent:
    """Answers requests over drivers, enforces leases, keeps the journal. Blocking.

    The methods are for one thread. Without ``one_thread`` those named after devices and limits may be called in one and
    those named after jobs in another: then a scheduler that is slow to answer holds up no cap. ``journal`` is where
    prior limits are kept: a file, another process that keeps one, or ``None`` where there is nothing to recover
    (in-process fleets). ``kept`` gives the leases to go on with, once the journal is open. ``boot_s`` gives the time
    for leases, in seconds. The rest is the ``LimitKeeper``'s.
    """

    def __init__(
        self,
        *,
        host_id: str,
        devices: DeviceDriver,
        jobs: JobDriver | None = None,
        one_thread: bool = True,
        journal: Path | JournalPort | None = None,
        kept: Callable[[], Kept] = Kept,
        boot_s: Callable[[], float] = boot_s,
        lanes: FanOut | None = None,
        ceilings: Ceilings | None = None,
        ramp: RestoreRamp | None = None,
        raise_back: Callable[[str, float], None] | None = None,
    ) -> None:
        self.host_id = host_id
        self.one_thread = one_thread
        self._devices = devices
        self._boot_s = boot_s
        self._journal = Journal(journal) if journal is None or isinstance(journal, Path) else journal
        self._kept = kept
        self._limits = LimitKeeper(
            devices,
            self._journal,
            lanes=lanes or Serial(),
            ceilings=ceilings or Ceilings(),
            ramp=ramp or RestoreRamp(),
            raise_back=raise_back,
        )
        self._effect = EffectWatch()
        self._pauses = PauseKeeper(jobs, self._journal)
        self._limits_recovered = False
        self._jobs_recovered = False
        self._told: dict[str, list[str]] = {}

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
        self.expire()
        if isinstance(request, Act):
            return self.act(request, received_s)
        reply = self.answer_for_devices(request, received_s)
        return self.with_jobs(reply) if isinstance(reply, Described) else reply

    def answer_for_devices(self, request: Describe | Read | Apply | Restore, received_s: float | None = None) -> Reply:
        """The answer to one request, but for the jobs of a description."""
        try:
            unready = self.expire_limits()
            if isinstance(request, Describe):
                return Described(
                    host_id=self.host_id,
                    highest_epoch=self._journal.state.epoch,
                    devices=self._views(),
                )
            if isinstance(request, Read):
                # A number that is none is no reading, and no JSON.
                readings = tuple(one for one in self._devices.readings() if math.isfinite(one.power_w))
                self._effect.look(readings, self._limits.caps_w(), self._boot_s())
                return Readings(readings=readings)
            if unready is not None:
                return _all_refused(request, unready)
            if isinstance(request, Restore):
                return Applied(results=self._limits.restore(request.device_ids, request.epoch, request.sequence))
            now_s = self._boot_s()
            since_s = now_s if received_s is None else received_s
            results = self._limits.apply(request.commands, received_s=since_s, now_s=now_s)
            return Applied(results=tuple(self._confirmed_in_watts(result) for result in results))
        except (HardwareError, OSError) as fault:
            return Failed(error=type(fault).__name__, detail=str(fault))

    def act(self, request: Act, received_s: float | None = None) -> Reply:
        """The answer to a request about jobs or nodes."""
        try:
            unready = self._recover_jobs()
            if unready is not None:
                return _all_refused(request, unready)
            self.expire_jobs()
            now_s = self._boot_s()
            since_s = now_s if received_s is None else received_s
            return Acted(results=self._pauses.act(request.actions, received_s=since_s, now_s=now_s))
        except (HardwareError, OSError) as fault:
            return Failed(error=type(fault).__name__, detail=str(fault))

    def with_jobs(self, described: Described) -> Described:
        """A description with jobs and nodes."""
        return replace(described, jobs=self._pauses.views(self._boot_s()), nodes=self._pauses.nodes())

    def recover(self) -> None:
        """Put back first what an agent that died left.

        Where the journal cannot be read, nothing is written at all, and it is tried again at every request.
        """
        fault = self._recover_limits() or self._recover_jobs()
        if fault is not None:
            log.error("journal_unreadable", detail=fault)

    def expire(self) -> None:
        """Put back what has no lease any more. Called a few times a second, and with every request."""
        self.expire_limits()
        self.expire_jobs()

    def expire_limits(self) -> str | None:
        """The part of ``expire`` that writes to devices. Returns why nothing may be written yet, else ``None``."""
        unready = self._recover_limits()
        now_s = self._boot_s()
        self._tell("lease_ended", limits=self._limits.expire(now_s))
        for device_id in self._limits.newly_held_over(now_s):
            log.warning("lease_ended_cap_held", device_id=device_id)
        return unready

    def expire_jobs(self) -> None:
        """The part of ``expire`` that acts on jobs and nodes."""
        self._recover_jobs()
        self._tell("job_lease_ended", jobs=self._pauses.expire(self._boot_s()))

    def _views(self) -> tuple[DeviceView, ...]:
        """The devices, with what a restore would leave each at, and what only the agent knows to be wrong."""
        found_w = self._limits.limits_found()
        return tuple(
            replace(
                view,
                restores_to_w=found_w.get(view.device_id, view.limit_w),
                fault=view.fault or self._effect.fault(view.device_id),
            )
            for view in self._limits.shown(self._devices.devices())
        )

    def _confirmed_in_watts(self, result: CapResult) -> CapResult:
        """A cap that reads back but does not show in watts is not confirmed: what holds there nobody knows."""
        fault = self._effect.fault(result.device_id)
        if fault is None or result.outcome not in {Outcome.APPLIED, Outcome.CLAMPED}:
            return result
        return replace(result, applied_w=None, outcome=Outcome.REFUSED, detail=fault.detail, fault=fault)

    def restore_all(self) -> None:
        """Put everything back but caps that are to be held; what cannot be put back is left to the journal."""
        self.restore_limits()
        self.restore_jobs()

    def restore_limits(self) -> tuple[CapResult, ...]:
        """The part of ``restore_all`` that writes to devices: what became of each limit."""
        results = self._limits.restore_all()
        self._tell("all_restored", limits=results)
        return results

    def restore_jobs(self) -> None:
        """The part of ``restore_all`` that acts on jobs and nodes."""
        self._tell("all_jobs_resumed", jobs=self._pauses.resume_all(self._boot_s()))

    def kept_limits(self) -> Mapping[str, KeptLease]:
        """The leases of limits that there are, for another process to go on with."""
        return self._limits.kept_leases()

    def kept_jobs(self) -> Mapping[str, KeptLease]:
        """The leases of jobs and nodes that there are, for another process to go on with."""
        return self._pauses.kept_leases()

    def close(self) -> None:
        """Let another agent have the journal."""
        self._journal.close()
        self._limits_recovered = self._jobs_recovered = False

    def _recover_limits(self) -> str | None:
        """Why nothing may be written yet, ``None`` once the journal was read and followed."""
        if not self._limits_recovered:
            try:
                self._journal.open()
            except JournalUnreadable as fault:
                return str(fault)
            self._limits_recovered = True
            self._limits.adopt(self._kept().limits)
            self._tell("recovered", limits=self._limits.recover())
        return None

    def _recover_jobs(self) -> str | None:
        if not self._jobs_recovered:
            try:
                self._journal.open()
            except JournalUnreadable as fault:
                return str(fault)
            self._jobs_recovered = True
            self._pauses.adopt(self._kept().jobs)
            self._tell("jobs_recovered", jobs=self._pauses.recover(self._boot_s()))
        return None

    def _tell(self, what: str, *, limits: tuple[CapResult, ...] = (), jobs: tuple[JobResult, ...] = ()) -> None:
        """One line a change: what is tried again and comes to the same is not said again."""
        if not limits and not jobs:
            return
        kept = [f"{result.device_id} {result.outcome} {result.detail}" for result in limits if _not_done(result)]
        kept += [f"{result.job_id} {result.outcome} {result.detail}" for result in jobs if _not_done(result)]
        if kept and self._told.get(what) == kept:
            return
        self._told[what] = kept
        log.log(30 if kept else 20, what, devices=len(limits), jobs=len(jobs), not_restored=kept[:8])


def _not_done(result: CapResult | JobResult) -> bool:
    return result.outcome is not Outcome.APPLIED or result.fault is not None


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
