"""The joint plan of all events: asked for once a change, taken up as soon as it is there, and held until the next."""

import asyncio
from collections.abc import Callable, Collection, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Protocol

import structlog

from gateway.domain.curtailment.planning import plan_by_heuristic
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.schedule import CurtailmentSchedule
from gateway.domain.plan import PowerPlan, asks_later, lowest_target_w
from gateway.domain.site_curtailment import floors, in_words, paused_at
from hardware.job import JobState, JobView

log = structlog.get_logger()

WAIT_S = 0.05
"""A control step waits no longer for a plan. Until it is there caps alone hold the site, and nothing is paused anew."""

MOVED_FRACTION = 0.01
MOVED_FOR = timedelta(minutes=1)
"""What no cap moves is another where it has differed by more than so much of the target for so long."""

SOONEST_AGAIN = timedelta(minutes=5)
"""For such a change no plan is made sooner after the last: each may pause other jobs."""

NEARLY_OVER = timedelta(minutes=15)
"""A plan that ends before what is asked does is made anew so long before its end."""


class Planning(Protocol):
    """Whoever plans."""

    async def plan(self, problem: CurtailmentProblem) -> CurtailmentSchedule:
        """The schedule for a problem, in bounded time. Whatever is wrong with a solver, there is an answer."""


class Heuristic:
    """Plans in this very process, without the solver."""

    async def plan(self, problem: CurtailmentProblem) -> CurtailmentSchedule:
        return plan_by_heuristic(problem)


class Asked(Protocol):
    """Puts the question to the planner, given for how long each paused job has been paused."""

    def __call__(self, paused_s: Mapping[str, float]) -> CurtailmentProblem | None: ...


_Key = tuple[tuple[tuple[str, str, int], ...], tuple[JobView, ...]]


class JointPlan:
    """What is planned for all events together.

    ``wait_s`` is how long a step waits for the answer; in virtual time as long as it takes.
    """

    def __init__(self, planner: Planning | None = None, *, wait_s: float = WAIT_S) -> None:
        self.planner = planner or Heuristic()
        self._wait_s = wait_s
        self._schedule: CurtailmentSchedule | None = None
        self._planned_for: _Key | None = None
        self._asked_for: _Key | None = None
        self._asked_at: datetime | None = None
        self._asked_fixed_w = 0.0
        self._moved_since: datetime | None = None
        self._why = ""
        self._asking: asyncio.Task[CurtailmentSchedule] | None = None
        self._paused_since: dict[str, datetime] = {}
        self._indebted: Collection[str] = ()
        self._nominal: Callable[[Mapping[str, float]], dict[str, float]] = dict
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
        states: Mapping[str, JobState],
        asked: Asked,
        indebted: Callable[[], Collection[str]] = tuple,
        nominal: Callable[[Mapping[str, float]], dict[str, float]] = dict,
    ) -> str | None:
        """Ask anew where something has changed, and take what was answered. Returns what is new, in words.

        ``fixed_w`` is what no cap moves; ``indebted`` names jobs that have had less than their mean so far;
        ``nominal`` puts floors of a plan, made with curves as drawn, into terms of the nominal ones.
        """
        self._nominal = nominal
        self._note_paused(states, now)
        if not plans:
            self.drop()
            return None
        key = (tuple((plan.connection_id, plan.event_id, plan.revision) for plan in plans), jobs)
        why = self._why_anew(key, plans, now=now, fixed_w=fixed_w)
        if self._asking is None and why is not None:
            problem = asked({job_id: (now - since).total_seconds() for job_id, since in self._paused_since.items()})
            self._asked_for, self._asked_at, self._asked_fixed_w = key, now, fixed_w
            self._moved_since, self._why, self._indebted = None, why, indebted()
            if problem is None:
                self._planned_for = key
                self._take(None)
                return None
            self._asking = asyncio.ensure_future(self.planner.plan(problem))
        return await self._answered()

    def drop(self) -> None:
        """Nothing is asked of the site any more; who plans for it still, plans in vain."""
        if self._asking is not None:
            self._asking.cancel()
            self._asking = None
        self._planned_for = self._asked_for = self._asked_at = self._moved_since = None
        self._take(None)

    def _why_anew(self, key: _Key, plans: Sequence[PowerPlan], *, now: datetime, fixed_w: float) -> str | None:
        """Why what is planned does not do any more, empty where that needs no word; ``None`` where it does."""
        if key != self._planned_for:
            return ""
        if self._schedule is None or self._asked_at is None:
            return None
        if self._ends_too_soon(self._schedule, plans, now):
            return "planned anew, since the last plan is nearly over: "
        moved_w = fixed_w - self._asked_fixed_w
        lowest_w = min(abs(lowest_target_w(plan) or 0.0) for plan in plans)
        if abs(moved_w) <= MOVED_FRACTION * lowest_w:
            self._moved_since = None
            return None
        self._moved_since = self._moved_since or now
        if now - self._moved_since < MOVED_FOR or now - self._asked_at < SOONEST_AGAIN:
            return None
        more = "more" if moved_w > 0.0 else "less"
        return f"planned anew, since caps leave {abs(moved_w) / 1000.0:.1f} kW {more} than before: "

    def _ends_too_soon(self, schedule: CurtailmentSchedule, plans: Sequence[PowerPlan], now: datetime) -> bool:
        ends_at = schedule.edges_at[-1]
        return ends_at - now < NEARLY_OVER and any(asks_later(plan, ends_at) for plan in plans)

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
        before, found = self._schedule, asking.result()
        self._take(found)
        if self._why and before is not None and _alike(before, found):
            return None
        return self._why + in_words(found)

    def _take(self, schedule: CurtailmentSchedule | None) -> None:
        self._schedule = schedule
        self.floors = {} if schedule is None else self._nominal(floors(schedule, self._indebted))

    def _note_paused(self, states: Mapping[str, JobState], now: datetime) -> None:
        paused = {job_id for job_id, state in states.items() if state is JobState.PAUSED}
        self._paused_since = {job_id: self._paused_since.get(job_id, now) for job_id in paused}


def _alike(one: CurtailmentSchedule, other: CurtailmentSchedule) -> bool:
    """Whether the same jobs are paused and the same can be kept: then there is nothing to tell."""
    paused = ({pause.job_id for pause in each.pauses} for each in (one, other))
    return bool(one.missing) == bool(other.missing) and next(paused) == next(paused)
