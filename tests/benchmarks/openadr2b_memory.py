"""Memory of a VTN with many VENs connected by mutual TLS: ours, with its database, beside openleadr's, in one run.

Each server is a process of its own. Every VEN has a certificate of its own (EC, P-256), registers, polls once and keeps
its connection. What counts is the resident memory of the server before the first and with all of them.

    python tests/benchmarks/openadr2b_memory.py [VENS]
"""

import asyncio
import gc
import logging
import os
import resource
import ssl
import subprocess
import sys
import tempfile
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from gateway.listening import listening
from gateway.tls import listener_context
from protocols.openadr2b import model
from protocols.openadr2b.certificate import fingerprint
from protocols.openadr2b.codec import decode, encode
from tests.certificates import Identity, authority

PATH = "/OpenADR2/Simple/2.0b"
AT_ONCE = 20
MOST_S = 400.0


def write_certificates(folder: Path, vens: int) -> None:
    """An authority, a server and the VENs, each with key and certificate in one file."""
    began = datetime.now(UTC) - timedelta(hours=1)
    ca = authority(begins_at=began)
    (folder / "ca.pem").write_bytes(ca.pem)
    server = ca.vouch("vtn", begins_at=began, hosts=("127.0.0.1",))
    for name, one in (
        ("server", server),
        *((str(number), ca.vouch(f"ven-{number}", begins_at=began)) for number in range(vens)),
    ):
        (folder / f"{name}.pem").write_bytes(one.key_pem + one.pem)
        (folder / f"{name}.fingerprint").write_text(shown(one))


def shown(identity: Identity) -> str:
    return fingerprint(identity.der)


async def serve_ours(port: int, folder: Path, vens: int) -> None:
    """Our VTN as `gridgate serve` opens it: parties by fingerprint, everything on disk before it is answered."""
    from aiohttp import web

    from gateway.storage import upgrade
    from gateway.storage.party_store import SqlPartyStore
    from gateway.storage.sql_ledger import open_ledger
    from protocols.openadr2b.vtn import Vtn
    from protocols.openadr2b.vtn_parties import DeclaredParty, VtnParties

    url = f"sqlite+aiosqlite:///{folder}/ours.db"
    await upgrade.upgrade(url)
    async with open_ledger(url, migrate=False) as ledger, AsyncExitStack() as listens:
        parties = [
            DeclaredParty(name=f"ven-{number}", fingerprints=((folder / f"{number}.fingerprint").read_text(),))
            for number in range(vens)
        ]
        vtn = Vtn(
            connection_id="program",
            vtn_id="VTN_A",
            store=SqlPartyStore(ledger),
            now=lambda: datetime.now(UTC),
            parties=VtnParties(parties, closed=True, certificates=True),
        )
        application = web.Application()
        application.add_routes(vtn.routes())
        context = listener_context(folder / "server.pem", None, folder / "ca.pem", profile="openadr2b")
        await listens.enter_async_context(listening(application, f"127.0.0.1:{port}", tls=context))
        gc.freeze()
        gc.set_threshold(10_000, 10, 10)
        print("READY", flush=True)
        await asyncio.Event().wait()


async def serve_theirs(port: int, folder: Path, _vens: int) -> None:
    """openleadr's VTN, which keeps nothing; who registers is looked up in memory."""
    from openleadr import OpenADRServer

    logging.disable(logging.WARNING)
    known: dict[str, dict[str, Any]] = {}

    def register(info: dict[str, Any]) -> tuple[str, str]:
        ven_id = info["ven_name"]
        known[ven_id] = {"ven_id": ven_id, "registration_id": f"r-{ven_id}", "fingerprint": info["fingerprint"]}
        return ven_id, f"r-{ven_id}"

    server = OpenADRServer(
        vtn_id="VTN_A",
        http_port=port,
        http_cert=str(folder / "server.pem"),
        http_key=str(folder / "server.pem"),
        http_ca_file=str(folder / "ca.pem"),
        ven_lookup=known.get,
        verify_message_signatures=False,
        show_fingerprint=False,
        show_server_cert_domain=False,
    )
    # It hands the id over by name.
    server.services["poll_service"].ven_lookup = lambda ven_id: known.get(ven_id)  # noqa: PLW0108
    server.add_handler("on_create_party_registration", register)
    await server.run()
    print("READY", flush=True)
    await asyncio.Event().wait()


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory:
    """Of a process, in MiB: resident now, and the most it ever was."""

    resident_mib: float
    peak_mib: float


def memory_of(process: int) -> Memory:
    lines = Path(f"/proc/{process}/status").read_text().splitlines()
    kib = {line.split(":")[0]: float(line.split()[1]) for line in lines if line.startswith(("VmRSS", "VmHWM"))}
    return Memory(resident_mib=kib["VmRSS"] / 1024, peak_mib=kib["VmHWM"] / 1024)


class Connections:
    """The VENs of one server, each with its connection."""

    def __init__(self, port: int, folder: Path) -> None:
        self.open: list[asyncio.StreamWriter] = []
        self._port = port
        self._folder = folder
        self._turns = asyncio.Semaphore(AT_ONCE)

    async def join(self, number: int) -> None:
        """Connect, register, poll; raises where an answer is not well."""
        async with self._turns:
            context = ssl.create_default_context(cafile=str(self._folder / "ca.pem"))
            context.load_cert_chain(str(self._folder / f"{number}.pem"))
            reader, writer = await asyncio.open_connection("127.0.0.1", self._port, ssl=context)
            self.open.append(writer)
            register = model.CreatePartyRegistration(
                request_id="r",
                profile="2.0b",
                transport="simpleHttp",
                report_only=False,
                xml_signature=False,
                ven_name=f"ven-{number}",
            )
            answer: Any = decode(await _ask(reader, writer, "EiRegisterParty", encode(register)))
            poll = encode(model.Poll(ven_id=answer.ven_id))
            said = await _ask(reader, writer, "OadrPoll", poll)
            if b"RequestReregistration" in said:
                raise RuntimeError("the VEN that has just registered is not known")

    def close(self) -> None:
        for writer in self.open:
            writer.transport.abort()


async def _ask(reader: asyncio.StreamReader, writer: asyncio.StreamWriter, service: str, body: bytes) -> bytes:
    head = f"POST {PATH}/{service} HTTP/1.1\r\nHost: a\r\nContent-Type: application/xml\r\n"
    writer.write(f"{head}Content-Length: {len(body)}\r\n\r\n".encode() + body)
    answer = await reader.readuntil(b"\r\n\r\n")
    length = answer.lower().partition(b"content-length:")[2].split(b"\r\n")[0]
    said = await reader.readexactly(int(length))
    if not answer.startswith(b"HTTP/1.1 200") or b"responseCode>4" in said:
        raise RuntimeError(answer.decode() + said.decode())
    return said


async def fill(port: int, folder: Path, vens: int, process: int) -> tuple[Memory, int]:
    """Connect as many as take it within the time; the server's memory then, and how many."""
    connections = Connections(port, folder)
    joins = [asyncio.ensure_future(connections.join(number)) for number in range(vens)]
    done, late = await asyncio.wait(joins, timeout=MOST_S)
    for one in late:
        one.cancel()
    failed = [one for one in done if one.exception()]
    if failed:
        print(f"{len(failed)} failed, the first by {failed[0].exception()!r}", file=sys.stderr)
    memory = memory_of(process)
    connections.close()
    return memory, len(done) - len(failed)


def measure(who: str, port: int, folder: Path, vens: int) -> tuple[Memory, Memory, int]:
    """Memory before and with the VENs, and how many there were."""
    command = [sys.executable, __file__, "--serve", who, str(port), str(folder), str(vens)]
    server = subprocess.Popen(command, stdout=subprocess.PIPE, text=True)
    try:
        assert server.stdout is not None
        next(line for line in server.stdout if line.startswith("READY"))
        time.sleep(1.0)
        before = memory_of(server.pid)
        with_all, count = asyncio.run(fill(port, folder, vens, server.pid))
        return before, with_all, count
    finally:
        server.kill()
        server.wait()


def main(vens: int) -> None:
    """Measure and print."""
    port = 18100 + os.getpid() % 1000
    per_ven_kib = {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        write_certificates(folder, vens)
        print("MiB              before  with all  most  VENs  KiB a VEN")
        for index, who in enumerate(("ours", "openleadr")):
            before, after, count = measure(who, port + index, folder, vens)
            per_ven_kib[who] = 1024 * (after.resident_mib - before.resident_mib) / max(count, 1)
            print(
                f"{who:16} {before.resident_mib:6.0f} {after.resident_mib:9.0f} {after.peak_mib:5.0f} {count:5} "
                f"{per_ven_kib[who]:10.1f}"
            )
    print(f"a VEN takes {per_ven_kib['ours'] / per_ven_kib['openleadr']:.2f} of what it takes there")


if __name__ == "__main__":
    most = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    resource.setrlimit(resource.RLIMIT_NOFILE, (most, most))
    if "--serve" in sys.argv:
        who, port, folder, vens = sys.argv[2:]
        asyncio.run((serve_ours if who == "ours" else serve_theirs)(int(port), Path(folder), int(vens)))
    else:
        main(int(sys.argv[1]) if len(sys.argv) > 1 else 1000)
