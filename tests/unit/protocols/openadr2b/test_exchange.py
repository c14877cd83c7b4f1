import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager

import aiohttp
import pytest
from aiohttp import web

from protocols.errors import MessageTooLarge, Rejected, Unreachable
from protocols.openadr2b.exchange import HttpExchange
from protocols.xml import MAX_BYTES

Handler = Callable[[web.Request], Awaitable[web.StreamResponse]]


@asynccontextmanager
async def serving(handler: Handler, timeout_s: float = 5.0) -> AsyncIterator[HttpExchange]:
    application = web.Application()
    application.router.add_post("/base/{service}", handler)
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    try:
        async with aiohttp.ClientSession() as session:
            yield HttpExchange(f"http://127.0.0.1:{port}/base/", session, timeout_s=timeout_s)
    finally:
        await runner.cleanup()


def answering(**response: object) -> Handler:
    async def handle(_: web.Request) -> web.Response:
        return web.Response(**response)

    return handle


async def test_a_message_is_posted_to_its_service() -> None:
    seen: list[tuple[str, bytes, str]] = []

    async def handle(request: web.Request) -> web.Response:
        seen.append((request.match_info["service"], await request.read(), request.content_type))
        return web.Response(body=b"<answer/>", content_type="application/xml")

    async with serving(handle) as exchange:
        assert await exchange("OadrPoll", b"<question/>") == b"<answer/>"
    assert seen == [("OadrPoll", b"<question/>", "application/xml")]


@pytest.mark.parametrize("status", [201, 301, 400, 403, 404, 500, 503])
async def test_any_status_but_200_is_a_rejection_with_its_code(status: int) -> None:
    handler = answering(status=status, text="not now", headers={"Location": "/elsewhere"})
    async with serving(handler) as exchange:
        with pytest.raises(Rejected, match=f"HTTP {status} not now") as caught:
            await exchange("OadrPoll", b"<question/>")
    assert caught.value.code == str(status)


async def test_a_web_page_is_no_answer() -> None:
    async with serving(answering(text="<html/>", content_type="text/html")) as exchange:
        with pytest.raises(Unreachable, match="web page"):
            await exchange("OadrPoll", b"<question/>")


async def test_the_answers_size_is_bounded() -> None:
    async with serving(answering(body=b"x" * MAX_BYTES)) as exchange:
        assert len(await exchange("OadrPoll", b"")) == MAX_BYTES
    async with serving(answering(body=b"x" * (MAX_BYTES + 1))) as exchange:
        with pytest.raises(MessageTooLarge, match="more than 1048576 bytes"):
            await exchange("OadrPoll", b"")


async def test_a_compressed_answer_is_not_read() -> None:
    async def handle(_: web.Request) -> web.Response:
        response = web.Response(body=b"<a/>" * 10_000)
        response.enable_compression(web.ContentCoding.gzip)
        return response

    async with serving(handle) as exchange:
        with pytest.raises(Unreachable):
            await exchange("OadrPoll", b"")


async def test_an_answer_that_does_not_come_ends_at_the_deadline() -> None:
    async def handle(_: web.Request) -> web.Response:
        await asyncio.sleep(30)
        return web.Response()

    async with serving(handle, timeout_s=0.05) as exchange:
        with pytest.raises(Unreachable, match=r"no answer within 0\.05 s"):
            await exchange("OadrPoll", b"")


async def test_an_answer_that_trickles_ends_at_the_deadline() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse()
        await response.prepare(request)
        while True:
            await response.write(b" ")
            await asyncio.sleep(0.01)

    async with serving(handle, timeout_s=0.1) as exchange:
        with pytest.raises(Unreachable):
            await exchange("OadrPoll", b"")


async def test_a_connection_that_breaks_is_unreachable() -> None:
    async def handle(request: web.Request) -> web.StreamResponse:
        response = web.StreamResponse(headers={"Content-Length": "1000"})
        await response.prepare(request)
        await response.write(b"<part")
        assert request.transport is not None
        request.transport.close()
        return response

    async with serving(handle) as exchange:
        with pytest.raises(Unreachable):
            await exchange("OadrPoll", b"")


async def test_nobody_there_is_unreachable() -> None:
    async with aiohttp.ClientSession() as session:
        for url in ("http://127.0.0.1:1", "http://host.invalid", "not a url"):
            with pytest.raises(Unreachable):
                await HttpExchange(url, session)("OadrPoll", b"")
