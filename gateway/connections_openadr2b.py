"""Opens OpenADR 2.0b: a VEN, a VTN."""

from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
from aiohttp import web

from gateway.clock import Clock
from gateway.config.connections import Ven2bSettings, Vtn2bSettings
from gateway.connection_parts import listener, report_offers, session
from gateway.domain.fleet import Site
from gateway.listening import listening
from gateway.stages import Record
from protocols.grid import GridConnection, GridProgram, Target
from protocols.openadr2b.certificate import Authority, Pinned
from protocols.openadr2b.exchange import HttpExchange
from protocols.openadr2b.signature import Signer, Verifier
from protocols.openadr2b.ven import Ven
from protocols.openadr2b.ven_probe import probe
from protocols.openadr2b.vtn import Vtn
from protocols.openadr2b.vtn_http import ProxyHeader
from protocols.openadr2b.vtn_parties import DeclaredParty, VtnParties
from protocols.party_store import PartyStore
from protocols.replay import MemoryNonces, NonceStore, ReplayWindow


async def open_plain_ven(
    edges: AsyncExitStack, *, name: str, url: str, store: PartyStore, site: Site, poll_s: float
) -> GridConnection:
    """An OpenADR 2.0b VEN in plain HTTP pull, as the demonstration has it; ``edges`` closes its session."""
    session = await edges.enter_async_context(aiohttp.ClientSession())
    exchange = HttpExchange(url, session)
    return Ven(
        connection_id=name, ven_name=name, exchange=exchange, store=store, offers=report_offers(site), poll_s=poll_s
    )


async def ask_to_register(settings: Ven2bSettings, session: aiohttp.ClientSession) -> str:
    """Ask the VTN what it offers to register with, which changes nothing; says so. Raises ``ProtocolError``."""
    signing = _signing(settings, MemoryNonces())
    exchange = HttpExchange(settings.url, session)
    return await probe(exchange, uuid4().hex, datetime.now(UTC), signer=signing.signer, verifier=signing.verifier)


async def open_ven(
    edges: AsyncExitStack, settings: Ven2bSettings, record: Record, site: Site, clock: Clock
) -> GridConnection:
    """A VEN in pull or push. Raises ``OSError`` or ``ValueError`` where a file cannot be used."""
    signing = _signing(settings, record.nonces)
    calls = await edges.enter_async_context(session(settings))
    ven = Ven(
        connection_id=settings.name,
        ven_name=settings.name,
        exchange=HttpExchange(settings.url, calls),
        store=record.parties,
        offers=report_offers(site, settings.reports),
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
        await edges.enter_async_context(listening(application, settings.push.listen, tls=listener(settings)))
    return ven


async def open_vtn(edges: AsyncExitStack, settings: Vtn2bSettings, record: Record, clock: Clock) -> GridProgram:
    """A VTN, listening. Raises ``OSError`` or ``ValueError`` where a file cannot be used."""
    signing = _signing(settings, record.nonces)
    calls = await edges.enter_async_context(session(settings))
    vtn = Vtn(
        connection_id=settings.name,
        vtn_id=settings.vtn_id,
        store=record.parties,
        now=clock.now,
        poll_s=settings.poll_s,
        granularity_s=settings.report_s,
        report_back_s=settings.report_s,
        verified_s=settings.verified_s,
        parties=_parties(settings),
        signer=signing.signer,
        verifier=signing.verifier,
        push=lambda address: HttpExchange(address, calls),
        proxy=None
        if settings.proxy is None
        else ProxyHeader(name=settings.proxy.header, proxies=settings.proxy.addresses),
    )
    application = web.Application()
    application.add_routes(vtn.routes())
    await edges.enter_async_context(listening(application, settings.listen, tls=listener(settings)))
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
        certificates=settings.ca is not None or settings.proxy is not None,
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Signing:
    """With what a connection signs, and by whom what it hears is to be signed; ``None`` both where it does not."""

    signer: Signer | None
    verifier: Verifier | None


def _signing(settings: Ven2bSettings | Vtn2bSettings, nonces: NonceStore) -> _Signing:
    """Raises ``OSError`` where a file cannot be read, ``ValueError`` where it holds something else."""
    if not settings.sign or settings.certificate is None or settings.ca is None:
        return _Signing(signer=None, verifier=None)
    certificate = settings.certificate.read_bytes()
    key = certificate if settings.key is None else settings.key.read_bytes()
    pinned = settings.vtn_fingerprint if isinstance(settings, Ven2bSettings) else None
    trust = Authority(settings.ca.read_bytes()) if pinned is None else Pinned(pinned)
    window = ReplayWindow(nonces, past_s=settings.clock_window_s, future_s=settings.clock_window_s)
    return _Signing(signer=Signer(key_pem=key, certificate_pem=certificate), verifier=Verifier(trust, window))
