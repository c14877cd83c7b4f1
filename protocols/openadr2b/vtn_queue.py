"""What waits for each VEN beside events: messages in order, one at a time, kept until they are answered."""

from datetime import datetime

from protocols.errors import QueueFull
from protocols.openadr2b import model, model_report
from protocols.openadr2b.codec import Message, decode, encode, name_of
from protocols.openadr2b.conversation import REGISTER, REPORT
from protocols.openadr2b.vtn_state import VtnState
from protocols.party_store import QueuedMessage

MOST_WAITING = 100
"""Messages kept for one VEN. One that never comes for them must not fill the store."""

MOST_OFFERS = 100
"""So often a message is offered in one life of ours; a VEN that never answers it has had it."""

_IN_A_ROW = 5
"""So often a message is offered before the ones behind it get their turn: a VEN may not answer a kind at all."""

SERVICE_OF: dict[str, str] = {
    "oadrCreateReport": REPORT,
    "oadrCancelReport": REPORT,
    "oadrRegisterReport": REPORT,
    "oadrCancelPartyRegistration": REGISTER,
    "oadrRequestReregistration": REGISTER,
}
"""Where each kind is pushed to."""

ANSWERS: dict[type, str] = {
    model_report.CreatedReport: "oadrCreateReport",
    model_report.CanceledReport: "oadrCancelReport",
    model_report.RegisteredReport: "oadrRegisterReport",
    model.CanceledPartyRegistration: "oadrCancelPartyRegistration",
}
"""What each kind of answer is to. An oadrRequestReregistration is answered by registering anew."""

Queueable = (
    model_report.CreateReport
    | model_report.CancelReport
    | model_report.RegisterReport
    | model.CancelPartyRegistration
    | model.RequestReregistration
)


class VtnQueue:
    """The waiting messages of every VEN of one VTN. How often each was offered is known in memory only."""

    def __init__(self, state: VtnState, most: int = MOST_WAITING) -> None:
        self._state = state
        self._most = most
        self._offered: dict[tuple[str, str], int] = {}

    async def put(self, party_id: str, message: Queueable, now: datetime) -> None:
        """Keep a message for a VEN; the same one twice waits once. Raises ``QueueFull``."""
        name = name_of(message)
        message_id = name if isinstance(message, model.RequestReregistration) else message.request_id
        waiting = self._state.waiting.get(party_id, {})
        if message_id not in waiting and len(waiting) >= self._most:
            raise QueueFull(
                f"{party_id} has left {len(waiting)} messages untaken, as many as are kept: is it still there?",
                connection_id=self._state.connection_id,
            )
        await self._state.queue(
            QueuedMessage(
                connection_id=self._state.connection_id,
                party_id=party_id,
                message_id=message_id,
                name=name,
                body=encode(message).decode(),
                created_at=now,
            )
        )

    def has(self, party_id: str) -> bool:
        return bool(self._state.waiting.get(party_id))

    async def take_next(self, party_id: str) -> QueuedMessage | None:
        """The message whose turn it is. It stays until it is answered, and counts as offered once more."""
        waiting = self._state.waiting.get(party_id)
        if not waiting:
            return None
        # Stable: among those offered equally often the oldest comes first.
        chosen = min(waiting.values(), key=lambda one: self._count(one) // _IN_A_ROW)
        count = self._offered[party_id, chosen.message_id] = self._count(chosen) + 1
        if count >= MOST_OFFERS:
            await self.remove(party_id, chosen.message_id)
        return chosen

    async def settle(self, party_id: str, answer: Message, request_id: str) -> Message | None:
        """The message that an answer is to, which waits no longer; ``None`` where it is to none that waits.

        An answer without a request id is to the oldest message of its kind that was offered.
        """
        name = ANSWERS.get(type(answer))
        for waiting in tuple(self._state.waiting.get(party_id, {}).values()):
            ours = waiting.message_id == request_id if request_id else self._count(waiting) > 0
            if ours and waiting.name == name:
                await self.remove(party_id, waiting.message_id)
                return decode(waiting.body.encode())
        return None

    async def remove(self, party_id: str, message_id: str) -> None:
        if message_id in self._state.waiting.get(party_id, {}):
            await self._state.unqueue(party_id, message_id)
        self._offered.pop((party_id, message_id), None)

    async def clear(self, party_id: str) -> None:
        """Drop all that waits: the party has left."""
        for message_id in tuple(self._state.waiting.get(party_id, {})):
            await self.remove(party_id, message_id)

    def _count(self, message: QueuedMessage) -> int:
        return self._offered.get((message.party_id, message.message_id), 0)
