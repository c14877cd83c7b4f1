"""A look at the GPUs and their driver for a person who sets things up: nothing is written, nothing kept open."""

from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from typing import Any

import pynvml

from hardware.nvml.policy import down
from hardware.nvml.session import Session


@dataclass(frozen=True, slots=True, kw_only=True)
class SeenGpu:
    """One GPU. ``persistence`` and ``mig`` are ``None`` where the driver does not tell."""

    device_id: str
    model: str
    slot: int | None
    persistence: bool | None
    mig: bool | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Survey:
    """What the host has. ``unreadable`` counts GPUs that could not even be named."""

    driver_version: str
    gpus: tuple[SeenGpu, ...]
    unreadable: int


def survey() -> Survey:
    """Look at everything once. Raises ``DriverLost`` with the cure where library or driver are not there."""
    session = Session()
    session.open()
    try:
        version = pynvml.nvmlSystemGetDriverVersion()
        count = pynvml.nvmlDeviceGetCount()
        gpus = []
        for index in range(count):
            with suppress(pynvml.NVMLError):
                gpus.append(_seen(pynvml.nvmlDeviceGetHandleByIndex(index)))
    except pynvml.NVMLError as cause:
        raise down(cause, doing="look at the GPUs") from cause
    finally:
        session.close()
    return Survey(driver_version=str(version), gpus=tuple(gpus), unreadable=count - len(gpus))


def _seen(handle: Any) -> SeenGpu:
    slot = _told(pynvml.nvmlDeviceGetMinorNumber, handle)
    persistence = _told(pynvml.nvmlDeviceGetPersistenceMode, handle)
    mig = _told(pynvml.nvmlDeviceGetMigMode, handle)
    return SeenGpu(
        device_id=pynvml.nvmlDeviceGetUUID(handle),
        model=pynvml.nvmlDeviceGetName(handle),
        slot=None if slot is None else int(slot),
        persistence=None if persistence is None else bool(persistence == pynvml.NVML_FEATURE_ENABLED),
        mig=None if mig is None else bool(mig[0] == pynvml.NVML_DEVICE_MIG_ENABLE),
    )


def _told(call: Callable[[Any], Any], handle: Any) -> Any:
    """What a call says, ``None`` where the driver or the device has no such thing."""
    try:
        return call(handle)
    except pynvml.NVMLError:
        return None
