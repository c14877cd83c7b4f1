"""The smallest agent process over a simulated host, run by tests as a script: FOLDER [--orphan SECONDS].

In FOLDER: ``agent.socket``, ``journal.json``, ``devices`` (limits that outlive the process) and its faults file.
With ``--orphan`` standard input is the lifeline of the gateway that started it.
"""

import argparse
import asyncio
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

from hardware.agent import Agent
from hardware.agent_process import ended, run_agent
from hardware.simulated import SimulatedFleet
from hardware.socket_door import BoundSocket, SocketDoor
from hardware.workloads import SimulatedJob

JOBS = (
    SimulatedJob(job_id="train", workload="finetune-8b", tier="flex3", devices=2, max_pause_s=60.0),
    SimulatedJob(job_id="serve", workload="inference-8b", tier="flex0", devices=1),
)


async def main(folder: Path, orphan_s: float | None) -> None:
    fleet = SimulatedFleet(
        hosts=1,
        devices_per_host=4,
        seed=7,
        now=lambda: datetime.now(UTC),
        state_path=folder / "devices",
        jobs=JOBS,
    )
    agent = Agent(host_id="h00", devices=fleet, jobs=fleet, journal=folder / "journal.json")
    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    gone = None if orphan_s is None else ended(sys.stdin.fileno())
    bound = BoundSocket(folder / "agent.socket")
    try:
        await run_agent(
            agent, [SocketDoor(bound.listener, now_s=agent.now_s)], stop, gone=gone, orphan_s=orphan_s or 0.0
        )
    finally:
        bound.close()


if __name__ == "__main__":
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--orphan", type=float)
    given = parser.parse_args()
    asyncio.run(main(given.folder, given.orphan))
