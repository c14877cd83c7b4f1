"""From views of jobs to what the site can give."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.capability import Capability
from gateway.domain.load_kind import REMEMBERED_WINDOWS, DemandHistory, LoadKind
from gateway.domain.site_capability import site_capability
from hardware.device import CapRange
from hardware.job import CurvePoint, JobView

T0 = datetime(2026, 7, 1, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
CURVE = (
    CurvePoint(cap_w=100.0, power_w=100.0, throughput=0.2),
    CurvePoint(cap_w=200.0, power_w=200.0, throughput=0.8),
    CurvePoint(cap_w=400.0, power_w=400.0, throughput=1.0),
)
JOB = JobView(
    job_id="a", device_ids=("d0", "d1"), tier="flex2", weight=1.0, min_throughput=0.8, curve=CURVE, max_pause_s=1800.0
)


def found(*views: JobView, gone: str = "", **drawn_w: float) -> Capability:
    demand = DemandHistory()
    for _ in range(REMEMBERED_WINDOWS):
        demand.add({device_id: drawn_w.get(device_id, 400.0) for view in views for device_id in view.device_ids})
    names = {device_id for view in views for device_id in view.device_ids if device_id != gone}
    ranges = {name: CapRange(min_w=100.0, default_w=400.0, max_w=400.0) for name in names}
    return site_capability(views, at=T0, ranges=ranges, demand=demand, learnt={})


def test_a_job_gives_what_its_devices_draw_over_its_floor() -> None:
    assert [row.expected_w for row in found(JOB).held] == [400.0] * 5
    assert found(JOB, d1=60.0).held[0].expected_w == 200.0
    assert found(JOB, d1=60.0).kinds == {
        LoadKind.STEADY: 1,
        LoadKind.IDLE: 1,
        LoadKind.BURSTY: 0,
        LoadKind.UNKNOWN: 0,
    }
    assert found(JOB, gone="d1").held[0].expected_w == 200.0
    assert found().held[0].expected_w == 0.0


def test_deadline_lets_a_job_be_slowed_so_far_only() -> None:
    due = replace(JOB, deadline_at=T0 + 10 * HOUR, remaining_s=9 * 3600.0)
    # It needs nine tenths of its throughput: 300 W.
    assert found(due).held[0].expected_w == pytest.approx(200.0)
    assert found(replace(due, remaining_s=10 * 3600.0)).held[0].expected_w == 0.0
    assert found(replace(due, deadline_at=T0)).held[0].expected_w == 0.0
    assert found(replace(due, remaining_s=5 * 3600.0)).held[0].expected_w == 400.0
    assert found(replace(due, remaining_s=None)).held[0].expected_w == 400.0


def test_a_job_is_not_counted_on_for_longer_than_it_has_work() -> None:
    short = replace(JOB, remaining_s=1.5 * 3600.0)
    assert [row.expected_w for row in found(short).held] == [400.0, 400.0, 0.0, 0.0, 0.0]


def test_pauses_count_where_the_mean_leaves_room_for_them() -> None:
    row = found(JOB).held[0]
    assert row.with_pauses_w == row.expected_w, "at its floor it has nothing over its tier's mean"
    # Half of the time, and each device from 200 W at the floor to 100 W.
    half = replace(JOB, mean_throughput=0.4)
    assert found(half).held[0].with_pauses_w == pytest.approx(400.0 + 0.5 * 200.0)
    assert found(half).held[4].with_pauses_w == pytest.approx(400.0 + 1800.0 / 14_400.0 * 200.0)
    whole = replace(JOB, mean_throughput=0.0)
    assert found(whole).held[0].with_pauses_w == found(whole).held[0].with_pauses_lower_w == 600.0
    assert found(replace(whole, max_pause_s=0.0)).held[0].with_pauses_w == 400.0
    assert found(replace(JOB, min_throughput=0.0)).held[0].with_pauses_w == 600.0
    # The deadline leaves a quarter of an hour of slack, and 0.8 of its throughput would be too little.
    due = replace(whole, deadline_at=T0 + 10 * HOUR, remaining_s=9.75 * 3600.0)
    assert found(due).held[1].with_pauses_w - found(due).held[1].expected_w == pytest.approx(
        0.25 * (found(due).held[0].with_pauses_w - found(due).held[0].expected_w)
    )
