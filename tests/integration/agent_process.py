"""The smallest agent over a simulated host, run by tests as a script: FOLDER [--orphan SECONDS] [--boot-id NAME].

In FOLDER: ``agent.socket``, ``journal.json``, ``devices`` (limits that outlive the process) and its faults file. A
file ``worker-dies`` there has the worker end as soon as it starts. With ``--orphan`` standard input is the lifeline of
the gateway that started it. With ``--worker`` (as its keeper starts it) this is the worker.
"""

import argparse
import asyncio
import logging
import signal
import sys
from datetime import UTC, datetime
from pathlib import Path

import structlog

from hardware.agent import Agent, Drivers, boot_s
from hardware.agent_process import worker_life
from hardware.errors import HardwareError
from hardware.host_taking import ended, take_host
from hardware.journal import Journal, boot_id
from hardware.keeper import Keeper
from hardware.lanes import Serial
from hardware.limit_terms import Ceilings, RestoreRamp
from hardware.privileges import drop
from hardware.simulated import SimulatedFleet
from hardware.socket_door import SocketDoor, inherited
from hardware.workloads import SimulatedJob

JOBS = (
    SimulatedJob(job_id="train", workload="finetune-8b", tier="flex3", devices=2, max_pause_s=60.0),
    SimulatedJob(job_id="serve", workload="inference-8b", tier="flex0", devices=1),
)


def fleet(folder: Path, *, time_passes: bool) -> SimulatedFleet:
    return SimulatedFleet(
        hosts=1,
        devices_per_host=4,
        seed=7,
        now=lambda: datetime.now(UTC),
        state_path=folder / "devices",
        jobs=JOBS,
        time_passes=time_passes,
    )


async def keep(folder: Path, orphan_s: float | None, journal: Journal, command: list[str]) -> None:
    def open_drivers() -> Drivers:
        devices = fleet(folder, time_passes=False)
        return Drivers(devices=devices, open_jobs=lambda: devices, lanes=Serial(), one_thread=True, close=lambda: None)

    stop = asyncio.Event()
    for name in (signal.SIGTERM, signal.SIGINT):
        asyncio.get_running_loop().add_signal_handler(name, stop.set)
    bound = await take_host(journal, folder / "agent.socket")
    try:
        keeper = Keeper(
            host_id="h00",
            journal=journal,
            listener=bound.listener,
            command=command,
            open_drivers=open_drivers,
            boot_s=boot_s,
            ceilings=Ceilings(),
            ramp=RestoreRamp(),
            gone=None if orphan_s is None else ended(sys.stdin.fileno()),
            orphan_s=orphan_s or 0.0,
        )
        await keeper.run(stop)
    finally:
        bound.close()


async def work(folder: Path, handed: str, journal: Journal) -> None:
    drop()
    if (folder / "worker-dies").exists():
        sys.exit(3)
    async with worker_life(*inherited(handed), file=journal) as life:
        devices = fleet(folder, time_passes=True)
        agent = Agent(
            host_id="h00",
            devices=devices,
            jobs=devices,
            journal=life.journal,
            kept=lambda: life.journal.kept,
            raise_back=life.raise_back(devices),
        )
        await life.serve(agent, [SocketDoor(life.listener, now_s=agent.now_s)], Serial())


def main() -> None:
    parser = argparse.ArgumentParser()
    parser.add_argument("folder", type=Path)
    parser.add_argument("--orphan", type=float)
    parser.add_argument("--boot-id", default=boot_id())
    parser.add_argument("--worker")
    given = parser.parse_args()
    structlog.configure(
        processors=[structlog.processors.add_log_level, structlog.processors.JSONRenderer()],
        wrapper_class=structlog.make_filtering_bound_logger(logging.INFO),
        logger_factory=structlog.PrintLoggerFactory(sys.stderr),
    )
    journal = Journal(given.folder / "journal.json", boot_id=given.boot_id)
    command = [sys.executable, __file__, str(given.folder), "--boot-id", given.boot_id]
    try:
        if given.worker is None:
            asyncio.run(keep(given.folder, given.orphan, journal, command))
        else:
            asyncio.run(work(given.folder, given.worker, journal))
    except HardwareError as fault:
        sys.exit(str(fault))


if __name__ == "__main__":
    main()
