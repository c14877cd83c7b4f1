"""EiEvent, as a VEN takes part in it: what was offered, and what we answered."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime

from protocols.errors import MalformedMessage, MessageError, Rejected
from protocols.grid import EventBatch, Opt, OptDecision, Refusal
from protocols.openadr2b import model
from protocols.openadr2b.conversation import (
    EVENT,
    INVALID_DATA,
    INVALID_ID,
    NOT_RECOGNIZED,
    OK,
    OTHER_ERROR,
    SIGNAL_NOT_SUPPORTED,
    TARGET_MISMATCH,
    Conversation,
    Heard,
    check,
    said_well,
)
from protocols.openadr2b.neutral_event import read_batch
from protocols.party_store import Registration

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

_Keys = frozenset[tuple[str, int]]


class VenEvents:
    """The events of one VEN. ``due`` says that all of them are to be asked for at the next turn."""

    def __init__(self, conversation: Conversation, new_id: Callable[[], str]) -> None:
        self.due = True
        self._conversation = conversation
        self._new_id = new_id
        self._unanswered: _Keys = frozenset()
        self._asked_again_for: _Keys = frozenset()
        self._never_answered: frozenset[str] = frozenset()
        self._last_request_id = ""
        self._listed: frozenset[str] = frozenset()

    def begin_turn(self) -> None:
        """What was taken and not answered is asked for once more."""
        if self._unanswered:
            self._ask_again_once(self._unanswered)

    async def all(self, registration: Registration, now: datetime) -> EventBatch | None:
        """Ask for every event there is for us (oadrRequestEvent)."""
        self.due = False
        question = model.RequestEvent(request_id=self._new_id(), ven_id=registration.party_id)
        try:
            heard = await self._conversation.ask(EVENT, question, now)
            check(heard.message, "oadrRequestEvent", only_our_id=True)
        except Rejected as fault:
            self.due = fault.code.startswith("5")
            return None
        if isinstance(heard.message, model.DistributeEvent):
            return await self.take(heard, heard.message, registration, now)
        # Some VTNs say oadrResponse where there are no events: that lists nothing, so that it cancels nothing.
        return None

    async def take(
        self,
        heard: Heard,
        message: model.DistributeEvent,
        registration: Registration,
        now: datetime,
        *,
        pushed: bool = False,
    ) -> EventBatch:
        """The events of a message that lists all there are. Raises ``MalformedMessage`` for another VTN's.

        One that was pushed may have been overtaken by a later one: an event that it does not list is cancelled only
        once the VTN, asked, does not list it either.
        """
        if message.vtn_id != registration.counterparty_id:
            fault = MalformedMessage(
                f"vtnID is {message.vtn_id!r}, our registration is with {registration.counterparty_id!r}",
                request_id=message.request_id,
                connection_id=registration.connection_id,
            )
            fault.raw_sha256 = heard.sha256
            await self._conversation.refuse_unread(registration.party_id, fault, INVALID_ID, now)
            raise fault
        batch = read_batch(message, connection_id=registration.connection_id, raw_sha256=heard.sha256, received_at=now)
        self._last_request_id = message.request_id
        self._never_answered = frozenset(
            offered.event.descriptor.event_id for offered in message.events if offered.response_required == "never"
        )
        self._unanswered = frozenset(key for key in _keys(batch) if key[0] not in self._never_answered)
        listed = frozenset(event_id for event_id, _ in _keys(batch))
        if pushed:
            self.due = self.due or not listed >= self._listed
            self._listed |= listed
            return replace(batch, complete=False)
        self._listed = listed
        return batch

    async def respond(
        self, batch: EventBatch, decisions: Sequence[OptDecision], registration: Registration, now: datetime
    ) -> None:
        """Acknowledge; what wants no answer is passed over (rules 12 and 62). Raises as ``Conversation.ask``."""
        silent = self._never_answered | {event.event_id for event in batch.events if not event.response_required}
        responses = {
            (decision.event_id, decision.revision): _event_response(decision, batch.request_id)
            for decision in (*batch.faults, *decisions)
            if decision.event_id not in silent
        }
        if responses:
            await self._answer(batch, said_well(batch.request_id), tuple(responses.values()), registration, now)
        self._unanswered = frozenset()

    async def refuse(self, batch: EventBatch, detail: str, registration: Registration, now: datetime) -> None:
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
        await self._answer(batch, response, responses, registration, now)
        self._unanswered = frozenset()

    async def restate(self, decision: OptDecision, registration: Registration, now: datetime) -> None:
        """Say one answer again, or another: it names the last oadrDistributeEvent. Raises as ``check``."""
        request_id = self._last_request_id
        message = model.CreatedEvent(
            response=said_well(request_id),
            event_responses=(_event_response(decision, request_id),),
            ven_id=registration.party_id,
        )
        heard = await self._conversation.ask(EVENT, message, now)
        check(heard.message, "oadrCreatedEvent", only_our_id=False)

    async def _answer(
        self,
        batch: EventBatch,
        response: model.EiResponse,
        responses: tuple[model.EventResponse, ...],
        registration: Registration,
        now: datetime,
    ) -> None:
        message = model.CreatedEvent(response=response, event_responses=responses, ven_id=registration.party_id)
        try:
            heard = await self._conversation.ask(EVENT, message, now)
            check(heard.message, "oadrCreatedEvent", only_our_id=False)
        except (Rejected, MessageError):
            self._ask_again_once(_keys(batch))

    def _ask_again_once(self, keys: _Keys) -> None:
        """Ask for all events at the next turn, but only once about the same ones: polls have their turn too."""
        if keys != self._asked_again_for:
            self._asked_again_for = keys
            self.due = True
        self._unanswered = frozenset()


def _keys(batch: EventBatch) -> _Keys:
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
