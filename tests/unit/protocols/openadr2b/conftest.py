"""A store in memory, the schema that what we emit must pass, a VEN joined to our VTN, and one joined to a script."""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import openleadr
import pytest
from cryptography.hazmat.primitives.asymmetric import rsa
from lxml import etree

from protocols.grid import EventInterval, EventStatus, GridEvent, OptDecision, OptSchedule, Party, Signal, SignalKind
from protocols.grid_report import IntervalReport, ReportOffer, ReportOrder
from protocols.openadr2b import codec, model
from protocols.openadr2b.neutral_event import write_event
from protocols.openadr2b.ven import Ven
from protocols.openadr2b.vtn import Vtn
from protocols.party_store import Direction, PlacedOrder, QueuedMessage, RawMessage, Registration
from tests.certificates import Identity
from tests.hand_signed import ROOT

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


class MemoryStore:
    """A PartyStore that keeps everything in memory; what it holds is what was durable."""

    def __init__(self) -> None:
        self.messages: list[RawMessage] = []
        self.registrations: dict[str, Registration] = {}
        self.kept_orders: dict[tuple[str, str], ReportOrder] = {}
        self.kept_parties: dict[tuple[str, str], Party] = {}
        self.events: dict[tuple[str, str], GridEvent] = {}
        self.kept_answers: dict[tuple[str, str, str], OptDecision] = {}
        self.kept_reports: dict[tuple[str, str, str], tuple[str, IntervalReport]] = {}
        self.kept_placed: dict[tuple[str, str], PlacedOrder] = {}
        self.kept_queue: dict[tuple[str, str, str], QueuedMessage] = {}
        self.kept_opts: dict[tuple[str, str, str], OptSchedule] = {}

    def names(self, direction: Direction) -> list[str]:
        return [message.name for message in self.messages if message.direction is direction]

    async def record_message(self, message: RawMessage) -> None:
        self.messages.append(message)

    async def registration(self, connection_id: str) -> Registration | None:
        return self.registrations.get(connection_id)

    async def save_registration(self, registration: Registration) -> None:
        self.registrations[registration.connection_id] = registration

    async def forget_registration(self, connection_id: str) -> None:
        self.registrations.pop(connection_id, None)
        self.kept_orders = {key: order for key, order in self.kept_orders.items() if key[0] != connection_id}

    async def orders(self, connection_id: str) -> tuple[ReportOrder, ...]:
        return tuple(order for key, order in self.kept_orders.items() if key[0] == connection_id)

    async def save_order(self, order: ReportOrder) -> None:
        self.kept_orders[order.connection_id, order.order_id] = order

    async def cancel_order(self, connection_id: str, order_id: str) -> None:
        self.kept_orders.pop((connection_id, order_id), None)

    async def parties(self, connection_id: str) -> tuple[Party, ...]:
        return tuple(party for key, party in self.kept_parties.items() if key[0] == connection_id)

    async def save_party(self, party: Party) -> None:
        self.kept_parties[party.connection_id, party.party_id] = party

    async def issued_events(self, connection_id: str) -> tuple[GridEvent, ...]:
        return tuple(event for key, event in self.events.items() if key[0] == connection_id)

    async def save_issued_event(self, event: GridEvent) -> None:
        self.events[event.connection_id, event.event_id] = event

    async def answers(self, connection_id: str, event_id: str) -> tuple[tuple[str, OptDecision], ...]:
        return tuple(
            (key[1], decision)
            for key, decision in self.kept_answers.items()
            if (key[0], key[2]) == (connection_id, event_id)
        )

    async def save_answer(self, party_id: str, decision: OptDecision) -> None:
        self.kept_answers[decision.connection_id, party_id, decision.event_id] = decision

    async def received_reports(self, connection_id: str, after: datetime) -> tuple[tuple[str, IntervalReport], ...]:
        return tuple(
            (party_id, report)
            for key, (party_id, report) in self.kept_reports.items()
            if key[0] == connection_id and report.created_at > after
        )

    async def save_received_report(self, party_id: str, report: IntervalReport) -> bool:
        key = (report.connection_id, party_id, report.report_id)
        if key in self.kept_reports:
            return False
        self.kept_reports[key] = (party_id, report)
        return True

    async def received_report(self, connection_id: str, party_id: str, report_id: str) -> IntervalReport | None:
        found = self.kept_reports.get((connection_id, party_id, report_id))
        return None if found is None else found[1]

    async def placed_orders(self, connection_id: str) -> tuple[PlacedOrder, ...]:
        return tuple(order for key, order in self.kept_placed.items() if key[0] == connection_id)

    async def save_placed_order(self, order: PlacedOrder) -> None:
        self.kept_placed[order.order.connection_id, order.order.order_id] = order

    async def queued(self, connection_id: str) -> tuple[QueuedMessage, ...]:
        return tuple(message for key, message in self.kept_queue.items() if key[0] == connection_id)

    async def queue(self, message: QueuedMessage) -> None:
        self.kept_queue[message.connection_id, message.party_id, message.message_id] = message

    async def unqueue(self, connection_id: str, party_id: str, message_id: str) -> None:
        self.kept_queue.pop((connection_id, party_id, message_id), None)

    async def opts(self, connection_id: str) -> tuple[tuple[str, OptSchedule], ...]:
        return tuple((key[1], opt) for key, opt in self.kept_opts.items() if key[0] == connection_id)

    async def save_opt(self, party_id: str, opt: OptSchedule) -> None:
        self.kept_opts[opt.connection_id, party_id, opt.opt_id] = opt

    async def cancel_opt(self, connection_id: str, party_id: str, opt_id: str) -> None:
        self.kept_opts.pop((connection_id, party_id, opt_id), None)


class Ids:
    """Ids that are the same each time."""

    def __init__(self) -> None:
        self.last = 0

    def __call__(self) -> str:
        self.last += 1
        return f"id{self.last}"


class Joined:
    """A VEN and a VTN joined by a function, on one clock; every body that goes either way is checked."""

    def __init__(self, valid: Callable[[bytes], None]) -> None:
        self.now = NOON
        self.valid = valid
        self.ven_store = MemoryStore()
        self.vtn_store = MemoryStore()
        self.ids = Ids()
        self.vtn = self.new_vtn()
        self.ven = self.new_ven()
        self.services: list[str] = []
        self.broken: Exception | None = None

    def new_ven(self, exchange: Callable[[str, bytes], Awaitable[bytes]] | None = None) -> Ven:
        return Ven(
            connection_id="utility",
            ven_name="gateway",
            exchange=exchange or self.exchange,
            store=self.ven_store,
            offers=(ReportOffer(resource_id="site-1", min_sampling_s=1, max_sampling_s=3600),),
            new_id=self.ids,
        )

    def new_vtn(self, **more: Any) -> Vtn:
        arguments = {
            "connection_id": "program",
            "vtn_id": "VTN-1",
            "store": self.vtn_store,
            "now": lambda: self.now,
            "granularity_s": 10,
            "report_back_s": 60,
            "new_id": self.ids,
        }
        return Vtn(**{**arguments, **more})

    async def exchange(self, service: str, body: bytes) -> bytes:
        self.services.append(service)
        if self.broken is not None:
            raise self.broken
        self.valid(body)
        answer = await self.vtn.answer(service, body)
        if answer:
            self.valid(answer)
        return answer


REGISTERED = Registration(
    connection_id="utility",
    registration_id="registration-1",
    party_id="ven-1",
    counterparty_id="VTN-1",
    poll_s=10.0,
    registered_at=NOON,
)
ORDER = ReportOrder(
    order_id="order-1",
    connection_id="utility",
    resource_id="site-1",
    granularity_s=10.0,
    report_back_s=60.0,
    starts_at=NOON,
    ends_at=None,
)


class Scripted:
    """A VTN that answers each service from its own list, and with nothing new once that is used up."""

    NOTHING = model.Response(response=model.EiResponse(code="200", request_id="r"), ven_id="ven-1")
    NO_EVENTS = model.DistributeEvent(request_id="r", vtn_id="VTN-1")

    def __init__(self, store: Any, valid: Callable[[bytes], None]) -> None:
        self.store = store
        self.valid = valid
        self.answers: dict[str, list[codec.Message | bytes | Exception]] = {}
        self.heard: list[tuple[str, codec.Message]] = []
        self.ven = self.new_ven()

    def new_ven(self, **more: Any) -> Ven:
        offers = more.pop("offers", (ReportOffer(resource_id="site-1", min_sampling_s=1, max_sampling_s=3600),))
        return Ven(
            connection_id="utility",
            ven_name="gateway",
            exchange=self.exchange,
            store=self.store,
            offers=offers,
            **more,
        )

    def says(self, service: str, *answers: codec.Message | bytes | Exception) -> None:
        self.answers.setdefault(service, []).extend(answers)

    async def exchange(self, service: str, body: bytes) -> bytes:
        self.valid(body)
        self.heard.append((service, codec.decode(body)))
        script = self.answers.get(service)
        answer = script.pop(0) if script else (self.NO_EVENTS if service == "EiEvent" else self.NOTHING)
        if isinstance(answer, Exception):
            raise answer
        return answer if isinstance(answer, bytes) else codec.encode(answer)

    def sent(self, kind: type) -> list[Any]:
        return [message for _, message in self.heard if isinstance(message, kind)]

    async def settle(self) -> None:
        """Take the turn that a new life begins with."""
        await self.ven.receive(NOON)
        self.heard.clear()
        self.store.messages.clear()


@pytest.fixture(scope="session")
def rsa_vtn() -> Identity:
    """A VTN with an RSA key; such a key takes long to find."""
    return ROOT.vouch("vtn-rsa", key=rsa.generate_private_key(65537, 2048))


@pytest.fixture(scope="session")
def schema() -> etree.XMLSchema:
    """The 2.0b schema set, which openleadr's package carries."""
    return etree.XMLSchema(etree.parse(Path(openleadr.__file__).parent / "schema" / "oadr_20b.xsd"))


@pytest.fixture(scope="session")
def valid(schema: etree.XMLSchema) -> Callable[[bytes], None]:
    def check(body: bytes) -> None:
        schema.assertValid(etree.fromstring(body))

    return check


@pytest.fixture
def store() -> MemoryStore:
    return MemoryStore()


@pytest.fixture
def joined(valid: Callable[[bytes], None]) -> Joined:
    return Joined(valid)


@pytest.fixture
def event() -> GridEvent:
    """A plain event: two SIMPLE levels of half an hour, in an hour from noon."""
    begin = NOON + timedelta(hours=1)
    half = timedelta(minutes=30)
    return GridEvent(
        event_id="event-1",
        connection_id="program",
        program_id="http://utility.example/peak",
        revision=0,
        status=EventStatus.FAR,
        created_at=NOON,
        starts_at=begin,
        duration_s=3600.0,
        signals=(
            Signal(
                name="SIMPLE",
                kind=SignalKind.LEVEL,
                dialect_kind="level",
                intervals=(
                    EventInterval(starts_at=begin, duration_s=1800.0, value=1.0),
                    EventInterval(starts_at=begin + half, duration_s=1800.0, value=2.0),
                ),
            ),
        ),
    )


@pytest.fixture
def with_signal(event: GridEvent) -> Callable[..., GridEvent]:
    """The plain event with one signal of another kind."""

    def make(kind: SignalKind, *values: float, **more: Any) -> GridEvent:
        length_s = (event.duration_s or 0.0) / len(values)
        intervals = tuple(
            EventInterval(
                starts_at=event.starts_at + timedelta(seconds=index * length_s), duration_s=length_s, value=value
            )
            for index, value in enumerate(values)
        )
        signal = Signal(name=more.pop("name", "x"), kind=kind, intervals=intervals, **more)
        return replace(event, signals=(signal,))

    return make


@pytest.fixture
def stranger(store: MemoryStore, valid: Callable[[bytes], None]) -> Scripted:
    """A scripted VTN that does not know us yet."""
    return Scripted(store, valid)


@pytest.fixture
async def vtn(store: Any, valid: Callable[[bytes], None]) -> Scripted:
    """Registered, with one order, past the first turn."""
    await store.save_registration(REGISTERED)
    await store.save_order(ORDER)
    scripted = Scripted(store, valid)
    await scripted.settle()
    return scripted


@pytest.fixture
def distribute(event: GridEvent) -> model.DistributeEvent:
    return replace(Scripted.NO_EVENTS, events=(write_event(event, now=NOON),))
