"""Dispatch against a real ledger and fleet: what it holds, when it lets go, and what it does when something is away."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.domain.event import EventRecord, EventState, state
from gateway.domain.plan import LiveBaseline
from hardware.device import PowerReading
from hardware.faults import Faults
from protocols.grid import EventStatus, Opt, OptDecision, SignalKind
from tests.unit.gateway.services.rig import CONNECTION_ID, SITE, STARTS_AT, Rig


def site_w(rig: Rig) -> float:
    return rig.physical.site_w()


async def test_caps_are_down_within_five_seconds_and_back_within_five(rig: Rig) -> None:
    before_w = site_w(rig)
    seen: dict[str, float] = {}
    await rig.take(rig.event(in_s=10, lasts_s=30))
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=50,
        script={
            9: lambda: seen.update(before=rig.capped()),
            15: lambda: seen.update(down_w=site_w(rig)),
            39: lambda: seen.update(held_w=site_w(rig)),
            45: lambda: seen.update(after=rig.capped(), back_w=site_w(rig)),
        },
    )
    assert seen["before"] == 0 == seen["after"]
    assert seen["down_w"] < 0.85 * before_w
    assert seen["held_w"] == pytest.approx(0.8 * before_w, rel=0.02)
    assert seen["back_w"] == pytest.approx(before_w, rel=0.03)
    assert await rig.words() == ["planned", "scheduled", "started", "released"]


async def test_a_test_event_and_an_event_that_we_opted_out_of_move_nothing(rig: Rig) -> None:
    await rig.take(rig.event(test=True, lasts_s=20))
    await rig.take(rig.event(event_id="peak-2", lasts_s=20), Opt.OUT)
    await rig.run(rig.dispatch(), rig.metering(), for_s=15)
    assert rig.link.commands == []


async def test_an_event_that_was_over_when_it_came_moves_nothing(rig: Rig) -> None:
    await rig.take(rig.event(in_s=-100, lasts_s=60))
    await rig.run(rig.dispatch(), rig.metering(), for_s=5)
    assert rig.link.commands == []
    assert await rig.ledger.plan(CONNECTION_ID, "peak-1") is None


async def test_an_event_that_started_before_it_came_is_held_for_the_rest(rig: Rig) -> None:
    held: list[int] = []
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=40,
        script={
            10: lambda: rig.take(rig.event(in_s=-5, lasts_s=20)),
            14: lambda: held.append(rig.capped()),
            30: lambda: held.append(rig.capped()),
        },
    )
    assert held[0] > 0 == held[1]


async def test_a_cancel_puts_everything_back_at_once(rig: Rig) -> None:
    held: list[int] = []

    async def cancel() -> None:
        await rig.ledger.end_event(CONNECTION_ID, "peak-1", rig.clock.now(), "cancelled by the sender")

    await rig.take(rig.event(lasts_s=600))
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=16,
        script={10: lambda: held.append(rig.capped()), 10.5: cancel, 11: lambda: held.append(rig.capped())},
    )
    assert held[0] > 0 == held[1]


async def test_an_open_ended_event_holds_until_it_is_cancelled(rig: Rig) -> None:
    held: list[int] = []
    event = await rig.take(rig.event(lasts_s=None))
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=80,
        script={
            60: lambda: held.append(rig.capped()),
            61: lambda: rig.take(replace(event, revision=1, status=EventStatus.CANCELLED)),
            65: lambda: held.append(rig.capped()),
        },
    )
    assert held[0] > 0 == held[1]


async def test_a_higher_revision_is_planned_anew_on_the_frozen_baseline(rig: Rig) -> None:
    caps: list[int] = []
    event = await rig.take(rig.event(in_s=5, lasts_s=60))
    started_at = event.starts_at

    async def modify() -> None:
        deeper = rig.event(in_s=0, lasts_s=60, value=3.0, revision=1)
        await rig.take(replace(deeper, starts_at=started_at))

    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=50,
        script={30: modify} | {30 + tenth / 10: lambda: caps.append(rig.capped()) for tenth in range(1, 20)},
    )
    plan = await rig.ledger.plan(CONNECTION_ID, "peak-1")
    assert plan is not None
    assert plan.revision == 1
    assert plan.baseline_w == pytest.approx(plan.intervals[0].start_w / 0.7)
    baseline = LiveBaseline(
        connection_id=CONNECTION_ID, event_id="peak-1", power_w=1.0, from_at=started_at, to_at=started_at, readings=1
    )
    assert (await rig.ledger.freeze_baseline(baseline)).power_w == plan.baseline_w
    assert min(caps) > 0, "the caps stay down in between"


async def test_an_event_that_comes_while_the_events_are_being_read_is_seen(rig: Rig) -> None:
    event = rig.event(in_s=3, lasts_s=30)
    read = rig.ledger.events
    overtaken = 0

    async def read_slowly(since: datetime | None = None) -> tuple[EventRecord, ...]:
        nonlocal overtaken
        found = await read(since)
        if overtaken == 1:
            overtaken = 2
            await rig.take(event)
        return found

    async def wake_dispatch() -> None:
        nonlocal overtaken
        overtaken = 1
        await rig.take(rig.event(event_id="other", in_s=1000))

    rig.ledger.events = read_slowly  # type: ignore[method-assign] - a reader that a writer overtakes
    held: list[int] = []
    # Between two seconds: metering looks at the events only at the next one.
    script = {2.5: wake_dispatch, 8.0: lambda: held.append(rig.capped())}
    await rig.run(rig.dispatch(), rig.metering(), for_s=10, script=script)
    assert overtaken == 2
    assert held[0] > 0


async def test_of_two_events_the_lower_target_holds_and_the_other_goes_on_after_it(rig: Rig) -> None:
    before_w = site_w(rig)
    seen: dict[str, float] = {}
    await rig.take(rig.event(in_s=5, lasts_s=60, value=1.0))
    await rig.take(rig.event(event_id="peak-2", in_s=15, lasts_s=20, value=2.0))
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=80,
        script={
            14: lambda: seen.update(first_w=site_w(rig)),
            34: lambda: seen.update(both_w=site_w(rig)),
            60: lambda: seen.update(one_w=site_w(rig)),
            72: lambda: seen.update(after=rig.capped()),
        },
    )
    assert seen["first_w"] == pytest.approx(0.9 * before_w, rel=0.02)
    assert seen["both_w"] == pytest.approx(0.8 * before_w, rel=0.02)
    assert seen["one_w"] == pytest.approx(0.9 * before_w, rel=0.02)
    assert seen["after"] == 0
    second = await rig.ledger.plan(CONNECTION_ID, "peak-2")
    first = await rig.ledger.plan(CONNECTION_ID, "peak-1")
    assert first is not None
    assert second is not None
    assert second.baseline_w == first.baseline_w, "what the first curtails does not lower the second's baseline"
    assert "started" in await rig.words("peak-2")


async def test_a_restart_goes_on_with_the_plan_on_record(rig: Rig) -> None:
    await rig.take(rig.event(lasts_s=120))
    await rig.run(rig.dispatch(), rig.metering(), for_s=20)
    assert rig.capped() == 0
    plan = await rig.ledger.plan(CONNECTION_ID, "peak-1")
    rig.epoch = 2
    held: list[int] = []
    await rig.run(rig.dispatch(), rig.metering(), for_s=10, script={5: lambda: held.append(rig.capped())})
    assert held[0] > 0
    assert await rig.ledger.plan(CONNECTION_ID, "peak-1") == plan


async def test_a_ledger_locked_from_before_the_start_does_not_keep_control_waiting(rig: Rig) -> None:
    seen: dict[str, object] = {}

    def lock(locked: bool) -> None:
        rig.database.locked = locked

    await rig.take(rig.event(in_s=10, lasts_s=30))
    await rig.run(
        rig.dispatch(),
        rig.metering(flush_s=1.0),
        for_s=60,
        script={
            5: lambda: lock(True),
            20: lambda: seen.update(held=rig.capped(), trouble=rig.readiness.parts()["dispatch"]),
            45: lambda: seen.update(after=rig.capped()),
            50: lambda: lock(False),
        },
    )
    assert seen["held"] != 0
    assert "another process holds the database" in str(seen["trouble"])
    assert seen["after"] == 0
    assert await rig.words() == ["planned", "scheduled", "started", "released"]
    assert await rig.ledger.plan(CONNECTION_ID, "peak-1") is not None
    assert rig.readiness.parts()["dispatch"] is None


async def test_a_ledger_that_cannot_even_be_read_when_an_event_ends_does_not_hold_it(rig: Rig) -> None:
    held: list[int] = []

    def fail(failing: bool) -> None:
        rig.database.locked = rig.database.unreadable = failing

    async def fail_after_a_change() -> None:
        rig.database.unreadable = True
        await rig.take(rig.event(event_id="later", in_s=5000))
        fail(True)

    await rig.take(rig.event(lasts_s=40))
    await rig.run(
        rig.dispatch(),
        rig.metering(flush_s=1.0),
        for_s=60,
        script={
            10: fail_after_a_change,
            38: lambda: held.append(rig.capped()),
            46: lambda: held.append(rig.capped()),
            50: lambda: fail(False),
        },
    )
    assert held[0] > 0 == held[1]


async def test_an_agent_that_is_gone_for_a_while_is_told_again(rig: Rig) -> None:
    held: list[int] = []

    def cut(gone: bool) -> None:
        rig.link.cut = gone

    await rig.take(rig.event(in_s=5, lasts_s=60))
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=100,
        script={
            3: lambda: cut(True),
            20: lambda: held.append(rig.capped()),
            21: lambda: cut(False),
            26: lambda: held.append(rig.capped()),
            60: lambda: cut(True),
            70: lambda: cut(False),
            73: lambda: held.append(rig.capped()),
        },
    )
    assert held[0] == 0
    assert held[1] > 0
    assert held[2] == 0
    assert await rig.words() == ["planned", "scheduled", "started", "released"]


async def test_nothing_is_put_back_before_the_events_are_known(rig: Rig) -> None:
    await rig.take(rig.event(lasts_s=120))
    leaving = rig.dispatch()
    leaving._put_back = _killed  # type: ignore[method-assign] - a gateway that is killed puts nothing back
    await rig.run(leaving, rig.metering(), for_s=10)
    assert rig.capped() > 0
    held: list[int] = []

    def recover() -> None:
        rig.database.unreadable = False

    rig.database.unreadable = True
    rig.epoch = 2
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=8,
        script={3: lambda: held.append(rig.capped()), 4: recover, 7: lambda: held.append(rig.capped())},
    )
    assert held[0] > 0
    assert held[1] > 0


async def _killed() -> None:
    return


async def test_caps_left_behind_by_a_killed_gateway_are_put_back_at_the_start(rig: Rig) -> None:
    await rig.take(rig.event(lasts_s=10))
    leaving = rig.dispatch()
    leaving._put_back = _killed  # type: ignore[method-assign] - a gateway that is killed puts nothing back
    await rig.run(leaving, rig.metering(), for_s=9)
    assert rig.capped() > 0
    rig.epoch = 2
    await rig.run(rig.dispatch(), for_s=3)
    assert rig.capped() == 0


async def test_a_lost_device_leaves_the_event_and_does_not_make_the_release_endless(rig: Rig) -> None:
    seen: list[object] = []
    lost = Faults(lost=frozenset({"h00-d1"}))
    await rig.take(rig.event(lasts_s=30))
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=60,
        script={
            10: lambda: rig.physical.inject(lost),
            28: lambda: seen.append(rig.capped()),
            50: lambda: seen.append(rig.readiness.parts()["dispatch"]),
        },
    )
    assert seen[0] != 0
    assert seen[1] is None
    assert await rig.words() == ["planned", "started", "scheduled", "scheduled", "released"]


async def test_a_silent_site_meter_holds_what_stands_and_says_so(rig: Rig) -> None:
    seen: dict[str, object] = {}
    await rig.take(rig.event(lasts_s=90))
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=100,
        script={
            20: lambda: rig.physical.inject(Faults(silent_meters=frozenset({SITE.meter_id}))),
            80: lambda: seen.update(held=rig.capped(), dispatch=rig.readiness.parts()["dispatch"]),
            85: lambda: rig.physical.inject(Faults()),
            89: lambda: seen.update(well=rig.readiness.parts()["dispatch"]),
        },
    )
    assert seen["held"] != 0
    assert "the site meter is silent or not believed: hold" in str(seen["dispatch"])
    assert seen["well"] is None


async def test_a_program_that_is_declared_no_longer_stops_nobody(rig: Rig) -> None:
    held: list[int] = []
    await rig.take(rig.event(event_id="old", program_id="gone", lasts_s=20))
    await rig.take(rig.event(lasts_s=20))
    await rig.run(rig.dispatch(), rig.metering(), for_s=12, script={10: lambda: held.append(rig.capped())})
    assert held[0] > 0
    assert await rig.ledger.plan(CONNECTION_ID, "old") is None


async def test_a_stop_puts_everything_back(rig: Rig) -> None:
    await rig.take(rig.event(lasts_s=600))
    await rig.run(rig.dispatch(), rig.metering(), for_s=10)
    assert rig.link.commands
    assert rig.capped() == 0


async def test_a_revision_on_record_before_its_decision_would_stop_the_event(rig: Rig) -> None:
    """Why intake records the decision first: without one a revision is nobody's to act on."""
    held: list[int] = []
    event = await rig.take(rig.event(lasts_s=60))
    undecided = replace(event, revision=1)
    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=20,
        script={
            10: lambda: rig.ledger.record_event(undecided, rig.clock.now()),
            12: lambda: held.append(rig.capped()),
        },
    )
    assert held == [0]
    (record,) = await rig.ledger.events()
    assert state(record, rig.clock.now()) is EventState.ACTIVE
    assert record.decision is None


async def test_the_decision_wakes_as_the_event_does(rig: Rig) -> None:
    held: list[int] = []
    event = rig.event(lasts_s=60)

    async def decide() -> None:
        now = rig.clock.now()
        await rig.ledger.record_decision(
            OptDecision(connection_id=CONNECTION_ID, event_id=event.event_id, revision=0, opt=Opt.IN, decided_at=now)
        )

    await rig.run(
        rig.dispatch(),
        rig.metering(),
        for_s=12,
        script={
            2: lambda: rig.ledger.record_event(event, rig.clock.now()),
            4.25: decide,
            9: lambda: held.append(rig.capped()),
        },
    )
    assert held[0] > 0
    plan = await rig.ledger.plan(CONNECTION_ID, "peak-1")
    assert plan is not None
    assert plan.made_at - event.starts_at < timedelta(seconds=5)


async def test_a_reading_that_a_clock_set_back_left_in_the_future_is_no_feedback(rig: Rig) -> None:
    dispatch, now = rig.dispatch(), rig.clock.now()
    reading = PowerReading(meter_id=SITE.meter_id, power_w=3000.0, measured_at=now)
    rig.ledger.publish([reading])
    assert dispatch._reach.site_w(now + timedelta(seconds=5)) == 3000.0
    assert dispatch._reach.site_w(now + timedelta(seconds=6)) is None
    assert dispatch._reach.site_w(now - timedelta(hours=1)) is None


async def test_what_the_site_draws_over_its_target_with_nothing_left_to_give_is_told_once_to_its_event(
    rig: Rig,
) -> None:
    full_w = rig.physical._physics.site_w()
    await rig.take(rig.event(in_s=10, lasts_s=120, kind=SignalKind.LIMIT, value=0.3 * full_w))
    await rig.run(rig.metering(), rig.dispatch(), for_s=150)
    lines = await rig.ledger.log("utility", "peak-1")
    (short,) = [line for line in lines if line.what == "shortfall"]
    assert short.detail.endswith("kW over its target, and no job has anything left to give")
    assert timedelta(seconds=15) <= short.at - STARTS_AT - timedelta(seconds=10) <= timedelta(seconds=40)


async def test_a_site_that_comes_under_its_target_has_no_shortfall(rig: Rig) -> None:
    full_w = rig.physical._physics.site_w()
    await rig.take(rig.event(in_s=10, lasts_s=120, kind=SignalKind.LIMIT, value=0.85 * full_w))
    await rig.run(rig.metering(), rig.dispatch(), for_s=150)
    assert "shortfall" not in await rig.words()
