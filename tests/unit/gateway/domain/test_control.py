"""The control loop on a small plant: caps that act at once, cooling that lags, sensors that average and are noisy."""

import math
from collections import deque
from dataclasses import dataclass, field
from itertools import pairwise
from statistics import fmean

import pytest

from gateway.domain.control import ControlMode, ControlSettings, ControlState, ControlStep, Held, step
from tests.unit.gateway.domain.control_plant import CEILING_W, FLOOR_W, Plant


@dataclass
class Run:
    """What came of a run: site power by second, before noise; budgets; how many were new."""

    site_w: list[float] = field(default_factory=list)
    budget_w: list[float] = field(default_factory=list)
    writes: int = 0
    modes: list[ControlMode] = field(default_factory=list)
    state: ControlState = field(default_factory=ControlState)


def follow(
    state: ControlState,
    *,
    target_w: float | None,
    site_w: float | None,
    fleet_w: float | None = 60_000.0,
    late: int = 0,
) -> ControlStep:
    return step(
        state,
        target_w=target_w,
        site_w=site_w,
        site_age_s=float(late),
        fleet_w=fleet_w,
        dt_s=1.0,
        floor_w=FLOOR_W,
        ceiling_w=CEILING_W,
    )


def drive(
    plant: Plant,
    targets_w: list[float],
    *,
    silent: range = range(0),
    state: ControlState | None = None,
    late: int = 0,
) -> Run:
    """One second for each target, after a minute's rest or from ``state``; in ``silent`` seconds no meter speaks.

    Both meters are ``late`` seconds late, and say so.
    """
    told: deque[tuple[float, float]] = deque(maxlen=late + 1)
    if state is None:
        state = ControlState()
        for _ in range(60):
            told.append(plant.meter())
            site_w, fleet_w = told[0]
            state = follow(state, target_w=None, site_w=site_w, fleet_w=fleet_w).state
            plant.advance(None)
    run = Run()
    for second, target_w in enumerate(targets_w):
        told.append(plant.meter())
        site_w, fleet_w = told[0]
        heard_w = None if second in silent else site_w
        done = follow(state, target_w=target_w, site_w=heard_w, fleet_w=fleet_w, late=late)
        state = run.state = done.state
        run.site_w.append(plant.advance(done.fleet_budget_w))
        run.budget_w.append(done.fleet_budget_w or 0.0)
        run.writes += done.changed
        run.modes.append(done.mode)
    return run


@pytest.mark.parametrize("gain", [0.92, 1.0, 1.05])
@pytest.mark.parametrize("seed", [1, 2])
def test_the_site_holds_the_target_from_the_fifth_second_on(gain: float, seed: int) -> None:
    plant = Plant(seed=seed, gain=gain)
    target_w = 0.75 * plant.site_w
    run = drive(plant, [target_w] * 900)

    assert max(run.site_w[4:10]) <= target_w * 1.002
    steady_w = run.site_w[120:]
    assert max(steady_w) <= target_w * 1.005
    assert min(steady_w) >= target_w * 0.995
    # The first metered interval as well, although it begins with the site at its full power.
    for start in (0, 300, 600):
        assert target_w * 0.99 <= fmean(run.site_w[start : start + 300]) <= target_w


def test_slow_caps_overshoot_little_and_do_not_make_the_site_swing() -> None:
    plant = Plant(seed=3, cap_tau_s=1.0, noise=0.0)
    target_w = 0.75 * plant.site_w
    run = drive(plant, [target_w] * 300)

    assert max(run.site_w[4:]) <= target_w * 1.001
    assert min(run.site_w) >= target_w * 0.97
    # One approach from above, one from below at most: no ringing.
    far = [site_w - target_w for site_w in run.site_w if abs(site_w - target_w) > 0.005 * target_w]
    swings = sum(1 for before, after in pairwise(far) if before * after < 0)
    assert swings <= 1
    assert fmean(run.site_w) <= target_w


def test_few_budgets_are_new() -> None:
    plant = Plant(seed=4)
    run = drive(plant, [0.75 * plant.site_w] * 600)
    assert run.writes < 600 / 4


def test_the_fall_of_cooling_is_given_back_to_the_fleet() -> None:
    plant = Plant(seed=5, noise=0.0)
    run = drive(plant, [0.75 * plant.site_w] * 900)
    cooling_fell_w = 0.18 * (CEILING_W - run.budget_w[-1])
    assert run.budget_w[-1] - run.budget_w[5] == pytest.approx(cooling_fell_w, rel=0.2)


def test_a_step_of_other_load_is_taken_up() -> None:
    plant = Plant(seed=6, noise=0.0)
    target_w = 0.75 * plant.site_w
    before = drive(plant, [target_w] * 120)
    plant.overhead_w += 3_000.0
    run = drive(plant, [target_w] * 120, state=before.state)
    assert before.site_w[-1] <= target_w * 1.002
    assert run.site_w[0] > target_w * 1.02
    assert max(run.site_w[15:]) <= target_w * 1.002


def test_a_target_out_of_reach_winds_nothing_up() -> None:
    plant = Plant(seed=7, noise=0.0)
    reachable_w = 0.8 * plant.site_w
    run = drive(plant, [0.3 * plant.site_w] * 300 + [reachable_w] * 120)
    assert set(run.budget_w[10:300]) == {FLOOR_W}
    assert max(run.site_w[300:]) <= reachable_w * 1.005
    assert min(run.site_w[320:]) >= reachable_w * 0.985


def test_a_target_that_does_not_bind_leaves_the_fleet_at_its_ceiling() -> None:
    plant = Plant(seed=8)
    run = drive(plant, [1.2 * plant.site_w] * 120)
    assert set(run.budget_w) == {CEILING_W}
    assert run.writes == 1


def test_a_load_that_idles_and_wakes_is_back_under_the_target_within_seconds() -> None:
    plant = Plant(seed=9, noise=0.0)
    target_w = 0.75 * plant.site_w
    first = drive(plant, [target_w] * 60)
    plant.demand_w = 25_000.0
    idle = drive(plant, [target_w] * 120, state=first.state)
    plant.demand_w = CEILING_W
    awake = drive(plant, [target_w] * 120, state=idle.state)
    assert first.site_w[-1] <= target_w * 1.002
    assert idle.site_w[-1] < 0.9 * target_w  # no cap can hold power up
    assert max(awake.site_w[4:]) <= target_w * 1.01


def test_a_target_that_ramps_is_followed() -> None:
    plant = Plant(seed=10)
    full_w = plant.site_w
    targets_w = [full_w * (1.0 - 0.25 * second / 300) for second in range(300)]
    run = drive(plant, targets_w)
    misses = [site_w / target_w - 1.0 for site_w, target_w in zip(run.site_w, targets_w, strict=True)]
    assert max(misses[10:]) <= 0.006
    assert -0.01 <= fmean(misses) <= 0.001


@pytest.mark.parametrize("late", [0, 1, 3])
def test_a_signal_is_followed_alike_however_late_the_meter_tells(late: int) -> None:
    plant = Plant(seed=15)
    base_w = 0.8 * plant.site_w
    # A new value every four seconds, 15 % around the basepoint, up and down in a minute.
    targets_w = [base_w * (1.0 + 0.15 * math.sin(2.0 * math.pi * (second // 4 * 4) / 60.0)) for second in range(400)]
    run = drive(plant, targets_w, late=late)
    misses_w = [site_w - target_w for site_w, target_w in zip(run.site_w, targets_w, strict=True)][40:]
    assert math.sqrt(fmean(miss_w**2 for miss_w in misses_w)) <= 0.1 * 0.15 * base_w


def test_a_reading_from_before_the_target_is_not_fed_back() -> None:
    rested = ControlState(other_w=20_000.0)
    first = follow(rested, target_w=60_000.0, site_w=80_000.0)
    # A second later the meter still shows the second before the target: no error of ours.
    second = follow(first.state, target_w=60_000.0, site_w=80_000.0, late=1)
    assert second.state.trim_w == first.state.trim_w
    assert second.state.owed_j == 0.0


def test_what_was_drawn_while_the_budget_was_still_falling_is_no_error_of_the_curves() -> None:
    past = (Held(age_s=0.0, target_w=60_000.0, bound=0), Held(age_s=1.0, target_w=60_000.0, bound=-1))
    before = ControlState(other_w=20_000.0, target_w=60_000.0, budget_w=40_000.0, past=past)
    then = follow(before, target_w=60_000.0, site_w=80_000.0, late=1).state
    now = follow(before, target_w=60_000.0, site_w=80_000.0, late=0).state
    assert then.trim_w == 0.0
    assert now.trim_w < 0.0
    # Drawn over the target it was all the same: that is given back.
    assert then.owed_j == now.owed_j > 0.0


def test_a_meter_silent_for_a_while_changes_nothing_then_the_budget_holds() -> None:
    plant = Plant(seed=11, noise=0.0)
    target_w = 0.75 * plant.site_w
    run = drive(
        plant, [target_w] * 60 + [target_w] * 20 + [target_w] * 60 + [0.9 * plant.site_w] * 5, silent=range(60, 145)
    )
    hold_after = int(ControlSettings().hold_after_s)
    assert set(run.modes[:60]) == {ControlMode.FOLLOW}
    assert run.modes[60 : 60 + hold_after - 1] == [ControlMode.COAST] * (hold_after - 1)
    assert set(run.modes[60 + hold_after :]) == {ControlMode.HOLD}
    # Even a higher target waits for the meter.
    assert len(set(run.budget_w[60 + hold_after :])) == 1
    assert max(run.site_w[60:140]) <= target_w * 1.005


def test_while_the_budget_holds_a_lower_target_lowers_it() -> None:
    held = ControlState(other_w=20_000.0, target_w=70_000.0, budget_w=50_000.0, silent_s=40.0)
    lower = follow(held, target_w=60_000.0, site_w=None)
    higher = follow(held, target_w=80_000.0, site_w=None)
    assert lower.mode is ControlMode.HOLD
    assert lower.fleet_budget_w == pytest.approx(40_000.0, abs=100.0)
    assert higher.fleet_budget_w == 50_000.0
    assert not higher.changed


def test_with_no_word_of_the_meter_ever_the_fleet_goes_to_its_floor() -> None:
    state = ControlState(budget_w=None)
    done = follow(state, target_w=70_000.0, site_w=None)
    again = follow(done.state, target_w=70_000.0, site_w=math.nan)
    assert done.mode is ControlMode.BLIND
    assert again.fleet_budget_w == FLOOR_W


def test_without_the_fleets_sensors_the_site_meter_alone_steers() -> None:
    done = follow(ControlState(), target_w=70_000.0, site_w=90_000.0, fleet_w=None)
    # The fleet is taken to draw its ceiling, so 20 kW is something else.
    assert done.mode is ControlMode.FOLLOW
    assert done.fleet_budget_w == pytest.approx(50_000.0, abs=100.0)


def test_no_target_asks_for_no_caps_and_forgets_the_last_event() -> None:
    state = ControlState(other_w=20_000.0, trim_w=-900.0, owed_j=5_000.0, target_w=70_000.0, budget_w=49_000.0)
    done = follow(state, target_w=None, site_w=80_000.0)
    assert done.fleet_budget_w is None
    assert done.changed
    assert done.mode is ControlMode.IDLE
    assert done.state == ControlState(other_w=20_000.0, drawn=((0.0, 60_000.0),))
    assert not follow(done.state, target_w=None, site_w=80_000.0).changed


def test_energy_over_the_target_is_given_back_and_energy_under_it_is_not_drawn_later() -> None:
    past = (Held(age_s=0.0, target_w=70_000.0, bound=0),)
    before = ControlState(other_w=20_000.0, target_w=70_000.0, budget_w=50_000.0, past=past)
    over = follow(before, target_w=70_000.0, site_w=72_000.0, fleet_w=52_000.0).state
    under = follow(before, target_w=70_000.0, site_w=68_000.0, fleet_w=48_000.0).state
    assert over.owed_j == 2_000.0
    assert under.owed_j == 0.0


def test_the_budget_rises_no_faster_than_its_limit() -> None:
    before = ControlState(other_w=20_000.0, target_w=60_000.0, budget_w=40_000.0)
    done = follow(before, target_w=88_000.0, site_w=60_000.0, fleet_w=40_000.0)
    assert done.fleet_budget_w == 40_000.0 + ControlSettings().rise_fraction_per_s * CEILING_W
    assert done.state.bound == 1
