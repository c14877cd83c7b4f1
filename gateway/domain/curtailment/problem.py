"""What a curtailment is planned from: the jobs with their promises, the intervals with their targets, and the limits.

Time is cut into intervals over which everything is constant: a target, each job's throughput, whether it is paused. A
pause covers whole intervals, so a job whose tested maximum is shorter than an interval is not paused in it: whoever
wants short pauses planned asks in shorter intervals.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime

from hardware.job import CurvePoint, PauseMethod


@dataclass(frozen=True, slots=True, kw_only=True)
class PauseTerms:
    """How a job may be paused, and what that costs it.

    ``max_pause_s`` is the longest tested pause; a pause that has begun lasts ``min_rest_s`` at least, and a job that
    came back runs for ``min_run_s`` before it is paused again. ``checkpoint_cost_s`` and ``resume_cost_s`` are seconds
    of its full work that are lost before a pause and after it: what is written, loaded and done again.
    ``paused_for_s`` is for how long it has been paused already, 0 where it runs.
    """

    method: PauseMethod
    max_pause_s: float
    min_run_s: float = 0.0
    min_rest_s: float = 0.0
    checkpoint_cost_s: float = 0.0
    resume_cost_s: float = 0.0
    paused_for_s: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CurtailmentJob:
    """One job, and what was promised to it.

    ``curve`` is one device's, in rising order of cap and not empty. ``min_throughput`` binds in each interval in which
    the job runs; ``tier_mean`` is the least mean throughput, a pause counting as nothing, over the intervals with a
    target and over the job's life. Of that life ``elapsed_s`` are gone at a mean of ``throughput_so_far``, so that a
    job that was slowed before has less to give. Where something was asked without a break up to ``starts_at``, that was
    for ``asked_s``, in which it had ``asked_given_s`` seconds of its full work. What can be kept no more is kept as far
    as it can be.

    ``idle_w`` is what a device draws while the job is paused. ``pause`` is ``None`` where it must not be. A job that
    has ``remaining_s`` of work at full throughput to do by ``deadline_at`` is left the time for it.
    """

    job_id: str
    tier: str
    weight: float
    devices: int
    curve: tuple[CurvePoint, ...]
    min_throughput: float = 0.0
    tier_mean: float = 0.0
    throughput_so_far: float = 1.0
    elapsed_s: float = 0.0
    asked_s: float = 0.0
    asked_given_s: float = 0.0
    idle_w: float = 0.0
    pause: PauseTerms | None = None
    deadline_at: datetime | None = None
    remaining_s: float = 0.0

    def __post_init__(self) -> None:
        if not self.curve:
            raise ValueError(f"job {self.job_id!r} has no curve")
        if self.devices <= 0:
            raise ValueError(f"job {self.job_id!r} has no devices")


@dataclass(frozen=True, slots=True, kw_only=True)
class CurtailmentInterval:
    """A stretch of time and the most that the site may draw in it; ``None`` where nothing is asked.

    For a ramp the lower of its ends keeps the target at each instant.
    """

    duration_s: float
    target_w: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLimit:
    """A node of the electrical tree: what the devices under it may draw, and how many of each job's hang there."""

    node_id: str
    budget_w: float
    devices: Mapping[str, int]


@dataclass(frozen=True, slots=True, kw_only=True)
class CurtailmentProblem:
    """One event to be planned, from ``starts_at`` on.

    ``fixed_w`` is the site power that no cap of ours moves. ``ramp_up_w_per_s`` is the fastest that the site may rise
    from one interval to the next, counted from middle to middle, and ``power_before_w`` what it drew before the first
    (``None``: no limit, and unknown). ``stagger_fraction`` is the share of the pausable jobs' power that may begin or
    end a pause at one instant; a single job may always.

    Raises ``ValueError`` without intervals, for a duration that is not positive, or for a job given twice.
    """

    starts_at: datetime
    intervals: tuple[CurtailmentInterval, ...]
    jobs: tuple[CurtailmentJob, ...]
    fixed_w: float = 0.0
    nodes: tuple[NodeLimit, ...] = ()
    ramp_up_w_per_s: float | None = None
    power_before_w: float | None = None
    stagger_fraction: float = 0.25

    def __post_init__(self) -> None:
        if not self.intervals:
            raise ValueError("no interval to plan")
        if any(interval.duration_s <= 0.0 for interval in self.intervals):
            raise ValueError("an interval lasts longer than nothing")
        if len({job.job_id for job in self.jobs}) < len(self.jobs):
            raise ValueError("a job is given twice")
