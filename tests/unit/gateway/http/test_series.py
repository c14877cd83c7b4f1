from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.http.series import MOST_POINTS, thinned
from hardware.device import PowerReading

START = datetime(2026, 7, 14, 19, 0, tzinfo=UTC)


def readings(*points: tuple[float, float]) -> list[PowerReading]:
    return [
        PowerReading(meter_id="site", power_w=power_w, measured_at=START + timedelta(seconds=at_s))
        for at_s, power_w in points
    ]


def test_a_bucket_is_the_mean_of_its_readings() -> None:
    assert thinned(readings((0, 10.0), (1, 20.0), (2, 60.0), (3, 5.0)), START, 3) == [(0, 30.0), (3, 5.0)]


def test_an_empty_bucket_is_no_silence_of_the_meter() -> None:
    assert thinned(readings((0, 10.0), (4, 20.0)), START, 1) == [(0, 10.0), (4, 20.0)]


def test_a_silence_of_the_meter_is_a_gap() -> None:
    assert thinned(readings((0, 10.0), (20, 20.0)), START, 1) == [(0, 10.0), (1, None), (20, 20.0)]


def test_without_readings_there_is_nothing() -> None:
    assert thinned([], START, 1) == []


@given(st.lists(st.floats(0, 1799.9), min_size=1, max_size=200, unique=True))
def test_means_lie_among_the_readings_and_in_order_of_time(times_s: list[float]) -> None:
    points = thinned(readings(*((at_s, at_s) for at_s in sorted(times_s))), START, 3)
    assert [at_s for at_s, _ in points] == sorted({at_s for at_s, _ in points})
    assert all(at_s <= mean_w < at_s + 3.001 for at_s, mean_w in points if mean_w is not None)
    assert len(points) <= MOST_POINTS
