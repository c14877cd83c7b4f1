"""Prints what the hardware's part of a control step costs in CPU time: advance, read, cap every device.

In process (``AgentFleet`` over ``LocalLink``, as virtual time and the demo have it), which the bound is for, and by
socket, where the figure holds gateway and agent together. Every cap changes at every step, which is the worst case.
"""

import asyncio
import contextlib
import statistics
import sys
import tempfile
import time
from collections.abc import Awaitable, Callable
from datetime import UTC, datetime, timedelta
from pathlib import Path

import structlog

from hardware.agent import Agent
from hardware.agent_links import LocalLink, SocketLink
from hardware.agent_process import Desk, serve
from hardware.device import CapCommand, Lease
from hardware.fleet import AgentFleet
from hardware.simulated import SimulatedFleet
from hardware.socket_door import BoundSocket, SocketDoor

HOSTS, DEVICES_PER_HOST = 32, 8
STEPS = 120
BOUND_MS = 3.0


class Steps:
    """One gateway's control steps over a fleet, a virtual second apart; every cap changes at every step."""

    def __init__(self) -> None:
        self.now = datetime(2026, 7, 1, 16, tzinfo=UTC)
        self.boot_s = 0.0
        self.simulated = SimulatedFleet(hosts=HOSTS, devices_per_host=DEVICES_PER_HOST, seed=1, now=lambda: self.now)
        self.sequence = 0

    def agent(self, journal: Path | None = None) -> Agent:
        return Agent(
            host_id="bench",
            devices=self.simulated,
            jobs=self.simulated,
            journal=journal,
            boot_s=lambda: self.boot_s,
        )

    async def parts(self, fleet: AgentFleet) -> dict[str, Callable[[], Awaitable[object]]]:
        await fleet.refresh()
        devices = tuple(fleet.devices())

        async def advance() -> None:
            self.now += timedelta(seconds=1.0)
            self.boot_s += 1.0
            self.simulated.limit_w(devices[0])

        async def apply() -> None:
            self.sequence += 1
            lease = Lease(epoch=1, sequence=self.sequence, duration_s=15.0)
            cap_w = 200.0 + self.sequence % 100
            results = await fleet.apply(
                [CapCommand(device_id=device_id, cap_w=cap_w, lease=lease) for device_id in devices]
            )
            if {result.applied_w for result in results} != {cap_w}:
                sys.exit("a cap was not applied")

        return {"advance": advance, "read": fleet.read, "apply": apply}


async def measure(name: str, steps: Steps, fleet: AgentFleet) -> float:
    parts = await steps.parts(fleet)
    spent: dict[str, list[float]] = {part: [] for part in parts}
    for _ in range(STEPS):
        for part, work in parts.items():
            began = time.process_time()
            await work()
            spent[part].append((time.process_time() - began) * 1000.0)
    medians = {part: statistics.median(times) for part, times in spent.items()}
    whole = statistics.median(map(sum, zip(*spent.values(), strict=True)))
    listed = ", ".join(f"{part} {median:.2f}" for part, median in medians.items())
    print(f"{name:>10}: {whole:.2f} ms a step of {HOSTS * DEVICES_PER_HOST} devices ({listed})")
    return whole


async def main() -> None:
    steps = Steps()
    local_ms = await measure("in process", steps, AgentFleet([LocalLink(steps.agent())]))
    with tempfile.TemporaryDirectory() as folder:
        steps, stop = Steps(), asyncio.Event()
        socket_path = Path(folder, "agent.socket")
        bound, agent = BoundSocket(socket_path), steps.agent(Path(folder, "journal"))
        door = SocketDoor(bound.listener, now_s=agent.now_s)
        desk = Desk(agent)
        serving = asyncio.create_task(serve(desk, [door], stop))
        fleet = AgentFleet([SocketLink(socket_path)])
        await measure("by socket", steps, fleet)
        await fleet.close()
        stop.set()
        with contextlib.suppress(asyncio.CancelledError):
            await serving
        desk.close()
        bound.close()
    print(f"bound: {BOUND_MS:.2f} ms in process: {'kept' if local_ms < BOUND_MS else 'BROKEN'}")


if __name__ == "__main__":
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(40))
    asyncio.run(main())
