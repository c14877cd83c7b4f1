"""Memory of a VTN that holds many VENs on mutual TLS: ours on its SQLite database beside openleadr's, in one run.

Each server is a process of its own. Each VEN has a certificate of its own from one authority, registers, polls once and
keeps its connection; when all are there the server's resident memory is read, and its highest. A server that does not
get so far in its time is told with as many VENs as it took. openleadr keeps nothing, ours has everything on disk.

    python tests/benchmarks/openadr2b_memory.py [VENS]
"""

import asyncio
import json
import logging
import os
import resource
import signal
import ssl
import subprocess
import sys
import tempfile
from contextlib import suppress
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path
from typing import Any

from protocols.openadr2b import model
from protocols.openadr2b.certificate import fingerprint
from protocols.openadr2b.codec import encode
from tests.certificates import authority

PATH = "/OpenADR2/Simple/2.0b"
AT_ONCE = 20
LIMIT_S = 120.0
HOST = "127.0.0.1"


async def serve_ours(port: int, folder: Path) -> None:
    """Our VTN on a database of its own, with TLS as `gridgate serve` has it."""
    from aiohttp import web

    from gateway.storage import upgrade
    from gateway.storage.party_store import SqlPartyStore
    from gateway.storage.sql_ledger import open_ledger
    from gateway.tls import listener_context
    from protocols.openadr2b.vtn import Vtn
    from protocols.openadr2b.vtn_parties import DeclaredParty, VtnParties

    url = f"sqlite+aiosqlite:///{folder}/ours.db"
    await upgrade.upgrade(url)
    async with open_ledger(url, migrate=False) as ledger:
        whole = json.loads((folder / "whole.json").read_text())
        vtn = Vtn(
            connection_id="program",
            vtn_id="VTN_A",
            store=SqlPartyStore(ledger),
            now=lambda: datetime.now(UTC),
            parties=VtnParties(
                [DeclaredParty(name=name, ven_id=name, fingerprints=(digest,)) for name, digest in whole.items()]
            ),
        )
        application = web.Application()
        application.add_routes(vtn.routes())
        runner = web.AppRunner(application, access_log=None)
        await runner.setup()
        context = listener_context(folder / "vtn.pem", folder / "vtn.key", folder / "ca.pem")
        await web.TCPSite(runner, HOST, port, ssl_context=context).start()
        print("READY", flush=True)
        await asyncio.Event().wait()


async def serve_theirs(port: int, folder: Path) -> None:
    """openleadr's VTN, which looks fingerprints up."""
    from openleadr import OpenADRServer

    logging.disable(logging.WARNING)
    short = json.loads((folder / "short.json").read_text())

    async def look_up(ven_id: str) -> dict[str, str] | None:
        if ven_id not in short:
            return None
        return {"ven_id": ven_id, "ven_name": ven_id, "fingerprint": short[ven_id], "registration_id": f"r-{ven_id}"}

    async def register(info: dict[str, Any]) -> tuple[str, str]:
        return info["ven_name"], f"r-{info['ven_name']}"

    server = OpenADRServer(
        vtn_id="VTN_A",
        http_port=port,
        http_cert=str(folder / "vtn.pem"),
        http_key=str(folder / "vtn.key"),
        http_ca_file=str(folder / "ca.pem"),
        ven_lookup=look_up,
        verify_message_signatures=False,
    )
    server.add_handler("on_create_party_registration", register)
    await server.run()
    print("READY", flush=True)
    await asyncio.Event().wait()


def write_certificates(folder: Path, vens: int) -> list[str]:
    """One authority, the servers' certificate and one for each VEN; returns the VENs' names."""
    begins_at = datetime.now(UTC) - timedelta(days=1)
    root = authority(begins_at=begins_at)
    (folder / "ca.pem").write_bytes(root.pem)
    vtn = root.vouch("vtn", begins_at=begins_at, hosts=(HOST,))
    (folder / "vtn.pem").write_bytes(vtn.pem)
    (folder / "vtn.key").write_bytes(vtn.key_pem)
    names = [f"VEN_{number}" for number in range(vens)]
    whole, short = {}, {}
    for name in names:
        identity = root.vouch(name, begins_at=begins_at)
        (folder / f"{name}.pem").write_bytes(identity.pem + identity.key_pem)
        whole[name], short[name] = sha256(identity.der).hexdigest(), fingerprint(identity.der)
    (folder / "whole.json").write_text(json.dumps(whole))
    (folder / "short.json").write_text(json.dumps(short))
    return names


@dataclass
class Crowd:
    """VENs that stay connected."""

    port: int
    folder: Path
    writers: list[asyncio.StreamWriter] = field(default_factory=list)
    fault: str = ""

    async def join(self, name: str) -> None:
        """Register and poll once."""
        context = ssl.create_default_context(cafile=str(self.folder / "ca.pem"))
        context.load_cert_chain(str(self.folder / f"{name}.pem"))
        reader, writer = await asyncio.open_connection(HOST, self.port, ssl=context)
        register = model.CreatePartyRegistration(
            request_id="r",
            profile="2.0b",
            transport="simpleHttp",
            report_only=False,
            xml_signature=False,
            ven_name=name,
        )
        try:
            await ask(reader, writer, "EiRegisterParty", encode(register))
            await ask(reader, writer, "OadrPoll", encode(model.Poll(ven_id=name)))
        except BaseException:
            writer.close()
            raise
        self.writers.append(writer)

    async def join_all(self, names: list[str]) -> None:
        """All of them, a few at once, until one fails."""
        waiting = iter(names)

        async def some() -> None:
            for name in waiting:
                if self.fault:
                    return
                try:
                    await self.join(name)
                except (OSError, RuntimeError, asyncio.IncompleteReadError) as fault:
                    self.fault = f"{type(fault).__name__}: {fault}"[:200]

        await asyncio.gather(*(some() for _ in range(AT_ONCE)))

    def connected(self) -> int:
        """How many connections still stand."""
        return sum(not writer.is_closing() for writer in self.writers)


async def ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: str, body: bytes) -> None:
    """One request over a kept connection. Raises ``RuntimeError`` for an answer that is not good."""
    head = f"POST {PATH}/{service} HTTP/1.1\r\nHost: a\r\nContent-Type: application/xml\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    said = await reader.readexactly(int(length))
    if not answer.startswith(b"HTTP/1.1 200") or b"responseCode>200" not in said:
        raise RuntimeError(f"{service}: {answer[:40]!r} {said[:300]!r}")


def memory_kib(process_id: int) -> dict[str, int]:
    """Resident memory now and at its highest, in KiB."""
    lines = (line.partition(":") for line in Path(f"/proc/{process_id}/status").read_text().splitlines())
    return {key: int(value.split()[0]) for key, _, value in lines if key in {"VmRSS", "VmHWM"}}


async def measure(process_id: int, port: int, folder: Path, names: list[str]) -> tuple[int, dict[str, float]]:
    """How many VENs the server holds, and what one of them costs it in KiB over when it was idle."""
    idle = memory_kib(process_id)
    crowd = Crowd(port, folder)
    try:
        with suppress(TimeoutError):
            async with asyncio.timeout(LIMIT_S):
                await crowd.join_all(names)
        await asyncio.sleep(1.0)
        held, full = crowd.connected(), memory_kib(process_id)
    finally:
        for writer in crowd.writers:
            writer.transport.abort()
    if crowd.fault:
        print("stopped by", crowd.fault)
    per_ven = {key: (full[key] - idle["VmRSS"]) / max(1, held) for key in full}
    return held, per_ven | {"idle": idle["VmRSS"] / 1024, "full": full["VmRSS"] / 1024, "highest": full["VmHWM"] / 1024}


def main(vens: int) -> None:
    """Measure and print."""
    _, most = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    results = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        names = write_certificates(folder, vens)
        for index, who in enumerate(("ours", "openleadr")):
            port = 19100 + 2 * (os.getpid() % 1000) + index
            command = [sys.executable, __file__, "--serve", who, str(port), name]
            process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
            assert process.stdout is not None
            try:
                if not any(line.startswith("READY") for line in process.stdout):
                    raise SystemExit(f"{who} did not start")
                results[who] = asyncio.run(measure(process.pid, port, folder, names))
            finally:
                process.send_signal(signal.SIGKILL)
                process.wait()
    print("            VENs  KiB a VEN  at its highest  idle MiB  full MiB  highest MiB")
    for who, (held, found) in results.items():
        print(
            f"{who:10} {held:5} {found['VmRSS']:10.1f} {found['VmHWM']:15.1f}"
            f" {found['idle']:9.1f} {found['full']:9.1f} {found['highest']:12.1f}"
        )
    ours, theirs = results["ours"][1], results["openleadr"][1]
    for key, what in (("VmRSS", "resident"), ("VmHWM", "at its highest")):
        print(f"openleadr's memory a VEN over ours, {what}: {theirs[key] / ours[key]:.2f}")
    print(f"openleadr's whole memory over ours: {theirs['full'] / ours['full']:.2f}")


if __name__ == "__main__":
    if "--serve" in sys.argv:
        who, port_text, folder_name = sys.argv[2:]
        serve = serve_ours if who == "ours" else serve_theirs
        asyncio.run(serve(int(port_text), Path(folder_name)))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
