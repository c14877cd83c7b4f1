"""What ``gridgate agent --check`` finds, as it is shown and as its JSON has it."""

from dataclasses import dataclass

from hardware.device import Fault


@dataclass(frozen=True, slots=True, kw_only=True)
class Check:
    """One thing that was looked at. Where it is not well, or could be better, ``cure`` says what to do."""

    part: str
    well: bool
    says: str
    cure: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedDevice:
    """A device as its driver tells it. ``asked_w`` is the limit asked for last, ``limit_w`` the one in force."""

    device_id: str
    model: str
    present: bool
    min_w: float
    default_w: float
    max_w: float
    asked_w: float | None
    limit_w: float | None
    persistence: bool | None
    mig: bool | None
    fault: Fault | None


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedJob:
    """A job with its terms."""

    job_id: str
    state: str
    tier: str
    min_throughput: float
    max_pause_s: float
    method: str
    devices: int


@dataclass(frozen=True, slots=True, kw_only=True)
class AtStart:
    """What an agent would do first with one entry of the journal. ``done`` is false where it could not."""

    name: str
    says: str
    done: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class CheckedJournal:
    """The journal. ``this_boot`` is ``None`` where nobody can say which life of the machine it is from."""

    path: str
    exists: bool
    epoch: int
    this_boot: bool | None
    at_start: tuple[AtStart, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class AgentCheck:
    """Everything; ``well`` is false where something would not work."""

    well: bool
    host: str
    checks: tuple[Check, ...]
    devices: tuple[CheckedDevice, ...]
    jobs: tuple[CheckedJob, ...]
    journal: CheckedJournal
