"""Devices as the page lists them: one by one, host by host, and all together."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import groupby

from gateway.http import words
from hardware.device import DeviceView, PowerReading

STALE_AFTER = timedelta(seconds=5)
"""An older reading is not shown as a device's present power."""

CAPPED_BELOW_DEFAULT_W = 0.5
"""A limit counts as a cap where it is lower than the device's own by more than this."""

MOST_DEVICES = 1024


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceLine:
    """One device. ``power_w`` is ``None`` where no reading is recent; ``state`` is free, capped or lost."""

    device_id: str
    host_id: str
    model: str
    state: str
    capped: bool
    power_w: float | None
    limit_w: float
    power: str
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class HostLine:
    """The devices of one host together; ``state`` is lost where one of them is, else capped where one of them is."""

    host_id: str
    devices: int
    state: str
    words: str
    power: str
    limit: str


@dataclass(frozen=True, slots=True, kw_only=True)
class DeviceSummary:
    """How many devices there are and how they are; ``devices`` lists the first ``MOST_DEVICES``."""

    total: int
    capped: int
    lost: int
    words: str
    hosts: tuple[HostLine, ...]
    devices: tuple[DeviceLine, ...]


def device_summary(
    views: Mapping[str, DeviceView], readings: Mapping[str, PowerReading], now: datetime
) -> DeviceSummary:
    """All devices, in order of host and id."""
    ordered = sorted(views.values(), key=lambda view: (view.host_id, view.device_id))
    lines = [_line(view, readings.get(view.device_id), now) for view in ordered]
    hosts = [_host(host_id, list(group)) for host_id, group in groupby(lines, key=lambda line: line.host_id)]
    if lines:
        told = f"{words.count(len(lines), 'device')} on {words.count(len(hosts), 'host')}: {_counts(lines)}."
    else:
        told = "No device is known yet."
    return DeviceSummary(
        total=len(lines),
        capped=sum(line.capped for line in lines),
        lost=sum(line.state == "lost" for line in lines),
        words=told,
        hosts=tuple(hosts),
        devices=tuple(lines[:MOST_DEVICES]),
    )


def _line(view: DeviceView, reading: PowerReading | None, now: datetime) -> DeviceLine:
    capped = view.present and view.limit_w < view.cap_range.default_w - CAPPED_BELOW_DEFAULT_W
    fresh = view.present and reading is not None and abs(now - reading.measured_at) <= STALE_AFTER
    power_w = reading.power_w if fresh and reading is not None else None
    return DeviceLine(
        device_id=view.device_id,
        host_id=view.host_id,
        model=view.model,
        state="capped" if capped else "free" if view.present else "lost",
        capped=capped,
        power_w=power_w,
        limit_w=view.limit_w,
        power="no reading" if power_w is None else words.device_power(power_w),
        limit=words.device_power(view.limit_w) if view.present else "unknown",
    )


def _host(host_id: str, lines: Sequence[DeviceLine]) -> HostLine:
    there = [line for line in lines if line.state != "lost"]
    known_w = [line.power_w for line in there if line.power_w is not None]
    silent = len(there) - len(known_w)
    states = {line.state for line in lines}
    return HostLine(
        host_id=host_id,
        devices=len(lines),
        state=next(state for state in ("lost", "capped", "free") if state in states),
        words=_counts(lines) + (f", {silent:,} without a reading" if silent else ""),
        power=words.power(sum(known_w)) if known_w else "no reading",
        limit=_range([line.limit_w for line in there]) if there else "unknown",
    )


def _range(limits_w: Iterable[float]) -> str:
    ordered = sorted(limits_w)
    lowest, highest = words.device_power(ordered[0]), words.device_power(ordered[-1])
    return lowest if lowest == highest else f"{lowest} to {highest}"


def _counts(lines: Sequence[DeviceLine]) -> str:
    """``all capped``, or ``3 capped, 5 free``."""
    counts = [(name, sum(line.state == name for line in lines)) for name in ("capped", "free", "lost")]
    there = [(name, number) for name, number in counts if number]
    if len(there) == 1:
        return f"all {there[0][0]}" if len(lines) > 1 else there[0][0]
    return ", ".join(f"{number:,} {name}" for name, number in there)
