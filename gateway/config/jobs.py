"""``[[hardware]]`` that runs jobs: processes of this host, and a Slurm cluster."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import AfterValidator, AwareDatetime, Field, model_validator

from gateway.config.parts import Section
from hardware.job import CurvePoint, PauseCosts, PauseMethod
from hardware.job_terms import MIN_THROUGHPUT, JobTerms
from hardware.workloads import WORKLOADS

LONGEST_PAUSE_S = 86_400.0

Fraction = Annotated[float, Field(ge=0, le=1)]
Watts = Annotated[float, Field(gt=0, allow_inf_nan=False)]
CurveSettings = str | tuple[tuple[Watts, Watts, Fraction], ...]


def _curve(curve: CurveSettings) -> CurveSettings:
    """The name of a measured curve, or points of its own. Raises ``ValueError``."""
    if isinstance(curve, str):
        if curve not in WORKLOADS:
            raise ValueError(f"no measured curve is called {curve!r}; known: {', '.join(sorted(WORKLOADS))}")
        return curve
    caps = [cap_w for cap_w, _, _ in curve]
    if caps != sorted(set(caps)) or len(caps) < 2:
        raise ValueError("a curve is two or more of [cap_w, power_w, throughput], rising in cap_w")
    for of, values in (("power_w", [point[1] for point in curve]), ("throughput", [point[2] for point in curve])):
        if values != sorted(values):
            raise ValueError(f"the {of} of a curve does not fall as the cap rises")
    return curve


class TermsSettings(Section):
    """What was promised to a job, and what may be asked of it. Without a ``curve`` no cap is planned for it."""

    tier: Literal["flex0", "flex1", "flex2", "flex3"] = "flex0"
    weight: float = Field(default=1.0, gt=0, allow_inf_nan=False)
    min_throughput: Fraction | None = None
    """By the tier, where it is not given. It binds while the job runs, and in the mean over an event."""
    mean_throughput: Fraction | None = None
    """How low pauses may take the mean over an event, where that is under ``min_throughput``: 0 for all through."""
    curve: Annotated[CurveSettings, AfterValidator(_curve)] | None = None
    """``[[cap_w, power_w, throughput], ...]`` of one device, or the name of a measured one."""
    max_pause_s: float = Field(default=0.0, ge=0, le=LONGEST_PAUSE_S)
    """The longest pause that was tested; 0: it must not be paused."""
    method: Literal["signal", "checkpoint", "suspend", "requeue"] = "signal"
    checkpoint_cost_s: float = Field(default=0.0, ge=0, le=LONGEST_PAUSE_S)
    """Seconds of its full work that are lost before each pause."""
    resume_cost_s: float = Field(default=0.0, ge=0, le=LONGEST_PAUSE_S)
    """And after each: what is loaded and done again."""
    min_run_s: float = Field(default=0.0, ge=0, le=LONGEST_PAUSE_S)
    """So long it runs between two pauses."""
    min_rest_s: float = Field(default=0.0, ge=0, le=LONGEST_PAUSE_S)
    """So long a pause lasts at least."""
    deadline: AwareDatetime | None = None
    """By when its work must be done: ``2026-12-01T08:00:00Z``. Of a scheduler's own deadline and this the earlier."""

    def terms(self) -> JobTerms:
        """The terms as the agent knows them."""
        return JobTerms(
            tier=self.tier,
            weight=self.weight,
            min_throughput=MIN_THROUGHPUT[self.tier] if self.min_throughput is None else self.min_throughput,
            curve=_points(self.curve),
            max_pause_s=self.max_pause_s,
            method=PauseMethod(self.method),
            mean_throughput=self.mean_throughput,
            deadline_at=self.deadline,
            pause_costs=PauseCosts(
                checkpoint_s=self.checkpoint_cost_s,
                resume_s=self.resume_cost_s,
                min_run_s=self.min_run_s,
                min_rest_s=self.min_rest_s,
            ),
        )

    @model_validator(mode="after")
    def _rests_within_its_maximum(self) -> "TermsSettings":
        if self.min_rest_s > self.max_pause_s:
            raise ValueError("min_rest_s is no longer than max_pause_s")
        return self


class ProcessJobSettings(TermsSettings):
    """``[[hardware.job]]``: a job of this host, and where its processes are found.

    ``pid_file`` names a process: the job is it and all that stems from it; of ``process_group_of`` and ``session_of``,
    also process id files, it is the whole group or session of that process. ``cgroup`` is a control group's folder.
    """

    id: str = Field(min_length=1)
    pid_file: Path | None = None
    process_group_of: Path | None = None
    session_of: Path | None = None
    cgroup: Path | None = None
    command: str | None = None
    """A shell's pattern for the command line of the process in the file, such as ``"*torchrun*"``."""
    devices: tuple[str, ...] = ()
    """Ids of devices (a GPU's UUID), or ``host/slot``."""
    method: Literal["signal", "checkpoint"] = "signal"
    checkpoint_signal: Literal["SIGUSR1", "SIGUSR2", "SIGHUP", "SIGINT", "SIGTERM"] = "SIGUSR1"
    checkpoint_file: Path | None = None
    """Written anew when the checkpoint is done."""
    checkpoint_timeout_s: float = Field(default=60.0, gt=0, le=3600)

    @model_validator(mode="after")
    def _found_one_way(self) -> "ProcessJobSettings":
        ways = (self.pid_file, self.process_group_of, self.session_of, self.cgroup)
        if sum(way is not None for way in ways) != 1:
            raise ValueError("give one of pid_file, process_group_of, session_of and cgroup")
        if self.cgroup is not None and self.command is not None:
            raise ValueError("command goes with a process id file, not with cgroup")
        if (self.method == "checkpoint") is not (self.checkpoint_file is not None):
            raise ValueError('method = "checkpoint" and checkpoint_file go together')
        return self


class ProcessSettings(Section):
    """``[[hardware]]`` of kind ``process``: jobs of this host that no scheduler runs."""

    kind: Literal["process"]
    job: tuple[ProcessJobSettings, ...] = Field(min_length=1)


class SlurmTermsSettings(TermsSettings):
    """``[[hardware.terms]]``: the terms of the jobs that match; the first rule that does counts.

    Patterns of ``where`` are a shell's: ``{ partition = "train*", qos = "low" }``.
    """

    where: dict[Literal["name", "partition", "qos", "account", "user"], str] = Field(default_factory=dict)
    method: Literal["signal", "checkpoint", "suspend", "requeue"] = "suspend"


class SlurmSettings(Section):
    """``[[hardware]]`` of kind ``slurm``: a cluster, by its command line or its REST service (``slurmrestd``)."""

    kind: Literal["slurm"]
    name: str = Field(default="slurm", min_length=1)
    way: Literal["command", "rest"] = "command"
    url: str | None = Field(default=None, pattern=r"^https?://")
    """Where ``slurmrestd`` listens; what it cannot do is still done by the command line."""
    user: str | None = None
    """Whose token it is."""
    token_file: Path | None = None
    slurm_conf: Path | None = None
    commands: Path | None = None
    """The folder of Slurm's commands, where they are not on the path."""
    deadline_s: float = Field(default=8.0, ge=0.5, le=60.0)
    """So long a call may take: a dead controller hangs it."""
    checkpoint_signal: Literal["USR1", "USR2", "HUP", "INT", "TERM"] = "USR1"
    checkpoint_file: str = Field(default="checkpoint.done", min_length=1)
    checkpoint_timeout_s: float = Field(default=10.0, gt=0, le=60.0)
    terms: tuple[SlurmTermsSettings, ...] = ()

    @model_validator(mode="after")
    def _rest_is_told_where(self) -> "SlurmSettings":
        if self.way == "rest" and (self.url is None or self.user is None or self.token_file is None):
            raise ValueError('way = "rest" needs url, user and token_file')
        return self


def _points(curve: CurveSettings | None) -> tuple[CurvePoint, ...]:
    if curve is None:
        return ()
    if isinstance(curve, str):
        return WORKLOADS[curve].curve()
    return tuple(CurvePoint(cap_w=cap_w, power_w=power_w, throughput=part) for cap_w, power_w, part in curve)
