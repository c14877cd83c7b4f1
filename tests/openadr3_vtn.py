"""Our OpenADR 3 VTN over HTTPS on loopback, and peers in environments of their own that speak to it."""

import asyncio
import json
import os
import shutil
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from gateway.storage.object_store import SqlObjectStore
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_ledger import open_ledger
from protocols.openadr3.vtn import Vtn
from protocols.openadr3.vtn_access import Client, Role
from protocols.openadr3.vtn_http import PATH
from protocols.openadr3.vtn_tokens import hash_secret
from protocols.openadr3.vtn_webhook import HttpCallbacks
from tests.certificates import Identity, authority

ROOT = Path(__file__).parents[1]
SECRETS = {"bl": "+/=%25 secret of business logic", "ven": "secret of the VEN"}
HOST = "127.0.0.1"


@dataclass(frozen=True, kw_only=True)
class Issuer:
    """An authority, and files by which programs know it and a server shows what it vouches for."""

    ca_file: Path
    context: ssl.SSLContext

    @classmethod
    def new(cls, folder: Path) -> "Issuer":
        yesterday = datetime.now(UTC) - timedelta(days=1)
        own = authority(begins_at=yesterday)
        server: Identity = own.vouch(HOST, begins_at=yesterday, hosts=(HOST,))
        ca_file = folder / "ca.pem"
        ca_file.write_bytes(own.pem)
        chain = folder / "server.pem"
        chain.write_bytes(server.pem + server.key_pem)
        context = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
        context.load_cert_chain(chain)
        return cls(ca_file=ca_file, context=context)

    @property
    def trust(self) -> ssl.SSLContext:
        """What a client of these servers trusts."""
        return ssl.create_default_context(cafile=self.ca_file)


@dataclass(frozen=True, kw_only=True)
class Served:
    """A VTN that can be reached."""

    vtn: Vtn
    url: str
    issuer: Issuer


@asynccontextmanager
async def serve(routes: list[web.RouteDef], issuer: Issuer) -> AsyncIterator[str]:
    """An HTTPS server on a free port; yields its address."""
    app = web.Application()
    app.add_routes(routes)
    # Many targets make a long line; what a server reads by default, 8 KiB, is less than the definition allows.
    runner = web.AppRunner(app, max_line_size=1 << 17)
    await runner.setup()
    try:
        await web.TCPSite(runner, HOST, 0, ssl_context=issuer.context).start()
        yield f"https://{HOST}:{runner.addresses[0][1]}"
    finally:
        await runner.cleanup()


@asynccontextmanager
async def served_vtn(folder: Path, **more: Any) -> AsyncIterator[Served]:
    """Our VTN with the clients of ``SECRETS``, over a new database in the folder. ``more`` is said to it too."""
    issuer = Issuer.new(folder)
    roles = {"bl": Role.BUSINESS_LOGIC, "ven": Role.VEN}
    late: list[web.RouteDef] = []

    async def forward(request: web.Request) -> web.StreamResponse:
        handler: Any = late[0].handler
        response: web.StreamResponse = await handler(request)
        return response

    async with (
        open_ledger(f"sqlite+aiosqlite:///{folder}/record.db", migrate=True) as ledger,
        serve([web.route("*", PATH + r"{path:(?:/[\s\S]*)?}", forward)], issuer) as base_url,
    ):
        vtn = Vtn(
            connection_id="program",
            base_url=base_url,
            store=SqlPartyStore(ledger),
            objects=SqlObjectStore(ledger),
            clients=[
                Client(client_id=client_id, secret_hash=hash_secret(secret), role=roles[client_id])
                for client_id, secret in SECRETS.items()
            ],
            now=lambda: datetime.now(UTC),
            callbacks=HttpCallbacks(tls=issuer.trust, allowed_hosts=[HOST]),
            **more,
        )
        late.extend(vtn.routes())
        yield Served(vtn=vtn, url=base_url + PATH, issuer=issuer)


def peer_python(name: str) -> Path:
    """The interpreter of a peer's environment; absent, the test skips, which under CI is a failure."""
    folder = Path(os.environ.get("GRIDGATE_PEERS", ROOT / ".venv" / "peers"))
    python = folder / name / "bin" / "python"
    if not python.exists() or shutil.which(python) is None:
        pytest.skip(f"{name} is not installed in {folder}: run `make peers` (needs Python 3.12)")
    return python


async def converse(name: str, served: Served, *arguments: str) -> dict[str, Any]:
    """Run a peer's script against the VTN and return what it said in its last line."""
    script = ROOT / "tests" / "interop" / "openadr3_peers" / f"{name.replace('-', '_')}.py"
    environment = {
        "PATH": os.environ["PATH"],
        "SSL_CERT_FILE": str(served.issuer.ca_file),
        "REQUESTS_CA_BUNDLE": str(served.issuer.ca_file),
        "CA_FILE": str(served.issuer.ca_file),
        "VTN_URL": served.url,
        **{f"SECRET_{client_id.upper()}": secret for client_id, secret in SECRETS.items()},
    }
    process = await asyncio.create_subprocess_exec(
        # Scripts are named as what they import: their folder is no place to import from.
        peer_python(name), "-P", script, *arguments,
        env=environment, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.PIPE,
    )  # fmt: skip
    try:
        out, err = await asyncio.wait_for(process.communicate(), 60)
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode == 0, err.decode()[-4000:]
    said: dict[str, Any] = json.loads(out.decode().splitlines()[-1])
    return said
