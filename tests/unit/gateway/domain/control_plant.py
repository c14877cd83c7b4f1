"""A small site for the control loop: caps that act at once, cooling that lags, sensors that average and are noisy."""

import math
import random
from collections import deque
from dataclasses import dataclass, field
from itertools import groupby
from statistics import fmean

from gateway.domain.control import ControlSettings, ControlState, step

FLOOR_W = 30_000.0
CEILING_W = 70_000.0
SUBSTEPS = 10


@dataclass
class Plant:
    """A site at rest at its ceiling. ``gain`` is what the fleet draws for a watt of budget: the curves' error."""

    seed: int
    gain: float = 1.0
    noise: float = 0.003
    overhead_w: float = 8_000.0
    demand_w: float = CEILING_W
    cooling_tau_s: float = 180.0
    cap_tau_s: float = 0.2
    fleet_w: float = field(init=False)
    cooling_w: float = field(init=False)

    def __post_init__(self) -> None:
        self.fleet_w = self.demand_w * self.gain
        self.cooling_w = 0.18 * self.fleet_w
        self._random = random.Random(self.seed)
        self._averaged = deque([self.fleet_w] * SUBSTEPS, maxlen=SUBSTEPS)

    @property
    def site_w(self) -> float:
        return self.fleet_w + self.cooling_w + self.overhead_w

    def advance(self, budget_w: float | None) -> float:
        """One second under a budget; returns the site's mean power over it."""
        asked_w = min(self.demand_w, CEILING_W if budget_w is None else budget_w) * self.gain
        seen = []
        for _ in range(SUBSTEPS):
            dt_s = 1.0 / SUBSTEPS
            self.fleet_w += (asked_w - self.fleet_w) * (1.0 - math.exp(-dt_s / self.cap_tau_s))
            self.cooling_w += (0.18 * self.fleet_w - self.cooling_w) * (1.0 - math.exp(-dt_s / self.cooling_tau_s))
            self._averaged.append(self.fleet_w)
            seen.append(self.site_w)
        return fmean(seen)

    def meter(self) -> tuple[float, float]:
        """What the site meter and the fleet's sensors (a mean over the last second) say."""
        return self.noisy(self.site_w), fmean(self._averaged) * (1.0 + self._random.gauss(0.0, self.noise / 10))

    def noisy(self, power_w: float) -> float:
        """What a meter makes of it."""
        return power_w * (1.0 + self._random.gauss(0.0, self.noise))


@dataclass(frozen=True)
class Step:
    """What a step of the target comes to.

    ``off`` is by how much of the target the site is off it, second by second, and ``new`` whether a budget was new.
    """

    off: list[float]
    new: list[bool]

    def swings(self, beyond: float) -> list[float]:
        """How far the site went to each side in turn, of what went beyond so much."""
        far = [off for off in self.off if abs(off) > beyond]
        return [max(abs(off) for off in side) for _, side in groupby(far, key=lambda off: off > 0)]


def step_response(
    plant: Plant,
    *,
    late_s: int,
    averaged_s: int,
    fleet_late_s: int,
    target_fraction: float,
    seconds: int,
    believed_s: int | None = None,
) -> Step:
    """A minute's rest, then a target at so much of the site's power.

    The site meter shows the mean of ``averaged_s``, and it comes ``late_s`` late; the fleet's sensors are
    ``fleet_late_s`` late. Both say so. The loop takes the mean for one of ``believed_s``.
    """
    settings = ControlSettings(averaged_s=float(averaged_s if believed_s is None else believed_s))
    target_w = target_fraction * plant.site_w
    means = deque([plant.site_w] * averaged_s, maxlen=averaged_s)
    site, fleet = deque[float](maxlen=late_s + 1), deque[float](maxlen=fleet_late_s + 1)
    state, found = ControlState(), Step(off=[], new=[])
    for second in range(-60, seconds):
        _, fleet_w = plant.meter()
        site.append(plant.noisy(fmean(means)))
        fleet.append(fleet_w)
        done = step(
            state,
            target_w=target_w if second >= 0 else None,
            site_w=site[0],
            site_age_s=float(late_s),
            fleet_w=fleet[0],
            fleet_age_s=float(fleet_late_s),
            dt_s=1.0,
            floor_w=FLOOR_W,
            ceiling_w=CEILING_W,
            settings=settings,
        )
        state = done.state
        means.append(plant.advance(done.fleet_budget_w))
        if second >= 0:
            found.off.append(means[-1] / target_w - 1.0)
            found.new.append(done.changed)
    return found
