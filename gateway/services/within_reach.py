"""What the gateway can move at this moment: jobs on devices that take caps, and what those and the site draw."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

import structlog

from gateway.domain.allocate import Allocator
from gateway.domain.electrical import ceilings_w
from gateway.domain.fleet import Site, allocation_jobs, movable_jobs
from gateway.ledger import Ledger
from gateway.services.actuator import Actuator, Fleet
from gateway.services.learned_curves import LearnedCurves
from hardware.device import CapRange, Quality
from hardware.job import JobState, JobView

log = structlog.get_logger()

REFRESH_PERIOD = timedelta(seconds=10)
STALE_AFTER = timedelta(seconds=5)
"""A reading that is older than this is no feedback any more; nor is one that a clock set back left in the future."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Believed:
    """Which readings control goes by: not older than ``stale_after``, and of these qualities.

    ``whole``: the devices are all that the site has, so that what no cap moves is what the other devices draw.
    """

    stale_after: timedelta = STALE_AFTER
    qualities: frozenset[Quality] = frozenset({Quality.GOOD})
    whole: bool = False


BELIEVED = Believed()


class WithinReach:
    """Jobs and devices as they were heard of last, and the allocator over them."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        site: Site,
        ledger: Ledger,
        actuator: Actuator,
        curves: LearnedCurves | None = None,
        believed: Believed = BELIEVED,
    ) -> None:
        self._believed = believed
        self._fleet = fleet
        self._site = site
        self._ledger = ledger
        self._actuator = actuator
        self._curves = curves
        self._allocator: Allocator | None = None
        self._allocated_for: tuple[tuple[str, ...], Mapping[str, float]] = ((), {})
        self._unknown_names: tuple[str, ...] = ()
        self._ceilings_w: dict[str, float] = {}
        self._refreshed_at: datetime | None = None
        self.jobs: tuple[JobView, ...] = ()
        """Jobs with a curve that run on devices we can cap, as they stand in a plan."""

    async def refresh(self, now: datetime, *, holding: bool) -> bool:
        """Hear of devices and jobs again from time to time. Returns whether what can be moved has changed.

        While an event is held (``holding``) no new curves are taken up.
        """
        if self._refreshed_at is not None and abs(now - self._refreshed_at) < REFRESH_PERIOD:
            return False
        await self._fleet.refresh()
        self._refreshed_at = now
        most_w = self._look_at_the_tree()
        jobs = self._controllable_jobs(now, holding=holding)
        if jobs == self.jobs and most_w == self._ceilings_w:
            return False
        self._ceilings_w = most_w
        self.jobs = jobs
        self._allocator = None
        return True

    def allocator(self, paused: tuple[str, ...], floors: Mapping[str, float]) -> Allocator:
        """The allocator over these jobs, with some of them paused and others held over a floor (see ``JointPlan``)."""
        wanted = (paused, floors)
        if self._allocator is None or self._allocated_for != wanted:
            self._allocator = Allocator(allocation_jobs(self.jobs, ranges=self.ranges(), floors=floors), paused=paused)
            self._allocated_for = wanted
        return self._allocator

    def ranges(self) -> dict[str, CapRange]:
        """The range of each device, up to what the electrical tree has room for."""
        return {
            device_id: up_to(device.cap_range, self._ceilings_w.get(device_id))
            for device_id, device in self._fleet.devices().items()
        }

    def learn(self, now: datetime) -> None:
        """Have the curves learnt from what is known now."""
        if self._curves is not None:
            self._curves.note(
                now,
                self._fleet.jobs().values(),
                readings=self._ledger.latest_readings(),
                caps_w=self._actuator.caps_w,
            )

    def site_w(self, now: datetime) -> float | None:
        """Site power as the meter says; ``None`` while it is silent or not to be believed."""
        reading = self._ledger.latest_readings().get(self._site.meter_id)
        if reading is None or abs(now - reading.measured_at) > self._believed.stale_after:
            return None
        return reading.power_w if reading.quality in self._believed.qualities else None

    def site_age_s(self, now: datetime) -> float:
        """How long ago the site meter's latest reading was taken."""
        reading = self._ledger.latest_readings().get(self._site.meter_id)
        return 0.0 if reading is None else (now - reading.measured_at).total_seconds()

    def jobs_w(self, now: datetime) -> float | None:
        """What the devices draw that our caps can move; ``None`` while any of them has not been heard of lately."""
        latest = self._ledger.latest_readings()
        drawn_w = 0.0
        for job in self.jobs:
            for device_id in job.device_ids:
                reading = latest.get(device_id)
                if reading is None or abs(now - reading.measured_at) > self._believed.stale_after:
                    return None
                drawn_w += reading.power_w
        return drawn_w

    def others_w(self, now: datetime) -> float | None:
        """What draws beside the jobs, where that is known device by device, else ``None``."""
        if not self._believed.whole:
            return None
        ours = {device_id for job in self.jobs for device_id in job.device_ids}
        latest = self._ledger.latest_readings()
        readings = [latest.get(device_id) for device_id in self._fleet.devices() if device_id not in ours]
        if any(reading is None or abs(now - reading.measured_at) > self._believed.stale_after for reading in readings):
            return None
        return sum(reading.power_w for reading in readings if reading is not None)

    def jobs_age_s(self, now: datetime) -> float | None:
        """How long ago the devices' readings were taken; they are read together."""
        reading = self._ledger.latest_readings().get(self.jobs[0].device_ids[0]) if self.jobs else None
        return None if reading is None else (now - reading.measured_at).total_seconds()

    def _look_at_the_tree(self) -> dict[str, float]:
        """The most that each device can have under it, to the watt; names in it that no agent has are told."""
        if self._site.tree is None:
            return {}
        devices = self._fleet.devices()
        unknown = self._site.tree.unknown_names({device_id: device.host_id for device_id, device in devices.items()})
        if unknown != self._unknown_names:
            self._unknown_names = unknown
            log.warning("tree_names_unknown", names=unknown[:8], count=len(unknown))
        return {device_id: float(round(most_w)) for device_id, most_w in ceilings_w(self._site.tree, devices).items()}

    def _controllable_jobs(self, now: datetime, *, holding: bool) -> tuple[JobView, ...]:
        """Jobs with a curve that run on devices we can cap: neither lost nor under somebody else's limit."""
        kept = movable_jobs(
            self._fleet.jobs().values(), devices=self._fleet.devices(), not_ours=self._actuator.not_ours
        )
        # What changes from moment to moment would have the allocator rebuilt each time.
        jobs = tuple(
            replace(
                job,
                throughput=1.0,
                state=JobState.RUNNING,
                progress=None,
                priority=None,
                fault=None,
                remaining_s=None,
            )
            for job in kept
        )
        if self._curves is None:
            return jobs
        return self._curves.as_taken(jobs) if holding else self._curves.taken_up(jobs, now)


def up_to(cap_range: CapRange, most_w: float | None) -> CapRange:
    """A device's range, up to the most that the electrical tree lets it have (``None``: whatever it takes)."""
    if most_w is None or most_w >= cap_range.max_w:
        return cap_range
    return replace(cap_range, max_w=max(cap_range.min_w, most_w))
