"""What holds for the control loop whatever the meters say."""

from itertools import pairwise
from math import isfinite

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.control import ControlMode, ControlState, ControlStep, step

FLOOR_W, CEILING_W = 30_000.0, 70_000.0

readings = st.none() | st.floats(-1e6, 1e6) | st.sampled_from([float("nan"), float("inf"), 0.0])
targets = st.none() | st.floats(-1e5, 2e5)
seconds = st.lists(st.tuples(targets, readings, readings, st.sampled_from([0.1, 1.0, 20.0])), min_size=1, max_size=30)
Second = tuple[float | None, float | None, float | None, float]


def drive(told: list[Second], *, site_age_s: float = 0.0) -> list[ControlStep]:
    state, done = ControlState(), []
    for target_w, site_w, fleet_w, dt_s in told:
        one = step(
            state,
            target_w=target_w,
            site_w=site_w,
            site_age_s=site_age_s,
            fleet_w=fleet_w,
            dt_s=dt_s,
            floor_w=FLOOR_W,
            ceiling_w=CEILING_W,
        )
        done.append(one)
        state = one.state
    return done


@given(seconds)
@example([(60_000.0, 90_000.0, 70_000.0, 1.0)])
def test_a_budget_is_within_the_fleets_range_and_only_where_there_is_a_target(told: list[Second]) -> None:
    for (target_w, *_), done in zip(told, drive(told), strict=True):
        if target_w is None:
            assert (done.fleet_budget_w, done.mode) == (None, ControlMode.IDLE)
        else:
            assert done.fleet_budget_w is not None
            assert FLOOR_W <= done.fleet_budget_w <= CEILING_W
        memory = (done.state.trim_w, done.state.owed_j, done.state.silent_s, done.state.other_w or 0.0)
        assert all(isfinite(figure) for figure in memory)


@given(seconds)
@example([(60_000.0, 90_000.0, 70_000.0, 1.0)] + [(80_000.0, None, 70_000.0, 20.0)] * 3)
def test_a_budget_never_rises_while_the_meter_stays_silent(told: list[Second]) -> None:
    steps = drive(told)
    for before, after in pairwise(steps):
        if after.mode is ControlMode.HOLD and before.fleet_budget_w is not None and after.fleet_budget_w is not None:
            assert after.fleet_budget_w <= before.fleet_budget_w


@given(seconds)
@example([(None, 90_000.0, 70_000.0, 1.0), (60_000.0, 90_000.0, 70_000.0, 1.0)])
def test_what_is_not_changed_need_not_be_written(told: list[Second]) -> None:
    last_w: float | None = None
    for done in drive(told):
        assert done.changed == (done.fleet_budget_w != last_w)
        last_w = done.fleet_budget_w


@given(seconds, st.floats(-5.0, 30.0))
@example([(60_000.0, 90_000.0, 70_000.0, 1.0)] * 3, 0.0)
def test_no_reading_from_before_the_target_is_fed_back(told: list[Second], site_age_s: float) -> None:
    held_s: float | None = None
    owed_j = 0.0
    for (target_w, _, _, dt_s), done in zip(told, drive(told, site_age_s=site_age_s), strict=True):
        held_s = None if target_w is None else (0.0 if held_s is None else held_s + dt_s)
        # The second that the reading shows begins before the target did.
        if held_s is not None and max(0.0, site_age_s) + 1.0 > held_s + 1e-6:
            assert done.state.owed_j == owed_j
        assert all(one.age_s <= 10.0 + dt_s for one in done.state.past)
        owed_j = done.state.owed_j
