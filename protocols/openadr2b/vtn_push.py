"""HTTP push: what waits for a VEN is brought to where it listens, until it has taken it."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from datetime import datetime, timedelta

from protocols.errors import ProtocolError, UntrustedCertificate
from protocols.grid import Party
from protocols.openadr2b import model
from protocols.openadr2b.codec import Message, name_of
from protocols.openadr2b.conversation import EVENT
from protocols.openadr2b.exchange import Exchange
from protocols.openadr2b.vtn_conversation import PARTIES, VtnConversation
from protocols.openadr2b.vtn_events import VtnEvents
from protocols.openadr2b.vtn_parties import ANYBODY, Refused, VtnParties
from protocols.openadr2b.vtn_queue import ANSWERS, SERVICE_OF, VtnQueue
from protocols.openadr2b.vtn_state import VtnState
from protocols.party_store import Direction

PushTo = Callable[[str], Exchange]
"""From a VEN's transport address (``https://host:port``, as it registered) to what brings messages there."""

FIRST_WAIT_S = 5.0
LONGEST_WAIT_S = 60.0
MOST_AT_ONCE = 20
"""Messages brought to one VEN in one go, so that one that is never done holds up nobody."""


@dataclass(slots=True)
class _Pace:
    """How often in a row a VEN could not be told, and when it is due again."""

    failures: int = 0
    due_at: datetime | None = None


class Pacing:
    """When each VEN may be told again: at once while it listens, at growing intervals while it does not."""

    def __init__(self) -> None:
        self._paces: dict[str, _Pace] = {}

    def is_due(self, party_id: str, now: datetime) -> bool:
        due_at = self._paces.setdefault(party_id, _Pace()).due_at
        return due_at is None or now >= due_at

    def failed(self, party_id: str, now: datetime) -> None:
        pace = self._paces.setdefault(party_id, _Pace())
        wait_s = min(FIRST_WAIT_S * 2.0 ** min(pace.failures, 10), LONGEST_WAIT_S)
        pace.failures += 1
        pace.due_at = now + timedelta(seconds=wait_s)

    def well(self, party_id: str) -> None:
        self._paces.pop(party_id, None)


class VtnPush:
    """Brings VENs what waits for them. An oadrCreatedEvent comes by itself; until then its events are brought again."""

    def __init__(
        self,
        *,
        push: PushTo,
        conversation: VtnConversation,
        state: VtnState,
        parties: VtnParties,
        events: VtnEvents,
        queue: VtnQueue,
        path: str,
    ) -> None:
        self._push = push
        self._conversation = conversation
        self._state = state
        self._parties = parties
        self._events = events
        self._queue = queue
        self._path = path
        self._arrivals = Pacing()
        self._answers = Pacing()
        self._messages = Pacing()
        self._busy: set[str] = set()

    async def deliver_due(self, now: datetime) -> int:
        """See ``Vtn.deliver_due``."""
        await self._state.load(now)
        due = [
            party.party_id
            for party in self._state.parties.values()
            if party.registration_id
            and party.address
            and self._arrivals.is_due(party.party_id, now)
            # One that takes long to answer is still being told.
            and party.party_id not in self._busy
        ]
        self._busy.update(due)
        try:
            return sum(await asyncio.gather(*(self._bring(party_id, now) for party_id in due)))
        finally:
            self._busy.difference_update(due)

    async def _bring(self, party_id: str, now: datetime) -> int:
        """Bring messages to one VEN while there are any and it takes them; how many it took."""
        taken = 0
        for _ in range(MOST_AT_ONCE):
            party = self._state.registered(party_id)
            message = None if party is None or not party.address else await self._next_for(party, now)
            if party is None or message is None:
                break
            try:
                taken += await self._send(message, party, now)
            except ProtocolError:
                # It may have arrived, or not: everything is told once more.
                self._events.forget(party_id)
                self._arrivals.failed(party_id, now)
                return taken
        self._arrivals.well(party_id)
        return taken

    async def _next_for(self, party: Party, now: datetime) -> Message | None:
        if not self._events.wants_answer(party, now):
            self._answers.well(party.party_id)
            news = self._events.has_changed(party, now)
        else:
            news = self._events.has_changed(party, now) or self._answers.is_due(party.party_id, now)
        waits = self._queue.has(party.party_id) and self._messages.is_due(party.party_id, now)
        return await self._conversation.next_for(party, now, news=news, waits=waits)

    async def _send(self, message: Message, party: Party, now: datetime) -> bool:
        """Bring one message; whether it waits no longer. Raises ``ProtocolError``."""
        conversation = self._conversation
        is_events = isinstance(message, model.DistributeEvent)
        written = conversation.written(message, now)
        await conversation.record(Direction.OUT, name_of(message), written, now)
        exchange = self._push(f"{party.address}{self._path}")
        if is_events:
            self._answers.failed(party.party_id, now)
        body = await exchange(EVENT if is_events else SERVICE_OF[name_of(message)], written)
        if body.strip():
            answer = await self._heard(body, party, now)
            if type(answer) in ANSWERS:
                async with conversation.turn(PARTIES):
                    await conversation.settle(answer, party, now)
        if is_events:
            return True
        if getattr(message, "request_id", name_of(message)) in self._state.waiting.get(party.party_id, {}):
            # Arrived, but not answered: events need not wait for that.
            self._messages.failed(party.party_id, now)
            return False
        self._messages.well(party.party_id)
        return True

    async def _heard(self, body: bytes, party: Party, now: datetime) -> Message:
        """What a VEN answered. Raises ``MessageError`` where it cannot be read, or is not proven to be its own."""
        answer, caller = await self._conversation.open(body, ANYBODY, now)
        await self._conversation.record(Direction.IN, name_of(answer), body, now)
        if caller.fingerprint:
            try:
                self._parties.check(party, caller)
            except Refused as refused:
                raise UntrustedCertificate(str(refused)) from refused
        return answer
