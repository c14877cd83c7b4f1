"""What can go wrong with attached hardware. These are expected faults, never bugs.

* HardwareError
  + DeviceLost               the device has gone: it leaves the fleet and the promise
    - DriverLost             so has its driver or library, and every device behind it
  + WriteRefused             the driver would not take the write (permission, range, state)
  + Unsupported              the device or driver cannot do this at all
  + MeterSilent              no reading in time
  + AgentUnreachable         the node agent does not answer
  + JournalUnreadable        the prior-limit journal cannot be read or written; nothing may be written to a device
    - JournalTaken           since another agent has it
  + CallHangs                a call into a driver or scheduler has not come back in its time
  + SchedulerLost            the scheduler that runs the jobs does not answer
  + WireError                a message between gateway and agent that cannot be read
  + EnrolmentRefused         a host was not taken into the fleet, or its certificate not renewed

Each carries its named ``Condition`` and a cure in words: what the operator on call is told.
"""

from collections.abc import Mapping
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


CURES: Mapping[Condition, str] = {
    Condition.NO_PERMISSION: (
        "run the agent as root or with the capability that its driver needs; "
        "gridgate agent --check --config FILE says which one is missing"
    ),
    Condition.NO_DRIVER: (
        "load the driver, install its library or start the scheduler; gridgate asset discover says what this host has"
    ),
    Condition.VERSION_MISMATCH: (
        "driver and library are of different versions: restart the agent, and the host if that does not help"
    ),
    Condition.CALL_HANGS: (
        "look for messages of its driver in the kernel log (dmesg); it is asked again once the call comes back, and "
        "if none does for minutes restart the host"
    ),
    Condition.LOST: (
        "check on its host whether it is still there (nvidia-smi, dmesg); it comes back by itself once it is found"
    ),
    Condition.NEEDS_RESET: "take the jobs off it and reset it (nvidia-smi --gpu-reset), or restart the host",
    Condition.NOT_IN_FORCE: (
        "look for what else limits it (nvidia-smi -q -d POWER, the host's management controller); it is not counted on "
        "meanwhile"
    ),
    Condition.CONFLICT: (
        "find out who else sets it (another agent, a login script, an operator) and let only one of the two do so; "
        "we leave it as it is"
    ),
    Condition.NOT_SUPPORTED: "nothing is to be done: it cannot be capped, and is counted at its own limit",
    Condition.NO_PROGRESS: "look at the job's own log: it was resumed and does not go on; it may have to begin again",
    Condition.SILENT: "check that it is switched on and can be reached, and that its address is right",
    Condition.FAILED: "the detail and the log of the agent say more",
}
"""What the operator on call does about each condition, where the fault itself says nothing better."""


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


class JournalTaken(JournalUnreadable):
    """Another process has the journal open."""


class CallHangs(HardwareError):
    """A call has not come back in its time. Until it does the device is not asked again."""

    condition = Condition.CALL_HANGS


class SchedulerLost(HardwareError):
    """The scheduler does not answer."""

    condition = Condition.NO_DRIVER


class WireError(HardwareError):
    """A message between gateway and agent that cannot be read."""


class EnrolmentRefused(HardwareError):
    """A host was not taken into the fleet, or its certificate not renewed."""

    condition = Condition.NO_PERMISSION
