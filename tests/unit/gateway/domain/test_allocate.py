"""Allocation by marginal throughput per watt, on figures small enough to work out by hand."""

import csv
import math
from collections import defaultdict
from itertools import pairwise
from pathlib import Path

import pytest

from gateway.domain.allocate import (
    AllocationJob,
    Allocator,
    JobAllocation,
    allocate,
    choose_pauses,
    envelope,
    guarded_floor,
)
from hardware.job import CurvePoint


def curve(*points: tuple[float, float, float]) -> tuple[CurvePoint, ...]:
    return tuple(CurvePoint(cap_w=cap, power_w=power, throughput=given) for cap, power, given in points)


STEEP = curve((200, 190, 0.6), (300, 290, 0.9), (400, 390, 1.0))
FLAT = curve((200, 190, 0.8), (400, 390, 1.0))


def job(job_id: str, points: tuple[CurvePoint, ...], **changed: float) -> AllocationJob:
    return AllocationJob(
        job_id=job_id,
        weight=changed.get("weight", 1.0),
        devices=int(changed.get("devices", 10)),
        min_throughput=changed.get("min_throughput", 0.0),
        can_pause=bool(changed.get("can_pause", False)),
        curve=points,
        idle_w=changed.get("idle_w", 0.0),
    )


def share(jobs: tuple[JobAllocation, ...], job_id: str) -> JobAllocation:
    return next(one for one in jobs if one.job_id == job_id)


def test_the_watts_that_give_least_go_first() -> None:
    # Per watt and device STEEP loses 0.001 at its top, then 0.003; FLAT loses 0.001 all the way down.
    found = allocate([job("steep", STEEP), job("flat", FLAT)], target_w=5_000.0)
    assert found.expected_w == pytest.approx(5_000.0)
    assert found.shortfall_w == 0.0
    # 7800 W in all: 1000 W of STEEP's top and 1800 W of FLAT's cost the same, STEEP's lower part is not touched.
    assert share(found.jobs, "steep").throughput >= 0.9 - 1e-12
    assert found.weighted_throughput == pytest.approx((2 - 2_800 / 10 * 0.001) / 2)


def test_a_target_that_does_not_bind_leaves_every_cap_at_the_curves_last() -> None:
    found = allocate([job("steep", STEEP), job("flat", FLAT)], target_w=20_000.0, fixed_w=1_000.0)
    assert [one.cap_w for one in found.jobs] == [400.0, 400.0]
    assert found.expected_w == pytest.approx(8_800.0)
    assert found.weighted_throughput == pytest.approx(1.0)


def test_fixed_power_counts_first() -> None:
    jobs = [job("steep", STEEP)]
    assert allocate(jobs, target_w=4_900.0, fixed_w=2_000.0).jobs == allocate(jobs, target_w=2_900.0).jobs


def test_caps_are_not_rounded_and_power_follows_them() -> None:
    found = allocate([job("steep", STEEP)], target_w=2_345.6)
    only = found.jobs[0]
    assert only.power_w == pytest.approx(2_345.6)
    assert only.cap_w == pytest.approx(244.56)
    assert only.throughput == pytest.approx(0.6 + 0.3 * 0.4456)


def test_no_job_falls_under_its_floor_and_the_rest_is_shortfall() -> None:
    found = allocate([job("steep", STEEP, min_throughput=0.75), job("flat", FLAT)], target_w=4_000.0, fixed_w=500.0)
    assert share(found.jobs, "steep").throughput == pytest.approx(0.75)
    assert share(found.jobs, "steep").cap_w == pytest.approx(250.0)
    assert share(found.jobs, "flat").cap_w == 200.0
    assert found.expected_w == pytest.approx(500.0 + 2_400.0 + 1_900.0)
    assert found.shortfall_w == pytest.approx(800.0)


def test_a_floor_over_what_the_curve_gives_means_no_cap() -> None:
    found = allocate([job("flex0", curve((200, 190, 0.6), (400, 390, 0.998)), min_throughput=1.0)], target_w=0.0)
    assert found.jobs[0].cap_w == 400.0


def test_weight_decides_between_equals_and_no_weight_goes_first() -> None:
    jobs = [job("light", FLAT, weight=1.0), job("heavy", FLAT, weight=3.0), job("none", STEEP, weight=0.0)]
    found = allocate(jobs, target_w=11_700.0 - 2_000.0)
    assert share(found.jobs, "none").cap_w == 200.0
    found = allocate(jobs, target_w=11_700.0 - 3_000.0)
    assert share(found.jobs, "light").power_w == pytest.approx(2_900.0)
    assert share(found.jobs, "heavy").cap_w == 400.0


def test_a_paused_job_draws_its_idle_power_and_gives_nothing() -> None:
    jobs = [job("steep", STEEP, idle_w=60.0, min_throughput=0.75), job("flat", FLAT)]
    found = allocate(jobs, target_w=4_000.0, paused={"steep"})
    steep = share(found.jobs, "steep")
    assert steep.paused
    assert (steep.power_w, steep.throughput) == (600.0, 0.0)
    assert steep.cap_w == pytest.approx(250.0)
    assert share(found.jobs, "flat").power_w == pytest.approx(3_400.0)
    assert found.weighted_throughput == pytest.approx(0.5 * (1.0 - 50 * 0.001))


def test_a_curve_that_is_not_concave_is_replaced_by_its_envelope_and_the_error_told() -> None:
    bent = curve((100, 100, 0.2), (200, 200, 0.3), (300, 300, 0.9), (400, 400, 1.0))
    ends = envelope(bent)
    assert ends.power_w == (100.0, 300.0, 400.0)
    assert ends.error == pytest.approx(0.55 - 0.3)
    found = allocate([job("bent", bent)], target_w=2_000.0)
    assert found.jobs[0].envelope_error == pytest.approx(0.25)
    # The power is the measured curve's, whatever the envelope says of the throughput.
    assert found.jobs[0].cap_w == pytest.approx(200.0)
    assert found.jobs[0].throughput == pytest.approx(0.55)


def test_the_guarded_floor_keeps_the_promise_on_the_measured_curve() -> None:
    bent = curve((100, 100, 0.2), (200, 200, 0.3), (300, 300, 0.9), (400, 400, 1.0))
    # Measured, 0.6 is reached at 250 W; the envelope gives 0.725 there.
    assert guarded_floor(bent, 0.6) == pytest.approx(0.725)
    held = allocate([job("bent", bent, min_throughput=guarded_floor(bent, 0.6))], target_w=0.0)
    assert held.jobs[0].cap_w == pytest.approx(250.0)
    assert guarded_floor(STEEP, 0.75) == pytest.approx(0.75)
    assert guarded_floor(STEEP, 0.1) == pytest.approx(0.1)
    assert guarded_floor(STEEP, 1.5) == 1.0


def test_power_that_a_cap_does_not_reach_costs_nothing() -> None:
    # Above 300 W the job does not use what it may: the cap there is the highest that draws no more.
    idle_top = curve((200, 190, 0.6), (300, 250, 1.0), (350, 250, 1.0), (400, 250, 1.0))
    assert allocate([job("top", idle_top)], target_w=2_500.0).jobs[0].cap_w == 400.0
    assert allocate([job("top", idle_top)], target_w=2_499.0).jobs[0].cap_w < 300.0


def test_a_noisy_curve_never_draws_more_than_allotted() -> None:
    noisy = curve((200, 190, 0.6), (250, 260, 0.8), (300, 250, 0.9), (350, 330, 1.0), (400, 325, 0.99))
    for target_w in range(1_900, 3_300, 50):
        found = allocate([job("noisy", noisy)], target_w=float(target_w)).jobs[0]
        caps = [point.cap_w for point in noisy]
        drawn = [
            low.power_w + (found.cap_w - low.cap_w) / (high.cap_w - low.cap_w) * (high.power_w - low.power_w)
            for low, high in pairwise(noisy)
            if low.cap_w <= found.cap_w <= high.cap_w
        ]
        assert caps[0] <= found.cap_w <= caps[-1]
        assert min(drawn) <= target_w / 10 + 1e-6


def test_one_point_and_no_job_at_all() -> None:
    found = allocate([job("only", curve((300, 250, 1.0)))], target_w=100.0)
    assert (found.jobs[0].cap_w, found.shortfall_w) == (300.0, 2_400.0)
    nothing = allocate([], target_w=100.0, fixed_w=150.0)
    assert (nothing.expected_w, nothing.shortfall_w, nothing.weighted_throughput) == (150.0, 50.0, 1.0)
    with pytest.raises(ValueError, match="'bare' has no curve"):
        job("bare", ())


def test_an_allocator_is_solved_again_and_again() -> None:
    allocator = Allocator([job("steep", STEEP), job("flat", FLAT, min_throughput=0.9)])
    assert allocator.floor_w == pytest.approx(1_900.0 + 2_900.0)
    assert allocator.ceiling_w == pytest.approx(7_800.0)
    for target_w in (5_000.0, 7_000.0, 6_000.0):
        assert allocator.solve(target_w).expected_w == pytest.approx(target_w)


class TestPauses:
    cheap = job("cheap", FLAT, can_pause=True, weight=0.1, min_throughput=0.9)
    dear = job("dear", FLAT, can_pause=True, weight=5.0, min_throughput=0.9)
    fixed = job("fixed", FLAT, min_throughput=0.9)

    def test_none_where_caps_reach(self) -> None:
        assert choose_pauses([self.cheap, self.dear, self.fixed], target_w=8_700.0) == ()

    def test_the_cheapest_first_and_only_as_many_as_needed(self) -> None:
        jobs = [self.dear, self.fixed, self.cheap]
        assert choose_pauses(jobs, target_w=8_600.0) == ("cheap",)
        assert choose_pauses(jobs, target_w=5_000.0) == ("cheap", "dear")

    def test_all_that_may_where_even_that_is_not_enough(self) -> None:
        assert set(choose_pauses([self.cheap, self.dear, self.fixed], target_w=0.0)) == {"cheap", "dear"}

    def test_a_pause_that_turns_out_superfluous_is_dropped(self) -> None:
        small = job("small", FLAT, can_pause=True, weight=0.01, devices=1, min_throughput=0.9)
        assert choose_pauses([small, self.cheap, self.fixed], target_w=5_600.0) == ("cheap",)

    def test_idle_power_is_not_saved(self) -> None:
        warm = job("warm", FLAT, can_pause=True, weight=0.1, min_throughput=0.9, idle_w=290.0)
        assert choose_pauses([warm, self.fixed], target_w=4_000.0) == ()


def test_measured_curves_of_a_real_cluster_are_reached_exactly(shared: Path) -> None:
    points: dict[str, list[CurvePoint]] = defaultdict(list)
    with (shared / "data/gpu/emerald/dvfs_sweep.csv").open() as file:
        for row in csv.DictReader(file):
            points[row["Workload"]].append(
                CurvePoint(
                    cap_w=float(row["GPU power cap"]),
                    power_w=float(row["power per GPU"]),
                    throughput=float(row["normalized throughput"]),
                )
            )
    jobs = [job(name, tuple(found), devices=32, min_throughput=0.5) for name, found in sorted(points.items())]
    allocator = Allocator(jobs)
    target_w = 0.75 * allocator.ceiling_w
    found = allocator.solve(target_w)
    assert len(jobs) == 8
    assert math.isclose(found.expected_w, target_w)
    evenly = [allocate([one], target_w=0.75 * Allocator([one]).ceiling_w).weighted_throughput for one in jobs]
    assert found.weighted_throughput > sum(evenly) / len(evenly)
    assert all(one.throughput >= 0.5 for one in found.jobs)
    assert max(one.envelope_error for one in found.jobs) < 0.02
