"""What holds for every rule that comes with gridgate, whatever it says."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.measurement import IntervalEnergy

ZONE = ZoneInfo("America/Phoenix")
START = datetime(2025, 6, 18, 14, tzinfo=ZONE)
END = START + timedelta(hours=2)
FIRST = datetime(2025, 4, 20, tzinfo=ZONE)
CLOSED = (datetime(2025, 6, 12, 9, tzinfo=ZONE), datetime(2025, 6, 12, 10, tzinfo=ZONE))

RULES = sorted(shipped_rules())
every_rule = pytest.mark.parametrize("rule_id", RULES)
chances = st.integers(0, 2**32 - 1).map(Random)
few = settings(deadline=None, max_examples=5)  # each example is two months of hours, for every rule


def some_load(chance: Random, *, holes: float = 0.003) -> list[IntervalEnergy]:
    """Sixty days of hours between 20 and 60 kW, now and then one missing, none on the event's own day."""
    hours = [FIRST + timedelta(hours=n) for n in range(60 * 24)]
    return [
        IntervalEnergy(starts_at=at, duration_s=3600.0, energy_wh=chance.uniform(2e4, 6e4), coverage_fraction=1.0)
        for at in hours
        if chance.random() >= holes or at.date() == START.date()
    ]


def ask(
    rule_id: str,
    history: list[IntervalEnergy],
    generation: list[IntervalEnergy],
    *,
    excluded: Sequence[tuple[datetime, datetime]] = (),
    declared_w: float = 4e4,
) -> Baseline | Insufficient:
    return evaluate(
        shipped_rules()[rule_id],
        history,
        event_start=START,
        event_end=END,
        timezone=ZONE,
        excluded=excluded,
        noticed_at=START - timedelta(hours=1),
        generation=generation,
        declared_w=declared_w,
    )


def made(found: Baseline | Insufficient) -> Baseline:
    assert isinstance(found, Baseline), found
    return found


def scaled(history: list[IntervalEnergy], factor: float) -> list[IntervalEnergy]:
    return [replace(energy, energy_wh=factor * energy.energy_wh) for energy in history]


def halved(history: list[IntervalEnergy]) -> list[IntervalEnergy]:
    return [
        replace(energy, starts_at=energy.starts_at + part, duration_s=1800.0, energy_wh=energy.energy_wh / 2)
        for energy in history
        for part in (timedelta(), timedelta(minutes=30))
    ]


@every_rule
@few
@given(chance=chances, factor=st.floats(1e-3, 1e3))
def test_scaling_every_meter_scales_the_baseline(rule_id: str, chance: Random, factor: float):
    load, output = some_load(chance), some_load(chance)
    plain = made(ask(rule_id, load, output))
    found = made(ask(rule_id, scaled(load, factor), scaled(output, factor), declared_w=factor * 4e4))
    assert [(day.date, day.reason) for day in found.days] == [(day.date, day.reason) for day in plain.days]
    for left, right in zip(found.intervals, plain.intervals, strict=True):
        assert left.baseline_w == pytest.approx(factor * right.baseline_w, rel=1e-9, abs=1e-6 * factor)


@every_rule
@few
@given(chance=chances, factor=st.floats(0, 100))
def test_an_excluded_day_counts_for_nothing(rule_id: str, chance: Random, factor: float):
    load, output = some_load(chance), some_load(chance)

    def but(history: list[IntervalEnergy]) -> tuple[list[IntervalEnergy], list[IntervalEnergy]]:
        day = CLOSED[0].date()
        loud = [replace(one, energy_wh=factor * one.energy_wh) for one in history if one.starts_at.date() == day]
        rest = [one for one in history if one.starts_at.date() != day]
        return rest, [*rest, *loud]

    (load_without, load_loud), (output_without, output_loud) = but(load), but(output)
    without = made(ask(rule_id, load_without, output_without, excluded=[CLOSED]))
    for given_load, given_output in [(load, output), (load_loud, output_loud)]:
        found = made(ask(rule_id, given_load, given_output, excluded=[CLOSED]))
        assert (found.intervals, found.adjustment) == (without.intervals, without.adjustment)


@every_rule
@few
@given(chance=chances, holes=st.floats(0, 0.3))
def test_the_order_of_readings_is_irrelevant(rule_id: str, chance: Random, holes: float):
    load, output = some_load(chance, holes=holes), some_load(chance, holes=holes)
    plain = ask(rule_id, load, output)
    for history in (load, output):
        chance.shuffle(history)
    assert ask(rule_id, load, output) == plain


@every_rule
@few
@given(chance=chances)
def test_a_meter_of_shorter_intervals_says_the_same(rule_id: str, chance: Random):
    load, output = some_load(chance), some_load(chance)
    whole, half = made(ask(rule_id, load, output)), made(ask(rule_id, halved(load), halved(output)))
    for index, hour in enumerate(whole.intervals):
        pair = half.intervals[2 * index : 2 * index + 2]
        energy_wh = sum(item.baseline_w * item.duration_s / 3600 for item in pair)
        assert energy_wh == pytest.approx(hour.baseline_w, rel=1e-9)


@every_rule
def test_every_rule_minimal_example(rule_id: str):
    load, output = some_load(Random(1), holes=0), some_load(Random(2), holes=0)
    one = made(ask(rule_id, load, output))
    two = made(ask(rule_id, scaled(load, 2), scaled(output, 2), declared_w=8e4))
    assert two.intervals[0].baseline_w == pytest.approx(2 * one.intervals[0].baseline_w, rel=1e-12)
    assert ask(rule_id, load[::-1], output[::-1]) == one
