"""Intake: durable before acknowledged, once for each revision, and no message stops the next one."""

from dataclasses import replace
from datetime import datetime, timedelta
from itertools import pairwise

import pytest
from structlog.testing import capture_logs

from gateway import app
from gateway.domain.event import EventState, effective_end, state
from gateway.services.settling import settles
from protocols.errors import MalformedMessage, Unreachable
from protocols.grid import EventStatus, GridEvent, Opt, Refusal
from tests.unit.gateway.services.rig import CONNECTION_ID, STARTS_AT, Rig


def answered(rig: Rig) -> list[tuple[str, int, Opt]]:
    return [(one.event_id, one.revision, one.opt) for answer in rig.connection.answers for one in answer]


async def test_an_event_is_durable_before_it_is_acknowledged(rig: Rig) -> None:
    event = rig.event(in_s=600)
    rig.connection.says = [rig.batch(event)]
    rig.database.locked = True

    def unlock() -> None:
        assert rig.connection.answers == []
        assert rig.readiness.parts()[f"connection {CONNECTION_ID}"] == "another process holds the database"
        rig.database.locked = False

    await rig.run(rig.intake(), for_s=20, script={10: unlock})
    assert answered(rig) == [("peak-1", 0, Opt.IN)]
    (record,) = await rig.ledger.events()
    assert record.event == event
    assert record.acknowledged_at is not None
    assert rig.readiness.parts()[f"connection {CONNECTION_ID}"] is None


async def test_an_answer_that_did_not_get_through_is_said_again(rig: Rig) -> None:
    rig.connection.says = [rig.batch(rig.event(in_s=600))]
    respond = rig.connection.respond

    async def lost(*_: object) -> None:
        rig.connection.respond = respond  # type: ignore[method-assign] - the next one gets through
        raise Unreachable("the answer was lost")

    rig.connection.respond = lost  # type: ignore[method-assign, assignment] - the first answer is lost
    await rig.run(rig.intake(), for_s=10)
    assert answered(rig) == [("peak-1", 0, Opt.IN)]
    assert await rig.words() == ["new"]


async def test_the_same_message_twice_acts_once_and_is_answered_twice(rig: Rig) -> None:
    event = rig.event(in_s=600)
    rig.connection.says = [rig.batch(event), rig.batch(event)]
    await rig.run(rig.intake(), for_s=10)
    assert answered(rig) == [("peak-1", 0, Opt.IN)] * 2
    assert await rig.words() == ["new"]


async def test_a_test_event_is_answered(rig: Rig) -> None:
    rig.connection.says = [rig.batch(rig.event(in_s=600, test=True))]
    await rig.run(rig.intake(), for_s=3)
    assert answered(rig) == [("peak-1", 0, Opt.IN)]


async def test_what_is_listed_no_longer_is_cancelled_by_implication(rig: Rig) -> None:
    one, other = rig.event(in_s=600), rig.event(event_id="peak-2", in_s=600)
    rig.connection.says = [rig.batch(one, other), rig.batch(other)]
    await rig.run(rig.intake(), for_s=5)
    ended = {record.event.event_id: record.end_cause for record in await rig.ledger.events()}
    assert "cancelled by implication" in ended["peak-1"]
    assert ended["peak-2"] == ""


async def test_a_message_that_cannot_be_read_is_marked_and_the_next_one_is_taken(rig: Rig) -> None:
    fault = MalformedMessage("line 3: out of order")
    fault.raw_sha256 = "cd" * 32
    event = rig.event(in_s=600)
    rig.connection.says = [fault, rig.batch(event)]
    said: list[str | None] = []
    await rig.run(
        rig.intake(), for_s=5, script={1: lambda: said.append(rig.readiness.parts()[f"connection {CONNECTION_ID}"])}
    )
    assert said == ["its last message cannot be read: line 3: out of order"]
    assert [item.raw_sha256 for item in await rig.ledger.quarantined()] == ["cd" * 32]
    assert answered(rig) == [("peak-1", 0, Opt.IN)]
    assert rig.readiness.ready


async def test_an_event_that_makes_intake_raise_does_not_take_the_others_with_it(rig: Rig) -> None:
    naive = replace(rig.event(event_id="bad"), starts_at=STARTS_AT.replace(tzinfo=None))
    good = rig.event(in_s=600)
    rig.connection.says = [rig.batch(good, naive), rig.batch(good, rig.event(event_id="next", in_s=900))]
    with capture_logs() as lines:
        await rig.run(rig.intake(), for_s=5)
    assert [line["event"] for line in lines].count("batch_quarantined") == 1
    first = {one.event_id: one for one in rig.connection.answers[0]}
    assert first["peak-1"].opt is Opt.IN
    assert (first["bad"].opt, first["bad"].refusal) == (Opt.OUT, Refusal.INTERNAL_ERROR)
    (item,) = await rig.ledger.quarantined()
    assert item.raw_sha256 == rig.batch().raw_sha256
    assert "TypeError" in item.reason
    assert {record.event.event_id for record in await rig.ledger.events()} == {"peak-1", "next"}
    assert rig.connection.refused == []


async def test_a_message_that_makes_intake_raise_as_a_whole_is_answered_with_an_error(rig: Rig) -> None:
    # What is compared with the time of receipt raises: one that nothing can be done with.
    await rig.take(rig.event(in_s=600))
    bad = rig.batch(complete=True, received_at=STARTS_AT.replace(tzinfo=None))
    rig.connection.says = [bad, rig.batch(rig.event(in_s=600))]
    with capture_logs() as lines:
        await rig.run(rig.intake(), for_s=5)
    assert [line["event"] for line in lines].count("batch_quarantined") == 1
    assert rig.connection.refused == [bad]
    assert len(await rig.ledger.quarantined()) == 1
    assert len(rig.connection.answers) == 1


async def test_retries_begin_within_ten_seconds_and_come_once_a_minute_at_the_least(rig: Rig) -> None:
    rig.connection.poll_s = 10.0
    rig.connection.down = Unreachable("nobody answers")
    await rig.run(rig.intake(), for_s=400)
    asked_at = rig.connection.asked_at
    gaps_s = [(later - earlier).total_seconds() for earlier, later in pairwise(asked_at)]
    assert gaps_s[0] <= 10.0
    assert gaps_s == sorted(gaps_s)
    assert max(gaps_s) == 60.0


async def test_an_old_event_that_is_listed_again_is_known_still(rig: Rig) -> None:
    event = rig.event(lasts_s=60)
    rig.connection.says = [rig.batch(event)]
    await rig.run(rig.intake(), for_s=3)
    rig.clock._now += timedelta(days=60)
    rig.connection.says = [rig.batch(event)]
    await rig.run(rig.intake(), for_s=3)
    assert await rig.words() == ["new"]


async def cancelled_after(rig: Rig, event: GridEvent, cancel: GridEvent) -> None:
    rig.connection.says = [rig.batch(event)]
    await rig.run(rig.intake(), for_s=30)
    rig.connection.says = [rig.batch(cancel)]
    await rig.run(rig.intake(), for_s=30)


@pytest.mark.parametrize("revision", [0, 1])
async def test_a_cancel_does_not_make_us_have_taken_part_in_what_we_opted_out_of(rig: Rig, revision: int) -> None:
    event = rig.event(lasts_s=600, program_id="not ours")
    await cancelled_after(rig, event, replace(event, status=EventStatus.CANCELLED, revision=revision))
    answer = rig.connection.answers[-1][0]
    assert (answer.opt, answer.refusal) == (Opt.OUT, None), "acknowledged, without an error code"
    (record,) = await rig.ledger.events()
    assert state(record, rig.clock.now()) is EventState.CANCELLED
    assert not settles(record)


@pytest.mark.parametrize("revision", [0, 1])
async def test_a_cancel_ends_an_event_at_either_revision(rig: Rig, revision: int) -> None:
    event = rig.event(lasts_s=None)
    await cancelled_after(rig, event, replace(event, status=EventStatus.CANCELLED, revision=revision))
    (record,) = await rig.ledger.events()
    end = effective_end(record)
    assert end is not None
    assert event.starts_at < end <= rig.clock.now()
    assert settles(record)


async def test_a_modification_is_never_without_its_decision(rig: Rig) -> None:
    """Whoever is woken while a revision is recorded finds it decided."""
    undecided: list[int] = []
    record_event = rig.ledger.record_event

    async def look_at_once(event: GridEvent, at: datetime) -> bool:
        new = await record_event(event, at)
        undecided.extend(record.event.revision for record in await rig.ledger.events() if record.decision is None)
        return new

    rig.ledger.record_event = look_at_once  # type: ignore[method-assign] - a reader between two writes
    event = rig.event(in_s=600)
    rig.connection.says = [rig.batch(event), rig.batch(replace(event, revision=1))]
    await rig.run(rig.intake(), for_s=5)
    assert answered(rig) == [("peak-1", 0, Opt.IN), ("peak-1", 1, Opt.IN)]
    assert undecided == []


async def test_a_modification_in_the_middle_never_lets_the_site_up(rig: Rig) -> None:
    """Intake and dispatch together, over a real VTN and VEN joined by a function."""
    vtn = app.built_in_vtn(CONNECTION_ID, rig.parties, rig.clock)
    ven = app.joined_ven(CONNECTION_ID, vtn, rig.parties, rig.site)
    event = rig.event(in_s=5, lasts_s=60)
    held: list[int] = []
    await vtn.publish(event)
    await rig.run(
        rig.intake(ven),
        rig.dispatch(),
        rig.metering(),
        for_s=60,
        script={
            30: lambda: vtn.publish(replace(event, revision=1, duration_s=80.0)),
            **{30 + tenth / 10: lambda: held.append(rig.capped()) for tenth in range(1, 200)},
        },
    )
    assert min(held) > 0
    writes = len(rig.link.asked)
    assert writes == 2, "one restore at the start, one at the stop"
