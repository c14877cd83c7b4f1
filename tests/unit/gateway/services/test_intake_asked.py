"""What an event or a connection asks of intake: a random start and end, our targets, and to come at once."""

import asyncio
from dataclasses import replace
from datetime import timedelta

from gateway.domain.event import EventState, state
from gateway.domain.random_start import cancelled_late, delay_s
from protocols.grid import EventStatus, GridEvent, Opt, Refusal, Target
from tests.unit.gateway.services.rig import CONNECTION_ID, STARTS_AT, Rig, ScriptedConnection

SITE_ID = "site-b"


class Pushed(ScriptedConnection):
    """A connection that is sent messages, and knows its own targets."""

    poll_s = 3600.0

    def __init__(self) -> None:
        super().__init__()
        self.woken = asyncio.Event()

    def not_ours(self, event: GridEvent) -> str | None:
        return "meant for the north" if Target(kind="group", value="north") in event.targets else None


async def test_a_random_start_is_drawn_once_and_stays(rig: Rig) -> None:
    event = rig.event(in_s=60.0, lasts_s=120.0, start_tolerance_s=60.0)
    delay = timedelta(seconds=delay_s(event, SITE_ID))
    assert delay > timedelta(seconds=5)
    rig.connection.says = [rig.batch(event), rig.batch(event), rig.batch(replace(event, revision=1, rank=1))]
    await rig.run(rig.intake(site_id=SITE_ID), for_s=10)
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    assert (record.event.revision, record.event.starts_at) == (1, STARTS_AT + timedelta(seconds=60) + delay)
    lines = await rig.ledger.log(CONNECTION_ID, "peak-1")
    assert any(f"begins {delay.total_seconds():.0f} s later" in line.detail for line in lines)


async def test_power_goes_down_at_the_drawn_start_and_not_before(rig: Rig) -> None:
    event = rig.event(in_s=20.0, lasts_s=60.0, start_tolerance_s=60.0)
    starts_s = 20.0 + delay_s(event, SITE_ID)
    rig.connection.says = [rig.batch(event)]
    seen: dict[str, int] = {}
    await rig.run(
        rig.metering(),
        rig.intake(site_id=SITE_ID),
        rig.dispatch(),
        for_s=starts_s + 20,
        script={
            starts_s - 1.5: lambda: seen.update(before=rig.capped()),
            starts_s + 6: lambda: seen.update(after=rig.capped()),
        },
    )
    assert seen["before"] == 0
    assert seen["after"] > 0


async def test_an_event_that_runs_and_is_cancelled_ends_at_random_within_its_tolerance(rig: Rig) -> None:
    event = rig.event(lasts_s=3600.0, start_tolerance_s=60.0)
    began_s = delay_s(event, SITE_ID)
    cancelled = replace(event, revision=1, status=EventStatus.CANCELLED)
    at = STARTS_AT + timedelta(seconds=began_s + 20)
    rig.connection.says = [rig.batch(event)]
    held: dict[str, int] = {}

    async def cancel() -> None:
        rig.connection.says = [rig.batch(cancelled)]

    wait_s = (cancelled_late(event, SITE_ID, at) - at).total_seconds()
    assert wait_s > 8
    await rig.run(
        rig.metering(),
        rig.intake(site_id=SITE_ID),
        rig.dispatch(),
        for_s=began_s + 20 + wait_s + 15,
        script={
            began_s + 20: cancel,
            began_s + 20 + wait_s - 3: lambda: held.update(before=rig.capped()),
            began_s + 20 + wait_s + 10: lambda: held.update(after=rig.capped()),
        },
    )
    assert held["before"] > 0
    assert held["after"] == 0
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    assert record.event.status is EventStatus.CANCELLED
    assert record.ended_at is not None
    assert 0 <= (record.ended_at - at).total_seconds() - wait_s <= 3
    assert state(record, rig.clock.now()) is EventState.CANCELLED
    assert rig.connection.answers[-1][0].opt is Opt.IN


async def test_an_event_that_has_not_begun_is_cancelled_at_once(rig: Rig) -> None:
    event = rig.event(in_s=600.0, lasts_s=3600.0, start_tolerance_s=60.0)
    rig.connection.says = [rig.batch(event), rig.batch(replace(event, revision=1, status=EventStatus.CANCELLED))]
    await rig.run(rig.intake(site_id=SITE_ID), for_s=10)
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    assert state(record, rig.clock.now()) is EventState.CANCELLED


async def test_an_event_that_we_began_late_is_not_cancelled_by_the_grids_own_end(rig: Rig) -> None:
    event = rig.event(lasts_s=60.0, start_tolerance_s=60.0)
    late = delay_s(event, SITE_ID)
    assert late > 10
    rig.connection.says = [rig.batch(event)]

    def end() -> None:
        rig.connection.says = [rig.batch()]

    await rig.run(rig.intake(site_id=SITE_ID), for_s=60 + late + 5, script={62: end})
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    assert record.ended_at is None
    assert state(record, rig.clock.now()) is EventState.COMPLETED


async def test_an_event_that_runs_and_is_no_longer_listed_ends_at_random_too(rig: Rig) -> None:
    event = rig.event(lasts_s=3600.0, start_tolerance_s=60.0)
    late = delay_s(event, SITE_ID)
    rig.connection.says = [rig.batch(event)]

    def drop() -> None:
        rig.connection.says = [rig.batch()]

    await rig.run(rig.intake(site_id=SITE_ID), for_s=late + 30, script={late + 20: drop})
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    assert record.ended_at is not None
    assert "at random" in record.end_cause
    assert 0 < (record.ended_at - STARTS_AT).total_seconds() - late - 20 <= 65


async def test_what_is_pushed_is_taken_at_once(rig: Rig) -> None:
    connection = Pushed()

    def push() -> None:
        connection.says = [rig.batch(rig.event(in_s=600.0))]
        connection.woken.set()

    await rig.run(rig.intake(connection), for_s=60, script={30: push})
    assert [(at - STARTS_AT).total_seconds() for at in connection.asked_at] == [0.0, 30.0]
    assert len(connection.answers) == 1


async def test_a_connection_that_knows_its_targets_is_believed(rig: Rig) -> None:
    connection = Pushed()
    elsewhere = rig.event(in_s=600.0, targets=(Target(kind="group", value="north"),))
    named = rig.event(in_s=900.0, event_id="peak-2", targets=(Target(kind="ven", value="not-ours"),))
    connection.says = [rig.batch(elsewhere, named)]
    await rig.run(rig.intake(connection), for_s=5)
    (answers,) = connection.answers
    assert [(answer.opt, answer.refusal, answer.detail[:9]) for answer in answers] == [
        (Opt.OUT, Refusal.NOT_OUR_TARGET, "meant for"),
        (Opt.IN, None, "SIMPLE go"),
    ]
