from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import RuleError, parse_rule, shipped_rules
from gateway.domain.measurement import IntervalEnergy

ZONE = ZoneInfo("America/Los_Angeles")
RULE = shipped_rules()["time-of-week-regression"]
START = datetime(2025, 6, 18, 14, tzinfo=ZONE)
END = START + timedelta(hours=2)
FIRST = datetime(2025, 4, 1, tzinfo=ZONE).astimezone(UTC)
HOURS = [FIRST + timedelta(hours=n) for n in range(79 * 24)]
WEATHER = {at: Random(at.timestamp()).uniform(5.0, 35.0) for at in HOURS}


def level_w(at: datetime) -> float:
    local = at.astimezone(ZONE)
    return 10_000.0 + 1_000.0 * local.weekday() + 100.0 * local.hour


def history(power_w: Callable[[datetime], float], hours: list[datetime] = HOURS) -> list[IntervalEnergy]:
    return [
        IntervalEnergy(starts_at=at, duration_s=3600.0, energy_wh=power_w(at), coverage_fraction=1.0) for at in hours
    ]


def ask(load: list[IntervalEnergy], **more) -> Baseline | Insufficient:
    return evaluate(RULE, load, event_start=START, event_end=END, timezone=ZONE, **more)


def watts(found: Baseline | Insufficient) -> list[float]:
    assert isinstance(found, Baseline), found
    return [item.baseline_w for item in found.intervals]


def test_each_time_of_the_week_has_its_own_level():
    found = ask(history(level_w))
    assert watts(found) == pytest.approx([13_400.0, 13_500.0])
    assert len(found.days) == 70
    assert {day.reason for day in found.days} == {"selected"}


def test_the_event_and_days_with_events_are_not_fitted():
    held = [(START - timedelta(weeks=week, hours=9), START - timedelta(weeks=week, hours=8)) for week in (1, 2)]
    closed = {START.date(), *(start.date() for start, _ in held)}
    found = ask(history(lambda at: 0.0 if at.astimezone(ZONE).date() in closed else level_w(at)), excluded=held)
    assert watts(found) == pytest.approx([13_400.0, 13_500.0])
    assert [day.date for day in found.days if day.reason == "event day"] == ["2025-06-11", "2025-06-04"]


def test_a_line_in_the_temperature_is_found_again():
    def power_w(at: datetime) -> float:
        return level_w(at) + 250.0 * WEATHER[at]

    found = ask(history(power_w), temperature_c=WEATHER)
    assert watts(found) == pytest.approx([power_w(START), power_w(START + timedelta(hours=1))])
    assert found.notes == ()


def test_a_bend_in_the_temperature_is_met_better_than_without_one():
    def power_w(at: datetime) -> float:
        return level_w(at) + 400.0 * max(WEATHER[at] - 20.0, 0.0)

    exact = [power_w(START), power_w(START + timedelta(hours=1))]
    load = history(power_w)
    bent, flat = watts(ask(load, temperature_c=WEATHER)), watts(ask(load))
    errors = [sum(abs(ours - theirs) for ours, theirs in zip(one, exact, strict=True)) for one in (bent, flat)]
    # Twenty degrees is an edge of the pieces to within a fiftieth of a degree.
    assert errors[0] < 100.0 < errors[1]


def test_a_temperature_beyond_those_fitted_is_named():
    found = ask(history(level_w), temperature_c={**WEATHER, START.astimezone(UTC): 44.0})
    assert isinstance(found, Baseline)
    assert found.notes[0].startswith("1 intervals are colder or warmer than any fitted")


def test_what_is_missing_is_said():
    def said(found: Baseline | Insufficient) -> str:
        assert isinstance(found, Insufficient), found
        return found.reason

    assert said(ask([])) == "there are no readings at all"
    short = [at for at in HOURS if at >= START - timedelta(weeks=3, days=1)]
    assert said(ask(history(level_w, short))) == (
        "3 readings of the same time of the week as 2025-06-18T14:00:00-07:00 in the 70 days before, where the rule "
        "needs 4"
    )
    own = {at: degrees for at, degrees in WEATHER.items() if at != START}
    assert "no temperature for the interval at 2025-06-18T14" in said(ask(history(level_w), temperature_c=own))
    same = dict.fromkeys(HOURS, 20.0)
    assert "varies too little" in said(ask(history(level_w), temperature_c=same))
    broken = {**WEATHER, HOURS[300]: float("nan")}
    assert "no finite number" in said(ask(history(level_w), temperature_c=broken))
    assert "3 readings" in said(
        ask(history(level_w), temperature_c={at: one for at, one in WEATHER.items() if at in short})
    )


def test_a_sheet_that_asks_for_more_weeks_than_it_looks_back_is_refused():
    sheet = """
id = "a"
version = "1"
title = "t"
source = "s"
clause = "c"
read = "from memory, to be checked"
kind = "regression"
[fit]
look_back_days = 20
minimum_weeks = 3
temperature_pieces = 6
[readings]
minimum_coverage_fraction = 0.95
"""
    with pytest.raises(RuleError, match=r"fit\.minimum_weeks: more than the weeks"):
        parse_rule(sheet)
