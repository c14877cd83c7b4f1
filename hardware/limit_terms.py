"""The facility manager's terms for the limits of a host: a ceiling for each device, and how limits go back up. Pure."""

import math
from collections.abc import Mapping
from dataclasses import dataclass, field

LEAST_STEP_W = 1.0
"""A rise by less is not worth a write; it waits for the next look."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Ceilings:
    """What no limit of ours may be above: ``by_device``, ``default_w`` for the others, ``None`` for no ceiling."""

    default_w: float | None = None
    by_device: Mapping[str, float] = field(default_factory=dict)

    def of(self, device_id: str) -> float:
        """The device's ceiling in watts, infinite where it has none."""
        ceiling_w = self.by_device.get(device_id, self.default_w) if self.by_device else self.default_w
        return math.inf if ceiling_w is None else ceiling_w


@dataclass(frozen=True, slots=True, kw_only=True)
class RestoreRamp:
    """How limits go back up after leases that ended: after ``delay_s``, evenly within ``ramp_s``. 0 and 0: at once.

    Hosts of a site get different delays, so that the load does not come back everywhere in the same second.
    """

    delay_s: float = 0.0
    ramp_s: float = 0.0

    @property
    def at_once(self) -> bool:
        return self.delay_s <= 0.0 and self.ramp_s <= 0.0

    def part(self, since_s: float) -> float:
        """How much of the way up is due ``since_s`` seconds after the delay: from 0 to 1."""
        if since_s < 0.0:
            return 0.0
        return 1.0 if since_s >= self.ramp_s else since_s / self.ramp_s
