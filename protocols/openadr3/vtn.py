"""The virtual top node (VTN) of OpenADR 3.1: where we ask, over HTTP or as a plain function.

Business logic and VENs find the REST API of the definition under ``PATH``; the gateway finds a ``GridProgram``, which
is business logic of its own:

* ``publish`` makes the event's program where there is none of its name, and asks for a report of mean power. A target
  of kind ``ven`` or ``resource`` is granted to the ven of that id, or the resources of that name, so that they can read
  the event; any other target is a word that business logic grants as it likes.
* ``cancel`` empties the event's window (User Guide 7.9), so that a VEN sees it cancelled and not merely absent.
* ``parties`` are the vens.
* ``answers``: 3.1 has no answer to an event, so that they are derived from what a VEN has read and what it reports
  (``vtn_reports``).
* ``reports`` are those that VENs post, each kept as it came; one that is changed comes out once more, as a report of
  its own.
"""

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

import structlog
from aiohttp import web

from protocols.grid import EventStatus, GridEvent, OptDecision, Party, Target
from protocols.grid_report import IntervalReport, ReportOrder, ReportQuantity
from protocols.object_store import ObjectStore
from protocols.openadr3 import model, model_access
from protocols.openadr3.codec import encode
from protocols.openadr3.model import Held
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_writing import write_event
from protocols.openadr3.vtn_access import READ_ALL, READ_TARGETS, READ_VEN_OBJECTS, Caller, Client, require
from protocols.openadr3.vtn_answers import Answer, Refused, Request, problem
from protocols.openadr3.vtn_granting import grant, program_called
from protocols.openadr3.vtn_http import PATH, over_http
from protocols.openadr3.vtn_objects import VtnObjects, id_of
from protocols.openadr3.vtn_orders import VtnOrders
from protocols.openadr3.vtn_parties import party_of
from protocols.openadr3.vtn_reports import VtnReports
from protocols.openadr3.vtn_rest import KINDS, VtnRest
from protocols.openadr3.vtn_telling import Publisher, VtnTelling
from protocols.openadr3.vtn_tokens import Tokens
from protocols.openadr3.vtn_topics import mosquitto_acl, topics_at
from protocols.openadr3.vtn_webhook import CallbackRefused, Callbacks
from protocols.party_store import PartyStore, PlacedOrder

log = structlog.get_logger()

ASKED_REPORT = model.ReportDescriptor(
    payload_type="DEMAND", reading_type="MEAN", units="KW", report_intervals="OPEN_INTERVALS"
)
"""What a published event asks of those it is for: mean power, in intervals of their choice."""
ASKED_STATE = model.ReportDescriptor(payload_type="OPERATING_STATE", report_intervals="OPEN_INTERVALS")
"""And whether they take part, which 3.1 has no other word for."""

REPORTS = "gridgate-reports"
"""Id of the event that asks for reports of power, and name of its program."""

VERIFIED = "gridgate-verified"
"""Id of the event that asks for what VENs verify, in the same program."""

ASKED_VERIFIED = (
    model.ReportDescriptor(payload_type="BASELINE", reading_type="MEAN", units="KW"),
    model.ReportDescriptor(payload_type="DELTA_USAGE", units="KWH"),
)
"""Baseline and reduction, preliminary first and corrected later."""

MOST_OPERATIONS = 32
"""Of one subscription: each of its callbacks is called before it is taken."""
MOST_SUBSCRIPTIONS = 100
"""Of one client: every change is weighed for each."""


class Vtn:
    """A ``GridProgram`` whose clients reach it through ``respond``, or over HTTP through ``routes``.

    ``base_url`` is where clients find ``PATH``, as they see it. ``callbacks`` calls subscribers; without it there are
    no subscriptions (501). ``publisher`` publishes on the MQTT broker that ``broker_for`` says how a client (by its id)
    reaches. ``unavailable`` are the exceptions of the stores that mean: not just now. ``deliver_due``
    has to be called when ``wake`` is set, and at the instant that it returned.
    """

    def __init__(
        self,
        *,
        connection_id: str,
        base_url: str,
        store: PartyStore,
        objects: ObjectStore,
        clients: Sequence[Client],
        now: Callable[[], datetime],
        callbacks: Callbacks | None = None,
        publisher: Publisher | None = None,
        broker_for: Callable[[str], model_access.Mqtt | None] = lambda _: None,
        asked_reports: Sequence[model.ReportDescriptor] = (ASKED_REPORT, ASKED_STATE),
        power_every_s: float | None = None,
        verified_every_s: float | None = None,
        token_lifetime_s: int = 3600,
        unavailable: tuple[type[Exception], ...] = (),
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._connection_id = connection_id
        self._base_url = base_url.rstrip("/")
        self._store = store
        self._clients = {client.client_id: client for client in clients}
        self._now = now
        self._callbacks = callbacks
        self._broker_for = broker_for
        self._asked_reports = tuple(asked_reports)
        # The standing events that ask for reports, by id: how often, and for what.
        self._standing = {
            REPORTS: (power_every_s, (ASKED_REPORT,)),
            VERIFIED: (verified_every_s, ASKED_VERIFIED),
        }
        self._unavailable = unavailable
        self._publishing = asyncio.Lock()
        self._objects = VtnObjects(connection_id=connection_id, store=objects, now=now, new_id=new_id)
        self._telling = VtnTelling(
            connection_id=connection_id,
            store=objects,
            objects=self._objects,
            clients=self._clients,
            now=now,
            callbacks=callbacks,
            publisher=publisher,
        )
        self._tokens = Tokens(
            connection_id=connection_id, clients=clients, store=objects, now=now, lifetime_s=token_lifetime_s
        )
        self._reports = VtnReports(connection_id=connection_id, store=store, objects=self._objects, now=now)
        self._orders = VtnOrders(
            connection_id=connection_id,
            store=store,
            objects=self._objects,
            now=now,
            program_name=REPORTS,
        )
        self._rest = VtnRest(
            objects=self._objects, now=now, accept=self._accept, kept=self._reports.take, read=self._was_read
        )
        self._loading = asyncio.Lock()
        self._loaded = False

    @property
    def connection_id(self) -> str:
        return self._connection_id

    @property
    def has_offers(self) -> bool:
        """Whether parties say beforehand what they can report."""
        return False

    @property
    def wake(self) -> asyncio.Event:
        """Set when there is something to deliver; whoever waits for it clears it."""
        return self._telling.wake

    def routes(self) -> list[web.RouteDef]:
        """Routes for aiohttp, all under ``PATH``. The definition wants HTTPS: mount them on a TLS listener."""
        return over_http(self.respond, self._unavailable)

    async def publish(self, event: GridEvent) -> None:
        """As the port says; ``ValueError`` for an event that 3.1 cannot say, or a revision that is not higher.

        An event for a party that is not there (yet) is read by nobody until business logic grants its target.
        """
        async with self._publishing:
            await self._load()
            event = replace(event, connection_id=self._connection_id)
            known = await self._issued(event.event_id)
            if known is not None and event.revision <= known.revision:
                raise ValueError(f"event {event.event_id} has revision {known.revision} already")
            try:
                await self._offer(event)
            except Refused as cause:
                raise ValueError(cause.detail) from cause

    async def cancel(self, event_id: str) -> None:
        async with self._publishing:
            await self._load()
            event = await self._issued(event_id)
            if event is None:
                raise KeyError(event_id)
            if event.status is not EventStatus.CANCELLED:
                await self._offer(replace(event, revision=event.revision + 1, status=EventStatus.CANCELLED))

    async def events(self) -> tuple[GridEvent, ...]:
        return await self._store.issued_events(self._connection_id)

    async def prepare(self, party_id: str) -> None:
        """Grant a ven its own id as a target before there is an event for it: it looks for new ones only at times."""
        async with self._publishing:
            await self._load()
            await grant(self._objects, Target(kind="ven", value=party_id))

    async def parties(self) -> tuple[Party, ...]:
        await self._load()
        found = (party_of(ven, self._connection_id) for ven in self._objects.all(model.Ven))
        return tuple(party for party in found if party is not None)

    async def orders(self) -> tuple[PlacedOrder, ...]:
        """Every report that was ordered one by one, by time of ordering."""
        return await self._orders.placed()

    async def order_report(
        self,
        party_id: str,
        resource_id: str,
        quantities: tuple[ReportQuantity, ...],
        *,
        granularity_s: float,
        report_back_s: float,
        starts_at: datetime,
        ends_at: datetime | None = None,
        history: bool = False,
        order_id: str | None = None,
    ) -> str:
        """Order a report of a ven, as 2.0b's VTN does; ``resource_id`` is empty, as it is of all that the ven has.

        Raises ``KeyError`` for an unknown party, ``ValueError`` for what 3.1 cannot ask for.
        """
        order = ReportOrder(
            order_id=order_id or f"order-{uuid4().hex}",
            connection_id=self._connection_id,
            resource_id=resource_id,
            granularity_s=granularity_s,
            report_back_s=report_back_s,
            starts_at=starts_at,
            ends_at=ends_at,
            quantities=quantities,
            history=history,
        )
        async with self._publishing:
            await self._load()
            await self._orders.place(party_id, order)
        return order.order_id

    async def cancel_report(self, order_id: str, *, last_report: bool = False) -> None:
        """End an order. Raises ``KeyError`` for one never placed, ``ValueError`` for ``last_report``."""
        if last_report:
            raise ValueError("OpenADR 3.1 has no word for one last report: cancel without it")
        async with self._publishing:
            await self._load()
            await self._orders.end(order_id)

    async def ask_to_reregister(self, party_id: str) -> None:
        """Raises ``ValueError``, always."""
        raise ValueError(f"OpenADR 3.1 has no word to ask {party_id} to register anew: vens register by themselves")

    async def cancel_registration(self, party_id: str) -> None:
        """Delete the ven with its resources (deleteVen) and end its orders. Raises ``KeyError``."""
        async with self._publishing:
            await self._load()
            ven = self._objects.one(model.Ven, party_id)
            if ven is None:
                raise KeyError(party_id)
            await self._orders.end_all(party_id)
            await self._objects.remove(ven)

    async def answers(self, event_id: str) -> tuple[tuple[str, OptDecision], ...]:
        return await self._store.answers(self._connection_id, event_id)

    async def reports(self, after: datetime) -> tuple[tuple[str, IntervalReport], ...]:
        return await self._store.received_reports(self._connection_id, after)

    async def mosquitto_acl(self, publisher: str) -> str:
        """Who may read and write which topics, as Mosquitto reads it, where users are named by their client ids.

        It changes with the vens: it is to be written, and the broker told to read it, when one comes or goes.
        """
        await self._load()
        return mosquitto_acl(publisher, self._clients.values(), self._objects.all(model.Ven))

    async def deliver_due(self, now: datetime) -> datetime | None:
        """Deliver the notifications that are due; returns when to call again, ``None`` where none is left."""
        await self._load()
        return await self._telling.deliver_due(now)

    async def respond(self, request: Request) -> Answer:
        """The answer to a request below ``PATH``; a problem where it is refused."""
        await self._load()
        try:
            return await self._respond(request)
        except Refused as refused:
            return problem(refused)

    async def _respond(self, request: Request) -> Answer:
        steps = tuple(request.path.strip("/").split("/"))
        if steps == ("auth", "server"):
            _only(request, "GET")
            return _said(model_access.AuthServer(token_url=f"{self._base_url}{PATH}/auth/token"))
        if steps == ("auth", "token"):
            _only(request, "POST")
            return await self._tokens.answer(request)
        kind = KINDS.get(steps[0])
        if kind is not None and len(steps) <= 2:
            _only(request, *(("GET", "POST") if len(steps) == 1 else ("GET", "PUT", "DELETE")))
            caller = await self._tokens.caller(request.authorization)
            return await self._rest.answer(request, caller, kind, steps[1] if len(steps) == 2 else None)
        if steps[0] == "notifiers":
            _only(request, "GET")
            return self._notifiers(steps[1:], await self._tokens.caller(request.authorization))
        raise Refused(404, "OpenADR 3.1 has nothing at this address")

    def _notifiers(self, steps: tuple[str, ...], caller: Caller) -> Answer:
        broker = self._broker_for(caller.client_id)
        if not steps:
            # The definition wants read_all here; but VENs are whom it is for (its document on notifications, 7).
            require(caller, READ_ALL, READ_TARGETS, READ_VEN_OBJECTS)
            return _said(model_access.Notifiers(webhook=self._callbacks is not None, mqtt=broker))
        if steps[:2] != ("mqtt", "topics"):
            raise Refused(404, "OpenADR 3.1 has nothing at this address")
        found = topics_at(steps[2:], caller, self._objects)
        if broker is None:
            raise Refused(404, "this VTN has no MQTT broker for you: see /notifiers")
        return _said(found)

    async def _load(self) -> None:
        async with self._loading:
            if not self._loaded:
                await self._objects.load()
                await self._telling.load()
                for event_id, (every_s, wanted) in self._standing.items():
                    if every_s is not None:
                        await self._orders.stand(event_id, wanted, timedelta(seconds=max(1, round(every_s))))
                self._loaded = True

    async def _accept(self, value: Held, before: Held | None, body: bytes) -> None:
        """What has to be before an object is kept: a report is on record, a subscription's callbacks are proven."""
        if isinstance(value, model.Report):
            await self._reports.record(body)
        elif isinstance(value, model.Subscription):
            await self._prove(value, before if isinstance(before, model.Subscription) else None)

    async def _was_read(self, values: Sequence[Held], caller: Caller) -> None:
        """What follows once objects were read: subscribers are told, and who has read an event knows of it."""
        await self._telling.tell_read(values, caller)
        await self._reports.heard(values, caller)

    async def _prove(self, value: model.Subscription, before: model.Subscription | None) -> None:
        """Refuse a subscription that we could not, or should not, call."""
        if self._callbacks is None:
            raise Refused(501, "this VTN calls nobody: ask it for events from time to time")
        if len(value.object_operations) > MOST_OPERATIONS:
            raise Refused(400, f"$.objectOperations: {len(value.object_operations)}, more than {MOST_OPERATIONS}")
        others = [item for item in self._objects.all(model.Subscription) if item.client_id == value.client_id]
        if before is None and len(others) >= MOST_SUBSCRIPTIONS:
            raise Refused(409, f"you have {len(others)} subscriptions already: delete some")
        tokens = [item.bearer_token or "" for item in value.object_operations]
        if not all(token.isascii() and token.isprintable() for token in tokens):
            raise Refused(400, "$.objectOperations: a bearerToken is of printable ASCII letters")
        proven = set() if before is None else {item.callback_url for item in before.object_operations}
        urls = {item.callback_url for item in value.object_operations} - proven
        try:
            await asyncio.gather(*(self._callbacks.prove(url) for url in urls))
        except CallbackRefused as cause:
            raise Refused(400, f"$.objectOperations: {cause}") from cause

    async def _offer(self, event: GridEvent) -> None:
        written = write_event(event, program_id="unknown", modified_at=self._now(), version=Version.V3_1)
        encode(written, Version.V3_1)
        program = await program_called(self._objects, event.program_id)
        asked = () if event.status is EventStatus.CANCELLED else self._asked_reports
        written = replace(written, program_id=id_of(program), report_descriptors=asked)
        held = self._objects.one(model.Event, event.event_id)
        for target in event.targets:
            await grant(self._objects, target)
        if held is None:
            await self._objects.add(written, object_id=event.event_id)
        else:
            await self._objects.change(held, lambda _: written)
        await self._store.save_issued_event(event)

    async def _issued(self, event_id: str) -> GridEvent | None:
        issued = await self._store.issued_events(self._connection_id)
        return next((event for event in issued if event.event_id == event_id), None)


def _only(request: Request, *methods: str) -> None:
    if request.method not in methods:
        allowed = ", ".join(methods)
        raise Refused(405, f"use {allowed} here", headers={"Allow": allowed})


def _said(value: model_access.AuthServer | model_access.Notifiers | model_access.Topics) -> Answer:
    return Answer(status=200, body=encode(value, Version.V3_1))
