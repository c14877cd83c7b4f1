"""The VTN's side of the conversation: who says what, who answers it, and what each VEN is told next."""

import asyncio
from collections.abc import Awaitable, Callable
from datetime import datetime
from hashlib import sha256
from typing import Any

from protocols.errors import MessageError, MessageTooLarge, UntrustedCertificate
from protocols.grid import Party
from protocols.grid_report import IntervalReport
from protocols.openadr2b import model, model_report
from protocols.openadr2b.codec import Message, decode, encode, name_of
from protocols.openadr2b.conversation import (
    COMPLIANCE_ERROR,
    EVENT,
    INVALID_ID,
    OPT,
    POLL,
    REGISTER,
    REPORT,
    REPORT_NOT_SUPPORTED,
    said_well,
)
from protocols.openadr2b.signature import Signer, Verifier, decode_signed, encode_signed
from protocols.openadr2b.vtn_answers import refusal
from protocols.openadr2b.vtn_events import VtnEvents
from protocols.openadr2b.vtn_opts import VtnOpts
from protocols.openadr2b.vtn_parties import Caller, Refused, VtnParties, plain_fingerprint, same_certificate
from protocols.openadr2b.vtn_queue import VtnQueue
from protocols.openadr2b.vtn_registration import VtnRegistration
from protocols.openadr2b.vtn_reports import VtnReports
from protocols.openadr2b.vtn_state import VtnState
from protocols.party_store import Direction, RawMessage

SERVICES: dict[str, tuple[type, ...]] = {
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
        model_report.CreateReport,
        model_report.CreatedReport,
        model_report.UpdateReport,
        model_report.CancelReport,
        model_report.CanceledReport,
    ),
    OPT: (model.CreateOpt, model.CancelOpt),
}
"""What each service takes."""

PARTIES = "parties"
"""The turn of whatever changes who is registered, and what of them is known."""

_CHANGE_A_PARTY = (
    model.CreatePartyRegistration,
    model.CancelPartyRegistration,
    model.CanceledPartyRegistration,
    model_report.RegisterReport,
)


class VtnConversation:
    """Answers the messages of VENs. Everything is kept before it is acted on, but empty polls and their answers."""

    def __init__(
        self,
        *,
        vtn_id: str,
        state: VtnState,
        parties: VtnParties,
        events: VtnEvents,
        queue: VtnQueue,
        registration: VtnRegistration,
        reports: VtnReports,
        opts: VtnOpts,
        signer: Signer | None,
        verifier: Verifier | None,
        new_id: Callable[[], str],
    ) -> None:
        self._vtn_id = vtn_id
        self._state = state
        self._parties = parties
        self._events = events
        self._queue = queue
        self._registration = registration
        self._reports = reports
        self._signer = signer
        self._verifier = verifier
        self._new_id = new_id
        self._turn_of_queue: set[str] = set()
        self._last_told: dict[str, tuple[int, str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}
        self._handlers: dict[type, Callable[[Any, Party, datetime], Awaitable[Message]]] = {
            model.Poll: self._poll,
            model.RequestEvent: self._request_event,
            model.CreatedEvent: self._take_answers,
            model.CancelPartyRegistration: lambda message, party, _: registration.deregister(message, party),
            model.CanceledPartyRegistration: self.settle,
            model_report.RegisterReport: reports.take_offers,
            model_report.RegisteredReport: self.settle,
            model_report.CreateReport: self._refuse_report,
            model_report.CreatedReport: self.settle,
            model_report.CancelReport: self._refuse_report,
            model_report.CanceledReport: self.settle,
            model.CreateOpt: lambda message, party, _: opts.create(message, party),
            model.CancelOpt: lambda message, party, _: opts.cancel(message, party),
        }

    async def answer(self, service: str, body: bytes, caller: Caller, now: datetime) -> bytes:
        """See ``Vtn.answer``."""
        try:
            message, caller = await self.open(body, caller, now)
        except MessageError as fault:
            if not isinstance(fault, MessageTooLarge):
                fault.raw_sha256 = await self.record(Direction.IN, "", body, now)
            raise
        await self._state.load(now)
        if isinstance(message, model.Poll):
            answer = await self._answer(service, message, caller, now)
            if isinstance(answer, model.Response):
                # Empty polls and their answers are not kept: they say nothing, every few seconds, for ever.
                return self.written(answer, now)
        elif isinstance(message, model_report.UpdateReport):
            return await self._take_all(service, message, body, caller, now)
        else:
            await self.record(Direction.IN, name_of(message), body, now)
            if isinstance(message, model.Response):
                return b""
            async with self.turn(self._whose_turn(message)):
                answer = await self._answer(service, message, caller, now)
        written = self.written(answer, now)
        await self.record(Direction.OUT, name_of(answer), written, now)
        return written

    async def open(self, body: bytes, caller: Caller, now: datetime) -> tuple[Message, Caller]:
        """The message and who has proven to have sent it. Raises ``MessageError``."""
        if self._verifier is None:
            return decode(body), caller
        signed = await decode_signed(body, self._verifier, now, tls_certificate=caller.certificate)
        signer = plain_fingerprint(signed.signer)
        if not caller.fingerprint:
            return signed.message, Caller(fingerprint=signer)
        if not same_certificate(signer, caller.fingerprint):
            raise UntrustedCertificate(
                f"signed by {signed.signer}, but the connection is somebody else's: both must be the sender's",
                signer=signed.signer,
            )
        return signed.message, caller

    def written(self, answer: Message, now: datetime) -> bytes:
        return encode(answer) if self._signer is None else encode_signed(answer, self._signer, now)

    async def next_for(self, party: Party, now: datetime, *, news: bool, waits: bool) -> Message | None:
        """What a party is to be told next, ``None`` where there is nothing. Events and messages take turns.

        ``news`` and ``waits`` say whether an event, or a message, is to be told.
        """
        if news and not (waits and party.party_id in self._turn_of_queue):
            self._turn_of_queue.add(party.party_id)
            return self._distribute(party, None, now)
        self._turn_of_queue.discard(party.party_id)
        if not waits:
            return None
        head = await self._queue.take_next(party.party_id)
        return None if head is None else decode(head.body.encode())

    def turn(self, name: str) -> asyncio.Lock:
        """What has a name is done one after the other: the messages of a party, the changes of events."""
        return self._locks.setdefault(name, asyncio.Lock())

    async def settle(self, message: Any, party: Party, now: datetime) -> Message:
        """An answer to what waited: it waits no longer."""
        asked = await self._queue.settle(party.party_id, message, message.response.request_id)
        if isinstance(asked, model.CancelPartyRegistration):
            # One that says no knows another registration; ours it will hear of when it registers.
            if message.response.well:
                await self._registration.let_go(party)
        elif asked is not None:
            await self._reports.take_refusal(asked, message.response, now)
        return model.Response(response=said_well(message.response.request_id), ven_id=party.party_id)

    async def record(self, direction: Direction, name: str, body: bytes, now: datetime) -> str:
        digest = sha256(body).hexdigest()
        await self._state.store.record_message(
            RawMessage(
                connection_id=self._state.connection_id,
                direction=direction,
                at=now,
                name=name,
                body=body,
                sha256=digest,
            )
        )
        return digest

    async def _take_all(
        self, service: str, message: model_report.UpdateReport, body: bytes, caller: Caller, now: datetime
    ) -> bytes:
        """Keep data, the message that brought it and the answer in one go: there is much of it."""
        items: tuple[IntervalReport, ...] = ()
        answer: Message
        try:
            party = self._sender(message, caller)
        except Refused:
            party = None
        if service == REPORT and party is not None:
            items, answer = self._reports.read_data(message, party)
        else:
            answer = await self._answer(service, message, caller, now)
        written = self.written(answer, now)
        # In this order, so that a store that writes what comes together in one go has the message before its data.
        await asyncio.gather(
            self.record(Direction.IN, name_of(message), body, now),
            *(self._reports.keep(item, party, now) for item in items if party is not None),
            self.record(Direction.OUT, name_of(answer), written, now),
        )
        return written

    def _whose_turn(self, message: Message) -> str:
        """What a message's turn is kept by: its VEN, or one turn for all that change what is known of a VEN."""
        if isinstance(message, _CHANGE_A_PARTY):
            return PARTIES
        party = self._state.registered(getattr(message, "ven_id", None))
        return "nobody" if party is None else f"party {party.party_id}"

    async def _answer(self, service: str, message: Message, caller: Caller, now: datetime) -> Message:
        if type(message) not in SERVICES.get(service, ()):
            return refusal(message, self._vtn_id, COMPLIANCE_ERROR, f"{name_of(message)} is not for {service}")
        if isinstance(message, model.QueryRegistration):
            return self._registration.says(message.request_id)
        if isinstance(message, model.CreatePartyRegistration):
            return await self._registration.register(message, caller, now)
        try:
            party = self._sender(message, caller)
        except Refused as refused:
            return refusal(message, self._vtn_id, refused.code, str(refused))
        if party is None:
            return self._to_a_stranger(message)
        return await self._handlers[type(message)](message, party, now)

    def _to_a_stranger(self, message: Message) -> Message:
        ven_id = getattr(message, "ven_id", None)
        if ven_id and not self._parties.closed:
            return model.RequestReregistration(ven_id=ven_id)
        return refusal(message, self._vtn_id, INVALID_ID, "this venID is not registered here")

    def _sender(self, message: Message, caller: Caller) -> Party | None:
        """The registered party that sent a message, ``None`` for a venID that is not registered. Raises ``Refused``."""
        ven_id = getattr(message, "ven_id", None)
        if not ven_id:
            party = self._without_id(message, caller)
            if party is None:
                raise Refused("who are you? a venID is needed", code=INVALID_ID)
        else:
            party = self._state.registered(ven_id)
        if party is not None:
            self._parties.check(party, caller)
        return party

    def _without_id(self, message: Message, caller: Caller) -> Party | None:
        """The party that sent a message without venID: by its certificate, or the registration that it would end."""
        for party in self._state.parties.values():
            if not party.registration_id:
                continue
            own = self._parties.fingerprints_of(party)
            if any(same_certificate(known, caller.fingerprint) for known in own):
                return party
            if getattr(message, "registration_id", None) == party.registration_id:
                return party
        return None

    async def _poll(self, _: model.Poll, party: Party, now: datetime) -> Message:
        told = await self.next_for(
            party, now, news=self._events.has_news(party, now), waits=self._queue.has(party.party_id)
        )
        return told or model.Response(response=said_well(""), ven_id=party.party_id)

    async def _request_event(self, message: model.RequestEvent, party: Party, now: datetime) -> Message:
        return self._distribute(party, message, now)

    def _distribute(self, party: Party, question: model.RequestEvent | None, now: datetime) -> model.DistributeEvent:
        events = self._events.all_for(party, now, None if question is None else question.reply_limit)
        return model.DistributeEvent(
            response=said_well("" if question is None else question.request_id),
            request_id=self._new_id() if question is not None else self._same_request_id(party, events),
            vtn_id=self._vtn_id,
            events=events,
        )

    def _same_request_id(self, party: Party, events: tuple[model.OfferedEvent, ...]) -> str:
        """An id that is the same as long as the events are: a message that is told again is kept only once."""
        content = hash(events)
        known, request_id = self._last_told.get(party.party_id, (None, ""))
        if known != content:
            request_id = self._new_id()
            self._last_told[party.party_id] = (content, request_id)
        return request_id

    async def _take_answers(self, message: model.CreatedEvent, party: Party, now: datetime) -> Message:
        known = [await self._events.take_answer(party, item, now) for item in message.event_responses]
        if all(known):
            return model.Response(response=said_well(message.response.request_id), ven_id=party.party_id)
        return refusal(message, self._vtn_id, INVALID_ID, "an event that we never sent", ven_id=party.party_id)

    async def _refuse_report(
        self, message: model_report.CreateReport | model_report.CancelReport, party: Party, _: datetime
    ) -> Message:
        """We report nothing to a VEN, so that there is nothing to end either."""
        code = REPORT_NOT_SUPPORTED if isinstance(message, model_report.CreateReport) else INVALID_ID
        return refusal(message, self._vtn_id, code, "no report is on offer here", ven_id=party.party_id)
