"""A host with NVIDIA GPUs (our own libnvidia-ml.so.1) and the agents that tests start, kill and stop on it.

The GPUs' limits lie in a mapped file: they outlive a killed agent, as those of real GPUs do.
"""

import asyncio
import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

from hardware.agent_links import SocketLink
from hardware.device import CapCommand, Lease, OnExpiry, Outcome
from hardware.errors import AgentUnreachable
from hardware.fleet import AgentFleet
from tests.lab import end_worker
from tests.nvml_library.control import STATE_VARIABLE, Board

ROOT = Path(__file__).parents[1]
START_S = 30.0
FOUND_W = 380.0

AGENT = """
[gateway]
state_dir = "{folder}/state"
[site]
id = "lab-1"
[[hardware]]
kind = "nvml"
[agent]
restore_spread_s = 0.2
restore_ramp_s = 0.2
"""


class Host:
    """Four GPUs found at 380 W, and the agents that are started on them."""

    def __init__(self, folder: Path, library: Path) -> None:
        self.folder = folder
        self.board = Board(folder / "gpus", manual=False)
        for device in self.board.devices:
            device.limit_w = FOUND_W
        self.environment = {"LD_LIBRARY_PATH": str(library.parent), STATE_VARIABLE: str(self.board.path)}
        self.config = folder / "agent.toml"
        self.config.write_text(AGENT.format(folder=folder))
        self.started: list[subprocess.Popen[bytes]] = []
        self.fleet = AgentFleet([SocketLink(folder / "state/agent.sock", timeout_s=5.0)])
        self.sequence = 0

    def launch(self) -> subprocess.Popen[bytes]:
        with (self.folder / "log").open("ab") as log:
            process = subprocess.Popen(
                [sys.executable, "-m", "gateway", "agent", "--config", str(self.config)],
                cwd=ROOT,
                stdout=log,
                stderr=log,
                env=os.environ | self.environment,
            )
        self.started.append(process)
        return process

    async def start(self) -> subprocess.Popen[bytes]:
        process = self.launch()
        await self.until_it_answers(process)
        return process

    async def until_it_answers(self, process: subprocess.Popen[bytes]) -> None:
        async with asyncio.timeout(START_S):
            while True:
                with contextlib.suppress(AgentUnreachable):
                    await self.fleet.refresh()
                    return
                assert process.poll() is None, self.log()
                await asyncio.sleep(0.02)

    async def cap(
        self, cap_w: float, *, duration_s: float = 30.0, on_expiry: OnExpiry = OnExpiry.RESTORE
    ) -> list[Outcome]:
        self.sequence += 1
        lease = Lease(epoch=1, sequence=self.sequence, duration_s=duration_s, on_expiry=on_expiry)
        commands = [CapCommand(device_id=key, cap_w=cap_w, lease=lease) for key in self.board.ids]
        return [result.outcome for result in await self.fleet.apply(commands)]

    async def until_limits(self, limits_w: list[float], within_s: float) -> None:
        async with asyncio.timeout(within_s):
            while self.board.limits_w() != limits_w:  # noqa: ASYNC110 - devices set no event
                await asyncio.sleep(0.02)

    async def always_limits(self, limits_w: list[float], for_s: float) -> None:
        until_s = time.monotonic() + for_s
        while time.monotonic() < until_s:
            assert self.board.limits_w() == limits_w
            await asyncio.sleep(0.02)

    def workers(self) -> list[int]:
        """Process ids of all workers that were started, the present one last."""
        return [int(line["process_id"]) for line in self.events() if line["event"] == "worker_started"]

    async def until_worker(self, number: int, within_s: float = START_S) -> int:
        """The process id of the worker of that number, from 1 on, once it was started."""
        async with asyncio.timeout(within_s):
            while len(self.workers()) < number:  # noqa: ASYNC110 - a log sets no event
                await asyncio.sleep(0.02)
        return self.workers()[number - 1]

    def kill_both(self, keeper: subprocess.Popen[bytes]) -> None:
        """So that neither of the two can do anything about the other."""
        keeper.send_signal(signal.SIGSTOP)
        os.kill(self.workers()[-1], signal.SIGKILL)
        keeper.kill()

    def journal(self) -> dict[str, Any]:
        limits: dict[str, Any] = json.loads((self.folder / "state/agent.journal").read_text())["limits"]
        return limits

    def events(self) -> list[dict[str, Any]]:
        return [json.loads(line) for line in self.log().splitlines() if line.startswith("{")]

    def log(self) -> str:
        path = self.folder / "log"
        return path.read_text() if path.exists() else ""


@contextlib.asynccontextmanager
async def host_with_gpus(library: Path) -> AsyncIterator[Host]:
    """A host for one test; what was started on it ends with it."""
    # Short: a socket's path may be no longer than about a hundred characters.
    with tempfile.TemporaryDirectory(prefix="gg-", ignore_cleanup_errors=True) as folder:
        made = Host(Path(folder), library)
        try:
            yield made
        finally:
            await made.fleet.close()
            for process in made.started:
                if process.poll() is None:
                    process.kill()
                process.wait(10.0)
            for process_id in made.workers():
                end_worker(process_id)


async def ended(process: subprocess.Popen[bytes], within_s: float = 10.0) -> int:
    """The exit code, in time."""
    return await asyncio.to_thread(process.wait, within_s)
