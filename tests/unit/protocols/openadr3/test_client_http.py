"""What a VTN over HTTP may do to us: statuses, sizes, and time."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from protocols.errors import MessageTooLarge, Rejected, Unreachable
from protocols.json import MAX_BYTES
from protocols.openadr3 import model
from protocols.openadr3.client import Client
from protocols.openadr3.client_http import LONGEST_RETRY_AFTER_S, HttpExchange, Request
from protocols.openadr3.names import Version
from tests.openadr3_server import NOON, serving
from tests.unit.protocols.openadr2b.conftest import MemoryStore

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]
EVENTS = Request(method="GET", path="/events")


@asynccontextmanager
async def asking(handler: Handler, timeout_s: float = 5.0) -> AsyncIterator[HttpExchange]:
    async with (
        serving(web.route("*", "/base/{path:.*}", handler)) as url,
        aiohttp.ClientSession() as session,
    ):
        yield HttpExchange(f"{url}/base/", session, timeout_s=timeout_s)


def answering(**response: object) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(**response)  # type: ignore[arg-type]  # what a test says

    return handle


async def test_a_request_goes_out_as_it_is() -> None:
    seen: list[tuple[str, str, list[tuple[str, str]], bytes, str]] = []

    async def handle(request: web.Request) -> web.Response:
        body = await request.read()
        seen.append((request.method, request.path, list(request.query.items()), body, request.content_type))
        return web.json_response([])

    async with asking(handle) as exchange:
        query = (("targets", "a&b"), ("targets", "ü"), ("skip", "0"))
        await exchange(Request(method="GET", path="/events", query=query), NOON)
        await exchange(Request(method="POST", path="/reports", body=b"{}"), NOON)
    assert seen[0][:3] == ("GET", "/base/events", list(query))
    assert seen[1] == ("POST", "/base/reports", [], b"{}", "application/json")


async def test_the_answers_size_is_bounded() -> None:
    async with asking(answering(body=b" " * MAX_BYTES)) as exchange:
        assert len((await exchange(EVENTS, NOON)).body) == MAX_BYTES
    async with asking(answering(body=b" " * 3_000_000)) as exchange:
        with pytest.raises(MessageTooLarge, match="more than 1048576 bytes"):
            await exchange(EVENTS, NOON)


async def test_a_compressed_answer_or_a_web_page_is_not_read() -> None:
    async def compressed(_: web.Request) -> web.Response:
        response = web.Response(body=b"[]" * 10_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    for handler in (compressed, answering(text="<html/>", content_type="text/html")):
        async with asking(handler) as exchange:
            with pytest.raises(Unreachable):
                await exchange(EVENTS, NOON)


async def test_an_answer_that_does_not_come_or_trickles_ends_at_the_deadline() -> None:
    async def silent(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async def trickling(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    for handler in (silent, trickling):
        async with asking(handler, timeout_s=0.1) as exchange:
            with pytest.raises(Unreachable, match=r"within 0\.1 s"):
                await exchange(EVENTS, NOON)


async def test_a_broken_connection_and_nobody_there_are_unreachable() -> None:
    async def breaking(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"[")
        assert request.transport is not None
        request.transport.close()
        return response

    async with asking(breaking) as exchange:
        with pytest.raises(Unreachable):
            await exchange(EVENTS, NOON)
    async with aiohttp.ClientSession() as session:
        for url in ("http://127.0.0.1:1", "http://host.invalid", "not a url"):
            with pytest.raises(Unreachable):
                await HttpExchange(url, session)(EVENTS, NOON)


async def test_a_redirect_is_not_followed() -> None:
    followed: list[str] = []

    async def handle(request: web.Request) -> web.Response:
        followed.append(request.path)
        return web.Response(status=302, headers={"Location": "/base/elsewhere"})

    async with asking(handle) as exchange:
        assert (await exchange(EVENTS, NOON)).status == 302
    assert followed == ["/base/events"]


@pytest.mark.parametrize(
    ("header", "retry_after_s"),
    [
        ("30", 30.0),
        ("999999999", LONGEST_RETRY_AFTER_S),
        ("Thu, 31 Jan 2030 12:00:00 GMT", None),
        ("-1", None),
        ("²", None),
    ],
)
async def test_how_long_a_server_wants_to_be_left_alone(header: str, retry_after_s: float | None) -> None:
    async with asking(answering(status=503, headers={"Retry-After": header})) as exchange:
        assert (await exchange(EVENTS, NOON)).retry_after_s == retry_after_s


@pytest.mark.parametrize(
    ("response", "text"),
    [
        (
            {"status": 403, "text": '{"title": "Forbidden", "detail": "read_targets is needed", "status": 403}'},
            "GET /events: HTTP 403 Forbidden: read_targets is needed",
        ),
        ({"status": 500, "text": "out of order"}, "GET /events: HTTP 500 out of order"),
        ({"status": 502, "text": "<html/>", "content_type": "text/html"}, "GET /events: HTTP 502"),
        ({"status": 400, "text": '{"title": "' + "x" * 9000 + '"}'}, f"GET /events: HTTP 400 {'x' * 200}"),
        ({"status": 301, "text": "", "headers": {"Location": "/x"}}, "GET /events: HTTP 301"),
    ],
)
async def test_an_error_is_told_in_the_vtns_own_words(response: dict[str, object], text: str) -> None:
    async with asking(answering(**response)) as exchange:
        client = Client(connection_id="c", exchange=exchange, store=MemoryStore(), version=Version.V3_1)
        with pytest.raises(Rejected) as caught:
            await client.list_all(model.Event, "/events", (), NOON)
    assert str(caught.value) == text
    assert caught.value.code == str(response["status"])
    assert caught.value.connection_id == "c"


async def test_tokens_and_keys_in_what_is_said_and_heard_are_not_kept() -> None:
    operation = model.ObjectOperation(
        objects=("EVENT",), operations=("CREATE",), callback_url="https://us.example/hook", bearer_token="hush-hush"
    )
    subscription = model.Subscription(client_name="gateway", object_operations=(operation,))
    store = MemoryStore()

    async def echo(request: web.Request) -> web.Response:
        held = await request.json()
        held |= {"id": "subscription-1", "createdDateTime": NOON.isoformat(), "clientID": "client-1"}
        return web.json_response(held | {"modificationDateTime": NOON.isoformat(), "objectType": "SUBSCRIPTION"})

    async with asking(echo) as exchange:
        client = Client(connection_id="c", exchange=exchange, store=store, version=Version.V3_1)
        held = await client.create(subscription, "/subscriptions", NOON)
    assert held.object_operations == subscription.object_operations
    assert len(store.messages) == 2
    assert all(b"us.example" in message.body and b"hush" not in message.body for message in store.messages)
