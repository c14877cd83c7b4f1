"""Every shipped rule against the oracle in exact fractions: a synthetic year with gaps, events and all day types."""

from datetime import date, datetime, timedelta
from fractions import Fraction
from functools import cache
from random import Random
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.result import Baseline
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.measurement import IntervalEnergy
from tests.baseline_oracle import ORACLE, Case, generator_output

ZONE = ZoneInfo("America/Phoenix")
STEP = timedelta(minutes=15)
FIRST = datetime(2025, 1, 1)  # noqa: DTZ001 - the oracle's stamps are local


@cache
def year(seed: int) -> dict[datetime, Fraction]:
    """Whole watts, a day's level of its own, quiet days among them, now and then a gap before the afternoon."""
    chance = Random(seed)
    load = {}
    for number in range(365):
        quiet = chance.random() < 0.04
        level = chance.randint(2_000, 4_000) if quiet else chance.randint(30_000, 70_000)
        hole = chance.randint(0, 95) if chance.random() < 0.08 else None
        for quarter in range(96):
            if quarter != hole:
                at = FIRST + timedelta(days=number) + quarter * STEP
                load[at] = Fraction(level + chance.randint(0, level // 4))
    return load


def energies(load: dict[datetime, Fraction]) -> list[IntervalEnergy]:
    return [
        IntervalEnergy(
            starts_at=at.replace(tzinfo=ZONE), duration_s=900.0, energy_wh=float(power / 4), coverage_fraction=1.0
        )
        for at, power in load.items()
    ]


def ask(rule_id: str, day: date, hour: int, seed: int) -> tuple[Baseline, list[Fraction]]:
    chance = Random(seed + day.toordinal())
    start = datetime.combine(day, datetime.min.time()) + timedelta(hours=hour)
    end = start + timedelta(hours=2)
    earlier = [start - timedelta(days=chance.randint(1, 44)) for _ in range(3)]
    events = [(at, at + timedelta(hours=1)) for at in earlier]
    first, last = start - timedelta(days=62), start + timedelta(days=1)
    load = {at: power for at, power in year(seed % 4).items() if first < at < last}
    whole = Random(seed + 1)
    midnight = datetime.combine(day, datetime.min.time())
    for quarter in range(96):
        load.setdefault(midnight + quarter * STEP, Fraction(whole.randint(30_000, 60_000)))
    found = evaluate(
        shipped_rules()[rule_id],
        energies(load),
        event_start=start.replace(tzinfo=ZONE),
        event_end=end.replace(tzinfo=ZONE),
        timezone=ZONE,
        excluded=[(opens.replace(tzinfo=ZONE), closes.replace(tzinfo=ZONE)) for opens, closes in events],
        noticed_at=start.replace(tzinfo=ZONE),
    )
    assert isinstance(found, Baseline), found
    return found, ORACLE[rule_id](Case(load, start, end, STEP, events))


def agree(rule_id: str, day: date, hour: int, seed: int) -> None:
    found, exact = ask(rule_id, day, hour, seed)
    assert [item.baseline_w for item in found.intervals] == pytest.approx([float(value) for value in exact], rel=1e-11)


@pytest.mark.parametrize("rule_id", sorted(ORACLE))
@settings(deadline=None, max_examples=6)  # each example is two months of quarter hours
@given(number=st.integers(75, 360), hour=st.integers(6, 18), seed=st.integers(0, 1000))
def test_the_oracle_agrees(rule_id: str, number: int, hour: int, seed: int):
    agree(rule_id, FIRST.date() + timedelta(days=number), hour, seed)


# A Wednesday, a Saturday, a Sunday, and public holidays of the calendars in turn.
DAYS = [(6, 18), (6, 21), (6, 22), (5, 26), (7, 21), (8, 15), (10, 1), (10, 11), (11, 3), (12, 25)]


@pytest.mark.parametrize("rule_id", sorted(ORACLE))
def test_the_oracle_agrees_on_every_day_type(rule_id: str):
    for month, day in DAYS:
        agree(rule_id, date(2025, month, day), 14, 7)


@settings(deadline=None, max_examples=20)  # each example is two months of quarter hours
@given(number=st.integers(75, 360), hour=st.integers(6, 18), seed=st.integers(0, 1000))
def test_the_oracle_agrees_on_a_generator_and_a_declared_level(number: int, hour: int, seed: int):
    start = FIRST + timedelta(days=number, hours=hour)
    end = start + timedelta(hours=2)
    load, output = (
        {at: power for at, power in year(kind).items() if start - timedelta(days=62) < at < end}
        for kind in (seed % 4, (seed + 1) % 4)
    )
    for quarter in range(8):
        load.setdefault(start + quarter * STEP, Fraction(40_000))
        output.setdefault(start + quarter * STEP, Fraction(9_000))
    exact = generator_output(Case(load, start, end, STEP), Case(output, start, end, STEP))
    declared_w = 30_000 + seed
    for rule_id, expected in [("generator-output", exact), ("maximum-base-load", [Fraction(declared_w)] * 8)]:
        found = evaluate(
            shipped_rules()[rule_id],
            energies(load),
            event_start=start.replace(tzinfo=ZONE),
            event_end=end.replace(tzinfo=ZONE),
            timezone=ZONE,
            generation=energies(output),
            declared_w=float(declared_w),
        )
        assert isinstance(found, Baseline), found
        quarters = [start + quarter * STEP for quarter in range(8)]
        reductions = [float(value - load[at]) for value, at in zip(expected, quarters, strict=True)]
        assert [item.baseline_w for item in found.intervals] == pytest.approx([float(value) for value in expected])
        assert [item.reduction_w for item in found.intervals] == pytest.approx(reductions, rel=1e-9, abs=1e-6)


def test_every_rule_that_reads_no_second_meter_has_its_oracle():
    assert set(shipped_rules()) - set(ORACLE) == {"generator-output", "maximum-base-load"}
