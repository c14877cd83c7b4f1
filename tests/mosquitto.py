"""A real Mosquitto on loopback that knows its clients by certificates, and lets them do what a file says."""

import shutil
import signal
import ssl
import subprocess
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tests.certificates import authority
from tests.lab import eventually, free_port

HOST = "127.0.0.1"


def mosquitto_program() -> str:
    """The broker; absent, the test skips, which under CI is a failure."""
    program = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin:/usr/local/bin")
    if program is None:
        pytest.skip("no Mosquitto on this machine: apt-get install mosquitto")
    return program


class Mosquitto:
    """One broker in ``folder``; kill and start it as often as you like."""

    def __init__(self, folder: Path) -> None:
        self.program = mosquitto_program()
        self.folder = folder
        self.port = free_port()
        self.process: subprocess.Popen[bytes] | None = None
        self._log = folder / "broker.log"
        yesterday = datetime.now(UTC) - timedelta(days=1)
        self._authority = authority(begins_at=yesterday)
        self._begins_at = yesterday
        (folder / "ca.pem").write_bytes(self._authority.pem)
        server = self._authority.vouch(HOST, begins_at=yesterday, hosts=(HOST,))
        (folder / "server.pem").write_bytes(server.pem)
        (folder / "server.key").write_bytes(server.key_pem)
        self.allow("")
        (folder / "mosquitto.conf").write_text(
            f"listener {self.port} {HOST}\n"
            f"cafile {folder}/ca.pem\ncertfile {folder}/server.pem\nkeyfile {folder}/server.key\n"
            "require_certificate true\nuse_identity_as_username true\nallow_anonymous false\n"
            f"acl_file {folder}/acl\nlog_dest stderr\nuser root\n"
        )

    def allow(self, rules: str) -> None:
        """Have the broker go by other rules of who may do what."""
        (self.folder / "acl").write_text(rules)
        (self.folder / "acl").chmod(0o600)
        if self.process is not None:
            size = self._log.stat().st_size
            self.process.send_signal(signal.SIGHUP)
            eventually("the rules are read", lambda: b"Reloading config" in self._log.read_bytes()[size:], 10, 0.02)

    def context(self, name: str) -> ssl.SSLContext:
        """What a client of this name trusts and shows."""
        own = self._authority.vouch(name, begins_at=self._begins_at)
        file = self.folder / f"{name}.pem"
        file.write_bytes(own.pem + own.key_pem)
        context = ssl.create_default_context(cafile=self.folder / "ca.pem")
        context.load_cert_chain(file)
        return context

    def start(self) -> None:
        size = self._log.stat().st_size if self._log.exists() else 0
        with self._log.open("ab") as log:
            # As root it would become a user of its own, who cannot read here.
            command = [self.program, "-c", str(self.folder / "mosquitto.conf")]
            self.process = subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT)
        eventually("the broker runs", lambda: b"running" in self._log.read_bytes()[size:], 10, 0.02)

    def end(self) -> None:
        """Kill it, if it runs."""
        if self.process is not None:
            self.process.kill()
            self.process.wait()
            self.process = None
