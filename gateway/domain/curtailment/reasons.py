"""Why each job was chosen, in one sentence with its figures."""

import numpy as np

from gateway.domain.curtailment.choice import Choice, Worth
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.tree import Floats

_NOTHING = 1e-4
"""A mean throughput lost under this is none."""


def reasons(prepared: Prepared, choice: Choice, found: Worth) -> dict[int, str]:
    """By job, of those that give something."""
    price = _prices(prepared, choice)
    # The dearest that was taken in each interval, from whichever job.
    dearest = np.where(choice.paused, 0.0, price).max(axis=0, initial=0.0)
    whole_s = float(prepared.edges_s[-1])
    said: dict[int, str] = {}
    for j in range(len(prepared.jobs)):
        lost = float((prepared.top[j] - found.throughput[j]) @ prepared.duration_s) / whole_s
        if choice.paused[j].any():
            said[j] = _of_pause(prepared, choice, found, j)
        elif lost > _NOTHING:
            deepest = int(np.argmax(prepared.top_w[j] - choice.power_w[j]))
            why = (
                f"its last kilowatt-hour costs {price[j, deepest]:.2f} weighted GPU-hours where the dearest taken"
                f" costs {dearest[deepest]:.2f}"
            )
            said[j] = _of_caps(prepared, choice, found, j, why)
    return said


def _prices(prepared: Prepared, choice: Choice) -> Floats:
    """Weighted GPU-hours that the last kilowatt-hour taken from each job cost; nothing where nothing was taken."""
    price = np.zeros(choice.power_w.shape)
    over_w = choice.power_w - prepared.floor_w[:, np.newaxis]
    tolerance_w = 1e-6 * prepared.top_w
    before_w = np.zeros(len(prepared.jobs))
    for k, j in enumerate(prepared.segment_job.tolist()):
        steep = 1000.0 * float(prepared.worth[j] * prepared.segment_gain[k] / prepared.segment_w[k])
        open_ = over_w[j] < before_w[j] + prepared.segment_w[k] - tolerance_w[j]
        # The first segment that is not full is the last that something was taken from: it is the steepest of those.
        price[j] = np.where(open_ & (price[j] == 0.0), steep, price[j])
        before_w[j] += prepared.segment_w[k]
    return price


def _of_caps(prepared: Prepared, choice: Choice, found: Worth, j: int, why: str) -> str:
    job = prepared.jobs[j]
    most_w = float((prepared.top_w[j] - choice.power_w[j]).max())
    mean = float(found.throughput[j] @ prepared.duration_s) / float(prepared.edges_s[-1])
    return (
        f"slowed to {mean:.0%} in the mean and {float(found.throughput[j].min()):.0%} at the least for up to"
        f" {most_w / 1000.0:.1f} kW: {why}, and {job.tier} allows a mean of {job.tier_mean:.0%}"
    )


def _of_pause(prepared: Prepared, choice: Choice, found: Worth, j: int) -> str:
    job = prepared.jobs[j]
    paused = choice.paused[j]
    hours = prepared.duration_s[paused] / 3600.0
    saved_w = float(prepared.top_w[j] - prepared.idle_w[j])
    extra = float(found.pause_cost_s[j]) / 3600.0 * job.devices
    lost = float(prepared.top[j]) * float(hours.sum()) * job.devices + extra
    saved_kwh = saved_w / 1000.0 * float(hours.sum())
    method = "" if job.pause is None else f" by {job.pause.method}, tested for {job.pause.max_pause_s / 60.0:.0f} min,"
    each = job.weight * lost / saved_kwh if saved_kwh > 0.0 else 0.0
    return (
        f"paused for {60.0 * float(hours.sum()):.0f} min{method} for {saved_w / 1000.0:.1f} kW: that costs {lost:.1f}"
        f" GPU-hours, {extra:.1f} of them to write and to resume, or {each:.2f} weighted ones for a kilowatt-hour,"
        f" and {job.tier} allows a mean of {job.tier_mean:.0%}"
    )
