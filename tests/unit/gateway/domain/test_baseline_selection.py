"""Low use, the search back, the notice, the last days and weights, each on a load of whole kilowatts by day."""

from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from typing import Any

import pytest

from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.method import (
    Adjustment,
    AdjustmentKind,
    Anchor,
    DayMatching,
    DayType,
    LowUse,
    Refill,
    Selection,
)
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.measurement import IntervalEnergy

DAY = datetime(2025, 6, 18, tzinfo=UTC)
START, END = DAY + timedelta(hours=14), DAY + timedelta(hours=16)
ADDED = Adjustment(kind=AdjustmentKind.ADDITIVE, from_h=-3, to_h=0)

ALIKE = DayType(
    name="any", weekdays=tuple(range(7)), holidays=True, target_days=3, minimum_days=1, select_days=2, weights=()
)
PLAIN = DayMatching(
    look_back_days=6,
    calendar="none",
    exclude_event_days=True,
    refill=Refill.NONE,
    selection=Selection.HIGHEST,
    day_types=(ALIKE,),
    adjustment=Adjustment(kind=AdjustmentKind.NONE),
    minimum_coverage_fraction=0.95,
)
EVERY = replace(PLAIN, selection=Selection.ALL, day_types=(replace(ALIKE, select_days=None),))


def history(power_kw: Callable[[int, int], float]) -> list[IntervalEnergy]:
    """Hours of ``power_kw(days back, hour)`` up to the event's own day; a negative power is a gap."""
    return [
        IntervalEnergy(
            starts_at=DAY - timedelta(days=back) + timedelta(hours=hour),
            duration_s=3600.0,
            energy_wh=1000.0 * power_kw(back, hour),
            coverage_fraction=1.0,
        )
        for back in range(11)
        for hour in range(24)
        if power_kw(back, hour) >= 0
    ]


def of_days(*powers_kw: float) -> list[IntervalEnergy]:
    """The same power all day: of the event's own day first, then of the days back from it."""
    return history(lambda back, _: powers_kw[back] if back < len(powers_kw) else -1.0)


def ask(method: DayMatching, load: list[IntervalEnergy], **more: Any) -> Baseline | Insufficient:
    rule = replace(shipped_rules()["10-of-10"], method=method)
    return evaluate(rule, load, event_start=START, event_end=END, timezone=UTC, **more)


def kw(found: Baseline | Insufficient) -> float:
    assert isinstance(found, Baseline), found
    return found.intervals[0].baseline_w / 1000


def reasons(found: Baseline | Insufficient) -> dict[int, str]:
    return {(DAY.date() - date.fromisoformat(day.date)).days: day.reason for day in found.days}


def test_a_day_of_low_use_makes_room_for_an_earlier_one_and_may_unmask_another():
    method = replace(EVERY, low_use=LowUse.CANDIDATE_MEAN, low_use_fraction=0.5)
    # Of 100, 20 and 48 the mean is 56: 20 is low. With 100 in its place the mean is 83, and 48 is above half of that.
    found = ask(method, of_days(0, 100, 20, 48, 100))
    assert [reasons(found)[back] for back in range(1, 5)] == ["selected", "low use", "selected", "selected"]
    assert kw(found) == pytest.approx(248 / 3)
    # Of 100, 20 and 40 it is 53; with 100 in its place the mean is 80, and 40 is not below half of it; of 110 it is.
    assert reasons(ask(method, of_days(0, 100, 20, 40, 100)))[3] == "selected"
    assert reasons(ask(method, of_days(0, 100, 20, 40, 110)))[3] == "low use"


def test_a_running_mean_is_seeded_by_the_highest_day():
    method = replace(EVERY, low_use=LowUse.RUNNING_MEAN, low_use_fraction=0.25)
    # 24 is below a quarter of 100, the highest. 30 and 40 are not; 9 is above a quarter of their mean, 35: 8.75.
    found = ask(method, of_days(0, 24, 30, 40, 9, 100))
    assert [reasons(found)[back] for back in range(1, 6)] == [
        "low use", "selected", "selected", "selected", "not needed"
    ]  # fmt: skip
    assert kw(found) == pytest.approx(79 / 3)
    assert "24.000 kW in the event's hours, below 25% of 100.000 kW" in {day.detail for day in found.days}


def test_the_window_moves_back_to_where_it_is_clean():
    method = replace(PLAIN, adjustment=replace(ADDED, search_back_h=8.0))

    def climbing(back: int, hour: int) -> float:
        return 100.0 + (10.0 * hour if back == 0 else 0.0)

    assert kw(ask(method, history(climbing))) == pytest.approx(100 + 10 * (11 + 12 + 13) / 3)
    held = [(DAY + timedelta(hours=12), DAY + timedelta(hours=13))]
    moved = ask(method, history(climbing), excluded=held)
    assert kw(moved) == pytest.approx(100 + 10 * (9 + 10 + 11) / 3)
    gap = history(lambda back, hour: -1.0 if (back, hour) == (0, 10) else climbing(back, hour))
    assert kw(ask(method, gap, excluded=held)) == pytest.approx(100 + 10 * (7 + 8 + 9) / 3)
    nowhere = ask(replace(method, adjustment=replace(ADDED, search_back_h=1.0)), gap, excluded=held)
    assert isinstance(nowhere, Insufficient)
    assert nowhere.reason == "no 3 hours without an event or a gap in the 1 hours before the event"


def test_what_a_site_does_after_the_notice_moves_no_adjustment_from_before_it():
    method = replace(PLAIN, adjustment=replace(ADDED, anchor=Anchor.NOTICE))
    told_at = DAY + timedelta(hours=10)
    raised = history(lambda back, hour: 500.0 if back == 0 and hour >= 10 else 100.0)
    assert kw(ask(method, raised, noticed_at=told_at)) == pytest.approx(100)
    assert kw(ask(replace(method, adjustment=ADDED), raised)) == pytest.approx(500)
    untold = ask(method, raised)
    assert isinstance(untold, Insufficient)
    assert "give the time at which the site was told" in untold.reason


def test_days_are_counted_from_the_notice():
    method = replace(EVERY, count_from=Anchor.NOTICE)
    found = ask(method, of_days(0, 500, 500, 500, 10, 20, 30, 40), noticed_at=DAY - timedelta(days=3))
    assert min(reasons(found)) == 4
    assert kw(found) == pytest.approx(20)


def test_the_last_days_are_taken_whatever_they_drew():
    found = ask(replace(PLAIN, selection=Selection.LAST), of_days(0, 10, 20, 90, 90))
    assert kw(found) == pytest.approx(15)
    assert [reasons(found)[back] for back in range(1, 5)] == ["selected", "selected", "not last", "not needed"]


def test_weights_go_by_rank():
    weighed = replace(PLAIN, day_types=(replace(ALIKE, weights=(3.0, 1.0)),))
    assert kw(ask(weighed, of_days(0, 10, 20, 90))) == pytest.approx((3 * 90 + 20) / 4)
    # One day alone carries the whole.
    assert kw(ask(weighed, of_days(0, 10))) == pytest.approx(10)
