"""Opens the counterparties: who asks us, and whom we ask. Each driver is imported where it is opened."""

from collections.abc import Mapping, Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

import aiohttp
from aiohttp import web

from gateway.clock import Clock
from gateway.config import Settings, Vtn2bSettings
from gateway.domain.fleet import Site
from gateway.listening import listening
from gateway.stages import Record
from protocols.grid import GridConnection, GridProgram, PartyStore, ReportOffer

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
