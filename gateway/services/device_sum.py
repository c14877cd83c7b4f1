"""A site meter where none is declared: the sum of what the devices' own sensors show.

It knows nothing of cooling, hosts and losses: whoever settles by it settles by IT power.
"""

from collections.abc import Mapping
from typing import Protocol

from gateway.domain.measurement import worst
from hardware.device import DeviceView, PowerMeter, PowerReading


class MeteredDevices(PowerMeter, Protocol):
    """Devices that are meters, too; each one's ``meter_id`` is its ``device_id``."""

    def devices(self) -> Mapping[str, DeviceView]: ...


class DeviceSum:
    """The meters behind ``devices`` and one more, ``meter_id``: their sum, stamped with the latest of them.

    There is no sum while a device that is present does not answer: to leave it out would look like a reduction. One
    that is lost is left out. Without a register of energy, since the parts' registers begin anew at times of their own.
    """

    def __init__(self, devices: MeteredDevices, *, meter_id: str) -> None:
        self._devices = devices
        self._meter_id = meter_id

    async def read(self) -> tuple[PowerReading, ...]:
        readings = await self._devices.read()
        heard = {reading.meter_id for reading in readings}
        present = {device_id for device_id, view in self._devices.devices().items() if view.present}
        if not present or not present <= heard:
            return readings
        site = PowerReading(
            meter_id=self._meter_id,
            power_w=sum(reading.power_w for reading in readings),
            measured_at=max(reading.measured_at for reading in readings),
            quality=worst(reading.quality for reading in readings),
        )
        return (*readings, site)
