"""The site's meter as the gateway reads it: what it has latched, or what a fault makes of that."""

import math
from collections.abc import Callable
from dataclasses import replace

from gateway.simulation.scenario import FaultPart
from hardware.device import PowerMeter, PowerReading
from hardware.errors import MeterSilent


class PlayedMeter(PowerMeter):
    """Honest until something goes wrong with it. ``latched`` gives what a meter without a fault would show."""

    def __init__(self, latched: Callable[[], PowerReading]) -> None:
        self._latched = latched
        self._fault: FaultPart | None = None
        self._found: PowerReading | None = None

    def go_wrong(self, fault: FaultPart | None) -> None:
        """From now on this is wrong with it; ``None`` heals it."""
        self._fault, self._found = fault, self._latched()

    async def read(self) -> tuple[PowerReading, ...]:
        """One reading, true or not. Raises ``MeterSilent``."""
        reading = self._latched()
        if self._fault is None or self._found is None:
            return (reading,)
        return (_told(self._fault, reading, self._found),)


def _told(fault: FaultPart, reading: PowerReading, found: PowerReading) -> PowerReading:
    """What is shown instead of a true reading; ``found`` is that at which the fault began. Raises ``MeterSilent``."""
    scaled = replace(reading, power_w=fault.size * reading.power_w)
    match fault.what:
        case "meter_silent":
            raise MeterSilent("it does not answer (simulated)", device_id=reading.meter_id)
        case "meter_stuck":
            return replace(found, measured_at=reading.measured_at)
        case "meter_wrong":
            return replace(scaled, energy_j=_scaled_j(fault, reading, found))
        case _:
            since_s = (reading.measured_at - found.measured_at).total_seconds()
            return scaled if math.fmod(since_s, fault.every_s) < 1.0 else reading


def _scaled_j(fault: FaultPart, reading: PowerReading, found: PowerReading) -> float | None:
    """The register, which goes on from where it was at the wrong pace."""
    if reading.energy_j is None or found.energy_j is None:
        return None
    return found.energy_j + fault.size * (reading.energy_j - found.energy_j)
