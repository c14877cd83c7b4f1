"""What an agent would do at its start, found by letting it do so on a shadow: devices and jobs are only read.

The keepers themselves decide, as they would; what they write is noted and believed, and goes nowhere.
"""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from hardware.device import CapResult, DeviceDriver, DeviceView, PowerReading
from hardware.errors import JournalUnreadable
from hardware.job import JobDriver, JobResult, JobState, JobView, NodeView, SchedulerDriver
from hardware.journal import CURE, JournalState, PriorLimit, parsed
from hardware.limit_terms import Ceilings
from hardware.limits import LimitKeeper
from hardware.pauses import PauseKeeper


@dataclass(frozen=True, slots=True, kw_only=True)
class Rehearsal:
    """What would come of it: each limit and job that the journal speaks of, and the limits that would be written."""

    limits: tuple[CapResult, ...]
    jobs: tuple[JobResult, ...]
    writes_w: Mapping[str, float]


def rehearse(
    state: JournalState,
    *,
    boot_id: str,
    devices: DeviceDriver,
    jobs: JobDriver | None,
    now_s: float,
    ceilings: Ceilings | None = None,
) -> Rehearsal:
    """Let keepers recover from this journal over the shadow of these drivers. Never writes; faults are results."""
    journal = _JournalCopy(state, boot_id)
    shadow = _ShadowDevices(devices)
    limits = LimitKeeper(shadow, journal, ceilings=ceilings or Ceilings()).recover()
    resumed = PauseKeeper(None if jobs is None else _shadow_of(jobs), journal).recover(now_s)
    return Rehearsal(limits=limits, jobs=resumed, writes_w=shadow.writes_w)


def left_in(path: Path) -> JournalState | None:
    """What a journal holds now, without taking it from whoever has it open; ``None`` where there is no file.

    A journal is replaced as a whole, so that this is never half of one. Raises ``JournalUnreadable``.
    """
    try:
        return parsed(path.read_bytes())
    except FileNotFoundError:
        return None
    except (OSError, ValueError, TypeError, KeyError, AttributeError, RecursionError) as cause:
        raise JournalUnreadable(f"the journal {path} cannot be read: {cause}", cure=CURE) from cause


class _JournalCopy:
    """A journal in memory that was left by somebody else."""

    def __init__(self, state: JournalState, boot_id: str) -> None:
        self._state = state
        self._boot_id = boot_id

    @property
    def state(self) -> JournalState:
        return self._state

    @property
    def boot_id(self) -> str:
        return self._boot_id

    def open(self) -> None:
        return

    def commit(
        self,
        *,
        epoch: int | None = None,
        limits: Mapping[str, PriorLimit] | None = None,
        paused: frozenset[str] | None = None,
        held: frozenset[str] | None = None,
        drained: frozenset[str] | None = None,
    ) -> None:
        old = self._state
        self._state = JournalState(
            epoch=old.epoch if epoch is None else epoch,
            limits=old.limits if limits is None else limits,
            paused=old.paused if paused is None else paused,
            held=old.held if held is None else held,
            drained=old.drained if drained is None else drained,
            boot_id=old.boot_id if limits is None else self._boot_id,
        )

    def close(self) -> None:
        return


class _ShadowDevices:
    """Devices as they are, but for limits that were written here."""

    def __init__(self, devices: DeviceDriver) -> None:
        self._devices = devices
        self.writes_w: dict[str, float] = {}

    def devices(self) -> tuple[DeviceView, ...]:
        return self._devices.devices()

    def limit_w(self, device_id: str) -> float:
        limit_w = self._devices.limit_w(device_id)
        return self.writes_w.get(device_id, limit_w)

    def asked_w(self, device_id: str) -> float:
        asked_w = self._devices.asked_w(device_id)
        return self.writes_w.get(device_id, asked_w)

    def set_limit_w(self, device_id: str, limit_w: float) -> None:
        self.writes_w[device_id] = limit_w

    def readings(self) -> tuple[PowerReading, ...]:
        return self._devices.readings()


class _ShadowJobs:
    """Jobs as they are, but for what was asked here."""

    def __init__(self, jobs: JobDriver) -> None:
        self._jobs = jobs
        self._states: dict[str, JobState] = {}

    def jobs(self) -> tuple[JobView, ...]:
        return tuple(replace(job, state=self._states.get(job.job_id, job.state)) for job in self._jobs.jobs())

    def pause(self, job_id: str) -> None:
        self._states[job_id] = JobState.PAUSED

    def resume(self, job_id: str) -> None:
        self._states[job_id] = JobState.RUNNING


class _ShadowScheduler(_ShadowJobs):
    """The same of a scheduler with its nodes."""

    def __init__(self, jobs: SchedulerDriver) -> None:
        super().__init__(jobs)
        self._scheduler = jobs
        self._drained: dict[str, bool] = {}

    def nodes(self) -> tuple[NodeView, ...]:
        return tuple(
            replace(node, drained=self._drained.get(node.node_id, node.drained)) for node in self._scheduler.nodes()
        )

    def hold(self, job_id: str) -> None:
        self._states[job_id] = JobState.HELD

    def release(self, job_id: str) -> None:
        self._states[job_id] = JobState.PENDING

    def requeue(self, job_id: str) -> None:
        self._states[job_id] = JobState.PENDING

    def prioritize(self, job_id: str, priority: int) -> None:  # noqa: ARG002 - the port's; nothing here goes by it
        return

    def drain(self, node_id: str, reason: str) -> None:  # noqa: ARG002 - the port's
        self._drained[node_id] = True

    def undrain(self, node_id: str) -> None:
        self._drained[node_id] = False


def _shadow_of(jobs: JobDriver) -> JobDriver:
    return _ShadowScheduler(jobs) if isinstance(jobs, SchedulerDriver) else _ShadowJobs(jobs)
