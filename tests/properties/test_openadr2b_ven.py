"""A VEN's conversation: whatever is lost, doubled or out of order on the way, both sides come to hold the same."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import timedelta

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.event import ChangeKind, EventRecord, changes
from protocols.errors import ProtocolError, Unreachable
from protocols.grid import EventBatch, EventInterval, EventStatus, GridEvent, Opt, OptDecision, Signal, SignalKind
from protocols.grid_report import ReportOffer
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_event import write_event
from protocols.openadr2b.neutral_metadata import specifier_id
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


def ven_of(
    exchange: Callable[[str, bytes], Awaitable[bytes]],
    store: MemoryStore,
    push_url: str | None = None,
    offers: tuple[ReportOffer, ...] = (),
) -> Ven:
    return Ven(
        connection_id="utility",
        ven_name="gateway",
        exchange=exchange,
        store=store,
        offers=offers,
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


class Utility:
    """A VTN of ours behind a line on which things are lost; ``forget`` begins it anew without its VENs."""

    def __init__(self, faults: list[str]) -> None:
        self.store = MemoryStore()
        self.left = list(faults)
        self.revisions: dict[str, int] = {}
        self._ids = Ids()
        self.vtn = self._new()

    def _new(self) -> Vtn:
        return Vtn(connection_id="program", vtn_id="VTN-1", store=self.store, now=lambda: NOON, new_id=self._ids)

    async def exchange(self, service: str, body: bytes) -> bytes:
        fault = self.left.pop(0) if self.left else "well"
        if fault == "request lost":
            raise Unreachable("lost")
        if fault == "request doubled":
            await self.vtn.answer(service, body)
        answer = await self.vtn.answer(service, body)
        if fault == "answer lost":
            raise Unreachable("lost")
        return answer

    async def issued(self) -> dict[str, GridEvent]:
        return {one.event_id: one for one in await self.store.issued_events("program")}

    async def publish(self, event_id: str) -> None:
        self.revisions[event_id] = self.revisions.get(event_id, -1) + 1
        await self.vtn.publish(event(event_id, self.revisions[event_id]))

    async def cancel(self, event_id: str) -> None:
        if event_id in self.revisions:
            await self.vtn.cancel(event_id)
            self.revisions[event_id] = (await self.issued())[event_id].revision

    def forget(self) -> None:
        self.store.kept_parties.clear()
        self.vtn = self._new()


async def _poll_through(faults: list[str], doings: list[tuple[str, str]]) -> None:
    ven_store, utility = MemoryStore(), Utility(faults)
    site, ven = Site(), ven_of(utility.exchange, ven_store)
    for what, event_id in doings:
        if what == "publish":
            await utility.publish(event_id)
        elif what == "cancel":
            await utility.cancel(event_id)
        elif what == "restart":
            ven = ven_of(utility.exchange, ven_store)
        elif what == "forget":
            utility.forget()
        await site.turn(ven)
    utility.left.clear()
    for _ in range(6):
        await site.turn(ven)
    issued = await utility.issued()
    standing = {key: one.revision for key, one in issued.items() if one.status is not EventStatus.CANCELLED}
    assert site.running() == standing
    for event_id, revision in standing.items():
        answers = dict(await utility.vtn.answers(event_id))
        assert [answers[party_id].revision for party_id in ven.party_ids] == [revision]
    assert ven_store.registrations["utility"].party_id in {party.party_id for party in await utility.vtn.parties()}


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


@given(
    said=st.lists(
        st.tuples(st.sampled_from(["order", "cancel", "cancel with a last report"]), st.sampled_from(EVENT_IDS)),
        max_size=12,
    ),
    times=st.lists(st.integers(1, 3), max_size=12),
)
def test_orders_that_are_said_several_times_count_once(said: list[tuple[str, str]], times: list[int]) -> None:
    asyncio.run(_order_several_times(said, times))


async def _order_several_times(said: list[tuple[str, str]], times: list[int]) -> None:
    store = MemoryStore()
    await store.save_registration(REGISTERED)
    offer = ReportOffer(resource_id="site-1", min_sampling_s=1, max_sampling_s=60)
    ven = ven_of(Utility([]).exchange, store, push_url="http://127.0.0.1:9", offers=(offer,))
    wanted: set[str] = set()
    now = NOON
    for index, (what, order_id) in enumerate(said):
        message = _report_message(what, order_id)
        for _ in range(times[index] if index < len(times) else 1):
            now += timedelta(seconds=7)
            await ven._push.answer("EiReport", codec.encode(message), now)
        wanted = wanted | {order_id} if what == "order" else wanted - {order_id}
    standing = {order.order_id for order in await ven.orders() if order.ends_at is None}
    assert standing == wanted


def _report_message(what: str, order_id: str) -> codec.Message:
    if what != "order":
        return model_report.CancelReport(
            request_id="r", report_request_ids=(order_id,), to_follow=what == "cancel with a last report"
        )
    asked = model_report.ReportRequest(
        report_request_id=order_id,
        specifier=model_report.ReportSpecifier(
            specifier_id=specifier_id("site-1"),
            granularity=timedelta(seconds=10),
            report_back=timedelta(seconds=60),
            payloads=(model_report.SpecifierPayload(r_id="site-1", reading_type="Mean"),),
        ),
    )
    return model_report.CreateReport(request_id="r", requests=(asked,))


async def test_a_ven_that_the_vtn_forgot_says_so_once_and_comes_back() -> None:
    """The minimal example: forgotten, registered anew, and the event answered."""
    utility = Utility([])
    site, ven = Site(), ven_of(utility.exchange, MemoryStore())
    await utility.publish("a")
    await site.turn(ven)
    utility.forget()
    assert await ven.receive(NOON) is None
    assert ven.party_ids == frozenset()
    for _ in range(3):
        await site.turn(ven)
    assert site.running() == {"a": 0}
    assert set(dict(await utility.vtn.answers("a"))) >= ven.party_ids
