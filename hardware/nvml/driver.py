"""The GPUs of one host as a ``DeviceDriver``. Devices go by UUID: an index changes with a reset, a cgroup, an order.

Every call blocks for as long as the kernel driver takes, and one that hangs there hangs its thread: no deadline of ours
can end it. ``devices`` and ``readings`` therefore ask each GPU in a lane of its own, and the agent makes its calls on
single GPUs in the same lanes. After an error the next call begins anew, so that a driver or a device that comes back is
found by itself.
"""

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from types import TracebackType
from typing import Any, NamedTuple, Self, TypeVar

import pynvml
import structlog

from hardware.device import DeviceView, Fault, PowerReading
from hardware.errors import CallHangs, DeviceLost, DriverLost, HardwareError, MeterSilent, Unsupported
from hardware.lanes import CURE, FanOut, Serial
from hardware.nvml.gpu import Gpu, GpuDetails
from hardware.nvml.policy import NOT_THERE_CURE, After, down, fault, policy_of
from hardware.nvml.reasons import Limiting
from hardware.nvml.session import Session

log = structlog.get_logger()

T = TypeVar("T")

DRIVER_LANE = "driver"
"""Where calls go that concern no GPU."""

_SERIAL = Serial()
_HANGS = Fault.of(CallHangs("a call into the driver does not come back", cure=CURE))


def _utc_now() -> datetime:
    return datetime.now(UTC)


class _Named(NamedTuple):
    """A GPU as it was found at an index, in one life of the session."""

    device_id: str
    handle: Any
    life: int


class NvmlDriver:
    """A ``DeviceDriver`` over NVML. Open it before use and close it after: ``with NvmlDriver(...)``.

    Every method raises ``DriverLost`` where there is no driver or library, and otherwise what policy.py says. Calls on
    different GPUs may be made by several threads at once. ``devices`` and ``readings`` fan out over ``lanes`` by
    themselves (``CallHangs`` where the driver as a whole hangs), and must not be called within one. ``now`` gives the
    (aware) time that readings are stamped with.
    """

    def __init__(self, *, host_id: str, now: Callable[[], datetime] = _utc_now, lanes: FanOut = _SERIAL) -> None:
        self._host_id = host_id
        self._now = now
        self._lanes = lanes
        self._session = Session()
        self._table = threading.Lock()
        self._gpus: dict[str, Gpu] = {}
        self._order: dict[str, None] = {}
        """The GPUs in the order of their first sight, which no thread's luck decides."""
        self._at_index: dict[int, str] = {}
        self._found_in_life = 0
        self._trouble: Fault | None = None

    def open(self) -> None:
        """Find the GPUs."""
        self._find_all()

    def close(self) -> None:
        """Let go of the library; limits stay as they are."""
        self._session.close()

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
            self._find_all()
        except (DriverLost, CallHangs):
            if not self._gpus:
                raise
        hung = self._lanes.hung()
        gpus = dict(self._gpus)
        faults = dict.fromkeys(gpus if DRIVER_LANE in hung else hung, _HANGS)
        views = [
            gpus[device_id].view(self._host_id, self._trouble or faults.get(device_id))
            for device_id in (*self._order, *(gpus.keys() - self._order.keys()))
        ]
        return tuple(view for view in views if view is not None)

    def limit_w(self, device_id: str) -> float:
        with self._driver() as life:
            return self._gpu(device_id, life).limit_w()

    def asked_w(self, device_id: str) -> float:
        with self._driver() as life:
            return self._gpu(device_id, life).asked_w()

    def set_limit_w(self, device_id: str, limit_w: float) -> None:
        with self._driver() as life:
            self._gpu(device_id, life).set_limit_w(limit_w)

    def readings(self) -> tuple[PowerReading, ...]:
        """Power and energy of every GPU that is there and answers."""
        if not self._session.is_open or self._found_in_life != self._session.lives:
            self._find_all()
        # One that is lost is asked again when devices are looked for, not at every reading.
        asked = [device_id for device_id, gpu in dict(self._gpus).items() if not gpu.lost]
        found: list[PowerReading] = []
        for answer in self._lanes.each(asked, self._reading).values():
            if isinstance(answer, DriverLost):
                raise answer
            if isinstance(answer, PowerReading):
                found.append(answer)  # What failed was logged where it happened.
        if not found:
            raise MeterSilent("no GPU of this host tells its power")
        return tuple(found)

    def limiting(self, device_id: str) -> Limiting:
        """Why a GPU's clocks are held down now: by a power limit, or by something that is not our doing."""
        with self._driver() as life:
            return self._gpu(device_id, life).limiting()

    def details(self) -> tuple[GpuDetails, ...]:
        """What is known of each GPU beside its view, as of the last calls."""
        return tuple(gpu.details() for gpu in dict(self._gpus).values())

    @contextmanager
    def _driver(self) -> Iterator[int]:
        """Have a session for some calls: its life. Where the driver has gone the session is let go of, once."""
        life = None
        try:
            life, fresh = self._session.open()
            if fresh:
                self._driver_back()
            yield life
        except DriverLost as lost:
            if self._session.close(life) or not self._session.is_open:
                self._driver_lost(lost)
            raise

    def _driver_lost(self, lost: DriverLost) -> None:
        with self._table:
            known = self._trouble
            self._trouble = Fault.of(lost)
        if known is None or known.condition is not lost.condition:
            log.error("nvml_driver_lost", detail=str(lost), devices=len(self._gpus))

    def _driver_back(self) -> None:
        with self._table:
            known, self._trouble = self._trouble, None
        if known is not None:
            log.info("nvml_driver_back", devices=len(self._gpus))

    def _find_all(self) -> None:
        """Go through what the host has now. A GPU that cannot even be named counts as not there."""
        count, life = self._sole(self._lanes.each([DRIVER_LANE], self._count)[DRIVER_LANE])
        # By its id where one was found there before, so that a GPU that hangs is known although it cannot be named.
        indices = {self._at_index.get(index, f"GPU at index {index}"): index for index in range(count)}
        named: dict[str, _Named] = {}
        seen: set[str] = set()
        for key, answer in self._lanes.each(indices, lambda key: self._name_at(indices[key])).items():
            if isinstance(answer, CallHangs):
                seen.add(key)
            elif (found := self._sole(answer)) is not None:
                named[found.device_id] = found
                self._at_index[indices[key]] = found.device_id
        with self._table:
            for device_id in named:
                self._gpus.setdefault(device_id, Gpu(device_id, self._session))
                self._order[device_id] = None
        for looked in self._lanes.each(named, lambda key: self._look(named[key])).values():
            if isinstance(looked, DriverLost):
                raise looked  # Anything else is the GPU's own affair, logged where it happened.
        for device_id, gpu in dict(self._gpus).items():
            if not (device_id in named or device_id in seen or gpu.lost):
                gpu.lose(
                    DeviceLost("it is not among the host's GPUs any more", device_id=device_id, cure=NOT_THERE_CURE)
                )
        self._found_in_life = life

    @staticmethod
    def _sole(answer: T | HardwareError) -> T:
        if isinstance(answer, HardwareError):
            raise answer
        return answer

    def _count(self, _: str) -> tuple[int, int]:
        with self._driver() as life:
            try:
                return pynvml.nvmlDeviceGetCount(), life
            except pynvml.NVMLError as cause:
                raise down(cause, doing="count the GPUs") from cause

    def _name_at(self, index: int) -> _Named | None:
        with self._driver() as life:
            try:
                handle = pynvml.nvmlDeviceGetHandleByIndex(index)
                return _Named(pynvml.nvmlDeviceGetUUID(handle), handle, life)
            except pynvml.NVMLError as cause:
                if policy_of(cause.value).after is After.DRIVER_LOST:
                    raise down(cause, doing="find the GPUs") from cause
                return None

    def _look(self, named: _Named) -> None:
        with self._driver():
            self._gpus[named.device_id].look(named.handle, named.life)

    def _reading(self, device_id: str) -> PowerReading:
        with self._driver():
            return self._gpus[device_id].reading(self._now)

    def _gpu(self, device_id: str, life: int) -> Gpu:
        if device_id.startswith("MIG-"):
            raise Unsupported(
                "an instance has no limit of its own", device_id=device_id, cure="cap the GPU that it is part of"
            )
        gpu = self._gpus.get(device_id)
        if gpu is None:
            # It may have been away when we looked: what the journal knows of it waits to be put back.
            try:
                handle = pynvml.nvmlDeviceGetHandleByUUID(device_id)
            except pynvml.NVMLError as cause:
                raise fault(cause, doing="find the device", device_id=device_id) from cause
            with self._table:
                gpu = self._gpus.setdefault(device_id, Gpu(device_id, self._session))
            gpu.look(handle, life)
        return gpu
