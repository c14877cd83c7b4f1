"""What is observed of jobs for their power curves: readings of a window, under caps that have settled.

**How dispatch comes by it.** Every ``WINDOW_S`` seconds it hands over all device readings of the window, with the cap
in force on each device and since when (the actuator's last *confirmed* write, not what was asked for; a device without
a cap has none), and since when each job runs again after a pause. A reading counts from ``SETTLE_S`` after the write:
power follows a cap within 40 ms, but sensors average over a second, and some look a quarter of the time only. A job
counts where most of its devices were heard of and all of these are under one cap.

Throughput counts only where somebody measures it: drivers that cannot see it say 1.0 of any running job, so the jobs
whose figure is real are named. ``JobView.progress`` is not it: processor time does not fall with a device's clocks.
"""

from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import fmean
from typing import NamedTuple

from hardware.device import PowerReading, Quality
from hardware.job import JobState, JobView

WINDOW_S = 10.0
"""Readings of a second are alike from one to the next: a window of this length counts as one observation."""

SETTLE_S = 5.0
"""A reading counts from so long after a write of its device's cap (``hardware.effect`` waits as long)."""

SAME_CAP_FRACTION = 0.01
MOST_DEVICES = 0.5
"""A job is observed where more than this share of its devices was heard of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Observation:
    """One job over one window: each of its ``devices`` under ``cap_w``, drawing ``power_w`` on average.

    ``peak_w`` is the highest reading of a device, on average over them: a load that comes and goes is held down by a
    cap over its mean. ``throughput`` is of its own uncapped rate, ``None`` where nobody measures it. ``at`` is the end
    of the window, ``duration_s`` what of it counted.
    """

    job_id: str
    at: datetime
    cap_w: float
    power_w: float
    peak_w: float
    throughput: float | None
    devices: int
    duration_s: float = WINDOW_S


@dataclass(frozen=True, slots=True, kw_only=True)
class CapInForce:
    """The cap that a device enforces, and since when."""

    cap_w: float
    since: datetime


class _Heard(NamedTuple):
    """One device over the part of the window that counts."""

    cap_w: float
    mean_w: float
    peak_w: float
    since: datetime


def observations(
    views: Iterable[JobView],
    *,
    readings: Mapping[str, Sequence[PowerReading]],
    caps: Mapping[str, CapInForce],
    window_from: datetime,
    window_to: datetime,
    throughput_seen: Collection[str] = (),
    running_since: Mapping[str, datetime] | None = None,
) -> tuple[Observation, ...]:
    """The observations of one window, at most one a job; the module says how dispatch gets its arguments.

    ``readings`` are a device's of the window, by device_id; ``caps`` those in force now: a device that is not in it has
    none, and counts as being under the last cap of its job's curve. ``throughput_seen`` names the jobs whose
    ``JobView.throughput`` is measured. ``running_since`` is when jobs were last resumed or started.
    """
    began = running_since or {}
    settle = timedelta(seconds=SETTLE_S)
    found: list[Observation] = []
    for view in views:
        if view.state is not JobState.RUNNING or not view.curve:
            continue
        since = max(window_from, began.get(view.job_id, window_from - settle) + settle)
        top_w = view.curve[-1].cap_w
        each = (_heard(readings.get(one, ()), caps.get(one), top_w, since, window_to) for one in view.device_ids)
        heard = [device for device in each if device is not None]
        caps_w = [device.cap_w for device in heard]
        if len(heard) <= MOST_DEVICES * len(view.device_ids):
            continue
        if max(caps_w) - min(caps_w) > SAME_CAP_FRACTION * max(caps_w):
            continue
        counted = window_to - max(device.since for device in heard)
        found.append(
            Observation(
                job_id=view.job_id,
                at=window_to,
                cap_w=fmean(caps_w),
                power_w=fmean(device.mean_w for device in heard),
                peak_w=fmean(device.peak_w for device in heard),
                throughput=view.throughput if view.job_id in throughput_seen else None,
                devices=len(heard),
                duration_s=max(1.0, counted.total_seconds()),
            )
        )
    return tuple(found)


def _heard(
    readings: Sequence[PowerReading], cap: CapInForce | None, top_w: float, since: datetime, until: datetime
) -> _Heard | None:
    """What a device drew from when its cap had settled, ``None`` where nothing was heard of it then."""
    cap_w = top_w
    if cap is not None:
        cap_w, since = min(cap.cap_w, top_w), max(since, cap.since + timedelta(seconds=SETTLE_S))
    power_w = [
        reading.power_w
        for reading in readings
        if reading.quality is Quality.GOOD and since <= reading.measured_at <= until
    ]
    if not power_w:
        return None
    return _Heard(cap_w=cap_w, mean_w=fmean(power_w), peak_w=max(power_w), since=since)
