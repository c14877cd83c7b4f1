"""Prints what it costs to know what a site could give, and for how long that holds up anything else.

    python tests/benchmarks/capability_cost.py [DEVICES ...]

The service as it runs: a window of readings each ten seconds, and each minute what the site could give and each job's
curve as it is drawn, of jobs with ten devices each, a tenth of them idle. CPU time is a share of one core over virtual
minutes in which every device is known. What is not done in a thread holds up the control loop: the longest turn of
the event loop, in CPU time of its thread. At 100,000 devices it takes minutes.
"""

import asyncio
import gc
import random
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import structlog

from gateway.clock import VirtualClock
from gateway.domain.fleet import Site
from gateway.services.offering import Offering
from gateway.services.readiness import Readiness
from hardware.device import DeviceView, PowerReading
from hardware.job import JobView
from hardware.workloads import CAP_RANGE, WORKLOADS

SIZES = (256, 100_000)
DEVICES_PER_JOB = 10
IDLE_SHARE = 0.1
BEGAN_AT = datetime(2026, 7, 1, 16, tzinfo=UTC)
KNOWN_AFTER_S = 310.0
MEASURED_S = 120.0

BOUNDS = {256: (0.005, 0.02), 100_000: (0.20, 0.5)}
"""Share of a core, and longest turn in seconds: of a large fleet half a control step."""


@dataclass(frozen=True)
class Found:
    """What it came to."""

    core_fraction: float
    longest_turn_s: float
    drawn_s: float
    idle: int


class Fleet:
    """Devices that draw what their work draws, or next to nothing, and nobody caps; ledger and actuator besides."""

    caps_w: Mapping[str, float] = {}
    paused = not_ours = frozenset[str]()

    def __init__(self, devices: int, clock: VirtualClock) -> None:
        self._clock = clock
        names = sorted(WORKLOADS)
        ids = [f"h{index // 8:05d}-d{index % 8}" for index in range(devices)]
        self._devices = {
            one: DeviceView(device_id=one, host_id=one[:6], model="m", cap_range=CAP_RANGE, limit_w=CAP_RANGE.default_w)
            for one in ids
        }
        self._jobs = {
            f"job-{index}": JobView(
                job_id=f"job-{index}",
                device_ids=tuple(ids[index * DEVICES_PER_JOB : (index + 1) * DEVICES_PER_JOB]),
                tier="flex2",
                weight=1.0,
                min_throughput=0.75,
                curve=WORKLOADS[names[index % len(names)]].curve(),
                max_pause_s=240.0,
            )
            for index in range(devices // DEVICES_PER_JOB)
        }
        dice = random.Random(1)
        self._draw_w = {
            one: 60.0 if dice.random() < IDLE_SHARE else job.curve[-1].power_w * dice.uniform(0.97, 1.03)
            for job in self._jobs.values()
            for one in job.device_ids
        }
        self._readings: dict[str, PowerReading] = {}

    def devices(self) -> Mapping[str, DeviceView]:
        return self._devices

    def jobs(self) -> Mapping[str, JobView]:
        return self._jobs

    def latest_readings(self) -> Mapping[str, PowerReading]:
        return self._readings

    async def read(self) -> None:
        """Have every device read anew, by and by; not part of what is measured."""
        now = self._clock.now()
        for count, (one, power_w) in enumerate(self._draw_w.items()):
            self._readings[one] = PowerReading(meter_id=one, power_w=power_w, measured_at=now)
            if count % 1000 == 0:
                await asyncio.sleep(0)


async def measured(devices: int) -> Found:
    clock = VirtualClock(BEGAN_AT)
    fleet: Any = Fleet(devices, clock)
    site = Site(site_id="bench", timezone=ZoneInfo("UTC"), meter_id="site")
    offering = Offering(fleet=fleet, site=site, ledger=fleet, clock=clock, actuator=fleet, readiness=Readiness())
    # As the gateway does once its fleet is known.
    gc.freeze()
    stop, over = asyncio.Event(), asyncio.Event()
    turns_s = [0.0]
    cpu_s: list[float] = []
    reading_s = [0.0]

    async def read_and_stop() -> None:
        for second in range(int(KNOWN_AFTER_S + MEASURED_S) + 1):
            if second % 10 == 9:
                began = time.process_time()
                await fleet.read()
                reading_s[0] += time.process_time() - began
            if second == KNOWN_AFTER_S:
                cpu_s.append(time.process_time() - reading_s[0])
                turns_s[:] = [0.0]
            await clock.wait(BEGAN_AT + timedelta(seconds=second + 1))
        cpu_s.append(time.process_time() - reading_s[0])
        stop.set()
        over.set()

    async def beside() -> None:
        while not over.is_set():
            began = time.thread_time()
            await asyncio.sleep(0.001)
            turns_s.append(time.thread_time() - began)

    await asyncio.gather(clock.tend(read_and_stop()), clock.tend(offering.run(stop)), beside())
    jobs = list(fleet.jobs().values())
    began = time.process_time()
    offering.as_drawn(jobs)
    drawn_s = time.process_time() - began
    assert offering.latest is not None
    kinds = {str(kind): count for kind, count in offering.latest.kinds.items()}
    return Found((cpu_s[1] - cpu_s[0]) / MEASURED_S, max(turns_s), drawn_s, kinds["idle"])


def main(sizes: list[int]) -> bool:
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    kept = True
    for devices in sizes:
        found = asyncio.run(measured(devices))
        most_core, most_s = BOUNDS.get(devices, (1.0, 1.0))
        well = found.core_fraction <= most_core and found.longest_turn_s <= most_s
        kept &= well
        print(
            f"{devices:,} devices in {devices // DEVICES_PER_JOB:,} jobs, {found.idle:,} idle:"
            f" {found.core_fraction:.2%} of a core (bound {most_core:.1%}),"
            f" the longest turn takes {found.longest_turn_s * 1000.0:.0f} ms (bound {most_s * 1000.0:.0f} ms),"
            f" all jobs as drawn for a plan in {found.drawn_s * 1000.0:.0f} ms: {'kept' if well else 'BROKEN'}",
            flush=True,
        )
    return kept


if __name__ == "__main__":
    sys.exit(0 if main([int(one) for one in sys.argv[1:]] or list(SIZES)) else 1)
