import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.measurement import Slice, integrate, slices
from hardware.device import PowerReading

START = datetime(2025, 3, 9, 1, 0, 0, tzinfo=UTC)
END = START + timedelta(hours=2)

stamps = st.timedeltas(timedelta(minutes=-5), timedelta(hours=2, minutes=5)).map(lambda offset: START + offset)
powers = st.floats(-1e6, 1e6)
readings = st.lists(
    st.builds(PowerReading, meter_id=st.just("site"), power_w=powers, measured_at=stamps),
    max_size=40,
    unique_by=lambda reading: reading.measured_at,
)
inner_cuts = st.lists(st.datetimes(START.replace(tzinfo=None), END.replace(tzinfo=None)), max_size=12)
gaps = st.floats(0.5, 4000.0)


def pieces_between(cuts: list[datetime]) -> list[Slice]:
    points = sorted({START, END, *(cut.replace(tzinfo=UTC) for cut in cuts)})
    return [Slice(starts_at=left, duration_s=(right - left).total_seconds()) for left, right in pairwise(points)]


@given(readings=readings, cuts=inner_cuts, max_gap_s=gaps)
def test_energy_is_conserved_however_an_interval_is_split(
    readings: list[PowerReading], cuts: list[datetime], max_gap_s: float
):
    (whole,) = integrate(readings, [Slice(starts_at=START, duration_s=7200.0)], max_gap_s=max_gap_s)
    parts = integrate(readings, pieces_between(cuts), max_gap_s=max_gap_s)
    # Where import and export cancel out, "relative" is to the energy that flowed, not to the small rest.
    flowed_wh = math.fsum(abs(part.energy_wh) for part in parts)
    assert math.fsum(part.energy_wh for part in parts) == pytest.approx(whole.energy_wh, rel=1e-9, abs=1e-9 * flowed_wh)
    covered_s = math.fsum(part.coverage_fraction * part.duration_s for part in parts)
    assert covered_s == pytest.approx(whole.coverage_fraction * whole.duration_s, rel=1e-9, abs=1e-6)


def test_energy_is_conserved_minimal_example():
    reading = PowerReading(meter_id="site", power_w=720.0, measured_at=START)
    (whole,) = integrate([reading], [Slice(starts_at=START, duration_s=30.0)])
    left, right = integrate(
        [reading],
        [
            Slice(starts_at=START, duration_s=10.0),
            Slice(starts_at=START + timedelta(seconds=10), duration_s=20.0),
        ],
    )
    assert (whole.energy_wh, left.energy_wh, right.energy_wh) == (6.0, 2.0, 4.0)


@given(readings=readings, order=st.randoms(use_true_random=False), max_gap_s=gaps)
def test_the_order_of_arrival_is_irrelevant(readings: list[PowerReading], order, max_gap_s: float):
    shuffled = list(readings)
    order.shuffle(shuffled)
    cut = slices(START, END, 900)
    assert integrate(shuffled, cut, max_gap_s=max_gap_s) == integrate(readings, cut, max_gap_s=max_gap_s)


@given(readings=readings, max_gap_s=gaps)
def test_coverage_is_a_fraction_and_energy_stays_within_the_readings(readings: list[PowerReading], max_gap_s: float):
    for energy in integrate(readings, slices(START, END, 900), max_gap_s=max_gap_s):
        assert 0.0 <= energy.coverage_fraction <= 1.0
        most_w = max((abs(reading.power_w) for reading in readings), default=0.0)
        assert abs(energy.energy_wh) <= most_w * energy.coverage_fraction * 0.25 * (1 + 1e-9)


@given(offset_s=st.floats(0, 5000), length_s=st.floats(0.001, 20_000), interval_s=st.sampled_from([60, 300, 900, 3600]))
def test_slices_cover_the_time_without_gap_or_overlap(offset_s: float, length_s: float, interval_s: int):
    start = START + timedelta(seconds=offset_s)
    end = start + timedelta(seconds=length_s)
    cut = slices(start, end, interval_s)
    assert cut[0].starts_at == start
    assert cut[-1].ends_at == end
    for left, right in pairwise(cut):
        assert left.ends_at == right.starts_at
        assert right.starts_at.timestamp() % interval_s == 0
    assert all(0 < piece.duration_s <= interval_s for piece in cut)
