"""What the fleet could do, for how long and how surely."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest

from gateway.domain.allocate import AllocationJob, Allocator
from gateway.domain.capability import CapabilityRow, CapableJob, capability
from gateway.domain.curve_learning import learnt, seeded
from hardware.job import CurvePoint

T0 = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CURVE = (
    CurvePoint(cap_w=100.0, power_w=95.0, throughput=0.2),
    CurvePoint(cap_w=200.0, power_w=190.0, throughput=0.8),
    CurvePoint(cap_w=400.0, power_w=390.0, throughput=1.0),
)
TRAIN = AllocationJob(
    job_id="train", weight=1.0, devices=10, min_throughput=0.8, can_pause=False, curve=CURVE, idle_w=80.0
)
PAUSABLE = replace(TRAIN, can_pause=True)
STEADY = CapableJob(job=TRAIN)


def now(*jobs: CapableJob, for_s: float = 3600.0, correlation: float = 0.3) -> CapabilityRow:
    return capability(jobs, at=T0, holds_s=[for_s], hours=0, correlation=correlation).held[0]


def demand(*rows: list[float]) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
    return np.array([[row[i % len(row)] for i in range(90)] for row in rows])


def test_caps_alone_hold_every_job_at_its_floor_for_as_long_as_asked() -> None:
    found = capability([STEADY], at=T0)
    assert [row.expected_w for row in found.held] == pytest.approx([2_000.0] * 5)
    assert [row.ends_at - row.starts_at for row in found.held] == [HOUR / 4, HOUR, 2 * HOUR, 3 * HOUR, 4 * HOUR]
    assert [row.starts_at for row in found.hours] == [T0 + hour * HOUR for hour in range(6)]
    allocator = Allocator([TRAIN])
    assert found.held[0].expected_w == pytest.approx(allocator.ceiling_w - allocator.floor_w)
    # A curve that is taken to be exact and a steady load leave no doubt.
    assert found.held[0].lower_w == pytest.approx(2_000.0)
    assert found.held[0].reason == "the floors of 1 job bind"


def test_jobs_that_end_leave() -> None:
    ending = CapableJob(job=replace(TRAIN, job_id="ending"), ends_at=T0 + 1.5 * HOUR)
    found = capability([STEADY, ending], at=T0)
    assert [row.expected_w for row in found.hours] == pytest.approx([4_000.0] + [2_000.0] * 5)
    assert [row.expected_w for row in found.held] == pytest.approx([4_000.0, 4_000.0, 2_000.0, 2_000.0, 2_000.0])
    assert found.held[2].reason == "the floors of 1 job bind; 1 job will have ended"
    nothing = now(CapableJob(job=TRAIN, ends_at=T0))
    assert (nothing.expected_w, nothing.lower_w, nothing.with_pauses_w) == (0.0, 0.0, 0.0)
    assert nothing.reason.startswith("no job with a curve runs so long; 1 job")


def test_jobs_of_unknown_end_are_less_sure_with_every_hour() -> None:
    jobs = [CapableJob(job=replace(TRAIN, job_id=f"job{i}")) for i in range(20)]
    found = capability(jobs, at=T0, leaving_per_h=0.1)
    expected_w = [row.expected_w for row in found.hours]
    assert expected_w[0] == pytest.approx(20 * 2_000.0 * np.exp(-0.1))
    assert expected_w == sorted(expected_w, reverse=True)
    assert all(row.lower_w < row.expected_w for row in found.hours)
    assert found.hours[0].reason.endswith("less is sure because of jobs that may end")


def test_idle_devices_give_nothing() -> None:
    half = CapableJob(job=TRAIN, demand_w=demand(*[[390.0]] * 5, *[[60.0]] * 5))
    found = now(half)
    assert found.expected_w == pytest.approx(1_000.0)
    assert "5 devices idle" in found.reason
    assert now(CapableJob(job=TRAIN, demand_w=demand(*[[60.0]] * 10))).expected_w == 0.0


def test_devices_not_known_long_enough_are_said() -> None:
    unseen = np.full((10, 90), np.nan)
    found = now(CapableJob(job=TRAIN, demand_w=unseen))
    assert (found.expected_w, found.lower_w) == (0.0, 0.0)
    assert "10 devices not known long enough" in found.reason


def test_bursts_are_expected_and_less_sure() -> None:
    found = now(CapableJob(job=TRAIN, demand_w=demand(*[[390.0, 390.0, 90.0]] * 10)))
    assert found.expected_w == pytest.approx(2_000.0 * 2 / 3)
    # A third of the time there is nothing.
    assert found.lower_w == pytest.approx(0.0, abs=1e-6)
    assert found.reason.endswith("less is sure because of load that swings")
    # Jobs whose bursts have little to do with each other are surer together.
    many = [
        CapableJob(job=replace(TRAIN, job_id=f"job{i}"), demand_w=found_w)
        for i, found_w in enumerate([demand(*[[390.0, 390.0, 90.0]] * 10)] * 30)
    ]
    assert now(*many).lower_w / now(*many).expected_w > 0.4
    assert now(*many, correlation=1.0).lower_w == pytest.approx(0.0, abs=1e-6)


def test_a_curve_that_is_not_learnt_lowers_what_is_sure() -> None:
    curve = learnt(seeded(CURVE), T0)
    found = now(CapableJob(job=replace(TRAIN, curve=curve.curve), learnt=curve))
    # Both ends are 5 % unsure: hypot(9.5, 19.5) W for each of ten devices.
    assert found.expected_w == pytest.approx(2_000.0, rel=0.01)
    assert found.expected_w - found.lower_w == pytest.approx(1.2816 * 10 * np.hypot(9.5, 19.5), rel=0.02)
    assert found.reason.endswith("less is sure because of curves that are not learnt yet")


class TestPauses:
    def test_they_last_as_long_as_was_tested_and_jobs_take_turns(self) -> None:
        able = CapableJob(job=PAUSABLE, max_pause_s=900.0)
        short, long = now(able, for_s=900.0), now(able, for_s=3600.0)
        # At the floor it draws 190 W a device, paused 80 W.
        assert (short.with_pauses_w, short.with_pauses_lower_w) == pytest.approx((3_100.0, 3_100.0))
        assert long.reason == "the floors of 1 job bind; 1 job may be paused, the longest for 900 s"
        assert (long.with_pauses_w, long.with_pauses_lower_w) == pytest.approx((2_000.0 + 1_100.0 / 4, 2_000.0))

    def test_a_job_that_must_not_be_paused_is_not(self) -> None:
        assert now(CapableJob(job=TRAIN, max_pause_s=900.0), for_s=60.0).with_pauses_w == pytest.approx(2_000.0)

    def test_the_tiers_budget_runs_out(self) -> None:
        able = CapableJob(job=PAUSABLE, max_pause_s=3600.0, in_hand_s=720.0)
        # 720 s in hand at a tier of 0.8 are 900 s of giving nothing.
        assert now(able, for_s=900.0).with_pauses_lower_w == pytest.approx(3_100.0)
        assert now(able, for_s=1800.0).with_pauses_lower_w == pytest.approx(2_000.0)
        assert now(able, for_s=1800.0).with_pauses_w == pytest.approx(2_550.0)
        spent = CapableJob(job=PAUSABLE, max_pause_s=3600.0, in_hand_s=-10.0)
        assert now(spent, for_s=60.0).with_pauses_w == pytest.approx(2_000.0)

    def test_idle_devices_give_nothing_when_paused_either(self) -> None:
        able = CapableJob(job=PAUSABLE, max_pause_s=900.0, demand_w=demand(*[[390.0]] * 5, *[[60.0]] * 5))
        assert now(able, for_s=900.0).with_pauses_w == pytest.approx(5 * 310.0)


def test_a_correlation_that_is_none_is_refused() -> None:
    with pytest.raises(ValueError, match="correlation"):
        capability([STEADY], at=T0, correlation=1.5)


def test_no_job_at_all() -> None:
    found = capability([], at=T0)
    assert all((row.expected_w, row.lower_w, row.with_pauses_w) == (0.0, 0.0, 0.0) for row in found.held)


@pytest.mark.parametrize("correlation", [0.0, 0.3, 0.8])
def test_what_is_sure_is_there_nine_times_of_ten(correlation: float) -> None:
    dice = np.random.default_rng(7)
    draws, count = 4_000, 30

    def alike(rows: int) -> np.ndarray[tuple[int, ...], np.dtype[np.float64]]:
        common = dice.standard_normal(draws)
        own = dice.standard_normal((rows, draws))
        return np.sqrt(correlation) * common + np.sqrt(1.0 - correlation) * own

    # Demand of each job's devices around 330 W: over the floor of 190 W all but always.
    mean_w = dice.uniform(280.0, 380.0, count)
    drawn_w = mean_w[:, None] + 30.0 * alike(count)
    curve = learnt(seeded(CURVE), T0)
    jobs = [
        CapableJob(
            job=replace(TRAIN, job_id=f"job{i}", curve=curve.curve),
            learnt=curve,
            demand_w=np.tile(drawn_w[i, :90], (10, 1)),
        )
        for i in range(count)
    ]
    found = now(*jobs, correlation=correlation)
    floor_w = 190.0 + 9.5 * alike(count)
    saved_w = (10.0 * np.maximum(0.0, drawn_w - floor_w)).sum(axis=0)
    assert 0.86 <= float((saved_w >= found.lower_w).mean()) <= 0.96
