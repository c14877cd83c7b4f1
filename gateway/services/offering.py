"""What the devices want to draw, window by window, and from that what the site could give.

Nothing waits for this: what was found last is kept in memory, for the page, for commands and for plans.
"""

import asyncio
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from functools import partial

import numpy as np

from gateway.clock import Clock
from gateway.domain.capability import Capability
from gateway.domain.curve_learning import LearntCurve
from gateway.domain.curve_observation import WINDOW_S
from gateway.domain.demanded_curve import as_drawn
from gateway.domain.electrical import ceilings_w
from gateway.domain.fleet import Site, movable_jobs
from gateway.domain.load_kind import DemandHistory, LoadKind, demanded_w
from gateway.domain.site_capability import site_capability
from gateway.ledger import Ledger
from gateway.services.actuator import Actuator, Fleet
from gateway.services.learned_curves import LearnedCurves
from gateway.services.readiness import Readiness
from gateway.services.within_reach import STALE_AFTER, up_to
from hardware.device import CapRange, DeviceView, Quality
from hardware.job import JobState, JobView

FIND_EVERY = timedelta(seconds=60)

PART = "capability"

JOBS_A_TURN = 256

_NOT_AS_THEY_STAND = (
    (LoadKind.IDLE, "idle device is not counted on", "idle devices are not counted on"),
    (LoadKind.BURSTY, "bursty device counts with its mean", "bursty devices count with their mean"),
    (
        LoadKind.UNKNOWN,
        "device is not known long enough and counts with its full draw",
        "devices are not known long enough and count with their full draw",
    ),
)

_Heard = tuple[str, float, float, float]
"""A device: what it draws, the cap in force on it, and what its work draws uncapped."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Drawn:
    """A job's view as it was, and as it draws."""

    nominal: JobView
    drawn: JobView


@dataclass(frozen=True, slots=True, kw_only=True)
class _Found:
    capability: Capability
    jobs: Mapping[str, _Drawn]


class Offering:
    """``latest`` is what was found last, ``None`` before the first time.

    It is found ``in_thread``, beside the control loop; in virtual time not, so that everything happens in one order.
    """

    def __init__(
        self,
        *,
        fleet: Fleet,
        site: Site,
        ledger: Ledger,
        clock: Clock,
        actuator: Actuator,
        readiness: Readiness,
        curves: LearnedCurves | None = None,
        in_thread: bool = True,
    ) -> None:
        self._in_thread = in_thread
        self._fleet = fleet
        self._site = site
        self._ledger = ledger
        self._clock = clock
        self._actuator = actuator
        self._readiness = readiness
        self.curves = curves
        """Where curves are learnt, for those who take them up."""
        readiness.expect(PART)
        self._demand = DemandHistory()
        self._running: set[str] = set()
        self._jobs: tuple[JobView, ...] = ()
        self._found: _Found | None = None

    @property
    def latest(self) -> Capability | None:
        return None if self._found is None else self._found.capability

    async def run(self, stop: asyncio.Event) -> None:
        """Look each window until told to stop; find out anew each minute, and when jobs or devices have changed."""
        while not stop.is_set():
            now = self._clock.now()
            jobs = self._movable_jobs()
            changed = _who_and_where(jobs) != _who_and_where(self._jobs)
            self._jobs = jobs
            await self._add_window(now)
            if changed or self._found is None or abs(now - self._found.capability.at) >= FIND_EVERY:
                await self._find(now)
            self._readiness.well(PART)
            await self._clock.wait(now + timedelta(seconds=WINDOW_S), stop)

    def as_drawn(self, jobs: Sequence[JobView]) -> tuple[JobView, ...]:
        """The jobs as a plan is to know them: with what they would draw, and with what is left of their work."""
        remaining_s = {job_id: job.remaining_s for job_id, job in self._fleet.jobs().items()}
        return tuple(replace(self._drawn(job), remaining_s=remaining_s.get(job.job_id)) for job in jobs)

    def in_words(self, jobs: Sequence[JobView]) -> str:
        """How many devices of these jobs a plan does not count on, or not as they stand; empty for none."""
        known = {} if self.latest is None else self.latest.jobs
        counts: Counter[LoadKind] = Counter()
        for job in jobs:
            counts.update(known.get(job.job_id, {LoadKind.UNKNOWN: len(job.device_ids)}))
        return "; ".join(
            f"{counts[kind]:,} {(one if counts[kind] == 1 else many)}"
            for kind, one, many in _NOT_AS_THEY_STAND
            if counts[kind]
        )

    def _drawn(self, job: JobView) -> JobView:
        """As found last; anew, where its terms, curve or devices are others since."""
        known = None if self._found is None else self._found.jobs.get(job.job_id)
        if known is not None and _same_terms(known.nominal, job):
            return replace(job, curve=known.drawn.curve, idle_w=known.drawn.idle_w)
        return as_drawn(job, self._demand.of(job.device_ids))

    def _movable_jobs(self) -> tuple[JobView, ...]:
        jobs = movable_jobs(
            self._fleet.jobs().values(), devices=self._fleet.devices(), not_ours=self._actuator.not_ours
        )
        return jobs if self.curves is None else self.curves.as_taken(jobs)

    async def _add_window(self, now: datetime) -> None:
        """One window of all devices whose job has been running for a while, and which were heard of lately."""
        running = {job.job_id for job in self._jobs if job.state is JobState.RUNNING} - {*self._actuator.paused}
        # A job that was paused until a moment ago does not draw again yet what it wants.
        settled, self._running = running & self._running, running
        heard: list[_Heard] = []
        jobs = [job for job in self._jobs if job.job_id in settled]
        for first in range(0, len(jobs), JOBS_A_TURN):
            heard += self._heard(jobs[first : first + JOBS_A_TURN], now)
            # Others have their turn in between: of a large fleet all of it takes half a second.
            await asyncio.sleep(0)
        device_ids, power_w, cap_w, free_w = zip(*heard, strict=True) if heard else ((), (), (), ())
        wanted_w = demanded_w(np.array(power_w), np.array(cap_w), np.array(free_w))
        self._demand.add(dict(zip(device_ids, wanted_w.tolist(), strict=True)))

    def _heard(self, jobs: Sequence[JobView], now: datetime) -> list[_Heard]:
        readings, caps_w, devices = self._ledger.latest_readings(), self._actuator.caps_w, self._fleet.devices()
        oldest, newest = now - STALE_AFTER, now + STALE_AFTER
        found: list[_Heard] = []
        for job in jobs:
            free_w = job.curve[-1].power_w
            for device_id in job.device_ids:
                reading, device = readings.get(device_id), devices.get(device_id)
                if reading is None or device is None or reading.quality is not Quality.GOOD:
                    continue
                if oldest <= reading.measured_at <= newest:
                    # Of the cap that was confirmed and the limit that was seen, one may be newer: a comparison and no
                    # min(), since this is done for every device.
                    cap_w, limit_w = caps_w.get(device_id), device.limit_w
                    lower_w = limit_w if cap_w is None or cap_w > limit_w else cap_w
                    found.append((device_id, reading.power_w, lower_w, free_w))
        return found

    async def _find(self, now: datetime) -> None:
        """Of a large fleet it takes seconds, and control steps do not wait for it."""
        devices = dict(self._fleet.devices())
        learnt = {} if self.curves is None else self.curves.learnt()
        find = partial(_find, site=self._site, devices=devices, demand=self._demand, learnt=learnt, at=now)
        self._found = await asyncio.to_thread(find, self._jobs) if self._in_thread else find(self._jobs)


def _find(
    jobs: Sequence[JobView],
    *,
    site: Site,
    devices: Mapping[str, DeviceView],
    demand: DemandHistory,
    learnt: Mapping[str, LearntCurve],
    at: datetime,
) -> _Found:
    """What the jobs could give, and each as it draws."""
    most_w = {} if site.tree is None else ceilings_w(site.tree, devices)
    ranges: dict[str, CapRange] = {key: up_to(device.cap_range, most_w.get(key)) for key, device in devices.items()}
    return _Found(
        capability=site_capability(jobs, at=at, ranges=ranges, demand=demand, learnt=learnt),
        jobs={job.job_id: _Drawn(nominal=job, drawn=as_drawn(job, demand.of(job.device_ids))) for job in jobs},
    )


def _same_terms(one: JobView, other: JobView) -> bool:
    return (one.curve, one.min_throughput, one.idle_w, one.device_ids) == (
        other.curve,
        other.min_throughput,
        other.idle_w,
        other.device_ids,
    )


def _who_and_where(jobs: Sequence[JobView]) -> list[tuple[str, tuple[str, ...]]]:
    return [(job.job_id, job.device_ids) for job in jobs]
