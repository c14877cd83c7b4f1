from collections.abc import Callable
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.baseline.engine import evaluate
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import Rule, parse_rule, shipped_rules
from gateway.domain.measurement import IntervalEnergy

PACIFIC = ZoneInfo("America/Los_Angeles")
CAISO = shipped_rules()["caiso-10-in-10"]
BEFORE_AFTER = shipped_rules()["meter-before-after"]
WEDNESDAY = date(2025, 6, 18)


def at(day: date, hour: int, minute: int = 0) -> datetime:
    return datetime.combine(day, time(hour, minute), tzinfo=PACIFIC)


TWO, FOUR = at(WEDNESDAY, 14), at(WEDNESDAY, 16)


def interval(start: datetime, power_w: float, *, duration_s: float = 900.0, coverage: float = 1.0) -> IntervalEnergy:
    return IntervalEnergy(
        starts_at=start.astimezone(UTC),
        duration_s=duration_s,
        energy_wh=power_w * duration_s * coverage / 3600,
        coverage_fraction=coverage,
    )


def load(
    event_day: date,
    power_w: Callable[[datetime], float | None],
    *,
    days_back: int = 45,
    interval_s: int = 900,
) -> list[IntervalEnergy]:
    """Every interval of the days up to and with the event's; ``power_w`` gets local time and may say None."""
    first = datetime.combine(event_day - timedelta(days=days_back), time(), tzinfo=PACIFIC).astimezone(UTC)
    last = datetime.combine(event_day + timedelta(days=1), time(), tzinfo=PACIFIC).astimezone(UTC)
    starts = [
        first + timedelta(seconds=n * interval_s) for n in range(int((last - first).total_seconds()) // interval_s)
    ]
    found = [(start, power_w(start.astimezone(PACIFIC))) for start in starts]
    return [interval(start, value, duration_s=interval_s) for start, value in found if value is not None]


def answer(
    history: list[IntervalEnergy],
    *,
    rule: Rule = CAISO,
    start: datetime = TWO,
    end: datetime = FOUR,
    **more,
) -> Baseline | Insufficient:
    return evaluate(rule, history, event_start=start, event_end=end, timezone=PACIFIC, **more)


def baseline(history: list[IntervalEnergy], **more) -> Baseline:
    found = answer(history, **more)
    assert isinstance(found, Baseline), found
    return found


def insufficient(history: list[IntervalEnergy], **more) -> Insufficient:
    found = answer(history, **more)
    assert isinstance(found, Insufficient), found
    return found


def reasons(found: Baseline | Insufficient) -> dict[str, str]:
    return {day.date: day.reason for day in found.days}


def selected(found: Baseline | Insufficient) -> list[str]:
    return [day.date for day in found.days if day.selected]


def test_ten_business_days_back_from_a_business_day():
    found = baseline(load(WEDNESDAY, lambda _: 50_000.0))
    assert selected(found) == [
        "2025-06-17", "2025-06-16", "2025-06-13", "2025-06-12", "2025-06-11",
        "2025-06-10", "2025-06-09", "2025-06-06", "2025-06-05", "2025-06-04",
    ]  # fmt: skip
    assert len(found.days) == 45
    why = reasons(found)
    assert why["2025-06-17"] == "selected"
    assert why["2025-06-15"] == "weekend"
    assert why["2025-06-03"] == "not needed"
    assert why["2025-05-26"] == "holiday"
    assert next(day.detail for day in found.days if day.date == "2025-05-26") == "Memorial Day"
    assert (found.rule, found.rule_version) == ("caiso-10-in-10", CAISO.version)


def test_the_baseline_is_the_mean_of_the_days_and_the_reduction_is_signed():
    def power_w(local: datetime) -> float:
        if local.date() == WEDNESDAY:
            return 30_000.0 if local.hour == 14 else 45_000.0
        return 40_000.0 + 1_000.0 * (local.date() - WEDNESDAY).days % 2

    found = baseline(load(WEDNESDAY, power_w))
    assert found.adjustment.raw == pytest.approx(45_000 / found.intervals[0].unadjusted_w)
    assert len(found.intervals) == 8
    first, last = found.intervals[0], found.intervals[-1]
    assert first.baseline_w == pytest.approx(45_000.0)
    assert (first.measured_w, first.reduction_w) == (pytest.approx(30_000.0), pytest.approx(15_000.0))
    assert last.reduction_w == pytest.approx(0.0, abs=1e-6)
    assert (first.starts_at, first.duration_s) == (at(WEDNESDAY, 14).astimezone(UTC), 900.0)


def test_more_load_than_the_baseline_is_a_negative_reduction():
    found = baseline(load(WEDNESDAY, lambda local: 60_000.0 if local >= at(WEDNESDAY, 14) else 50_000.0))
    assert [item.reduction_w for item in found.intervals] == [pytest.approx(-10_000.0)] * 8


def test_four_non_business_days_for_an_event_on_a_holiday():
    independence_day = date(2025, 7, 4)
    found = baseline(
        load(independence_day, lambda _: 50_000.0), start=at(independence_day, 14), end=at(independence_day, 16)
    )
    assert selected(found) == ["2025-06-29", "2025-06-28", "2025-06-22", "2025-06-21"]
    assert reasons(found)["2025-07-03"] == "business day"


def test_a_holiday_counts_among_the_non_business_days():
    saturday = date(2025, 5, 31)
    found = baseline(load(saturday, lambda _: 50_000.0), start=at(saturday, 14), end=at(saturday, 16))
    assert selected(found) == ["2025-05-26", "2025-05-25", "2025-05-24", "2025-05-18"]


def test_an_event_day_is_left_out_whatever_it_drew():
    event_day = date(2025, 6, 12)
    excluded = [(at(event_day, 9), at(event_day, 10))]
    plain = baseline(load(WEDNESDAY, lambda _: 50_000.0), excluded=excluded)
    wild = baseline(load(WEDNESDAY, lambda local: 1.0 if local.date() == event_day else 50_000.0), excluded=excluded)
    assert reasons(plain)["2025-06-12"] == "event day"
    assert selected(plain)[-1] == "2025-06-03"
    assert wild == plain


def test_an_event_that_ends_at_midnight_does_not_close_the_next_day():
    found = baseline(
        load(WEDNESDAY, lambda _: 50_000.0), excluded=[(at(date(2025, 6, 11), 22), at(date(2025, 6, 12), 0))]
    )
    assert reasons(found)["2025-06-11"] == "event day"
    assert reasons(found)["2025-06-12"] == "selected"


def test_an_event_in_the_evening_closes_the_day_whose_window_reaches_back_into_it():
    # For an event at one in the morning the adjustment window is from nine to midnight of the evening before.
    evening = date(2025, 6, 12)
    found = baseline(
        load(WEDNESDAY, lambda _: 50_000.0),
        start=at(WEDNESDAY, 1),
        end=at(WEDNESDAY, 2),
        excluded=[(at(evening, 22), at(evening, 23))],
    )
    assert reasons(found)["2025-06-12"] == "event day"
    assert reasons(found)["2025-06-13"] == "event day"
    assert reasons(found)["2025-06-16"] == "selected"


@pytest.mark.parametrize(
    ("hour", "minute", "reason"),
    [
        (9, 45, "selected"),
        (10, 0, "incomplete"),
        (12, 45, "incomplete"),
        (13, 0, "selected"),
        (13, 45, "selected"),
        (14, 0, "incomplete"),
        (15, 45, "incomplete"),
        (16, 0, "selected"),
    ],
)
def test_a_day_that_misses_an_interval_of_either_window_is_passed_over(hour: int, minute: int, reason: str):
    hole = at(date(2025, 6, 17), hour, minute)
    found = baseline(load(WEDNESDAY, lambda local: None if local == hole else 50_000.0))
    assert reasons(found)["2025-06-17"] == reason
    assert len(selected(found)) == 10
    if reason == "incomplete":
        assert found.days[0].detail == "1 of 20 intervals are missing"


def test_an_interval_that_is_hardly_covered_counts_as_missing():
    history = load(WEDNESDAY, lambda local: None if local == at(date(2025, 6, 17), 14) else 50_000.0)
    for coverage, reason in ((0.94, "incomplete"), (0.96, "selected")):
        scanty = interval(at(date(2025, 6, 17), 14), 50_000.0, coverage=coverage)
        assert reasons(baseline([*history, scanty]))["2025-06-17"] == reason


def test_power_is_taken_over_the_covered_share():
    history = load(WEDNESDAY, lambda local: None if local == at(WEDNESDAY, 14) else 50_000.0)
    found = baseline([*history, interval(at(WEDNESDAY, 14), 30_000.0, coverage=0.96)])
    assert found.intervals[0].measured_w == pytest.approx(30_000.0)


def test_an_interval_given_twice_with_different_energy_counts_as_missing():
    history = load(WEDNESDAY, lambda _: 50_000.0)
    again = interval(at(date(2025, 6, 17), 14), 50_000.0)
    other = interval(at(date(2025, 6, 17), 14), 51_000.0)
    assert reasons(baseline([*history, again]))["2025-06-17"] == "selected"
    assert reasons(baseline([*history, other]))["2025-06-17"] == "incomplete"
    assert baseline([other, *history]) == baseline([*history, other])


def test_fewer_than_ten_days_are_enough_down_to_the_minimum():
    found = baseline(load(WEDNESDAY, lambda _: 50_000.0, days_back=7))
    assert len(selected(found)) == 5


def test_below_the_minimum_the_answer_says_what_is_missing():
    found = insufficient(load(WEDNESDAY, lambda _: 50_000.0, days_back=6))
    assert found.reason == (
        "4 usable business days where the rule needs at least 5: of the 31 in the 45 days before 2025-06-18, 27 lack "
        "readings and 0 had an event; the readings begin at 2025-06-12T00:00:00-07:00"
    )
    assert len(found.days) == 45
    assert reasons(found)["2025-06-11"] == "incomplete"


def test_event_days_with_the_highest_load_are_taken_back_up_to_the_minimum():
    # Three free days before the event; on every other business day there was an event, the later the smaller the load.
    event_days = [date(2025, 6, 4), date(2025, 6, 5), date(2025, 6, 6), date(2025, 6, 9), date(2025, 6, 10)]
    drawn = dict(zip(event_days, [10.0, 40.0, 30.0, 20.0, 5.0], strict=True))
    free = [date(2025, 6, 13), date(2025, 6, 16), date(2025, 6, 17)]

    def power_w(local: datetime) -> float | None:
        if local.date() in drawn:
            # Only the event's hours rank: the morning is the other way round.
            return 1000.0 * (drawn[local.date()] if local.hour >= 14 else 100 - drawn[local.date()])
        return 50_000.0 if local.date() in free or local.date() == WEDNESDAY else None

    excluded = [(at(day, 18), at(day, 19)) for day in event_days]
    found = baseline(load(WEDNESDAY, power_w), excluded=excluded)
    why = reasons(found)
    assert selected(found) == ["2025-06-17", "2025-06-16", "2025-06-13", "2025-06-06", "2025-06-05"]
    assert (why["2025-06-05"], why["2025-06-06"], why["2025-06-09"]) == ("refilled", "refilled", "event day")


def test_an_event_day_without_readings_is_not_taken_back():
    free = [date(2025, 6, 12), date(2025, 6, 13), date(2025, 6, 16), date(2025, 6, 17), WEDNESDAY]
    gone = date(2025, 6, 11)
    found = insufficient(
        load(WEDNESDAY, lambda local: 50_000.0 if local.date() in free else None),
        excluded=[(at(gone, 14), at(gone, 15))],
    )
    assert reasons(found)["2025-06-11"] == "event day"
    assert "1 had an event" in found.reason


@pytest.mark.parametrize(
    ("own_w", "raw", "applied"),
    [(55_000.0, 1.1, 1.1), (75_000.0, 1.5, 1.2), (20_000.0, 0.4, 0.8), (0.0, 0.0, 0.8)],
)
def test_the_ratio_is_bounded(own_w: float, raw: float, applied: float):
    found = baseline(load(WEDNESDAY, lambda local: own_w if local.date() == WEDNESDAY else 50_000.0))
    assert found.adjustment.kind == "multiplicative"
    assert found.adjustment.raw == pytest.approx(raw)
    assert found.adjustment.applied == pytest.approx(applied)
    assert [item.baseline_w for item in found.intervals] == [pytest.approx(50_000.0 * applied)] * 8
    assert {item.unadjusted_w for item in found.intervals} == {50_000.0}


@pytest.mark.parametrize(
    ("hour", "minute", "moves"),
    [(9, 45, False), (10, 0, True), (12, 45, True), (13, 0, False), (13, 45, False)],
)
def test_the_adjustment_window_is_three_hours_that_end_one_hour_before(hour: int, minute: int, moves: bool):
    found = baseline(load(WEDNESDAY, lambda local: 62_000.0 if local == at(WEDNESDAY, hour, minute) else 50_000.0))
    assert found.adjustment.raw == pytest.approx(1.02 if moves else 1.0)


def test_without_the_days_own_adjustment_window_there_is_no_baseline():
    found = insufficient(load(WEDNESDAY, lambda local: None if local == at(WEDNESDAY, 10, 15) else 50_000.0))
    assert found.reason == (
        "1 of the 12 intervals of the adjustment window are missing on the event's own day, the first at "
        "2025-06-18T10:15:00-07:00"
    )
    assert len(selected(found)) == 10


@pytest.mark.parametrize("idle_w", [0.0, -100.0])
def test_no_ratio_to_nothing(idle_w: float):
    found = insufficient(load(WEDNESDAY, lambda local: 50_000.0 if local.date() == WEDNESDAY else idle_w))
    assert "no ratio can be taken" in found.reason


def test_an_interval_of_the_event_without_a_reading_has_a_baseline_and_no_reduction():
    found = baseline(load(WEDNESDAY, lambda local: None if local == at(WEDNESDAY, 14, 15) else 50_000.0))
    assert found.intervals[1].baseline_w == 50_000.0
    assert (found.intervals[1].measured_w, found.intervals[1].reduction_w) == (None, None)
    assert found.intervals[2].reduction_w == pytest.approx(0.0)


def test_days_are_compared_by_the_clock_on_the_wall_across_a_clock_change():
    monday = date(2025, 3, 10)
    assert at(date(2025, 3, 7), 12).utcoffset() != at(monday, 12).utcoffset()
    found = baseline(load(monday, lambda local: 1000.0 * (local.hour + 1)), start=at(monday, 14), end=at(monday, 16))
    assert [item.baseline_w for item in found.intervals] == [pytest.approx(15_000.0)] * 4 + [
        pytest.approx(16_000.0)
    ] * 4
    assert found.adjustment.raw == pytest.approx(1.0)


def test_hours_that_the_clock_skipped_are_missing():
    saturday = date(2025, 3, 15)
    found = baseline(load(saturday, lambda _: 50_000.0), start=at(saturday, 2), end=at(saturday, 3))
    skipped = next(day for day in found.days if day.date == "2025-03-09")
    assert (skipped.reason, skipped.detail) == (
        "incomplete",
        "4 of 16 intervals are missing, 4 of them skipped by the clock change",
    )


def test_of_hours_that_the_clock_shows_twice_the_first_counts():
    saturday = date(2025, 11, 8)

    def power_w(local: datetime) -> float:
        return 90_000.0 if local.date() == date(2025, 11, 2) and local.hour == 1 and local.fold else 50_000.0

    found = baseline(load(saturday, power_w), start=at(saturday, 1), end=at(saturday, 2))
    assert "2025-11-02" in selected(found)
    assert [item.unadjusted_w for item in found.intervals] == [50_000.0] * 4


def test_an_event_in_the_repeated_hour_is_compared_with_the_one_hour_of_other_days():
    sunday = date(2025, 11, 2)
    start = at(sunday, 1).astimezone(UTC)
    found = baseline(load(sunday, lambda local: 1000.0 * (1 + local.hour)), start=start, end=start + timedelta(hours=2))
    assert [item.unadjusted_w for item in found.intervals] == [pytest.approx(2000.0)] * 8


def test_an_event_off_the_grid_takes_every_interval_that_overlaps_it():
    found = baseline(load(WEDNESDAY, lambda _: 50_000.0), start=at(WEDNESDAY, 14, 5), end=at(WEDNESDAY, 14, 50))
    assert [item.starts_at for item in found.intervals] == [
        at(WEDNESDAY, 14, minute).astimezone(UTC) for minute in (0, 15, 30, 45)
    ]
    assert len(found.notes) == 1
    assert "900 s" in found.notes[0]
    assert baseline(load(WEDNESDAY, lambda _: 50_000.0)).notes == ()


def test_a_meter_whose_intervals_begin_off_the_hour_keeps_its_own_grid():
    shifted = [
        interval(item.starts_at + timedelta(minutes=7), 50_000.0) for item in load(WEDNESDAY, lambda _: 50_000.0)
    ]
    found = baseline(shifted)
    assert found.intervals[0].starts_at == at(WEDNESDAY, 13, 52).astimezone(UTC)
    assert len(found.intervals) == 9


def test_slices_of_another_length_do_not_disturb_the_grid():
    history = load(WEDNESDAY, lambda _: 50_000.0)
    extra = [interval(at(WEDNESDAY, 14) + timedelta(minutes=n), 1.0, duration_s=60.0) for n in range(30)]
    assert baseline([*extra, *history]) == baseline(history)


def test_between_two_grids_that_are_equally_common_the_finer_one_is_taken():
    quarters = [interval(at(WEDNESDAY, 13, minute), 100.0) for minute in (30, 45)]
    five = [interval(at(WEDNESDAY, 14, minute), 60.0, duration_s=300.0) for minute in (0, 5)]
    for history in ([*quarters, *five], [*five, *quarters]):
        assert baseline(history, rule=BEFORE_AFTER).intervals[0].duration_s == 300.0


def test_an_event_over_midnight_reads_the_other_days_over_midnight():
    found = baseline(
        load(WEDNESDAY, lambda local: 60_000.0 if local.hour < 1 else 50_000.0),
        start=at(WEDNESDAY - timedelta(days=1), 23),
        end=at(WEDNESDAY, 1),
    )
    assert found.days[0].date == "2025-06-16"
    assert [item.unadjusted_w for item in found.intervals] == [50_000.0] * 4 + [60_000.0] * 4


def test_the_day_before_an_event_of_more_than_a_day_would_reach_into_it():
    start = at(WEDNESDAY - timedelta(days=1), 12)
    found = baseline(load(WEDNESDAY, lambda _: 50_000.0), start=start, end=start + timedelta(hours=30))
    assert found.days[0].date == "2025-06-16"
    assert found.days[0].reason == "event day"
    assert found.days[1].reason == "weekend"
    assert selected(found)[0] == "2025-06-13"


def test_no_readings_at_all():
    assert insufficient([]).reason == "there are no readings at all"
    assert insufficient([], rule=BEFORE_AFTER).reason.endswith("there is none before it at all")


@pytest.mark.parametrize(
    ("start", "end", "words"),
    [
        (at(WEDNESDAY, 14), at(WEDNESDAY, 14), "not after its start"),
        (at(WEDNESDAY, 14), at(WEDNESDAY, 13), "not after its start"),
        (datetime(2025, 6, 18, 14), datetime(2025, 6, 18, 16), "no time zone"),  # noqa: DTZ001 - naive is the point
    ],
)
def test_an_event_that_is_none_is_refused(start: datetime, end: datetime, words: str):
    with pytest.raises(ValueError, match=words):
        answer(load(WEDNESDAY, lambda _: 1.0, days_back=1), start=start, end=end)


def test_an_interval_without_duration_is_refused():
    with pytest.raises(ValueError, match="lasts 0"):
        answer([IntervalEnergy(starts_at=at(WEDNESDAY, 1), duration_s=0.0, energy_wh=1.0, coverage_fraction=1.0)])


THREE_TYPES = """
id = "three-types"
version = "0"
title = "Three day types, all days, additive"
source = "made up for this test"
clause = "as the keys say"
read = "in the text"
kind = "day-matching"
[days]
look_back_days = 30
calendar = "none"
exclude_event_days = false
refill = "none"
selection = "all"
[[day_types]]
name = "weekday"
weekdays = ["mon", "tue", "wed", "thu", "fri"]
holidays = false
target_days = 4
minimum_days = 2
[[day_types]]
name = "Saturday"
weekdays = ["sat"]
holidays = false
target_days = 2
minimum_days = 2
[[day_types]]
name = "Sunday"
weekdays = ["sun"]
holidays = true
target_days = 2
minimum_days = 2
[adjustment]
kind = "additive"
from_h = -2
to_h = -1
[readings]
minimum_coverage_fraction = 1.0
""".replace('"in the text"', '"read in the text"')


def test_another_sheet_gives_another_rule():
    rule = parse_rule(THREE_TYPES)
    found = baseline(
        load(WEDNESDAY, lambda local: 57_000.0 if local.date() == WEDNESDAY else 50_000.0),
        rule=rule,
        excluded=[(at(date(2025, 6, 17), 14), at(date(2025, 6, 17), 15))],
    )
    assert selected(found) == ["2025-06-17", "2025-06-16", "2025-06-13", "2025-06-12"]
    assert found.adjustment.kind == "additive"
    assert (found.adjustment.raw, found.adjustment.applied) == (pytest.approx(7000.0), pytest.approx(7000.0))
    assert found.intervals[0].baseline_w == pytest.approx(57_000.0)
    saturday = date(2025, 6, 21)
    on_saturday = baseline(load(saturday, lambda _: 50_000.0), rule=rule, start=at(saturday, 14), end=at(saturday, 16))
    assert selected(on_saturday) == ["2025-06-14", "2025-06-07"]
    assert reasons(on_saturday)["2025-06-20"] == "weekday day"


def test_a_rule_without_adjustment_leaves_the_mean_as_it_is():
    text = THREE_TYPES.replace('kind = "additive"\nfrom_h = -2\nto_h = -1', 'kind = "none"')
    found = baseline(
        load(WEDNESDAY, lambda local: 9.0 if local.date() == WEDNESDAY else 50_000.0), rule=parse_rule(text)
    )
    assert (found.adjustment.kind, found.adjustment.raw, found.adjustment.applied) == ("none", None, None)
    assert found.intervals[0].baseline_w == found.intervals[0].unadjusted_w == 50_000.0


def minutes(first: datetime, powers_w: list[float]) -> list[IntervalEnergy]:
    return [interval(first + timedelta(minutes=n), power_w, duration_s=60.0) for n, power_w in enumerate(powers_w)]


def test_meter_before_after_is_flat_at_the_mean_of_the_last_fifteen_minutes():
    history = minutes(at(WEDNESDAY, 13, 30), [10.0] * 15 + [90.0, 110.0, 100.0] * 5 + [60.0] * 60 + [80.0] * 20)
    found = baseline(history, rule=BEFORE_AFTER, end=at(WEDNESDAY, 15))
    assert [item.baseline_w for item in found.intervals] == [pytest.approx(100.0)] * 60
    assert [item.reduction_w for item in found.intervals] == [pytest.approx(40.0)] * 60
    assert found.after_w == pytest.approx(80.0)
    assert (found.adjustment.kind, found.adjustment.raw, found.days) == ("none", None, ())


def test_what_comes_after_the_event_is_reported_and_changes_nothing():
    history = minutes(at(WEDNESDAY, 13, 45), [100.0] * 15 + [60.0] * 60)
    without = baseline(history, rule=BEFORE_AFTER, end=at(WEDNESDAY, 15))
    after = baseline([*history, *minutes(at(WEDNESDAY, 15), [500.0] * 30)], rule=BEFORE_AFTER, end=at(WEDNESDAY, 15))
    assert (without.after_w, after.after_w) == (None, pytest.approx(500.0))
    assert after.intervals == without.intervals


def test_an_interval_that_began_within_the_event_is_no_reading_after_it():
    history = [
        interval(at(WEDNESDAY, 13, 45), 100.0),
        *(interval(at(WEDNESDAY, 15, minute), 60.0) for minute in (0, 15)),
    ]
    assert baseline(history, rule=BEFORE_AFTER, end=at(WEDNESDAY, 15, 20)).after_w is None
    assert baseline(history, rule=BEFORE_AFTER, end=at(WEDNESDAY, 15, 15)).after_w == pytest.approx(60.0)


def test_meter_before_after_takes_what_there_is():
    history = minutes(at(WEDNESDAY, 13, 57), [90.0, 100.0, 110.0, 60.0, 60.0])
    assert baseline(history, rule=BEFORE_AFTER).intervals[0].baseline_w == pytest.approx(100.0)


def test_meter_before_after_ends_where_the_ramp_begins():
    history = minutes(at(WEDNESDAY, 13, 30), [100.0] * 20 + [70.0] * 40)
    found = baseline(history, rule=BEFORE_AFTER, ramp_start=at(WEDNESDAY, 13, 50))
    assert found.intervals[0].baseline_w == pytest.approx(100.0)
    assert found.intervals[0].starts_at == at(WEDNESDAY, 14).astimezone(UTC)


def test_an_interval_that_reaches_past_the_ramp_is_left_out():
    history = [interval(at(WEDNESDAY, 13, minute), power_w) for minute, power_w in ((30, 100.0), (45, 100.0))]
    straddling = interval(at(WEDNESDAY, 14), 10.0)
    found = baseline([*history, straddling], rule=BEFORE_AFTER, start=at(WEDNESDAY, 14, 5))
    assert found.intervals[0].baseline_w == pytest.approx(100.0)
    assert found.intervals[0].starts_at == at(WEDNESDAY, 14).astimezone(UTC)


def test_an_interval_that_begins_before_the_window_counts_by_its_share():
    history = [
        interval(at(WEDNESDAY, 13, 0), 60.0, duration_s=3000.0),
        interval(at(WEDNESDAY, 13, 50), 90.0, duration_s=600.0),
    ]
    assert baseline(history, rule=BEFORE_AFTER).intervals[0].baseline_w == pytest.approx((60 * 5 + 90 * 10) / 15)


def test_what_is_hardly_covered_weighs_little():
    history = [
        interval(at(WEDNESDAY, 13, 50), 50.0, duration_s=300.0, coverage=0.1),
        interval(at(WEDNESDAY, 13, 55), 100.0, duration_s=300.0),
    ]
    assert baseline(history, rule=BEFORE_AFTER).intervals[0].baseline_w == pytest.approx((50 * 0.1 + 100) / 1.1)


def test_meter_before_after_without_readings_just_before_the_ramp():
    found = insufficient(minutes(at(WEDNESDAY, 13), [100.0] * 30), rule=BEFORE_AFTER)
    assert found.reason == (
        "no reading in the 15 minutes before 2025-06-18T14:00:00-07:00: the last one ends at 2025-06-18T13:30:00-07:00"
    )
    assert found.days == ()
