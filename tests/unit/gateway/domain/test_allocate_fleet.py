"""From jobs as their hosts see them to allocation, and from an allocation to a cap for each device."""

from dataclasses import replace

import pytest

from gateway.domain.allocate import allocate
from gateway.domain.fleet import allocation_jobs, device_caps
from hardware.device import CapRange
from hardware.job import CurvePoint, JobState, JobView

CURVE = (
    CurvePoint(cap_w=100.0, power_w=95.0, throughput=0.2),
    CurvePoint(cap_w=200.0, power_w=190.0, throughput=0.8),
    CurvePoint(cap_w=400.0, power_w=380.0, throughput=1.0),
)
RANGE = CapRange(min_w=100.0, default_w=400.0, max_w=400.0)
VIEW = JobView(
    job_id="train",
    device_ids=("g0", "g1"),
    tier="flex2",
    weight=2.0,
    min_throughput=0.75,
    curve=CURVE,
    max_pause_s=240.0,
)


def ranges(*device_ids: str, found: CapRange = RANGE) -> dict[str, CapRange]:
    return dict.fromkeys(device_ids, found)


def test_a_job_is_taken_as_it_is() -> None:
    (job,) = allocation_jobs([VIEW])
    assert (job.job_id, job.weight, job.devices, job.can_pause, job.curve) == ("train", 2.0, 2, True, CURVE)
    assert job.min_throughput == pytest.approx(0.75)


def test_what_cannot_be_counted_on_is_left_out() -> None:
    views = [
        replace(VIEW, job_id="done", state=JobState.FINISHED),
        replace(VIEW, job_id="unknown", curve=()),
        replace(VIEW, job_id="lost", device_ids=("g9",)),
        replace(VIEW, job_id="half", device_ids=("g1", "g9")),
        replace(VIEW, job_id="paused", state=JobState.PAUSED),
    ]
    found = allocation_jobs(views, ranges=ranges("g0", "g1"))
    assert [(job.job_id, job.devices) for job in found] == [("half", 1), ("paused", 2)]


def test_who_may_be_paused() -> None:
    assert not allocation_jobs([replace(VIEW, max_pause_s=0.0)])[0].can_pause
    assert not allocation_jobs([VIEW], pausable=())[0].can_pause
    assert allocation_jobs([VIEW], pausable={"train"})[0].can_pause


def test_unknown_idle_power_is_taken_for_the_least_measured() -> None:
    assert allocation_jobs([VIEW])[0].idle_w == 95.0
    assert allocation_jobs([VIEW], idle_w=60.0)[0].idle_w == 60.0


def test_no_cap_is_planned_that_a_device_would_not_take() -> None:
    mixed = {"g0": RANGE, "g1": CapRange(min_w=150.0, default_w=400.0, max_w=400.0)}
    (job,) = allocation_jobs([replace(VIEW, min_throughput=0.0)], ranges=mixed)
    assert job.curve[0] == CurvePoint(cap_w=150.0, power_w=142.5, throughput=0.5)
    found = allocate([job], target_w=0.0)
    assert device_caps(found, [VIEW], mixed) == {"g0": 150.0, "g1": 150.0}
    (stiff,) = allocation_jobs(
        [VIEW], ranges=ranges("g0", "g1", found=CapRange(min_w=500.0, default_w=700.0, max_w=700.0))
    )
    assert stiff.curve == CURVE[-1:]


def test_the_measured_curve_keeps_the_promise() -> None:
    bent = (CURVE[0], CurvePoint(cap_w=200.0, power_w=190.0, throughput=0.25), CURVE[2])
    (job,) = allocation_jobs([replace(VIEW, curve=bent, min_throughput=0.5)])
    found = allocate([job], target_w=0.0)
    # Measured, half the throughput is a third of the way from 190 W to 380 W.
    assert found.jobs[0].cap_w == pytest.approx(200.0 + 200.0 / 3)


def test_caps_are_clamped_and_only_for_devices_that_are_there() -> None:
    found = allocate(allocation_jobs([VIEW]), target_w=10_000.0)
    caps = device_caps(found, [VIEW], ranges("g0", "g7", found=CapRange(min_w=100.0, default_w=300.0, max_w=350.0)))
    assert caps == {"g0": 350.0}


def test_a_shared_device_has_the_higher_cap() -> None:
    other = replace(VIEW, job_id="serve", device_ids=("g1",), min_throughput=1.0)
    found = allocate(allocation_jobs([VIEW, other]), target_w=0.0)
    assert device_caps(found, [VIEW, other], ranges("g0", "g1")) == {
        "g0": pytest.approx(191.6667, rel=0.1),
        "g1": 400.0,
    }


def test_a_paused_jobs_devices_wait_at_its_floor() -> None:
    found = allocate(allocation_jobs([VIEW]), target_w=0.0, paused={"train"})
    floor = allocate(allocation_jobs([VIEW]), target_w=0.0)
    assert device_caps(found, [VIEW], ranges("g0")) == device_caps(floor, [VIEW], ranges("g0"))
