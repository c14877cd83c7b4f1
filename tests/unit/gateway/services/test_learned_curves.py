"""Curves learnt from what dispatch knows each second."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.services.dispatch import Dispatch
from gateway.services.learned_curves import LearnedCurves
from hardware.device import PowerReading
from hardware.job import CurvePoint, JobView
from tests.unit.gateway.services.rig import Rig

BEGAN = datetime(2026, 7, 15, 12, tzinfo=UTC)
TABLE = tuple(
    CurvePoint(cap_w=cap_w, power_w=power_w, throughput=throughput)
    for cap_w, power_w, throughput in (
        (100.0, 101.0, 0.2),
        (200.0, 198.0, 0.7),
        (300.0, 295.0, 0.9),
        (400.0, 380.0, 1.0),
    )
)
JOB = JobView(job_id="train", device_ids=("d0", "d1"), tier="flex2", weight=1.0, min_throughput=0.75, curve=TABLE)


def drawn(learned: LearnedCurves, *, power_w: float, cap_w: float | None, seconds: int, from_s: int = 0) -> int:
    """Both devices draw this for a while."""
    for second in range(from_s, from_s + seconds):
        now = BEGAN + timedelta(seconds=second)
        readings = {one: PowerReading(meter_id=one, power_w=power_w, measured_at=now) for one in JOB.device_ids}
        learned.note(
            now, [JOB], readings=readings, caps_w={} if cap_w is None else dict.fromkeys(JOB.device_ids, cap_w)
        )
    return from_s + seconds


def power_at(curve: tuple[CurvePoint, ...], cap_w: float) -> float:
    return next(point.power_w for point in curve if point.cap_w == cap_w)


def test_a_job_that_draws_less_than_its_table_is_known_to_and_one_that_does_not_keeps_it():
    learned = LearnedCurves()
    at_s = drawn(learned, power_w=300.0, cap_w=None, seconds=120)
    at_s = drawn(learned, power_w=240.0, cap_w=250.0, seconds=120, from_s=at_s)
    (job,) = learned.taken_up([JOB], BEGAN + timedelta(seconds=at_s))
    assert power_at(job.curve, 400.0) == pytest.approx(300.0, rel=0.03)
    assert learned.as_taken([JOB]) == (job,)
    other = replace(JOB, job_id="new")
    assert learned.taken_up([other], BEGAN) == (other,)


def test_nothing_is_learnt_right_after_a_write_and_a_declared_curve_that_changes_begins_anew():
    learned = LearnedCurves()
    at_s = drawn(learned, power_w=300.0, cap_w=None, seconds=60)
    for turn in range(30):
        at_s = drawn(learned, power_w=90.0, cap_w=300.0 + 10.0 * (turn % 2), seconds=4, from_s=at_s)
    (job,) = learned.taken_up([JOB], BEGAN + timedelta(seconds=at_s))
    assert power_at(job.curve, 300.0) > 250.0
    anew = replace(JOB, curve=TABLE[1:])
    learned.note(BEGAN + timedelta(seconds=at_s), [anew], readings={}, caps_w={})
    assert learned.as_taken([anew]) == (anew,)


async def test_an_event_is_held_by_learnt_curves_as_by_declared_ones(rig: Rig) -> None:
    learned = LearnedCurves()
    dispatch = Dispatch(
        fleet=rig.fleet,
        site=rig.site,
        programs=rig.programs,
        ledger=rig.ledger,
        clock=rig.clock,
        actuator=rig.actuator(),
        readiness=rig.readiness,
        curves=learned,
    )
    before_w = rig.physical._physics.site_w()
    await rig.take(rig.event(in_s=60, lasts_s=60))
    seen: list[float] = []
    script = {at_s: lambda: seen.append(rig.physical._physics.site_w()) for at_s in (75.0, 90.0, 110.0)}
    await rig.run(rig.metering(), dispatch, for_s=150, script=script)
    assert seen == pytest.approx([0.8 * before_w] * 3, rel=0.015)
    assert rig.capped() == 0
