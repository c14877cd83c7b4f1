"""Callbacks of subscriptions: proven before they are taken, and never a way into our own network.

A callback is HTTPS, on an address that anybody on the internet could reach, or on one of ``allowed_hosts``. Names are
resolved by us and the connection goes to the very addresses that were judged, so that a name that changes its mind
(DNS rebinding) gains nothing. Redirects are not followed, proxies not asked, answers not read past a few bytes.

Where a client has a ``webhook_key``, each notification is signed: the header ``Gridgate-Signature`` is ``sha256=`` and
the HMAC-SHA256, in hexadecimal digits, of the id in ``Gridgate-Notification``, a full stop, and the body. The
definition recommends such a signature and leaves its form open (Security: Webhooks).
"""

import asyncio
import hashlib
import hmac
import secrets
import socket
import ssl
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from errno import EACCES
from ipaddress import IPv4Address, IPv6Address, IPv6Network, ip_address
from typing import Protocol

import aiohttp
from aiohttp.abc import AbstractResolver, ResolveResult
from yarl import URL

from protocols.errors import Unreachable

TIMEOUT_S = 10.0
"""The definition recommends 10 to 30 seconds."""
_MOST_ECHOED = 1024
_TRANSLATED = IPv6Network("64:ff9b::/96")


class CallbackRefused(Exception):
    """A URL that is not taken as a callback; the text says why."""


class Callbacks(Protocol):
    """How a VTN reaches its subscribers."""

    async def prove(self, url: str) -> None:
        """Raise ``CallbackRefused`` where the URL may not be called, or does not echo what it is sent."""

    async def tell(self, url: str, body: bytes, *, notice_id: str, bearer_token: str | None, key: bytes | None) -> None:
        """Post a notification. Raises ``Unreachable`` where it was not taken (no answer of 2xx)."""


def is_public(address: str) -> bool:
    """Whether anybody on the internet may have this IP address, also where it carries another within it."""
    found = ip_address(address.partition("%")[0])
    if isinstance(found, IPv6Address):
        if found.ipv4_mapped or found.sixtofour or found.teredo:
            return False
        if found in _TRANSLATED:
            found = IPv4Address(int(found) & 0xFFFF_FFFF)
    return found.is_global and not found.is_multicast and not found.is_reserved and not found.is_unspecified


Lookup = Callable[[str, int], Awaitable[Sequence[tuple[int, str]]]]
"""Family and address of each address of a host."""


async def look_up(host: str, port: int) -> Sequence[tuple[int, str]]:
    """As the system resolves."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return [(family, str(address[0])) for family, _, _, _, address in found]


class _Judged(AbstractResolver):
    """Gives out only addresses that may be called: all of a host's are, or none is."""

    def __init__(self, allowed_hosts: Collection[str], lookup: Lookup) -> None:
        self._allowed = allowed_hosts
        self._lookup = lookup

    async def resolve(
        self,
        host: str,
        port: int = 0,
        family: socket.AddressFamily = socket.AF_INET,  # noqa: ARG002
    ) -> list[ResolveResult]:
        found = await self._lookup(host, port)
        if host not in self._allowed and not all(is_public(address) for _, address in found):
            raise PermissionError(EACCES, f"{host} is inside a private network")
        return [
            ResolveResult(
                hostname=host, host=address, port=port, family=kind, proto=0, flags=int(socket.AI_NUMERICHOST)
            )
            for kind, address in found
        ]

    async def close(self) -> None:
        return None


class HttpCallbacks(Callbacks):
    """Over real sockets. ``allowed_hosts`` may be private: a lab's, or this machine's in tests."""

    def __init__(
        self,
        *,
        tls: ssl.SSLContext | None = None,
        allowed_hosts: Collection[str] = (),
        timeout_s: float = TIMEOUT_S,
        lookup: Lookup = look_up,
    ) -> None:
        self._tls: ssl.SSLContext | bool = tls or True
        self._allowed = frozenset(allowed_hosts)
        self._timeout = aiohttp.ClientTimeout(total=timeout_s)
        self._lookup = lookup

    async def prove(self, url: str) -> None:
        challenge = secrets.token_urlsafe(24)
        try:
            parsed = self._judged(url)
            status, body = await self._request("GET", parsed.update_query(echo=challenge), {}, None)
        except Unreachable as cause:
            raise CallbackRefused(f"the callback cannot be called: {cause}") from cause
        said = body.decode("utf-8", "replace").strip().strip('"')
        if status != 200 or not hmac.compare_digest(said.encode(), challenge.encode()):
            raise CallbackRefused("the callback must answer GET with 200 and, as body, the parameter 'echo'")

    async def tell(self, url: str, body: bytes, *, notice_id: str, bearer_token: str | None, key: bytes | None) -> None:
        headers = {"Content-Type": "application/json", "Gridgate-Notification": notice_id}
        if bearer_token:
            headers["Authorization"] = f"Bearer {bearer_token}"
        if key:
            headers["Gridgate-Signature"] = signature(key, notice_id, body)
        try:
            parsed = self._judged(url)
        except CallbackRefused as cause:
            raise Unreachable(str(cause)) from cause
        status, _ = await self._request("POST", parsed, headers, body)
        if not 200 <= status < 300:
            raise Unreachable(f"the callback answers {status}")

    def _judged(self, url: str) -> URL:
        try:
            parsed = URL(url)
            host = parsed.host or ""
            allowed = host in self._allowed
        except ValueError as cause:
            raise CallbackRefused("the callbackUrl is no URL") from cause
        if parsed.scheme != "https" or not host or parsed.user is not None or parsed.password is not None:
            raise CallbackRefused("the callbackUrl must be https://HOST/..., without user or password")
        try:
            public = is_public(host)
        except ValueError:
            return parsed
        if not public and not allowed:
            raise CallbackRefused("the callbackUrl is inside a private network")
        return parsed

    async def _request(
        self, method: str, url: URL, headers: Mapping[str, str], body: bytes | None
    ) -> tuple[int, bytes]:
        connector = aiohttp.TCPConnector(
            resolver=_Judged(self._allowed, self._lookup), ssl=self._tls, use_dns_cache=False, force_close=True
        )
        try:
            async with (
                aiohttp.ClientSession(connector=connector, timeout=self._timeout, trust_env=False) as session,
                session.request(method, url, headers=headers, data=body, allow_redirects=False) as answer,
            ):
                found = b""
                async for chunk in answer.content.iter_chunked(_MOST_ECHOED):
                    found += chunk
                    if len(found) >= _MOST_ECHOED:
                        break
                return answer.status, found
        except (aiohttp.ClientError, OSError, TimeoutError, ValueError) as cause:
            raise Unreachable(f"{url.host}: {type(cause).__name__}: {str(cause)[:200]}") from cause


def signature(key: bytes, notice_id: str, body: bytes) -> str:
    """What ``Gridgate-Signature`` says of a notification."""
    return "sha256=" + hmac.new(key, notice_id.encode() + b"." + body, hashlib.sha256).hexdigest()
