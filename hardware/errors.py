"""What can go wrong with attached hardware. These are expected faults, never bugs.

* HardwareError
  + DeviceLost               the device has gone: it leaves the fleet and the promise
    - DriverLost             so has its driver or library, and every device behind it
  + WriteRefused             the driver would not take the write (permission, range, state)
  + Unsupported              the device or driver cannot do this at all
  + MeterSilent              no reading in time
  + AgentUnreachable         the node agent does not answer
  + JournalUnreadable        the prior-limit journal cannot be read or written; nothing may be written to a device
  + CallHangs                a call into a driver or scheduler has not come back in its time
  + SchedulerLost            the scheduler that runs the jobs does not answer
  + WireError                a message between gateway and agent that cannot be read

Each carries its named ``Condition`` and a cure in words: what the operator on call is told.
"""

from enum import StrEnum


class Condition(StrEnum):
    """The named states of a device, driver, scheduler or job that something is wrong with."""

    NO_PERMISSION = "no permission"
    NO_DRIVER = "no driver"
    """The driver is not loaded, its library is missing, or the scheduler does not answer."""
    VERSION_MISMATCH = "version mismatch"
    CALL_HANGS = "call hangs"
    LOST = "lost"
    NEEDS_RESET = "needs reset"
    NOT_IN_FORCE = "not in force"
    """Half a write: taken, but what is read back is not what was asked."""
    CONFLICT = "conflict"
    """Somebody else set it: left as it is."""
    NOT_SUPPORTED = "not supported"
    NO_PROGRESS = "no progress"
    """A job that was resumed and does not go on."""
    SILENT = "silent"
    FAILED = "failed"
    """Anything else; the detail says what."""


class HardwareError(Exception):
    """Root of the tree. ``device_id`` names the device, meter or job where there is one.

    ``cure`` says in words what to do about it, and is part of the text.
    """

    condition = Condition.FAILED
    cure = ""

    def __init__(
        self, text: str, *, device_id: str | None = None, condition: Condition | None = None, cure: str = ""
    ) -> None:
        whole = f"{text}; {cure}" if cure else text
        super().__init__(whole if device_id is None else f"{device_id}: {whole}")
        self.device_id = device_id
        if condition is not None:
            self.condition = condition
        if cure:
            self.cure = cure


class DeviceLost(HardwareError):
    """The device has gone."""

    condition = Condition.LOST


class DriverLost(DeviceLost):
    """The driver has gone, or its library, and with it every device behind it."""

    condition = Condition.NO_DRIVER


class WriteRefused(HardwareError):
    """The driver would not take the write."""


class Unsupported(HardwareError):
    """The device or its driver cannot do this."""

    condition = Condition.NOT_SUPPORTED


class MeterSilent(HardwareError):
    """No reading in time."""

    condition = Condition.SILENT


class AgentUnreachable(HardwareError):
    """The node agent does not answer."""


class JournalUnreadable(HardwareError):
    """The prior-limit journal cannot be read or written."""


class CallHangs(HardwareError):
    """A call has not come back in its time. Until it does the device is not asked again."""

    condition = Condition.CALL_HANGS


class SchedulerLost(HardwareError):
    """The scheduler does not answer."""

    condition = Condition.NO_DRIVER


class WireError(HardwareError):
    """A message between gateway and agent that cannot be read."""
