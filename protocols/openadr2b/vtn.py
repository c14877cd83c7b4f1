"""A virtual top node (VTN) of OpenADR 2.0b: where we ask, over HTTP (pull and push) or as a plain function.

What it knows is in the ``PartyStore``, with an image of it in memory; each connection has its own, and several VTNs in
one process share nothing. A VEN is recognised by its certificate where it shows one (``VtnParties``), else by its
venID, or, registering anew, by its name.
"""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from uuid import uuid4

from aiohttp import web

from protocols.grid import EventStatus, GridEvent, OptDecision, OptSchedule, Party
from protocols.grid_report import IntervalReport, ReportOrder, ReportQuantity
from protocols.openadr2b import model, vtn_http
from protocols.openadr2b.codec import encode
from protocols.openadr2b.neutral_event import write_event
from protocols.openadr2b.signature import Signer, Verifier
from protocols.openadr2b.vtn_conversation import SERVICES, VtnConversation
from protocols.openadr2b.vtn_events import VtnEvents
from protocols.openadr2b.vtn_opts import VtnOpts
from protocols.openadr2b.vtn_parties import ANYBODY, Caller, VtnParties
from protocols.openadr2b.vtn_push import PushTo, VtnPush
from protocols.openadr2b.vtn_queue import VtnQueue
from protocols.openadr2b.vtn_registration import VtnRegistration
from protocols.openadr2b.vtn_reports import VtnReports
from protocols.openadr2b.vtn_state import VtnState
from protocols.party_store import PartyStore, PlacedOrder

PATH = vtn_http.PATH


class Vtn:
    """A ``GridProgram`` that VENs reach through ``answer``, or over HTTP through ``routes``.

    ``poll_s`` is what VENs are told to wait between polls; the power of each resource that they offer is ordered, every
    ``report_back_s`` in intervals of ``granularity_s``, and with ``verified_s`` baseline and reduction that often. With
    a ``verifier`` every message must be signed, with a ``signer`` every answer is. With ``push`` a VEN may register an
    address: ``deliver_due`` brings it what waits.
    Raises ``ValueError`` for a ``vtn_id`` without a capital letter, since openleadr's VEN refuses such events.
    """

    def __init__(
        self,
        *,
        connection_id: str,
        vtn_id: str,
        store: PartyStore,
        now: Callable[[], datetime],
        poll_s: float = 10.0,
        granularity_s: float = 60.0,
        report_back_s: float = 60.0,
        verified_s: float | None = None,
        new_id: Callable[[], str] = lambda: uuid4().hex,
        parties: VtnParties | None = None,
        signer: Signer | None = None,
        verifier: Verifier | None = None,
        push: PushTo | None = None,
        proxy: vtn_http.ProxyHeader | None = None,
    ) -> None:
        if vtn_id.islower():
            raise ValueError(f"vtn_id {vtn_id!r} has no capital letter: openleadr's VEN refuses its events")
        self._connection_id = connection_id
        self._vtn_id = vtn_id
        self._store = store
        self._now = now
        self._new_id = new_id
        self._proxy = proxy
        known = parties or VtnParties()
        self._state = VtnState(connection_id, store)
        self._queue = VtnQueue(self._state)
        events = VtnEvents(self._state, known)
        self._reports = VtnReports(
            state=self._state,
            queue=self._queue,
            granularity_s=granularity_s,
            report_back_s=report_back_s,
            verified_s=verified_s,
            new_id=new_id,
        )
        registration = VtnRegistration(
            state=self._state,
            parties=known,
            queue=self._queue,
            events=events,
            vtn_id=vtn_id,
            poll_every=timedelta(seconds=max(1, round(poll_s))),
            pushes=push is not None,
            new_id=new_id,
        )
        self._conversation = VtnConversation(
            vtn_id=vtn_id,
            state=self._state,
            parties=known,
            events=events,
            queue=self._queue,
            registration=registration,
            reports=self._reports,
            opts=VtnOpts(self._state, events),
            signer=signer,
            verifier=verifier,
            new_id=new_id,
        )
        self._push = None
        if push is not None:
            self._push = VtnPush(
                push=push,
                conversation=self._conversation,
                state=self._state,
                parties=known,
                events=events,
                queue=self._queue,
                path=PATH,
            )

    @property
    def connection_id(self) -> str:
        return self._connection_id

    @property
    def has_offers(self) -> bool:
        """Whether parties say beforehand what they can report."""
        return True

    async def publish(self, event: GridEvent) -> None:
        """As the port says; ``ValueError`` for an event that 2.0b cannot say, or a revision that is not higher."""
        await self._state.load(self._now())
        async with self._conversation.turn("events"):
            event = replace(event, connection_id=self._connection_id)
            known = self._state.revision(event.event_id)
            if known is not None and event.revision <= known:
                raise ValueError(f"event {event.event_id} has revision {known} already: say a higher one")
            offered = (write_event(event, now=self._now()),)
            encode(model.DistributeEvent(request_id="", vtn_id=self._vtn_id, events=offered))
            await self._state.save_event(event)

    async def cancel(self, event_id: str) -> None:
        await self._state.load(self._now())
        async with self._conversation.turn("events"):
            event = await self._state.event(event_id)
            if event is None:
                raise KeyError(event_id)
            if event.status is not EventStatus.CANCELLED:
                await self._state.save_event(replace(event, revision=event.revision + 1, status=EventStatus.CANCELLED))

    async def events(self) -> tuple[GridEvent, ...]:
        """As the port says."""
        return await self._store.issued_events(self._connection_id)

    async def parties(self) -> tuple[Party, ...]:
        await self._state.load(self._now())
        return tuple(party for party in self._state.parties.values() if party.registration_id)

    async def answers(self, event_id: str) -> tuple[tuple[str, OptDecision], ...]:
        """As the port says; an opt of the event (EiOpt) that stands goes before what was answered to it."""
        await self._state.load(self._now())
        return await self._state.answers(event_id)

    async def reports(self, after: datetime) -> tuple[tuple[str, IntervalReport], ...]:
        return await self._store.received_reports(self._connection_id, after)

    async def opts(self, party_id: str) -> tuple[OptSchedule, ...]:
        """What a party will, or will not, take part in; oldest first."""
        await self._state.load(self._now())
        return self._state.opts(party_id)

    async def orders(self) -> tuple[PlacedOrder, ...]:
        """Every report that was ordered, ended ones too."""
        await self._state.load(self._now())
        return tuple(self._state.orders.values())

    async def order_report(
        self,
        party_id: str,
        resource_id: str,
        quantities: tuple[ReportQuantity, ...] = (ReportQuantity.POWER,),
        *,
        granularity_s: float,
        report_back_s: float,
        starts_at: datetime,
        ends_at: datetime | None = None,
        history: bool = False,
        order_id: str | None = None,
    ) -> str:
        """Order a report from a registered party; the order's id, which is ours to choose (again: the same order).

        ``history``: of the past, from ``starts_at`` to ``ends_at``. Raises ``KeyError`` for an unknown party,
        ``ValueError`` for what it does not offer in one report, ``QueueFull``.
        """
        party = await self._known(party_id)
        order = ReportOrder(
            order_id=order_id or f"order-{self._new_id()}",
            connection_id=self._connection_id,
            resource_id=resource_id,
            granularity_s=granularity_s,
            report_back_s=report_back_s,
            starts_at=starts_at,
            ends_at=ends_at,
            quantities=quantities,
            history=history,
        )
        await self._reports.order(party, order, self._now())
        return order.order_id

    async def cancel_report(self, order_id: str, *, last_report: bool = False) -> None:
        """End an order. Raises ``KeyError`` for one that we never placed, ``QueueFull``."""
        await self._state.load(self._now())
        placed = self._state.orders[order_id]
        if placed.ended_at is None:
            await self._reports.cancel(placed, self._now(), last_report=last_report)

    async def ask_for_offers(self, party_id: str) -> None:
        """Have a party say anew what it can report (METADATA). Raises ``KeyError``, ``QueueFull``."""
        await self._reports.ask_for_offers(await self._known(party_id), self._now())

    async def offer_reports(self, party_id: str) -> None:
        """Tell a party what we report to it: nothing. Raises ``KeyError``, ``QueueFull``."""
        await self._reports.offer(await self._known(party_id), self._now())

    async def ask_to_reregister(self, party_id: str) -> None:
        """Have a party register anew. Raises ``KeyError``, ``QueueFull``."""
        party = await self._known(party_id)
        await self._queue.put(party_id, model.RequestReregistration(ven_id=party.party_id), self._now())

    async def cancel_registration(self, party_id: str) -> None:
        """End a registration: it is over once the party has acknowledged that. Raises ``KeyError``, ``QueueFull``."""
        party = await self._known(party_id)
        message = model.CancelPartyRegistration(
            request_id=f"cancel-{party.registration_id}", registration_id=party.registration_id, ven_id=party_id
        )
        await self._queue.put(party_id, message, self._now())

    def routes(self) -> list[web.RouteDef]:
        """The five services over simple HTTP."""
        return vtn_http.routes(tuple(SERVICES), self.answer, self._proxy)

    async def answer(self, service: str, body: bytes, caller: Caller = ANYBODY) -> bytes:
        """The answer to a message posted to a service; empty where 2.0b has none (to an oadrResponse).

        Raises ``MessageError`` for a body that cannot be read or is not proven: nothing has changed but that it is
        kept; and ``StoreUnavailable``.
        """
        return await self._conversation.answer(service, body, caller, self._now())

    async def deliver_due(self, now: datetime) -> int:
        """Bring what waits to every VEN that is pushed to and due; how many messages they took.

        To be called every second or so. What does not arrive waits, and is tried again at growing intervals.
        """
        return 0 if self._push is None else await self._push.deliver_due(now)

    async def _known(self, party_id: str) -> Party:
        """A registered party. Raises ``KeyError``."""
        await self._state.load(self._now())
        party = self._state.registered(party_id)
        if party is None:
            raise KeyError(party_id)
        return party
