"""A VEN and a VTN of ours talk; every body that goes either way is checked against the schema by ``joined``."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from protocols.errors import NotRegistered, Unreachable
from protocols.grid import (
    EventBatch,
    EventStatus,
    GridConnection,
    GridEvent,
    GridProgram,
    Opt,
    OptDecision,
    Refusal,
    Signal,
    SignalKind,
    Target,
)
from protocols.grid_report import IntervalReport, Receipt, ReportInterval
from protocols.party_store import Direction, PartyStore

FIRST_TURN = [
    "oadrQueryRegistration",
    "oadrCreatePartyRegistration",
    "oadrRegisterReport",
    "oadrCreatedReport",
    "oadrRequestEvent",
]


def decide(batch: EventBatch, now: datetime, opt: Opt = Opt.IN, **more: Any) -> list[OptDecision]:
    return [
        OptDecision(
            connection_id=batch.connection_id,
            event_id=event.event_id,
            revision=event.revision,
            opt=opt,
            decided_at=now,
            **more,
        )
        for event in batch.events
    ]


def report(order_id: str, now: datetime, report_id: str = "report-1", resource_id: str = "site-1") -> IntervalReport:
    return IntervalReport(
        report_id=report_id,
        order_id=order_id,
        connection_id="utility",
        resource_id=resource_id,
        created_at=now,
        intervals=tuple(
            ReportInterval(
                starts_at=now + timedelta(seconds=10 * index),
                duration_s=10.0,
                power_w=1000.0 + index,
                coverage_fraction=1.0,
            )
            for index in range(6)
        ),
    )


async def take(joined: Any, opt: Opt = Opt.IN, **more: Any) -> EventBatch | None:
    """One turn, answered."""
    batch: EventBatch | None = await joined.ven.receive(joined.now)
    if batch is not None:
        await joined.ven.respond(batch, decide(batch, joined.now, opt, **more), joined.now)
    return batch


def test_they_are_what_the_ports_ask_for(joined: Any) -> None:
    connection: GridConnection = joined.ven
    program: GridProgram = joined.vtn
    store: PartyStore = joined.ven_store
    assert (connection.connection_id, program.connection_id, store) == ("utility", "program", joined.ven_store)


async def test_a_ven_registers_offers_its_report_and_asks_for_events(joined: Any) -> None:
    batch = await take(joined)
    assert batch is not None
    assert (batch.events, batch.complete) == ((), True)
    assert joined.ven_store.names(Direction.OUT) == FIRST_TURN
    (party,) = await joined.vtn.parties()
    assert (party.name, [offer.resource_id for offer in party.offers]) == ("gateway", ["site-1"])
    assert joined.ven.party_ids == {party.party_id}
    assert joined.ven.poll_s == 10.0
    (order,) = await joined.ven.orders()
    assert (order.resource_id, order.granularity_s, order.report_back_s) == ("site-1", 10.0, 60.0)
    assert await take(joined) is None
    assert joined.services[-1] == "OadrPoll"


async def test_an_event_is_offered_until_it_is_acknowledged(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    for _ in range(3):
        batch = await joined.ven.receive(joined.now)
        (found,) = batch.events
        assert replace(found, raw_sha256="", connection_id="program") == event
    await joined.ven.respond(batch, decide(batch, joined.now), joined.now)
    assert await take(joined) is None
    ((party_id, answer),) = await joined.vtn.answers("event-1")
    assert {party_id} == joined.ven.party_ids
    assert (answer.opt, answer.revision, answer.refusal) == (Opt.IN, 0, None)


@pytest.mark.parametrize("refusal", [None, *Refusal])
async def test_a_refusal_arrives_with_its_reason(joined: Any, event: GridEvent, refusal: Refusal | None) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    await take(joined, Opt.OUT, refusal=refusal, detail="since we say so")
    ((_, answer),) = await joined.vtn.answers("event-1")
    assert answer.opt is Opt.OUT
    # Which of our people opted out, and why, is not for the grid.
    assert answer.detail == ("opted out by the operator" if refusal is Refusal.OPERATOR else "since we say so")
    # Our own will has no error code in 2.0b: it arrives as a plain opt-out.
    assert answer.refusal is (None if refusal in {Refusal.OPERATOR, Refusal.OUTSIDE_CONTRACT} else refusal)


async def test_a_batch_that_we_cannot_process_is_refused_event_by_event(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    batch = await joined.ven.receive(joined.now)
    await joined.ven.refuse(batch, "could not be processed", joined.now)
    ((_, answer),) = await joined.vtn.answers("event-1")
    assert (answer.opt, answer.refusal) == (Opt.OUT, Refusal.INTERNAL_ERROR)


async def test_a_modification_replaces_the_event(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    await take(joined)
    later = event.starts_at + timedelta(hours=1)
    moved = tuple(replace(item, starts_at=item.starts_at + timedelta(hours=1)) for item in event.signals[0].intervals)
    second = replace(event, revision=1, starts_at=later, signals=(replace(event.signals[0], intervals=moved),))
    await joined.vtn.publish(second)
    batch = await take(joined)
    assert batch is not None
    assert [(found.revision, found.starts_at) for found in batch.events] == [(1, later)]
    assert await take(joined) is None
    with pytest.raises(ValueError, match="revision 1 already"):
        await joined.vtn.publish(event)


async def test_a_cancelled_event_goes_once_that_is_acknowledged(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    await take(joined)
    await joined.vtn.cancel("event-1")
    await joined.vtn.cancel("event-1")
    batch = await take(joined)
    assert batch is not None
    assert [(found.revision, found.status) for found in batch.events] == [(1, EventStatus.CANCELLED)]
    assert await take(joined) is None
    await joined.vtn.publish(replace(event, event_id="event-2"))
    batch = await take(joined)
    assert batch is not None
    assert [found.event_id for found in batch.events] == ["event-2"]
    with pytest.raises(KeyError):
        await joined.vtn.cancel("event-3")


async def test_each_change_of_status_is_told_once(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(replace(event, ramp_up_s=-600.0))
    told: list[str] = []
    for _ in range(20):
        batch = await take(joined)
        told += [] if batch is None else [found.status.value for found in batch.events]
        joined.now += timedelta(minutes=10)
    assert told == ["far", "near", "active", "completed"]


async def test_a_finished_event_stays_listed_for_an_hour(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    await take(joined)
    for past, listed in ((timedelta(minutes=59), ["event-1"]), (timedelta(minutes=61), [])):
        joined.now = event.starts_at + timedelta(hours=1) + past
        joined.ven = joined.new_ven()
        batch = await take(joined)
        assert batch is not None
        assert [found.event_id for found in batch.events] == listed


async def test_an_event_without_an_answer_is_told_once_and_not_answered(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(replace(event, response_required=False))
    batch = await take(joined)
    assert batch is not None
    assert not batch.events[0].response_required
    assert "oadrCreatedEvent" not in joined.ven_store.names(Direction.OUT)
    assert await take(joined) is None
    assert await joined.vtn.answers("event-1") == ()


@pytest.mark.parametrize(
    ("target", "is_for_us"),
    [
        (Target(kind="ven", value="ven-id3"), True),
        (Target(kind="ven", value="ven-id99"), False),
        (Target(kind="resource", value="site-1"), True),
        (Target(kind="resource", value="site-2"), False),
        (Target(kind="group", value="nobody"), False),
    ],
)
async def test_events_go_to_whom_they_are_for(joined: Any, event: GridEvent, target: Target, is_for_us: bool) -> None:
    await take(joined)
    await joined.vtn.publish(replace(event, targets=(target,)))
    batch = await take(joined)
    assert (batch is not None) == is_for_us


async def test_a_faulty_event_is_answered_with_the_good_ones(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    level = event.signals[0].intervals[0]
    bad = Signal(
        name="SIMPLE", kind=SignalKind.LEVEL, dialect_kind="level", intervals=(replace(level, duration_s=60.0),)
    )
    await joined.vtn.publish(replace(event, event_id="event-2", signals=(bad,)))
    batch = await take(joined)
    assert batch is not None
    assert [found.event_id for found in batch.events] == ["event-1"]
    assert [fault.event_id for fault in batch.faults] == ["event-2"]
    ((_, good),) = await joined.vtn.answers("event-1")
    ((_, refused),) = await joined.vtn.answers("event-2")
    assert (good.opt, refused.opt, refused.refusal) == (Opt.IN, Opt.OUT, Refusal.INVALID)
    assert "active period" in refused.detail


async def test_reports_arrive_once(joined: Any) -> None:
    await take(joined)
    (order,) = await joined.ven.orders()
    sent = report(order.order_id, joined.now)
    for _ in range(2):
        receipt = await joined.ven.send_report(sent, joined.now)
        assert receipt == Receipt(report_id="report-1", accepted=True, received_at=joined.now, code="200")
    ((party_id, received),) = await joined.vtn.reports(joined.now - timedelta(seconds=1))
    assert {party_id} == joined.ven.party_ids
    assert received == replace(sent, connection_id="program")
    assert await joined.vtn.reports(joined.now) == ()


async def test_a_report_that_the_vtn_did_not_ask_for_is_refused_for_good(joined: Any) -> None:
    await take(joined)
    receipt = await joined.ven.send_report(report("strange", joined.now, resource_id="site-2"), joined.now)
    assert (receipt.accepted, receipt.code) == (False, "452")


async def test_a_report_without_a_measurement_is_not_sent(joined: Any) -> None:
    await take(joined)
    (order,) = await joined.ven.orders()
    empty = report(order.order_id, joined.now)
    empty = replace(empty, intervals=(replace(empty.intervals[0], power_w=None, coverage_fraction=0.0),))
    receipt = await joined.ven.send_report(empty, joined.now)
    assert not receipt.accepted
    assert "nothing was measured" in receipt.detail
    assert "oadrUpdateReport" not in joined.ven_store.names(Direction.OUT)


async def test_a_new_life_of_the_ven_asks_for_events_and_does_not_register(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    await take(joined)
    heard = len(joined.ven_store.messages)
    joined.ven = joined.new_ven()
    assert joined.ven.party_ids == frozenset()
    batch = await take(joined)
    assert batch is not None
    assert [found.event_id for found in batch.events] == ["event-1"]
    names = [message.name for message in joined.ven_store.messages[heard:]]
    assert names == ["oadrRequestEvent", "oadrDistributeEvent", "oadrCreatedEvent", "oadrResponse"]
    assert await take(joined) is None


async def test_a_life_that_ended_before_its_report_was_offered_is_made_good(joined: Any) -> None:
    await take(joined)
    joined.ven_store.kept_orders.clear()
    joined.ven = joined.new_ven()
    await take(joined)
    assert joined.ven_store.names(Direction.OUT)[-3:] == ["oadrRegisterReport", "oadrCreatedReport", "oadrRequestEvent"]
    assert len(await joined.ven.orders()) == 1


async def test_a_vtn_that_is_down_at_the_start_is_met_later(joined: Any) -> None:
    joined.broken = Unreachable("down")
    for _ in range(3):
        with pytest.raises(Unreachable):
            await joined.ven.receive(joined.now)
    with pytest.raises(NotRegistered):
        await joined.ven.send_report(report("o", joined.now), joined.now)
    joined.broken = None
    await take(joined)
    assert len(await joined.vtn.parties()) == 1


async def test_an_outage_costs_no_event_and_no_report(joined: Any, event: GridEvent) -> None:
    await take(joined)
    (order,) = await joined.ven.orders()
    await joined.vtn.publish(event)
    joined.broken = Unreachable("cut")
    with pytest.raises(Unreachable):
        await joined.ven.receive(joined.now)
    with pytest.raises(Unreachable):
        await joined.ven.send_report(report(order.order_id, joined.now), joined.now)
    joined.broken = None
    batch = await joined.ven.receive(joined.now)
    joined.broken = Unreachable("cut")
    with pytest.raises(Unreachable):
        await joined.ven.respond(batch, decide(batch, joined.now), joined.now)
    joined.broken = None
    await joined.ven.respond(batch, decide(batch, joined.now), joined.now)
    ((_, answer),) = await joined.vtn.answers("event-1")
    assert answer.opt is Opt.IN
    # The VTN was asked anew, and its order has the id that it had: what was measured for it still counts.
    (replaced,) = await joined.ven.orders()
    assert replaced.order_id == order.order_id
    assert (await joined.ven.send_report(report(order.order_id, joined.now), joined.now)).accepted
    ((_, received),) = await joined.vtn.reports(joined.now - timedelta(seconds=1))
    assert received.order_id == replaced.order_id


async def test_a_vtn_that_has_forgotten_us_is_registered_with_anew(joined: Any, event: GridEvent) -> None:
    await take(joined)
    first = joined.ven.party_ids
    (order,) = await joined.ven.orders()
    joined.vtn_store.kept_parties.clear()
    joined.vtn = joined.new_vtn()
    await joined.vtn.publish(event)
    assert await joined.ven.receive(joined.now) is None
    assert joined.ven_store.names(Direction.OUT)[-1] == "oadrResponse"
    assert joined.ven_store.registrations == {}
    assert await joined.ven.orders() == ()
    batch = await take(joined)
    assert batch is not None
    assert [found.event_id for found in batch.events] == ["event-1"]
    assert joined.ven.party_ids != first
    assert (await joined.ven.send_report(report(order.order_id, joined.now), joined.now)).accepted


async def test_a_report_to_a_vtn_that_has_forgotten_us_is_kept(joined: Any) -> None:
    await take(joined)
    (order,) = await joined.ven.orders()
    joined.vtn_store.kept_parties.clear()
    joined.vtn = joined.new_vtn()
    with pytest.raises(NotRegistered):
        await joined.ven.send_report(report(order.order_id, joined.now), joined.now)
    await take(joined)
    assert (await joined.ven.send_report(report(order.order_id, joined.now), joined.now)).accepted


async def test_an_answer_to_a_vtn_that_has_forgotten_us_does_not_hold_us_up(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    batch = await joined.ven.receive(joined.now)
    joined.vtn_store.kept_parties.clear()
    joined.vtn = joined.new_vtn()
    await joined.ven.respond(batch, decide(batch, joined.now), joined.now)
    again = await take(joined)
    assert again is not None
    assert [found.event_id for found in again.events] == ["event-1"]
    ((party_id, _),) = await joined.vtn.answers("event-1")
    assert {party_id} == joined.ven.party_ids


async def test_a_batch_that_was_never_answered_is_asked_for_again(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    await joined.ven.receive(joined.now)
    joined.services.clear()
    await take(joined)
    assert joined.services == ["EiEvent", "EiEvent"]
    assert await take(joined) is None


async def test_two_lives_of_the_vtn_know_the_same(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    await take(joined)
    joined.vtn = joined.new_vtn()
    batch = await take(joined)
    assert batch is not None
    assert await take(joined) is None
    (order,) = await joined.ven.orders()
    assert (await joined.ven.send_report(report(order.order_id, joined.now), joined.now)).accepted
    assert len(await joined.vtn.reports(joined.now - timedelta(seconds=1))) == 1


async def test_turns_and_reports_may_overlap(joined: Any, event: GridEvent) -> None:
    await take(joined)
    (order,) = await joined.ven.orders()
    await joined.vtn.publish(event)
    batch, receipt = await asyncio.gather(
        joined.ven.receive(joined.now), joined.ven.send_report(report(order.order_id, joined.now), joined.now)
    )
    assert batch is not None
    assert receipt.accepted


async def test_empty_polls_are_not_kept(joined: Any) -> None:
    await take(joined)
    before = len(joined.ven_store.messages), len(joined.vtn_store.messages)
    for _ in range(5):
        assert await take(joined) is None
    assert (len(joined.ven_store.messages), len(joined.vtn_store.messages)) == before
    assert "oadrPoll" not in joined.ven_store.names(Direction.OUT)


def operators(opt: Opt, now: datetime, revision: int = 0) -> OptDecision:
    return OptDecision(
        connection_id="utility",
        event_id="event-1",
        revision=revision,
        opt=opt,
        decided_at=now,
        refusal=Refusal.OPERATOR if opt is Opt.OUT else None,
        detail="opted out by ann: the chiller\x07 is down" if opt is Opt.OUT else "the operator opted in again",
    )


async def test_an_operators_change_of_mind_reaches_the_vtn(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    await take(joined)
    heard = []
    for opt in (Opt.OUT, Opt.IN):
        assert await joined.ven.restate(operators(opt, joined.now), joined.now) is None
        ((party_id, kept),) = await joined.vtn.answers("event-1")
        assert {party_id} == joined.ven.party_ids
        heard.append((kept.opt, kept.revision, kept.refusal, kept.detail))
        assert await take(joined) is None, "the VTN has its answer and offers nothing anew"
    assert heard == [
        (Opt.OUT, 0, None, "opted out by the operator"),
        (Opt.IN, 0, None, "the operator opted in again"),
    ], "neither who nor why"


async def test_a_change_of_mind_about_an_event_that_the_vtn_never_sent_is_final(joined: Any) -> None:
    await take(joined)
    refused = await joined.ven.restate(operators(Opt.OUT, joined.now), joined.now)
    assert refused == "oadrCreatedEvent: 452 an event that we never sent"


async def test_a_change_of_mind_in_an_outage_can_be_said_again(joined: Any, event: GridEvent) -> None:
    await take(joined)
    await joined.vtn.publish(event)
    await take(joined)
    joined.broken = Unreachable("cut")
    with pytest.raises(Unreachable):
        await joined.ven.restate(operators(Opt.OUT, joined.now), joined.now)
    joined.broken = None
    assert await joined.ven.restate(operators(Opt.OUT, joined.now), joined.now) is None
    ((_, kept),) = await joined.vtn.answers("event-1")
    assert kept.opt is Opt.OUT
