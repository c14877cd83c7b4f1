"""The joint plan of all events: asked for once a change, taken up as soon as it is there, and held until the next."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

import structlog

from gateway.domain.curtailment.planning import plan_by_heuristic
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.schedule import CurtailmentSchedule
from gateway.domain.plan import PowerPlan
from gateway.domain.site_curtailment import curtailment_problem, floors, in_words, paused_at
from gateway.domain.tree import ElectricalTree
from hardware.device import CapRange, DeviceView
from hardware.job import JobState, JobView

log = structlog.get_logger()

WAIT_S = 0.05
"""A control step waits no longer for a plan. Until it is there caps alone hold the site, and nothing is paused anew."""


class Planning(Protocol):
    """Whoever plans."""

    async def plan(self, problem: CurtailmentProblem) -> CurtailmentSchedule:
        """The schedule for a problem, in bounded time. Whatever is wrong with a solver, there is an answer."""


class Heuristic:
    """Plans in this very process, without the solver."""

    async def plan(self, problem: CurtailmentProblem) -> CurtailmentSchedule:
        return plan_by_heuristic(problem)


_Key = tuple[tuple[tuple[str, str, int], ...], tuple[JobView, ...]]


class JointPlan:
    """What is planned for all events together.

    ``wait_s`` is how long a step waits for the answer; in virtual time as long as it takes.
    """

    def __init__(self, planner: Planning | None = None, *, wait_s: float = WAIT_S) -> None:
        self._planner = planner or Heuristic()
        self._wait_s = wait_s
        self._schedule: CurtailmentSchedule | None = None
        self._planned_for: _Key | None = None
        self._asked_for: _Key | None = None
        self._asking: asyncio.Task[CurtailmentSchedule] | None = None
        self._paused_since: dict[str, datetime] = {}
        self.floors: dict[str, float] = {}
        """The least throughput of jobs that are paused for some time, while they run."""

    @property
    def schedule(self) -> CurtailmentSchedule | None:
        """What holds now, ``None`` where nothing is asked or planned yet."""
        return self._schedule

    def paused_at(self, at: datetime) -> tuple[str, ...]:
        """The jobs that are to be paused at an instant."""
        return () if self._schedule is None else paused_at(self._schedule, at)

    async def keep(
        self,
        plans: Sequence[PowerPlan],
        jobs: tuple[JobView, ...],
        *,
        now: datetime,
        fixed_w: float,
        ranges: Callable[[], Mapping[str, CapRange]],
        states: Mapping[str, JobState],
        tree: ElectricalTree | None,
        devices: Callable[[], Mapping[str, DeviceView]],
    ) -> str | None:
        """Ask anew where plans or jobs have changed, and take what was answered. Returns a new schedule in words."""
        self._note_paused(states, now)
        if not plans:
            self.drop()
            return None
        key = (tuple((plan.connection_id, plan.event_id, plan.revision) for plan in plans), jobs)
        if self._asking is None and key != self._planned_for:
            problem = curtailment_problem(
                plans,
                jobs,
                now=now,
                fixed_w=fixed_w,
                ranges=ranges(),
                paused_s={job_id: (now - since).total_seconds() for job_id, since in self._paused_since.items()},
                tree=tree,
                devices=devices(),
            )
            self._asked_for = key
            if problem is None:
                self._planned_for = key
                self._take(None)
                return None
            self._asking = asyncio.ensure_future(self._planner.plan(problem))
        return await self._answered()

    def drop(self) -> None:
        """Nothing is asked of the site any more; who plans for it still, plans in vain."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self._planned_for = self._asked_for = None
        self._take(None)

    async def _answered(self) -> str | None:
        if self._asking is None:
            return None
        await asyncio.wait([self._asking], timeout=self._wait_s)
        if not self._asking.done():
            return None
        asking, self._asking = self._asking, None
        self._planned_for = self._asked_for
        bug = asking.exception()
        if bug is not None:
            # It would come again at every start, and the event with it: caps alone hold what they can.
            log.error("planning_failed", exc_info=bug)
            self._take(None)
            return f"no pauses are planned, caps alone hold the site: {type(bug).__name__}: {bug}"
        found = asking.result()
        self._take(found)
        return in_words(found)

    def _take(self, schedule: CurtailmentSchedule | None) -> None:
        self._schedule = schedule
        self.floors = {} if schedule is None else floors(schedule)

    def _note_paused(self, states: Mapping[str, JobState], now: datetime) -> None:
        paused = {job_id for job_id, state in states.items() if state is JobState.PAUSED}
        self._paused_since = {job_id: self._paused_since.get(job_id, now) for job_id in paused}
