"""What a contract leaves, and which calls it allows."""

from dataclasses import replace
from datetime import UTC, date, datetime, time, timedelta
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.contract import Call, Contract, ContractWindow, Fit, Season, contract_fit, contract_left

PHOENIX = ZoneInfo("America/Phoenix")
BERLIN = ZoneInfo("Europe/Berlin")
SUMMER = Season(first=(6, 1), last=(9, 30))
WEEKDAY_EVENINGS = ContractWindow(weekdays=frozenset(range(5)), from_time=time(14), to_time=time(20), season=SUMMER)
CONTRACT = Contract(
    committed_w=25_000.0,
    windows=(WEEKDAY_EVENINGS,),
    season=SUMMER,
    notice_s=1800.0,
    min_duration_s=3600.0,
    max_duration_s=4 * 3600.0,
    calls_per_day=1,
    calls_per_season=3,
    hours_per_season=8.0,
    rest_s=20 * 3600.0,
)


def call(day: int, hour: int, hours: float | None = 2.0, month: int = 7, zone: ZoneInfo = PHOENIX) -> Call:
    starts_at = datetime(2026, month, day, hour, tzinfo=zone)
    return Call(starts_at=starts_at, ends_at=None if hours is None else starts_at + timedelta(hours=hours))


def fit(asked: Call, *before: Call, contract: Contract = CONTRACT, notice_s: float = 3600.0) -> Fit:
    notified_at = asked.starts_at - timedelta(seconds=notice_s)
    return contract_fit(contract, before, asked, notified_at=notified_at, zone=PHOENIX)


def test_a_first_call_within_everything_fits() -> None:
    assert fit(call(1, 16)) == Fit()
    assert fit(call(1, 16)).fits


@pytest.mark.parametrize(
    ("asked", "why"),
    [
        (call(4, 16), "Saturday, 4 July at 16:00"),
        (call(1, 13), "not within any window"),
        (call(1, 19), "not within any window"),
        (call(1, 16, month=12), "not within any window"),
        (call(1, 16, 0.5), "30 min is shorter than the 60 min"),
        (call(1, 14, 5.0), "300 min is longer than the 240 min"),
    ],
)
def test_a_call_outside_of_the_bounds_is_told_why(asked: Call, why: str) -> None:
    found = fit(asked)
    assert not found.fits
    assert len(found.reasons) == 1
    assert why in found.reasons[0]


def test_short_notice_is_told_with_both_figures() -> None:
    assert fit(call(1, 16), notice_s=600.0).reasons == ("notice of 10 min is under the 30 min agreed",)
    assert fit(call(1, 16), notice_s=1800.0).fits


def test_calls_of_the_day_and_rest_count_from_those_before() -> None:
    found = fit(call(1, 18), call(1, 15))
    assert found.reasons == (
        "all 1 calls of the day were made",
        "the rest after the last call lasts until 13:00 on 2 July",
    )
    assert fit(call(2, 14), call(1, 15)).fits


def test_calls_and_hours_of_the_season() -> None:
    three = (call(1, 15), call(6, 15), call(8, 15))
    assert fit(call(13, 15), *three).reasons == ("all 3 calls of the season were made",)
    long = (call(1, 15, 4.0), call(6, 15, 3.0))
    assert fit(call(13, 15, 1.0), *long).fits
    assert fit(call(13, 15, 2.0), *long).reasons == ("1.0 of 8.0 hours of the season are left",)


def test_another_season_and_later_calls_do_not_count() -> None:
    last_year = tuple(
        Call(starts_at=found.starts_at.replace(year=2025), ends_at=found.ends_at and found.ends_at.replace(year=2025))
        for found in (call(1, 15), call(2, 15), call(3, 15))
    )
    assert fit(call(1, 15), *last_year, call(2, 15), call(3, 15), call(6, 15)).fits


def test_what_is_left_after_two_calls() -> None:
    left = contract_left(CONTRACT, [call(1, 15, 3.0), call(6, 15)], call(6, 18).starts_at, PHOENIX)
    assert left.calls_today == 0
    assert left.calls_this_season == 1
    assert left.hours_this_season == 3.0
    assert left.rests_until == datetime(2026, 7, 7, 13, tzinfo=PHOENIX)


def test_without_bounds_nothing_is_counted() -> None:
    free = Contract(committed_w=1.0)
    left = contract_left(free, [call(1, 15)], call(1, 18).starts_at, PHOENIX)
    assert (left.calls_today, left.calls_this_season, left.hours_this_season, left.rests_until) == (None,) * 4
    assert fit(call(4, 3, 30.0), call(4, 0, 1.0), contract=free).fits


def test_a_call_without_an_end_counts_with_its_longest_and_forbids_the_next_where_there_is_none() -> None:
    left = contract_left(CONTRACT, [call(1, 15, None)], call(2, 16).starts_at, PHOENIX)
    assert left.hours_this_season == 4.0
    assert fit(call(1, 19, None)).fits
    endless = replace(CONTRACT, max_duration_s=None, hours_per_season=None)
    assert "the rest after the last call" in fit(call(9, 16), call(1, 15, None), contract=endless).reasons[0]


def test_a_window_over_midnight_belongs_to_the_day_it_opens_on() -> None:
    nights = ContractWindow(weekdays=frozenset({4}), from_time=time(22), to_time=time(2))
    contract = Contract(committed_w=1.0, windows=(nights,))
    assert fit(call(4, 0, 2.0), contract=contract).fits
    assert fit(call(3, 23, 1.0), contract=contract).fits
    assert not fit(call(4, 0, 3.0), contract=contract).fits
    assert not fit(call(4, 23, 1.0), contract=contract).fits


def test_a_season_over_the_new_year_is_one_season() -> None:
    winter = Season(first=(11, 1), last=(2, 28))
    assert winter.year_of(date(2026, 12, 1)) == winter.year_of(date(2027, 2, 28)) == 2026
    assert winter.year_of(date(2026, 7, 1)) is None


def test_windows_are_on_the_site_s_clock_through_the_change_of_time() -> None:
    # Clocks in Berlin go back on 25 October 2026 at 03:00: 13:00 UTC is 15:00 on the 24th and 14:00 on the 25th.
    afternoons = ContractWindow(from_time=time(15), to_time=time(18))
    contract = Contract(committed_w=1.0, windows=(afternoons,))
    for day, fits in ((24, True), (25, False)):
        starts_at = datetime(2026, 10, day, 13, tzinfo=UTC)
        asked = Call(starts_at=starts_at, ends_at=starts_at + timedelta(hours=1))
        assert contract_fit(contract, [], asked, notified_at=starts_at, zone=BERLIN).fits is fits
