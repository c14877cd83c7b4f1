"""The curtailment schedule against brute force, and what must hold for any fleet, any event and either method."""

from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise, product

import numpy as np
from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.domain.allocate import AllocationJob, Allocator
from gateway.domain.curtailment.optimising import plan_by_optimisation
from gateway.domain.curtailment.planning import plan_by_heuristic
from gateway.domain.curtailment.problem import (
    CurtailmentInterval,
    CurtailmentJob,
    CurtailmentProblem,
    NodeLimit,
    PauseTerms,
)
from gateway.domain.curtailment.schedule import CurtailmentSchedule, Limit, Status
from hardware.job import CurvePoint, PauseMethod

STEP_S = 300.0
GAP = 1e-4
TINY = 1e-6
SMALL_W = 0.5
START = datetime(2026, 7, 1, 16, tzinfo=UTC)


def best(problem: CurtailmentProblem) -> CurtailmentSchedule:
    return plan_by_optimisation(problem, gap=GAP, left_s=lambda: 60.0)


def make_curve(steps: list[tuple[int, int]]) -> tuple[CurvePoint, ...]:
    """From 100 W up, by so many watts and hundredths of throughput each."""
    power, part = 100.0, 0.1
    points = [CurvePoint(cap_w=power, power_w=power, throughput=part)]
    for watts, hundredths in steps:
        power, part = power + watts, part + hundredths / 100.0
        points.append(CurvePoint(cap_w=power, power_w=power, throughput=part))
    return tuple(points)


curves = st.lists(st.tuples(st.integers(20, 150), st.integers(5, 40)), min_size=1, max_size=3).map(make_curve)
pauses = st.builds(
    lambda most, rest, run, write, back: PauseTerms(
        method=PauseMethod.CHECKPOINT,
        max_pause_s=STEP_S * most,
        min_rest_s=STEP_S * rest,
        min_run_s=STEP_S * run,
        checkpoint_cost_s=float(write),
        resume_cost_s=float(back),
    ),
    st.integers(0, 3),
    st.integers(0, 2),
    st.integers(0, 2),
    st.integers(0, 100),
    st.integers(0, 100),
)


def jobs_of(pause: st.SearchStrategy[PauseTerms | None], tiers: st.SearchStrategy[float]) -> st.SearchStrategy:  # type: ignore[type-arg]
    row = st.tuples(st.integers(1, 3), st.integers(1, 4), st.integers(10, 60), st.integers(0, 60), curves, pause, tiers)
    return st.lists(row, min_size=1, max_size=3).map(
        lambda rows: tuple(
            CurtailmentJob(
                job_id=f"job{i}",
                tier="flex",
                weight=float(weight),
                devices=devices,
                curve=curve,
                min_throughput=floor / 100.0,
                tier_mean=tier,
                idle_w=float(idle),
                pause=terms,
            )
            for i, (weight, devices, floor, idle, curve, terms, tier) in enumerate(rows)
        )
    )


def make_problem(jobs: tuple[CurtailmentJob, ...], shares: list[float | None], **changed: object) -> CurtailmentProblem:
    """Targets as shares of what the jobs draw uncapped."""
    top_w = sum(job.devices * job.curve[-1].power_w for job in jobs)
    intervals = tuple(
        CurtailmentInterval(duration_s=STEP_S, target_w=None if share is None else share * top_w) for share in shares
    )
    return replace(
        CurtailmentProblem(starts_at=START, intervals=intervals, jobs=jobs, stagger_fraction=1.0),
        **changed,  # type: ignore[arg-type]
    )


shares = st.lists(st.one_of(st.none(), st.floats(0.2, 1.0)), min_size=1, max_size=4)
capped = jobs_of(st.none(), st.just(0.0))
tiered = jobs_of(st.none(), st.sampled_from([0.0, 0.3, 0.5]))
pausable = jobs_of(st.one_of(st.none(), pauses), st.just(0.0))
anything = jobs_of(st.one_of(st.none(), pauses), st.sampled_from([0.0, 0.3, 0.5]))

STEEP = make_curve([(100, 50), (100, 20)])
TWO_JOBS = (
    CurtailmentJob(job_id="a", tier="flex", weight=1.0, devices=2, curve=STEEP, min_throughput=0.3),
    CurtailmentJob(
        job_id="b",
        tier="flex",
        weight=1.0,
        devices=2,
        curve=STEEP,
        min_throughput=0.3,
        idle_w=20.0,
        pause=PauseTerms(method=PauseMethod.CHECKPOINT, max_pause_s=600.0, checkpoint_cost_s=60.0),
    ),
)


def legal(terms: PauseTerms, paused: tuple[bool, ...]) -> tuple[bool, int]:
    """Whether a row of paused intervals keeps the terms, and how many pauses it has; written apart from ``windows``."""
    runs: list[tuple[bool, int]] = []
    for one in paused:
        if runs and runs[-1][0] is one:
            runs[-1] = (one, runs[-1][1] + 1)
        else:
            runs.append((one, 1))
    for i, (is_pause, length) in enumerate(runs):
        if is_pause and not terms.min_rest_s <= length * STEP_S <= terms.max_pause_s:
            return False, 0
        if not is_pause and 0 < i < len(runs) - 1 and length * STEP_S < terms.min_run_s:
            return False, 0
    return True, sum(is_pause for is_pause, _ in runs)


@dataclass
class Brute:
    worth: float = -1.0
    least_missing_w: float = float("inf")
    each: list[tuple[float, float]] = field(default_factory=list)
    """Of each pattern the watt-hours missing, and the weighted throughput."""


def brute_force(problem: CurtailmentProblem) -> Brute:
    """The most weighted throughput with nothing missing, by every legal pattern of pauses; allocation does the rest."""
    steps = len(problem.intervals)
    able = [
        AllocationJob(
            job_id=job.job_id,
            weight=job.weight,
            devices=job.devices,
            min_throughput=job.min_throughput,
            can_pause=job.pause is not None,
            curve=job.curve,
            idle_w=job.idle_w,
        )
        for job in problem.jobs
    ]
    patterns: list[list[tuple[tuple[bool, ...], float]]] = []
    for job in problem.jobs:
        rows: list[tuple[tuple[bool, ...], float]] = [((False,) * steps, 0.0)]
        if job.pause is not None:
            each_s = (job.pause.checkpoint_cost_s + job.pause.resume_cost_s) * job.curve[-1].throughput
            for row in product((False, True), repeat=steps):
                fits, count = legal(job.pause, row)
                if any(row) and fits:
                    rows.append((row, count * each_s))
        patterns.append(rows)
    total = sum(job.weight * job.devices for job in problem.jobs)
    allocators: dict[tuple[bool, ...], Allocator] = {}
    found = Brute()
    for chosen in product(*patterns):
        given = missing_w = missing_wh = 0.0
        for t, interval in enumerate(problem.intervals):
            mask = tuple(row[t] for row, _ in chosen)
            if mask not in allocators:
                names = {job.job_id for job, off in zip(problem.jobs, mask, strict=True) if off}
                allocators[mask] = Allocator(able, paused=names)
            target_w = 1e9 if interval.target_w is None else interval.target_w
            allocation = allocators[mask].solve(target_w)
            given += allocation.weighted_throughput / steps
            missing_w = max(missing_w, allocation.shortfall_w)
            missing_wh += allocation.shortfall_w * STEP_S / 3600.0
        lost = sum(job.weight * job.devices * cost for job, (_, cost) in zip(problem.jobs, chosen, strict=True))
        worth = given - lost / total / (steps * STEP_S)
        found.least_missing_w = min(found.least_missing_w, missing_w)
        found.each.append((missing_wh, worth))
        if missing_w < TINY:
            found.worth = max(found.worth, worth)
    return found


@settings(max_examples=60)
@given(pausable, shares)
@example(TWO_JOBS, [0.5, 0.25, None])
def test_no_other_pauses_and_caps_give_more(jobs: tuple[CurtailmentJob, ...], asked: list[float | None]) -> None:
    problem = make_problem(jobs, asked)
    found, brute = best(problem), brute_force(problem)
    if brute.worth < 0.0:
        assert found.status is Status.INFEASIBLE or brute.least_missing_w < SMALL_W
        return
    assert found.bound >= brute.worth - TINY
    if found.status is Status.INFEASIBLE:
        # What is not worth a pause is left: a thousandth of the target.
        most_w = max(one.target_w for one in problem.intervals if one.target_w is not None)
        assert max(found.shortfall_w) <= max(1.0, 0.001 * most_w) + TINY
    else:
        assert found.weighted_throughput >= brute.worth - 2 * GAP
        over_w = max(
            (
                drawn_w - one.target_w
                for drawn_w, one in zip(found.expected_w, problem.intervals, strict=True)
                if one.target_w is not None
            ),
            default=0.0,
        )
        assert found.weighted_throughput <= brute.worth + TINY or over_w > TINY


@settings(max_examples=60)
@given(pausable, shares)
@example(TWO_JOBS, [0.3, 0.25, None])
def test_what_is_proven_of_a_schedule_holds_for_every_other(
    jobs: tuple[CurtailmentJob, ...], asked: list[float | None]
) -> None:
    problem = make_problem(jobs, asked)
    others = brute_force(problem).each
    for found in (plan_by_heuristic(problem), best(problem)):
        assert found.objective <= found.bound + TINY
        assert 0.0 <= found.least_missing_wh <= found.missing_wh
        assert found.missing_gap <= (found.missing_wh - found.least_missing_wh) / max(found.asked_wh, TINY) + TINY
        assert min(missing_wh for missing_wh, _ in others) >= found.least_missing_wh - 1e-3
        most = max((worth for missing_wh, worth in others if missing_wh <= found.missing_wh), default=0.0)
        assert most <= found.weighted_throughput + found.gap * abs(found.weighted_throughput) + 1e-5


@settings(max_examples=40)
@given(anything, shares, st.floats(0.1, 0.5), st.floats(0.2, 1.0))
@example(TWO_JOBS, [0.25, None, None], 0.3, 0.5)
def test_recovery_rises_no_faster_than_it_may_or_it_is_told(
    jobs: tuple[CurtailmentJob, ...], asked: list[float | None], rise: float, before: float
) -> None:
    top_w = sum(job.devices * job.curve[-1].power_w for job in jobs)
    problem = make_problem(jobs, asked, ramp_up_w_per_s=rise * top_w / STEP_S, power_before_w=before * top_w)
    for found in (plan_by_heuristic(problem), best(problem)):
        told_w = {one.interval: one.missing_w for one in found.missing if one.limit is Limit.RAMP}
        before_w, room_w = before * top_w, rise * top_w / 2.0
        for t, site_w in enumerate(found.expected_w):
            assert site_w <= before_w + room_w + told_w.get(t, 0.0) + SMALL_W
            assert site_w <= top_w + TINY
            before_w, room_w = site_w, rise * top_w


@settings(max_examples=40)
@given(anything, shares, st.integers(0, 3))
@example(TWO_JOBS, [0.5, 0.25, None], 0)
def test_either_method_keeps_what_was_promised(
    jobs: tuple[CurtailmentJob, ...], asked: list[float | None], behind: int
) -> None:
    jobs = tuple(replace(job, elapsed_s=600.0 * behind, throughput_so_far=job.tier_mean * 0.95) for job in jobs)
    problem = make_problem(jobs, asked)
    heuristic, optimal = plan_by_heuristic(problem), best(problem)
    for found in (heuristic, optimal):
        for job, part in zip(jobs, found.jobs, strict=True):
            promises_kept(problem, job, part.throughput, found)
    assert heuristic.objective <= optimal.bound + TINY
    assert heuristic.objective <= heuristic.bound + TINY
    assert optimal.objective >= heuristic.objective - TINY
    assert optimal.objective <= heuristic.bound + TINY


def promises_kept(
    problem: CurtailmentProblem, job: CurtailmentJob, given: tuple[float, ...], found: CurtailmentSchedule
) -> None:
    paused = [
        any(
            one.job_id == job.job_id and one.from_at <= START + timedelta(seconds=t * STEP_S) < one.to_at
            for one in found.pauses
        )
        for t in range(len(given))
    ]
    floor = min(job.min_throughput, max(point.throughput for point in job.curve))
    assert all(part >= floor - TINY for part, off in zip(given, paused, strict=True) if not off)
    if job.pause is None:
        assert not any(paused)
        count = 0
    else:
        fits, count = legal(job.pause, tuple(paused))
        assert fits
    top = max(point.throughput for point in job.curve)
    cost_s = 0.0 if job.pause is None else count * (job.pause.checkpoint_cost_s + job.pause.resume_cost_s) * top
    event = [t for t, interval in enumerate(problem.intervals) if interval.target_w is not None]
    in_event_s = sum(given[t] for t in event) * STEP_S - cost_s
    if event and job.tier_mean > 0.0:
        assert in_event_s >= min(job.tier_mean, top) * len(event) * STEP_S - 1e-3
    whole_s = len(given) * STEP_S
    life_s = job.throughput_so_far * job.elapsed_s + sum(given) * STEP_S - cost_s
    owed_s = job.tier_mean * (job.elapsed_s + whole_s)
    assert job.tier_mean == 0.0 or life_s >= min(owed_s, job.throughput_so_far * job.elapsed_s + top * whole_s) - 1e-3


LEVELS = 33


@settings(max_examples=25)
@given(tiered, st.floats(0.3, 1.0), st.floats(0.3, 1.0))
@example(TWO_JOBS[:1], 0.5, 0.8)
def test_no_powers_on_a_grid_that_keep_the_means_give_more(
    jobs: tuple[CurtailmentJob, ...], first: float, second: float
) -> None:
    """One or two jobs and two intervals: each way to set every power to a level of a grid."""
    problem = make_problem(tuple(replace(job, curve=made_concave(job.curve)) for job in jobs[:2]), [first, second])
    found = best(problem)
    count = len(problem.jobs)
    site_w = [np.zeros((1,) * (2 * count)) for _ in range(2)]
    worth, allowed = np.zeros((1,) * (2 * count)), np.ones((1,) * (2 * count), dtype=np.bool_)
    for j, job in enumerate(problem.jobs):
        watts = [point.power_w for point in job.curve]
        parts = [point.throughput for point in job.curve]
        grid_w = np.linspace(watts[0], watts[-1], LEVELS)
        gives = []
        for t in range(2):
            axis = [1] * (2 * count)
            axis[2 * j + t] = LEVELS
            site_w[t] = site_w[t] + job.devices * grid_w.reshape(axis)
            gives.append(np.interp(grid_w, watts, parts).reshape(axis))
        mean = (gives[0] + gives[1]) / 2.0
        least = np.minimum(gives[0], gives[1])
        allowed = allowed & (least >= min(job.min_throughput, parts[-1]) - TINY)
        allowed = allowed & (mean >= min(job.tier_mean, parts[-1]) - TINY)
        worth = worth + job.weight * job.devices * mean
    for watts_, interval in zip(site_w, problem.intervals, strict=True):
        allowed = allowed & (watts_ <= (interval.target_w or 0.0) + TINY)
    shown = float(np.where(allowed, worth, -1.0).max()) / sum(job.weight * job.devices for job in problem.jobs)
    if shown >= 0.0:
        assert found.status is Status.OPTIMAL
        assert found.weighted_throughput >= shown - GAP - 1e-5
        assert found.bound >= shown - 1e-5


def made_concave(curve: tuple[CurvePoint, ...]) -> tuple[CurvePoint, ...]:
    """The same steps, the steepest first."""
    steps = [(b.power_w - a.power_w, b.throughput - a.throughput) for a, b in pairwise(curve)]
    points = [curve[0]]
    for watts, part in sorted(steps, key=lambda one: -one[1] / one[0]):
        last = points[-1]
        power_w = last.power_w + watts
        points.append(CurvePoint(cap_w=power_w, power_w=power_w, throughput=last.throughput + part))
    return tuple(points)


@settings(max_examples=40)
@given(capped, shares, st.integers(0, 3), st.floats(0.3, 0.95))
@example(TWO_JOBS[:1], [0.9, 0.6], 1, 0.5)
def test_a_lower_target_never_raises_a_job(
    jobs: tuple[CurtailmentJob, ...], asked: list[float | None], which: int, factor: float
) -> None:
    lower = [
        None if share is None else share * (factor if t == which % len(asked) else 1.0) for t, share in enumerate(asked)
    ]
    before, after = best(make_problem(jobs, asked)), best(make_problem(jobs, lower))
    for one, other in zip(before.jobs, after.jobs, strict=True):
        assert all(b <= a + 1e-4 for a, b in zip(one.throughput, other.throughput, strict=True))


@settings(max_examples=40)
@given(anything, shares, st.floats(0.4, 1.0), st.floats(0.05, 1.0))
@example(TWO_JOBS, [0.5, 0.25, 0.9], 0.7, 0.1)
def test_nodes_targets_and_staggering_hold_or_what_is_missing_is_told(
    jobs: tuple[CurtailmentJob, ...], asked: list[float | None], room: float, stagger: float
) -> None:
    under = jobs[: max(1, len(jobs) - 1)]
    top_w = sum(job.devices * job.curve[-1].power_w for job in under)
    node = NodeLimit(node_id="rack", budget_w=room * top_w, devices={job.job_id: job.devices for job in under})
    problem = make_problem(jobs, asked, nodes=(node,), stagger_fraction=stagger)
    saved_w = {job.job_id: job.devices * (job.curve[-1].power_w - job.idle_w) for job in jobs if job.pause is not None}
    most_w = max([stagger * sum(saved_w.values()), *saved_w.values()], default=0.0)
    for found in (plan_by_heuristic(problem), best(problem)):
        told = {(one.limit.value, one.interval): one.missing_w for one in found.missing}
        for t, interval in enumerate(problem.intervals):
            node_w = sum(job.power_w[t] for job in found.jobs if job.job_id in node.devices)
            assert node_w <= node.budget_w + told.get(("node", t), 0.0) + SMALL_W
            site_w = sum(job.power_w[t] for job in found.jobs)
            assert abs(site_w - found.expected_w[t]) < 1e-3
            if interval.target_w is not None:
                assert site_w <= interval.target_w + told.get(("target", t), 0.0) + SMALL_W
        for edge in found.edges_at:
            for moments in ([one.from_at for one in found.pauses], [one.to_at for one in found.pauses]):
                moved_w = sum(saved_w[one.job_id] for one, at in zip(found.pauses, moments, strict=True) if at == edge)
                assert moved_w <= most_w + 1e-3


@settings(max_examples=20)
@given(anything, shares)
@example(TWO_JOBS, [0.5, 0.25, None])
def test_the_same_problem_gives_the_same_schedule(jobs: tuple[CurtailmentJob, ...], asked: list[float | None]) -> None:
    problem = make_problem(jobs, asked)
    assert best(problem) == best(problem)
    assert plan_by_heuristic(problem) == plan_by_heuristic(problem)
