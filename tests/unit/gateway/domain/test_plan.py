"""From an event to a target over time, and to what is paused and promised."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.contract import Program
from gateway.domain.event import EventRecord
from gateway.domain.plan import LiveBaseline, PlanInterval, PowerPlan, plan, target_w
from hardware.device import CapRange
from hardware.job import CurvePoint, JobView
from protocols.grid import EventInterval, EventStatus, GridEvent, Opt, OptDecision, Refusal, Signal, SignalKind

START = datetime(2026, 7, 1, 16, 0, tzinfo=UTC)
PROGRAM = Program(program_id="peak", levels={1: 0.1, 2: 0.25}, capacity_w=160_000.0)
BASELINE_W = 100_000.0
FIXED_W = 20_000.0
CURVE = (
    CurvePoint(cap_w=100.0, power_w=100.0, throughput=0.2),
    CurvePoint(cap_w=200.0, power_w=200.0, throughput=0.8),
    CurvePoint(cap_w=400.0, power_w=400.0, throughput=1.0),
)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def view(job_id: str, devices: int, **changed: float) -> JobView:
    return JobView(
        job_id=job_id,
        device_ids=tuple(f"{job_id}-{i}" for i in range(devices)),
        tier="flex2",
        weight=changed.get("weight", 1.0),
        min_throughput=changed.get("min_throughput", 0.8),
        curve=CURVE,
        max_pause_s=changed.get("max_pause_s", 0.0),
    )


# 80 kW uncapped, 40 kW at the floors.
JOBS = (view("a", 100), view("b", 100, weight=2.0))


def signal(kind: SignalKind, *values: tuple[float | None, float]) -> Signal:
    """Values one after the other, each for so many minutes."""
    intervals: list[EventInterval] = []
    starts_at = START
    for minutes, value in values:
        duration_s = None if minutes is None else 60.0 * minutes
        intervals.append(EventInterval(starts_at=starts_at, duration_s=duration_s, value=value))
        starts_at += timedelta(minutes=minutes or 0)
    return Signal(name="SIMPLE" if kind is SignalKind.LEVEL else "LOAD", kind=kind, intervals=tuple(intervals))


def event(
    governing: Signal, *, minutes: float | None = 60.0, ramp_up_s: float = 0.0, recovery_s: float = 0.0
) -> GridEvent:
    return GridEvent(
        event_id="ev1",
        connection_id="utility",
        program_id="peak",
        revision=0,
        status=EventStatus.FAR,
        created_at=at(-600),
        starts_at=START,
        duration_s=None if minutes is None else 60.0 * minutes,
        signals=(governing,),
        ramp_up_s=ramp_up_s,
        recovery_s=recovery_s,
    )


def make(
    found: GridEvent | EventRecord, *, jobs: Sequence[JobView] = JOBS, program: Program = PROGRAM, **kept: float
) -> PowerPlan:
    record = (
        found
        if isinstance(found, EventRecord)
        else EventRecord(event=found, first_received_at=at(-600), received_at=at(-600))
    )
    baseline = LiveBaseline(
        connection_id="utility", event_id="ev1", power_w=BASELINE_W, from_at=at(-15), to_at=START, readings=900
    )
    return plan(record, program, baseline, jobs, fixed_w=FIXED_W, made_at=at(-1), idle_w=kept.get("idle_w", 50.0))


def shape(found: PowerPlan) -> list[tuple[float, float | None, float, float]]:
    """Intervals in minutes after the start, and kilowatts."""
    return [
        (
            (one.starts_at - START).total_seconds() / 60,
            None if one.ends_at is None else (one.ends_at - START).total_seconds() / 60,
            round(one.start_w / 1000, 6),
            round(one.end_w / 1000, 6),
        )
        for one in found.intervals
    ]


class TestShape:
    @pytest.mark.parametrize(
        ("kind", "value", "kilowatts"),
        [
            (SignalKind.LEVEL, 2.0, 75.0),
            (SignalKind.FRACTION, 0.3, 70.0),
            (SignalKind.ADJUST, -12_000.0, 88.0),
            (SignalKind.ADJUST, -150_000.0, -50.0),
            (SignalKind.LIMIT, 64_000.0, 64.0),
            (SignalKind.LIMIT, 160_000.0, 160.0),
            (SignalKind.SETPOINT, 90_000.0, 90.0),
            (SignalKind.CAPACITY, 0.4, 64.0),
            (SignalKind.CAPACITY, 1.0, 160.0),
        ],
    )
    def test_each_kind_says_how_much_is_left(self, kind: SignalKind, value: float, kilowatts: float) -> None:
        assert shape(make(event(signal(kind, (60, value))))) == [(0, 60, kilowatts, kilowatts)]

    @pytest.mark.parametrize(
        ("kind", "value"),
        [
            (SignalKind.LEVEL, 0.0),
            (SignalKind.FRACTION, 0.0),
            (SignalKind.FRACTION, -0.1),
            (SignalKind.ADJUST, 5_000.0),
        ],
    )
    def test_what_asks_for_no_less_holds_nothing(self, kind: SignalKind, value: float) -> None:
        found = make(event(signal(kind, (60, value))))
        assert found.intervals == ()
        assert (found.expected_w, found.shortfall_w) == (BASELINE_W, 0.0)
        assert "no reduction" in found.reason

    def test_levels_follow_one_another_and_level_0_leaves_a_gap(self) -> None:
        found = make(event(signal(SignalKind.LEVEL, (20, 1.0), (20, 0.0), (20, 2.0))))
        assert shape(found) == [(0, 20, 90, 90), (40, 60, 75, 75)]

    def test_intervals_outside_the_active_period_do_not_count(self) -> None:
        found = make(event(signal(SignalKind.LEVEL, (20, 1.0), (60, 2.0), (60, 1.0)), minutes=50))
        assert shape(found) == [(0, 20, 90, 90), (20, 50, 75, 75)]

    def test_a_ramp_before_the_start(self) -> None:
        found = make(event(signal(SignalKind.LEVEL, (60, 2.0)), ramp_up_s=-600.0))
        assert shape(found) == [(-10, 0, 100, 75), (0, 60, 75, 75)]

    def test_a_ramp_from_the_start_on_and_a_recovery_after_the_end(self) -> None:
        found = make(event(signal(SignalKind.LEVEL, (60, 2.0)), ramp_up_s=600.0, recovery_s=300.0))
        assert shape(found) == [(0, 10, 100, 75), (10, 60, 75, 75), (60, 65, 75, 100)]

    def test_a_recovery_before_the_end(self) -> None:
        found = make(event(signal(SignalKind.LEVEL, (60, 2.0)), recovery_s=-600.0))
        assert shape(found) == [(0, 50, 75, 75), (50, 60, 75, 100)]

    def test_a_ramp_longer_than_the_event_meets_its_recovery(self) -> None:
        found = make(event(signal(SignalKind.LEVEL, (60, 2.0)), ramp_up_s=3600.0, recovery_s=-3600.0))
        assert shape(found) == [(0, 30, 100, 87.5), (30, 60, 87.5, 100)]

    def test_a_ramp_over_two_levels(self) -> None:
        found = make(event(signal(SignalKind.LEVEL, (5, 1.0), (55, 2.0)), ramp_up_s=600.0))
        assert shape(found) == [(0, 5, 100, 95), (5, 10, 87.5, 75), (10, 60, 75, 75)]

    def test_a_limit_above_the_baseline_has_nothing_to_ramp(self) -> None:
        found = make(event(signal(SignalKind.LIMIT, (60, 120_000.0)), ramp_up_s=600.0))
        assert {(one.start_w, one.end_w) for one in found.intervals} == {(120_000.0, 120_000.0)}

    def test_open_ended_holds_until_it_is_ended(self) -> None:
        open_ended = event(
            signal(SignalKind.LEVEL, (30, 1.0), (None, 2.0)), minutes=None, ramp_up_s=60.0, recovery_s=60.0
        )
        assert shape(make(open_ended)) == [(0, 1, 100, 90), (1, 30, 90, 90), (30, None, 75, 75)]
        ended = EventRecord(event=open_ended, first_received_at=at(-9), received_at=at(-9), ended_at=at(45))
        assert shape(make(ended)) == [(0, 1, 100, 90), (1, 30, 90, 90), (30, 45, 75, 75)]

    def test_cancelled_in_its_middle_it_ends_there_without_recovery(self) -> None:
        cancelled = replace(
            event(signal(SignalKind.LEVEL, (60, 2.0)), recovery_s=600.0), revision=1, status=EventStatus.CANCELLED
        )
        record = EventRecord(event=cancelled, first_received_at=at(-9), received_at=at(20), ended_at=at(20))
        assert shape(make(record)) == [(0, 20, 75, 75)]

    def test_cancelled_before_its_start_there_is_nothing(self) -> None:
        record = EventRecord(
            event=event(signal(SignalKind.LEVEL, (60, 2.0))),
            first_received_at=at(-9),
            received_at=at(-9),
            ended_at=at(-2),
        )
        assert make(record).intervals == ()
        assert "cancelled" in make(record).reason


class TestNothingToDo:
    def test_a_test_event(self) -> None:
        found = make(replace(event(signal(SignalKind.LEVEL, (60, 2.0))), test=True))
        assert found.intervals == ()
        assert "test event" in found.reason

    def test_one_that_we_opted_out_of(self) -> None:
        out = OptDecision(
            connection_id="utility",
            event_id="ev1",
            revision=0,
            opt=Opt.OUT,
            decided_at=START,
            refusal=Refusal.OPERATOR,
            detail="maintenance",
        )
        record = EventRecord(
            event=event(signal(SignalKind.LEVEL, (60, 2.0))),
            first_received_at=at(-9),
            received_at=at(-9),
            decision=out,
        )
        assert make(record).intervals == ()
        assert "maintenance" in make(record).reason

    def test_no_signal_for_us(self) -> None:
        found = make(event(signal(SignalKind.PRICE, (60, 0.3))))
        assert found.intervals == ()
        assert found.expected_w == BASELINE_W


class TestDelivery:
    def test_caps_reach_it(self) -> None:
        found = make(event(signal(SignalKind.LEVEL, (30, 1.0), (30, 2.0))))
        assert found.expected_w == pytest.approx(75_000.0)
        assert (found.shortfall_w, found.paused_job_ids) == (0.0, ())
        assert found.reason == (
            "SIMPLE of ev1 asks for 75.0 kW at most, 25.0 kW under the baseline: caps reach it with 90.0% of weighted "
            "throughput"
        )

    def test_a_limit_that_does_not_bind_expects_what_the_fleet_draws(self) -> None:
        found = make(event(signal(SignalKind.LIMIT, (60, 150_000.0))))
        assert found.expected_w == pytest.approx(100_000.0)
        assert found.shortfall_w == 0.0
        assert "allows 150.0 kW" in found.reason

    def test_what_floors_cannot_reach_is_shortfall(self) -> None:
        found = make(event(signal(SignalKind.LIMIT, (60, 50_000.0))))
        assert found.expected_w == pytest.approx(60_000.0)
        assert found.shortfall_w == pytest.approx(10_000.0)
        assert "caps alone reach 60.0 kW, 10.0 kW short" in found.reason

    def test_pauses_only_where_floors_do_not_reach_and_the_cheapest_first(self) -> None:
        jobs = (view("a", 100, max_pause_s=300.0), view("b", 100, weight=2.0, max_pause_s=300.0))
        brief = event(signal(SignalKind.LIMIT, (55, 70_000.0), (5, 50_000.0)))
        found = make(brief, jobs=jobs)
        assert found.paused_job_ids == ("a",)
        assert found.expected_w == pytest.approx(50_000.0)
        assert found.shortfall_w == 0.0
        assert "pausing a reaches 50.0 kW" in found.reason
        assert make(event(signal(SignalKind.LIMIT, (5, 60_000.0))), jobs=jobs).paused_job_ids == ()

    @pytest.mark.parametrize("minutes", [6.0, None])
    def test_no_pause_longer_than_tested(self, minutes: float | None) -> None:
        jobs = (view("a", 100, max_pause_s=300.0), *JOBS[1:])
        found = make(event(signal(SignalKind.LIMIT, (minutes, 50_000.0)), minutes=minutes), jobs=jobs)
        assert found.paused_job_ids == ()
        assert found.shortfall_w == pytest.approx(10_000.0)

    def test_two_short_stretches_are_two_pauses(self) -> None:
        jobs = (view("a", 100, max_pause_s=300.0), *JOBS[1:])
        apart = signal(SignalKind.LIMIT, (5, 50_000.0), (10, 70_000.0), (5, 50_000.0))
        together = signal(SignalKind.LIMIT, (5, 50_000.0), (5, 55_000.0), (10, 70_000.0))
        assert make(event(apart), jobs=jobs).paused_job_ids == ("a",)
        assert make(event(together), jobs=jobs).paused_job_ids == ()

    def test_only_the_part_of_a_ramp_under_the_floors_is_a_pause(self) -> None:
        # From 100 to 50 kW over 10 minutes: under 60 kW for its last 2, and back up at once.
        jobs = (view("a", 100, max_pause_s=120.0), *JOBS[1:])
        found = event(signal(SignalKind.LIMIT, (10, 50_000.0)), minutes=10, ramp_up_s=600.0)
        assert make(found, jobs=jobs).paused_job_ids == ("a",)
        longer = event(signal(SignalKind.LIMIT, (11, 50_000.0)), minutes=11, ramp_up_s=600.0)
        assert make(longer, jobs=jobs).paused_job_ids == ()

    def test_devices_that_are_not_there_promise_nothing(self) -> None:
        record = EventRecord(
            event=event(signal(SignalKind.LIMIT, (60, 40_000.0))), first_received_at=at(-9), received_at=at(-9)
        )
        baseline = LiveBaseline(
            connection_id="utility", event_id="ev1", power_w=BASELINE_W, from_at=at(-15), to_at=START, readings=900
        )
        there = {device: CapRange(min_w=250.0, default_w=400.0, max_w=400.0) for device in JOBS[0].device_ids}
        found = plan(record, PROGRAM, baseline, JOBS, fixed_w=FIXED_W, made_at=START, ranges=there)
        assert found.expected_w == pytest.approx(FIXED_W + 25_000.0)

    def test_no_jobs_promise_nothing(self) -> None:
        found = make(event(signal(SignalKind.LEVEL, (60, 2.0))), jobs=())
        assert (found.expected_w, found.shortfall_w) == (FIXED_W, 0.0)


class TestTarget:
    def interval(self, start: float, end: float | None, start_w: float, end_w: float) -> PlanInterval:
        return PlanInterval(starts_at=at(start), ends_at=None if end is None else at(end), start_w=start_w, end_w=end_w)

    def of(self, event_id: str, *intervals: PlanInterval) -> PowerPlan:
        return PowerPlan(
            connection_id="utility",
            event_id=event_id,
            revision=0,
            made_at=START,
            baseline_w=BASELINE_W,
            intervals=intervals,
            paused_job_ids=("x",),
            expected_w=0.0,
            shortfall_w=0.0,
            reason="",
        )

    def test_linear_within_and_nothing_outside(self) -> None:
        one = self.of("one", self.interval(0, 10, 100.0, 50.0), self.interval(20, None, 70.0, 70.0))
        assert [target_w(one, at(minute)) for minute in (-1, 0, 5, 10, 15, 20, 1e5)] == [
            None,
            100.0,
            75.0,
            None,
            None,
            70.0,
            70.0,
        ]
