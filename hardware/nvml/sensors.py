"""Watts and joules from NVML's milliwatts and millijoules, this being the one place where they are converted.

Power comes from one *source* a device, chosen once: a series never changes between the GPU and the module around it,
nor between a mean and a moment's value.
"""

import logging
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import Enum
from itertools import pairwise
from typing import Any, NamedTuple

import pynvml
import structlog

from hardware.device import PowerReading

log = structlog.get_logger()


class PowerSource(Enum):
    """Where a device's power is read: a field of a scope, or ``nvmlDeviceGetPowerUsage``. In order of preference.

    The average before the instant: it is a mean over the last second, so that one reading a second misses nothing
    (NVML API reference, NVML_FI_DEV_POWER_AVERAGE and _INSTANT, drivers from 530 on). Module scope is CPU and GPU
    together, the only one where a Grace CPU shares the board's sensor.
    """

    GPU_AVERAGE = (pynvml.NVML_FI_DEV_POWER_AVERAGE, pynvml.NVML_POWER_SCOPE_GPU)
    GPU_INSTANT = (pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_POWER_SCOPE_GPU)
    MODULE_AVERAGE = (pynvml.NVML_FI_DEV_POWER_AVERAGE, pynvml.NVML_POWER_SCOPE_MODULE)
    MODULE_INSTANT = (pynvml.NVML_FI_DEV_POWER_INSTANT, pynvml.NVML_POWER_SCOPE_MODULE)
    POWER_USAGE = None

    @property
    def is_module(self) -> bool:
        """Whether it counts the CPU beside the GPU, too."""
        return self in {PowerSource.MODULE_AVERAGE, PowerSource.MODULE_INSTANT}


FIELDS = (
    PowerSource.GPU_AVERAGE,
    PowerSource.GPU_INSTANT,
    PowerSource.MODULE_AVERAGE,
    PowerSource.MODULE_INSTANT,
)

_NEVER = {
    pynvml.NVML_ERROR_NOT_SUPPORTED,
    pynvml.NVML_ERROR_INVALID_ARGUMENT,
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH,
}
"""What a source says that the device will never have. Anything else may be otherwise a moment later."""

_NUMBER = {
    pynvml.NVML_VALUE_TYPE_DOUBLE: "dVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_INT: "uiVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG: "ulVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_LONG_LONG: "ullVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_LONG_LONG: "sllVal",
    pynvml.NVML_VALUE_TYPE_SIGNED_INT: "siVal",
    pynvml.NVML_VALUE_TYPE_UNSIGNED_SHORT: "usVal",
}


def watts(milliwatts: float) -> float:
    """Watts of NVML's milliwatts."""
    return milliwatts / 1000.0


def milliwatts(power_w: float) -> int:
    """The nearest whole milliwatts, as NVML takes them."""
    return round(power_w * 1000.0)


def joules(millijoules: int) -> float:
    """Joules of NVML's millijoules."""
    return millijoules / 1000.0


class FieldValue(NamedTuple):
    """One value of a call that asked for several: its own status, and watts where that is 0."""

    status: int
    power_w: float


def power_fields(handle: Any, sources: Sequence[PowerSource]) -> dict[PowerSource, FieldValue]:
    """Read these fields in one call. Raises ``NVMLError`` where the call as a whole failed."""
    values = pynvml.nvmlDeviceGetFieldValues(handle, [source.value for source in sources])
    return {
        source: FieldValue(value.nvmlReturn, watts(getattr(value.value, _NUMBER.get(value.valueType, "uiVal"))))
        for source, value in zip(sources, values, strict=True)
    }


def chosen(fields: Mapping[PowerSource, FieldValue]) -> PowerSource | None:
    """The most preferred source that works, ``POWER_USAGE`` where no field ever will, ``None`` while nobody can say.

    A scope is passed over for the next only where it has no field at all, not because one fails at the moment.
    """
    for module in (False, True):
        of_scope = {source: value.status for source, value in fields.items() if source.is_module is module}
        working = [source for source, status in of_scope.items() if status == pynvml.NVML_SUCCESS]
        if working:
            return working[0]
        if not _NEVER.issuperset(of_scope.values()):
            return None
    return PowerSource.POWER_USAGE


ENERGY_WINDOW_S = 60.0
MOST_DIFFERENCE_FRACTION = 0.35
"""Within this register and power may differ over a window: what the sensor alone may err by."""


class EnergyRegister:
    """A register that never goes back over a counter that begins anew (a reset of the device, a reload of the driver).

    A counter that went down is a new one: the register runs on from where it was, by what the new one has counted. What
    the old one counted after its last reading is lost, so that the register then states too little, never too much.
    """

    def __init__(self) -> None:
        self._carried_j = 0.0
        self._counter_j = 0.0
        self.resets = 0

    def at(self, counter_j: float) -> float:
        """The register, in joules, where the counter stands so."""
        if counter_j < self._counter_j:
            self._carried_j += self._counter_j
            self.resets += 1
        self._counter_j = counter_j
        return self._carried_j + counter_j


@dataclass(frozen=True, slots=True, kw_only=True)
class EnergyCheck:
    """What a device's energy register says of a stretch of time, and what its power readings come to."""

    duration_s: float
    counted_j: float
    integrated_j: float

    @property
    def difference_fraction(self) -> float:
        """How much more the power readings come to than the register, as a fraction of the register."""
        return (self.integrated_j - self.counted_j) / self.counted_j


def energy_check(readings: Sequence[PowerReading], *, longest_gap_s: float = 5.0) -> EnergyCheck | None:
    """Hold one device's energy register against its power, by trapezoids. Readings are in order of time.

    ``None`` where there is nothing to say: fewer than two readings with a register, a gap that is too long, a register
    that went down or stood still.
    """
    kept = [(reading.measured_at, reading.power_w, reading.energy_j) for reading in readings]
    if len(kept) < 2:
        return None
    integrated_j = 0.0
    for (begin, begin_w, begin_j), (end, end_w, end_j) in pairwise(kept):
        gap_s = (end - begin).total_seconds()
        if begin_j is None or end_j is None or end_j < begin_j or not 0.0 <= gap_s <= longest_gap_s:
            return None
        integrated_j += 0.5 * (begin_w + end_w) * gap_s
    first, last = kept[0], kept[-1]
    if first[2] is None or last[2] is None or last[2] <= first[2]:
        return None
    return EnergyCheck(
        duration_s=(last[0] - first[0]).total_seconds(), counted_j=last[2] - first[2], integrated_j=integrated_j
    )


class EnergyWatch:
    """Holds a device's energy register against its power, window by window, and says where the two part.

    Whichever is wrong, neither is proof alone then: sensors that look a quarter of the time are known to err by more
    than a third under loads that come and go (A100 and H100: arXiv 2312.02741).
    """

    def __init__(self, device_id: str) -> None:
        self.difference_fraction: float | None = None
        self._device_id = device_id
        self._window: list[PowerReading] = []
        self._parted = False

    def look(self, reading: PowerReading) -> None:
        """Take one more reading."""
        self._window.append(reading)
        if (reading.measured_at - self._window[0].measured_at).total_seconds() < ENERGY_WINDOW_S:
            return
        check = energy_check(self._window)
        self._window = [reading]
        if check is None:
            return
        self.difference_fraction = check.difference_fraction
        parted = abs(check.difference_fraction) > MOST_DIFFERENCE_FRACTION
        if parted != self._parted:
            log.log(
                logging.WARNING if parted else logging.INFO,
                "nvml_energy_parted_from_power" if parted else "nvml_energy_agrees_again",
                device_id=self._device_id,
                counted_j=check.counted_j,
                integrated_j=check.integrated_j,
            )
        self._parted = parted
