"""The control loop behind meters that are slow and curves that are wrong: a step settles, and nothing swings on."""

from itertools import pairwise

import pytest

from tests.unit.gateway.domain.control_plant import CEILING_W, Plant, step_response

STEADY_S = 150


@pytest.mark.parametrize("gain", [0.7, 1.0, 1.5])
@pytest.mark.parametrize(("late_s", "averaged_s"), [(0, 1), (5, 1), (0, 10), (5, 10)])
@pytest.mark.parametrize("fleet_is_late", [False, True])
def test_a_step_settles_however_late_the_meter_is_and_however_wrong_the_curves(
    gain: float, late_s: int, averaged_s: int, fleet_is_late: bool
) -> None:
    found = step_response(
        Plant(seed=1, gain=gain, noise=0.0),
        late_s=late_s,
        averaged_s=averaged_s,
        fleet_late_s=late_s if fleet_is_late else 0,
        target_fraction=0.75,
        seconds=400,
    )
    swings = found.swings(beyond=0.004)
    # To one side, to the other, and back at the most, each time by less than a third.
    assert len(swings) <= 3
    assert all(after < before / 3.0 for before, after in pairwise(swings))
    assert max(abs(off) for off in found.off[STEADY_S:]) < 0.004


def test_a_mean_over_some_seconds_taken_for_one_of_a_second_swings_on() -> None:
    """What ``averaged_s`` is for: the same site, read by a loop that was not told."""
    plant = Plant(seed=1, gain=1.2, noise=0.0)
    told = step_response(plant, late_s=5, averaged_s=10, fleet_late_s=0, target_fraction=0.75, seconds=400)
    untold = step_response(
        Plant(seed=1, gain=1.2, noise=0.0),
        late_s=5,
        averaged_s=10,
        fleet_late_s=0,
        target_fraction=0.75,
        seconds=400,
        believed_s=1,
    )
    assert len(told.swings(beyond=0.02)) == 1
    assert len(untold.swings(beyond=0.02)) > 10


@pytest.mark.parametrize("late_s", [0, 5])
def test_at_steady_load_few_budgets_are_new(late_s: int) -> None:
    plant = Plant(seed=2, noise=0.001)
    found = step_response(plant, late_s=late_s, averaged_s=1, fleet_late_s=0, target_fraction=0.75, seconds=3600 + 300)
    # Each may write a limit to every device: once in twelve seconds, which is less often than leases are renewed.
    assert sum(found.new[300:]) <= 300
    assert plant.fleet_w < CEILING_W
