"""Announced events, and what they will come to as the site is now."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.services.joint_plan import JointPlan
from protocols.grid import EventStatus, Opt, SignalKind
from tests.unit.gateway.services.rig import STARTS_AT, Rig
from tests.unit.gateway.services.test_joint_plan import Broken, Slow, dispatch


async def foreseen(rig: Rig, event_id: str = "peak-1") -> list[str]:
    return [line.detail for line in await rig.ledger.log("utility", event_id) if line.what == "foreseen"]


async def test_a_shortfall_is_told_in_the_notice_and_nothing_is_moved_for_it(rig: Rig) -> None:
    full_w = rig.physical._physics.site_w()
    await rig.take(rig.event(in_s=600, lasts_s=600, kind=SignalKind.LIMIT, value=0.3 * full_w))
    await rig.run(rig.metering(), rig.dispatch(), for_s=60)
    (words,) = await foreseen(rig)
    assert words.startswith("as the site is now, SIMPLE of peak-1 asks for ")
    assert "infeasible by heuristic" in words
    assert "kW over the target from 22:50:00Z" in words
    assert await rig.ledger.plan("utility", "peak-1") is None, "the baseline is not frozen yet"
    assert not rig.link.commands


async def test_each_revision_is_looked_at_once_and_one_that_begins_at_once_is_not(rig: Rig) -> None:
    event = rig.event(in_s=600, lasts_s=600)
    await rig.take(event)
    await rig.take(rig.event(event_id="soon", in_s=20, lasts_s=60))

    async def change() -> None:
        await rig.take(replace(event, revision=1, duration_s=300.0))

    await rig.run(rig.metering(), rig.dispatch(), for_s=200, script={100: change})
    assert len(await foreseen(rig)) == 2
    assert await foreseen(rig, "soon") == []


async def test_what_we_take_no_part_in_is_not_looked_at(rig: Rig) -> None:
    await rig.take(rig.event(event_id="out", in_s=600), Opt.OUT)
    await rig.take(rig.event(event_id="test", in_s=600, test=True))
    await rig.take(rig.event(event_id="gone", in_s=600, status=EventStatus.CANCELLED))
    await rig.run(rig.metering(), rig.dispatch(), for_s=30)
    assert [await foreseen(rig, event_id) for event_id in ("out", "test", "gone")] == [[], [], []]


async def test_the_event_before_stands_in_the_foresight_of_the_next(rig: Rig) -> None:
    slow = Slow()
    slow.let.set()
    await rig.take(rig.event(in_s=5, lasts_s=3600, kind=SignalKind.LIMIT, value=20_000.0))
    await rig.run(rig.metering(), dispatch(rig, JointPlan(slow)), for_s=30)
    before = len(slow.asked)
    await rig.take(rig.event(event_id="next", in_s=600, lasts_s=7200))
    await rig.run(rig.metering(), dispatch(rig, JointPlan(slow)), for_s=30)
    ahead = [problem for problem in slow.asked[before:] if problem.starts_at > STARTS_AT + timedelta(minutes=5)]
    assert len(ahead) == 1
    assert sum(interval.duration_s for interval in ahead[0].intervals) == pytest.approx(7200.0)
    assert len(await foreseen(rig, "next")) == 1


async def test_a_bug_in_planning_ahead_is_told_and_the_event_is_held_all_the_same(rig: Rig) -> None:
    await rig.take(rig.event(in_s=60, lasts_s=60))
    await rig.run(rig.metering(), dispatch(rig, JointPlan(Broken())), for_s=130)
    (words,) = await foreseen(rig)
    assert words.endswith("; who would be paused is not known: no such thing")
    assert "started" in await rig.words()


async def test_who_plans_ahead_is_let_go_with_the_gateway(rig: Rig) -> None:
    slow = Slow()
    await rig.take(rig.event(in_s=600, lasts_s=600))
    await rig.run(rig.metering(), dispatch(rig, JointPlan(slow)), for_s=30)
    assert len(slow.asked) == 1
    assert await foreseen(rig) == []


async def test_an_event_that_was_looked_at_long_ago_is_looked_at_again_when_it_is_near(rig: Rig) -> None:
    await rig.take(rig.event(in_s=2 * 3600, lasts_s=600))
    made = rig.dispatch()
    await rig.run(rig.metering(), made, for_s=30)
    rig.clock._now += timedelta(hours=1, minutes=40)
    await rig.run(rig.metering(), made, for_s=30)
    assert len(await foreseen(rig)) == 1
    await rig.run(rig.metering(), made, for_s=300)
    assert len(await foreseen(rig)) == 2
