"""A listener with TLS sets aside no more for a connection than a record holds, and takes large bodies all the same."""

import asyncio
import ssl
from asyncio import sslproto
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from aiohttp import web

from gateway.listening import TLS_BUFFER_BYTES, listening
from gateway.tls import listener_context
from tests.certificates import authority


@pytest.fixture
def contexts(tmp_path: Path) -> tuple[ssl.SSLContext, ssl.SSLContext]:
    began = datetime.now(UTC) - timedelta(hours=1)
    ca = authority(begins_at=began)
    server = ca.vouch("server", begins_at=began, hosts=("127.0.0.1",))
    (tmp_path / "server.pem").write_bytes(server.key_pem + server.pem)
    return (
        listener_context(tmp_path / "server.pem", None, None),
        ssl.create_default_context(cadata=ca.pem.decode()),
    )


async def test_a_connection_holds_a_small_buffer_and_bodies_go_through_whole(
    contexts: tuple[ssl.SSLContext, ssl.SSLContext],
) -> None:
    seen: list[int] = []

    async def echo(request: web.Request) -> web.Response:
        assert request.transport is not None
        # Of the transport's own protocol: what asyncio set aside for this very connection.
        seen.append(len(request.transport._ssl_protocol._ssl_buffer))
        return web.Response(body=await request.read())

    application = web.Application(client_max_size=1 << 21)
    application.router.add_post("/", echo)
    body = bytes(range(256)) * 4096
    async with (
        asyncio.timeout(10),
        listening(application, "127.0.0.1:0", tls=contexts[0]) as port,
        aiohttp.ClientSession() as session,
        session.post(f"https://127.0.0.1:{port}/", data=body, ssl=contexts[1]) as got,
    ):
        assert await got.read() == body
    assert seen == [TLS_BUFFER_BYTES]


def test_asyncio_still_has_the_place_where_the_size_is_said() -> None:
    assert isinstance(sslproto.SSLProtocol.max_size, int)
