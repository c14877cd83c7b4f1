from datetime import UTC, datetime, timedelta, timezone

import pytest

from protocols.iso8601 import length_of, write_date_time, write_duration


def test_instants_are_written_in_utc() -> None:
    at = datetime(2030, 1, 31, 12, 0, 0, 500_000, tzinfo=timezone(timedelta(hours=-7)))
    assert write_date_time(at) == "2030-01-31T19:00:00.500000Z"
    assert write_date_time(datetime(1, 1, 1, tzinfo=UTC)) == "0001-01-01T00:00:00Z"
    with pytest.raises(ValueError, match="not aware"):
        write_date_time(datetime(2030, 1, 31))  # noqa: DTZ001 - the point of the test


@pytest.mark.parametrize(
    ("value", "text"),
    [
        (timedelta(0), "PT0S"),
        (timedelta(days=1, hours=2, minutes=3, seconds=4), "P1DT2H3M4S"),
        (timedelta(seconds=0.25), "PT0.25S"),
        (timedelta(hours=1, microseconds=10), "PT1H0.00001S"),
        (-timedelta(minutes=90), "-PT1H30M"),
        (timedelta(days=7), "P7D"),
    ],
)
def test_durations_are_written_without_zeros(value: timedelta, text: str) -> None:
    assert write_duration(value) == text


def test_a_length_of_its_parts() -> None:
    assert length_of(years="1", months="2", weeks="3", days="4") == timedelta(days=365 + 60 + 21 + 4)
    assert length_of(sign="-", hours="1", minutes="1", seconds="1.5") == -timedelta(seconds=3661.5)
    assert length_of(seconds="0.0000019") == timedelta(microseconds=1)
    with pytest.raises(ValueError, match="longer than can be counted"):
        length_of(years="99999999")
