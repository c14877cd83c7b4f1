import math
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import cache
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.verification import VerifiedReport, verify

ZONE = ZoneInfo("America/Phoenix")
START = datetime(2025, 6, 18, 14, tzinfo=ZONE)
END = START + timedelta(hours=2)
FIRST = datetime(2025, 5, 4, tzinfo=ZONE)
CLOSED = (datetime(2025, 6, 12, 9, tzinfo=ZONE), datetime(2025, 6, 12, 10, tzinfo=ZONE))

rules = st.sampled_from([shipped_rules()["caiso-10-in-10"], shipped_rules()["meter-before-after"]])
chances = st.integers(0, 2**32 - 1).map(Random)


def some_load(chance: Random, *, holes: float = 0.01) -> list[IntervalEnergy]:
    """Forty-six days of hours between 20 and 60 kW, now and then one missing."""
    hours = [FIRST + timedelta(hours=n) for n in range(46 * 24)]
    return [
        IntervalEnergy(starts_at=at, duration_s=3600.0, energy_wh=chance.uniform(2e4, 6e4), coverage_fraction=1.0)
        for at in hours
        if chance.random() >= holes or at.date() == START.date()
    ]


def answer(rule, history: list[IntervalEnergy], excluded=()) -> Baseline | Insufficient:
    return evaluate(rule, history, event_start=START, event_end=END, timezone=ZONE, excluded=excluded)


def baseline(rule, history: list[IntervalEnergy], excluded=()) -> Baseline:
    found = answer(rule, history, excluded)
    assert isinstance(found, Baseline), found
    return found


def on_closed_day(energy: IntervalEnergy) -> bool:
    return energy.starts_at.date() == CLOSED[0].date()


@settings(deadline=None, max_examples=50)  # each example is a history of its own
@given(rule=rules, chance=chances, factor=st.floats(1e-3, 1e3))
def test_scaling_the_load_scales_the_baseline(rule, chance: Random, factor: float):
    history = some_load(chance)
    plain = baseline(rule, history)
    scaled = baseline(rule, [replace(energy, energy_wh=factor * energy.energy_wh) for energy in history])
    assert scaled.days == plain.days
    for left, right in zip(scaled.intervals, plain.intervals, strict=True):
        assert left.baseline_w == pytest.approx(factor * right.baseline_w, rel=1e-9)
        assert left.unadjusted_w == pytest.approx(factor * right.unadjusted_w, rel=1e-9)


def test_scaling_minimal_example():
    history = some_load(Random(1))
    rule = shipped_rules()["caiso-10-in-10"]
    doubled = baseline(rule, [replace(energy, energy_wh=2 * energy.energy_wh) for energy in history])
    assert doubled.intervals[0].baseline_w == 2 * baseline(rule, history).intervals[0].baseline_w


@settings(deadline=None, max_examples=50)  # each example is a history of its own
@given(rule=rules, chance=chances, holes=st.floats(0, 0.6))
def test_the_order_of_the_readings_is_irrelevant(rule, chance: Random, holes: float):
    history = some_load(chance, holes=holes)
    shuffled = list(history)
    chance.shuffle(shuffled)
    assert answer(rule, shuffled) == answer(rule, history)


@settings(deadline=None, max_examples=50)  # each example is a history of its own
@given(rule=rules, chance=chances, factor=st.floats(0, 100))
def test_an_excluded_day_changes_nothing_whether_it_is_there_or_not(rule, chance: Random, factor: float):
    history = some_load(chance)
    without = baseline(rule, [energy for energy in history if not on_closed_day(energy)], [CLOSED])
    loud = [replace(item, energy_wh=factor * item.energy_wh) if on_closed_day(item) else item for item in history]
    for given_history in (history, loud):
        found = baseline(rule, given_history, [CLOSED])
        assert (found.intervals, found.adjustment) == (without.intervals, without.adjustment)


def test_an_excluded_day_minimal_example():
    rule = shipped_rules()["caiso-10-in-10"]
    history = some_load(Random(2), holes=0)
    with_it = baseline(rule, history, [CLOSED])
    assert next(day.reason for day in with_it.days if day.date == "2025-06-12") == "event day"
    without = baseline(rule, [energy for energy in history if not on_closed_day(energy)], [CLOSED])
    assert with_it.intervals == without.intervals


@settings(deadline=None, max_examples=50)  # each example is a history of its own
@given(chance=chances, own=st.floats(0, 10))
def test_the_adjustment_stays_within_its_bounds(chance: Random, own: float):
    history = [
        replace(item, energy_wh=own * item.energy_wh) if item.starts_at.date() == START.date() else item
        for item in some_load(chance)
    ]
    found = baseline(shipped_rules()["caiso-10-in-10"], history)
    assert found.adjustment.raw is not None
    assert found.adjustment.applied == min(max(found.adjustment.raw, 0.8), 1.2)
    for interval in found.intervals:
        assert interval.baseline_w == interval.unadjusted_w * found.adjustment.applied


slices = st.lists(
    st.tuples(st.integers(0, 7), st.floats(-5e4, 5e4), st.floats(0, 1)), min_size=1, unique_by=lambda item: item[0]
)


@cache
def flat() -> Baseline:
    return baseline(shipped_rules()["meter-before-after"], some_load(Random(3)))


def verified(pieces: list[tuple[int, float, float]]) -> VerifiedReport:
    measured = [
        IntervalEnergy(
            starts_at=START + timedelta(minutes=15 * index),
            duration_s=900.0,
            energy_wh=energy_wh,
            coverage_fraction=coverage,
        )
        for index, energy_wh, coverage in pieces
    ]
    return verify(flat(), measured, connection_id="c", event_id="e", revision=0, verified_at=datetime.now(UTC))


@given(pieces=slices, more_wh=st.floats(0.1, 1e5))
def test_every_watt_hour_more_on_the_meter_is_one_less_delivered(
    pieces: list[tuple[int, float, float]], more_wh: float
):
    report = verified(pieces)
    worse = verified([(index, energy_wh + more_wh, coverage) for index, energy_wh, coverage in pieces])
    for left, right in zip(report.intervals, worse.intervals, strict=True):
        assert left.delivered_wh == left.baseline_wh - left.measured_wh
        assert left.delivered_wh - right.delivered_wh == pytest.approx(more_wh, rel=1e-6)
    total_wh = math.fsum(item.baseline_wh for item in report.intervals) - math.fsum(wh for _, wh, _ in pieces)
    assert math.fsum(item.delivered_wh for item in report.intervals) == pytest.approx(total_wh, rel=1e-9, abs=1e-6)


def test_a_negative_reduction_minimal_example():
    (item,) = verified([(0, 1e6, 1.0)]).intervals
    assert item.delivered_wh < -9e5
