"""What each NVML error means for us: a fault of our own tree, what follows from it, and its cure in words.

    NVML error                  read            write           what follows
    NOT_SUPPORTED               Unsupported     Unsupported     the ability is dropped
    FUNCTION_NOT_FOUND          Unsupported     Unsupported     the ability is dropped: the driver is too old
    ARGUMENT_VERSION_MISMATCH   Unsupported     Unsupported     the same
    NO_PERMISSION               MeterSilent     WriteRefused    nothing; somebody has to configure it
    OPERATING_SYSTEM            MeterSilent     WriteRefused    the same
    INVALID_ARGUMENT            MeterSilent     WriteRefused    the handle is asked for anew
    INSUFFICIENT_POWER          MeterSilent     WriteRefused    nothing
    TIMEOUT                     MeterSilent     WriteRefused    a write's effect is unknown until it is read back
    IRQ_ISSUE, IN_USE, MEMORY,
    INSUFFICIENT_RESOURCES,
    NO_DATA, NOT_READY,
    INVALID_STATE               MeterSilent     WriteRefused    nothing; the next call may go well
    UNKNOWN, any other          MeterSilent     WriteRefused    the handle is asked for anew
    GPU_IS_LOST, RESET_REQUIRED,
    NOT_FOUND, GPU_NOT_FOUND    DeviceLost      DeviceLost      absent from the fleet until it answers again
    UNINITIALIZED,
    DRIVER_NOT_LOADED           DriverLost      DriverLost      all absent; initialised anew at the next call
    LIBRARY_NOT_FOUND           DriverLost      DriverLost      the same
    LIB_RM_VERSION_MISMATCH     DriverLost      DriverLost      the same; a new process loads the new library

Each has its named condition, too, which goes with the error raised, as the cure does.

Error numbers and their meaning: NVML API reference, nvmlReturn_t.
"""

from enum import Enum, auto
from typing import NamedTuple

import pynvml

from hardware.errors import Condition, DeviceLost, DriverLost, HardwareError, MeterSilent, Unsupported, WriteRefused


class After(Enum):
    """What follows from an error, beside the one call that failed."""

    NOTHING = auto()
    ASK_ANEW = auto()
    """The handle is not to be trusted any more."""
    DEVICE_LOST = auto()
    DRIVER_LOST = auto()


class Policy(NamedTuple):
    """How one error is answered. ``read`` and ``write`` are what it is raised as."""

    read: type[HardwareError]
    write: type[HardwareError]
    after: After
    condition: Condition
    cure: str


def _absent(cure: str) -> Policy:
    return Policy(Unsupported, Unsupported, After.NOTHING, Condition.NOT_SUPPORTED, cure)


def _refused(cure: str, after: After = After.NOTHING, condition: Condition = Condition.FAILED) -> Policy:
    return Policy(MeterSilent, WriteRefused, after, condition, cure)


def _forbidden(cure: str) -> Policy:
    return _refused(cure, condition=Condition.NO_PERMISSION)


def _gone(cure: str, condition: Condition = Condition.LOST) -> Policy:
    return Policy(DeviceLost, DeviceLost, After.DEVICE_LOST, condition, cure)


def _down(cure: str, condition: Condition = Condition.NO_DRIVER) -> Policy:
    return Policy(DriverLost, DriverLost, After.DRIVER_LOST, condition, cure)


_TOO_OLD = _absent("the installed driver is too old for this: upgrade it")
_LATER = _refused("it may go well later: it is tried again at the next command")
_UNKNOWN = _refused("look for Xid messages in the kernel log; the device may need a reset", After.ASK_ANEW)
NOT_THERE_CURE = "check with nvidia-smi whether the host still has it; it comes back by itself once it is found"
_NOT_THERE = _gone(NOT_THERE_CURE)

POLICIES = {
    pynvml.NVML_ERROR_NOT_SUPPORTED: _absent("this device cannot do it; it is not asked again"),
    pynvml.NVML_ERROR_FUNCTION_NOT_FOUND: _TOO_OLD,
    pynvml.NVML_ERROR_ARGUMENT_VERSION_MISMATCH: _TOO_OLD,
    pynvml.NVML_ERROR_NO_PERMISSION: _forbidden(
        "run the agent as root or with CAP_SYS_ADMIN; in a container add the capability (--cap-add SYS_ADMIN)"
    ),
    pynvml.NVML_ERROR_OPERATING_SYSTEM: _forbidden(
        "the operating system blocked the call: check the permissions of /dev/nvidia* and the device cgroup"
    ),
    pynvml.NVML_ERROR_INVALID_ARGUMENT: _refused("the device took a value for invalid", After.ASK_ANEW),
    pynvml.NVML_ERROR_INSUFFICIENT_POWER: _refused("check the device's external power cables"),
    pynvml.NVML_ERROR_TIMEOUT: _refused("the driver gave up waiting for the device: what holds is read back later"),
    pynvml.NVML_ERROR_IRQ_ISSUE: _LATER,
    pynvml.NVML_ERROR_IN_USE: _LATER,
    pynvml.NVML_ERROR_MEMORY: _LATER,
    pynvml.NVML_ERROR_INSUFFICIENT_RESOURCES: _LATER,
    pynvml.NVML_ERROR_NO_DATA: _LATER,
    pynvml.NVML_ERROR_NOT_READY: _LATER,
    pynvml.NVML_ERROR_INVALID_STATE: _LATER,
    pynvml.NVML_ERROR_UNKNOWN: _UNKNOWN,
    pynvml.NVML_ERROR_GPU_IS_LOST: _gone("it fell off the bus: reset or power-cycle it, and look for Xid 79"),
    pynvml.NVML_ERROR_RESET_REQUIRED: _gone(
        "reset it (nvidia-smi --gpu-reset), or restart the host", Condition.NEEDS_RESET
    ),
    pynvml.NVML_ERROR_NOT_FOUND: _NOT_THERE,
    pynvml.NVML_ERROR_GPU_NOT_FOUND: _NOT_THERE,
    pynvml.NVML_ERROR_UNINITIALIZED: _down("the driver was loaded anew: the agent begins anew at the next call"),
    pynvml.NVML_ERROR_DRIVER_NOT_LOADED: _down(
        "load the NVIDIA kernel driver (modprobe nvidia, or start nvidia-persistenced)"
    ),
    pynvml.NVML_ERROR_LIBRARY_NOT_FOUND: _down(
        "libnvidia-ml.so.1 is not to be found: install the NVIDIA driver, or have the container runtime mount it"
    ),
    pynvml.NVML_ERROR_LIB_RM_VERSION_MISMATCH: _down(
        "the driver was upgraded under us: restart the agent, and the host where the old kernel module is still loaded",
        Condition.VERSION_MISMATCH,
    ),
}


def policy_of(code: int) -> Policy:
    """How this error is answered."""
    return POLICIES.get(code, _UNKNOWN)


def fault(error: "pynvml.NVMLError", *, doing: str, device_id: str | None = None, write: bool = False) -> HardwareError:
    """The error as one of our own tree, with its condition and cure; to be raised from it."""
    policy = policy_of(error.value)
    kind = policy.write if write else policy.read
    return kind(_in_words(error, doing), device_id=device_id, condition=policy.condition, cure=policy.cure)


def down(error: "pynvml.NVMLError", *, doing: str) -> DriverLost:
    """Any error where the library as a whole is asked: without an answer there are no devices."""
    policy = policy_of(error.value)
    condition = policy.condition if policy.after is After.DRIVER_LOST else Condition.NO_DRIVER
    return DriverLost(_in_words(error, doing), condition=condition, cure=policy.cure)


def _in_words(error: "pynvml.NVMLError", doing: str) -> str:
    return f"cannot {doing}: {error} (NVML {error.value})"
