from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.measurement import Slice, assess, epoch_us, from_epoch_us, integrate, mean_power, slices, worst
from hardware.device import PowerReading, Quality

NOON = datetime(2025, 5, 3, 12, tzinfo=UTC)


def after(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def reading(seconds: float, power_w: float, quality: Quality = Quality.GOOD, meter_id: str = "site") -> PowerReading:
    return PowerReading(meter_id=meter_id, power_w=power_w, measured_at=after(seconds), quality=quality)


MINUTE = Slice(starts_at=NOON, duration_s=60.0)


def test_a_reading_stands_until_the_next_one():
    (energy,) = integrate([reading(0, 600.0), reading(20, 1200.0)], [MINUTE])
    assert energy.energy_wh == pytest.approx((600 * 20 + 1200 * 40) / 3600)
    assert energy.coverage_fraction == 1.0
    assert energy.quality is Quality.GOOD


def test_a_reading_from_before_the_slice_stands_for_its_beginning():
    (energy,) = integrate([reading(-10, 600.0)], [MINUTE], max_gap_s=30.0)
    assert energy.energy_wh == pytest.approx(600 * 20 / 3600)
    assert energy.coverage_fraction == pytest.approx(20 / 60)


def test_a_gap_is_not_covered_and_holds_no_energy():
    (energy,) = integrate([reading(0, 600.0), reading(40, 600.0)], [MINUTE], max_gap_s=10.0)
    assert energy.coverage_fraction == pytest.approx(20 / 60)
    assert energy.energy_wh == pytest.approx(600 * 20 / 3600)


def test_a_slice_without_readings_is_uncovered_and_suspect():
    before, after_all = integrate([reading(0, 600.0)], [Slice(starts_at=after(-60), duration_s=60.0), MINUTE])
    assert (before.energy_wh, before.coverage_fraction, before.quality) == (0.0, 0.0, Quality.SUSPECT)
    assert after_all.coverage_fraction == 1.0


def test_readings_that_arrive_out_of_order_are_taken_by_their_stamp():
    readings = [reading(0, 600.0), reading(20, 1200.0), reading(40, 300.0)]
    assert integrate(readings[::-1], [MINUTE]) == integrate(readings, [MINUTE])


def test_the_same_reading_twice_counts_once():
    readings = [reading(0, 600.0), reading(30, 300.0)]
    assert integrate([*readings, readings[1]], [MINUTE]) == integrate(readings, [MINUTE])


def test_of_two_readings_with_one_stamp_the_first_counts_and_the_interval_is_suspect():
    (energy,) = integrate([reading(0, 600.0), reading(0, 9000.0)], [MINUTE])
    assert energy.energy_wh == pytest.approx(10.0)
    assert energy.quality is Quality.SUSPECT


def test_a_clock_that_stepped_back_neither_loses_nor_doubles_time():
    # Ten readings a second apart, then the meter's clock falls back by 5.5 s and goes on for ten more.
    stepped = [reading(n, 1000.0) for n in range(10)] + [reading(4.5 + n, 1000.0) for n in range(10)]
    (energy,) = integrate(stepped, [MINUTE], max_gap_s=1.0)
    assert energy.energy_wh == pytest.approx(1000 * 14.5 / 3600)
    assert energy.coverage_fraction == pytest.approx(14.5 / 60)


def test_negative_watts_are_kept():
    (energy,) = integrate([reading(0, -600.0)], [MINUTE])
    assert energy.energy_wh == pytest.approx(-10.0)


@pytest.mark.parametrize(
    ("qualities", "expected"),
    [
        ([Quality.GOOD, Quality.GOOD], Quality.GOOD),
        ([Quality.GOOD, Quality.ESTIMATED], Quality.ESTIMATED),
        ([Quality.ESTIMATED, Quality.SUSPECT, Quality.GOOD], Quality.SUSPECT),
        ([], Quality.SUSPECT),
    ],
)
def test_the_worst_quality_stands(qualities: list[Quality], expected: Quality):
    assert worst(qualities) is expected


def test_only_readings_that_stand_for_some_of_the_slice_lend_it_their_quality():
    readings = [reading(-90, 1.0, Quality.SUSPECT), reading(0, 600.0), reading(60, 1.0, Quality.SUSPECT)]
    (energy,) = integrate(readings, [MINUTE])
    assert energy.quality is Quality.GOOD


@pytest.mark.parametrize(
    ("readings", "named"),
    [
        ([reading(0, float("nan"))], "site at 2025-05-03T12:00:00"),
        ([reading(0, float("inf"))], "inf W"),
        ([reading(0, 1.0), reading(1, 1.0, meter_id="other")], "more than one meter"),
        ([PowerReading(meter_id="site", power_w=1.0, measured_at=NOON.replace(tzinfo=None))], "no time zone"),
    ],
)
def test_what_is_no_reading_is_refused(readings: list[PowerReading], named: str):
    with pytest.raises(ValueError, match=named):
        integrate(readings, [MINUTE])


def test_an_estimate_is_carried_into_the_interval():
    (energy,) = integrate([reading(0, 600.0, Quality.ESTIMATED), reading(30, 600.0)], [MINUTE])
    assert energy.quality is Quality.ESTIMATED


def test_a_slice_without_duration_is_refused():
    with pytest.raises(ValueError, match="lasts 0"):
        integrate([reading(0, 1.0)], [Slice(starts_at=NOON, duration_s=0.0)])


def test_a_gap_that_is_not_positive_is_refused():
    with pytest.raises(ValueError, match="not positive"):
        integrate([reading(0, 1.0)], [MINUTE], max_gap_s=0.0)


def test_slices_are_cut_on_the_clock_with_shorter_ends():
    cut = slices(after(130), after(700), 300)
    assert [(piece.starts_at, piece.duration_s) for piece in cut] == [
        (after(130), 170.0),
        (after(300), 300.0),
        (after(600), 100.0),
    ]
    assert cut[-1].ends_at == after(700)


def test_slices_within_one_interval_and_of_nothing():
    assert slices(after(10), after(20), 300) == (Slice(starts_at=after(10), duration_s=10.0),)
    assert slices(NOON, NOON, 300) == ()
    assert slices(after(300), NOON, 300) == ()


def test_slices_want_a_positive_interval():
    with pytest.raises(ValueError, match="not positive"):
        slices(NOON, after(300), 0)


def test_instants_go_through_microseconds_unchanged():
    at = datetime(2031, 7, 4, 3, 2, 1, 987_654, tzinfo=UTC)
    assert from_epoch_us(epoch_us(at)) == at


def test_mean_power_is_weighted_by_time_over_what_is_covered():
    readings = [reading(0, 600.0), reading(45, 1200.0)]
    assert mean_power(readings, NOON, after(60)) == (pytest.approx(750.0), 2)
    assert mean_power(readings, NOON, after(600)) == (pytest.approx((600 * 45 + 1200 * 60) / 105), 2)


def test_mean_power_of_uncovered_time_is_none():
    assert mean_power([reading(0, 600.0)], after(60), after(120)) is None
    assert mean_power([], NOON, after(60)) is None


def qualities_of(readings: tuple[PowerReading, ...]) -> list[Quality]:
    return [item.quality for item in readings]


def test_plausible_readings_pass_unchanged():
    batch = [reading(0, 10.0), reading(0, 20.0, meter_id="gpu-0"), reading(1, 0.0)]
    assert assess(batch, now=after(1)) == tuple(batch)


def test_negative_import_is_suspect_where_the_site_does_not_generate():
    batch = [reading(0, -5.0)]
    assert qualities_of(assess(batch, now=NOON)) == [Quality.SUSPECT]
    assert assess(batch, now=NOON)[0].power_w == -5.0
    assert qualities_of(assess(batch, now=NOON, generates=True)) == [Quality.GOOD]


@pytest.mark.parametrize(("ahead_s", "expected"), [(5.0, Quality.GOOD), (5.1, Quality.SUSPECT)])
def test_a_stamp_from_the_future_is_suspect(ahead_s: float, expected: Quality):
    assert qualities_of(assess([reading(ahead_s, 1.0)], now=NOON)) == [expected]


def test_a_stamp_before_the_last_one_is_suspect():
    last = {"site": reading(10, 1.0), "gpu-0": reading(20, 1.0, meter_id="gpu-0")}
    batch = [reading(9, 1.0), reading(21, 1.0, meter_id="gpu-0")]
    assert qualities_of(assess(batch, now=after(30), last=last)) == [Quality.SUSPECT, Quality.GOOD]


def test_after_a_stamp_from_the_future_right_ones_are_good_again():
    last = {"site": reading(3600, 1.0)}
    assert qualities_of(assess([reading(1, 1.0)], now=after(1), last=last)) == [Quality.GOOD]


def test_the_same_stamp_again_is_suspect_only_with_another_value():
    last = {"site": reading(0, 1.0)}
    assert qualities_of(assess([reading(0, 1.0)], now=NOON, last=last)) == [Quality.GOOD]
    assert qualities_of(assess([reading(0, 2.0)], now=NOON, last=last)) == [Quality.SUSPECT]


def test_what_is_no_number_is_left_out():
    kept = assess([reading(0, float("nan")), reading(1, 5.0), reading(2, float("-inf"))], now=after(2))
    assert [item.power_w for item in kept] == [5.0]


def test_doubt_that_came_with_the_reading_stays():
    assert qualities_of(assess([reading(0, 1.0, Quality.ESTIMATED)], now=NOON)) == [Quality.ESTIMATED]
