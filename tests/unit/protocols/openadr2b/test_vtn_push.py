"""Messages brought to VENs over real sockets: to a VEN of ours, and to one that fails."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from protocols.grid import GridEvent, Opt, OptDecision
from protocols.grid_report import ReportOffer, ReportQuantity
from protocols.openadr2b import codec, model
from protocols.openadr2b.exchange import HttpExchange
from protocols.openadr2b.ven import Ven
from protocols.openadr2b.vtn import PATH
from protocols.openadr2b.vtn_parties import DeclaredParty, VtnParties
from protocols.party_store import Direction
from tests.unit.protocols.openadr2b.vtn_asking import answer, ask, offers, poll, register, registered, said

SECOND = timedelta(seconds=1)


@asynccontextmanager
async def listening(routes: Any) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes(routes)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        yield f"http://127.0.0.1:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@dataclass
class Listener:
    """A VEN that is pushed to: what it heard, and what it says to each message."""

    heard: list[tuple[str, Any]] = field(default_factory=list)
    reply: Callable[[Any], codec.Message | bytes | int] | None = None

    def routes(self) -> list[web.RouteDef]:
        return [
            web.post(f"{PATH}/{service}", self._take(service)) for service in ("EiEvent", "EiReport", "EiRegisterParty")
        ]

    def _take(self, service: str) -> Callable[[web.Request], Awaitable[web.Response]]:
        async def handle(request: web.Request) -> web.Response:
            message = codec.decode(await request.read())
            self.heard.append((service, message))
            answered = (
                model.Response(response=model.EiResponse(code="200", request_id=""))
                if self.reply is None
                else self.reply(message)
            )
            if isinstance(answered, int):
                return web.Response(status=answered)
            return web.Response(body=answered if isinstance(answered, bytes) else codec.encode(answered))

        return handle

    def names(self) -> list[str]:
        return [codec.name_of(message) for _, message in self.heard]


@pytest.fixture
async def pushing(joined: Any) -> AsyncIterator[Any]:
    async with aiohttp.ClientSession() as session:
        parties = VtnParties([DeclaredParty(name="somebody"), DeclaredParty(name="gateway")])
        joined.vtn = joined.new_vtn(parties=parties, push=lambda address: HttpExchange(address, session))
        yield joined


@pytest.fixture
async def listener(pushing: Any) -> AsyncIterator[Listener]:
    """One that is registered for push."""
    listener = Listener()
    async with listening(listener.routes()) as url:
        listener.ven_id = await registered(pushing, http_pull_model=False, transport_address=url)  # type: ignore[attr-defined]
        yield listener


async def test_a_ven_of_ours_is_pushed_events_and_orders(pushing: Any, event: GridEvent) -> None:
    async with aiohttp.ClientSession() as session:
        holder: list[Ven] = []
        routes = [web.post(f"{PATH}/{{service}}", _forward(holder, pushing))]
        async with listening(routes) as url, listening(pushing.vtn.routes()) as vtn_url:
            ven = Ven(
                connection_id="utility",
                ven_name="gateway",
                exchange=HttpExchange(f"{vtn_url}{PATH}", session),
                store=pushing.ven_store,
                offers=(
                    ReportOffer(
                        resource_id="site-1", min_sampling_s=1, max_sampling_s=3600, quantities=tuple(ReportQuantity)
                    ),
                ),
                push_url=url,
                new_id=pushing.ids,
            )
            holder.append(ven)
            await ven.receive(pushing.now)
            (party,) = await pushing.vtn.parties()
            assert party.address == url
            await pushing.vtn.publish(event)
            assert await pushing.vtn.deliver_due(pushing.now) == 1
            batch = await ven.receive(pushing.now)
            assert batch is not None
            decision = OptDecision(
                connection_id="utility", event_id="event-1", revision=0, opt=Opt.IN, decided_at=pushing.now
            )
            await ven.respond(batch, [decision], pushing.now)
            ((_, kept),) = await pushing.vtn.answers("event-1")
            assert kept.opt is Opt.IN
            order_id = await pushing.vtn.order_report(
                party.party_id,
                "site-1",
                (ReportQuantity.STATE,),
                granularity_s=60,
                report_back_s=60,
                starts_at=pushing.now,
            )
            assert await pushing.vtn.deliver_due(pushing.now) == 1
            assert order_id in {order.order_id for order in await ven.orders()}
            await pushing.vtn.cancel_registration(party.party_id)
            await pushing.vtn.deliver_due(pushing.now)
            assert await pushing.vtn.parties() == ()


def _forward(holder: list[Ven], joined: Any) -> Callable[[web.Request], Awaitable[web.StreamResponse]]:
    """To the VEN's own routes, which are there once it is."""

    async def handle(request: web.Request) -> web.StreamResponse:
        service = request.match_info["service"]
        (route,) = [route for route in holder[0].routes(lambda: joined.now) if route.path.endswith(f"/{service}")]
        return await route.handler(request)  # type: ignore[no-any-return]

    return handle


async def test_what_is_due_is_brought_in_order_until_it_is_answered(
    pushing: Any, event: GridEvent, listener: Any
) -> None:
    await ask(pushing, "EiReport", offers(pushing, listener.ven_id))
    await pushing.vtn.ask_for_offers(listener.ven_id)
    await pushing.vtn.offer_reports(listener.ven_id)
    await pushing.vtn.publish(event)
    listener.reply = lambda message: (
        model.Response(response=model.EiResponse(code="200", request_id=""))
        if isinstance(message, model.DistributeEvent)
        else said(message, listener.ven_id)
    )
    assert await pushing.vtn.deliver_due(pushing.now) == 3
    assert listener.names() == ["oadrDistributeEvent", "oadrCreateReport", "oadrRegisterReport"]
    assert [service for service, _ in listener.heard] == ["EiEvent", "EiReport", "EiReport"]
    assert await pushing.vtn.deliver_due(pushing.now) == 0
    for name in ("oadrCreatedReport", "oadrRegisteredReport"):
        assert name in pushing.vtn_store.names(Direction.IN)


async def test_an_event_without_an_answer_is_brought_again_ever_less_often(
    pushing: Any, event: GridEvent, listener: Any
) -> None:
    await pushing.vtn.publish(event)
    begin, brought = pushing.now, []
    while pushing.now < begin + timedelta(seconds=60):
        if await pushing.vtn.deliver_due(pushing.now):
            brought.append((pushing.now - begin).total_seconds())
        pushing.now += SECOND
    assert brought == [0.0, 5.0, 15.0, 35.0]
    await answer(pushing, listener.ven_id, "event-1")
    pushing.now += timedelta(minutes=10)
    assert await pushing.vtn.deliver_due(pushing.now) == 0
    pushing.now = event.starts_at
    assert await pushing.vtn.deliver_due(pushing.now) == 1
    assert listener.heard[-1][1].events[0].event.descriptor.status == "active"


@pytest.mark.parametrize("broken", [500, b"<no message/>", b"nonsense"])
async def test_what_does_not_arrive_waits_and_is_tried_at_growing_intervals(
    pushing: Any, event: GridEvent, listener: Any, broken: Any
) -> None:
    await pushing.vtn.publish(event)
    listener.reply = lambda _: broken
    begin = pushing.now
    for _ in range(40):
        assert await pushing.vtn.deliver_due(pushing.now) == 0
        pushing.now += SECOND
    assert len(listener.heard) == 4
    listener.reply = None
    pushing.now = begin + timedelta(minutes=10)
    assert await pushing.vtn.deliver_due(pushing.now) == 1
    pushing.vtn = pushing.new_vtn()
    assert [type(await poll(pushing, listener.ven_id)) for _ in range(2)] == [model.DistributeEvent] * 2


async def test_a_push_without_an_answer_in_it_waits_for_the_ven_to_say_so(pushing: Any, listener: Any) -> None:
    await pushing.vtn.offer_reports(listener.ven_id)
    listener.reply = lambda _: b""
    assert await pushing.vtn.deliver_due(pushing.now) == 0
    (_, message) = listener.heard[-1]
    await ask(pushing, "EiReport", said(message, listener.ven_id))
    pushing.now += timedelta(minutes=10)
    assert await pushing.vtn.deliver_due(pushing.now) == 0
    assert listener.names() == ["oadrRegisterReport"]


@pytest.mark.parametrize(
    "address", [None, "", "ftp://a", "http://", "http://me:secret@a", "http://a?b=c", "http://[", f"http://{'a' * 300}"]
)
async def test_an_address_that_nothing_can_be_brought_to_is_refused(pushing: Any, address: str | None) -> None:
    refused = await ask(pushing, "EiRegisterParty", register(http_pull_model=False, transport_address=address))
    assert (refused.response.code, refused.ven_id) == ("451", None)


async def test_a_ven_that_polls_is_brought_nothing(pushing: Any, event: GridEvent) -> None:
    await registered(pushing)
    await pushing.vtn.publish(event)
    assert await pushing.vtn.deliver_due(pushing.now) == 0


async def test_an_event_need_not_wait_for_a_message_that_is_never_answered(
    pushing: Any, event: GridEvent, listener: Any
) -> None:
    await pushing.vtn.offer_reports(listener.ven_id)
    for _ in range(30):
        await pushing.vtn.deliver_due(pushing.now)
        pushing.now += SECOND
    await pushing.vtn.publish(event)
    assert await pushing.vtn.deliver_due(pushing.now) == 1
    assert listener.names()[-1] == "oadrDistributeEvent"
    assert listener.names().count("oadrRegisterReport") == 3


async def test_nobody_unknown_has_us_call_an_address(pushing: Any) -> None:
    wanted = register(ven_name="stranger", http_pull_model=False, transport_address="http://127.0.0.1:1")
    refused = await ask(pushing, "EiRegisterParty", wanted)
    assert (refused.response.code, refused.ven_id) == ("451", None)
    assert await registered(pushing, ven_name="stranger")


async def test_who_is_slow_to_answer_is_not_told_twice_meanwhile(pushing: Any, event: GridEvent, listener: Any) -> None:
    await pushing.vtn.publish(event)
    taken = await asyncio.gather(pushing.vtn.deliver_due(pushing.now), pushing.vtn.deliver_due(pushing.now))
    assert sorted(taken) == [0, 1]
    assert listener.names() == ["oadrDistributeEvent"]
