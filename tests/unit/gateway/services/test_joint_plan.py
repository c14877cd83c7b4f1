"""The joint plan beside the control loop: never waited for, always answered, and held."""

import asyncio
from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.domain.curtailment.planning import plan_by_heuristic
from gateway.domain.curtailment.problem import CurtailmentProblem
from gateway.domain.curtailment.schedule import CurtailmentSchedule
from gateway.services.dispatch import Dispatch
from gateway.services.joint_plan import JointPlan
from hardware.job import JobState
from protocols.grid import EventInterval, SignalKind
from tests.unit.gateway.services.rig import Rig


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
