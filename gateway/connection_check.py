"""Tries one connection step by step, and says in plain words what is wrong and what to do. Nothing is changed by it."""

import asyncio
import email.utils
import socket
import ssl
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from urllib.parse import SplitResult, urlsplit

import aiohttp
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from gateway.config.connections import TlsSettings, VenSettings, VtnSettings
from gateway.tls import vtn_client_context
from protocols.errors import ProtocolError
from protocols.openadr2b.certificate import fingerprint

STEP_S = 10.0
"""How long one step may take."""

SOON_DAYS = 30
"""A certificate that ends within so many days is told of."""

_NOT_YET_VALID, _EXPIRED = 9, 10
"""OpenSSL's codes (X509_V_ERR)."""

ODD_S = 2.0
"""From here on a difference of clocks is told of."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Finding:
    """What one step found. ``cure`` says what to do, empty where all is well."""

    step: str
    well: bool
    detail: str
    cure: str = ""


Register = Callable[[aiohttp.ClientSession], Awaitable[str]]
"""Asks the counterparty, in its dialect, what changes nothing; returns what it said. Raises ``ProtocolError``."""


async def check_ven(settings: VenSettings, register: Register) -> tuple[Finding, ...]:
    """Try the way to a VTN. What stands on a step that failed is not tried."""
    return tuple([finding async for finding in _steps(settings, register)])


async def check_vtn(settings: VtnSettings) -> tuple[Finding, ...]:
    """Try what VENs will meet: our certificate, and whether somebody listens."""
    found = list(_certificate_of(settings))
    host, _, port = settings.listen.rpartition(":")
    try:
        async with asyncio.timeout(STEP_S):
            _, writer = await asyncio.open_connection(host.strip("[]"), int(port))
    except (OSError, TimeoutError) as fault:
        cure = "start the gateway: gridgate serve"
        found.append(Finding(step="listening", well=False, detail=f"{settings.listen}: {_said(fault)}", cure=cure))
    else:
        writer.close()
        found.append(Finding(step="listening", well=True, detail=f"somebody answers at {settings.listen}"))
    return tuple(found)


async def _steps(settings: VenSettings, register: Register) -> AsyncIterator[Finding]:
    url = urlsplit(settings.url)
    port = url.port or (443 if url.scheme == "https" else 80)
    for finding in _certificate_of(settings):
        yield finding
        if not finding.well and not finding.detail.startswith("ours ends"):
            return
    for step in (_name, _way):
        finding = await step(url.hostname or "", port)
        yield finding
        if not finding.well:
            return
    context = None
    if url.scheme == "https":
        context = _context(settings)
        for finding in await _tls(url, port, context):
            yield finding
            if not finding.well:
                return
    else:
        cure = "use https where messages leave this machine"
        well = url.hostname in {"localhost", "127.0.0.1", "::1"}
        yield Finding(step="TLS", well=well, detail="plain HTTP: anybody between can read and change it", cure=cure)
    async with AsyncExitStack() as edges:
        connector = aiohttp.TCPConnector(ssl=context) if context is not None else None
        session = await edges.enter_async_context(aiohttp.ClientSession(connector=connector))
        finding = await _clocks(settings.url, session)
        yield finding
        if finding.step == "HTTP":
            return
        yield await _registered(register, session)


async def _name(host: str, port: int) -> Finding:
    try:
        async with asyncio.timeout(STEP_S):
            found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    except (OSError, TimeoutError) as fault:
        cure = "check the url in the config file, and the name server of this machine"
        return Finding(step="name", well=False, detail=f"{host}: {_said(fault)}", cure=cure)
    addresses = ", ".join(dict.fromkeys(str(one[4][0]) for one in found))
    return Finding(step="name", well=True, detail=f"{host} is {addresses}")


async def _way(host: str, port: int) -> Finding:
    began_s = asyncio.get_running_loop().time()
    try:
        async with asyncio.timeout(STEP_S):
            _, writer = await asyncio.open_connection(host, port)
    except ConnectionRefusedError:
        cure = "is the port right, and does the counterparty's service run?"
        return Finding(step="way", well=False, detail=f"{host}:{port} refuses", cure=cure)
    except (OSError, TimeoutError) as fault:
        cure = "a firewall between may drop it: ask who runs the network, and the counterparty which addresses it takes"
        return Finding(step="way", well=False, detail=f"{host}:{port}: {_said(fault)}", cure=cure)
    writer.close()
    took_ms = 1000.0 * (asyncio.get_running_loop().time() - began_s)
    return Finding(step="way", well=True, detail=f"{host}:{port} answers in {took_ms:.0f} ms")


async def _tls(url: SplitResult, port: int, context: ssl.SSLContext) -> list[Finding]:
    try:
        async with asyncio.timeout(STEP_S):
            _, writer = await asyncio.open_connection(
                url.hostname, port, ssl=context, server_hostname=url.hostname, ssl_handshake_timeout=STEP_S
            )
    except (OSError, TimeoutError) as fault:
        return [Finding(step="TLS", well=False, detail=_said(fault), cure=_cure_of_tls(fault))]
    session: ssl.SSLObject = writer.get_extra_info("ssl_object")
    theirs = x509.load_der_x509_certificate(session.getpeercert(binary_form=True) or b"")
    cipher = session.cipher()
    writer.close()
    suite = cipher[0] if cipher else "?"
    return [
        Finding(step="TLS", well=True, detail=f"{session.version()}, {suite}"),
        _validity("theirs", theirs),
    ]


def _cure_of_tls(fault: BaseException) -> str:
    """What to do about a handshake that failed."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return _cure_of_a_certificate(fault)
    if isinstance(fault, ConnectionError | aiohttp.ServerDisconnectedError):
        return "they hang up in the middle of it: they may want a certificate of ours, or do not take the one we have"
    # OpenSSL writes alerts with spaces, its own reasons with underscores.
    text = str(fault).upper().replace(" ", "_")
    for reasons, cure in _CURES_OF_TLS:
        if any(reason in text for reason in reasons):
            return cure
    return "ask the counterparty what its log says about this handshake"


_CURES_OF_TLS = (
    (
        ("HANDSHAKE_FAILURE", "NO_SHARED_CIPHER", "UNSUPPORTED_PROTOCOL", "ALERT_PROTOCOL_VERSION"),
        'nothing that both can speak: try tls = "openadr2b", and check that certificate and key are named',
    ),
    (
        ("CERTIFICATE_REQUIRED", "UNKNOWN_CA", "BAD_CERTIFICATE", "CERTIFICATE_UNKNOWN", "CERTIFICATE_EXPIRED"),
        "they do not take our certificate: have its fingerprint registered with them, or name the right one",
    ),
    (
        ("WRONG_VERSION_NUMBER", "HTTP_REQUEST", "RECORD_LAYER"),
        "no TLS is spoken there: is the port right, or should url begin with http?",
    ),
)
"""By what a handshake that failed says of itself."""


def _cure_of_a_certificate(fault: ssl.SSLCertVerificationError) -> str:
    if "hostname" in fault.verify_message.lower() or "ip address" in fault.verify_message.lower():
        return "their certificate is for another name: use the name that is on it in url"
    if fault.verify_code in {_NOT_YET_VALID, _EXPIRED}:
        return "their certificate is not valid now: check this machine's clock, else tell the counterparty"
    return "we do not trust who signed their certificate: name the authority that they gave you as ca"


async def _clocks(url: str, session: aiohttp.ClientSession) -> Finding:
    """Whether HTTP is spoken, and how far the clocks are apart."""
    began = datetime.now(UTC)
    try:
        async with session.get(url, timeout=aiohttp.ClientTimeout(total=STEP_S), allow_redirects=False) as response:
            said, status = response.headers.get("Date"), response.status
    except (aiohttp.ClientError, OSError, TimeoutError) as fault:
        return Finding(step="HTTP", well=False, detail=_said(fault), cure=_cure_of_tls(fault.__cause__ or fault))
    now = datetime.now(UTC)
    try:
        theirs = None if said is None else email.utils.parsedate_to_datetime(said)
    except ValueError:
        theirs = None
    if theirs is None or theirs.tzinfo is None:
        return Finding(
            step="clocks", well=True, detail=f"HTTP {status}; the counterparty does not say what time it has"
        )
    # The header has whole seconds, cut off.
    middle = began + (now - began) / 2
    apart_s = (theirs - middle).total_seconds() + 0.5
    if abs(apart_s) <= ODD_S:
        return Finding(step="clocks", well=True, detail=f"HTTP {status}; clocks agree to {ODD_S:g} s")
    ahead = "ahead of" if apart_s > 0 else "behind"
    return Finding(
        step="clocks",
        well=False,
        detail=f"theirs is {abs(apart_s):.0f} s {ahead} ours",
        cure="have this machine follow a time server; where it does, tell the counterparty",
    )


async def _registered(register: Register, session: aiohttp.ClientSession) -> Finding:
    try:
        async with asyncio.timeout(2 * STEP_S):
            detail = await register(session)
    except (ProtocolError, OSError, TimeoutError) as fault:
        return Finding(
            step="registration",
            well=False,
            detail=_said(fault),
            cure="ask the counterparty whether it knows us: by this name, and by the fingerprint above",
        )
    return Finding(step="registration", well=True, detail=detail)


def _context(settings: TlsSettings) -> ssl.SSLContext:
    return vtn_client_context(settings.certificate, settings.key, settings.ca, profile=settings.tls)


def _certificate_of(settings: TlsSettings) -> list[Finding]:
    """What is to be said of our own certificate and files."""
    if settings.certificate is None:
        return []
    try:
        _context(settings)
        certificate = x509.load_pem_x509_certificate(Path(settings.certificate).read_bytes())
    except (OSError, ValueError) as fault:
        cure = "check certificate, key and ca in the config file: PEM files that belong together"
        return [Finding(step="certificate", well=False, detail=_said(fault), cure=cure)]
    return [
        Finding(step="fingerprint", well=True, detail=f"ours is {fingerprint(certificate.public_bytes(Encoding.DER))}"),
        _validity("ours", certificate),
    ]


def _validity(whose: str, certificate: x509.Certificate) -> Finding:
    ends_at = certificate.not_valid_after_utc
    left_days = (ends_at - datetime.now(UTC)).days
    name = certificate.subject.rfc4514_string() or "without a name"
    detail = f"{whose} ends {ends_at:%Y-%m-%d}, in {left_days} days: {name}"
    well = left_days >= SOON_DAYS
    cure = "" if well else ("have it renewed" if whose == "ours" else "tell the counterparty to renew it")
    return Finding(step="certificate", well=well, detail=detail, cure=cure)


def _said(fault: BaseException) -> str:
    return str(fault) or type(fault).__name__
