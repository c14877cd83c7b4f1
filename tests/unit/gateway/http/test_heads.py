"""Heads are posted to who wants them; what was not taken is an error that says why."""

from datetime import UTC, datetime

import aiohttp
import pytest
from aiohttp import web
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from gateway.domain.evidence import canonical_json
from gateway.domain.tree_head import SignedHead, TreeHead, sign
from gateway.http.heads import HeadPost
from gateway.listening import listening

HEAD = sign(
    TreeHead(
        format=1,
        log_id="a",
        size=0,
        root_sha256="",
        made_at=datetime(2026, 7, 1, tzinfo=UTC),
        day="2026-06-30",
        previous_sha256="",
    ),
    Ed25519PrivateKey.from_private_bytes(bytes(32)),
)


async def posted(status: int, head: SignedHead = HEAD) -> list[bytes]:
    taken: list[bytes] = []

    async def take(request: web.Request) -> web.Response:
        taken.append(await request.read())
        return web.Response(status=status)

    application = web.Application()
    application.router.add_post("/heads", take)
    async with listening(application, "127.0.0.1:0") as port, aiohttp.ClientSession() as session:
        await HeadPost(f"http://127.0.0.1:{port}/heads", session).take(head)
    return taken


async def test_a_head_is_posted_as_it_is_signed() -> None:
    assert await posted(204) == [canonical_json(HEAD)]


@pytest.mark.parametrize("status", [302, 404, 500])
async def test_a_refusal_says_its_status(status: int) -> None:
    with pytest.raises(OSError, match=f"HTTP {status}"):
        await posted(status)


async def test_nobody_there_is_said_so() -> None:
    async with aiohttp.ClientSession() as session:
        with pytest.raises(OSError, match="Connect"):
            await HeadPost("http://127.0.0.1:9/heads", session).take(HEAD)
