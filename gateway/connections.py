"""Opens the counterparties: who asks us, and whom we ask. Each driver is imported where it is opened."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime
from uuid import uuid4

import aiohttp
from aiohttp import web

from gateway.clock import Clock
from gateway.config import Settings
from gateway.config.connections import Ven2bSettings, VenSettings, Vtn2bSettings
from gateway.domain.fleet import Site
from gateway.listening import listening
from gateway.stages import Record
from protocols.grid import GridConnection, GridProgram, PartyStore, ReportOffer
from protocols.openadr2b.signature import Signer, Verifier
from protocols.replay import MemoryNonces, NonceStore, ReplayWindow

MIN_SAMPLING_S = 1.0
MAX_SAMPLING_S = 3600.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Connected:
    """What is open: where we are asked, and by name where we ask."""

    vens: Sequence[GridConnection]
    programs: Mapping[str, GridProgram]


async def open_connections(edges: AsyncExitStack, settings: Settings, record: Record, clock: Clock) -> Connected:
    """Open every ``[[connection]]``; ``edges`` closes them. Raises ``OSError`` where we cannot listen."""
    site = settings.site.site()
    vens = [
        await open_ven(edges, name=one.name, url=one.url, store=record.parties, site=site, poll_s=one.poll_s)
        for one in settings.vens
    ]
    programs = {
        one.name: await open_vtn(edges, one, record.parties, clock)
        for one in settings.vtns
        if isinstance(one, Vtn2bSettings)
    }
    return Connected(vens=vens, programs=programs)


async def open_ven(
    edges: AsyncExitStack, *, name: str, url: str, store: PartyStore, site: Site, poll_s: float
) -> GridConnection:
    """An OpenADR 2.0b VEN in HTTP pull; ``edges`` closes its session."""
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


async def open_vtn(edges: AsyncExitStack, settings: Vtn2bSettings, store: PartyStore, clock: Clock) -> GridProgram:
    """An OpenADR 2.0b VTN, listening."""
    from protocols.openadr2b.vtn import Vtn

    vtn = Vtn(
        connection_id=settings.name,
        vtn_id=settings.vtn_id,
        store=store,
        now=clock.now,
        poll_s=settings.poll_s,
        granularity_s=settings.report_s,
        report_back_s=settings.report_s,
    )
    application = web.Application()
    application.add_routes(vtn.routes())
    await edges.enter_async_context(listening(application, settings.listen))
    return vtn


def report_offers(site: Site) -> tuple[ReportOffer, ...]:
    """What a VEN of ours offers to report: the site's real power."""
    return (ReportOffer(resource_id=site.site_id, min_sampling_s=MIN_SAMPLING_S, max_sampling_s=MAX_SAMPLING_S),)
