"""A host joins a running gateway's fleet as a user has it do so: by command line, over a real NATS server, and goes."""

import json
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.lab import ROOT, Gateway, eventually, free_port
from tests.nats_server import NatsServer

GATEWAY = """
[gateway]
database = "sqlite+aiosqlite:///{folder}/gridgate.db"
listen = "127.0.0.1:{port}"
state_dir = "{folder}"

[site]
id = "lab-1"

[[hardware]]
kind = "agents"
servers = ["tls://127.0.0.1:{nats_port}"]
enrol_listen = "127.0.0.1:{enrol_port}"
reload = ["sh", "-c", "kill -HUP $(cat {folder}/nats.pid)"]
"""

HOST = """
[gateway]
state_dir = "{folder}"

[site]
id = "lab-1"

[agent]
host_id = "gpu-01"

[[hardware]]
kind = "simulated"
hosts = 1
devices_per_host = 4
"""


@pytest.fixture
def server(tmp_path) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path)
    try:
        yield made.start()
    finally:
        made.end()


@pytest.fixture
def gateway(tmp_path, server) -> Iterator[Gateway]:
    config = GATEWAY.replace("{nats_port}", str(server.port)).replace("{enrol_port}", str(free_port()))
    made = Gateway(tmp_path, vtn_port=0, config=config)
    try:
        yield made.start()
    finally:
        made.end()


def agent(config: Path, *more: str) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-m", "gateway", "agent", "--config", str(config), *more],
        cwd=ROOT,
        stderr=subprocess.PIPE,
        text=True,
    )


def present(gateway: Gateway) -> int:
    """How many devices a user is shown as present."""
    done = subprocess.run(
        [sys.executable, "-m", "gateway", "asset", "list", "--config", str(gateway.config), "--json"],
        cwd=ROOT,
        capture_output=True,
        check=False,
        timeout=60,
    )
    if done.returncode != 0:
        return 0
    hosts = json.loads(done.stdout)["hosts"]
    return sum(host["devices"] - host["absent"] for host in hosts)


def test_host_joins_by_a_token_and_is_removed(tmp_path, gateway, server):
    token = gateway.ask("asset", "enrol", "gpu-01")["token"]
    word = tmp_path / "token"
    word.write_text(token)
    folder = tmp_path / "host"
    folder.mkdir()
    config = tmp_path / "host.toml"
    config.write_text(HOST.format(folder=folder))
    joined = agent(config, "--enrol-token-file", str(word))
    try:
        assert eventually("four devices are shown", lambda: present(gateway) == 4, 40, 1.0)
        assert (folder / "agent" / "agent.pem").stat().st_mode & 0o077 == 0

        server.kill()

        def says_so() -> bool:
            ready = gateway.get("/health/ready") or {}
            return "no connection to NATS" in str(ready.get("parts", {}).get("dispatch"))

        assert eventually("readiness says it in words", says_so, 40)
        server.start()
        assert eventually("it is back", lambda: not says_so(), 40)

        gateway.ask("asset", "remove", "gpu-01")
        assert eventually("nothing is shown any more", lambda: present(gateway) == 0, 40, 1.0)
    finally:
        joined.terminate()
        _, complaints = joined.communicate(timeout=30)
    assert "is enrolled with site lab-1" in complaints
    again = agent(config, "--enrol-token-file", str(word))
    _, complaints = again.communicate(timeout=30)
    assert again.returncode == 1
    assert "gridgate asset enrol gpu-01" in complaints
