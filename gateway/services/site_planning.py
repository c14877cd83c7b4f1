"""What plans are made from: the jobs as they would draw, their ranges, and what no cap moves."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Protocol

from gateway.domain.contract import Program
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.demanded_curve import nominal_floor
from gateway.domain.event import EventRecord
from gateway.domain.fleet import Site
from gateway.domain.plan import LiveBaseline, PowerPlan, plan
from gateway.domain.site_curtailment import curtailment_problem
from gateway.domain.work_account import WorkAccount
from gateway.services.actuator import Fleet
from gateway.services.within_reach import WithinReach
from hardware.job import JobView


class Demand(Protocol):
    """Whoever knows what the devices of jobs want to draw."""

    def as_drawn(self, jobs: Sequence[JobView]) -> tuple[JobView, ...]:
        """The jobs as a plan is to know them: with what they would draw, and with what is left of their work."""

    def in_words(self, jobs: Sequence[JobView]) -> str:
        """Which of their devices a plan does not count on; empty for none."""


class SitePlanning:
    """One event's plan, and all of them as one question to the planner, from how the site is now."""

    def __init__(
        self,
        *,
        reach: WithinReach,
        fleet: Fleet,
        site: Site,
        programs: Mapping[str, Program],
        demand: Demand | None = None,
    ) -> None:
        self._reach = reach
        self._fleet = fleet
        self._site = site
        self._programs = programs
        self._demand = demand

    def plan_of(
        self, record: EventRecord, baseline: LiveBaseline, *, other_w: float | None, now: datetime
    ) -> PowerPlan:
        """The plan of one event. ``other_w`` is what no cap moves, ``None`` where control does not know yet."""
        return plan(
            record,
            self._programs[record.event.program_id],
            baseline,
            self._jobs_as_drawn(),
            fixed_w=self._fixed_w(baseline, other_w, now),
            made_at=now,
            ranges=self._reach.ranges(),
            remark="" if self._demand is None else self._demand.in_words(self._reach.jobs),
        )

    def problem(
        self,
        plans: Sequence[PowerPlan],
        at: datetime,
        *,
        fixed_w: float,
        paused_s: Mapping[str, float] | None = None,
        accounts: Mapping[str, WorkAccount] | None = None,
    ) -> CurtailmentProblem | None:
        """All these plans together from an instant on, as ``curtailment_problem`` puts them."""
        return curtailment_problem(
            plans,
            self._jobs_as_drawn(),
            now=at,
            fixed_w=fixed_w,
            ranges=self._reach.ranges(),
            paused_s=paused_s or {},
            accounts=accounts,
            tree=self._site.tree,
            devices=self._fleet.devices(),
        )

    def nominal_floors(self, floors: Mapping[str, float]) -> dict[str, float]:
        """Floors by job_id, made with the jobs as drawn, in terms of their nominal curves."""
        pairs = zip(self._reach.jobs, self._jobs_as_drawn(), strict=True)
        return {
            job.job_id: nominal_floor(job, drawn, floors[job.job_id]) for job, drawn in pairs if job.job_id in floors
        }

    def _jobs_as_drawn(self) -> tuple[JobView, ...]:
        """What plans count on. Control goes by the nominal curves all the same: a cap is a ceiling."""
        return self._reach.jobs if self._demand is None else self._demand.as_drawn(self._reach.jobs)

    def _fixed_w(self, baseline: LiveBaseline, other_w: float | None, now: datetime) -> float:
        """Site power that no cap of ours moves: as it is now, since an event before may hold the fleet down already."""
        if other_w is not None:
            return max(0.0, other_w)
        fleet_w = self._reach.jobs_w(now)
        if fleet_w is None:
            fleet_w = self._reach.allocator((), {}).ceiling_w
        return max(0.0, baseline.power_w - fleet_w)
