"""Attached hardware, opened: agents over drivers, the gateway's side of them, site meters.

Each driver is imported inside the function that opens it, so that only what is configured is loaded.
"""

import math
import socket
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from datetime import UTC, datetime
from pathlib import Path
from shutil import copyfile
from tempfile import TemporaryDirectory
from typing import Any, Protocol

import structlog

from gateway.clock import Clock
from gateway.config import (
    SITE_METER_ID,
    FleetSettings,
    ModbusSettings,
    NvmlSettings,
    OverheadSettings,
    ProcessJobSettings,
    PrometheusSettings,
    RegisterSettings,
    Settings,
    SimulatedSettings,
    SlurmSettings,
)
from gateway.joining import nats_hosts, open_enrolment
from gateway.services.actuator import Fleet
from gateway.services.epochs import Commanded
from hardware.device import DeviceDriver, DeviceView, Lease, PowerMeter, PowerReading
from hardware.errors import Condition, HardwareError
from hardware.job import Asker, JobAction, JobDriver, JobResult, JobView, NodeView, Verb
from hardware.workloads import SimulatedJob

log = structlog.get_logger()

AGENT_ANSWER_S = 2.0
"""So long a command waits for the agent of this host."""

JOB_ANSWER_S = 45.0
"""As long where it acts on jobs: a scheduler may take its whole deadline for each call."""


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
    from hardware.fleet import AgentFleet, LocalLink

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
    from hardware.slurm.command import SlurmCommands
    from hardware.slurm.jobs import Checkpoint, SlurmJobs
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
    from hardware.fleet import AgentFleet, SocketLink
    from hardware.known_devices import KnownDevices

    links = [SocketLink(agent_paths(settings)["socket"])] if settings.of_this_host else []
    known = KnownDevices(settings.gateway.state_dir / "known-devices.jsonl") if remembers else None
    agents = settings.agents
    hosts = None if agents is None else nats_hosts(settings, agents, open_enrolment(settings, agents))
    return AgentFleet(links, hosts, known)


async def ask_fleet(
    settings: Settings,
) -> tuple[tuple[DeviceView, ...], tuple[JobView, ...], tuple[PowerReading, ...]]:
    """Devices, jobs and the latest readings as the agents tell them now. Raises ``HardwareError`` where none answers.

    Where only the readings are missing, there are none of them.
    """
    fleet = open_fleet(settings)
    try:
        await fleet.refresh()
        try:
            readings = await fleet.read()
        except HardwareError:
            readings = ()
        return tuple(fleet.devices().values()), tuple(fleet.jobs().values()), readings
    finally:
        await fleet.close()


async def ask_jobs(settings: Settings) -> tuple[tuple[JobView, ...], tuple[NodeView, ...]]:
    """The jobs and nodes of this host's agent, and what is wrong with each. Raises ``HardwareError``."""
    async with _agent_of_this_host(settings) as (_, described):
        return described.jobs, described.nodes


async def act_on_jobs(
    settings: Settings, verb: Verb, ids: Sequence[str], *, lasts_s: float, priority: int | None = None
) -> tuple[JobResult, ...]:
    """Act on jobs (or nodes) of this host's agent as the operator. Raises ``HardwareError``.

    The operator speaks under the highest epoch that the agent has heard, so that no gateway is locked out, and counts
    by the boot clock, which no other of the operator's commands on this host can have used.
    """
    from hardware.agent import boot_s
    from hardware.wire import Act, Acted

    async with _agent_of_this_host(settings) as (link, described):
        lease = Lease(epoch=described.highest_epoch, sequence=int(boot_s() * 1e9), duration_s=lasts_s)
        actions = tuple(
            JobAction(job_id=one, verb=verb, lease=lease, priority=priority, asker=Asker.OPERATOR) for one in ids
        )
        acted = await link.request(Act(actions=actions))
        if not isinstance(acted, Acted):
            raise HardwareError(f"the agent cannot act: {getattr(acted, 'detail', acted.kind)}")
        return acted.results


@asynccontextmanager
async def _agent_of_this_host(settings: Settings) -> AsyncIterator[tuple[Any, Any]]:
    """A link to the agent, and what it says of itself. Raises ``HardwareError`` where it does not answer."""
    from hardware.fleet import SocketLink
    from hardware.wire import Describe, Described

    link = SocketLink(agent_paths(settings)["socket"], timeout_s=JOB_ANSWER_S)
    try:
        described = await link.request(Describe())
        if not isinstance(described, Described):
            raise HardwareError(f"the agent does not describe itself: {getattr(described, 'detail', described.kind)}")
        yield link, described
    finally:
        await link.close()


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


async def ask_agent(path: Path) -> Any:
    """What the agent at a local socket says of itself, as ``Described``. Raises ``HardwareError``."""
    from hardware.fleet import SocketLink
    from hardware.wire import Describe

    link = SocketLink(path, timeout_s=AGENT_ANSWER_S)
    try:
        return await link.request(Describe())
    finally:
        await link.close()


async def answers(path: Path) -> bool:
    """Whether the agent at a local socket answers."""
    try:
        await ask_agent(path)
    except HardwareError:
        return False
    return True


async def open_site_meter(edges: AsyncExitStack, settings: Settings, fleet: MeteredFleet, clock: Clock) -> PowerMeter:
    """The declared site meters in order of preference, over the devices' sum; ``edges`` closes their connections.

    Where none is declared a simulated site brings its own, and elsewhere the devices are summed.
    """
    from hardware.device_sum import DeviceSum, EstimatedMeter
    from hardware.meter_watch import Plausible
    from hardware.site_meter import FailoverMeter, SiteAndDevices, Source

    local = settings.fleets[0] if settings.fleets and settings.agents is None else None
    if not settings.meters and isinstance(local, SimulatedSettings):
        return fleet
    devices = DeviceSum(
        devices=fleet,
        expected=lambda: [view.device_id for view in fleet.devices().values() if draws(view)],
        site_meter_id=SITE_METER_ID,
        now=clock.now,
    )
    if not settings.meters:
        return SiteAndDevices(devices=devices, site=EstimatedMeter(meter_id=SITE_METER_ID, devices=devices))
    sources = [
        Source(
            name=meter.name,
            meter=await open_meter(edges, meter, clock),
            plausible=Plausible(
                min_w=meter.min_kw * 1000.0,
                max_w=math.inf if meter.max_kw is None else meter.max_kw * 1000.0,
                stale_after_s=meter.stale_after_s,
                stuck_after_s=meter.stuck_after_s,
            ),
        )
        for meter in settings.meters
    ]
    overhead = settings.site.overhead
    if overhead is not None and overhead.estimate:
        guess = EstimatedMeter(
            meter_id=SITE_METER_ID,
            devices=devices,
            overhead_w=500.0 * (overhead.min_kw + overhead.max_kw),
            overhead_fraction=0.5 * (overhead.min_fraction + overhead.max_fraction),
        )
        sources.append(Source(name="sum of devices", meter=guess, estimate=True))
    site = FailoverMeter(
        meter_id=SITE_METER_ID,
        sources=sources,
        now=clock.now,
        devices=devices,
        overhead=None if overhead is None else _overhead_range(overhead),
        on_change=lambda part, reason: log.warning("meter_changed", part=part, reason=reason),
    )
    return SiteAndDevices(devices=devices, site=site)


def draws(view: DeviceView) -> bool:
    """Whether a device counts: one that is lost draws nothing, one whose agent is away draws on unseen."""
    return view.present or (view.fault is not None and view.fault.condition is Condition.SILENT)


def _overhead_range(overhead: OverheadSettings) -> Any:
    from hardware.device_sum import OverheadRange

    return OverheadRange(
        min_w=overhead.min_kw * 1000.0,
        max_w=overhead.max_kw * 1000.0,
        min_fraction=overhead.min_fraction,
        max_fraction=overhead.max_fraction,
    )


async def open_meter(edges: AsyncExitStack, meter: ModbusSettings | PrometheusSettings, clock: Clock) -> PowerMeter:
    """One meter; ``edges`` closes its connection."""
    import aiohttp

    from hardware.modbus_meter import ModbusMeter
    from hardware.prometheus_meter import ExporterMeter, QueryMeter, Series

    if isinstance(meter, ModbusSettings):
        modbus = ModbusMeter(
            meter_id=meter.name,
            host=meter.host,
            port=meter.port,
            unit_id=meter.unit_id,
            registers=register_map(meter),
            now=clock.now,
            timeout_s=meter.timeout_s,
        )
        edges.callback(modbus.close)
        return modbus
    session = await edges.enter_async_context(aiohttp.ClientSession())
    series = Series(
        metric=meter.metric,
        labels=meter.labels,
        scale=meter.scale,
        expected=meter.expected,
        once_by=meter.once_by,
    )
    if meter.server is None:
        return ExporterMeter(
            meter_id=meter.name,
            urls=meter.urls,
            series=series,
            session=session,
            now=clock.now,
            timeout_s=meter.timeout_s,
        )
    return QueryMeter(
        meter_id=meter.name,
        url=meter.server,
        series=series,
        session=session,
        query=meter.query,
        window_s=meter.window_s,
        timeout_s=meter.timeout_s,
    )


def register_map(meter: ModbusSettings) -> Any:
    """The registers of a Modbus meter. Raises ``ValueError`` for ones that cannot be."""
    from hardware.register_map import SHIPPED, Kind, Register, RegisterMap, Table, WordOrder

    def register(one: RegisterSettings) -> Register:
        return Register(
            address=one.address,
            kind=Kind(one.kind),
            scale=one.scale,
            words=WordOrder(one.words),
            table=Table(one.table),
            exponent_at=one.exponent_at,
        )

    if meter.power is None:
        return SHIPPED[str(meter.map)].moved(meter.map_offset)
    return RegisterMap(
        power=register(meter.power),
        energy=None if meter.energy is None else register(meter.energy),
        energy_wraps_at=meter.energy_wraps_at,
    )
