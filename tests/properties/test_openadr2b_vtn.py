"""Whatever the network does to the messages of a VEN and a VTN of ours, both end with the same word on everything."""

import asyncio
from dataclasses import dataclass, field, replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import openleadr
from hypothesis import given, settings
from hypothesis import strategies as st
from lxml import etree

from protocols.errors import ProtocolError, Unreachable
from protocols.grid import EventInterval, EventStatus, GridEvent, Opt, OptDecision, OptSchedule, Signal, SignalKind
from protocols.grid_report import IntervalReport, ReportInterval
from protocols.openadr2b import codec, model, model_report
from tests.unit.protocols.openadr2b.conftest import NOON, Joined
from tests.unit.protocols.openadr2b.vtn_asking import ask, created, offers, register, registered
from tests.unit.protocols.openadr2b.vtn_asking import data as report_of

SCHEMA = etree.XMLSchema(etree.parse(Path(openleadr.__file__).parent / "schema" / "oadr_20b.xsd"))
FAULTS = ("none", "none", "lose the question", "lose the answer", "twice", "an old one again")
STEPS = ("publish", "change", "cancel", "turn", "turn", "report", "opt", "restart", "later")


def valid(body: bytes) -> None:
    SCHEMA.assertValid(etree.fromstring(body))


@dataclass
class Network:
    """Carries messages, as long as ``faults`` last not as it should."""

    joined: Joined
    faults: list[tuple[str, int]]
    past: list[tuple[str, bytes]] = field(default_factory=list)

    async def __call__(self, service: str, body: bytes) -> bytes:
        fault, which = self.faults.pop() if self.faults else ("none", 0)
        if fault == "lose the question":
            raise Unreachable("lost on the way there")
        if fault == "an old one again" and self.past:
            await self._deliver(*self.past[which % len(self.past)])
        answer = await self._deliver(service, body)
        if fault == "twice":
            answer = await self._deliver(service, body)
        self.past.append((service, body))
        if fault == "lose the answer":
            raise Unreachable("lost on the way back")
        return answer

    async def _deliver(self, service: str, body: bytes) -> bytes:
        valid(body)
        answer = await self.joined.vtn.answer(service, body)
        if answer:
            valid(answer)
        return answer


def an_event(index: int, revision: int = 0) -> GridEvent:
    begin = NOON + timedelta(hours=1 + index)
    interval = EventInterval(starts_at=begin, duration_s=1800.0, value=1.0)
    return GridEvent(
        event_id=f"event-{index}",
        connection_id="program",
        program_id="peak",
        revision=revision,
        status=EventStatus.FAR,
        created_at=NOON,
        starts_at=begin,
        duration_s=1800.0,
        signals=(Signal(name="SIMPLE", kind=SignalKind.LEVEL, dialect_kind="level", intervals=(interval,)),),
    )


class Play:
    """A VEN that answers what it hears, and says again what did not arrive; and what it has said and heard."""

    def __init__(self, faults: list[tuple[str, int]]) -> None:
        self.joined = Joined(valid)
        self.ven = self.joined.new_ven(Network(self.joined, faults))
        self.revisions: dict[str, int] = {}
        self.decided: dict[tuple[str, int], Opt] = {}
        self.outbox: dict[str, IntervalReport] = {}
        self.opts: dict[str, OptSchedule] = {}
        self.sent: set[str] = set()
        self.told: set[str] = set()

    async def step(self, what: str) -> None:
        joined, index = self.joined, len(self.revisions)
        if what == "publish" and index < 4:
            await joined.vtn.publish(an_event(index))
            self.revisions[f"event-{index}"] = 0
        elif what == "change" and index:
            event = an_event(index - 1, self.revisions[f"event-{index - 1}"] + 1)
            await joined.vtn.publish(event)
            self.revisions[event.event_id] = event.revision
        elif what == "cancel" and index:
            event_id = f"event-{index - 1}"
            await joined.vtn.cancel(event_id)
            self.revisions[event_id] = joined.vtn_store.events["program", event_id].revision
        elif what == "report":
            self._measure()
        elif what == "opt":
            opt_id = f"opt-{len(self.opts)}"
            self.opts[opt_id] = OptSchedule(
                opt_id=opt_id,
                connection_id="utility",
                opt=Opt.OUT,
                created_at=joined.now,
                periods=((NOON + timedelta(days=1), 3600.0),),
            )
        elif what == "restart":
            joined.vtn = joined.new_vtn()
        elif what == "later":
            joined.now += timedelta(minutes=7)
        await self.turn()

    def _measure(self) -> None:
        now = self.joined.now
        report_id = f"report-{len(self.outbox) + len(self.sent)}"
        interval = ReportInterval(starts_at=now, duration_s=10.0, power_w=1.0, coverage_fraction=1.0)
        self.outbox[report_id] = IntervalReport(
            report_id=report_id,
            order_id="",
            connection_id="utility",
            resource_id="site-1",
            created_at=now,
            intervals=(interval,),
        )

    async def turn(self) -> None:
        """One turn of the VEN; what did not arrive is left for the next."""
        now = self.joined.now
        try:
            batch = await self.ven.receive(now)
            if batch is not None:
                await self.ven.respond(batch, [self._decide(event) for event in batch.events], now)
            await self._send(now)
        except ProtocolError:
            return

    def _decide(self, event: GridEvent) -> OptDecision:
        key = (event.event_id, event.revision)
        opt = self.decided.setdefault(key, Opt.OUT if len(self.decided) % 3 == 2 else Opt.IN)
        return OptDecision(
            connection_id="utility",
            event_id=event.event_id,
            revision=event.revision,
            opt=opt,
            decided_at=self.joined.now,
        )

    async def _send(self, now: Any) -> None:
        orders = await self.ven.orders()
        for report_id, report in list(self.outbox.items()):
            if orders:
                receipt = await self.ven.send_report(replace(report, order_id=orders[0].order_id), now)
                assert receipt.accepted, receipt
                self.sent.add(report_id)
                del self.outbox[report_id]
        for opt_id, opt in self.opts.items():
            if opt_id not in self.told:
                await self.ven.create_opt(opt, now)
                self.told.add(opt_id)


async def converge(steps: list[str], faults: list[tuple[str, int]]) -> None:
    play = Play(list(faults))
    for step in steps:
        await play.step(step)
    play.ven._conversation._exchange.faults.clear()
    for _ in range(8):
        await play.turn()
    joined = play.joined
    (party,) = await joined.vtn.parties()
    assert play.ven.party_ids == {party.party_id}
    assert joined.ven_store.registrations["utility"].registration_id == party.registration_id
    for event_id, revision in play.revisions.items():
        decided = play.decided.get((event_id, revision))
        answers = dict(await joined.vtn.answers(event_id))
        if decided is not None:
            assert (answers[party.party_id].revision, answers[party.party_id].opt) == (revision, decided)
        else:
            # Over before it could be told: it is not asked for any more.
            assert joined.vtn_store.events["program", event_id].ends_at < joined.now
    received = [report.report_id for _, report in await joined.vtn.reports(NOON - timedelta(seconds=1))]
    assert sorted(received) == sorted(play.sent)
    assert not play.outbox
    assert {opt.opt_id for opt in await joined.vtn.opts(party.party_id)} == set(play.opts)
    standing = {placed.order.order_id for placed in await joined.vtn.orders() if placed.ended_at is None}
    assert {order.order_id for order in await play.ven.orders()} == standing
    assert joined.vtn_store.kept_queue == {}


@settings(max_examples=80, deadline=None)
@given(
    steps=st.lists(st.sampled_from(STEPS), max_size=10),
    faults=st.lists(st.tuples(st.sampled_from(FAULTS), st.integers(0, 50)), max_size=25),
)
def test_loss_repetition_and_late_messages_change_nothing_in_the_end(
    steps: list[str], faults: list[tuple[str, int]]
) -> None:
    asyncio.run(converge(steps, faults))


@settings(max_examples=100, deadline=None)
@given(data=st.data())
def test_messages_of_a_conversation_in_any_order_and_number_come_to_the_same(data: st.DataObject) -> None:
    asyncio.run(_in_any_order(data))


async def _in_any_order(data: st.DataObject) -> None:
    joined = Joined(valid)
    ven_id = await registered(joined)
    (request,) = (await ask(joined, "EiReport", offers(joined, ven_id))).requests
    for index, last in enumerate((2, 0)):
        for revision in range(last + 1):
            await joined.vtn.publish(an_event(index, revision))
    reports = [report_of(joined, request, "hall", float(n), report_id=f"report-{n}") for n in range(3)]
    opt = model.CreateOpt(
        opt_id="opt-1",
        opt="optOut",
        reason="mustRun",
        ven_id=ven_id,
        created_at=joined.now,
        request_id="q",
        targets=model.Targets(ven_ids=(ven_id,)),
        availability=(model.Period(starts_at=joined.now, duration=timedelta(hours=1)),),
    )
    messages: list[tuple[str, codec.Message]] = [
        ("EiEvent", created(ven_id, "event-0", 0, "optIn")),
        ("EiEvent", created(ven_id, "event-0", 1, "optOut")),
        ("EiEvent", created(ven_id, "event-0", 2, "optIn")),
        ("EiEvent", created(ven_id, "event-1", 0, "optOut")),
        *(
            ("EiReport", model_report.UpdateReport(request_id="u", reports=(report,), ven_id=ven_id))
            for report in reports
        ),
        ("EiOpt", opt),
        ("EiReport", offers(joined, ven_id)),
        ("EiRegisterParty", register()),
        ("OadrPoll", model.Poll(ven_id=ven_id)),
    ]
    twice = data.draw(st.lists(st.sampled_from(messages), max_size=6))
    for service, message in data.draw(st.permutations(messages + twice)):
        await ask(joined, service, message)
        if data.draw(st.booleans()):
            joined.vtn = joined.new_vtn()
    last = [(dict(await joined.vtn.answers(f"event-{index}")))[ven_id] for index in range(2)]
    assert [(decision.revision, decision.opt) for decision in last] == [(2, Opt.IN), (0, Opt.OUT)]
    received = [report.report_id for _, report in await joined.vtn.reports(NOON - timedelta(seconds=1))]
    assert sorted(received) == ["report-0", "report-1", "report-2"]
    assert [opt.opt_id for opt in await joined.vtn.opts(ven_id)] == ["opt-1"]
    assert len(await joined.vtn.orders()) == len(await joined.vtn.parties()) == 1
