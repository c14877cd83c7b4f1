"""Attached hardware, opened: drivers, agents over them, and the gateway's side of these.

Each driver is imported inside the function that opens it, so that only what is configured is loaded.
"""

import socket
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any, Protocol

from gateway.clock import Clock
from gateway.config import (
    FleetSettings,
    NvmlSettings,
    ProcessJobSettings,
    Settings,
    SimulatedSettings,
    SlurmSettings,
)
from gateway.joining import nats_hosts, open_enrolment
from gateway.services.actuator import Fleet
from gateway.services.epochs import Commanded
from hardware.device import DeviceDriver, PowerMeter
from hardware.errors import HardwareError
from hardware.job import JobDriver
from hardware.workloads import SimulatedJob


class MeteredFleet(Fleet, PowerMeter, Commanded, Protocol):
    """Devices, the jobs on them, and the meters beside them, behind agents."""

    @property
    def highest_epoch(self) -> int:
        """The highest epoch that an agent has heard of, 0 for none."""


class ClosableFleet(MeteredFleet, Protocol):
    """A fleet behind connections."""

    async def close(self) -> None: ...


def agent_paths(settings: Settings) -> dict[str, Path]:
    """Where the local agent listens and keeps what must outlive it."""
    folder = settings.gateway.state_dir
    return {
        "socket": folder / "agent.sock",
        "journal": folder / "agent.journal",
        "state": folder / "devices.state",
        "stopped": folder / "stopped.json",
    }


def simulated_agent(
    hardware: SimulatedSettings,
    *,
    now: Callable[[], Any],
    boot_s: Callable[[], float],
    journal: Path | None = None,
    state: Path | None = None,
) -> Any:
    """An agent over a simulated fleet."""
    from hardware.simulated import SimulatedFleet

    fleet = SimulatedFleet(
        hosts=hardware.hosts,
        devices_per_host=hardware.devices_per_host,
        seed=hardware.seed,
        now=now,
        state_path=state,
    )
    return agent_over(fleet, journal=journal, boot_s=boot_s)


def agent_over(fleet: Any, *, boot_s: Callable[[], float], journal: Path | None = None) -> Any:
    """An agent over a simulated fleet that is open already."""
    from hardware.agent import Agent

    return Agent(host_id="local", devices=fleet, jobs=fleet, journal=journal, boot_s=boot_s)


def simulated_fleet(
    *, hosts: int, devices_per_host: int, seed: int, now: Callable[[], datetime], jobs: Sequence[SimulatedJob]
) -> Any:
    """A simulated fleet with these jobs, in this process. Raises ``ValueError`` where they do not fit on it."""
    from hardware.simulated import SimulatedFleet

    return SimulatedFleet(hosts=hosts, devices_per_host=devices_per_host, seed=seed, now=now, jobs=jobs)


def reached_in_process(agent: Any) -> MeteredFleet:
    """The gateway's side of an agent in this very process."""
    from hardware.agent_links import LocalLink
    from hardware.fleet import AgentFleet

    return AgentFleet([LocalLink(agent)])


def job_runners(settings: Settings, stopped: Path | None) -> dict[str, JobDriver]:
    """What runs the jobs of this host, by name. ``stopped`` is where it is kept which processes we stopped.

    ``None`` for drivers that are only read.
    """
    runners: dict[str, JobDriver] = {}
    if settings.process_jobs:
        from hardware.process.driver import ProcessDriver

        runners["process"] = ProcessDriver([_process_job(job) for job in settings.process_jobs], record=stopped)
    for slurm in settings.slurms:
        runners[f"slurm {slurm.name}"] = _slurm_jobs(slurm)
    return runners


def _process_job(job: ProcessJobSettings) -> Any:
    import signal

    from hardware.process.members import Checkpoint, ProcessJob, Reach

    reach = Reach.TREE
    if job.process_group_of is not None:
        reach = Reach.GROUP
    elif job.session_of is not None:
        reach = Reach.SESSION
    checkpoint = None
    if job.checkpoint_file is not None:
        checkpoint = Checkpoint(
            signal_number=signal.Signals[job.checkpoint_signal],
            file=job.checkpoint_file,
            timeout_s=job.checkpoint_timeout_s,
        )
    return ProcessJob(
        job_id=job.id,
        device_ids=job.devices,
        terms=job.terms(),
        pid_file=job.pid_file or job.process_group_of or job.session_of,
        reach=reach,
        cgroup=job.cgroup,
        command=job.command,
        checkpoint=checkpoint,
    )


def _slurm_jobs(slurm: SlurmSettings) -> JobDriver:
    """A cluster's driver. Raises ``HardwareError`` for an address that cannot be."""
    from hardware.job_terms import TermsRule
    from hardware.slurm.checkpoint import Checkpoint
    from hardware.slurm.command import SlurmCommands
    from hardware.slurm.jobs import SlurmJobs
    from hardware.slurm.rest import SlurmRest
    from hardware.slurm.way import SlurmWay

    commands = SlurmCommands(conf=slurm.slurm_conf, folder=slurm.commands)
    way: SlurmWay = commands
    if slurm.way == "rest" and slurm.url is not None and slurm.user is not None and slurm.token_file is not None:
        try:
            way = SlurmRest(url=slurm.url, user=slurm.user, token_file=slurm.token_file, commands=commands)
        except ValueError as cause:
            raise HardwareError(f"[[hardware]] {slurm.name!r}: {cause}") from cause
    return SlurmJobs(
        way,
        rules=[
            TermsRule(where={str(key): value for key, value in rule.where.items()}, terms=rule.terms())
            for rule in slurm.terms
        ],
        deadline_s=slurm.deadline_s,
        checkpoint=Checkpoint(
            signal=slurm.checkpoint_signal, done_file=slurm.checkpoint_file, within_s=slurm.checkpoint_timeout_s
        ),
    )


def in_process_fleet(hardware: FleetSettings, clock: Clock) -> MeteredFleet:
    """A simulated fleet behind its agent, in this process and on this clock."""
    if not isinstance(hardware, SimulatedSettings):
        raise TypeError("only a simulated fleet runs in virtual time")
    began = clock.now()

    def boot_s() -> float:
        return (clock.now() - began).total_seconds()

    agent = simulated_agent(hardware, now=clock.now, boot_s=boot_s)
    return reached_in_process(agent)


def open_fleet(settings: Settings, *, remembers: bool = False) -> ClosableFleet:
    """The gateway's side of its agents: that of this host, and those of the hosts that were enrolled.

    The one that ``remembers`` begins with the devices that were known before, and keeps what it hears for the next: the
    gateway's, which alone may have the file.
    Raises ``HardwareError`` and ``OSError`` where the fleet's folder cannot be used.
    """
    from hardware.agent_links import SocketLink
    from hardware.fleet import AgentFleet
    from hardware.known_devices import KnownDevices

    links = [SocketLink(agent_paths(settings)["socket"])] if settings.of_this_host else []
    known = KnownDevices(settings.gateway.state_dir / "known-devices.jsonl") if remembers else None
    agents = settings.agents
    hosts = None if agents is None else nats_hosts(settings, agents, open_enrolment(settings, agents))
    return AgentFleet(links, hosts, known)


def survey_nvidia() -> Any:
    """The NVIDIA GPUs of this host and their driver, as ``hardware.nvml.survey`` tells them. Raises ``DriverLost``."""
    from hardware.nvml.survey import survey

    return survey()


@contextmanager
def looked_at(settings: Settings) -> Iterator[tuple[DeviceDriver, JobDriver | None]]:
    """Devices and jobs of this host, for reading only. Raises ``DriverLost`` where there is no driver.

    A simulated host is looked at in a copy of its state: to look at it lets its time pass.
    """
    from hardware.job_drivers import JobDrivers, NoDevices

    runners = job_runners(settings, None)
    fleet = settings.fleets[0] if settings.fleets else None
    if fleet is None:
        yield NoDevices(), JobDrivers(runners)
        return
    if isinstance(fleet, NvmlSettings):
        from hardware.nvml.driver import NvmlDriver

        with NvmlDriver(host_id=socket.gethostname()) as driver:
            yield driver, JobDrivers(runners) if runners else None
        return
    from hardware.simulated import SimulatedFleet, faults_path

    state = agent_paths(settings)["state"]
    with TemporaryDirectory(prefix="gridgate-look-") as folder:
        copy = Path(folder) / state.name
        for original, copied in ((state, copy), (faults_path(state), faults_path(copy))):
            if original.exists():
                copyfile(original, copied)
        simulated = SimulatedFleet(
            hosts=fleet.hosts,
            devices_per_host=fleet.devices_per_host,
            seed=fleet.seed,
            now=lambda: datetime.now(UTC),
            state_path=copy,
        )
        yield simulated, JobDrivers({"simulated": simulated, **runners}) if runners else simulated


def look_into_journal(path: Path) -> Any:
    """What a journal holds, as ``JournalState``; ``None`` where there is none. Raises ``JournalUnreadable``."""
    from hardware.rehearsal import left_in

    return left_in(path)


def rehearse_start(settings: Settings, state: Any, devices: DeviceDriver, jobs: JobDriver | None) -> Any:
    """What an agent with this journal would do at its start over these drivers, which are only read."""
    from hardware.agent import boot_s
    from hardware.journal import boot_id
    from hardware.limit_terms import Ceilings
    from hardware.rehearsal import rehearse

    ceilings = Ceilings(default_w=settings.agent.ceiling_w, by_device=settings.agent.ceilings_w)
    return rehearse(state, boot_id=boot_id(), devices=devices, jobs=jobs, ceilings=ceilings, now_s=boot_s())


def this_boot() -> str:
    """The name of this life of the machine, empty where it has none."""
    from hardware.journal import boot_id

    return boot_id()
