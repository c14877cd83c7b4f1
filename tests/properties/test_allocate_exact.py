"""Allocation against brute force, and what must hold for any fleet and any target."""

from itertools import pairwise, product

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.allocate import AllocationJob, Allocator, allocate, choose_pauses, guarded_floor
from hardware.job import CurvePoint

TINY = 1e-7


def make_curve(steps: list[tuple[int, int, int]]) -> tuple[CurvePoint, ...]:
    """Caps, powers and throughputs that each rise by the steps given, in tenths of a watt and thousandths."""
    cap = power = 500
    given_ = 0
    points = []
    for more_cap, more_power, more_given in steps:
        cap, power, given_ = cap + more_cap, power + more_power, given_ + more_given
        points.append(CurvePoint(cap_w=cap / 10, power_w=power / 10, throughput=given_ / 1000))
    return tuple(points)


curves = st.lists(
    st.tuples(st.integers(1, 1000), st.integers(0, 1000), st.integers(0, 250)), min_size=1, max_size=4
).map(make_curve)
fleets = st.lists(
    st.tuples(st.integers(0, 4), st.integers(1, 4), st.integers(0, 1000), st.booleans(), curves), min_size=1, max_size=3
).map(
    lambda rows: [
        AllocationJob(
            job_id=f"job{i}",
            weight=float(weight),
            devices=devices,
            min_throughput=floor / 1000,
            can_pause=can_pause,
            curve=curve,
        )
        for i, (weight, devices, floor, can_pause, curve) in enumerate(rows)
    ]
)
targets = st.floats(0.0, 5_000.0)
MINIMAL = [
    AllocationJob(
        job_id="a",
        weight=1.0,
        devices=1,
        min_throughput=0.0,
        can_pause=False,
        curve=make_curve([(1, 10, 100), (1, 10, 200)]),
    )
]


def most_at(curve: tuple[CurvePoint, ...], power_w: float) -> float:
    """The envelope at a power, from its definition: the best mix of any two points that draws no more."""
    best = max((p.throughput for p in curve if p.power_w <= power_w + TINY), default=-1.0)
    for low, high in product(curve, curve):
        if low.power_w <= power_w < high.power_w:
            share = (power_w - low.power_w) / (high.power_w - low.power_w)
            best = max(best, low.throughput + share * (high.throughput - low.throughput))
    return best


def least_for(curve: tuple[CurvePoint, ...], throughput: float) -> float:
    """The least power that gives a throughput, from the same mixes; the least for the most where none does."""
    wanted = min(throughput, max(p.throughput for p in curve))
    powers = [p.power_w for p in curve if p.throughput >= wanted]
    for low, high in product(curve, curve):
        if low.power_w <= high.power_w and low.throughput < wanted <= high.throughput:
            share = (wanted - low.throughput) / (high.throughput - low.throughput)
            powers.append(low.power_w + share * (high.power_w - low.power_w))
    return min(powers)


def brute_force(jobs: list[AllocationJob], target_w: float) -> float | None:
    """The most weighted throughput under a target, ``None`` where the floors do not fit.

    The best lies where all jobs but one stand on a point of their curve or on their floor.
    """
    floors = [least_for(job.curve, job.min_throughput) for job in jobs]
    if sum(job.devices * floor for job, floor in zip(jobs, floors, strict=True)) > target_w:
        return None
    choices = [
        [floor, *(p.power_w for p in job.curve if p.power_w > floor)] for job, floor in zip(jobs, floors, strict=True)
    ]
    best = 0.0
    for free, job in enumerate(jobs):
        for powers in product(*(choice for i, choice in enumerate(choices) if i != free)):
            others = [one for i, one in enumerate(jobs) if i != free]
            rest_w = target_w - sum(one.devices * power for one, power in zip(others, powers, strict=True))
            if rest_w < job.devices * floors[free]:
                continue
            worth = job.weight * job.devices * most_at(job.curve, rest_w / job.devices)
            worth += sum(
                one.weight * one.devices * most_at(one.curve, power) for one, power in zip(others, powers, strict=True)
            )
            best = max(best, worth)
    return best


@given(fleets, targets)
@example(MINIMAL, 51.5)
def test_no_other_allocation_gives_more(jobs: list[AllocationJob], target_w: float) -> None:
    found = allocate(jobs, target_w=target_w)
    best = brute_force(jobs, target_w)
    worth = sum(job.weight * job.devices * share.throughput for job, share in zip(jobs, found.jobs, strict=True))
    if best is None:
        assert found.shortfall_w >= 0.0
    else:
        assert found.shortfall_w <= TINY
        assert abs(worth - best) <= 1e-6 * max(1.0, best)


@given(fleets, targets, st.floats(0.0, 500.0))
@example(MINIMAL, 10.0, 5.0)
def test_power_adds_up_and_everything_stays_in_range(
    jobs: list[AllocationJob], target_w: float, fixed_w: float
) -> None:
    found = allocate(jobs, target_w=target_w, fixed_w=fixed_w)
    assert abs(found.expected_w - fixed_w - sum(share.power_w for share in found.jobs)) <= TINY
    if found.shortfall_w > 0.0:
        assert abs(found.expected_w - found.shortfall_w - target_w) <= TINY
    else:
        assert found.expected_w <= target_w + TINY
    assert 0.0 <= found.weighted_throughput <= 1.0 + TINY
    for job, share in zip(jobs, found.jobs, strict=True):
        assert job.curve[0].cap_w <= share.cap_w <= job.curve[-1].cap_w
        most = max(point.throughput for point in job.curve)
        assert min(job.min_throughput, most) - TINY <= share.throughput <= most


@given(fleets, targets, targets)
@example(MINIMAL, 51.0, 52.0)
def test_a_lower_target_never_gives_any_job_more(jobs: list[AllocationJob], one_w: float, other_w: float) -> None:
    allocator = Allocator(jobs)
    low, high = allocator.solve(min(one_w, other_w)), allocator.solve(max(one_w, other_w))
    for less, more in zip(low.jobs, high.jobs, strict=True):
        assert less.throughput <= more.throughput + TINY
        assert less.cap_w <= more.cap_w + TINY


@given(fleets, targets)
@example(MINIMAL, 1.0)
def test_pauses_are_for_jobs_that_may_and_only_where_floors_do_not_reach(
    jobs: list[AllocationJob], target_w: float
) -> None:
    paused = choose_pauses(jobs, target_w=target_w)
    unpaused = allocate(jobs, target_w=target_w)
    assert set(paused) <= {job.job_id for job in jobs if job.can_pause}
    if unpaused.shortfall_w <= TINY:
        assert paused == ()
        return
    found = allocate(jobs, target_w=target_w, paused=paused)
    assert found.shortfall_w <= unpaused.shortfall_w
    if found.shortfall_w <= TINY:
        for job_id in paused:
            fewer = [other for other in paused if other != job_id]
            assert allocate(jobs, target_w=target_w, paused=fewer).shortfall_w > 0.0


@given(curves, st.floats(0.0, 1.0), targets)
@example(make_curve([(10, 10, 100), (10, 10, 10), (10, 10, 300)]), 0.3, 0.0)
def test_a_guarded_floor_holds_on_the_measured_curve(
    curve: tuple[CurvePoint, ...], min_throughput: float, target_w: float
) -> None:
    job = AllocationJob(
        job_id="a",
        weight=1.0,
        devices=1,
        min_throughput=guarded_floor(curve, min_throughput),
        can_pause=False,
        curve=curve,
    )
    cap_w = allocate([job], target_w=target_w).jobs[0].cap_w
    measured = curve[-1].throughput
    for low, high in pairwise(curve):
        if low.cap_w <= cap_w < high.cap_w:
            share = (cap_w - low.cap_w) / (high.cap_w - low.cap_w)
            measured = low.throughput + share * (high.throughput - low.throughput)
    assert measured >= min(min_throughput, curve[-1].throughput) - 1e-6
