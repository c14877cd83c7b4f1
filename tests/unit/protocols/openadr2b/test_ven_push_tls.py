"""Push over mutual TLS: who signs a message must be who has the connection."""

import ssl
from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from gateway.tls import listener_context, vtn_client_context
from protocols.openadr2b import model
from protocols.openadr2b.certificate import Authority
from protocols.openadr2b.signature import Signer, Verifier, encode_signed
from protocols.openadr2b.ven import Ven
from protocols.openadr2b.ven_push import PATH
from protocols.replay import MemoryNonces, ReplayWindow
from tests.certificates import Identity, authority
from tests.unit.protocols.openadr2b.conftest import REGISTERED, MemoryStore, Scripted


def now() -> datetime:
    return datetime.now(UTC)


class Listener:
    """Our routes behind TLS, and two parties that the same authority vouches for."""

    def __init__(self, folder: Path) -> None:
        yesterday = now() - timedelta(days=1)
        root = authority(begins_at=yesterday)
        self.vtn, self.other = (root.vouch(name, begins_at=yesterday) for name in ("vtn", "other"))
        self.ven = root.vouch("localhost", begins_at=yesterday)
        self.root = root
        self.ca = folder / "ca.pem"
        self.ca.write_bytes(root.pem)
        self.files = {}
        for name, identity in (("vtn", self.vtn), ("other", self.other), ("ven", self.ven)):
            self.files[name] = folder / f"{name}.pem"
            self.files[name].write_bytes(identity.pem + identity.key_pem)
        self.port = 0

    def client(self, name: str) -> ssl.SSLContext:
        return vtn_client_context(self.files[name], None, self.ca)

    async def post(self, name: str, body: bytes) -> tuple[int, str]:
        async with aiohttp.ClientSession() as session:
            url = f"https://localhost:{self.port}{PATH}/EiEvent"
            async with session.post(url, data=body, ssl=self.client(name)) as response:
                return response.status, await response.text()


@pytest.fixture
async def listener(store: MemoryStore, tmp_path: Path) -> AsyncIterator[Listener]:
    await store.save_registration(REGISTERED)
    made = Listener(tmp_path)
    ven = Ven(
        connection_id="utility",
        ven_name="gateway",
        exchange=Scripted(store, lambda _: None).exchange,
        store=store,
        offers=(),
        push_url="https://localhost",
        signer=signer(made.ven),
        verifier=Verifier(Authority(made.root.pem), ReplayWindow(MemoryNonces())),
    )
    application = web.Application()
    application.add_routes(ven.routes(now))
    runner = web.AppRunner(application, access_log=None)
    await runner.setup()
    context = listener_context(made.files["ven"], None, made.ca)
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=context).start()
    made.port = runner.addresses[0][1]
    yield made
    await runner.cleanup()


def signer(identity: Identity) -> Signer:
    return Signer(key_pem=identity.key_pem, certificate_pem=identity.pem)


async def test_the_one_who_signs_must_be_the_one_who_calls(
    listener: Listener, distribute: model.DistributeEvent, store: Any
) -> None:
    status, text = await listener.post("vtn", encode_signed(distribute, signer(listener.vtn), now()))
    assert (status, "oadrResponse" in text) == (200, True)
    status, text = await listener.post("other", encode_signed(distribute, signer(listener.vtn), now()))
    assert status == 403
    assert "both must be the sender's" in text
    assert [message.name for message in store.messages] == ["oadrDistributeEvent", "oadrResponse", ""]
