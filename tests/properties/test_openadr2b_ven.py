"""A VEN's conversation: whatever is lost, doubled or out of order on the way, both sides come to hold the same."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.event import ChangeKind, EventRecord, changes
from protocols.errors import NotRegistered, ProtocolError, Unreachable
from protocols.grid import EventBatch, EventInterval, EventStatus, GridEvent, Opt, OptDecision, Signal, SignalKind
from protocols.openadr2b import codec, model
from protocols.openadr2b.neutral_event import write_event
from protocols.openadr2b.ven import QUIET, Ven
from protocols.openadr2b.vtn import Vtn
from tests.unit.protocols.openadr2b.conftest import NOON, REGISTERED, Ids, MemoryStore

EVENT_IDS = ("a", "b", "c")


def event(event_id: str, revision: int, status: EventStatus = EventStatus.FAR) -> GridEvent:
    begin = NOON + timedelta(hours=2)
    return GridEvent(
        event_id=event_id,
        connection_id="utility",
        program_id="peak",
        revision=revision,
        status=status,
        created_at=NOON,
        starts_at=begin,
        duration_s=3600.0,
        signals=(
            Signal(
                name="SIMPLE",
                kind=SignalKind.LEVEL,
                dialect_kind="level",
                intervals=(EventInterval(starts_at=begin, duration_s=3600.0, value=1.0),),
            ),
        ),
    )


class Site:
    """Takes batches as intake does: what it holds true, and what it answers."""

    def __init__(self) -> None:
        self.known: dict[str, EventRecord] = {}

    async def turn(self, ven: Ven, now: object = NOON) -> None:
        try:
            batch = await ven.receive(now)  # type: ignore[arg-type] - an instant
            if batch is not None:
                await ven.respond(batch, self.take(batch), NOON)
        except ProtocolError:
            return

    def take(self, batch: EventBatch) -> list[OptDecision]:
        for change in changes(self.known, batch):
            record = self.known.get(change.event.event_id)
            if change.kind in {ChangeKind.NEW, ChangeKind.MODIFIED}:
                self.known[change.event.event_id] = EventRecord(
                    event=change.event, first_received_at=NOON, received_at=NOON
                )
            elif change.kind in {ChangeKind.CANCELLED, ChangeKind.IMPLIED_CANCEL}:
                held = record or EventRecord(event=change.event, first_received_at=NOON, received_at=NOON)
                self.known[change.event.event_id] = replace(held, event=change.event, ended_at=NOON)
        return [
            OptDecision(
                connection_id="utility",
                event_id=one.event_id,
                revision=one.revision,
                opt=Opt.IN,
                decided_at=NOON,
            )
            for one in batch.events
        ]

    def running(self) -> dict[str, int]:
        return {key: record.event.revision for key, record in self.known.items() if record.ended_at is None}


def ven_of(exchange: Callable[[str, bytes], Awaitable[bytes]], store: MemoryStore, push_url: str | None = None) -> Ven:
    return Ven(
        connection_id="utility",
        ven_name="gateway",
        exchange=exchange,
        store=store,
        offers=(),
        new_id=Ids(),
        push_url=push_url,
    )


Faults = st.lists(st.sampled_from(["well", "well", "request lost", "answer lost", "request doubled"]), max_size=40)
Doings = st.lists(
    st.tuples(st.sampled_from(["publish", "cancel", "turn", "turn", "restart", "forget"]), st.sampled_from(EVENT_IDS)),
    max_size=15,
)


@given(faults=Faults, doings=Doings)
def test_polling_through_any_losses_comes_to_the_same(faults: list[str], doings: list[tuple[str, str]]) -> None:
    asyncio.run(_poll_through(faults, doings))


async def _poll_through(faults: list[str], doings: list[tuple[str, str]]) -> None:
    ven_store, vtn_store = MemoryStore(), MemoryStore()
    vtn = Vtn(connection_id="program", vtn_id="VTN-1", store=vtn_store, now=lambda: NOON, new_id=Ids())
    left = list(faults)

    async def exchange(service: str, body: bytes) -> bytes:
        fault = left.pop(0) if left else "well"
        if fault == "request lost":
            raise Unreachable("lost")
        if fault == "request doubled":
            await vtn.answer(service, body)
        answer = await vtn.answer(service, body)
        if fault == "answer lost":
            raise Unreachable("lost")
        return answer

    site, ven = Site(), ven_of(exchange, ven_store)
    revisions: dict[str, int] = {}
    for what, event_id in doings:
        if what == "publish":
            revisions[event_id] = revisions.get(event_id, -1) + 1
            await vtn.publish(event(event_id, revisions[event_id]))
        elif what == "cancel" and event_id in revisions:
            await vtn.cancel(event_id)
            (held,) = [one for one in await vtn_store.issued_events("program") if one.event_id == event_id]
            revisions[event_id] = held.revision
        elif what == "restart":
            ven = ven_of(exchange, ven_store)
        elif what == "forget":
            vtn_store.kept_parties.clear()
        await site.turn(ven)
    left.clear()
    for _ in range(6):
        await site.turn(ven)
    issued = {one.event_id: one for one in await vtn_store.issued_events("program")}
    standing = {key: one.revision for key, one in issued.items() if one.status is not EventStatus.CANCELLED}
    assert site.running() == standing
    for event_id, revision in standing.items():
        answers = dict(await vtn.answers(event_id))
        assert [answers[party_id].revision for party_id in ven.party_ids] == [revision]
    assert ven_store.registrations["utility"].party_id in {party.party_id for party in await vtn.parties()}


@given(data=st.data(), lists=st.lists(st.lists(st.sampled_from(EVENT_IDS), unique=True), min_size=1, max_size=6))
def test_what_is_pushed_in_any_order_doubled_or_lost_comes_to_the_same(
    data: st.DataObject, lists: list[list[str]]
) -> None:
    """Each list is what the VTN held at one time; an event that comes again has a higher revision."""
    number = st.integers(0, len(lists) - 1)
    order = data.draw(st.lists(number, max_size=12))
    broken = data.draw(st.lists(st.booleans(), max_size=6))
    asyncio.run(_push_through(lists, order, broken))


async def _push_through(lists: list[list[str]], order: list[int], broken: list[bool]) -> None:
    messages = [
        model.DistributeEvent(
            request_id=f"r{index}",
            vtn_id="VTN-1",
            events=tuple(write_event(event(event_id, index), now=NOON) for event_id in listed),
        )
        for index, listed in enumerate(lists)
    ]
    latest = 0
    left = list(broken)

    async def exchange(service: str, body: bytes) -> bytes:
        if left and left.pop(0):
            raise Unreachable("lost")
        asked = isinstance(codec.decode(body), model.RequestEvent)
        well = model.EiResponse(code="200", request_id="r")
        return codec.encode(messages[latest] if asked else model.Response(response=well, ven_id="ven-1"))

    store = MemoryStore()
    await store.save_registration(REGISTERED)
    site, ven = Site(), ven_of(exchange, store, push_url="http://127.0.0.1:9")
    for index in order:
        # What was sent is on its way; by now the VTN holds this or a later list.
        latest = max(latest, index)
        await ven._push.answer("EiEvent", codec.encode(messages[index]), NOON)
        await site.turn(ven)
    latest = len(messages) - 1
    left.clear()
    for turn in range(6):
        await site.turn(ven, NOON + (turn + 1) * QUIET)
    assert site.running() == dict.fromkeys(lists[-1], latest)


async def test_a_ven_that_the_vtn_forgot_says_so_once_and_comes_back() -> None:
    """The minimal example: forgotten, registered anew, and the event answered."""
    ven_store, vtn_store = MemoryStore(), MemoryStore()
    vtn = Vtn(connection_id="program", vtn_id="VTN-1", store=vtn_store, now=lambda: NOON, new_id=Ids())
    site, ven = Site(), ven_of(vtn.answer, ven_store)
    await vtn.publish(event("a", 0))
    await site.turn(ven)
    vtn_store.kept_parties.clear()
    try:
        await ven.receive(NOON)
    except NotRegistered:
        assert ven.party_ids == frozenset()
    for _ in range(3):
        await site.turn(ven)
    assert site.running() == {"a": 0}
    assert set(dict(await vtn.answers("a"))) >= ven.party_ids
