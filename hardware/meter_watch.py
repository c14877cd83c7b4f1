"""Whether one meter's readings can be right: late, stuck, or impossible."""

import math
from dataclasses import dataclass
from datetime import datetime

from hardware.device import PowerReading

_AHEAD_S = 5.0
"""A stamp further ahead than that is no clock difference but a wrong clock."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Plausible:
    """What is believed of a meter.

    Power stays within ``min_w`` and ``max_w``; a reading is at most ``stale_after_s`` old. Where ``stuck_after_s`` is
    given, a power that is the same to the last bit for longer, by the readings' own stamps, is not believed once the
    devices' sum has moved by ``moved_fraction`` of itself meanwhile. Leave it out for a meter that rounds, and for one
    that is read more often than it measures set it well above its own period.
    """

    min_w: float = -math.inf
    max_w: float = math.inf
    stale_after_s: float = 10.0
    stuck_after_s: float | None = None
    moved_fraction: float = 0.05


@dataclass(slots=True)
class _Still:
    """One power, since when it has been read, and between what the devices' sum was meanwhile."""

    power_w: float
    since: datetime
    lowest_w: float = math.inf
    highest_w: float = -math.inf


class Watch:
    """Judges one meter's readings, one after the other."""

    def __init__(self, rule: Plausible) -> None:
        self._rule = rule
        self._still: _Still | None = None

    def fault(self, reading: PowerReading, *, now: datetime, devices_w: float | None) -> str | None:
        """What is wrong with the reading, in words; ``None`` where nothing is."""
        rule = self._rule
        stuck = self._stuck(reading, devices_w)
        age_s = (now - reading.measured_at).total_seconds()
        if not math.isfinite(reading.power_w):
            return f"{reading.power_w} is no power"
        if not rule.min_w <= reading.power_w <= rule.max_w:
            return f"{reading.power_w:.6g} W is not between {rule.min_w:.6g} W and {rule.max_w:.6g} W"
        if age_s > rule.stale_after_s:
            return f"stale: measured {age_s:.0f} s ago"
        if age_s < -_AHEAD_S:
            return f"its clock is {-age_s:.0f} s ahead"
        return stuck

    def _stuck(self, reading: PowerReading, devices_w: float | None) -> str | None:
        if self._rule.stuck_after_s is None:
            return None
        if self._still is None or reading.power_w != self._still.power_w:
            self._still = _Still(reading.power_w, reading.measured_at)
        still = self._still
        if devices_w is not None:
            still.lowest_w = min(still.lowest_w, devices_w)
            still.highest_w = max(still.highest_w, devices_w)
        still_s = (reading.measured_at - still.since).total_seconds()
        moved = still.highest_w - still.lowest_w > self._rule.moved_fraction * still.highest_w
        if still_s <= self._rule.stuck_after_s or not moved:
            return None
        return f"stuck at {reading.power_w:.6g} W for {still_s:.0f} s while the devices moved"
