"""Learnt curves for any seed and anything that is seen."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise
from math import isfinite

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.allocate import AllocationJob, allocate, guarded_floor
from gateway.domain.curve_learning import CurveEvidence, LearntCurve, learnt, observe, seeded
from gateway.domain.curve_observation import Observation
from gateway.domain.isotonic import isotonic
from hardware.job import CurvePoint
from hardware.workloads import WORKLOADS

T0 = datetime(2026, 7, 1, 12, tzinfo=UTC)
SEED = WORKLOADS["finetune-8b"].curve()

seeds = st.lists(st.tuples(st.integers(1, 200), st.floats(0.2, 1.1), st.floats(0.01, 1.0)), min_size=1, max_size=6).map(
    lambda rows: tuple(
        CurvePoint(cap_w=cap_w, power_w=part * cap_w, throughput=given_)
        for cap_w, (_, part, given_) in zip(
            [50.0 + sum(row[0] for row in rows[: i + 1]) for i in range(len(rows))], rows, strict=True
        )
    )
)
seen = st.lists(
    st.tuples(
        st.floats(0.0, 1_500.0),
        st.floats(0.0, 1_500.0),
        st.floats(0.0, 100.0),
        st.none() | st.floats(0.0, 2.0),
        st.floats(0.0, 7_200.0),
        st.floats(0.1, 60.0),
    ),
    max_size=40,
)
Seen = list[tuple[float, float, float, float | None, float, float]]


def watched(seed: tuple[CurvePoint, ...], rows: Seen) -> tuple[CurveEvidence, LearntCurve]:
    evidence, at = seeded(seed), T0
    for cap_w, power_w, over_w, throughput, wait_s, duration_s in rows:
        at += timedelta(seconds=wait_s)
        evidence = observe(
            evidence,
            Observation(
                job_id="a",
                at=at,
                cap_w=cap_w,
                power_w=power_w,
                peak_w=power_w + over_w,
                throughput=throughput,
                devices=1,
                duration_s=duration_s,
            ),
        )
    return evidence, learnt(evidence, at)


@given(seeds, seen)
@example(SEED, [(200.0, 300.0, 0.0, 2.0, 10.0, 10.0), (300.0, 100.0, 0.0, 0.0, 10.0, 10.0)])
def test_a_learnt_curve_always_rises_and_can_be_allocated(seed: tuple[CurvePoint, ...], rows: Seen) -> None:
    _, found = watched(seed, rows)
    for low, high in pairwise(found.points):
        assert low.cap_w < high.cap_w
        assert low.power_w <= high.power_w
        assert low.throughput <= high.throughput
    assert found.points[-1].throughput == 1.0
    assert all(0.0 <= point.throughput <= 1.0 and point.power_w >= 0.0 for point in found.points)
    assert all(isfinite(point.power_w) and point.power_error_w > 0.0 for point in found.points)
    assert all(point.throughput_error > 0.0 for point in found.points[:-1])
    assert found.envelope_error >= 0.0
    for errors in (0.0, 1.28):
        curve = found.cautious(errors)
        job = AllocationJob(
            job_id="a",
            weight=1.0,
            devices=4,
            min_throughput=guarded_floor(curve, 0.75),
            can_pause=False,
            curve=curve,
        )
        assert isfinite(allocate([job], target_w=0.0).expected_w)


@given(seeds, seen)
@example(SEED, [(200.0, 190.0, 0.0, 0.8, 10.0, 10.0)])
def test_the_same_observations_teach_the_same(seed: tuple[CurvePoint, ...], rows: Seen) -> None:
    assert watched(seed, rows) == watched(seed, rows)


@given(seeds, seen)
@example(SEED, [(300.0, 150.0, 0.0, None, 10.0, 10.0)])
def test_power_alone_leaves_no_evidence_of_throughput(seed: tuple[CurvePoint, ...], rows: Seen) -> None:
    blind: Seen = [(*row[:3], None, *row[4:]) for row in rows]
    evidence, _ = watched(seed, blind)
    assert all(one.weight == 0.0 for one in evidence.throughput.bins)


@given(st.floats(90.0, 330.0), st.floats(0.3, 0.84), st.integers(3, 60))
@example(250.0, 0.5, 3)
def test_a_cap_that_did_not_bind_saves_nothing(cap_w: float, share: float, count: int) -> None:
    cap_w = max(cap_w, 100.0 / share)
    _, found = watched(SEED, [(cap_w, share * cap_w, 0.0, None, 10.0, 10.0)] * count)
    over = [point for point in found.points if point.cap_w >= cap_w]
    assert over[-1].power_w - over[0].power_w <= 2.0 * (over[-1].power_error_w + over[0].power_error_w)


@given(
    st.lists(st.tuples(st.floats(-1e3, 1e3), st.floats(0.01, 100.0)), min_size=1, max_size=8),
    st.lists(st.floats(0.0, 100.0), min_size=8, max_size=8),
)
@example([(2.0, 1.0), (1.0, 1.0)], [0.0] * 8)
def test_no_rising_sequence_is_nearer(rows: list[tuple[float, float]], steps: list[float]) -> None:
    values, weights = [value for value, _ in rows], [weight for _, weight in rows]
    found = isotonic(values, weights)
    assert all(low <= high for low, high in pairwise(found))

    def distance(sequence: list[float]) -> float:
        return sum(weight * (one - value) ** 2 for one, value, weight in zip(sequence, values, weights, strict=True))

    for scale in (1.0, 0.1, -0.1):
        other = [one + scale * sum(steps[: i + 1]) for i, one in enumerate(found)]
        if all(low <= high for low, high in pairwise(other)):
            assert distance(found) <= distance(other) * (1.0 + 1e-9) + 1e-6
