"""From readings to energy: intervals with coverage and quality."""

from dataclasses import dataclass
from datetime import datetime

from hardware.device import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalEnergy:
    """Energy over ``[starts_at, starts_at + duration_s)``, import positive.

    ``coverage_fraction`` is the share of the interval that readings stand for, 0 to 1; ``energy_wh`` counts the covered
    share only. ``quality`` is the worst of its readings'.
    """

    starts_at: datetime
    duration_s: float
    energy_wh: float
    coverage_fraction: float
    quality: Quality = Quality.GOOD
