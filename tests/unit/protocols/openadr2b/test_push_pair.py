"""Our VEN and our VTN in HTTP push, over real sockets: everything that a VTN may send, sent."""

import socket
from collections.abc import AsyncIterator
from datetime import datetime, timedelta

import aiohttp
import pytest
from aiohttp import web

from protocols.errors import NotRegistered
from protocols.grid import GridEvent, Opt, OptDecision
from protocols.grid_report import ReportOffer, ReportQuantity
from protocols.openadr2b.ven import HttpExchange, Ven
from protocols.openadr2b.vtn import Vtn
from protocols.openadr2b.vtn_parties import DeclaredParty, VtnParties
from tests.unit.protocols.openadr2b.conftest import NOON, MemoryStore


class Pair:
    """Both sides on one clock."""

    def __init__(self, session: aiohttp.ClientSession, vtn_port: int, ven_port: int) -> None:
        self.now = NOON
        self.ven_store = MemoryStore()
        self.vtn = Vtn(
            connection_id="program",
            vtn_id="VTN-1",
            store=MemoryStore(),
            now=lambda: self.now,
            parties=VtnParties([DeclaredParty(name="gateway")]),
            push=lambda url: HttpExchange(url, session),
        )
        offer = ReportOffer(
            resource_id="site-1",
            min_sampling_s=1,
            max_sampling_s=3600,
            quantities=tuple(ReportQuantity),
            history_s=86_400.0,
        )
        self.ven = Ven(
            connection_id="utility",
            ven_name="gateway",
            exchange=HttpExchange(f"http://127.0.0.1:{vtn_port}/OpenADR2/Simple/2.0b", session),
            store=self.ven_store,
            offers=(offer,),
            push_url=f"http://127.0.0.1:{ven_port}",
        )

    async def turn(self) -> None:
        """A turn of the VEN, which says yes to everything."""
        batch = await self.ven.receive(self.now)
        if batch is not None:
            yes = [
                OptDecision(
                    connection_id="utility",
                    event_id=one.event_id,
                    revision=one.revision,
                    opt=Opt.IN,
                    decided_at=self.now,
                )
                for one in batch.events
            ]
            await self.ven.respond(batch, yes, self.now)

    async def deliver(self) -> None:
        self.now = later(self.now)
        await self.vtn.deliver_due(self.now)

    async def ordered(self) -> set[tuple[ReportQuantity, ...]]:
        return {order.quantities for order in await self.ven.orders() if order.ends_at is None}


def later(at: datetime) -> datetime:
    return at + timedelta(minutes=2)


@pytest.fixture
async def pair() -> AsyncIterator[Pair]:
    sockets = [socket.create_server(("127.0.0.1", 0)) for _ in range(2)]
    ports = [listening.getsockname()[1] for listening in sockets]
    async with aiohttp.ClientSession() as session:
        made = Pair(session, *ports)
        runners = []
        for listening, routes in zip(sockets, (made.vtn.routes(), made.ven.routes(lambda: made.now)), strict=True):
            application = web.Application()
            application.add_routes(routes)
            runners.append(web.AppRunner(application, access_log=None))
            await runners[-1].setup()
            await web.SockSite(runners[-1], listening).start()
        for _ in range(2):
            await made.turn()
        yield made
        for runner in runners:
            await runner.cleanup()


async def test_everything_that_a_vtn_may_send_is_taken(pair: Pair, event: GridEvent) -> None:
    (party_id,) = pair.ven.party_ids
    assert await pair.ordered() == {(ReportQuantity.POWER,)}

    await pair.vtn.publish(event)
    await pair.deliver()
    assert pair.ven.woken.is_set()
    await pair.turn()
    assert [(who, answer.opt) for who, answer in await pair.vtn.answers("event-1")] == [(party_id, Opt.IN)]

    quantities = (ReportQuantity.BASELINE, ReportQuantity.REDUCTION)
    order_id = await pair.vtn.order_report(
        party_id, "site-1", quantities, granularity_s=60.0, report_back_s=60.0, starts_at=pair.now, ends_at=None
    )
    await pair.deliver()
    assert await pair.ordered() == {(ReportQuantity.POWER,), quantities}
    await pair.vtn.cancel_report(order_id, last_report=True)
    await pair.deliver()
    assert await pair.ordered() == {(ReportQuantity.POWER,)}

    await pair.vtn.ask_for_offers(party_id)
    await pair.deliver()
    assert pair.ven.woken.is_set()
    await pair.turn()

    await pair.vtn.cancel("event-1")
    await pair.deliver()
    await pair.turn()
    assert [answer.revision for _, answer in await pair.vtn.answers("event-1")] == [1]


async def test_a_registration_is_renewed_and_ended_from_their_side(pair: Pair) -> None:
    (party_id,) = pair.ven.party_ids
    await pair.vtn.ask_to_reregister(party_id)
    await pair.deliver()
    for _ in range(3):
        await pair.turn()
    assert pair.ven.party_ids == {party_id}

    await pair.vtn.cancel_registration(party_id)
    await pair.deliver()
    with pytest.raises(NotRegistered, match="cancelled our registration"):
        await pair.turn()
    assert await pair.vtn.parties() == ()
