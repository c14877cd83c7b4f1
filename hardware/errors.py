"""What can go wrong with attached hardware. These are expected faults, never bugs.

* HardwareError
  + DeviceLost               the device has gone: it leaves the fleet and the promise
    - DriverLost             so has its driver or library, and every device behind it
  + WriteRefused             the driver would not take the write (permission, range, state)
  + Unsupported              the device or driver cannot do this at all
  + MeterSilent              no reading in time
  + AgentUnreachable         the node agent does not answer
  + JournalUnreadable        the prior-limit journal cannot be read or written; nothing may be written to a device
  + WireError                a message between gateway and agent that cannot be read
"""


class HardwareError(Exception):
    """Root of the tree. ``device_id`` names the device, meter or job where there is one."""

    def __init__(self, text: str, *, device_id: str | None = None) -> None:
        super().__init__(text if device_id is None else f"{device_id}: {text}")
        self.device_id = device_id


class DeviceLost(HardwareError):
    """The device has gone."""


class DriverLost(DeviceLost):
    """The driver has gone, or its library, and with it every device behind it."""


class WriteRefused(HardwareError):
    """The driver would not take the write."""


class Unsupported(HardwareError):
    """The device or its driver cannot do this."""


class MeterSilent(HardwareError):
    """No reading in time."""


class AgentUnreachable(HardwareError):
    """The node agent does not answer."""


class JournalUnreadable(HardwareError):
    """The prior-limit journal cannot be read or written."""


class WireError(HardwareError):
    """A message between gateway and agent that cannot be read."""
