"""Where a VTN sends to us in HTTP push: messages are checked and answered at once, and wait here for the next turn.

An event is only received by that answer (oadrResponse). Its acknowledgement, oadrCreatedEvent, follows once it is
durable; should we die in between, the next life asks for all events.
"""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable
from datetime import datetime

from aiohttp import web

from protocols.errors import MessageError, MessageTooLarge, NotAuthentic
from protocols.openadr2b import model
from protocols.openadr2b.codec import Message, name_of
from protocols.openadr2b.conversation import (
    COMPLIANCE_ERROR,
    EVENT,
    INVALID_ID,
    NOT_REGISTERED,
    REGISTER,
    REPORT,
    Conversation,
    Heard,
    said_well,
)
from protocols.openadr2b.exchange import bounded_body, shown_certificate
from protocols.openadr2b.ven_registration import canceled
from protocols.openadr2b.ven_reports import ReportQuestion, VenReports
from protocols.party_store import Registration, StoreUnavailable

PATH = "/OpenADR2/Simple/2.0b"

MOST_WAITING = 32
"""Messages that wait for a turn; a VTN that sends more is told to come again (503)."""

_SERVICES: dict[str, tuple[type, ...]] = {
    EVENT: (model.DistributeEvent,),
    REGISTER: (model.RequestReregistration, model.CancelPartyRegistration),
    REPORT: tuple(ReportQuestion.__args__),
}


class VenPush:
    """The server's side of one VEN. ``woken`` is set while something waits."""

    def __init__(
        self,
        conversation: Conversation,
        reports: VenReports,
        registration: Callable[[], Awaitable[Registration | None]],
    ) -> None:
        self.woken = asyncio.Event()
        self.heard_at: datetime | None = None
        self._conversation = conversation
        self._reports = reports
        self._registration = registration
        self._waiting: deque[Heard] = deque()

    def next(self) -> Heard | None:
        """The message that waits longest; the wake is taken off with the last."""
        heard = self._waiting.popleft() if self._waiting else None
        if not self._waiting:
            self.woken.clear()
        return heard

    def routes(self, now: Callable[[], datetime], prefix: str = "") -> list[web.RouteDef]:
        """The services over simple HTTP, under ``prefix``; ``now`` is asked at each message."""
        return [web.post(f"{prefix}{PATH}/{service}", self._over_http(service, now)) for service in _SERVICES]

    async def answer(
        self, service: str, body: bytes, now: datetime, *, tls_certificate: bytes | None = None
    ) -> bytes | None:
        """The answer to a message that was sent to a service, ``None`` where there is no room for it now.

        Raises ``MessageError`` for a body that cannot be taken: it is kept, and nothing else has changed; and
        ``StoreUnavailable``.
        """
        if len(self._waiting) >= MOST_WAITING:
            return None
        heard = await self._conversation.hear(body, now, tls_certificate=tls_certificate)
        self.heard_at = now
        return await self._conversation.written(await self._answer(service, heard, now), now)

    async def _answer(self, service: str, heard: Heard, now: datetime) -> Message:
        message = heard.message
        registration = await self._registration()
        if type(message) not in _SERVICES.get(service, ()):
            said = f"{name_of(message)} is nothing that is sent to {service} here"
            return _error(message, COMPLIANCE_ERROR, said, registration)
        if registration is None:
            return _error(message, NOT_REGISTERED, "we are not registered with you", None)
        wrong = _wrong_id(message, registration)
        if wrong:
            return _error(message, INVALID_ID, wrong, registration)
        if isinstance(message, ReportQuestion):
            answer = await self._reports.answer(message, registration, now)
            if self._reports.metadata_asked:
                self.woken.set()
            return answer
        self._waiting.append(heard)
        self.woken.set()
        if isinstance(message, model.CancelPartyRegistration):
            return canceled(message, registration)
        return model.Response(response=said_well(_request_id(message)), ven_id=registration.party_id)

    def _over_http(self, service: str, now: Callable[[], datetime]) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            try:
                body = await bounded_body(request)
                answer = await self.answer(service, body, now(), tls_certificate=shown_certificate(request))
            except MessageTooLarge as fault:
                return web.Response(status=413, text=f"{fault}\n")
            except NotAuthentic as fault:
                return web.Response(status=403, text=f"{fault}\n")
            except MessageError as fault:
                return web.Response(status=400, text=f"{fault}\n")
            except StoreUnavailable:
                return web.Response(status=503, text="our record is away just now, send it again later\n")
            if answer is None:
                return web.Response(status=503, text="too many messages wait already, send it again later\n")
            return web.Response(body=answer, content_type="application/xml")

        return handle


def _wrong_id(message: Message, registration: Registration) -> str:
    """Which id of a message is not that of our registration, ``""`` where all are."""
    ven_id = getattr(message, "ven_id", None)
    if ven_id not in {None, "", registration.party_id}:
        return f"venID is {str(ven_id)[:60]!r}, which is not ours"
    vtn_id = getattr(message, "vtn_id", registration.counterparty_id)
    if vtn_id != registration.counterparty_id:
        return f"vtnID is {str(vtn_id)[:60]!r}, our registration is with another VTN"
    return ""


def _request_id(message: Message) -> str:
    request_id = getattr(message, "request_id", "")
    return request_id if isinstance(request_id, str) else ""


def _error(message: Message, code: str, description: str, registration: Registration | None) -> model.Response:
    response = model.EiResponse(code=code, description=description, request_id=_request_id(message))
    return model.Response(response=response, ven_id=None if registration is None else registration.party_id)
