"""GPU telemetry against the site meter: how much of what the meter saw the devices explain."""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from statistics import StatisticsError, correlation

from gateway.domain.assurance.inputs import AssuranceInputs
from gateway.domain.measurement import IntervalEnergy


@dataclass(frozen=True, slots=True, kw_only=True)
class Reconciliation:
    """Over the event and the hours before it, on intervals that both sides have.

    ``ratio`` is devices over site; ``unexplained_fraction`` the share of the site's fall from before to event that the
    devices do not show (negative: they fell by more). Each is ``None`` where it cannot be taken, and ``note`` says why.
    """

    intervals: int
    ratio: float | None
    correlation: float | None
    unexplained_fraction: float | None
    note: str = ""


def reconcile(inputs: AssuranceInputs, *, before_h: float = 4.0) -> Reconciliation:
    """Compare the sum of the devices with the site meter."""
    if inputs.devices is None:
        return _none("no device telemetry was given")
    opens = inputs.event_start - timedelta(hours=before_h)
    by_start = {(energy.starts_at, energy.duration_s): energy for energy in inputs.devices if _whole(energy)}
    pairs = [
        (site, by_start[site.starts_at, site.duration_s])
        for site in inputs.history
        if opens <= site.starts_at < inputs.event_end and _whole(site) and (site.starts_at, site.duration_s) in by_start
    ]
    site_wh = math.fsum(site.energy_wh for site, _ in pairs)
    if site_wh <= 0.0:
        return _none("the devices and the meter have no interval in common")
    fall_w = _fall_w([site for site, _ in pairs], inputs.ramp_start or inputs.event_start, inputs.event_start)
    shown_w = _fall_w([device for _, device in pairs], inputs.ramp_start or inputs.event_start, inputs.event_start)
    return Reconciliation(
        intervals=len(pairs),
        ratio=math.fsum(device.energy_wh for _, device in pairs) / site_wh,
        correlation=_correlation([site.energy_wh for site, _ in pairs], [device.energy_wh for _, device in pairs]),
        unexplained_fraction=1.0 - shown_w / fall_w if fall_w and fall_w > 0.0 and shown_w is not None else None,
    )


def _none(note: str) -> Reconciliation:
    return Reconciliation(intervals=0, ratio=None, correlation=None, unexplained_fraction=None, note=note)


def _whole(energy: IntervalEnergy) -> bool:
    return energy.coverage_fraction >= 0.95


def _fall_w(energies: Sequence[IntervalEnergy], ramp: datetime, start: datetime) -> float | None:
    before = [energy.energy_wh * 3_600 / energy.duration_s for energy in energies if energy.ends_at <= ramp]
    during = [energy.energy_wh * 3_600 / energy.duration_s for energy in energies if energy.starts_at >= start]
    return math.fsum(before) / len(before) - math.fsum(during) / len(during) if before and during else None


def _correlation(left: Sequence[float], right: Sequence[float]) -> float | None:
    try:
        return correlation(left, right)
    except StatisticsError:  # fewer than two, or one side is constant
        return None
