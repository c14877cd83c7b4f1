"""What the devices say about the site: their sum, an estimate of the site from it, and whether the two agree."""

import math
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from hardware.device import PowerMeter, PowerReading, Quality
from hardware.errors import MeterSilent


@dataclass(frozen=True, slots=True, kw_only=True)
class OverheadRange:
    """What the site draws beside its devices: between the least and the most, each a fixed part and a share of them.

    Hosts, network and lights are the fixed part; losses and cooling go with the devices (a PUE of 1.3 is a share of
    0.3). Make it wide enough for what the devices' sensors get wrong and for the moments by which meters lag.
    """

    min_w: float
    max_w: float
    min_fraction: float = 0.0
    max_fraction: float = 0.0

    def __post_init__(self) -> None:
        if not (self.min_w <= self.max_w and self.min_fraction <= self.max_fraction):
            raise ValueError(f"an overhead from {self.min_w} W to {self.max_w} W is no range")


class Verdict(StrEnum):
    """What became of holding the site meter against the devices."""

    AGREES = "agrees"
    METER_LOW = "meter_low"
    """Less than the devices and the least overhead: the meter misses a feed, or is scaled wrong."""
    METER_HIGH = "meter_high"
    """More than the devices and the most overhead: a load nobody declared, devices nobody counts, or a wrong scale."""


def reconcile(site_w: float, devices_w: float, overhead: OverheadRange) -> Verdict:
    """Hold what the site meter says against the sum of all devices."""
    if site_w < devices_w * (1.0 + overhead.min_fraction) + overhead.min_w:
        return Verdict.METER_LOW
    if site_w > devices_w * (1.0 + overhead.max_fraction) + overhead.max_w:
        return Verdict.METER_HIGH
    return Verdict.AGREES


@dataclass(frozen=True, slots=True, kw_only=True)
class Total:
    """The sum of all devices, the oldest stamp in it, and the worst quality."""

    power_w: float
    measured_at: datetime
    quality: Quality


class DeviceSum(PowerMeter):
    """The devices' readings, remembered for their sum.

    ``expected`` gives the ids of the devices that are there now; ``now`` the time. A sum with one missing would look
    like load that was shed, so there is none while any of them was not heard for ``stale_after_s``. Readings of
    ``site_meter_id``, which a simulated fleet brings along, are left out.
    """

    def __init__(
        self,
        *,
        devices: PowerMeter,
        expected: Callable[[], Collection[str]],
        site_meter_id: str,
        now: Callable[[], datetime],
        stale_after_s: float = 10.0,
    ) -> None:
        self._devices = devices
        self._expected = expected
        self._site_meter_id = site_meter_id
        self._now = now
        self._stale_after_s = stale_after_s
        self._latest: dict[str, PowerReading] = {}

    async def read(self) -> tuple[PowerReading, ...]:
        """The devices' readings. Raises what their meter raises."""
        readings = await self._devices.read()
        kept = tuple(reading for reading in readings if reading.meter_id != self._site_meter_id)
        self._latest.update((reading.meter_id, reading) for reading in kept)
        return kept

    def total(self) -> Total | None:
        """The sum as of the last ``read``, ``None`` where it is not known."""
        expected = set(self._expected())
        self._latest = {device_id: reading for device_id, reading in self._latest.items() if device_id in expected}
        if not expected or len(self._latest) < len(expected):
            return None
        oldest_at = min(reading.measured_at for reading in self._latest.values())
        power_w = math.fsum(reading.power_w for reading in self._latest.values() if math.isfinite(reading.power_w))
        known = all(math.isfinite(reading.power_w) for reading in self._latest.values())
        if not known or (self._now() - oldest_at).total_seconds() > self._stale_after_s:
            return None
        doubts = {reading.quality for reading in self._latest.values()} - {Quality.GOOD}
        quality = Quality.SUSPECT if Quality.SUSPECT in doubts else Quality.ESTIMATED if doubts else Quality.GOOD
        return Total(power_w=power_w, measured_at=oldest_at, quality=quality)


class EstimatedMeter(PowerMeter):
    """The site as the sum of its devices, a share of it and a fixed overhead.

    Its readings are estimates; with no overhead at all they are the devices' own, and as good as the worst of them.
    Whoever settles by that settles by IT power.
    """

    def __init__(
        self, *, meter_id: str, devices: DeviceSum, overhead_w: float = 0.0, overhead_fraction: float = 0.0
    ) -> None:
        self._meter_id = meter_id
        self._devices = devices
        self._overhead_w = overhead_w
        self._overhead_fraction = overhead_fraction

    async def read(self) -> tuple[PowerReading, ...]:
        """One reading, from the sum as last read. Raises ``MeterSilent`` while a device is not heard of."""
        total = self._devices.total()
        if total is None:
            raise MeterSilent("not every device was heard of lately", device_id=self._meter_id)
        power_w = total.power_w * (1.0 + self._overhead_fraction) + self._overhead_w
        return (
            PowerReading(
                meter_id=self._meter_id,
                power_w=power_w,
                measured_at=total.measured_at,
                quality=Quality.ESTIMATED if self._overhead_w or self._overhead_fraction else total.quality,
            ),
        )
