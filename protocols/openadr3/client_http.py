"""How a client's requests travel: a function from a request to its answer, and that over HTTP."""

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from datetime import datetime

import aiohttp

from protocols.errors import MessageTooLarge, Unreachable
from protocols.json import MAX_BYTES

TIMEOUT_S = 10.0
LONGEST_RETRY_AFTER_S = 3600.0
JSON = "application/json"
FORM = "application/x-www-form-urlencoded"
_CHUNK = 1 << 16


@dataclass(frozen=True, slots=True, kw_only=True)
class Request:
    """One request; ``path`` is below the URL of the server. ``authorization`` and form bodies are not shown in logs."""

    method: str
    path: str
    query: tuple[tuple[str, str], ...] = ()
    body: bytes | None = field(default=None, repr=False)
    content_type: str = JSON
    authorization: str | None = field(default=None, repr=False)


@dataclass(frozen=True, slots=True, kw_only=True)
class Response:
    """An answer, whatever its status. ``retry_after_s`` is how long the server wants to be left alone, if it says.

    ``took_s`` is how long the answer took.
    """

    status: int
    body: bytes = field(repr=False)
    content_type: str = JSON
    retry_after_s: float | None = None
    took_s: float | None = None


Exchange = Callable[[Request, datetime], Awaitable[Response]]
"""``(request, now) -> response``; raises ``Unreachable`` or ``MessageTooLarge``, and ``Rejected`` where no token is."""


class HttpExchange:
    """Requests to the server at ``url`` (with the base path, if it has one), without authorization of its own.

    The session is the caller's, TLS included. Redirects are not followed, compressed answers and web pages not read.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def __call__(self, request: Request, _: datetime) -> Response:
        # A list that some cache had kept could lack an event of now, which would count as cancelled.
        headers = {"Accept": JSON, "Accept-Encoding": "identity", "Cache-Control": "no-cache"}
        if request.body is not None:
            headers["Content-Type"] = request.content_type
        if request.authorization is not None:
            headers["Authorization"] = request.authorization
        what = f"{request.method} {self._url}{request.path}"
        try:
            async with self._session.request(
                request.method,
                self._url + request.path,
                params=request.query,
                data=request.body,
                headers=headers,
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                return await _read(response, what)
        except TimeoutError as cause:
            raise Unreachable(f"{what}: no answer within {self._timeout.total:g} s") from cause
        except (aiohttp.ClientError, OSError, ValueError) as cause:
            raise Unreachable(f"{what}: {str(cause) or type(cause).__name__}") from cause


async def _read(response: aiohttp.ClientResponse, what: str) -> Response:
    if response.headers.get("Content-Encoding", "identity").lower() != "identity":
        raise Unreachable(f"{what}: a compressed answer, which was not asked for")
    body = bytearray()
    async for chunk in response.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BYTES:
            raise MessageTooLarge(f"{what}: an answer of more than {MAX_BYTES} bytes")
    if response.status == 200 and response.content_type == "text/html":
        raise Unreachable(f"{what}: a web page instead of an answer; check the URL")
    return Response(
        status=response.status,
        body=bytes(body),
        content_type=response.content_type,
        retry_after_s=_retry_after_s(response.headers.get("Retry-After", "")),
    )


def _retry_after_s(text: str) -> float | None:
    """RFC 9110, 10.2.3, as seconds; a date is passed over, since the server's clock is not ours."""
    return min(float(text), LONGEST_RETRY_AFTER_S) if text.isascii() and text.isdigit() else None
