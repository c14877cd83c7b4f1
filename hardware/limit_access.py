"""A host's limits as they are read and written: each over all devices at once, what fails as a value."""

from collections.abc import Callable, Iterable, Mapping
from typing import NamedTuple, TypeAlias

from hardware.device import CapRange, DeviceDriver
from hardware.errors import DeviceLost, HardwareError
from hardware.lanes import FanOut

TOLERANCE_W = 0.5
"""Limits closer than this are the same: drivers round to whole watts or milliwatts."""


class Seen(NamedTuple):
    """Both limits of a device; the one in force may be unreadable where only the other one matters."""

    asked_w: float
    limit_w: float | None


class HalfDone(NamedTuple):
    """A write that failed on the way, and the limit in force after it, where that can be read."""

    fault: HardwareError
    limit_w: float | None


Back: TypeAlias = Seen | HalfDone | HardwareError
"""What came back from reading, or from writing and reading back."""


class LimitAccess:
    """Reads and writes over ``lanes``. One lane a device of the host: what it does not have is not asked."""

    def __init__(self, driver: DeviceDriver, lanes: FanOut) -> None:
        self._driver = driver
        self._lanes = lanes
        self.ranges: dict[str, CapRange] = {}
        """Of the devices that were seen so far."""

    def unknown(self, keys: Iterable[str]) -> dict[str, HardwareError]:
        """Which of these the host does not have, as far as can be known, and why."""
        missing = [key for key in keys if key not in self.ranges]
        if not missing:
            return {}
        cause: HardwareError | None = None
        try:
            self.ranges = {view.device_id: view.cap_range for view in self._driver.devices()}
        except HardwareError as fault:
            cause = fault
        return {
            key: cause or DeviceLost("no such device on this host", device_id=key)
            for key in missing
            if key not in self.ranges
        }

    def read(self, keys: Iterable[str]) -> dict[str, Seen | HardwareError]:
        """Both limits of each."""
        return self._lanes.each(keys, self._read)

    def look(self, keys: Iterable[str]) -> dict[str, Seen | HardwareError]:
        """As ``read``, but the limit in force may be unreadable: what matters is whose the limit is."""
        return self._lanes.each(keys, lambda key: Seen(self._driver.asked_w(key), self._readable(key)))

    def write(
        self, limits_w: Mapping[str, float], put: Callable[[str, float], None] | None = None
    ) -> dict[str, Seen | HalfDone | HardwareError]:
        """Write each, by ``put`` where it is given, and read it back."""
        write_limit = self._driver.set_limit_w if put is None else put

        def one(key: str) -> Seen | HalfDone:
            try:
                write_limit(key, limits_w[key])
                return self._read(key)
            except HardwareError as fault:
                return HalfDone(fault, self._readable(key))

        return self._lanes.each(limits_w, one)

    def _read(self, key: str) -> Seen:
        driver = self._driver
        return Seen(driver.asked_w(key), driver.limit_w(key))

    def _readable(self, key: str) -> float | None:
        try:
            return self._driver.limit_w(key)
        except HardwareError:
            return None


def limit_of(back: Back | None) -> float | None:
    """The limit in force, where it was read."""
    return None if back is None or isinstance(back, HardwareError) else back.limit_w


def same(one_w: float, other_w: float) -> bool:
    """Whether two limits are the same one."""
    return -TOLERANCE_W <= one_w - other_w <= TOLERANCE_W
