"""The simulated site whatever is done to it and however time is cut: bounded, monotone, the same each time."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.simulated import SITE_METER_ID, SimulatedFleet

START = datetime(2026, 7, 1, tzinfo=UTC)
DEVICES = 8
STEPS = st.lists(
    st.tuples(
        st.floats(0.0, 400.0),
        st.integers(0, DEVICES - 1),
        st.floats(100.0, 400.0),
        st.booleans(),
    ),
    max_size=12,
)


def run(steps, *, seed, cuts=1):
    """Play the steps, each wait cut into so many pieces; gives the readings after each."""
    now = [START]
    site = SimulatedFleet(hosts=1, devices_per_host=DEVICES, seed=seed, now=lambda: now[0])
    ids = [view.device_id for view in site.devices()]
    pausable = [job.job_id for job in site.jobs()]
    played = []
    at_s = 0.0
    for wait_s, index, limit_w, pause in steps:
        for cut in range(1, cuts + 1):
            now[0] = START + timedelta(seconds=at_s + wait_s * cut / cuts)
            site.site_w()
        at_s += wait_s
        site.set_limit_w(ids[index], limit_w)
        job_id = pausable[index % len(pausable)]
        (site.pause if pause else site.resume)(job_id)
        played.append((site.site_w(), {reading.meter_id: reading for reading in site.readings()}, site.work_s()))
    return played


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**31))
def test_power_is_bounded_and_registers_never_fall(steps, seed):
    before = None
    for site_w, readings, work_s in run(steps, seed=seed):
        assert 0.0 < site_w < DEVICES * 600.0
        for key, reading in readings.items():
            assert 0.0 <= reading.power_w < (DEVICES * 600.0 if key == SITE_METER_ID else 420.0)
        if before is not None:
            for key, reading in readings.items():
                assert reading.energy_j >= before[0][key].energy_j - 1e-6
            assert all(work >= before[1][key] for key, work in work_s.items())
        before = (readings, work_s)


@settings(max_examples=60, deadline=None)
@given(steps=STEPS, seed=st.integers(0, 2**31), cuts=st.integers(2, 7))
def test_how_time_is_cut_changes_nothing(steps, seed, cuts):
    for (one_w, ones, one_work), (many_w, manys, many_work) in zip(
        run(steps, seed=seed), run(steps, seed=seed, cuts=cuts), strict=True
    ):
        # A cut under a millisecond is no time yet, and a limit may so take effect that much earlier or later.
        assert one_w == pytest.approx(many_w, rel=2e-2)
        assert one_work == pytest.approx(many_work, abs=0.02)
        for key, one in ones.items():
            assert one.energy_j == pytest.approx(manys[key].energy_j, abs=30.0, rel=1e-6)


def test_same_steps_give_the_same_numbers():
    steps = [(1.0, 0, 200.0, False), (0.5, 1, 150.0, True), (100.0, 0, 400.0, False)]
    assert run(steps, seed=5) == run(steps, seed=5)


def test_one_cut_second():
    steps = [(1.0, 0, 200.0, False), (1.0, 0, 200.0, False)]
    assert run(steps, seed=5)[-1][0] == pytest.approx(run(steps, seed=5, cuts=4)[-1][0], rel=1e-9)
