"""The face between the gateway and whatever runs the jobs: what they are, and pausing them under a lease."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Protocol

from hardware.device import Lease, Outcome


class JobState(StrEnum):
    """Where a job stands."""

    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"


@dataclass(frozen=True, slots=True, kw_only=True)
class CurvePoint:
    """At a cap of ``cap_w`` a device of the job draws ``power_w`` and gives ``throughput`` (1.0 is uncapped)."""

    cap_w: float
    power_w: float
    throughput: float


@dataclass(frozen=True, slots=True, kw_only=True)
class JobView:
    """A job as its host or scheduler sees it.

    ``curve`` is one device's, rising in cap. ``min_throughput`` is what was promised to the job, as a fraction of
    uncapped. ``throughput`` is the present mean over its devices. ``max_pause_s`` is the longest tested pause; 0 means
    that the job must not be paused.
    """

    job_id: str
    device_ids: tuple[str, ...]
    tier: str
    weight: float
    min_throughput: float
    curve: tuple[CurvePoint, ...]
    max_pause_s: float = 0.0
    state: JobState = JobState.RUNNING
    throughput: float = 1.0


class Verb(StrEnum):
    """What can be asked of a job."""

    PAUSE = "pause"
    RESUME = "resume"


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAction:
    """Pause a job for as long as the lease lasts (its expiry resumes the job), or resume it now."""

    job_id: str
    verb: Verb
    lease: Lease


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What became of one action; ``state`` is read back, ``None`` where it is unknown."""

    job_id: str
    verb: Verb
    state: JobState | None
    outcome: Outcome
    detail: str = ""


class JobControl(Protocol):
    """Something that runs jobs and can pause them."""

    def jobs(self) -> Mapping[str, JobView]:
        """The jobs by id, as last heard of."""

    async def act(self, actions: Sequence[JobAction]) -> tuple[JobResult, ...]:
        """Act, read back, and say what holds: one result an action, in the same order. May be repeated."""


class JobDriver(Protocol):
    """The jobs of one host as a driver reaches them. Blocking; called by the host's agent and by nobody else."""

    def jobs(self) -> tuple[JobView, ...]: ...

    def pause(self, job_id: str) -> None: ...

    def resume(self, job_id: str) -> None: ...
