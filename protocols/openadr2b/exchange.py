"""How messages travel: a function from service name and body to the answer's body, and that over HTTP."""

from collections.abc import Awaitable, Callable

import aiohttp
from aiohttp import web

from protocols.errors import MessageTooLarge, Rejected, Unreachable
from protocols.xml import MAX_BYTES

Exchange = Callable[[str, bytes], Awaitable[bytes]]
"""``(service, body) -> answer's body``; raises ``Unreachable``, ``Rejected`` or ``MessageTooLarge``."""

TIMEOUT_S = 10.0
_CHUNK = 1 << 16
_QUOTED = 200


class HttpExchange:
    """Simple HTTP: each message is posted to ``url``/service, the answer is the response's body.

    The session is the caller's, TLS included. Redirects are not followed and compressed answers not read.
    """

    def __init__(self, url: str, session: aiohttp.ClientSession, timeout_s: float = TIMEOUT_S) -> None:
        self._url = url.rstrip("/")
        self._session = session
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)

    async def __call__(self, service: str, body: bytes) -> bytes:
        url = f"{self._url}/{service}"
        try:
            async with self._session.post(
                url,
                data=body,
                headers={"Content-Type": "application/xml", "Accept-Encoding": "identity"},
                timeout=self._timeout,
                allow_redirects=False,
            ) as response:
                return await self._read(response, service)
        except TimeoutError as cause:
            raise Unreachable(f"{url}: no answer within {self._timeout.total:g} s") from cause
        except (aiohttp.ClientError, OSError, ValueError) as cause:
            raise Unreachable(f"{url}: {str(cause) or type(cause).__name__}") from cause

    async def _read(self, response: aiohttp.ClientResponse, service: str) -> bytes:
        if response.headers.get("Content-Encoding", "identity").lower() != "identity":
            raise Unreachable(f"{service}: a compressed answer, which was not asked for")
        body = bytearray()
        async for chunk in response.content.iter_chunked(_CHUNK):
            body += chunk
            if len(body) > MAX_BYTES:
                raise MessageTooLarge(f"{service}: an answer of more than {MAX_BYTES} bytes")
        if response.status != 200:
            said = bytes(body[:_QUOTED]).decode("utf-8", "replace").strip()
            raise Rejected(f"{service}: HTTP {response.status} {said}".strip(), code=str(response.status))
        if response.content_type == "text/html":
            raise Unreachable(f"{service}: a web page instead of a message")
        return bytes(body)


async def bounded_body(request: web.Request) -> bytes:
    """The body that was sent to us, read no further than we would parse. Raises ``MessageTooLarge``."""
    if (request.content_length or 0) > MAX_BYTES:
        raise MessageTooLarge(f"{request.content_length} bytes, more than the {MAX_BYTES} bytes that we read")
    body = bytearray()
    async for chunk in request.content.iter_chunked(_CHUNK):
        body += chunk
        if len(body) > MAX_BYTES:
            raise MessageTooLarge(f"more than the {MAX_BYTES} bytes that we read")
    return bytes(body)


def shown_certificate(request: web.Request) -> bytes | None:
    """The certificate (DER) that a client showed on its TLS connection, ``None`` where it showed none."""
    ssl_object = request.get_extra_info("ssl_object")
    if ssl_object is None:
        return None
    certificate: bytes | None = ssl_object.getpeercert(binary_form=True)
    return certificate
