"""What is written down each second of a scenario, of the site and of its twin."""

import asyncio
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import timedelta

import numpy as np
from numpy.typing import NDArray

from gateway.clock import Clock
from gateway.domain.overlap import governing_target
from gateway.domain.plan import PowerPlan
from gateway.domain.tree import Node
from gateway.simulation.life import CONNECTION_ID, GatewayLife
from gateway.simulation.scenario import Scenario
from gateway.simulation.site import PlayedSite, work_of
from hardware.physics import Possible

Floats = NDArray[np.float64]

STEP_S = 1.0
JOBS_STEP_S = 10
"""A job is written down every so many steps, with its mean throughput since the last time."""

POSSIBLE_STEP_S = 10


@dataclass(frozen=True, slots=True, kw_only=True)
class _Registers:
    """What runs on, of the site and of its twin; ``node_j`` by node of the site's electrical tree."""

    site_j: tuple[float, float]
    devices_j: tuple[float, float]
    work_s: tuple[Floats, Floats]
    node_j: Floats


@dataclass(frozen=True, slots=True, kw_only=True)
class JobRow:
    """One job over ``JOBS_STEP_S`` from ``time_s`` on; ``cap_w`` and ``state`` are those at its end."""

    time_s: float
    job_id: str
    throughput: float
    cap_w: float
    state: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Recording:
    """Series by step of one second: all of one length, each value from ``time_s`` on for ``STEP_S``; nan is none.

    ``site_w`` and ``counterfactual_w`` are what the two site meters latched at the end of the step, their mean over it.
    ``true_w`` and ``twin_true_w`` are the same before any meter's noise. ``devices_w`` and ``twin_devices_w`` are the
    mean of all devices with a job. ``node_w`` (a column for each of ``nodes``) is what each node with a limit drew, and
    ``node_most_w`` what it would have drawn at the end of the step, had every device drawn all that its limit, the
    overshoot and the overhead allow. ``modes`` are what control stood on at the end of the step, empty where no
    gateway ran. ``work_s`` and ``twin_work_s`` (a row
    a step, a column a job) are seconds of uncapped running done in the step. ``possible`` is the truth about the jobs
    every ``POSSIBLE_STEP_S``, with the seconds it was so at.
    """

    time_s: Floats
    site_w: Floats
    target_w: Floats
    baseline_w: Floats
    counterfactual_w: Floats
    true_w: Floats
    twin_true_w: Floats
    devices_w: Floats
    twin_devices_w: Floats
    work_s: Floats
    twin_work_s: Floats
    nodes: tuple[Node, ...]
    node_w: Floats
    node_most_w: Floats
    modes: tuple[str, ...]
    jobs: tuple[JobRow, ...]
    possible: tuple[tuple[float, Possible], ...]

    def during(self, from_s: float, to_s: float) -> NDArray[np.bool_]:
        """Which steps lie in ``[from_s, to_s)``."""
        found: NDArray[np.bool_] = (self.time_s >= from_s) & (self.time_s < to_s)
        return found


class Recorder:
    """Looks at both sites each whole second, through what their meters latched and their own registers."""

    def __init__(self, scenario: Scenario, site: PlayedSite, clock: Clock) -> None:
        self._scenario = scenario
        self._site = site
        self._clock = clock
        self._job_ids = tuple(job.job_id for job in site.jobs)
        self._event_ids = tuple(event.id for event in scenario.events())
        self._plans: dict[str, PowerPlan] = {}
        self._rows: list[tuple[float, ...]] = []
        self._work: list[tuple[Floats, Floats]] = []
        self._node: list[tuple[Floats, Floats]] = []
        self._modes: list[str] = []
        self._jobs: list[JobRow] = []
        self._possible: list[tuple[float, Possible]] = []

    def mean_w(self, seconds: float) -> float:
        """The site's mean power over the last seconds, or over what there is of them."""
        if not self._rows:
            return self._site.real.metered().power_w
        recent = [row[1] for row in self._rows[-round(seconds / STEP_S) :]]
        return math.fsum(recent) / len(recent)

    async def run(self, gateway: GatewayLife, stop: asyncio.Event, tell: Callable[[float], None]) -> None:
        """Write down each second until told to stop."""
        before = self._registers()
        jobs_before = before.work_s[0]
        began = at = self._clock.now()
        while not stop.is_set():
            await self._clock.wait(at + timedelta(seconds=STEP_S), stop)
            if self._clock.now() < at + timedelta(seconds=STEP_S):
                return
            self._site.agent.tick()
            if gateway.ledger is not None and gateway.plans_changed.is_set():
                gateway.plans_changed.clear()
                await self._read_plans(gateway)
            after = self._registers()
            time_s = (at - self._scenario.zero).total_seconds()
            self._note(time_s, before, after)
            self._modes.append(gateway.mode)
            step = round((at - began).total_seconds() / STEP_S) + 1
            if step % JOBS_STEP_S == 0:
                self._note_jobs(time_s + STEP_S - JOBS_STEP_S * STEP_S, after.work_s[0] - jobs_before)
                jobs_before = after.work_s[0]
                tell(time_s)
            before, at = after, self._clock.now()

    def _registers(self) -> _Registers:
        real, twin = self._site.real, self._site.twin
        return _Registers(
            site_j=(real.site_j(), twin.site_j()),
            devices_j=(real.drawn_j(), twin.drawn_j()),
            work_s=(work_of(real, self._job_ids), work_of(twin, self._job_ids)),
            node_j=self._site.node_j(),
        )

    async def _read_plans(self, gateway: GatewayLife) -> None:
        for event_id in self._event_ids:
            plan = None if gateway.ledger is None else await gateway.ledger.plan(CONNECTION_ID, event_id)
            if plan is not None:
                self._plans[event_id] = plan

    def _note(self, time_s: float, before: _Registers, after: _Registers) -> None:
        at = self._scenario.at(time_s)
        governing = governing_target(self._plans.values(), at)
        held = None if governing is None else self._plans[governing.event_keys[0][1]]
        self._rows.append(
            (
                time_s,
                self._site.real.metered().power_w,
                math.nan if governing is None else governing.target_w,
                math.nan if held is None else held.baseline_w,
                self._site.twin.metered().power_w,
                *_mean_w(before.site_j, after.site_j),
                *_mean_w(before.devices_j, after.devices_j),
            )
        )
        self._node.append(((after.node_j - before.node_j) / STEP_S, self._site.node_most_w()))
        if round(time_s) % POSSIBLE_STEP_S == POSSIBLE_STEP_S // 2:
            self._possible.append((time_s, self._site.real.possible()))
        done_s = [late_s - early_s for early_s, late_s in zip(before.work_s, after.work_s, strict=True)]
        self._work.append((done_s[0], done_s[1]))

    def _note_jobs(self, time_s: float, work_s: Floats) -> None:
        limit_w = {device.device_id: device.limit_w for device in self._site.real.devices()}
        for job, done_s in zip(self._site.real.jobs(), work_s.tolist(), strict=True):
            self._jobs.append(
                JobRow(
                    time_s=time_s,
                    job_id=job.job_id,
                    throughput=done_s / (JOBS_STEP_S * STEP_S),
                    cap_w=math.fsum(limit_w[device_id] for device_id in job.device_ids) / len(job.device_ids),
                    state=str(job.state),
                )
            )

    def recording(self) -> Recording:
        """All that was written down."""
        columns = np.array(self._rows, dtype=np.float64).reshape(len(self._rows), 9).T
        shape = len(self._work), len(self._job_ids)
        node_shape = len(self._node), len(self._site.nodes)
        return Recording(
            time_s=columns[0],
            site_w=columns[1],
            target_w=columns[2],
            baseline_w=columns[3],
            counterfactual_w=columns[4],
            true_w=columns[5],
            twin_true_w=columns[6],
            devices_w=columns[7],
            twin_devices_w=columns[8],
            work_s=np.array([real for real, _ in self._work]).reshape(shape),
            twin_work_s=np.array([twin for _, twin in self._work]).reshape(shape),
            nodes=self._site.nodes,
            node_w=np.array([drawn for drawn, _ in self._node]).reshape(node_shape),
            node_most_w=np.array([most for _, most in self._node]).reshape(node_shape),
            modes=tuple(self._modes),
            jobs=tuple(self._jobs),
            possible=tuple(self._possible),
        )


def _mean_w(before_j: Sequence[float], after_j: Sequence[float]) -> list[float]:
    """The mean power over a step."""
    return [(late_j - early_j) / STEP_S for early_j, late_j in zip(before_j, after_j, strict=True)]
