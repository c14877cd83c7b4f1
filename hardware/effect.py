"""Whether a cap shows in watts. A limit that reads back may still hold nothing down: acknowledgement is not effect."""

from collections.abc import Iterable, Mapping

import structlog

from hardware.device import Fault, PowerReading, Quality
from hardware.errors import Condition

log = structlog.get_logger()

SETTLE_S = 5.0
"""A power reading lags behind its limit: it averages over a second, and some sensors look a quarter of the time only
(A100 and H100: arXiv 2312.02741)."""

OVERSHOOT_FRACTION = 0.05
OVERSHOOT_W = 10.0
"""What a device may draw over its cap. Measured was 1.7 % at most (Emerald AI, dvfs_sweep.csv, 101.7 W at 100 W)."""

IN_A_ROW = 3
"""So many readings over the cap are no chance."""

CURE = (
    "the device does not follow its power limit: count on its full draw, look for clocks that somebody locked, a driver"
    " fault or a wrong sensor, and reset it when it is free"
)


class EffectWatch:
    """Holds readings of power against the caps that are in force. Pure but for the log; time is a plain argument."""

    def __init__(self) -> None:
        self._caps: dict[str, list[tuple[float, float]]] = {}
        self._over: dict[str, int] = {}
        self._faults: dict[str, Fault] = {}

    def look(self, readings: Iterable[PowerReading], caps_w: Mapping[str, float], now_s: float) -> None:
        """Take the readings of now. ``caps_w`` are our caps by device; of a device without one nothing is expected."""
        for key in self._caps.keys() - caps_w.keys():
            del self._caps[key]
            self._well(key)
        for key, cap_w in caps_w.items():
            known = self._caps.setdefault(key, [])
            if not known or known[-1][1] != cap_w:
                known.append((now_s, cap_w))
            while len(known) > 1 and known[1][0] <= now_s - SETTLE_S:
                del known[0]
        for reading in readings:
            known = self._caps.get(reading.meter_id, [])
            if not known or reading.quality is not Quality.GOOD or known[0][0] > now_s - SETTLE_S:
                continue
            # The highest of the caps that it may still be on its way from.
            cap_w = max(cap_w for _, cap_w in known)
            if reading.power_w > cap_w * (1.0 + OVERSHOOT_FRACTION) + OVERSHOOT_W:
                self._exceeds(reading, cap_w)
            else:
                self._well(reading.meter_id)

    def fault(self, key: str) -> Fault | None:
        """What is wrong with a device's cap, ``None`` where it shows in watts or nothing can be said."""
        return self._faults.get(key)

    def _exceeds(self, reading: PowerReading, cap_w: float) -> None:
        key = reading.meter_id
        self._over[key] = self._over.get(key, 0) + 1
        if self._over[key] < IN_A_ROW:
            return
        if key not in self._faults:
            log.error("cap_without_effect", device_id=key, cap_w=cap_w, power_w=reading.power_w)
        self._faults[key] = Fault(
            condition=Condition.NOT_IN_FORCE,
            detail=f"its limit reads {cap_w:g} W, and it draws {reading.power_w:.0f} W",
            cure=CURE,
        )

    def _well(self, key: str) -> None:
        self._over.pop(key, None)
        if self._faults.pop(key, None) is not None:
            log.info("cap_shows_in_watts", device_id=key)
