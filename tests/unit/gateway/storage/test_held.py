from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.held import HeldReadings
from hardware.device import PowerReading

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


def readings(*seconds: int, meter_id: str = "gpu-0", power_w: float = 1.0) -> list[PowerReading]:
    return [
        PowerReading(meter_id=meter_id, power_w=power_w, measured_at=NOON + timedelta(seconds=second))
        for second in seconds
    ]


def seconds_held(held: HeldReadings, meter_id: str = "gpu-0") -> list[float]:
    return [(reading.measured_at - NOON).total_seconds() for reading in held.between(meter_id, NOON, NOON + HOUR)]


def test_beyond_its_capacity_the_oldest_go_and_are_counted() -> None:
    held = HeldReadings(3, ())

    held.add(readings(1, 2, 3, 4, 5))

    assert seconds_held(held) == [3, 4, 5]
    assert held.dropped == 2


def test_readings_that_settle_go_last() -> None:
    held = HeldReadings(3, {"site"})
    held.add(readings(1, 2, meter_id="site"))

    held.add(readings(1, 2, 3))
    assert (seconds_held(held, "site"), seconds_held(held)) == ([1, 2], [3])
    held.add(readings(3, 4, meter_id="site"))
    assert (seconds_held(held, "site"), seconds_held(held)) == ([2, 3, 4], [])
    assert held.dropped == 4


def test_what_is_put_back_stands_before_what_came_since_and_first_wins() -> None:
    held = HeldReadings(10, ())
    held.add(readings(1, 2, power_w=1.0))
    held.take()
    held.add(readings(2, 3, power_w=2.0))

    held.put_back()

    assert [reading.power_w for reading in held.take()] == [1.0, 1.0, 2.0]


def test_what_is_being_stored_is_still_found_until_it_is_stored() -> None:
    held = HeldReadings(10, ())
    held.add(readings(1))
    held.take()
    assert not held
    assert seconds_held(held) == [1]

    held.stored()
    held.put_back()

    assert seconds_held(held) == []


def test_nothing_cannot_be_the_capacity() -> None:
    with pytest.raises(ValueError, match="at least one"):
        HeldReadings(0, ())


@given(
    st.integers(1, 20),
    st.lists(st.tuples(st.sampled_from(["add", "take", "put_back"]), st.lists(st.integers(0, 99), max_size=9))),
)
def test_readings_are_held_or_counted_as_dropped(capacity: int, steps: list[tuple[str, list[int]]]) -> None:
    held = HeldReadings(capacity, {"site"})
    added = 0
    taken = False
    for number, (step, seconds) in enumerate(steps):
        if step == "add":
            fresh = {number * 100 + second for second in seconds}
            held.add(readings(*fresh, meter_id="site" if number % 2 else "gpu-0"))
            added += len(fresh)
        elif step == "take" and not taken:
            held.take()
            taken = True
        elif step == "put_back" and taken:
            held.put_back()
            taken = False
    if taken:
        held.put_back()

    left = held.take()

    assert len(left) <= capacity
    assert len(left) + held.dropped == added
