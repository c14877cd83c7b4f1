"""Our VEN and our VTN of OpenADR 3 over HTTPS: tokens, targets, notifications, events, opts and reports."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
from aiohttp import web

from protocols.grid import EventBatch, EventInterval, EventStatus, GridEvent, Signal, SignalKind, Target
from protocols.grid_report import IntervalReport, ReportInterval, ReportOffer
from protocols.openadr3.access import Authorized, ClientCredentials
from protocols.openadr3.client_http import HttpExchange
from protocols.openadr3.ven import LOOK_AFTER_S, Ven
from protocols.openadr3.ven_webhook import Webhook
from tests.openadr3_vtn import SECRETS, Served, serve, served_vtn
from tests.unit.protocols.openadr2b.conftest import MemoryStore

LATER = timedelta(seconds=LOOK_AFTER_S)


@dataclass
class Ours:
    """A VEN and what it stands on."""

    served: Served
    store: MemoryStore
    webhook: Webhook
    session: aiohttp.ClientSession
    access: ClientCredentials
    ven: Ven = field(init=False)

    def __post_init__(self) -> None:
        self.new_life()

    def new_life(self) -> None:
        self.ven = Ven(
            connection_id="utility",
            ven_name="gateway",
            exchange=Authorized(HttpExchange(self.served.url, self.session), self.access),
            store=self.store,
            offers=(ReportOffer(resource_id="site-1", min_sampling_s=1, max_sampling_s=3600),),
            webhook=self.webhook,
        )

    async def poll(self, now: datetime) -> EventBatch | None:
        batch = await self.ven.receive(now)
        if batch is not None:
            await self.ven.respond(batch, (), now)
        return batch


@asynccontextmanager
async def pair(folder: Path) -> AsyncIterator[Ours]:
    routes: list[web.RouteDef] = []

    async def forward(request: web.Request) -> web.StreamResponse:
        handler: Any = next(route.handler for route in routes if route.method == request.method)
        response: web.StreamResponse = await handler(request)
        return response

    async with (
        served_vtn(folder) as served,
        serve([web.route("*", "/hook", forward)], served.issuer) as ours_url,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=served.issuer.trust)) as session,
    ):
        webhook = Webhook(f"{ours_url}/hook")
        routes += webhook.routes()
        access = ClientCredentials(
            vtn_url=served.url,
            client_id="ven",
            client_secret=SECRETS["ven"],
            connect=lambda url: HttpExchange(url, session),
        )
        yield Ours(served=served, store=MemoryStore(), webhook=webhook, session=session, access=access)


def peak(now: datetime, *targets: Target) -> GridEvent:
    """Level 2 for an hour, in half an hour."""
    starts_at = now + timedelta(minutes=30)
    interval = EventInterval(starts_at=starts_at, duration_s=3600.0, value=2.0)
    return GridEvent(
        event_id="peak-1",
        connection_id="program",
        program_id="peak",
        revision=1,
        status=EventStatus.FAR,
        created_at=now,
        starts_at=starts_at,
        duration_s=3600.0,
        signals=(Signal(name="SIMPLE", kind=SignalKind.LEVEL, intervals=(interval,)),),
        targets=targets,
    )


async def test_an_event_for_us_wakes_us_is_reported_on_and_is_cancelled(tmp_path: Path) -> None:
    async with pair(tmp_path) as ours:
        vtn, now = ours.served.vtn, datetime.now(UTC)
        first = await ours.poll(now)
        assert first is not None
        assert (first.events, first.complete) == ((), True)
        (party,) = await vtn.parties()
        assert party.name == "gateway"
        assert ours.ven.party_ids == {"gateway", party.party_id}

        event = peak(now, Target(kind="ven", value=party.party_id))
        await vtn.publish(event)
        # The grant comes with the event; until it is looked up, notifications are of what has no targets.
        batch = await ours.poll(now + LATER)
        assert batch is not None
        (found,) = batch.events
        assert (found.event_id, found.program_id, found.starts_at) == ("peak-1", "peak", event.starts_at)

        (order,) = await ours.ven.orders()
        report = IntervalReport(
            report_id="report-1",
            order_id=order.order_id,
            connection_id="utility",
            resource_id="site-1",
            created_at=now,
            intervals=(
                ReportInterval(starts_at=event.starts_at, duration_s=3600.0, power_w=40_000.0, coverage_fraction=1.0),
            ),
        )
        assert (await ours.ven.send_report(report, now)).code == "201"
        ours.new_life()
        await ours.poll(now + LATER)
        assert (await ours.ven.send_report(report, now)).accepted
        ((reporter, told),) = await vtn.reports(now - timedelta(days=1))
        assert (reporter, told.order_id, told.intervals[0].power_w) == (party.party_id, "peak-1", 40_000.0)

        await vtn.deliver_due(datetime.now(UTC))
        await ours.poll(now + LATER)
        assert not ours.ven.woken.is_set()
        await vtn.cancel("peak-1")
        await vtn.deliver_due(datetime.now(UTC))
        await asyncio.wait_for(ours.ven.woken.wait(), 10)
        batch = await ours.poll(now + LATER)
        assert batch is not None
        (found,) = batch.events
        assert (found.status, found.starts_at) == (EventStatus.CANCELLED, event.starts_at)


async def test_a_change_reaches_us_and_what_is_for_others_does_not(tmp_path: Path) -> None:
    async with pair(tmp_path) as ours:
        vtn, now = ours.served.vtn, datetime.now(UTC)
        await ours.poll(now)
        event = peak(now)
        await vtn.publish(event)
        await vtn.publish(replace(event, event_id="peak-2", targets=(Target(kind="group", value="elsewhere"),)))
        batch = await ours.poll(now)
        assert batch is not None
        (before,) = batch.events
        assert before.event_id == "peak-1"
        await vtn.publish(replace(event, revision=2, rank=1))
        batch = await ours.poll(now)
        assert batch is not None
        (after,) = batch.events
        assert (after.rank, after.revision > before.revision) == (1, True)
        assert await ours.poll(now) is None
