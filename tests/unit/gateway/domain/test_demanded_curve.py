"""Power curves as devices would draw along them."""

from itertools import pairwise

import numpy as np
import pytest

from gateway.domain.allocate import Allocator
from gateway.domain.demanded_curve import as_drawn, nominal_floor
from gateway.domain.fleet import allocation_jobs
from gateway.domain.load_kind import REMEMBERED_WINDOWS, Floats
from hardware.job import CurvePoint, JobView

CURVE = (
    CurvePoint(cap_w=100.0, power_w=100.0, throughput=0.2),
    CurvePoint(cap_w=200.0, power_w=200.0, throughput=0.7),
    CurvePoint(cap_w=300.0, power_w=300.0, throughput=0.9),
    CurvePoint(cap_w=400.0, power_w=350.0, throughput=1.0),
)


def view(devices: int = 2, *, tier: float = 0.7, **more: object) -> JobView:
    known: dict[str, object] = {
        "job_id": "a",
        "device_ids": tuple(f"d{i}" for i in range(devices)),
        "tier": "flex2",
        "weight": 1.0,
        "min_throughput": tier,
        "curve": CURVE,
        "max_pause_s": 600.0,
    }
    return JobView(**known | more)  # type: ignore[arg-type]


def steady(*devices_w: float) -> Floats:
    return np.repeat(np.array(devices_w)[:, None], REMEMBERED_WINDOWS, axis=1)


def rounded(job: JobView) -> tuple[CurvePoint, ...]:
    return tuple(
        CurvePoint(cap_w=one.cap_w, power_w=round(one.power_w, 9), throughput=round(one.throughput, 9))
        for one in job.curve
    )


def floor_and_ceiling(job: JobView) -> tuple[float, float]:
    allocator = Allocator(allocation_jobs([job]))
    return allocator.floor_w, allocator.ceiling_w


def test_full_demand_leaves_the_curve_as_it_is_above_the_floor() -> None:
    found = as_drawn(view(), steady(350.0, 360.0))
    assert rounded(found) == CURVE[1:]
    assert found.idle_w == pytest.approx(100.0)
    assert floor_and_ceiling(found) == pytest.approx(floor_and_ceiling(view()))


def test_idle_devices_draw_what_they_draw_at_every_cap() -> None:
    found = as_drawn(view(), steady(60.0, 60.0))
    assert [point.power_w for point in found.curve] == pytest.approx([60.0] * 3)
    assert [point.throughput for point in found.curve] == pytest.approx([1.0] * 3)
    assert found.idle_w == pytest.approx(60.0), "a pause saves nothing either"
    assert floor_and_ceiling(found) == pytest.approx((120.0, 120.0))


def test_half_idle_job_saves_half() -> None:
    found = as_drawn(view(), steady(350.0, 60.0))
    assert [point.power_w for point in found.curve] == pytest.approx([130.0, 180.0, 205.0])
    assert [point.throughput for point in found.curve] == pytest.approx([0.85, 0.95, 1.0])
    assert floor_and_ceiling(found) == pytest.approx((260.0, 410.0))
    (job,) = allocation_jobs([found])
    assert job.idle_w == pytest.approx(80.0)


def test_part_load_is_slowed_by_caps_under_it_only() -> None:
    found = as_drawn(view(1), steady(250.0))
    assert [point.power_w for point in found.curve] == pytest.approx([200.0, 250.0, 250.0])
    # At 250 W the curve gives 0.8.
    assert [point.throughput for point in found.curve] == pytest.approx([0.7 / 0.8, 1.0, 1.0])


def test_floor_is_put_where_the_nominal_curve_has_it() -> None:
    found = as_drawn(view(tier=0.8), steady(350.0, 60.0))
    assert (found.curve[0].cap_w, found.curve[0].power_w) == pytest.approx((250.0, 155.0))
    assert [point.cap_w for point in found.curve[1:]] == [300.0, 400.0]
    assert as_drawn(view(tier=0.9), steady(350.0, 60.0)).curve[0].cap_w == 300.0
    assert [point.cap_w for point in as_drawn(view(tier=1.0), steady(60.0, 60.0)).curve] == [400.0]
    assert len(as_drawn(view(tier=0.0), steady(60.0, 60.0)).curve) == len(CURVE)


def test_device_not_known_long_enough_counts_with_its_nominal_draw() -> None:
    demand_w = steady(60.0, 60.0)
    demand_w[1, 20:] = np.nan
    found = as_drawn(view(), demand_w)
    assert [point.power_w for point in found.curve] == pytest.approx([130.0, 180.0, 205.0])
    assert [point.throughput for point in found.curve] == pytest.approx([0.85, 0.95, 1.0])
    assert as_drawn(view(), np.full((2, 90), np.nan)) == view()
    assert as_drawn(view(curve=()), steady(60.0, 60.0)) == view(curve=())


def test_windows_without_a_reading_count_for_nothing() -> None:
    demand_w = steady(350.0, 350.0)
    demand_w[0, :50] = np.nan
    assert rounded(as_drawn(view(), demand_w)) == CURVE[1:]


def test_measured_idle_power_is_kept_to() -> None:
    assert as_drawn(view(idle_w=80.0), steady(350.0, 60.0)).idle_w == pytest.approx(70.0)
    (job,) = allocation_jobs([view(idle_w=80.0)], idle_w=50.0)
    assert job.idle_w == 80.0


def test_bursts_draw_their_mean() -> None:
    demand_w = np.tile([350.0, 60.0], (1, REMEMBERED_WINDOWS // 2))
    found = as_drawn(view(1), demand_w)
    assert [point.power_w for point in found.curve] == pytest.approx([130.0, 180.0, 205.0])
    slopes = [(high.throughput - low.throughput) / (high.power_w - low.power_w) for low, high in pairwise(found.curve)]
    assert slopes == sorted(slopes, reverse=True)


def test_floor_of_a_plan_is_held_on_the_nominal_curve() -> None:
    half_idle = as_drawn(view(), steady(350.0, 60.0))
    assert [nominal_floor(view(), half_idle, given) for given in (0.5, 0.85, 0.9, 0.95, 1.0, 1.1)] == pytest.approx(
        [0.7, 0.7, 0.8, 0.9, 1.0, 1.0]
    )
    asleep = as_drawn(view(), steady(60.0, 60.0))
    assert nominal_floor(view(), asleep, 1.0) == pytest.approx(0.7), "at its lowest cap it does all that it wants"
    assert nominal_floor(view(), view(), 0.8) == pytest.approx(0.8)
