"""The agent of this host, opened: its keeper, its worker, and the drivers that both act with."""

import asyncio
import hashlib
import signal
import socket
import sys
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from gateway.attach import agent_paths, job_runners
from gateway.config import NvmlSettings, Settings, SimulatedSettings
from gateway.joining import fleet_doors
from hardware.job import JobDriver

KEEPER_DEADLINE_S = 0.5
"""The keeper's calls on devices have less time than the worker's, which waits for them."""


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


async def run_keeper(settings: Settings, *, config_path: Path, lifeline: bool) -> None:
    """The agent of this host until it is told to stop: this process is its keeper, and starts the worker.

    With ``lifeline`` it watches standard input for its end. Raises ``HardwareError`` where it cannot begin (no driver,
    another agent) or not put everything back.
    """
    from hardware.host_taking import ended, take_host
    from hardware.journal import Journal, boot_id
    from hardware.keeper import Keeper

    stop = stop_on_signals()
    paths = agent_paths(settings)
    settings.gateway.state_dir.mkdir(parents=True, exist_ok=True)
    gone = ended(sys.stdin.fileno()) if lifeline else None
    journal = Journal(paths["journal"], boot_id=boot_id())
    bound = await take_host(journal, paths["socket"])
    try:
        keeper = Keeper(
            host_id=host_id(settings),
            journal=journal,
            listener=bound.listener,
            command=[sys.executable, "-m", "gateway", "agent", "--config", str(config_path)],
            open_drivers=lambda: _open_drivers(settings, keeper=True),
            gone=gone,
            **_terms(settings),
        )
        await keeper.run(stop)
    finally:
        bound.close()


async def run_worker(settings: Settings, handed: str) -> None:
    """The worker of this host's agent, until its keeper says to stop, or dies. Raises ``HardwareError``.

    ``handed`` is what the keeper says after ``--worker``.
    """
    from hardware.agent import Agent
    from hardware.agent_process import worker_life
    from hardware.journal import Journal, boot_id
    from hardware.privileges import check_program, drop
    from hardware.socket_door import SocketDoor, inherited

    # Before anything that may have threads of its own.
    user = settings.agent.worker_user
    drop(_needed(settings), user=user)
    if user is not None:
        check_program(user)
    file = Journal(agent_paths(settings)["journal"], boot_id=boot_id())
    async with worker_life(*inherited(handed), file=file) as life:
        drivers = _open_drivers(settings, keeper=False)
        agent = Agent(
            host_id=host_id(settings),
            devices=drivers.devices,
            jobs=drivers.open_jobs(),
            one_thread=drivers.one_thread,
            journal=life.journal,
            kept=lambda: life.journal.kept,
            lanes=drivers.lanes,
            raise_back=life.raise_back(drivers.devices),
            **_terms(settings),
        )
        doors = [SocketDoor(life.listener, now_s=agent.now_s), *fleet_doors(settings, agent.now_s)]
        await life.serve(agent, doors, drivers.lanes)
    # Only after a good end: a call that hangs in the driver would have its closing hang, too.
    drivers.close()


def host_id(settings: Settings) -> str:
    """The name of this host in the fleet."""
    if settings.agent.host_id is not None:
        return settings.agent.host_id
    simulated = bool(settings.fleets) and isinstance(settings.fleets[0], SimulatedSettings)
    return "local" if simulated else socket.gethostname().partition(".")[0]


def _terms(settings: Settings) -> dict[str, Any]:
    """What keeper and worker must agree on: ceilings, how limits go back up, and the clock of leases."""
    from hardware.agent import boot_s
    from hardware.limit_terms import Ceilings, RestoreRamp

    terms = settings.agent
    # The same part of the spread for ever, and different ones for different hosts.
    part = int.from_bytes(hashlib.sha256(host_id(settings).encode()).digest()[:4]) / 2**32
    return {
        "boot_s": boot_s,
        "ceilings": Ceilings(default_w=terms.ceiling_w, by_device=terms.ceilings_w),
        "ramp": RestoreRamp(delay_s=part * terms.restore_spread_s, ramp_s=terms.restore_ramp_s),
    }


def _needed(settings: Settings) -> frozenset[Any]:
    """The capabilities that the drivers of this host need."""
    from hardware.privileges import Capability

    needed: set[Capability] = set()
    if any(isinstance(fleet, NvmlSettings) for fleet in settings.fleets):
        needed.add(Capability.SYS_ADMIN)
    if settings.process_jobs:
        needed |= {Capability.KILL, Capability.SYS_PTRACE}
    return frozenset(needed)


def _open_drivers(settings: Settings, *, keeper: bool) -> Any:
    """What this host's agent acts with, as ``hardware.agent.Drivers``. Raises ``DriverLost`` without a driver.

    Of the two processes over a simulated fleet only the worker lets its time pass.
    """
    from hardware.agent import Drivers
    from hardware.job_drivers import JobDrivers, NoDevices
    from hardware.lanes import FanOut, Lanes, Serial

    paths = agent_paths(settings)
    fleet = settings.fleets[0] if settings.fleets else None
    lanes: FanOut = Serial()
    devices: Any = NoDevices()
    close = _nothing
    own: dict[str, JobDriver] = {}
    if isinstance(fleet, NvmlSettings):
        from hardware.nvml.driver import NvmlDriver

        lanes = Lanes(deadline_s=KEEPER_DEADLINE_S) if keeper else Lanes()
        devices = NvmlDriver(host_id=host_id(settings), lanes=lanes)
        devices.open()
        close = devices.close
    elif fleet is not None:
        from hardware.simulated import SimulatedFleet

        devices = SimulatedFleet(
            hosts=fleet.hosts,
            devices_per_host=fleet.devices_per_host,
            seed=fleet.seed,
            now=lambda: datetime.now(UTC),
            state_path=paths["state"],
            time_passes=not keeper,
        )
        own["simulated"] = devices

    def open_jobs() -> Any:
        runners = own | job_runners(settings, paths["stopped"])
        return devices if own and len(runners) == 1 else JobDrivers(runners) if runners else None

    return Drivers(devices=devices, open_jobs=open_jobs, lanes=lanes, one_thread=bool(own), close=close)


def _nothing() -> None:
    return
