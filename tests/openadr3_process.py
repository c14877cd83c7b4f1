"""Our OpenADR 3 VTN as a process of its own, to be killed: ``python -m tests.openadr3_process FOLDER PORT``."""

import asyncio
import ssl
import sys
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from aiohttp import web

from gateway.storage.object_store import SqlObjectStore
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_ledger import open_ledger
from protocols.openadr3.vtn import Vtn
from protocols.openadr3.vtn_access import Client, Role
from protocols.openadr3.vtn_tokens import hash_secret
from protocols.openadr3.vtn_webhook import HttpCallbacks

HOST = "127.0.0.1"


async def run(folder: Path, port: int) -> None:
    server = ssl.create_default_context(ssl.Purpose.CLIENT_AUTH)
    server.load_cert_chain(folder / "server.pem")
    trust = ssl.create_default_context(cafile=folder / "ca.pem")
    async with open_ledger(f"sqlite+aiosqlite:///{folder}/record.db", migrate=True) as ledger:
        vtn = Vtn(
            connection_id="program",
            base_url=f"https://{HOST}:{port}",
            store=SqlPartyStore(ledger),
            objects=SqlObjectStore(ledger),
            clients=[Client(client_id="bl", secret_hash=hash_secret("secret", cost=2), role=Role.BUSINESS_LOGIC)],
            now=lambda: datetime.now(UTC),
            callbacks=HttpCallbacks(tls=trust, allowed_hosts=[HOST]),
        )
        app = web.Application()
        app.add_routes(vtn.routes())
        runner = web.AppRunner(app)
        await runner.setup()
        await web.TCPSite(runner, HOST, port, ssl_context=server).start()
        sys.stdout.write("ready\n")
        sys.stdout.flush()
        while True:
            vtn.wake.clear()
            due_at = await vtn.deliver_due(datetime.now(UTC))
            pause_s = None if due_at is None else max(0.0, (due_at - datetime.now(UTC)).total_seconds())
            with suppress(TimeoutError):
                await asyncio.wait_for(vtn.wake.wait(), pause_s)


if __name__ == "__main__":
    asyncio.run(run(Path(sys.argv[1]), int(sys.argv[2])))
