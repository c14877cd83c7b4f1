"""All events as one question to the planner."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.curtailment.planning import plan_by_heuristic
from gateway.domain.plan import PlanInterval, PowerPlan
from gateway.domain.site_curtailment import (
    MOST_INTERVALS,
    curtailment_jobs,
    curtailment_problem,
    floors,
    governed_intervals,
    in_words,
    node_limits,
    paused_at,
)
from gateway.domain.tree import ElectricalTree, Node, NodeKind
from hardware.device import CapRange, DeviceView
from hardware.job import CurvePoint, JobView, PauseCosts, PauseMethod

START = datetime(2026, 7, 15, 22, tzinfo=UTC)
RANGE = CapRange(min_w=100.0, default_w=400.0, max_w=400.0)
CURVE = tuple(
    CurvePoint(cap_w=cap_w, power_w=cap_w, throughput=given)
    for cap_w, given in ((100.0, 0.25), (200.0, 0.7), (300.0, 0.9), (400.0, 1.0))
)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def plan(event_id: str, *spans: tuple[float, float | None, float, float], **more: object) -> PowerPlan:
    intervals = tuple(
        PlanInterval(starts_at=at(begin), ends_at=None if end is None else at(end), start_w=start_w, end_w=end_w)
        for begin, end, start_w, end_w in spans
    )
    made = PowerPlan(
        connection_id="u",
        event_id=event_id,
        revision=0,
        made_at=START,
        baseline_w=1000.0,
        intervals=intervals,
        paused_job_ids=(),
        expected_w=0.0,
        shortfall_w=0.0,
        reason="",
    )
    return replace(made, **more)  # type: ignore[arg-type]


def job(name: str, devices: int, **more: object) -> JobView:
    view = JobView(
        job_id=name,
        device_ids=tuple(f"{name}-{number}" for number in range(devices)),
        tier="flex3",
        weight=1.0,
        min_throughput=0.5,
        curve=CURVE,
    )
    return replace(view, **more)  # type: ignore[arg-type]


def ranges(*jobs: JobView) -> dict[str, CapRange]:
    return {device_id: RANGE for one in jobs for device_id in one.device_ids}


def test_intervals_follow_the_lowest_target_and_leave_gaps() -> None:
    found = governed_intervals([plan("a", (0, 60, 800.0, 800.0)), plan("b", (30, 90, 700.0, 700.0))], START)
    assert sum(one.duration_s for one in found) == pytest.approx(90 * 60.0)
    assert found[0].target_w == 800.0
    assert found[-1].target_w == 700.0
    gap = governed_intervals([plan("a", (0, 10, 800.0, 800.0), (20, 30, 700.0, 700.0))], START)
    assert None in {one.target_w for one in gap}
    assert governed_intervals([], START) == ()
    assert governed_intervals([plan("over", (-20, -10, 1.0, 1.0))], START) == ()


def test_a_ramp_is_cut_and_each_part_has_its_lowest_target() -> None:
    found = governed_intervals([plan("a", (0, 15, 1000.0, 700.0), (15, 75, 700.0, 700.0))], START)
    ramp = [one.target_w for one in found[:9]]
    assert ramp == sorted(ramp, reverse=True)
    assert found[0].target_w == pytest.approx(1000.0 - 300.0 * found[0].duration_s / 900.0, abs=0.01)
    assert all(one.duration_s >= 59.0 for one in found)


def test_a_signal_of_many_steps_is_planned_in_few_and_an_event_without_an_end_for_hours() -> None:
    steps = [(second / 15, (second + 4) / 15, 800.0 + second % 40, 800.0 + second % 40) for second in range(0, 900, 4)]
    assert len(governed_intervals([plan("a", *steps)], START)) <= 2 * MOST_INTERVALS
    found = governed_intervals([plan("b", (0, None, 700.0, 700.0))], START)
    assert sum(one.duration_s for one in found) == pytest.approx(4 * 3600.0)


def test_jobs_keep_their_promises_and_pauses_their_terms() -> None:
    costs = PauseCosts(checkpoint_s=30.0, resume_s=60.0, min_run_s=600.0, min_rest_s=300.0)
    steady, pausable = job("steady", 2), job("pausable", 4, max_pause_s=7200.0, method=PauseMethod.CHECKPOINT)
    pausable = replace(pausable, pause_costs=costs)
    found = curtailment_problem(
        [plan("a", (0, 60, 1500.0, 1500.0))],
        [steady, pausable],
        now=START,
        fixed_w=200.0,
        ranges=ranges(steady, pausable),
        paused_s={"pausable": 120.0},
    )
    assert found is not None
    first, second = found.jobs
    assert (first.devices, first.tier_mean, first.pause) == (2, 0.5, None)
    assert second.pause is not None
    assert (second.pause.max_pause_s, second.pause.checkpoint_cost_s, second.pause.paused_for_s) == (
        7200.0,
        30.0,
        120.0,
    )
    nothing = [plan("a", (0, 60, 1500.0, 1500.0))]
    assert curtailment_problem(nothing, [], now=START, fixed_w=0.0, ranges={}, paused_s={}) is None
    assert curtailment_problem([], [steady], now=START, fixed_w=0.0, ranges=ranges(steady), paused_s={}) is None


def test_a_node_leaves_for_jobs_what_its_other_devices_cannot_draw() -> None:
    one = job("one", 2)
    devices = {
        device_id: DeviceView(device_id=device_id, host_id="h", model="m", cap_range=RANGE, limit_w=400.0)
        for device_id in (*one.device_ids, "idle")
    }
    site = Node(node_id="s", kind=NodeKind.SITE)
    rack = Node(node_id="r", kind=NodeKind.RACK, parent_id="s", limit_w=1000.0, host_ids=frozenset({"h"}))
    (found,) = node_limits(ElectricalTree(nodes=(site, rack), overshoot_fraction=0.0), devices, [one])
    assert (found.node_id, found.budget_w, dict(found.devices)) == ("r", pytest.approx(600.0), {"one": 2})


def test_what_comes_of_it_is_told_and_kept() -> None:
    steady = job("steady", 2, min_throughput=0.9, tier="flex1")
    pausable = job("pausable", 4, max_pause_s=1800.0, method=PauseMethod.CHECKPOINT)
    asked = curtailment_problem(
        [plan("a", (0, 60, 1900.0, 1900.0), (60, 90, 900.0, 900.0))],
        [steady, pausable],
        now=START,
        fixed_w=100.0,
        ranges=ranges(steady, pausable),
        paused_s={},
    )
    assert asked is not None
    schedule = plan_by_heuristic(asked)
    assert paused_at(schedule, at(30)) == ()
    assert paused_at(schedule, at(75)) == ("pausable",)
    assert paused_at(schedule, at(91)) == ()
    assert floors(schedule).keys() == {"pausable"}
    assert floors(schedule)["pausable"] >= 0.5
    words = in_words(schedule)
    assert "pauses 1 job" in words
    assert "pausable" in words


def test_deadline_binds_where_it_is_known_how_much_work_is_left() -> None:
    due = at(120)
    jobs = [job("due", 1, deadline_at=due, remaining_s=3600.0), job("unknown", 1, deadline_at=due), job("free", 1)]
    ranges = {device_id: RANGE for one in jobs for device_id in one.device_ids}
    found = curtailment_jobs(jobs, ranges=ranges, paused_s={}, accounts={})
    assert [(one.deadline_at, one.remaining_s) for one in found] == [(due, 3600.0), (due, 0.0), (None, 0.0)]


def test_what_is_missing_is_told_with_what_would_be_whatever_is_planned() -> None:
    steady = job("steady", 2, min_throughput=0.9, tier="flex1")
    asked = curtailment_problem(
        [plan("a", (0, 60, 500.0, 500.0))], [steady], now=START, fixed_w=100.0, ranges=ranges(steady), paused_s={}
    )
    assert asked is not None
    # 900 W uncapped, 700 W at the least and 500 W asked for, for an hour.
    words = in_words(plan_by_heuristic(asked))
    assert words.startswith(
        "infeasible by heuristic: 0.20 kWh are missing, where 0.4 kWh are asked for and at least 0.20 kWh are missing"
        " in any plan; 90.0% of weighted throughput, at most 0.0% from the best that misses no more; "
    )
    assert "0.20 kW over the target from 22:00:00Z at the worst" in words
