"""Temperatures on the meter's intervals."""

from datetime import UTC, datetime, timedelta

from gateway.domain.baseline.temperature import by_interval

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def test_a_temperature_stands_until_the_next_and_for_an_hour_at_the_most() -> None:
    series = [(NOON, 20.0), (NOON + 2 * QUARTER, 21.0)]
    starts = [NOON + index * QUARTER for index in range(-1, 8)]
    assert by_interval(series, reversed(starts)) == (
        (NOON, 20.0),
        (NOON + QUARTER, 20.0),
        *((NOON + index * QUARTER, 21.0) for index in range(2, 6)),
    )
    assert by_interval([], starts) == ()
