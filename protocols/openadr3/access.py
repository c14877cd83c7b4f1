"""Bearer tokens: from whom a client has its own, and how long it is kept (Definition, Security; RFC 6749, 4.4).

A secret, a token, or the answer that brought one is never part of a log line, an error or a kept message.
"""

import asyncio
from base64 import b64encode
from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Protocol
from urllib.parse import quote_plus, urlencode, urljoin, urlsplit

from protocols.errors import MessageError, Rejected, Unreachable
from protocols.openadr3.client_http import FORM, Exchange, Request, Response
from protocols.openadr3.codec import decode
from protocols.openadr3.model_access import AuthError, AuthServer, Token
from protocols.openadr3.names import Version

DISCOVERY = "/auth/server"
USUAL_TOKEN_PATH = "/auth/token"  # noqa: S105 - a path
EARLY = timedelta(seconds=30)
"""So long before it expires a token is no longer used; a short one for its last tenth."""
_SHORTER_PART = 0.1


class Access(Protocol):
    """Where a client's token comes from."""

    async def token(self, now: datetime) -> str | None:
        """A token that is good at ``now``; ``None`` where none is needed.

        Raises ``Unreachable``, ``MessageError``, and ``Rejected`` where the client's credentials are refused.
        """

    def refused(self, token: str) -> bool:
        """The server did not take the token; true where another may be had."""


class NoAccess:
    """For a VTN that asks for no token (Definition, Non-Authenticating VTNs)."""

    async def token(self, _: datetime) -> str | None:
        return None

    def refused(self, _: str) -> bool:
        return False


class StaticToken:
    """A token that was agreed upon, and does not change."""

    def __init__(self, token: str) -> None:
        self._token = token

    async def token(self, _: datetime) -> str | None:
        return self._token

    def refused(self, _: str) -> bool:
        return False


class ClientCredentials:
    """The OAuth 2.0 client credential flow.

    Without ``token_url`` the VTN says it at /auth/server, else it is the VTN's own /auth/token (3.0 has no discovery).
    Credentials go in the form, as the definition has it, and by HTTP Basic to a server that takes only that.
    ``connect`` makes an exchange with the server at a URL; a VTN behind TLS cannot send the secret elsewhere without.
    """

    def __init__(
        self,
        *,
        vtn_url: str,
        client_id: str,
        client_secret: str,
        connect: Callable[[str], Exchange],
        token_url: str | None = None,
        scope: str | None = None,
    ) -> None:
        self._vtn_url = vtn_url.rstrip("/")
        self._client_id = client_id
        self._client_secret = client_secret
        self._connect = connect
        self._token_url = token_url
        self._scope = scope
        self._by_basic = False
        self._held: str | None = None
        self._good_until: datetime | None = None
        self._asking = asyncio.Lock()

    async def token(self, now: datetime) -> str | None:
        # One request for all who wait: a server may well end the token before when it gives another.
        async with self._asking:
            if self._held is None or (self._good_until is not None and now >= self._good_until):
                found = await self._ask(now)
                self._held = found.access_token
                self._good_until = None if found.expires_in_s is None else now + _useful(found.expires_in_s)
            return self._held

    def refused(self, token: str) -> bool:
        if self._held == token:
            self._held = None
        return True

    async def _ask(self, now: datetime) -> Token:
        url = self._token_url or await self._discover(now)
        exchange = self._connect(url)
        response = await exchange(self._request(by_basic=self._by_basic), now)
        if not self._by_basic and _wants_basic(response):
            again = await exchange(self._request(by_basic=True), now)
            if again.status == 200:
                self._by_basic = True
                response = again
        if response.status != 200:
            raise _refusal(response)
        try:
            return decode(response.body, Token, Version.V3_1)
        except MessageError as fault:
            # Not the codec's words: they quote the answer.
            raise Unreachable("the token endpoint's answer is no token; check the token URL") from fault

    async def _discover(self, now: datetime) -> str:
        response = await self._connect(self._vtn_url)(Request(method="GET", path=DISCOVERY), now)
        if response.status != 200:
            return self._vtn_url + USUAL_TOKEN_PATH
        said = decode(response.body, AuthServer, Version.V3_1).token_url
        url = urljoin(f"{self._vtn_url}/", said)
        if urlsplit(url).scheme != "https" and urlsplit(self._vtn_url).scheme == "https":
            raise Rejected(f"the VTN names the token endpoint {url}, without TLS: not asked", code="insecure")
        return url

    def _request(self, *, by_basic: bool) -> Request:
        form = {"grant_type": "client_credentials"}
        if self._scope is not None:
            form["scope"] = self._scope
        authorization = None
        if by_basic:
            # RFC 6749, 2.3.1: each part form-encoded first.
            pair = f"{quote_plus(self._client_id)}:{quote_plus(self._client_secret)}"
            authorization = f"Basic {b64encode(pair.encode()).decode()}"
        else:
            form |= {"client_id": self._client_id, "client_secret": self._client_secret}
        return Request(
            method="POST", path="", body=urlencode(form).encode(), content_type=FORM, authorization=authorization
        )


class Authorized:
    """An ``Exchange`` that shows the client's token, and renews it once where it is refused."""

    def __init__(self, exchange: Exchange, access: Access) -> None:
        self._exchange = exchange
        self._access = access

    async def __call__(self, request: Request, now: datetime) -> Response:
        token = await self._access.token(now)
        response = await self._send(request, token, now)
        if response.status == 401 and token is not None and self._access.refused(token):
            response = await self._send(request, await self._access.token(now), now)
        return response

    async def _send(self, request: Request, token: str | None, now: datetime) -> Response:
        shown = request if token is None else replace(request, authorization=f"Bearer {token}")
        return await self._exchange(shown, now)


def _useful(expires_in_s: int) -> timedelta:
    # A hundred years is as good as no end, and does not leave the calendar.
    length = timedelta(seconds=min(expires_in_s, 100 * 365 * 86400))
    return length - min(EARLY, length * _SHORTER_PART)


def _wants_basic(response: Response) -> bool:
    error = _auth_error(response)
    return response.status == 401 or (error is not None and error.error in {"invalid_client", "invalid_request"})


def _auth_error(response: Response) -> AuthError | None:
    try:
        return decode(response.body, AuthError, Version.V3_1)
    except MessageError:
        return None


def _refusal(response: Response) -> Rejected:
    error = _auth_error(response)
    why = f"HTTP {response.status}" if error is None else error.error
    advice = "check the client id and the client secret" if response.status in {400, 401, 403} else "try again later"
    return Rejected(f"the token endpoint gives no token: {why}; {advice}", code=str(response.status))
