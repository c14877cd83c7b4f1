"""The enrolment listener: hosts get their certificates here by a one-time token, and renew them by the old one.

GET  /fleet/v1/authority      the authority's certificate, to be checked against the token's fingerprint
POST /fleet/v1/certificate    {"host_id", "csr", "secret"}; without "secret" the TLS certificate says who asks
"""

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime
from typing import Any, Protocol

import structlog
from aiohttp import web
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from hardware.errors import EnrolmentRefused, HardwareError

log = structlog.get_logger()

AUTHORITY = "/fleet/v1/authority"
CERTIFICATE = "/fleet/v1/certificate"

MOST_BYTES = 16 * 1024
READ_S = 10.0
"""So long a request may take to come: whoever sends a byte at a time holds nothing for long."""

REQUESTS_PER_S = 20.0
"""Of all hosts together: a fleet of ten thousand is enrolled in ten minutes, and nobody guesses by trying."""


class Authority(Protocol):
    """Who enrols. Blocking; raises ``EnrolmentRefused`` and ``OSError``."""

    @property
    def ca_pem(self) -> bytes: ...

    def enrol(self, *, host_id: str, secret: str, csr_pem: bytes, now: datetime) -> bytes: ...

    def renew(self, *, subject: str, csr_pem: bytes, now: datetime) -> bytes: ...


class Asked(BaseModel):
    """What a host sends."""

    model_config = ConfigDict(extra="forbid")

    host_id: str = Field(pattern=r"^[A-Za-z0-9_-]{1,63}$")
    csr: str = Field(max_length=4096)
    secret: str | None = Field(default=None, max_length=128)


class Granted(BaseModel):
    """What it gets: PEM, and what its agent needs to know."""

    certificate: str
    authority: str
    site_id: str
    servers: tuple[str, ...]


class Refused(BaseModel):
    """What it gets instead, with the cure."""

    error: str


class _Bucket:
    """So many requests a second, and as many at once."""

    def __init__(self, rate: float, now_s: Callable[[], float]) -> None:
        self._rate, self._now_s = rate, now_s
        self._left, self._at_s = rate, now_s()

    def take(self) -> bool:
        now_s = self._now_s()
        self._left = min(self._rate, self._left + (now_s - self._at_s) * self._rate)
        self._at_s = now_s
        if self._left < 1.0:
            return False
        self._left -= 1.0
        return True


def make_enrolment(
    authority: Authority,
    *,
    site_id: str,
    servers: Sequence[str],
    now: Callable[[], datetime],
    monotonic_s: Callable[[], float],
    changed: Callable[[], Awaitable[None]],
) -> web.Application:
    """The listener's application. ``changed`` is awaited after a host was let in, before it is told."""
    bucket = _Bucket(REQUESTS_PER_S, monotonic_s)

    async def show_authority(_: web.Request) -> web.Response:
        return web.Response(body=authority.ca_pem, content_type="application/x-pem-file")

    async def certify(request: web.Request) -> web.Response:
        if not bucket.take():
            return _refused(429, "too many hosts ask at once: this host asks again in a while")
        try:
            async with asyncio.timeout(READ_S):
                asked = Asked.model_validate_json(await request.read())
        except TimeoutError:
            return _refused(408, f"the request did not come whole within {READ_S:g} s: this host asks again in a while")
        except ValidationError:
            return _refused(400, "this is no request for a certificate")
        try:
            certificate = await asyncio.to_thread(_certify, authority, asked, peer_subject(request), now())
        except HardwareError as fault:
            log.warning("enrolment_refused", host_id=asked.host_id, remote=request.remote, reason=str(fault))
            return _refused(403 if isinstance(fault, EnrolmentRefused) else 503, str(fault))
        if asked.secret is not None:
            try:
                await changed()
            except HardwareError as fault:
                # The token is used: the host gets what it came for, and connects once the server knows it.
                log.error("nats_server_not_told", host_id=asked.host_id, reason=str(fault))
        log.info("certificate_issued", host_id=asked.host_id, renewed=asked.secret is None)
        granted = Granted(
            certificate=certificate.decode(),
            authority=authority.ca_pem.decode(),
            site_id=site_id,
            servers=tuple(servers),
        )
        return web.Response(text=granted.model_dump_json(), content_type="application/json")

    application = web.Application(client_max_size=MOST_BYTES)
    application.add_routes([web.get(AUTHORITY, show_authority), web.post(CERTIFICATE, certify)])
    return application


def peer_subject(request: web.Request) -> str | None:
    """The name in the certificate that the client showed, ``CN=...,OU=...,O=...``; ``None`` where it showed none."""
    transport = request.transport
    certificate: Any = None if transport is None else transport.get_extra_info("peercert")
    if not certificate:
        return None
    parts = {key: value for names in certificate["subject"] for key, value in names}
    return f"CN={parts.get('commonName')},OU={parts.get('organizationalUnitName')},O={parts.get('organizationName')}"


def _certify(authority: Authority, asked: Asked, subject: str | None, now: datetime) -> bytes:
    csr_pem = asked.csr.encode()
    if asked.secret is not None:
        return authority.enrol(host_id=asked.host_id, secret=asked.secret, csr_pem=csr_pem, now=now)
    if subject is None:
        raise EnrolmentRefused("neither a token nor a certificate of this fleet was shown", cure="enrol with a token")
    return authority.renew(subject=subject, csr_pem=csr_pem, now=now)


def _refused(status: int, text: str) -> web.Response:
    return web.Response(text=Refused(error=text).model_dump_json(), content_type="application/json", status=status)
