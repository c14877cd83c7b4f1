"""What is answered about a limit: outcome, words, and where something is wrong the fault with its cure. Pure."""

from hardware.device import CapCommand, CapResult, Fault, Outcome
from hardware.errors import CallHangs, Condition, DeviceLost, HardwareError

FOREIGN = "somebody else changed the limit: left as it is"
FOREIGN_CURE = "find out what else sets limits on this host (DCGM, nvidia-smi, a BMC) and let only one of them do it"

NOT_IN_FORCE_CURE = (
    "the driver says yes and does not do it: it is tried again at the next command; where it goes on, restart the "
    "driver's services and look for messages of the driver in the kernel log"
)

RESTARTED = "from before the machine was restarted: left as it is"
HOLD_LOST_CURE = "devices forget their limits in a restart: whoever relies on this limit must send it again"


def result(  # noqa: PLR0917 - written out a dozen times, with the most telling ones in the same order
    key: str,
    requested_w: float,
    applied_w: float | None,
    outcome: Outcome,
    detail: str = "",
    fault: Fault | None = None,
) -> CapResult:
    """A result, with little to write."""
    return CapResult(
        device_id=key, requested_w=requested_w, applied_w=applied_w, outcome=outcome, detail=detail, fault=fault
    )


def refused(command: CapCommand, detail: str, applied_w: float | None = None) -> CapResult:
    """A rule says no: nothing is wrong with the device."""
    return result(command.device_id, command.cap_w, applied_w, Outcome.REFUSED, detail)


def failed(key: str, requested_w: float, cause: HardwareError, applied_w: float | None = None) -> CapResult:
    """The device, its driver or the journal says no, or nothing at all."""
    outcome = Outcome.REFUSED
    if isinstance(cause, DeviceLost):
        outcome = Outcome.LOST
    elif isinstance(cause, CallHangs):
        outcome = Outcome.TIMED_OUT
    return result(key, requested_w, applied_w, outcome, str(cause), Fault.of(cause))


def not_in_force(key: str, requested_w: float, limit_w: float | None, detail: str) -> CapResult:
    """Half a write: taken, but not what is read back."""
    fault = Fault(condition=Condition.NOT_IN_FORCE, detail=detail, cure=NOT_IN_FORCE_CURE)
    return result(key, requested_w, limit_w, Outcome.REFUSED, detail, fault)


def conflict(key: str, requested_w: float, limit_w: float | None) -> CapResult:
    """The limit is no longer our last write."""
    fault = Fault(condition=Condition.CONFLICT, detail=FOREIGN, cure=FOREIGN_CURE)
    return result(key, requested_w, limit_w, Outcome.CONFLICT, FOREIGN, fault)


def of_an_earlier_life(key: str, found_w: float, limit_w: float | None, held_w: float | None) -> CapResult:
    """A rule forbids to put back what the device has forgotten. ``held_w`` is the cap that was to be held, if any."""
    fault = None
    if held_w is not None:
        detail = f"held at {held_w:g} W until the machine was restarted: not held any more"
        fault = Fault(condition=Condition.NOT_IN_FORCE, detail=detail, cure=HOLD_LOST_CURE)
    return result(key, found_w, limit_w, Outcome.REFUSED, RESTARTED, fault)


def put_back(key: str, found_w: float, goal_w: float, limit_w: float | None) -> CapResult:
    """The limit found is there again, or as much of it as the ceiling allows."""
    detail = "" if goal_w == found_w else f"put back to the ceiling, {goal_w:g} W; the limit found was {found_w:g} W"
    return result(key, goal_w, limit_w, Outcome.APPLIED, detail)
