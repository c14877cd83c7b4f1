"""A real NATS server on loopback, configured as the deployment example is, and a fleet's certificates."""

import asyncio
import signal
import ssl
import subprocess
import sys
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path

from gateway.tls import client_context
from hardware.agent import Agent
from hardware.enrolment import Enrolment
from hardware.fleet_ca import key_bytes, new_key, signing_request, write_private
from hardware.nats_door import NatsDoor
from hardware.simulated import SimulatedFleet
from hardware.wire import Describe, Described, decode_request, encode_reply
from tests.lab import ROOT, eventually, free_port

SITE = "lab-1"


def server_program() -> Path:
    """The server of the wheel, beside this interpreter."""
    return Path(sys.executable).parent / "nats-server"


class NatsServer:
    """One server with its fleet's authority in ``folder``; kill and start it as often as you like."""

    def __init__(self, folder: Path, *, site_id: str = SITE, now: datetime | None = None) -> None:
        self.folder = folder / "fleet"
        self.port = free_port()
        self.site_id = site_id
        self.enrolment = Enrolment(self.folder, site_id=site_id, now=now or datetime.now(UTC))
        self.enrolment.keep_certificates(server_names=["127.0.0.1", "localhost"], now=now or datetime.now(UTC))
        self.process: subprocess.Popen[bytes] | None = None
        example = (ROOT / "deploy/nats-server.conf").read_text()
        self.config = self.folder / "nats-server.conf"
        self.config.write_text(
            example.replace("/var/lib/gridgate/fleet", str(self.folder))
            .replace("0.0.0.0", "127.0.0.1")
            .replace("4222", str(self.port))
            .replace("/run/nats-server.pid", str(folder / "nats.pid"))
        )
        self.log = folder / "nats.log"

    @property
    def url(self) -> str:
        return f"tls://127.0.0.1:{self.port}"

    def start(self) -> "NatsServer":
        size = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as log:
            self.process = subprocess.Popen(
                [server_program(), "-c", str(self.config)], stdout=log, stderr=subprocess.STDOUT
            )
        eventually("the NATS server is ready", lambda: b"Server is ready" in self.log.read_bytes()[size:], 20, 0.02)
        return self

    def kill(self) -> None:
        """kill -9, by its process id."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def reload(self) -> None:
        """Have it read its users anew."""
        assert self.process is not None
        before = self.log.read_bytes().count(b"Reloaded server configuration")
        self.process.send_signal(signal.SIGHUP)
        eventually(
            "the NATS server has reloaded",
            lambda: self.log.read_bytes().count(b"Reloaded server configuration") > before,
            10,
            0.02,
        )

    def end(self) -> None:
        if self.process is not None and self.process.poll() is None:
            self.kill()

    def enrol(self, *host_ids: str) -> None:
        """Take hosts in, with their certificates in ``HOST.pem``; the server is told where it runs."""
        now = datetime.now(UTC)
        for host_id in host_ids:
            key = new_key()
            token = self.enrolment.new_token(host_id, url="https://127.0.0.1:1", now=now)
            certificate = self.enrolment.enrol(
                host_id=host_id, secret=token.secret, csr_pem=signing_request(key, host_id), now=now
            )
            write_private(self.folder / f"{host_id}.pem", key_bytes(key) + certificate)
        if self.process is not None:
            self.reload()

    def host_tls(self, host_id: str) -> Callable[[], ssl.SSLContext]:
        return lambda: client_context(ca=self.folder / "ca.pem", certificate=self.folder / f"{host_id}.pem")

    def gateway_tls(self) -> ssl.SSLContext:
        return client_context(
            ca=self.folder / "ca.pem",
            certificate=self.folder / "gateway.pem",
            key=self.folder / "gateway.key",
        )


class HostAgent:
    """The agent of one simulated host behind its door on NATS, answered in the test's own loop: hundreds fit into one.

    ``h07`` has the devices ``h07-d0`` and so on. While ``answers`` is clear it hangs.
    """

    def __init__(self, server: NatsServer, host_id: str, *, devices: int = 2) -> None:
        simulated = SimulatedFleet(
            hosts=1,
            devices_per_host=devices,
            seed=7,
            now=lambda: datetime.now(UTC),
            first_host=int(host_id.removeprefix("h")),
            site_meter_id=None,
        )
        self.agent = Agent(host_id=host_id, devices=simulated, jobs=simulated)
        self.door = NatsDoor(
            site_id=server.site_id,
            host_id=host_id,
            servers=[server.url],
            now_s=self.agent.now_s,
            tls=server.host_tls(host_id),
        )
        self.answers = asyncio.Event()
        self.answers.set()
        self.asked = 0

    async def start(self) -> "HostAgent":
        await self.door.open(self._answer)
        return self

    async def stop(self) -> None:
        await self.door.close()

    def limits_w(self) -> set[float]:
        """What its devices enforce, after leases that ended were put back."""
        self.agent.expire()
        described = self.agent.handle(Describe())
        assert isinstance(described, Described)
        return {view.limit_w for view in described.devices}

    async def _answer(self, line: bytes, received_s: float) -> bytes:
        self.asked += 1
        await self.answers.wait()
        request = decode_request(line)
        return encode_reply(self.agent.handle(request, received_s), to=request)
