"""A small virtual top node (VTN) of OpenADR 2.0b: where we ask, over HTTP or as a plain function.

What it knows is in the ``PartyStore``. A VEN is recognised by its venID, or, registering anew, by its name: proof of
who it is comes with certificates. Its ``vtn_id`` should hold a capital letter, since openleadr's VEN refuses others.
"""

from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import datetime, timedelta
from hashlib import sha256
from typing import Any
from uuid import uuid4

from aiohttp import web

from protocols.errors import MessageError, MessageTooLarge
from protocols.grid import (
    Direction,
    EventStatus,
    GridEvent,
    IntervalReport,
    OptDecision,
    Party,
    PartyStore,
    RawMessage,
    ReportOffer,
)
from protocols.openadr2b import model, model_report
from protocols.openadr2b.codec import Message, decode, encode, name_of
from protocols.openadr2b.conversation import (
    COMPLIANCE_ERROR,
    EVENT,
    INVALID_DATA,
    INVALID_ID,
    NOT_ALLOWED,
    POLL,
    REGISTER,
    REPORT,
    said_well,
)
from protocols.openadr2b.neutral_event import SCALES, write_event
from protocols.openadr2b.neutral_report import read_offers, read_report, write_request
from protocols.openadr2b.vtn_events import VtnEvents
from protocols.xml import MAX_BYTES

PATH = "/OpenADR2/Simple/2.0b"

_SERVICES: dict[str, tuple[type, ...]] = {
    POLL: (model.Poll,),
    EVENT: (model.RequestEvent, model.CreatedEvent),
    REGISTER: (
        model.QueryRegistration,
        model.CreatePartyRegistration,
        model.CancelPartyRegistration,
        model.CanceledPartyRegistration,
    ),
    REPORT: (
        model_report.RegisterReport,
        model_report.RegisteredReport,
        model_report.CreatedReport,
        model_report.UpdateReport,
        model_report.CanceledReport,
    ),
}


class Vtn:
    """A ``GridProgram`` that VENs reach through ``answer``, or over HTTP through ``routes``.

    ``poll_s`` is what VENs are told to wait between polls; each rID of real power that they offer is ordered, every
    ``report_back_s`` in intervals of ``granularity_s``.
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
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._connection_id = connection_id
        self._vtn_id = vtn_id
        self._store = store
        self._now = now
        self._poll_every = timedelta(seconds=max(1, round(poll_s)))
        self._granularity_s = granularity_s
        self._report_back_s = report_back_s
        self._new_id = new_id
        self._events = VtnEvents(connection_id, store)
        self._handlers: dict[type, Callable[[Any, Party], Awaitable[Message]]] = {
            model.Poll: self._poll,
            model.RequestEvent: self._request_event,
            model.CreatedEvent: self._take_answers,
            model.CancelPartyRegistration: self._deregister,
            model_report.RegisterReport: self._order_reports,
            model_report.UpdateReport: self._take_reports,
        }

    @property
    def connection_id(self) -> str:
        return self._connection_id

    async def publish(self, event: GridEvent) -> None:
        """As the port says; ``ValueError`` for an event that 2.0b cannot say, or a revision that is not higher."""
        event = replace(event, connection_id=self._connection_id)
        known = await self._issued(event.event_id)
        if known is not None and event.revision <= known.revision:
            raise ValueError(f"event {event.event_id} has revision {known.revision} already")
        offered = (write_event(event, now=self._now()),)
        encode(model.DistributeEvent(request_id="", vtn_id=self._vtn_id, events=offered))
        await self._store.save_issued_event(event)

    async def cancel(self, event_id: str) -> None:
        event = await self._issued(event_id)
        if event is None:
            raise KeyError(event_id)
        if event.status is not EventStatus.CANCELLED:
            await self._store.save_issued_event(
                replace(event, revision=event.revision + 1, status=EventStatus.CANCELLED)
            )

    async def events(self) -> tuple[GridEvent, ...]:
        """As the port says."""
        return await self._store.issued_events(self._connection_id)

    async def parties(self) -> tuple[Party, ...]:
        known = await self._store.parties(self._connection_id)
        return tuple(party for party in known if party.registration_id)

    async def answers(self, event_id: str) -> tuple[tuple[str, OptDecision], ...]:
        return await self._store.answers(self._connection_id, event_id)

    async def reports(self, after: datetime) -> tuple[tuple[str, IntervalReport], ...]:
        return await self._store.received_reports(self._connection_id, after)

    def routes(self) -> list[web.RouteDef]:
        """The four services over simple HTTP."""
        return [web.post(f"{PATH}/{service}", self._over_http(service)) for service in _SERVICES]

    async def answer(self, service: str, body: bytes) -> bytes:
        """The answer to a message posted to a service; empty where 2.0b has none (to an oadrResponse).

        Raises ``MessageError`` for a body that cannot be read: nothing has changed but that it is kept.
        """
        try:
            message = decode(body)
        except MessageError as fault:
            if not isinstance(fault, MessageTooLarge):
                fault.raw_sha256 = await self._record(Direction.IN, "", body)
            raise
        if not isinstance(message, model.Poll):
            await self._record(Direction.IN, name_of(message), body)
        if isinstance(message, model.Response):
            return b""
        answer = await self._answer(service, message)
        written = encode(answer)
        if not (isinstance(message, model.Poll) and isinstance(answer, model.Response)):
            await self._record(Direction.OUT, name_of(answer), written)
        return written

    async def _answer(self, service: str, message: Message) -> Message:
        if type(message) not in _SERVICES.get(service, ()):
            return _error(message, COMPLIANCE_ERROR, f"{name_of(message)} is not for {service}")
        if isinstance(message, model.QueryRegistration):
            return self._registration(message.request_id)
        if isinstance(message, model.CreatePartyRegistration):
            return await self._register(message)
        ven_id = getattr(message, "ven_id", None)
        party = next((party for party in await self.parties() if party.party_id == ven_id), None)
        if party is not None:
            return await self._handlers.get(type(message), self._acknowledge)(message, party)
        if ven_id:
            return model.RequestReregistration(ven_id=ven_id)
        return _error(message, INVALID_ID, "who are you? a venID is needed")

    async def _poll(self, _: model.Poll, party: Party) -> Message:
        if await self._events.has_news(party, self._now()):
            return await self._distribute(party, None)
        return model.Response(response=said_well(""), ven_id=party.party_id)

    async def _request_event(self, message: model.RequestEvent, party: Party) -> Message:
        return await self._distribute(party, message)

    async def _acknowledge(self, message: Message, party: Party) -> Message:
        return model.Response(response=said_well(_request_id(message)), ven_id=party.party_id)

    async def _register(self, message: model.CreatePartyRegistration) -> Message:
        if message.transport != "simpleHttp" or message.http_pull_model is False or message.profile != "2.0b":
            response = model.EiResponse(
                code=NOT_ALLOWED, description="only 2.0b over simpleHttp in pull mode", request_id=message.request_id
            )
            return replace(self._registration(message.request_id), response=response)
        known = await self._store.parties(self._connection_id)
        name = message.ven_name or ""
        party = next((item for item in known if item.party_id == message.ven_id), None) or next(
            (item for item in known if name and item.name == name), None
        )
        if party is None or party.registration_id != message.registration_id or not party.registration_id:
            party = Party(
                connection_id=self._connection_id,
                party_id=f"ven-{self._new_id()}" if party is None else party.party_id,
                registration_id=f"registration-{self._new_id()}",
                name=name,
                registered_at=self._now(),
            )
            await self._store.save_party(party)
        return replace(
            self._registration(message.request_id), registration_id=party.registration_id, ven_id=party.party_id
        )

    def _registration(self, request_id: str) -> model.CreatedPartyRegistration:
        return model.CreatedPartyRegistration(
            response=said_well(request_id),
            vtn_id=self._vtn_id,
            profiles=(model.Profile(name="2.0b", transports=("simpleHttp",)),),
            poll_every=self._poll_every,
        )

    async def _deregister(self, message: model.CancelPartyRegistration, party: Party) -> Message:
        if message.registration_id != party.registration_id:
            return model.CanceledPartyRegistration(
                response=model.EiResponse(code=INVALID_ID, request_id=message.request_id), ven_id=party.party_id
            )
        await self._store.save_party(replace(party, registration_id="", offers=()))
        return model.CanceledPartyRegistration(
            response=said_well(message.request_id), registration_id=message.registration_id, ven_id=party.party_id
        )

    async def _distribute(self, party: Party, question: model.RequestEvent | None) -> model.DistributeEvent:
        events = await self._events.all_for(party, self._now())
        return model.DistributeEvent(
            response=said_well("" if question is None else question.request_id),
            request_id=self._new_id(),
            vtn_id=self._vtn_id,
            events=events if question is None or question.reply_limit is None else events[: question.reply_limit],
        )

    async def _take_answers(self, message: model.CreatedEvent, party: Party) -> Message:
        known = [await self._events.take_answer(party, item, self._now()) for item in message.event_responses]
        if all(known):
            return model.Response(response=said_well(message.response.request_id), ven_id=party.party_id)
        return _error(message, INVALID_ID, "an event that we never sent")

    async def _order_reports(self, message: model_report.RegisterReport, party: Party) -> Message:
        offers: list[ReportOffer] = []
        requests: list[model_report.ReportRequest] = []
        for report in message.reports:
            for offer, description in read_offers(report):
                scale = "none" if description.unit is None else description.unit.scale
                # The order's id says the scale, so that a report can still be read after our restart.
                requests.append(
                    write_request(
                        f"{scale}-{self._new_id()}",
                        report,
                        offer,
                        granularity_s=self._granularity_s,
                        report_back_s=self._report_back_s,
                    )
                )
                offers.append(offer)
        await self._store.save_party(replace(party, offers=tuple(offers)))
        return model_report.RegisteredReport(
            response=said_well(message.request_id), requests=tuple(requests), ven_id=party.party_id
        )

    async def _take_reports(self, message: model_report.UpdateReport, party: Party) -> Message:
        response = said_well(message.request_id)
        for report in message.reports:
            scale = report.report_request_id.partition("-")[0]
            if scale not in SCALES:
                description = f"report request {report.report_request_id[:60]} is not ours"
                response = model.EiResponse(code=INVALID_ID, description=description, request_id=message.request_id)
                continue
            try:
                items = tuple(
                    read_report(
                        report, connection_id=self._connection_id, granularity_s=self._granularity_s, scale=scale
                    )
                )
            except OverflowError:
                description = "intervals past the end of the calendar"
                response = model.EiResponse(code=INVALID_DATA, description=description, request_id=message.request_id)
                continue
            for item in items:
                await self._store.save_received_report(party.party_id, item)
        return model_report.UpdatedReport(response=response, ven_id=party.party_id)

    async def _issued(self, event_id: str) -> GridEvent | None:
        issued = await self._store.issued_events(self._connection_id)
        return next((event for event in issued if event.event_id == event_id), None)

    async def _record(self, direction: Direction, name: str, body: bytes) -> str:
        digest = sha256(body).hexdigest()
        await self._store.record_message(
            RawMessage(
                connection_id=self._connection_id,
                direction=direction,
                at=self._now(),
                name=name,
                body=body,
                sha256=digest,
            )
        )
        return digest

    def _over_http(self, service: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                answer = await self.answer(service, await _bounded(request))
            except MessageTooLarge as fault:
                return web.Response(status=413, text=f"{fault}\n")
            except MessageError as fault:
                return web.Response(status=400, text=f"{fault}\n")
            return web.Response(body=answer, content_type="application/xml")

        return handle


async def _bounded(request: web.Request) -> bytes:
    """The request's body, read no further than we would parse."""
    if (request.content_length or 0) > MAX_BYTES:
        raise MessageTooLarge(f"{request.content_length} bytes, more than the {MAX_BYTES} bytes that we read")
    body = bytearray()
    async for chunk in request.content.iter_chunked(1 << 16):
        body += chunk
        if len(body) > MAX_BYTES:
            raise MessageTooLarge(f"more than the {MAX_BYTES} bytes that we read")
    return bytes(body)


def _request_id(message: Message) -> str:
    """The id to answer with: the message's own, or that of the answer it carries."""
    own = getattr(message, "request_id", None)
    if isinstance(own, str):
        return own
    response = getattr(message, "response", None)
    return response.request_id if isinstance(response, model.EiResponse) else ""


def _error(message: Message, code: str, description: str) -> model.Response:
    return model.Response(
        response=model.EiResponse(code=code, description=description, request_id=_request_id(message))
    )
