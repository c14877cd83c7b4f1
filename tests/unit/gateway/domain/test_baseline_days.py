from datetime import UTC, date, datetime
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.baseline.days import midnight, nerc_holidays, same_wall_clock

PACIFIC = ZoneInfo("America/Los_Angeles")


# 2010 is the year that NERC's own table was read for; the others exercise the rule for a Sunday and for a Saturday.
@pytest.mark.parametrize(
    ("year", "days"),
    [
        (2010, ["2010-01-01", "2010-05-31", "2010-07-05", "2010-09-06", "2010-11-25", "2010-12-25"]),
        (2013, ["2013-01-01", "2013-05-27", "2013-07-04", "2013-09-02", "2013-11-28", "2013-12-25"]),
        (2022, ["2022-01-01", "2022-05-30", "2022-07-04", "2022-09-05", "2022-11-24", "2022-12-26"]),
        (2023, ["2023-01-02", "2023-05-29", "2023-07-04", "2023-09-04", "2023-11-23", "2023-12-25"]),
        (2025, ["2025-01-01", "2025-05-26", "2025-07-04", "2025-09-01", "2025-11-27", "2025-12-25"]),
    ],
)
def test_the_six_nerc_holidays(year: int, days: list[str]):
    assert sorted(day.isoformat() for day in nerc_holidays(year)) == days


def test_holidays_have_their_names():
    assert nerc_holidays(2010)[date(2010, 7, 5)] == "Independence Day"


def test_the_same_time_on_another_day_across_a_clock_change():
    monday, friday = date(2025, 3, 10), date(2025, 3, 7)
    noon = datetime(2025, 3, 10, 19, tzinfo=UTC)
    assert same_wall_clock(noon, monday, friday, PACIFIC) == datetime(2025, 3, 7, 20, tzinfo=UTC)


def test_a_time_that_the_clock_skipped_does_not_exist():
    at = datetime(2025, 3, 15, 2, 30, tzinfo=PACIFIC)
    assert same_wall_clock(at, date(2025, 3, 15), date(2025, 3, 9), PACIFIC) is None


def test_of_a_time_that_comes_twice_the_first_is_meant():
    at = datetime(2025, 11, 8, 1, 30, tzinfo=PACIFIC)
    assert same_wall_clock(at, date(2025, 11, 8), date(2025, 11, 2), PACIFIC) == datetime(
        2025, 11, 2, 8, 30, tzinfo=UTC
    )


def test_time_after_midnight_stays_after_midnight():
    after = datetime(2025, 6, 19, 0, 30, tzinfo=PACIFIC)
    found = same_wall_clock(after, date(2025, 6, 18), date(2025, 6, 11), PACIFIC)
    assert found == datetime(2025, 6, 12, 0, 30, tzinfo=PACIFIC)


def test_midnight_is_local():
    assert midnight(date(2025, 6, 18), PACIFIC) == datetime(2025, 6, 18, 7, tzinfo=UTC)
