"""Hosts, devices and the nodes of the electrical tree, as the page lists them."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import datetime, timedelta

from gateway.domain.assets import Assets, DeviceAsset, DeviceState, HostAsset, assets_of
from gateway.domain.electrical import NodeState
from gateway.http import words
from hardware.device import DeviceView, PowerReading
from hardware.job import JobView

STALE_AFTER = timedelta(seconds=5)
"""An older reading is not shown as a device's present power."""

MOST_DEVICES = 2048
MOST_JOBS = 3
"""So many jobs of a host are named; of the others the number is."""

LONGEST_TROUBLE = 240


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """One device. ``power_w`` is ``None`` where no reading is recent; ``state`` is free, capped, fault or absent.

    ``condition``, ``trouble`` and ``cure`` say what is wrong with it and what to do; empty where nothing is.
    """

    device_id: str
    host_id: str
    model: str
    state: str
    state_words: str
    capped: bool
    power_w: float | None
    limit_w: float | None
    power: str
    limit: str
    takes: str
    jobs: str
    condition: str
    trouble: str
    cure: str


NO_DEVICE = dict.fromkeys((field.name for field in fields(DeviceLine)), "")
"""A line with nothing in it, of which the page makes more."""


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLine:
    """The devices of one host together; ``state`` is that of its worst. ``power_w`` is what is known of its power."""

    host_id: str
    devices: int
    model: str
    state: str
    words: str
    power_w: float | None
    limit_w: float
    power: str
    limit: str
    jobs: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSummary:
    """How many devices there are and how they are; ``devices`` lists the first ``MOST_DEVICES``, as ``note`` says."""

    total: int
    free: int
    capped: int
    fault: int
    absent: int
    words: str
    note: str
    hosts: tuple[HostLine, ...]
    devices: tuple[DeviceLine, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class NodeLine:
    """A node of the electrical tree with a limit; ``state`` is within, tight (devices get less because of it) or over.

    ``worst_w`` is the most that it may draw now, every device at its limit.
    """

    node_id: str
    kind: str
    state: str
    words: str
    limit_w: float
    worst_w: float
    limit: str
    worst: str


def assets_now(
    views: Mapping[str, DeviceView], jobs: Mapping[str, JobView], readings: Mapping[str, PowerReading], now: datetime
) -> Assets:
    """Hosts, devices and jobs with the readings that are recent."""
    power_w = {
        device_id: reading.power_w
        for device_id in views
        if (reading := readings.get(device_id)) is not None and abs(now - reading.measured_at) <= STALE_AFTER
    }
    return assets_of(views.values(), jobs.values(), power_w)


def device_summary(assets: Assets) -> DeviceSummary:
    """All devices, in order of host, slot and id."""
    by_host: dict[str, list[DeviceAsset]] = {}
    for device in assets.devices:
        by_host.setdefault(device.host_id, []).append(device)
    total = len(assets.devices)
    if total:
        counts = _counts(assets.devices)
        told = f"{words.count(total, 'device')} on {words.count(len(assets.hosts), 'host')}: {counts}."
    else:
        told = "No device is known yet."
    states = [device.state for device in assets.devices]
    return DeviceSummary(
        total=total,
        free=states.count(DeviceState.FREE),
        capped=sum(device.capped for device in assets.devices),
        fault=states.count(DeviceState.FAULT),
        absent=states.count(DeviceState.ABSENT),
        words=told,
        note=(
            f"The first {MOST_DEVICES:,} devices are listed one by one; 'gridgate asset list' tells all."
            if total > MOST_DEVICES
            else ""
        ),
        hosts=tuple(_host(host, by_host[host.host_id]) for host in assets.hosts),
        devices=tuple(_device(device) for device in assets.devices[:MOST_DEVICES]),
    )


def by_host(devices: Iterable[DeviceLine]) -> dict[str, list[DeviceLine]]:
    """The lines of each host."""
    lines: dict[str, list[DeviceLine]] = {}
    for line in devices:
        lines.setdefault(line.host_id, []).append(line)
    return lines


def node_lines(nodes: Iterable[NodeState]) -> tuple[NodeLine, ...]:
    """The nodes that have a limit, as the guard of the tree sees them."""
    return tuple(_node(node) for node in nodes if node.limit_w > 0.0)


def _device(device: DeviceAsset) -> DeviceLine:
    fault = device.fault
    state = str(device.state)
    if fault is not None and device.capped:
        state += ", capped"
    return DeviceLine(
        device_id=device.device_id,
        host_id=device.host_id,
        model=device.model,
        state=str(device.state),
        state_words=state if fault is None else f"{state}: {fault.condition}",
        capped=device.capped,
        power_w=device.power_w,
        limit_w=device.limit_w,
        power="no reading" if device.power_w is None else words.device_power(device.power_w),
        limit="unknown" if device.limit_w is None else words.device_power(device.limit_w),
        takes=f"{device.min_w:,.0f} to {words.device_power(device.max_w)}",
        jobs=", ".join(device.jobs) or "none",
        condition="" if fault is None else str(fault.condition),
        trouble="" if fault is None else words.clipped(fault.detail, LONGEST_TROUBLE),
        cure="" if fault is None else words.clipped(fault.cure, LONGEST_TROUBLE),
    )


def _host(host: HostAsset, devices: Sequence[DeviceAsset]) -> HostLine:
    there = [device for device in devices if device.state is not DeviceState.ABSENT]
    known_w = [device.power_w for device in there if device.power_w is not None]
    silent = len(there) - len(known_w)
    states = {device.state for device in devices}
    models = sorted({device.model for device in devices})
    free_w = sum(device.default_w for device in there)
    return HostLine(
        host_id=host.host_id,
        devices=len(devices),
        model=f"{len(devices):,} \N{MULTIPLICATION SIGN} {models[0] if len(models) == 1 else f'{len(models)} models'}",
        state=next(str(state) for state in DeviceState if state in states),
        words=_counts(devices) + (f", {silent:,} without a reading" if silent else ""),
        power_w=sum(known_w) if known_w else None,
        limit_w=host.limit_w,
        power=f"draws {words.power(sum(known_w))}" if known_w else "no reading",
        limit=f"limits {words.power(host.limit_w)} of {words.power(free_w)}" if there else "limits unknown",
        jobs=_jobs(host.jobs),
    )


def _jobs(jobs: Sequence[str]) -> str:
    """``jobs train-1, serve``; of many the first, and how many more."""
    if not jobs:
        return "no job"
    more = f" and {len(jobs) - MOST_JOBS:,} more" if len(jobs) > MOST_JOBS else ""
    return f"{'job' if len(jobs) == 1 else 'jobs'} {', '.join(jobs[:MOST_JOBS])}{more}"


def _counts(devices: Sequence[DeviceAsset]) -> str:
    """``all capped``, or ``3 capped, 5 free``."""
    names = {
        DeviceState.CAPPED: "capped",
        DeviceState.FREE: "free",
        DeviceState.FAULT: "with a fault",
        DeviceState.ABSENT: "absent",
    }
    states = [device.state for device in devices]
    there = [(name, states.count(state)) for state, name in names.items() if state in states]
    if len(there) == 1:
        return f"all {there[0][0]}" if len(devices) > 1 else there[0][0]
    return ", ".join(f"{number:,} {name}" for name, number in there)


def _node(node: NodeState) -> NodeLine:
    if node.shortfall_w > 0.0:
        state = "over"
        told = f"may be {words.power(node.shortfall_w)} over its limit, with every device that answers at its floor"
    elif node.worst_w > node.limit_w:
        state, told = "over", f"may be {words.power(node.worst_w - node.limit_w)} over its limit: caps come down"
    elif node.binds:
        state, told = "tight", "holds devices under their own limits"
    else:
        state, told = "within", "within its limit"
    return NodeLine(
        node_id=node.node_id,
        kind=str(node.kind),
        state=state,
        words=told,
        limit_w=node.limit_w,
        worst_w=node.worst_w,
        limit=words.power(node.limit_w),
        worst=words.power(node.worst_w),
    )
