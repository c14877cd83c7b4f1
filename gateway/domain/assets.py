"""What the site has: devices and hosts with how they stand, the jobs on them, and what needs a person's attention."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from itertools import groupby

from hardware.device import DeviceView, Fault
from hardware.errors import CURES, Condition
from hardware.job import JobState, JobView

CAPPED_BELOW_DEFAULT_W = 0.5
"""A limit counts as a cap where it is lower than the device's own by more than this."""


class DeviceState(StrEnum):
    """How a device stands, the worst first."""

    ABSENT = "absent"
    """It was lost: it has left the fleet and the promise."""
    FAULT = "fault"
    CAPPED = "capped"
    FREE = "free"


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceAsset:
    """One device. ``power_w`` is ``None`` where no reading is at hand; ``fault`` has a cure wherever there is one."""

    device_id: str
    host_id: str
    model: str
    slot: int | None
    state: DeviceState
    capped: bool
    limit_w: float | None
    min_w: float
    default_w: float
    max_w: float
    power_w: float | None
    jobs: tuple[str, ...]
    slowed_by: tuple[str, ...]
    fault: Fault | None


@dataclass(frozen=True, slots=True, kw_only=True)
class HostAsset:
    """One host: how many of its devices stand how, what they draw together, and which jobs are on it.

    ``power_w`` is ``None`` while a device that is there has no reading: a sum without it would be too small.
    """

    host_id: str
    devices: int
    free: int
    capped: int
    fault: int
    absent: int
    power_w: float | None
    limit_w: float
    jobs: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAsset:
    """A job as far as its place goes, and its time (as ``JobView`` has it)."""

    job_id: str
    state: JobState
    tier: str
    devices: tuple[str, ...]
    fault: Fault | None
    deadline_at: datetime | None = None
    remaining_s: float | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Assets:
    """All of it, in order of host, slot and id."""

    hosts: tuple[HostAsset, ...]
    devices: tuple[DeviceAsset, ...]
    jobs: tuple[JobAsset, ...]


def assets_of(views: Iterable[DeviceView], jobs: Iterable[JobView], power_w: Mapping[str, float]) -> Assets:
    """Put together what the agents told. ``power_w`` is by device; a device that is missing there has no reading."""
    ordered = sorted(views, key=_place)
    ids = {view.device_id for view in ordered}
    by_slot = {f"{view.host_id}/{view.slot}": view.device_id for view in ordered if view.slot is not None}
    placed = [_job(job, ids, by_slot) for job in sorted(jobs, key=lambda job: job.job_id)]
    jobs_on: dict[str, list[str]] = {}
    for job in placed:
        for device_id in job.devices:
            jobs_on.setdefault(device_id, []).append(job.job_id)
    devices = [_device(view, power_w.get(view.device_id), jobs_on.get(view.device_id, ())) for view in ordered]
    grouped = groupby(devices, key=lambda device: device.host_id)
    return Assets(
        hosts=tuple(_host(host_id, list(group)) for host_id, group in grouped),
        devices=tuple(devices),
        jobs=tuple(placed),
    )


def is_capped(view: DeviceView) -> bool:
    """Whether its limit is held under its own."""
    return view.present and view.limit_w < view.cap_range.default_w - CAPPED_BELOW_DEFAULT_W


def state_of(view: DeviceView) -> DeviceState:
    """How a device stands; of several things the worst."""
    if not view.present:
        return DeviceState.ABSENT
    if view.fault is not None:
        return DeviceState.FAULT
    return DeviceState.CAPPED if is_capped(view) else DeviceState.FREE


def fault_of(view: DeviceView) -> Fault | None:
    """What is wrong with a device. One that is absent has a fault, whether or not its host says which."""
    if view.fault is not None:
        return plainly(view.fault, view.device_id)
    if view.present:
        return None
    return Fault(condition=Condition.LOST, detail="its host does not find it any more", cure=CURES[Condition.LOST])


def plainly(fault: Fault, name: str = "") -> Fault:
    """A fault with its cure said once: with the usual one where it came with none, and not in the detail, too."""
    cure = fault.cure or CURES[fault.condition]
    detail = fault.detail.removesuffix(cure).rstrip("; ")
    if name:
        detail = detail.removeprefix(f"{name}: ")
    return Fault(condition=fault.condition, detail=detail, cure=cure)


def _place(view: DeviceView) -> tuple[str, int, str]:
    return view.host_id, -1 if view.slot is None else view.slot, view.device_id


def _device(view: DeviceView, power_w: float | None, jobs: Sequence[str]) -> DeviceAsset:
    return DeviceAsset(
        device_id=view.device_id,
        host_id=view.host_id,
        model=view.model,
        slot=view.slot,
        state=state_of(view),
        capped=is_capped(view),
        limit_w=view.limit_w if view.present else None,
        min_w=view.cap_range.min_w,
        default_w=view.cap_range.default_w,
        max_w=view.cap_range.max_w,
        power_w=power_w if view.present else None,
        jobs=tuple(jobs),
        slowed_by=view.slowed_by if view.present else (),
        fault=fault_of(view),
    )


def _host(host_id: str, devices: Sequence[DeviceAsset]) -> HostAsset:
    states = [device.state for device in devices]
    there = [device for device in devices if device.state is not DeviceState.ABSENT]
    known_w = [device.power_w for device in there if device.power_w is not None]
    return HostAsset(
        host_id=host_id,
        devices=len(devices),
        free=states.count(DeviceState.FREE),
        capped=states.count(DeviceState.CAPPED),
        fault=states.count(DeviceState.FAULT),
        absent=states.count(DeviceState.ABSENT),
        power_w=sum(known_w) if there and len(known_w) == len(there) else None,
        limit_w=sum(device.limit_w or 0.0 for device in there),
        jobs=tuple(sorted({job_id for device in devices for job_id in device.jobs})),
    )


def _job(job: JobView, ids: set[str], by_slot: Mapping[str, str]) -> JobAsset:
    found = (name if name in ids else by_slot.get(name, name) for name in job.device_ids)
    return JobAsset(
        job_id=job.job_id,
        state=job.state,
        tier=job.tier,
        devices=tuple(found),
        fault=None if job.fault is None else plainly(job.fault, job.job_id),
        deadline_at=job.deadline_at,
        remaining_s=job.remaining_s,
    )
