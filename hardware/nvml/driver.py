"""The GPUs of one host as a ``DeviceDriver``. Devices go by UUID: an index changes with a reset, a cgroup, an order.

Every call blocks for as long as the kernel driver takes, and one that hangs there hangs its thread: no deadline of ours
can end it. The agent therefore calls from a thread of its own, and its clients have deadlines; the journal does the
rest. After an error the next call begins anew, so that a driver or a device that comes back is found by itself.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Self

import pynvml
import structlog

from hardware.device import DeviceView, PowerReading
from hardware.errors import DriverLost, HardwareError, MeterSilent, Unsupported
from hardware.nvml.gpu import Gpu, GpuDetails
from hardware.nvml.policy import After, down, fault, policy_of
from hardware.nvml.reasons import Limiting
from hardware.nvml.session import Session

log = structlog.get_logger()


def _utc_now() -> datetime:
    return datetime.now(UTC)


class NvmlDriver:
    """A ``DeviceDriver`` over NVML, for one thread. Open it before use and close it after: ``with NvmlDriver(...)``.

    Every method raises ``DriverLost`` where there is no driver or library, and otherwise what policy.py says.
    ``now`` gives the (aware) time that readings are stamped with.
    """

    def __init__(self, *, host_id: str, now: Callable[[], datetime] = _utc_now) -> None:
        self._host_id = host_id
        self._now = now
        self._session = Session()
        self._gpus: dict[str, Gpu] = {}
        self._driver_trouble: str | None = None

    def open(self) -> None:
        """Find the GPUs."""
        with self._driver():
            return

    def close(self) -> None:
        """Let go of the library; limits stay as they are."""
        self._session.close()
        for gpu in self._gpus.values():
            gpu.forget_session()

    def __enter__(self) -> Self:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def devices(self) -> tuple[DeviceView, ...]:
        """Every GPU that was ever found and whose limit could be read; one that has gone is not ``present``.

        With the driver gone, all of them have; only where none was ever found that is raised. Instances of a GPU in MIG
        mode are no devices: the limit is their GPU's.
        """
        try:
            with self._driver() as fresh:
                if not fresh:
                    self._find_all()
        except DriverLost:
            if not self._gpus:
                raise
        views = (gpu.view(self._host_id) for gpu in self._gpus.values())
        return tuple(view for view in views if view is not None)

    def limit_w(self, device_id: str) -> float:
        with self._driver():
            return self._gpu(device_id).limit_w()

    def asked_w(self, device_id: str) -> float:
        with self._driver():
            return self._gpu(device_id).asked_w()

    def set_limit_w(self, device_id: str, limit_w: float) -> None:
        with self._driver():
            self._gpu(device_id).set_limit_w(limit_w)

    def readings(self) -> tuple[PowerReading, ...]:
        """Power and energy of every GPU that is there and answers."""
        found: list[PowerReading] = []
        with self._driver():
            for gpu in self._gpus.values():
                if gpu.lost:
                    continue  # Asked again when devices are looked for, not at every reading.
                try:
                    found.append(gpu.reading(self._now))
                except DriverLost:
                    raise
                except HardwareError:
                    continue  # Logged where it happened; the others are read all the same.
        if not found:
            raise MeterSilent("no GPU of this host tells its power")
        return tuple(found)

    def limiting(self, device_id: str) -> Limiting:
        """Why a GPU's clocks are held down now: by a power limit, or by something that is not our doing."""
        with self._driver():
            return self._gpu(device_id).limiting()

    def details(self) -> tuple[GpuDetails, ...]:
        """What is known of each GPU beside its view, as of the last calls."""
        return tuple(gpu.details() for gpu in self._gpus.values())

    @contextmanager
    def _driver(self) -> Iterator[bool]:
        """Have a session for some calls; true where it is a new one, whose GPUs were looked for just now."""
        fresh = not self._session.is_open
        try:
            if fresh:
                self._session.open()
                self._find_all()
                self._driver_back()
            yield fresh
        except DriverLost as lost:
            self.close()
            if self._driver_trouble != str(lost):
                self._driver_trouble = str(lost)
                log.error("nvml_driver_lost", detail=str(lost), devices=len(self._gpus))
            raise

    def _driver_back(self) -> None:
        if self._driver_trouble is not None:
            self._driver_trouble = None
            log.info("nvml_driver_back", devices=len(self._gpus))

    def _find_all(self) -> None:
        """Go through what the host has now. A GPU that cannot even be named counts as not there."""
        try:
            count = pynvml.nvmlDeviceGetCount()
        except pynvml.NVMLError as cause:
            raise down(cause, doing="count the GPUs") from cause
        seen = set()
        for index in range(count):
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                device_id = pynvml.nvmlDeviceGetUUID(handle)
            except pynvml.NVMLError as cause:
                if policy_of(cause.value).after is After.DRIVER_LOST:
                    raise down(cause, doing="find the GPUs") from cause
                continue
            seen.add(device_id)
            try:
                self._gpus.setdefault(device_id, Gpu(device_id)).look(handle)
            except DriverLost:
                raise
            except HardwareError:
                continue  # Its own affair, logged where it happened.
        for device_id in self._gpus.keys() - seen:
            self._gpus[device_id].lose("it is not among the host's GPUs any more")

    def _gpu(self, device_id: str) -> Gpu:
        if device_id.startswith("MIG-"):
            raise Unsupported(
                "an instance has no limit of its own: cap the GPU that it is part of", device_id=device_id
            )
        gpu = self._gpus.get(device_id)
        if gpu is None:
            # It may have been away when we looked: what the journal knows of it waits to be put back.
            try:
                handle = pynvml.nvmlDeviceGetHandleByUUID(device_id)
            except pynvml.NVMLError as cause:
                raise fault(cause, doing="find the device", device_id=device_id) from cause
            gpu = self._gpus[device_id] = Gpu(device_id)
            gpu.look(handle)
        return gpu
