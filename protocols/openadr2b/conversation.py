"""A VEN's side of the conversation: send a message, keep what went and came, read the answer and its code.

With a ``Signer`` every message is signed as it goes, one that is sent again too: a receiver takes a signature once.
With a ``Verifier`` nothing is taken that is not signed by whom it trusts.
"""

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from time import monotonic

from protocols.errors import MessageError, NotAuthentic, NotRegistered, ProtocolError, Rejected, Unreachable
from protocols.openadr2b import model
from protocols.openadr2b.codec import Message, decode, encode, name_of
from protocols.openadr2b.exchange import Exchange
from protocols.openadr2b.signature import Signer, Verifier, decode_signed, encode_signed
from protocols.party_store import Direction, PartyStore, RawMessage

POLL = "OadrPoll"
EVENT = "EiEvent"
REPORT = "EiReport"
OPT = "EiOpt"
REGISTER = "EiRegisterParty"
OPT = "EiOpt"

# Application response codes of the 2.0b profile specification.
OK = "200"
NOT_ALLOWED = "451"
INVALID_ID = "452"
NOT_RECOGNIZED = "453"
INVALID_DATA = "454"
COMPLIANCE_ERROR = "459"
SIGNAL_NOT_SUPPORTED = "460"
REPORT_NOT_SUPPORTED = "461"
TARGET_MISMATCH = "462"
NOT_REGISTERED = "463"
OTHER_ERROR = "469"

_UNKNOWN_TO_HTTP = frozenset({"401", "403", "404"})
_LONGEST_DESCRIPTION = 200


class AskedToRegister(NotRegistered):
    """The counterparty sent oadrRequestReregistration: no fault, but nothing else can be said until it is done."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Heard:
    """An answer, and the digest of its bytes."""

    message: Message
    sha256: str


class Conversation:
    """Sends and hears. Everything is kept in the store before it is acted on, but empty polls and their answers."""

    def __init__(
        self,
        connection_id: str,
        exchange: Exchange,
        store: PartyStore,
        *,
        signer: Signer | None = None,
        verifier: Verifier | None = None,
    ) -> None:
        self.connection_id = connection_id
        self.signer = signer
        self._exchange = exchange
        self._store = store
        self._verifier = verifier

    async def ask(self, service: str, message: Message, now: datetime) -> Heard:
        """Send and hear the answer.

        Raises what the exchange does, ``Unreachable`` for an empty answer, ``MessageError`` with ``raw_sha256`` for
        one that cannot be read, ``AskedToRegister`` (acknowledged) and ``NotRegistered`` where the answer says so.
        """
        try:
            answer, took_s = await self._send(service, message, now)
        except Rejected as fault:
            # A poll names nothing but us, so that its refusal means us; elsewhere it may be the service.
            if isinstance(message, model.Poll) and fault.code in _UNKNOWN_TO_HTTP:
                raise NotRegistered(str(fault), connection_id=self.connection_id) from fault
            raise
        if not answer.strip():
            raise Unreachable(f"{service}: an empty answer to {name_of(message)}", connection_id=self.connection_id)
        try:
            heard = await self._read(answer, now)
        except MessageError as fault:
            await self._set_aside(fault, answer, now, took_s)
            # Who is not proven to be the VTN gets no answer.
            answerable = b"oadrDistributeEvent" in answer and not isinstance(fault, NotAuthentic)
            if answerable and isinstance(message, model.Poll | model.RequestEvent):
                await self.refuse_unread(message.ven_id, fault, COMPLIANCE_ERROR, now)
            raise
        if isinstance(message, model.Poll) and isinstance(heard, model.Response) and heard.response.well:
            return Heard(message=heard, sha256="")
        digest = await self._record(Direction.IN, name_of(heard), answer, now, took_s)
        if isinstance(heard, model.RequestReregistration):
            await self.tell(REGISTER, model.Response(response=said_well(""), ven_id=heard.ven_id), now)
            raise AskedToRegister("the VTN asks us to register anew", connection_id=self.connection_id)
        return Heard(message=heard, sha256=digest)

    async def hear(self, body: bytes, now: datetime, *, tls_certificate: bytes | None = None) -> Heard:
        """Take a message that was sent to us unasked; raises as ``ask`` does for what cannot be read."""
        try:
            message = await self._read(body, now, tls_certificate)
        except MessageError as fault:
            await self._set_aside(fault, body, now)
            raise
        return Heard(message=message, sha256=await self._record(Direction.IN, name_of(message), body, now))

    async def written(self, message: Message, now: datetime) -> bytes:
        """A message as it goes out, kept in the store unless it is a poll."""
        body = encode(message) if self.signer is None else encode_signed(message, self.signer, now)
        if not isinstance(message, model.Poll):
            await self._record(Direction.OUT, name_of(message), body, now)
        return body

    async def tell(self, service: str, message: Message, now: datetime) -> None:
        """Send an acknowledgement. What is said to it is kept, but there is nothing left to do about it.

        A VTN that cannot be reached here is met again at the next question.
        """
        try:
            answer, took_s = await self._send(service, message, now)
        except ProtocolError:
            return
        if not answer.strip():
            return
        try:
            name = name_of(await self._read(answer, now))
        except MessageError:
            name = ""
        await self._record(Direction.IN, name, answer, now, took_s)

    async def refuse_unread(self, ven_id: str, fault: MessageError, code: str, now: datetime) -> None:
        """Answer an oadrDistributeEvent that cannot be taken: the message is named, not its events."""
        response = model.EiResponse(
            code=code, request_id=fault.request_id or "", description=str(fault)[:_LONGEST_DESCRIPTION]
        )
        await self.tell(EVENT, model.CreatedEvent(response=response, ven_id=ven_id), now)

    async def _send(self, service: str, message: Message, now: datetime) -> tuple[bytes, float]:
        """The answer, and how long it took."""
        body = await self.written(message, now)
        began_s = monotonic()
        return await self._exchange(service, body), monotonic() - began_s

    async def _read(self, body: bytes, now: datetime, tls_certificate: bytes | None = None) -> Message:
        if self._verifier is None:
            return decode(body)
        return (await decode_signed(body, self._verifier, now, tls_certificate=tls_certificate)).message

    async def _set_aside(self, fault: MessageError, body: bytes, now: datetime, took_s: float | None = None) -> None:
        """Keep what cannot be read; its size was bounded on its way."""
        fault.connection_id = self.connection_id
        fault.raw_sha256 = await self._record(Direction.IN, "", body, now, took_s)

    async def _record(
        self, direction: Direction, name: str, body: bytes, now: datetime, took_s: float | None = None
    ) -> str:
        digest = sha256(body).hexdigest()
        await self._store.record_message(
            RawMessage(
                connection_id=self.connection_id,
                direction=direction,
                at=now,
                name=name,
                body=body,
                sha256=digest,
                took_s=took_s,
            )
        )
        return digest


def said_well(request_id: str) -> model.EiResponse:
    """The eiResponse of an answer that is well."""
    return model.EiResponse(code=OK, description="OK", request_id=request_id)


def check(message: Message, what: str, *, only_our_id: bool) -> None:
    """Pass an answer whose code is good; ``only_our_id`` says that ``what`` it answers names no id but our venID.

    Raises ``NotRegistered`` where the counterparty does not know us, else ``Rejected`` with its code, or the name of
    a message that is no answer to ``what``.
    """
    if isinstance(message, model.DistributeEvent) and message.response is None:
        return
    response = getattr(message, "response", None)
    if not isinstance(response, model.EiResponse):
        raise Rejected(f"{what} was answered with {name_of(message)}", code=name_of(message))
    if response.well:
        return
    text = f"{what}: {response.code} {response.description or ''}".rstrip()
    if response.code == NOT_REGISTERED or (only_our_id and response.code == INVALID_ID):
        raise NotRegistered(text)
    raise Rejected(text, code=response.code)
