"""The face between the gateway and everything that draws or measures power: vocabulary and Protocol classes.

Watts, joules, seconds, aware UTC instants. Import (consumption) is positive.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Protocol

from hardware.errors import Condition, HardwareError


class Quality(StrEnum):
    """How far a reading can be trusted."""

    GOOD = "good"
    SUSPECT = "suspect"
    """Measured, but implausible: negative, stuck, out of the meter's range, or stamped by a clock that stepped."""
    ESTIMATED = "estimated"


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerReading:
    """Power of one meter at one instant. ``energy_j`` is a running register where the meter has one."""

    meter_id: str
    power_w: float
    measured_at: datetime
    energy_j: float | None = None
    quality: Quality = Quality.GOOD


@dataclass(frozen=True, slots=True, kw_only=True)
class CapRange:
    """What a device accepts as power cap, inclusive; ``default_w`` is what it has when nobody asks."""

    min_w: float
    default_w: float
    max_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Fault:
    """What is wrong with something, by its name, in words, and what to do about it."""

    condition: Condition
    detail: str
    cure: str = ""

    @classmethod
    def of(cls, error: HardwareError) -> "Fault":
        """The fault that an error tells of."""
        return cls(condition=error.condition, detail=str(error), cure=error.cure)


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceView:
    """A device as its host sees it. ``limit_w`` is the limit enforced now; ``present`` is false once it was lost.

    ``slot`` is its number among the host's devices as the job scheduler counts them (NVIDIA's minor number), ``None``
    where there is none: it only serves to find the devices of a job, never to address one. ``fault`` is what is wrong
    with it now, an alarm for the operator. ``restores_to_w`` is the most that a restore leaves it at, as of the
    description: the limit found before our first write; ``None`` where the host does not say. ``slowed_by`` is what
    holds its clocks down, in words, where that can be told: what falls by anything but a power limit is not ours.
    """

    device_id: str
    host_id: str
    model: str
    cap_range: CapRange
    limit_w: float
    present: bool = True
    slot: int | None = None
    fault: Fault | None = None
    restores_to_w: float | None = None
    slowed_by: tuple[str, ...] = ()


class OnExpiry(StrEnum):
    """What the host does by itself when a lease is not renewed."""

    RESTORE = "restore"
    HOLD = "hold"


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """For how long a command holds.

    ``duration_s`` counts from the agent's receipt on its own boot-time clock, so that neither a clock step nor a
    clock difference between gateway and host can stretch a cap. ``epoch`` names the gateway's life: a lower one is
    refused. ``sequence`` rises with every command of an epoch: a lower one is stale, the same one acts once.
    """

    epoch: int
    sequence: int
    duration_s: float
    on_expiry: OnExpiry = OnExpiry.RESTORE


@dataclass(frozen=True, slots=True, kw_only=True)
class CapCommand:
    """Hold ``device_id`` at or under ``cap_w`` for as long as the lease lasts."""

    device_id: str
    cap_w: float
    lease: Lease


class Outcome(StrEnum):
    """What became of a command. Only ``APPLIED`` and ``CLAMPED`` changed (or confirmed) the limit."""

    APPLIED = "applied"
    CLAMPED = "clamped"
    """The range or the limit found did not allow the cap asked for; the nearest allowed one holds."""
    REFUSED = "refused"
    """The device or a rule (epoch, sequence, range) said no."""
    CONFLICT = "conflict"
    """Somebody else changed the limit: left as it is."""
    LOST = "lost"
    TIMED_OUT = "timed_out"


@dataclass(frozen=True, slots=True, kw_only=True)
class CapResult:
    """What became of one command. ``applied_w`` is the *enforced* limit read back, ``None`` where it is unknown."""

    device_id: str
    requested_w: float
    applied_w: float | None
    outcome: Outcome
    detail: str = ""
    fault: Fault | None = None


class PowerMeter(Protocol):
    """Something that measures power."""

    async def read(self) -> tuple[PowerReading, ...]:
        """The latest reading of each meter behind this one. Raises ``HardwareError`` where there is none in time."""


class PowerCap(Protocol):
    """Something that can be told to draw no more than so much, for a while."""

    def devices(self) -> Mapping[str, DeviceView]:
        """The devices by id, as last heard of."""

    async def refresh(self) -> None:
        """Ask the hosts for their devices anew. Raises ``HardwareError``."""

    async def apply(self, commands: Sequence[CapCommand]) -> tuple[CapResult, ...]:
        """Write, read back, and say what holds: one result a command, in the same order. Renewing is applying again."""

    async def restore(
        self, device_ids: Collection[str], epoch: int, sequence: int | None = None
    ) -> tuple[CapResult, ...]:
        """Put back the limits found before our first write, where they are still ours. May be repeated.

        With a ``sequence`` it is refused after a cap of a higher one, and refuses caps of a lower one after it.
        """


class DeviceDriver(Protocol):
    """The devices of one host as a driver reaches them. Blocking; called by the host's agent and by nobody else.

    Methods raise ``DeviceLost``, ``WriteRefused``, ``Unsupported`` or ``MeterSilent``.
    """

    def devices(self) -> tuple[DeviceView, ...]: ...

    def limit_w(self, device_id: str) -> float:
        """The limit that the device enforces now."""

    def asked_w(self, device_id: str) -> float:
        """The limit that was asked for last, by whoever asked: what a restore has to put back.

        The one in force may be lower, where something else limits the device, too.
        """

    def set_limit_w(self, device_id: str, limit_w: float) -> None:
        """Ask for a limit. Success says that the driver took it, not that it holds: read it back."""

    def readings(self) -> tuple[PowerReading, ...]:
        """Latest power of every device, and of the site meter where the driver has one."""
