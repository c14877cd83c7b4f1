"""Opens the counterparties: who asks us, and whom we ask. Each driver is imported where it is opened."""

import ssl
from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
from aiohttp import web

from gateway.clock import Clock
from gateway.config import ConfigError, Settings
from gateway.config.connections import TlsSettings, Ven2bSettings, VenSettings, Vtn2bSettings, VtnSettings
from gateway.domain.fleet import Site
from gateway.listening import listening
from gateway.stages import Record
from gateway.tls import vtn_client_context, vtn_listener_context
from protocols.grid import GridConnection, GridProgram, PartyStore, ReportOffer, Target
from protocols.openadr2b.signature import Signer, Verifier
from protocols.openadr2b.vtn_parties import DeclaredParty, VtnParties
from protocols.replay import MemoryNonces, NonceStore, ReplayWindow

MIN_SAMPLING_S = 1.0
MAX_SAMPLING_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """What is open: where we are asked, and by name where we ask."""

    vens: Sequence[GridConnection]
    programs: Mapping[str, GridProgram]


async def open_connections(edges: AsyncExitStack, settings: Settings, record: Record, clock: Clock) -> Connected:
    """Open every ``[[connection]]``; ``edges`` closes them.

    Raises ``OSError`` where we cannot listen or a file cannot be read, ``ConfigError`` where one holds something else.
    """
    site = settings.site.site()
    vens: list[GridConnection] = []
    programs: dict[str, GridProgram] = {}
    for one in settings.connection:
        try:
            if isinstance(one, VtnSettings):
                programs[one.name] = await _vtn(edges, one, record, clock)
            else:
                vens.append(await _ven(edges, one, record, site, clock))
        except ValueError as cause:
            raise ConfigError(f"[[connection]] {one.name!r}: {cause}") from cause
    return Connected(vens=vens, programs=programs)


async def open_ven(
    edges: AsyncExitStack, *, name: str, url: str, store: PartyStore, site: Site, poll_s: float
) -> GridConnection:
    """An OpenADR 2.0b VEN in plain HTTP pull, as the demonstration has it; ``edges`` closes its session."""
    from protocols.openadr2b.ven import HttpExchange, Ven

    session = await edges.enter_async_context(aiohttp.ClientSession())
    exchange = HttpExchange(url, session)
    return Ven(
        connection_id=name, ven_name=name, exchange=exchange, store=store, offers=report_offers(site), poll_s=poll_s
    )


async def ask_to_register(settings: VenSettings, session: aiohttp.ClientSession) -> str:
    """Ask the VTN what it offers to register with, which changes nothing; says so. Raises ``ProtocolError``."""
    from protocols.openadr2b.exchange import HttpExchange
    from protocols.openadr2b.ven_probe import probe

    if not isinstance(settings, Ven2bSettings):
        raise NotImplementedError
    signing = _signing(settings, MemoryNonces())
    exchange = HttpExchange(settings.url, session)
    return await probe(exchange, uuid4().hex, datetime.now(UTC), signer=signing.signer, verifier=signing.verifier)


async def _ven(
    edges: AsyncExitStack, settings: VenSettings, record: Record, site: Site, clock: Clock
) -> GridConnection:
    from protocols.openadr2b.ven import HttpExchange, Ven

    if not isinstance(settings, Ven2bSettings):
        raise NotImplementedError
    signing = _signing(settings, record.nonces)
    session = await edges.enter_async_context(_session(settings))
    ven = Ven(
        connection_id=settings.name,
        ven_name=settings.name,
        exchange=HttpExchange(settings.url, session),
        store=record.parties,
        offers=report_offers(site),
        poll_s=settings.poll_s,
        push_url=None if settings.push is None else settings.push.url,
        targets=[
            Target(kind="resource", value=site.site_id),
            *(Target(kind="group", value=group) for group in settings.groups),
        ],
        signer=signing.signer,
        verifier=signing.verifier,
    )
    if settings.push is not None:
        application = web.Application()
        application.add_routes(ven.routes(clock.now))
        await edges.enter_async_context(listening(application, settings.push.listen, tls=_listener(settings)))
    return ven


async def _vtn(edges: AsyncExitStack, settings: VtnSettings, record: Record, clock: Clock) -> GridProgram:
    from protocols.openadr2b.exchange import HttpExchange
    from protocols.openadr2b.vtn import Vtn
    from protocols.openadr2b.vtn_http import ProxyHeader

    if not isinstance(settings, Vtn2bSettings):
        raise NotImplementedError
    signing = _signing(settings, record.nonces)
    session = await edges.enter_async_context(_session(settings))
    vtn = Vtn(
        connection_id=settings.name,
        vtn_id=settings.vtn_id,
        store=record.parties,
        now=clock.now,
        poll_s=settings.poll_s,
        granularity_s=settings.report_s,
        report_back_s=settings.report_s,
        parties=_parties(settings),
        signer=signing.signer,
        verifier=signing.verifier,
        push=lambda address: HttpExchange(address, session),
        proxy=None
        if settings.proxy is None
        else ProxyHeader(name=settings.proxy.header, proxies=settings.proxy.addresses),
    )
    application = web.Application()
    application.add_routes(vtn.routes())
    await edges.enter_async_context(listening(application, settings.listen, tls=_listener(settings)))
    return vtn


def _parties(settings: Vtn2bSettings) -> VtnParties:
    """Who may register. Raises ``ValueError`` where two are the same."""
    return VtnParties(
        [
            DeclaredParty(
                name=party.name,
                fingerprints=() if party.fingerprint is None else (party.fingerprint,),
                targets=tuple(
                    Target(kind=kind, value=value)
                    for kind, values in (
                        ("group", party.groups),
                        ("resource", party.resources),
                        ("serviceArea", party.areas),
                    )
                    for value in values
                ),
            )
            for party in settings.party
        ],
        closed=not settings.open,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signing:
    """With what a connection signs, and by whom what it hears is to be signed; ``None`` both where it does not."""

    signer: Signer | None
    verifier: Verifier | None


def _signing(settings: Ven2bSettings | Vtn2bSettings, nonces: NonceStore) -> _Signing:
    """Raises ``OSError`` where a file cannot be read, ``ValueError`` where it holds something else."""
    from protocols.openadr2b.certificate import Authority, Pinned

    if not settings.sign or settings.certificate is None or settings.ca is None:
        return _Signing(signer=None, verifier=None)
    certificate = settings.certificate.read_bytes()
    key = certificate if settings.key is None else settings.key.read_bytes()
    pinned = settings.vtn_fingerprint if isinstance(settings, Ven2bSettings) else None
    trust = Authority(settings.ca.read_bytes()) if pinned is None else Pinned(pinned)
    window = ReplayWindow(nonces, past_s=settings.clock_window_s, future_s=settings.clock_window_s)
    return _Signing(signer=Signer(key_pem=key, certificate_pem=certificate), verifier=Verifier(trust, window))


def _session(settings: TlsSettings) -> aiohttp.ClientSession:
    """A session whose calls show our certificate. Raises ``OSError`` where the files cannot be used."""
    context = vtn_client_context(settings.certificate, settings.key, settings.ca, profile=settings.tls)
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=context))


def _listener(settings: TlsSettings) -> ssl.SSLContext | None:
    """TLS where we listen, ``None`` for plain HTTP. Raises ``OSError`` where the files cannot be used."""
    if settings.certificate is None:
        return None
    return vtn_listener_context(settings.certificate, settings.key, settings.ca, profile=settings.tls)


def report_offers(site: Site) -> tuple[ReportOffer, ...]:
    """What a VEN of ours offers to report: the site's real power."""
    return (ReportOffer(resource_id=site.site_id, min_sampling_s=MIN_SAMPLING_S, max_sampling_s=MAX_SAMPLING_S),)
