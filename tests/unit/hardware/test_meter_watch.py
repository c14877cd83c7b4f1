import math
from datetime import UTC, datetime, timedelta

import pytest

from hardware.device import PowerReading
from hardware.meter_watch import Plausible, Watch

START = datetime(2026, 7, 1, 12, tzinfo=UTC)


def at(second: float, power_w: float = 5000.0) -> PowerReading:
    return PowerReading(meter_id="m", power_w=power_w, measured_at=START + timedelta(seconds=second))


@pytest.mark.parametrize(
    ("power_w", "age_s", "fault"),
    [
        (5000.0, 0.0, None),
        (0.0, 10.0, None),
        (9000.0, -5.0, None),
        (-0.1, 0.0, "-0.1 W is not between 0 W and 9000 W"),
        (9000.5, 0.0, "9000.5 W is not between"),
        (math.nan, 0.0, "nan is no power"),
        (math.inf, 0.0, "inf is no power"),
        (5000.0, 10.1, "stale: measured 10 s ago"),
        (5000.0, -5.5, "its clock is 6 s ahead"),
    ],
)
def test_late_and_impossible(power_w: float, age_s: float, fault: str | None) -> None:
    found = Watch(Plausible(min_w=0.0, max_w=9000.0)).fault(
        at(0, power_w), now=START + timedelta(seconds=age_s), devices_w=None
    )
    assert found is None if fault is None else found is not None and found.startswith(fault)


def faults(watch: Watch, seconds: range, devices: list[float | None], power_w: float = 5000.0) -> list[str | None]:
    return [
        watch.fault(at(second, power_w), now=at(second).measured_at, devices_w=devices[second % len(devices)])
        for second in seconds
    ]


RULE = Plausible(stuck_after_s=30.0, moved_fraction=0.05)


def test_stuck_while_the_devices_move() -> None:
    watch = Watch(RULE)
    found = faults(watch, range(40), [4000.0, 3700.0])
    assert found[:31] == [None] * 31
    assert found[31] == "stuck at 5000 W for 31 s while the devices moved"
    assert all(found[31:])
    assert faults(watch, range(40, 42), [4000.0], power_w=5000.0000001) == [None, None]


@pytest.mark.parametrize("devices", [[4000.0, 3900.0], [None], [0.0]])
def test_a_steady_power_beside_steady_or_unknown_devices_is_no_fault(devices: list[float | None]) -> None:
    assert not any(faults(Watch(RULE), range(200), devices))


def test_off_by_default() -> None:
    assert not any(faults(Watch(Plausible()), range(200), [4000.0, 1000.0]))


def test_the_same_sample_read_again_is_late_and_not_stuck() -> None:
    watch = Watch(RULE)
    found = [
        watch.fault(at(0), now=START + timedelta(seconds=second), devices_w=4000.0 - 100 * second)
        for second in range(40)
    ]
    assert found[10] is None
    assert found[39] == "stale: measured 39 s ago"
