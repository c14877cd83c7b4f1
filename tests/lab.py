"""Processes that tests start on loopback and end by process id: a gateway as a user runs it, an openleadr VTN."""

import asyncio
import json
import os
import queue
import signal
import socket
import sqlite3
import subprocess
import sys
import threading
import time
import urllib.error
import urllib.request
from collections.abc import Callable
from contextlib import closing, suppress
from pathlib import Path
from typing import Any, TypeVar

from hardware.agent_links import SocketLink
from hardware.device import DeviceView
from hardware.errors import AgentUnreachable
from hardware.fleet import AgentFleet

ROOT = Path(__file__).parents[1]
T = TypeVar("T")

CONFIG = """
[gateway]
database = "sqlite+aiosqlite:///{folder}/gridgate.db"
listen = "127.0.0.1:{port}"
state_dir = "{folder}/state"

[site]
id = "lab-1"
timezone = "America/Phoenix"
interval_s = 60

[[connection]]
kind = "openadr2b"
url = "http://127.0.0.1:{vtn_port}/OpenADR2/Simple/2.0b"
name = "lab-ven"
poll_s = 1

[[program]]
id = "http://utility.example/peak"
levels = {{ 1 = 0.10, 2 = 0.25, 3 = 0.40 }}
price_per_kwh = "0.75"

[[hardware]]
kind = "simulated"
hosts = 2
devices_per_host = 8
seed = 3

[control]
lease_s = {lease_s}
"""


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def eventually(what: str, question: Callable[[], T | None], within_s: float, every_s: float = 0.2) -> T:
    """Ask until there is an answer; fail with what was waited for."""
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        answer = question()
        if answer:
            return answer
        time.sleep(every_s)
    raise AssertionError(f"waited {within_s:g} s in vain: {what}")


def limits_w(folder: Path) -> dict[str, DeviceView]:
    """The limits that the devices enforce, asked of the agent itself."""

    async def ask() -> dict[str, DeviceView]:
        fleet = AgentFleet([SocketLink(folder / "state" / "agent.sock")])
        try:
            await fleet.refresh()
            return dict(fleet.devices())
        finally:
            await fleet.close()

    return asyncio.run(ask())


def capped(folder: Path) -> int | None:
    """How many devices are held under their own limit; ``None`` while no agent answers."""
    try:
        devices = limits_w(folder).values()
    except AgentUnreachable:
        return None
    return sum(device.limit_w < device.cap_range.default_w - 0.5 for device in devices)


def rows(folder: Path, query: str) -> list[tuple[Any, ...]]:
    """What the gateway has on record."""
    with closing(sqlite3.connect(folder / "gridgate.db")) as connection:
        return connection.execute(query).fetchall()


class OpenleadrVtn:
    """A real openleadr VTN in a process of its own; ``life`` names its present life."""

    def __init__(self, port: int, life: str, tls: Path | None = None) -> None:
        self.life = life
        self.ven_id = f"ven-{life}"
        self.heard: list[dict[str, Any]] = []
        script = [str(ROOT / "tests/interop/openleadr_vtn.py"), "--port", str(port), "--life", life]
        self.process = subprocess.Popen(
            [sys.executable, *script, *([] if tls is None else ["--tls", str(tls)])],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
            text=True,
        )
        self._lines: queue.SimpleQueue[str] = queue.SimpleQueue()
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self.wait_for("ready", within_s=30)

    def _read(self) -> None:
        assert self.process.stdout is not None
        for line in self.process.stdout:
            self._lines.put(line)

    def _drain(self) -> None:
        while not self._lines.empty():
            self.heard.append(json.loads(self._lines.get()))

    def wait_for(self, what: str, within_s: float, **facts: Any) -> dict[str, Any]:
        """The first thing of that name with those facts that was or will be heard."""

        def heard() -> dict[str, Any] | None:
            self._drain()
            return next(
                (item for item in self.heard if item["what"] == what and facts.items() <= item.items()),
                None,
            )

        return eventually(f"the VTN says {what!r} {facts}", heard, within_s)

    def count(self, what: str, **facts: Any) -> int:
        self._drain()
        return sum(item["what"] == what and facts.items() <= item.items() for item in self.heard)

    def tell(self, **order: Any) -> None:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order) + "\n")
        self.process.stdin.flush()

    def end(self) -> None:
        self.process.kill()
        self.process.wait()
        self._reader.join()
        for pipe in (self.process.stdin, self.process.stdout):
            if pipe is not None:
                pipe.close()


class Gateway:
    """``gridgate serve`` in a process of its own, with its agent, on a folder that outlives it."""

    def __init__(self, folder: Path, *, vtn_port: int, lease_s: float = 6.0, config: str = CONFIG) -> None:
        self.folder = folder
        self.port = free_port()
        self.config = folder / "gridgate.toml"
        self.config.write_text(config.format(folder=folder, port=self.port, vtn_port=vtn_port, lease_s=lease_s))
        self.process: subprocess.Popen[bytes] | None = None

    def start(self, **environment: str) -> "Gateway":
        with (self.folder / "gateway.log").open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "serve", "--config", str(self.config)],
                cwd=ROOT,
                stderr=log,
                stdout=subprocess.DEVNULL,
                env={**os.environ, **environment},
            )
        eventually("the gateway serves its page", lambda: self.get("/health/live"), within_s=30)
        return self

    def get(self, path: str) -> Any:
        """JSON from a path; ``None`` while nobody answers there."""
        try:
            with urllib.request.urlopen(f"http://127.0.0.1:{self.port}{path}", timeout=5) as answer:
                return json.loads(answer.read())
        except urllib.error.HTTPError as refused:
            return json.loads(refused.read())
        except (OSError, ValueError):
            return None

    def kill(self) -> None:
        """kill -9: only the gateway, by its process id."""
        assert self.process is not None
        self.process.kill()
        self.process.wait()

    def stop(self) -> int:
        """SIGTERM; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGTERM)
        return self.process.wait(timeout=20)

    def log(self) -> list[dict[str, Any]]:
        """What the gateway and its agents logged, over all lives."""
        lines = (self.folder / "gateway.log").read_text().splitlines()
        return [json.loads(line) for line in lines if line.startswith("{")]

    def agent_pid(self) -> int:
        """Process id of the agent that was started last."""
        started = [line for line in self.log() if line.get("event") == "agent_started"]
        return int(started[-1]["process_id"])

    def worker_pid(self) -> int:
        """Process id of the worker that an agent's keeper started last."""
        started = [line for line in self.log() if line.get("event") == "worker_started"]
        return int(started[-1]["process_id"])

    def kill_agent(self) -> None:
        """kill -9 of keeper and worker, so that neither can do anything about the other."""
        os.kill(self.agent_pid(), signal.SIGSTOP)
        end_worker(self.worker_pid())
        os.kill(self.agent_pid(), signal.SIGKILL)

    def ask(self, *command: str) -> Any:
        """A ``gridgate`` command with ``--json`` on this gateway's record."""
        done = subprocess.run(
            [sys.executable, "-m", "gateway", *command, "--config", str(self.config), "--json"],
            cwd=ROOT,
            capture_output=True,
            text=True,
            check=False,
            timeout=60,
        )
        assert done.returncode == 0, done.stderr
        return json.loads(done.stdout)

    def end(self) -> None:
        """End what is left of it, the agent too."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait()
        for event in ("agent_started", "worker_started"):
            for line in self.log():
                if line.get("event") == event:
                    end_worker(int(line["process_id"]))


def event_under_way(vtn: OpenleadrVtn, gateway: Gateway, *, lasts_s: float) -> None:
    """Register, call an event that starts soon, and wait until caps are down."""
    vtn.wait_for("registered", within_s=30)
    vtn.tell(do="event", event_id="peak-1", ven_id=vtn.ven_id, in_s=4, interval_s=lasts_s, levels=[2])
    vtn.wait_for("answer", within_s=15, event_id="peak-1", opt_type="optIn")
    eventually("caps are down", lambda: capped(gateway.folder), within_s=20)


def end_worker(process_id: int) -> None:
    """End what a killed gateway or keeper left behind; a process id that means something else by now stays."""
    try:
        command = Path(f"/proc/{process_id}/cmdline").read_bytes()
    except OSError:
        return
    if b"agent" in command and (b"gateway" in command or b"--worker" in command):
        with suppress(ProcessLookupError):
            os.kill(process_id, signal.SIGKILL)
