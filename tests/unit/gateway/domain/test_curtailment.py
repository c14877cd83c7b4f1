"""What a curtailment schedule says in cases that can be worked out by hand."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from math import inf
from typing import Any

import numpy as np
import pytest

from gateway.domain.allocate import AllocationJob, Allocator
from gateway.domain.curtailment import milp
from gateway.domain.curtailment.filling import Filling
from gateway.domain.curtailment.optimising import plan_by_optimisation
from gateway.domain.curtailment.planning import plan_by_heuristic
from gateway.domain.curtailment.prepared import Prepared
from gateway.domain.curtailment.problem import (
    CurtailmentInterval,
    CurtailmentJob,
    CurtailmentProblem,
    NodeLimit,
    PauseTerms,
)
from gateway.domain.curtailment.program import LinearProgram
from gateway.domain.curtailment.schedule import CurtailmentSchedule, Limit, MadeBy, PlannedPause, Status
from hardware.job import CurvePoint, PauseMethod

START = datetime(2026, 7, 1, 16, tzinfo=UTC)
# 100 W give 0.2, each of the next 100 W 0.6 and each of the last 200 W 0.1.
CURVE = (
    CurvePoint(cap_w=100.0, power_w=100.0, throughput=0.2),
    CurvePoint(cap_w=200.0, power_w=200.0, throughput=0.8),
    CurvePoint(cap_w=400.0, power_w=400.0, throughput=1.0),
)
CHECKPOINT = PauseTerms(method=PauseMethod.CHECKPOINT, max_pause_s=7200.0)


def job(job_id: str, *, devices: int = 10, **changed: object) -> CurtailmentJob:
    made = CurtailmentJob(
        job_id=job_id, tier="flex2", weight=1.0, devices=devices, curve=CURVE, min_throughput=0.8, idle_w=50.0
    )
    return replace(made, **changed)  # type: ignore[arg-type]


def problem(
    *targets_w: float | None, jobs: tuple[CurtailmentJob, ...], step_s: float = 600.0, **changed: object
) -> CurtailmentProblem:
    intervals = tuple(CurtailmentInterval(duration_s=step_s, target_w=target_w) for target_w in targets_w)
    made = CurtailmentProblem(starts_at=START, intervals=intervals, jobs=jobs, stagger_fraction=1.0)
    return replace(made, **changed)  # type: ignore[arg-type]


def best(asked: CurtailmentProblem) -> CurtailmentSchedule:
    return plan_by_optimisation(asked, gap=1e-4, left_s=lambda: 60.0)


def both(asked: CurtailmentProblem) -> tuple[CurtailmentSchedule, CurtailmentSchedule]:
    return plan_by_heuristic(asked), best(asked)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def test_without_a_target_nobody_gives_anything() -> None:
    for found in both(problem(None, None, jobs=(job("a"), job("b")))):
        assert found.status is Status.OPTIMAL
        assert found.expected_w == (8000.0, 8000.0)
        assert found.weighted_throughput == pytest.approx(1.0)
        assert found.lost_gpu_hours == {"flex2": 0.0}
        assert found.reasons() == {}


def test_caps_reach_the_target_and_no_further() -> None:
    for found in both(problem(7000.0, 6000.0, None, jobs=(job("a"), job("b", weight=2.0)))):
        assert found.status is Status.OPTIMAL
        assert found.expected_w == pytest.approx((7000.0, 6000.0, 8000.0), abs=0.01)
        # The lighter one gives all it can first: 2000 W less is 0.2 of throughput.
        assert found.jobs[0].throughput == pytest.approx((0.9, 0.8, 1.0))
        assert found.jobs[1].throughput == pytest.approx((1.0, 1.0, 1.0))
        assert found.lost_gpu_hours["flex2"] == pytest.approx(10 * 0.3 / 6)
        assert set(found.reasons()) == {"a"}
        assert "up to 2.0 kW" in found.reasons()["a"]
        # 10 devices lose 0.1 each for each kilowatt.
        assert "last kilowatt-hour costs 1.00 weighted GPU-hours" in found.reasons()["a"]


def test_the_heuristic_fills_as_allocation_does() -> None:
    jobs = (job("a", weight=3.0), job("b", devices=4), job("c", devices=7, min_throughput=0.2))
    prepared = Prepared(problem(7000.0, 5000.0, 4000.0, jobs=jobs))
    paused = np.zeros((3, 3), dtype=np.bool_)
    paused[1, 2] = True
    filled = Filling(prepared).schedule(paused, prepared.floor_w)
    able = [
        AllocationJob(
            job_id=one.job_id,
            weight=one.weight,
            devices=one.devices,
            min_throughput=one.min_throughput,
            can_pause=True,
            curve=one.curve,
            idle_w=one.idle_w,
        )
        for one in jobs
    ]
    for t, (target_w, names) in enumerate(((7000.0, ()), (5000.0, ()), (4000.0, ("b",)))):
        allocation = Allocator(able, paused=names).solve(target_w)
        assert filled[:, t] == pytest.approx([share.power_w for share in allocation.jobs])


def test_a_pause_is_taken_where_caps_do_not_reach_and_no_longer() -> None:
    jobs = (job("a"), job("b", pause=replace(CHECKPOINT, checkpoint_cost_s=60.0, resume_cost_s=30.0)))
    # Both at their floors draw 4000 W; b paused draws 500 W, which leaves a 2500 W.
    for found in both(problem(6000.0, 3000.0, 3000.0, 6000.0, jobs=jobs)):
        assert found.status is not Status.INFEASIBLE
        assert found.pauses == (PlannedPause(job_id="b", from_at=at(10), to_at=at(30), method=PauseMethod.CHECKPOINT),)
        assert found.jobs[1].throughput[1:3] == (0.0, 0.0)
        assert found.expected_w == pytest.approx((6000.0, 3000.0, 3000.0, 6000.0), abs=0.01)
        # Two pauses of ten minutes and 90 s for ten devices.
        assert "20 min by checkpoint, tested for 120 min" in found.reasons()["b"]
        assert "costs 3.6 GPU-hours, 0.2 of them to write and to resume" in found.reasons()["b"]


def test_a_pause_that_was_not_tested_for_an_interval_is_none() -> None:
    signal = PauseTerms(method=PauseMethod.SIGNAL, max_pause_s=240.0)
    for found in both(problem(3000.0, jobs=(job("a"), job("b", pause=signal)))):
        assert found.status is Status.INFEASIBLE
        assert found.pauses == ()
        assert found.shortfall_w == pytest.approx((1000.0,), abs=0.01)
    for found in both(problem(3000.0, jobs=(job("a"), job("b", pause=signal)), step_s=240.0)):
        assert [one.job_id for one in found.pauses] == ["b"]


def test_what_is_missing_is_told_with_its_interval_and_watts() -> None:
    for found in both(problem(7000.0, 3500.0, None, jobs=(job("a"), job("b")))):
        assert found.status is Status.INFEASIBLE
        (missing,) = found.missing
        assert (missing.limit, missing.interval, missing.starts_at) == (Limit.TARGET, 1, at(10))
        assert missing.missing_w == pytest.approx(500.0, abs=0.01)
        assert found.gap < 1e-3
        # For 10 minutes each: 1 kW of 8 kW, then 4.5 kW of which both floors leave 4 kW.
        assert found.asked_wh == pytest.approx((1000.0 + 4500.0) / 6.0)
        assert found.missing_wh == pytest.approx(500.0 / 6.0, abs=0.01)
        assert found.least_missing_wh == pytest.approx(500.0 / 6.0, abs=0.01)
        assert found.missing_gap < 1e-4


def test_it_is_proven_that_no_plan_misses_less_where_a_mean_binds() -> None:
    # 0.8 in the mean of what is asked takes 2 kW each.
    jobs = (job("a", tier_mean=0.8, min_throughput=0.5), job("b", tier_mean=0.8, min_throughput=0.5))
    found = best(problem(3000.0, 3000.0, None, jobs=jobs))
    assert found.missing_wh == pytest.approx(2 * 1000.0 / 6.0, abs=0.1)
    assert found.missing_gap < 1e-3
    assert found.gap < 1e-3


def test_a_tier_s_mean_is_kept_by_giving_back_where_power_is_not_short() -> None:
    jobs = (job("a", tier_mean=0.8, min_throughput=0.5), job("b", tier_mean=0.8, min_throughput=0.5))
    found = best(problem(3000.0, 8000.0, 8000.0, jobs=jobs))
    assert found.status is Status.OPTIMAL
    assert found.expected_w[0] == pytest.approx(3000.0, abs=0.01)
    assert all(one.mean_throughput >= 0.8 - 1e-6 for one in found.jobs)
    # With nowhere to give it back the mean stands, and what it costs is said.
    for found in both(problem(3000.0, 3000.0, None, jobs=jobs)):
        assert found.status is Status.INFEASIBLE
        assert all(np.mean(one.throughput[:2]) >= 0.8 - 1e-6 for one in found.jobs)
        assert sum(found.shortfall_w) == pytest.approx(2 * (4000.0 - 3000.0), abs=0.1)


def test_jobs_run_evenly_through_intervals_that_are_alike() -> None:
    # Each has its mean to keep, and could do so by turns.
    jobs = tuple(job(f"j{i}", tier_mean=0.85, min_throughput=0.5) for i in range(3))
    found = best(problem(7800.0, 7800.0, 7800.0, 7800.0, None, jobs=jobs))
    assert found.status is Status.OPTIMAL
    for one in found.jobs:
        assert one.throughput[:4] == pytest.approx((one.throughput[0],) * 4)


def test_a_job_that_was_slowed_before_has_less_to_give() -> None:
    fresh = job("a", tier_mean=0.9)
    slowed = job("b", tier_mean=0.9, elapsed_s=1200.0, throughput_so_far=0.85)
    for found in both(problem(6000.0, 6000.0, jobs=(fresh, slowed))):
        # It owes 0.05 over 20 minutes, and gives that back in 20: 0.95 in the mean. The other has 0.9 to keep.
        assert np.mean(found.jobs[0].throughput) == pytest.approx(0.9)
        assert np.mean(found.jobs[1].throughput) == pytest.approx(0.95)
        assert found.status is Status.INFEASIBLE


def test_a_deadline_leaves_a_job_its_time() -> None:
    urgent = job("a", deadline_at=at(20), remaining_s=1200.0)
    for found in both(problem(6000.0, 6000.0, 6000.0, jobs=(urgent, job("b")))):
        assert found.jobs[0].throughput[:2] == pytest.approx((1.0, 1.0))
        assert found.expected_w == pytest.approx((6000.0,) * 3, abs=0.01)


def test_a_node_holds_in_each_interval_and_says_what_it_cannot() -> None:
    jobs = (job("a"), job("b"))
    rack = NodeLimit(node_id="rack", budget_w=3000.0, devices={"a": 10})
    for found in both(problem(7000.0, None, jobs=jobs, nodes=(rack,))):
        assert found.missing == ()
        assert found.jobs[0].power_w == pytest.approx((3000.0, 3000.0), abs=0.01)
    tight = replace(rack, budget_w=1500.0)
    for found in both(problem(None, jobs=jobs, nodes=(tight,))):
        (missing,) = found.missing
        assert (missing.limit, missing.node_id) == (Limit.NODE, "rack")
        assert missing.missing_w == pytest.approx(500.0, abs=0.01)


def test_half_of_a_job_under_a_node_counts_half() -> None:
    half = NodeLimit(node_id="rack", budget_w=1500.0, devices={"a": 5})
    for found in both(problem(None, jobs=(job("a"),), nodes=(half,))):
        assert found.jobs[0].power_w == pytest.approx((3000.0,), abs=0.01)


def test_recovery_rises_no_faster_than_it_may() -> None:
    jobs = (job("a"), job("b"))
    for found in both(problem(4000.0, None, None, None, jobs=jobs, ramp_up_w_per_s=2.5)):
        # From middle to middle of two intervals: 600 s at 2.5 W/s.
        assert found.expected_w == pytest.approx((4000.0, 5500.0, 7000.0, 8000.0), abs=0.01)
        assert found.missing == ()
    for found in both(problem(None, None, jobs=jobs, ramp_up_w_per_s=2.5, power_before_w=5000.0)):
        assert found.expected_w == pytest.approx((5750.0, 7250.0), abs=0.01)


def test_a_pause_that_goes_on_costs_no_checkpoint_and_ends_by_its_maximum() -> None:
    terms = replace(CHECKPOINT, max_pause_s=1800.0, paused_for_s=600.0, checkpoint_cost_s=300.0)
    for found in both(problem(3000.0, 3000.0, 6000.0, jobs=(job("a"), job("b", pause=terms)))):
        assert found.pauses == (PlannedPause(job_id="b", from_at=at(0), to_at=at(20), method=PauseMethod.CHECKPOINT),)
        assert found.lost_gpu_hours["flex2"] == pytest.approx(sum(one.lost_gpu_hours for one in found.jobs))
        # Twenty minutes of ten devices, and what it gives at 4000 of 6000 W or more after that: the other is first.
        assert found.jobs[1].lost_gpu_hours == pytest.approx(10 * (2 + 0.2) / 6)
    # Longer paused than was tested: it comes back at once, and what that leaves undone is told.
    over = replace(terms, paused_for_s=2000.0)
    for found in both(problem(3000.0, jobs=(job("a"), job("b", pause=over)))):
        assert found.pauses == ()
        assert found.shortfall_w == pytest.approx((1000.0,), abs=0.01)


def test_few_begin_a_pause_at_one_instant() -> None:
    jobs = tuple(job(f"j{i}", pause=CHECKPOINT) for i in range(4))
    # Each saves 3.5 kW of 14: half of that begins at a time, so that the ramp goes by pauses two by two.
    asked = problem(None, None, 2000.0, None, None, jobs=jobs, stagger_fraction=0.5)
    for found in both(asked):
        assert found.status is not Status.INFEASIBLE
        assert len(found.pauses) == 4
        for edge in found.edges_at:
            assert sum(one.from_at == edge for one in found.pauses) <= 2
            assert sum(one.to_at == edge for one in found.pauses) <= 2


def test_the_heuristic_s_gap_is_measured_against_the_same_bound() -> None:
    # A pause costs less here than caps at the floors, which the heuristic never sees: caps reach.
    lazy = job("b", min_throughput=0.2, weight=0.1, pause=CHECKPOINT)
    asked = problem(4600.0, 4600.0, jobs=(job("a"), lazy))
    heuristic, found = both(asked)
    assert found.heuristic_gap == pytest.approx(
        max(0.0, found.bound - heuristic.objective) / heuristic.weighted_throughput
    )
    assert found.gap <= found.heuristic_gap


def test_a_small_shortfall_is_not_left_to_spare_a_pause() -> None:
    jobs = (job("a"), job("b", weight=50.0, pause=replace(CHECKPOINT, resume_cost_s=600.0)))
    found = best(problem(3990.0, 3990.0, jobs=jobs))
    assert found.status is Status.OPTIMAL
    assert [one.job_id for one in found.pauses] == ["b"]


def test_no_time_leaves_the_heuristic_s_schedule() -> None:
    asked = problem(6000.0, 3000.0, jobs=(job("a"), job("b", pause=CHECKPOINT)))
    found = plan_by_optimisation(asked, gap=0.0, left_s=lambda: 0.0)
    assert found.made_by is MadeBy.HEURISTIC
    assert found.jobs == plan_by_heuristic(asked).jobs


def test_pauses_that_the_solver_has_no_time_to_fill_get_caps_by_rule(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two of four jobs have to be paused at a time, in turns: who pauses for all of it finds nothing."""
    jobs = tuple(job(f"j{i}", devices=1, tier_mean=0.39, pause=CHECKPOINT) for i in range(4))
    asked = problem(*[560.0] * 12, jobs=jobs)
    assert plan_by_heuristic(asked).missing
    optimise = milp._optimise

    def stopped(program: LinearProgram, **how: Any) -> Any:
        return optimise(program, **{**how, "limit_s": 0.0} if how.get("fixed") is not None else how)

    monkeypatch.setattr(milp, "ALL_PAUSES", 0)
    monkeypatch.setattr(milp, "_TIME_TO_BRANCH", inf)
    monkeypatch.setattr(milp, "_optimise", stopped)
    found = best(asked)
    assert found.made_by is MadeBy.MILP
    assert found.pauses
    assert not found.missing


@pytest.mark.parametrize(
    ("changed", "why"),
    [
        ({"intervals": ()}, "no interval"),
        ({"intervals": (CurtailmentInterval(duration_s=0.0),)}, "longer than nothing"),
        ({"jobs": (job("a"), job("a"))}, "given twice"),
    ],
)
def test_nonsense_is_refused(changed: dict[str, object], why: str) -> None:
    with pytest.raises(ValueError, match=why):
        replace(problem(None, jobs=()), **changed)  # type: ignore[arg-type]


def test_a_site_without_jobs_has_nothing_to_give() -> None:
    for found in both(problem(900.0, None, jobs=(), fixed_w=1000.0)):
        assert found.status is Status.INFEASIBLE
        assert found.shortfall_w == (100.0, 0.0)
