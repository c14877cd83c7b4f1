"""What must hold of a curve as it is drawn, whatever devices want to draw."""

from dataclasses import replace
from itertools import pairwise

import numpy as np
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.allocate import Allocator, envelope
from gateway.domain.demanded_curve import as_drawn
from gateway.domain.fleet import allocation_jobs
from gateway.domain.load_kind import KNOWN_FROM_WINDOWS, Floats
from hardware.job import JobView
from hardware.workloads import WORKLOADS

WINDOWS = KNOWN_FROM_WINDOWS + 10
CLOSE = 1e-9

workloads = st.sampled_from(sorted(WORKLOADS))
tiers = st.floats(0.0, 1.0)
draws = st.lists(
    st.lists(st.floats(0.0, 420.0) | st.just(float("nan")), min_size=1, max_size=5), min_size=1, max_size=4
)
MINIMAL = {"workload": "pretrain-7b", "tier": 0.75, "drawn": [[390.0, 60.0], [250.0, float("nan")]]}


def view(workload: str, tier: float, devices: int) -> JobView:
    return JobView(
        job_id="a",
        device_ids=tuple(f"d{i}" for i in range(devices)),
        tier="flex2",
        weight=1.0,
        min_throughput=tier,
        curve=WORKLOADS[workload].curve(),
        max_pause_s=600.0,
    )


def windows(drawn: list[list[float]]) -> Floats:
    return np.array([[row[i % len(row)] for i in range(WINDOWS)] for row in drawn])


@given(workload=workloads, tier=tiers, drawn=draws)
@example(**MINIMAL)
def test_drawn_curve_rises_and_is_never_over_the_nominal_one(workload, tier, drawn):
    job = view(workload, tier, len(drawn))
    found = as_drawn(job, windows(drawn))
    for low, high in pairwise(found.curve):
        assert low.cap_w < high.cap_w
        assert low.power_w <= high.power_w * (1.0 + CLOSE)
        assert low.throughput <= high.throughput * (1.0 + CLOSE)
    caps_w = [point.cap_w for point in job.curve]
    for point in found.curve:
        assert point.power_w <= np.interp(point.cap_w, caps_w, [one.power_w for one in job.curve]) * (1.0 + CLOSE)
        assert point.throughput >= np.interp(point.cap_w, caps_w, [one.throughput for one in job.curve]) - CLOSE
        assert point.throughput <= 1.0 + CLOSE


@given(workload=workloads, tier=tiers, drawn=draws)
@example(**MINIMAL)
def test_tier_is_kept_on_the_nominal_curve_at_every_cap_that_is_left(workload, tier, drawn):
    job = view(workload, tier, len(drawn))
    found = as_drawn(job, windows(drawn))
    (able,) = allocation_jobs([found])
    (share,) = Allocator([able]).solve(0.0).jobs
    nominal = np.interp(share.cap_w, [one.cap_w for one in job.curve], [one.throughput for one in job.curve])
    assert nominal >= tier - 1e-6
    assert able.idle_w <= job.curve[0].power_w * (1.0 + CLOSE)


@given(workload=workloads, tier=tiers, drawn=draws)
@example(**MINIMAL)
def test_drawn_curve_is_concave_where_the_nominal_one_is(workload, tier, drawn):
    job = view(workload, tier, len(drawn))
    ends = envelope(job.curve)
    concave = [point for point in job.curve if point.throughput >= ends.throughput_at(point.power_w) - CLOSE]
    found = as_drawn(replace(job, curve=tuple(concave)), windows(drawn))
    assert envelope(found.curve).error <= 1e-6


@given(workload=workloads, tier=tiers, devices=st.integers(1, 4))
@example(workload="pretrain-7b", tier=0.75, devices=1)
def test_full_demand_is_the_nominal_curve_above_the_floor(workload, tier, devices):
    job = view(workload, tier, devices)
    found = as_drawn(job, np.full((devices, WINDOWS), 400.0))
    kept = [point for point in job.curve if point.throughput >= tier]
    assert len(found.curve) - len(kept) in {0, 1}
    for one, nominal in zip(found.curve[len(found.curve) - len(kept) :], kept, strict=True):
        assert (one.cap_w, one.power_w, one.throughput) == pytest.approx(
            (nominal.cap_w, nominal.power_w, nominal.throughput)
        )
    ours, theirs = Allocator(allocation_jobs([found])), Allocator(allocation_jobs([job]))
    assert ours.ceiling_w == pytest.approx(theirs.ceiling_w)
    # The envelope of the whole curve may lie over it at the floor: the drawn one is cut exactly there.
    assert ours.floor_w <= theirs.floor_w * (1.0 + CLOSE)
