"""A virtual end node (VEN) of OpenADR 2.0b in HTTP pull: where a utility asks us."""

from collections.abc import Callable, Sequence
from datetime import datetime
from uuid import uuid4

from protocols.errors import (
    MalformedMessage,
    MessageError,
    NotRegistered,
    ProtocolError,
    Rejected,
    Unreachable,
    UnsupportedMessage,
)
from protocols.grid import (
    EventBatch,
    IntervalReport,
    Opt,
    OptDecision,
    PartyStore,
    Receipt,
    Refusal,
    Registration,
    ReportOffer,
    ReportOrder,
)
from protocols.openadr2b import model
from protocols.openadr2b.codec import name_of
from protocols.openadr2b.conversation import (
    EVENT,
    INVALID_DATA,
    INVALID_ID,
    NOT_RECOGNIZED,
    OK,
    OTHER_ERROR,
    POLL,
    REGISTER,
    SIGNAL_NOT_SUPPORTED,
    TARGET_MISMATCH,
    AskedToRegister,
    Conversation,
    Heard,
    check,
    said_well,
)
from protocols.openadr2b.exchange import Exchange, HttpExchange
from protocols.openadr2b.neutral_event import read_batch
from protocols.openadr2b.ven_registration import register
from protocols.openadr2b.ven_reports import MAY_PASS, ReportQuestion, VenReports

__all__ = ["Exchange", "HttpExchange", "Ven"]

MOST_MESSAGES_A_TURN = 8
"""So many messages without events are taken in one turn before the caller gets its own back."""

_REFUSAL_CODES = {
    Refusal.SIGNAL_NOT_UNDERSTOOD: SIGNAL_NOT_SUPPORTED,
    Refusal.PROGRAM_UNKNOWN: NOT_RECOGNIZED,
    Refusal.NOT_OUR_TARGET: TARGET_MISMATCH,
    Refusal.INVALID: INVALID_DATA,
    Refusal.INTERNAL_ERROR: OTHER_ERROR,
    # Our own will is no error: the opt type says it.
    Refusal.OPERATOR: OK,
    Refusal.OUTSIDE_CONTRACT: OK,
}

Keys = frozenset[tuple[str, int]]


class Ven:
    """One registration with one VTN; a ``GridConnection``.

    A turn registers where that is needed, then registers the reports and asks for all events where that is due (after
    registration, at the start of every life of the process, and after every outage, in which an answer may have been
    lost or the VTN restarted), then polls. The VTN's ``oadrRequestedOadrPollFreq`` goes before ``poll_s``.
    """

    def __init__(
        self,
        *,
        connection_id: str,
        ven_name: str,
        exchange: Exchange,
        store: PartyStore,
        offers: Sequence[ReportOffer],
        poll_s: float = 10.0,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._connection_id = connection_id
        self._ven_name = ven_name
        self._store = store
        self._default_poll_s = poll_s
        self._new_id = new_id
        self._conversation = Conversation(connection_id, exchange, store)
        self._reports = VenReports(self._conversation, store, offers, new_id)
        self._known: Registration | None = None
        self._events_due = True
        self._reports_due = False
        self._unanswered: Keys = frozenset()
        self._asked_again_for: Keys = frozenset()
        self._never_answered: frozenset[str] = frozenset()
        self._last_request_id = ""

    @property
    def connection_id(self) -> str:
        return self._connection_id

    @property
    def party_ids(self) -> frozenset[str]:
        return frozenset() if self._known is None else frozenset({self._known.party_id})

    @property
    def poll_s(self) -> float:
        return self._default_poll_s if self._known is None else self._known.poll_s

    async def receive(self, now: datetime) -> EventBatch | None:
        try:
            return await self._turn(now)
        except Unreachable:
            self._resume()
            raise
        except NotRegistered as fault:
            await self._forget()
            if isinstance(fault, AskedToRegister):
                return None
            raise
        except Exception as fault:
            # Something said to us may be lost (in a gateway between, or the store could not keep it), and some VTNs
            # say a thing only once. A message that cannot be read or an answered error is not lost.
            lost = not isinstance(fault, ProtocolError) or (isinstance(fault, Rejected) and fault.code.startswith("5"))
            self._events_due = self._events_due or lost
            raise

    async def respond(self, batch: EventBatch, decisions: Sequence[OptDecision], now: datetime) -> None:
        """Acknowledge; ``batch.faults`` are answered with it, events that want no answer are passed over.

        Only ``Unreachable`` is raised. Where the VTN refuses the answer, or no longer knows us, saying it again would
        not help: the next turn asks for its events anew instead.
        """
        silent = self._never_answered | {event.event_id for event in batch.events if not event.response_required}
        responses = {
            (decision.event_id, decision.revision): _event_response(decision, batch.request_id)
            for decision in (*batch.faults, *decisions)
            if decision.event_id not in silent
        }
        if responses:
            await self._answer(batch, said_well(batch.request_id), tuple(responses.values()), now)
        self._unanswered = frozenset()

    async def restate(self, decision: OptDecision, now: datetime) -> str | None:
        """Change our optState by one more oadrCreatedEvent, as 2.0b's EiEvent allows at any time.

        It names the last oadrDistributeEvent, which lists every event there is. Raises as ``send_report`` does.
        """
        registration = self._known or await self._store.registration(self._connection_id)
        if registration is None:
            raise NotRegistered("not registered yet", connection_id=self._connection_id)
        request_id = self._last_request_id
        message = model.CreatedEvent(
            response=said_well(request_id),
            event_responses=(_event_response(decision, request_id),),
            ven_id=registration.party_id,
        )
        try:
            heard = await self._conversation.ask(EVENT, message, now)
            check(heard.message, "oadrCreatedEvent", only_our_id=False)
        except Unreachable:
            self._resume()
            raise
        except NotRegistered:
            await self._forget()
            raise
        except Rejected as fault:
            if not fault.code.startswith("4") or fault.code in MAY_PASS:
                raise
            return str(fault)
        return None

    async def refuse(self, batch: EventBatch, detail: str, now: datetime) -> None:
        """Answer with an error, and opt out of each event too: some VTNs look only there. Raises as ``respond``."""
        responses = tuple(
            model.EventResponse(
                code=OTHER_ERROR,
                request_id=batch.request_id,
                event=model.QualifiedEvent(event_id=event_id, modification_number=revision),
                opt="optOut",
                description=detail,
            )
            for event_id, revision in sorted(_keys(batch))
            if event_id not in self._never_answered
        )
        response = model.EiResponse(code=OTHER_ERROR, request_id=batch.request_id, description=detail)
        await self._answer(batch, response, responses, now)
        self._unanswered = frozenset()

    async def orders(self) -> tuple[ReportOrder, ...]:
        return await self._reports.orders()

    async def send_report(self, report: IntervalReport, now: datetime) -> Receipt:
        """Deliver one report.

        It goes under the order that stands for its resource now where its own was replaced (a VTN asks anew after it
        was restarted), so that an outbox filled during an outage is not lost. A report in which nothing was measured
        is not sent. Raises ``Unreachable``, ``NotRegistered``, and ``Rejected`` for an error that may pass.
        """
        registration = self._known or await self._store.registration(self._connection_id)
        if registration is None:
            raise NotRegistered("not registered yet", connection_id=self._connection_id)
        try:
            return await self._reports.send(report, registration, now)
        except Unreachable:
            self._resume()
            raise
        except NotRegistered:
            await self._forget()
            raise

    async def _turn(self, now: datetime) -> EventBatch | None:
        if self._unanswered:
            self._ask_again_once(self._unanswered)
        registration = await self._registered(now)
        # Neither may keep us from polling for good: what fails for now is tried again next turn, and the turn goes on.
        if self._reports_due:
            self._reports_due = False
            self._reports_due = not await self._reports.register(registration, now)
        if self._events_due:
            self._events_due = False
            batch = await self._all_events(registration, now)
            if batch is not None:
                return batch
        for _ in range(MOST_MESSAGES_A_TURN):
            heard = await self._conversation.ask(POLL, model.Poll(ven_id=registration.party_id), now)
            if isinstance(heard.message, model.DistributeEvent):
                return await self._take(heard, heard.message, registration, now)
            if isinstance(heard.message, model.Response):
                check(heard.message, "oadrPoll", only_our_id=True)
                return None
            await self._serve(heard, registration, now)
        return None

    async def _all_events(self, registration: Registration, now: datetime) -> EventBatch | None:
        question = model.RequestEvent(request_id=self._new_id(), ven_id=registration.party_id)
        try:
            heard = await self._conversation.ask(EVENT, question, now)
            check(heard.message, "oadrRequestEvent", only_our_id=True)
        except Rejected as fault:
            self._events_due = fault.code.startswith("5")
            return None
        if isinstance(heard.message, model.DistributeEvent):
            return await self._take(heard, heard.message, registration, now)
        # Some VTNs say oadrResponse where there are no events: that lists nothing, so that it cancels nothing.
        return None

    async def _registered(self, now: datetime) -> Registration:
        """Our registration: as we know it, from the store (a new life), or a new one."""
        if self._known is None:
            self._known = await self._store.registration(self._connection_id)
            # Without orders we may have been stopped between registering and offering reports.
            self._reports_due = self._known is not None and not await self.orders()
        if self._known is None:
            self._known = await register(
                self._conversation,
                self._store,
                ven_name=self._ven_name,
                default_poll_s=self._default_poll_s,
                new_id=self._new_id,
                now=now,
            )
            self._reports_due = self._events_due = True
        return self._known

    async def _take(
        self, heard: Heard, message: model.DistributeEvent, registration: Registration, now: datetime
    ) -> EventBatch:
        if message.vtn_id != registration.counterparty_id:
            fault = MalformedMessage(
                f"vtnID is {message.vtn_id!r}, our registration is with {registration.counterparty_id!r}",
                request_id=message.request_id,
                connection_id=self._connection_id,
            )
            fault.raw_sha256 = heard.sha256
            await self._conversation.refuse_unread(registration.party_id, fault, INVALID_ID, now)
            raise fault
        batch = read_batch(message, connection_id=self._connection_id, raw_sha256=heard.sha256, received_at=now)
        self._last_request_id = message.request_id
        self._never_answered = frozenset(
            offered.event.descriptor.event_id for offered in message.events if offered.response_required == "never"
        )
        self._unanswered = frozenset(key for key in _keys(batch) if key[0] not in self._never_answered)
        return batch

    async def _serve(self, heard: Heard, registration: Registration, now: datetime) -> None:
        """Act on a message other than events that a poll brought, and answer it."""
        message = heard.message
        if isinstance(message, ReportQuestion):
            await self._reports.serve(message, registration, now)
        elif isinstance(message, model.CancelPartyRegistration):
            await self._canceled(message, registration, now)
        else:
            fault: MessageError = UnsupportedMessage(
                f"{name_of(message)} is nothing that a VTN sends when it is polled"
            )
            fault.raw_sha256, fault.connection_id = heard.sha256, self._connection_id
            raise fault

    async def _canceled(
        self, message: model.CancelPartyRegistration, registration: Registration, now: datetime
    ) -> None:
        ours = message.registration_id == registration.registration_id
        response = (
            said_well(message.request_id)
            if ours
            else model.EiResponse(code=INVALID_ID, description="not our registration", request_id=message.request_id)
        )
        answer = model.CanceledPartyRegistration(
            response=response, registration_id=message.registration_id, ven_id=registration.party_id
        )
        await self._conversation.tell(REGISTER, answer, now)
        if ours:
            raise NotRegistered("the VTN cancelled our registration", connection_id=self._connection_id)

    async def _answer(
        self,
        batch: EventBatch,
        response: model.EiResponse,
        responses: tuple[model.EventResponse, ...],
        now: datetime,
    ) -> None:
        registration = self._known or await self._store.registration(self._connection_id)
        if registration is None:
            return
        message = model.CreatedEvent(response=response, event_responses=responses, ven_id=registration.party_id)
        try:
            heard = await self._conversation.ask(EVENT, message, now)
            check(heard.message, "oadrCreatedEvent", only_our_id=False)
        except Unreachable:
            self._resume()
            raise
        except NotRegistered:
            await self._forget()
        except (Rejected, MessageError):
            self._ask_again_once(_keys(batch))

    def _ask_again_once(self, keys: Keys) -> None:
        """Ask for all events at the next turn, but only once about the same ones: polls have their turn too."""
        if keys != self._asked_again_for:
            self._asked_again_for = keys
            self._events_due = True
        self._unanswered = frozenset()

    def _resume(self) -> None:
        """After an outage: an answer to us may have been lost, and the VTN may have forgotten whom it asked what."""
        self._events_due = self._reports_due = True

    async def _forget(self) -> None:
        self._known = None
        await self._store.forget_registration(self._connection_id)


def _keys(batch: EventBatch) -> Keys:
    read = {(event.event_id, event.revision) for event in batch.events}
    return frozenset(read | {(fault.event_id, fault.revision) for fault in batch.faults})


def _event_response(decision: OptDecision, request_id: str) -> model.EventResponse:
    code = OK if decision.refusal is None or decision.opt is Opt.IN else _REFUSAL_CODES[decision.refusal]
    # Who of our people opted out and why is for our record, not for the grid.
    detail = "opted out by the operator" if decision.refusal is Refusal.OPERATOR else decision.detail
    return model.EventResponse(
        code=code,
        description=detail or ("OK" if code == OK else str(decision.refusal)),
        request_id=request_id,
        event=model.QualifiedEvent(event_id=decision.event_id, modification_number=decision.revision),
        opt="optIn" if decision.opt is Opt.IN else "optOut",
    )
