"""The joint plan beside the control loop: never waited for, always answered, and held."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.domain.curtailment.planning import plan_by_heuristic
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.schedule import CurtailmentSchedule
from gateway.domain.plan import PlanInterval, PowerPlan
from gateway.domain.site_curtailment import curtailment_problem
from gateway.domain.work_account import WorkAccount
from gateway.services.dispatch import Dispatch
from gateway.services.joint_plan import JointPlan
from hardware.device import CapRange
from hardware.job import CurvePoint, JobState, JobView
from protocols.grid import EventInterval, SignalKind
from tests.unit.gateway.services.rig import STARTS_AT, Rig


class Slow:
    """A planner that answers when it is let."""

    def __init__(self) -> None:
        self.asked: list[CurtailmentProblem] = []
        self.let = asyncio.Event()

    async def plan(self, problem: CurtailmentProblem) -> CurtailmentSchedule:
        self.asked.append(problem)
        await self.let.wait()
        return plan_by_heuristic(problem)


def dispatch(rig: Rig, joint: JointPlan) -> Dispatch:
    return Dispatch(
        fleet=rig.fleet,
        site=rig.site,
        programs=rig.programs,
        ledger=rig.ledger,
        clock=rig.clock,
        actuator=rig.actuator(),
        readiness=rig.readiness,
        joint=joint,
    )


async def test_an_event_is_held_by_caps_while_the_planner_thinks_and_it_is_asked_once(rig: Rig) -> None:
    slow = Slow()
    joint = JointPlan(slow, wait_s=0.0)
    before_w = rig.physical._physics.site_w()
    await rig.take(rig.event(in_s=5, lasts_s=60))
    seen: list[float] = []
    script = {20.0: lambda: seen.append(rig.physical._physics.site_w()), 40.0: slow.let.set}
    await rig.run(rig.metering(), dispatch(rig, joint), for_s=80, script=script)
    assert seen == pytest.approx([0.8 * before_w], rel=0.02)
    assert len(slow.asked) == 1
    assert "scheduled" in await rig.words()
    assert joint.schedule is None, "over with its event"


class Broken:
    """A planner with a bug in it."""

    async def plan(self, problem: CurtailmentProblem) -> CurtailmentSchedule:
        raise ZeroDivisionError("no such thing")


async def test_a_bug_in_planning_leaves_the_event_to_caps_and_is_told(rig: Rig) -> None:
    before_w = rig.physical._physics.site_w()
    await rig.take(rig.event(in_s=5, lasts_s=60))
    seen: list[float] = []
    script = {40.0: lambda: seen.append(rig.physical._physics.site_w())}
    await rig.run(rig.metering(), dispatch(rig, JointPlan(Broken())), for_s=80, script=script)
    assert seen == pytest.approx([0.8 * before_w], rel=0.02)
    (words,) = [line.detail for line in await rig.ledger.log("utility", "peak-1") if line.what == "scheduled"]
    assert words == "no pauses are planned, caps alone hold the site: ZeroDivisionError: no such thing"


async def test_a_gateway_that_begins_in_an_event_plans_with_what_no_cap_moves(rig: Rig) -> None:
    slow = Slow()
    slow.let.set()
    full_w = rig.physical._physics.site_w()
    devices_w = float(rig.physical._state.power_w.sum())
    await rig.take(rig.event(lasts_s=60))
    await rig.run(rig.metering(), dispatch(rig, JointPlan(slow)), for_s=30)
    assert len(slow.asked) == 1
    # Overhead, cooling and idle devices: all that is not the jobs'.
    assert slow.asked[0].fixed_w >= 0.8 * (full_w - devices_w)


async def test_jobs_are_paused_where_caps_do_not_reach_and_only_for_as_long(rig: Rig) -> None:
    full_w = rig.physical._physics.site_w()
    event = rig.event(in_s=10, lasts_s=300, kind=SignalKind.LIMIT)
    spans = ((0, 240, 0.9), (240, 60, 0.68))
    intervals = tuple(
        EventInterval(starts_at=event.starts_at + timedelta(seconds=at_s), duration_s=lasts_s, value=part * full_w)
        for at_s, lasts_s, part in spans
    )
    await rig.take(replace(event, signals=(replace(event.signals[0], intervals=intervals),)))
    paused: list[set[str]] = []

    def look() -> None:
        paused.append({job.job_id for job in rig.physical.jobs() if job.state is JobState.PAUSED})

    times = dict.fromkeys((100.0, 240.0, 280.0, 330.0), look)
    await rig.run(rig.metering(), dispatch(rig, JointPlan()), for_s=340, script=times)
    assert [bool(some) for some in paused] == [False, False, True, False]
    assert paused[2] <= {job.job_id for job in rig.physical.jobs() if job.max_pause_s >= 60.0}
    assert any(
        "pauses" in line.detail for line in await rig.ledger.log("utility", "peak-1") if line.what == "scheduled"
    )


async def test_no_job_is_paused_where_its_mean_would_fall_under_its_tier_and_what_is_missing_is_said(rig: Rig) -> None:
    deep_w = 0.6 * rig.physical._physics.site_w()
    await rig.take(rig.event(in_s=10, lasts_s=120, kind=SignalKind.LIMIT, value=deep_w))
    paused: list[int] = []

    def look() -> None:
        paused.append(sum(job.state is JobState.PAUSED for job in rig.physical.jobs()))

    await rig.run(rig.metering(), dispatch(rig, JointPlan()), for_s=150, script={60.0: look, 120.0: look})
    assert paused == [0, 0]
    (words,) = [line.detail for line in await rig.ledger.log("utility", "peak-1") if line.what == "scheduled"]
    assert words.startswith("infeasible by heuristic")
    assert "kW over the target" in words


async def test_a_job_that_goes_is_planned_without(rig: Rig) -> None:
    slow = Slow()
    slow.let.set()
    joint = JointPlan(slow)
    made = dispatch(rig, joint)
    await rig.take(rig.event(in_s=5, lasts_s=60))
    jobs = rig.physical.jobs()

    def without_one() -> None:
        rig.physical.jobs = lambda: tuple(  # type: ignore[method-assign]
            replace(job, state=JobState.FINISHED) if job == jobs[0] else job for job in jobs
        )

    await rig.run(rig.metering(), made, for_s=50, script={20.0: without_one})
    assert len(slow.asked) == 2
    assert len(slow.asked[1].jobs) == len(slow.asked[0].jobs) - 1


JOBS = tuple(
    JobView(
        job_id=f"train-{number}",
        device_ids=(f"d{number}",),
        tier="flex3",
        weight=1.0,
        min_throughput=0.5,
        curve=tuple(CurvePoint(cap_w=w, power_w=w, throughput=w / 700.0) for w in (70.0, 350.0, 700.0)),
        max_pause_s=3600.0,
        mean_throughput=0.2,
    )
    for number in range(4)
)
RANGES = {f"d{number}": CapRange(min_w=70.0, default_w=700.0, max_w=700.0) for number in range(4)}


class Asking:
    """A joint plan asked each ten seconds, and what it was asked and said."""

    def __init__(self, *, ends_at: datetime | None, target_w: float = 3000.0) -> None:
        piece = PlanInterval(starts_at=STARTS_AT, ends_at=ends_at, start_w=target_w, end_w=target_w)
        self.plan = PowerPlan(
            connection_id="utility",
            event_id="peak-1",
            revision=0,
            made_at=STARTS_AT,
            baseline_w=4000.0,
            intervals=(piece,),
            paused_job_ids=(),
            expected_w=3000.0,
            shortfall_w=0.0,
            reason="",
        )
        self.joint = JointPlan()
        # Any of them may be paused for all of it.
        self.jobs = tuple(replace(job, mean_throughput=0.0) for job in JOBS)
        self.now = STARTS_AT
        self.problems: list[CurtailmentProblem] = []
        self.said: list[str] = []

    async def hold(self, for_s: float, fixed_w: float) -> None:
        def asked(paused_s: Mapping[str, float]) -> CurtailmentProblem | None:
            problem = curtailment_problem(
                [self.plan], self.jobs, now=self.now, fixed_w=fixed_w, ranges=RANGES, paused_s=paused_s
            )
            if problem is not None:
                self.problems.append(problem)
            return problem

        until = self.now + timedelta(seconds=for_s)
        while self.now < until:
            said = await self.joint.keep([self.plan], self.jobs, now=self.now, fixed_w=fixed_w, states={}, asked=asked)
            self.said += [] if said is None else [said]
            self.now += timedelta(seconds=10)


async def test_it_is_planned_anew_where_other_load_has_grown_for_good() -> None:
    asking = Asking(ends_at=STARTS_AT + timedelta(hours=1))
    await asking.hold(600, fixed_w=1000.0)
    assert asking.joint.paused_at(asking.now) == ()
    await asking.hold(50, fixed_w=2000.0)
    await asking.hold(20, fixed_w=1000.0)
    assert len(asking.problems) == 1, "a swing is no change"
    await asking.hold(100, fixed_w=2000.0)
    assert [problem.fixed_w for problem in asking.problems] == [1000.0, 2000.0]
    assert asking.joint.paused_at(asking.now)
    assert len(asking.said) == 2
    assert asking.said[1].startswith("planned anew, since caps leave 1.0 kW more than before: ")


async def test_a_change_that_changes_no_pause_is_not_told_and_changes_are_minutes_apart() -> None:
    asking = Asking(ends_at=STARTS_AT + timedelta(hours=1))
    await asking.hold(100, fixed_w=1000.0)
    await asking.hold(190, fixed_w=1100.0)
    assert len(asking.problems) == 1
    await asking.hold(60, fixed_w=1100.0)
    assert len(asking.problems) == 2
    assert len(asking.said) == 1


async def test_an_event_without_an_end_is_planned_on_before_its_plan_ends() -> None:
    asking = Asking(ends_at=None)
    await asking.hold(3.7 * 3600, fixed_w=1000.0)
    assert len(asking.problems) == 1
    await asking.hold(600, fixed_w=1000.0)
    assert len(asking.problems) == 2
    assert asking.joint.schedule is not None
    assert asking.joint.schedule.edges_at[-1] > asking.now + timedelta(hours=3)


async def test_an_event_with_an_end_is_not_planned_on_at_it() -> None:
    asking = Asking(ends_at=STARTS_AT + timedelta(hours=1))
    await asking.hold(3590, fixed_w=1000.0)
    assert len(asking.problems) == 1


async def test_a_job_that_has_lost_its_share_already_is_paused_no_more() -> None:
    """What an earlier plan, or an earlier gateway, kept back from a job counts in the mean that was promised to it."""

    def paused(lost_s: float) -> set[str]:
        asked = curtailment_problem(
            [Asking(ends_at=STARTS_AT + timedelta(hours=1)).plan],
            JOBS,
            now=STARTS_AT + timedelta(minutes=30),
            fixed_w=2000.0,
            ranges=RANGES,
            paused_s={},
            accounts={
                "train-0": WorkAccount(
                    job_id="train-0",
                    since=STARTS_AT,
                    asked_since=STARTS_AT,
                    at=STARTS_AT + timedelta(minutes=30),
                    lost_s=lost_s,
                    asked_lost_s=lost_s,
                )
            },
        )
        assert asked is not None
        return {pause.job_id for pause in plan_by_heuristic(asked).pauses}

    assert paused(0.0) == {"train-0"}
    assert "train-0" not in paused(1700.0)


async def test_the_next_gateway_knows_what_was_given_and_lets_jobs_make_up_for_it(rig: Rig) -> None:
    slow = Slow()
    slow.let.set()
    await rig.take(rig.event(lasts_s=600))
    await rig.run(rig.metering(), dispatch(rig, JointPlan(slow)), for_s=120)
    rig.epoch += 1
    await rig.run(rig.metering(), dispatch(rig, JointPlan(slow)), for_s=30)
    first, second = slow.asked
    assert max(job.asked_s for job in first.jobs) <= 2.0
    given = {job.job_id: (job.asked_s, job.asked_given_s / job.asked_s) for job in second.jobs}
    assert all(asked_s == pytest.approx(120.0, abs=5.0) for asked_s, _ in given.values())
    capped = [fraction for _, fraction in given.values() if fraction < 1.0]
    assert capped
    assert min(capped) > 0.5
