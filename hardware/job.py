"""The face between the gateway and whatever runs the jobs: what they are, and pausing them under a lease."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol, runtime_checkable

from hardware.device import Fault, Lease, Outcome


class JobState(StrEnum):
    """Where a job stands."""

    PENDING = "pending"
    """It waits for its devices."""
    HELD = "held"
    """It waits, and is not to start before it is released."""
    RUNNING = "running"
    PAUSED = "paused"
    FINISHED = "finished"


class PauseMethod(StrEnum):
    """How a job is paused. What frees its devices and what keeps them differs, and so does how long it may last."""

    SIGNAL = "signal"
    """Every rank is stopped where it stands (signal or freezer); devices and their memory stay with it."""
    CHECKPOINT = "checkpoint"
    """Asked to write a checkpoint first, then stopped."""
    SUSPEND = "suspend"
    """By the scheduler's own suspend; devices stay with it."""
    REQUEUE = "requeue"
    """Ended and queued anew, held meanwhile: it begins again from its last checkpoint, if it has one."""


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseCosts:
    """What a pause costs a job beside its time, and how often it may be.

    ``checkpoint_s`` and ``resume_s`` are seconds of its full work that are lost before a pause and after it: what is
    written, loaded and done again. A pause lasts ``min_rest_s`` at least, and after one the job runs for ``min_run_s``.
    """

    checkpoint_s: float = 0.0
    resume_s: float = 0.0
    min_run_s: float = 0.0
    min_rest_s: float = 0.0


NO_COSTS = PauseCosts()


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
    uncapped: while it runs, and in the mean over an event, pauses counted as nothing, unless ``mean_throughput`` says
    otherwise of the mean. ``throughput`` is the present mean over its devices. ``max_pause_s`` is the longest tested
    pause; 0 means that the job must not be paused, and ``method`` is how it would be. ``progress`` is a number that
    rises as the job works (seconds of processor time, bytes of output), ``None`` where there is none to see. A device
    of ``device_ids`` may be written ``host/slot`` by a scheduler that does not know ids; the gateway's side finds its
    id.

    ``deadline_at`` is by when its work must be done, ``remaining_s`` the seconds of work at full throughput that are
    left to do, at most; each ``None`` where nobody knows. ``idle_w`` is what one of its devices draws while the job is
    paused, ``None`` where nobody measured it.
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
    method: PauseMethod = PauseMethod.SIGNAL
    progress: float | None = None
    priority: int | None = None
    fault: Fault | None = None
    pause_costs: PauseCosts = NO_COSTS
    mean_throughput: float | None = None
    deadline_at: datetime | None = None
    remaining_s: float | None = None
    idle_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeView:
    """A node as its scheduler sees it. A drained one goes on with its jobs and gets no new ones."""

    node_id: str
    drained: bool = False
    fault: Fault | None = None


class Verb(StrEnum):
    """What can be asked. Pause, hold and drain last as long as their lease, and end in resume, release and undrain.

    Requeue and prioritize are done once; drain and undrain name a node.
    """

    PAUSE = "pause"
    RESUME = "resume"
    HOLD = "hold"
    RELEASE = "release"
    REQUEUE = "requeue"
    PRIORITIZE = "prioritize"
    DRAIN = "drain"
    UNDRAIN = "undrain"


class Asker(StrEnum):
    """Who asks. Each counts sequences of its own, and what one holds back the other does not let go."""

    GATEWAY = "gateway"
    OPERATOR = "operator"
    """A person, by a command on the host."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAction:
    """Ask for ``verb`` on a job (for drain and undrain, ``job_id`` is a node's id).

    The end of the lease undoes what lasts: nothing that we hold back is held back by nobody. ``priority`` goes with
    ``PRIORITIZE``.
    """

    job_id: str
    verb: Verb
    lease: Lease
    priority: int | None = None
    asker: Asker = Asker.GATEWAY


@dataclass(frozen=True, slots=True, kw_only=True)
class JobResult:
    """What became of one action; ``state`` is read back, ``None`` where it is unknown."""

    job_id: str
    verb: Verb
    state: JobState | None
    outcome: Outcome
    detail: str = ""
    fault: Fault | None = None


class JobControl(Protocol):
    """Something that runs jobs and can pause them."""

    def jobs(self) -> Mapping[str, JobView]:
        """The jobs by id, as last heard of."""

    async def act(self, actions: Sequence[JobAction]) -> tuple[JobResult, ...]:
        """Act, read back, and say what holds: one result an action, in the same order. May be repeated."""


class JobDriver(Protocol):
    """The jobs of one host or scheduler as a driver reaches them. Blocking; called by an agent and by nobody else.

    Every call comes back within a bounded time, may be repeated, and raises ``HardwareError``. That a call came back
    says that it was taken: read ``jobs`` to know what holds. All ranks of a job are paused and resumed together.
    """

    def jobs(self) -> tuple[JobView, ...]: ...

    def pause(self, job_id: str) -> None: ...

    def resume(self, job_id: str) -> None: ...


@runtime_checkable
class SchedulerDriver(JobDriver, Protocol):
    """A driver over a scheduler with a queue."""

    def nodes(self) -> tuple[NodeView, ...]: ...

    def hold(self, job_id: str) -> None: ...

    def release(self, job_id: str) -> None: ...

    def requeue(self, job_id: str) -> None: ...

    def prioritize(self, job_id: str, priority: int) -> None: ...

    def drain(self, node_id: str, reason: str) -> None: ...

    def undrain(self, node_id: str) -> None: ...
