from dataclasses import replace
from datetime import timedelta
from itertools import pairwise

import pytest

from protocols.openadr3 import model
from protocols.openadr3.names import Version
from protocols.openadr3.timing import MOST_VALUES, Contradiction, is_cancelled, lay_out
from protocols.openadr3.values import FOREVER, NOW
from tests.unit.protocols.openadr3.objects import HELD, HOUR, NOON, event, values

DAY = timedelta(days=1)


def intervals(*periods: model.IntervalPeriod | None) -> tuple[model.Interval, ...]:
    return tuple(
        model.Interval(id=index, payloads=(values("PRICE", index),), period=period)
        for index, period in enumerate(periods)
    )


def at(hours: float, length: timedelta | None = None) -> model.IntervalPeriod:
    return model.IntervalPeriod(start=NOON + hours * HOUR, duration=length)


def laid(said: model.Event, version: Version = Version.V3_1) -> list[tuple[float, float | None]]:
    """Start and length of every interval, in hours from noon."""
    spans = lay_out(said, received_at=NOON, version=version)
    return [((span.starts_at - NOON) / HOUR, None if span.duration is None else span.duration / HOUR) for span in spans]


def test_intervals_follow_each_other_by_the_events_period() -> None:
    assert laid(event(intervals=intervals(None, None, None))) == [(0, 1), (1, 1), (2, 1)]


def test_an_interval_may_have_its_own_length_or_its_own_start() -> None:
    longer = intervals(None, model.IntervalPeriod(duration=2 * HOUR), None)
    assert laid(event(intervals=longer)) == [(0, 1), (1, 2), (3, 1)]
    gap = intervals(None, at(5), None)
    assert laid(event(intervals=gap)) == [(0, 1), (5, 1), (6, 1)]


def test_intervals_alone_may_say_it_all() -> None:
    assert laid(event(period=None, intervals=intervals(at(0, 2 * HOUR), at(-3, HOUR)))) == [(0, 2), (-3, 1)]


def test_a_start_at_the_beginning_of_time_is_when_the_event_was_changed() -> None:
    now = model.IntervalPeriod(start=NOW, duration=HOUR)
    changed_at = NOON + timedelta(minutes=15)
    said = event(period=now, intervals=intervals(None, now), metadata=replace(HELD, modified_at=changed_at))
    assert laid(said) == [(0.25, 1), (1.25, 1)]
    assert laid(replace(said, period=None, intervals=intervals(now, now))) == [(0.25, 1), (1.25, 1)]
    assert laid(replace(said, period=at(3, HOUR))) == [(3, 1), (4, 1)], "the event's own start comes first"
    assert laid(replace(said, metadata=None)) == [(0, 1), (1, 1)], "without a VTN it is when it was received"


def test_a_duration_of_ten_years_and_more_has_no_end() -> None:
    for length in (FOREVER, timedelta(days=20_000)):
        assert laid(event(period=model.IntervalPeriod(start=NOON, duration=length), intervals=intervals(None))) == [
            (0, None)
        ]


def test_intervals_of_no_duration_are_left_out_and_in_3_0_have_no_end() -> None:
    said = event(intervals=intervals(None, model.IntervalPeriod(start=NOON + HOUR, duration=timedelta(0))))
    assert laid(said) == [(0, 1)]
    assert laid(said, Version.V3_0) == [(0, 1), (1, None)]
    no_length = event(period=model.IntervalPeriod(start=NOON), intervals=intervals(None))
    assert laid(no_length, Version.V3_0) == [(0, None)]


@pytest.mark.parametrize(
    ("said", "why"),
    [
        (event(period=None, intervals=intervals(None)), "nothing says when it begins"),
        (event(period=model.IntervalPeriod(duration=HOUR), intervals=intervals(None)), "nothing says when it begins"),
        (event(period=model.IntervalPeriod(start=NOON), intervals=intervals(None)), "interval 0 has no duration"),
        (event(intervals=intervals(None, at(1, -HOUR))), "interval 1 has a negative duration"),
        (event(intervals=intervals(at(0, FOREVER), None)), "interval 1 follows one that has no end"),
        (event(intervals=intervals(None), duration=-HOUR), "the event has a negative duration"),
        (
            event(
                period=model.IntervalPeriod(start=NOON.replace(year=9999), duration=3000 * DAY),
                intervals=intervals(None, None),
            ),
            "leave the calendar",
        ),
        (
            event(intervals=(model.Interval(id=0, payloads=(values("PRICE", *range(MOST_VALUES + 1)),)),)),
            f"{MOST_VALUES + 2} intervals and values over time",
        ),
        (
            event(
                intervals=(model.Interval(id=0, payloads=()),) * 2,
                period=model.IntervalPeriod(start=NOON, duration=timedelta(microseconds=1)),
                duration=FOREVER,
            ),
            "values over time",
        ),
    ],
)
def test_an_event_that_contradicts_itself_says_why(said: model.Event, why: str) -> None:
    with pytest.raises(Contradiction, match=why):
        lay_out(said, received_at=NOON, version=Version.V3_1)


def test_the_events_duration_cuts_intervals_short() -> None:
    said = event(intervals=intervals(None, None, None), duration=1.5 * HOUR)
    assert laid(said) == [(0, 1), (1, 0.5)]
    endless = event(intervals=intervals(at(0, FOREVER)), duration=2 * HOUR)
    assert laid(endless) == [(0, 2)]


def test_a_duration_of_zero_says_nothing() -> None:
    assert laid(event(intervals=intervals(None, None), duration=timedelta(0))) == [(0, 1), (1, 1)]


def test_the_events_duration_repeats_intervals() -> None:
    assert laid(event(intervals=intervals(None, None), duration=3.5 * HOUR)) == [(0, 1), (1, 1), (2, 1), (3, 0.5)]
    assert laid(event(intervals=intervals(None), duration=5 * HOUR)) == [(0, 5)], "one interval only lasts longer"
    assert laid(event(intervals=intervals(None), duration=FOREVER)) == [(0, None)]


def test_intervals_that_repeat_for_ever_are_laid_out_around_now_for_a_year() -> None:
    daily = event(
        period=model.IntervalPeriod(start=NOON - 1000 * DAY, duration=12 * HOUR),
        intervals=intervals(None, None),
        duration=FOREVER,
    )
    found = laid(daily)
    assert found[0] == (-24, 12)
    assert found[-1][0] >= 366 * 24 - 12
    assert len(found) == 2 * 367
    assert {(after[0] - before[0]) for before, after in pairwise(found)} == {12}


def test_what_repeated_until_long_ago_keeps_its_last_round() -> None:
    over = event(
        period=model.IntervalPeriod(start=NOON - 1000 * DAY, duration=12 * HOUR),
        intervals=intervals(None, None),
        duration=10 * DAY,
    )
    assert laid(over)[-1] == (-990 * 24 - 12, 12)


def test_a_window_of_no_duration_at_the_beginning_of_time_is_a_cancel() -> None:
    gone = model.IntervalPeriod(start=NOW, duration=timedelta(0))
    assert is_cancelled(event(values("SIMPLE", 1), period=gone))
    assert is_cancelled(event(period=gone, intervals=intervals(None, gone)))
    assert not is_cancelled(event(period=gone)), "an event without intervals asks for reports"
    assert not is_cancelled(event(period=gone, intervals=intervals(at(0, HOUR)))), "an interval has its own window"
    assert not is_cancelled(event(values("SIMPLE", 1)))
