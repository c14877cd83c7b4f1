"""``gridgate serve``: everything that is declared, opened, run and closed in the right order."""

import gc
import sys
from contextlib import AsyncExitStack
from dataclasses import replace
from datetime import timedelta
from functools import partial
from pathlib import Path

import structlog

from gateway.app import open_actuator, open_archive, open_evidencing, open_record, pages
from gateway.asking import answers
from gateway.attach import ClosableFleet, agent_paths, open_fleet
from gateway.clock import Clock, SystemClock
from gateway.config import AgentsSettings, Settings, Ven3Settings
from gateway.connections import Connected, open_connections
from gateway.downstream import DownstreamSites, SiteBelow
from gateway.host_agent import stop_on_signals
from gateway.joining import Certificates, open_enrolment
from gateway.listening import listening
from gateway.services.archiving import Archiving
from gateway.services.delivering import Delivering, Delivers
from gateway.services.following import Following, Follows
from gateway.services.issuing import Issuing
from gateway.services.joint_plan import JointPlan
from gateway.services.learned_curves import LearnedCurves
from gateway.services.local_agent import LocalAgent
from gateway.services.offering import Offering
from gateway.services.planner import Planner
from gateway.services.readiness import Readiness
from gateway.services.within_reach import BELIEVED, Believed
from gateway.site_meters import open_site_meter
from gateway.stages import Edges, Record, Service, Stages, build_services, run_services
from hardware.device import Quality
from hardware.errors import HardwareError

log = structlog.get_logger()

BELIEVED_OF_SITES = Believed(
    stale_after=timedelta(seconds=30), qualities=frozenset({Quality.GOOD, Quality.ESTIMATED}), whole=True
)
"""Sites report every few seconds; of one that is silent we know only what it usually draws, and go by that."""

SLOWER = {"integral_per_s": 0.03, "urgent_per_s": 0.06, "deadband_fraction": 0.005}
"""Of the control loop over sites: they hold their limits by themselves, seconds late, and show it seconds later."""


async def serve(settings: Settings, *, config_path: Path) -> None:
    """The service. Returns after a graceful stop; a bug leaves as an exception group."""
    clock = SystemClock()
    stop = stop_on_signals()
    readiness = Readiness()
    settings.gateway.state_dir.mkdir(parents=True, exist_ok=True)
    async with AsyncExitStack() as edges:
        record = await edges.enter_async_context(open_record(settings.gateway.database, migrate=True))
        last = await _beside(edges, settings, config_path, clock)
        connected = await open_connections(edges, settings, record, clock)
        fleet = reach(settings, connected, clock)
        edges.push_async_callback(fleet.close)
        stages: Stages = ()
        offering: Offering | None = None
        if settings.has_devices:
            # A utility's gateway has nothing to cap or to measure: it only asks.
            stages, offering = await _control(
                edges, settings, record=record, fleet=fleet, connected=connected, clock=clock, readiness=readiness
            )
        if settings.agents is not None or connected.programs:
            # What is known of the fleet stays: it is not to be searched through while ten thousand answers come in,
            # nor often while a large report is read, whose thousands of parts go by themselves.
            gc.freeze()
            gc.set_threshold(10_000, 10, 10)
        last |= _conversations(settings, record, connected, clock, readiness)
        last |= _archiving(settings, record, clock, readiness)
        last["evidence"] = await open_evidencing(edges, settings, record.evidence, clock=clock, readiness=readiness)
        application = pages(
            record.ledger,
            settings,
            clock=clock,
            readiness=readiness,
            fleet=fleet,
            capability=lambda: None if offering is None else offering.latest,
            stop=stop,
            heads=record.evidence.heads,
            evidence=record.evidence,
        )
        await edges.enter_async_context(listening(application, settings.gateway.listen))
        await run_services((*stages, last), clock, stop)


async def _beside(edges: AsyncExitStack, settings: Settings, config_path: Path, clock: Clock) -> dict[str, Service]:
    """What stands beside the gateway: this host's own agent, and where other hosts enrol."""
    last: dict[str, Service] = {}
    if settings.of_this_host:
        socket = agent_paths(settings)["socket"]
        command = [sys.executable, "-m", "gateway", "agent", "--config", str(config_path), "--lifeline"]
        agent = LocalAgent(command=command, socket=socket, clock=clock, ready=partial(answers, socket))
        await agent.ensure()
        edges.push_async_callback(agent.end)
        last["local agent"] = agent
    if settings.agents is not None:
        last["certificates"] = await open_enrolment_listener(edges, settings, settings.agents, clock)
    return last


async def _control(
    edges: AsyncExitStack,
    settings: Settings,
    *,
    record: Record,
    fleet: ClosableFleet,
    connected: Connected,
    clock: Clock,
    readiness: Readiness,
) -> tuple[Stages, Offering]:
    """The services that measure, plan, cap, report and settle."""
    site = settings.site.site()
    actuator = await open_actuator(edges, record.ledger, fleet, clock, settings)
    offering = Offering(
        fleet=fleet,
        site=site,
        ledger=record.ledger,
        clock=clock,
        actuator=actuator,
        readiness=readiness,
        curves=LearnedCurves() if settings.control.learn_curves else None,
    )
    stages = build_services(
        Edges(
            record=record,
            fleet=fleet,
            actuator=actuator,
            meter=await open_site_meter(edges, settings, fleet, clock),
            connections=connected.vens,
        ),
        site=site,
        programs=settings.programs(),
        clock=clock,
        readiness=readiness,
        offering=offering,
        joint=JointPlan(Planner()),
        loop=settings.control.loop() if settings.sites is None else replace(settings.control.loop(), **SLOWER),
        believed=BELIEVED if settings.sites is None else BELIEVED_OF_SITES,
        below=fleet.below if isinstance(fleet, DownstreamSites) else tuple,
    )
    return stages, offering


def _conversations(
    settings: Settings, record: Record, connected: Connected, clock: Clock, readiness: Readiness
) -> dict[str, Service]:
    """What goes on over connections beside intake and reports: events of our own, pushes, brokers."""
    last: dict[str, Service] = {}
    if connected.programs:
        last["issuing"] = Issuing(programs=connected.programs, ledger=record.ledger, clock=clock, readiness=readiness)
        last["delivering"] = Delivering(
            programs=[program for program in connected.programs.values() if isinstance(program, Delivers)],
            clock=clock,
            readiness=readiness,
        )
    with_a_broker = {one.name for one in settings.vens if isinstance(one, Ven3Settings) and one.mqtt}
    followed = [one for one in connected.vens if isinstance(one, Follows) and one.connection_id in with_a_broker]
    if followed:
        last["following"] = Following(connections=followed, clock=clock, readiness=readiness)
    return last


def _archiving(settings: Settings, record: Record, clock: Clock, readiness: Readiness) -> dict[str, Service]:
    archive = open_archive(settings)
    if archive is None or settings.archive is None:
        return {}
    service = Archiving(
        archive=archive,
        site=settings.site.site(),
        ledger=record.ledger,
        clock=clock,
        readiness=readiness,
        open_days=settings.archive.open_days,
    )
    return {"archiving": service}


def reach(settings: Settings, connected: Connected, clock: Clock) -> ClosableFleet:
    """What is commanded: devices behind agents, or the sites below us."""
    if settings.sites is None:
        return open_fleet(settings, remembers=True)
    below = settings.sites
    return DownstreamSites(
        [
            SiteBelow(
                party=site.party,
                program=connected.programs[site.connection],
                min_w=1000.0 * site.min_kw,
                max_w=1000.0 * site.max_kw,
            )
            for site in below.site
        ],
        program_id=below.program,
        clock=clock,
        hold_s=below.hold_s,
        least_gap_s=below.least_gap_s,
        silent_after_s=below.silent_after_s,
    )


async def open_enrolment_listener(
    edges: AsyncExitStack, settings: Settings, agents: AgentsSettings, clock: Clock
) -> Certificates:
    """The fleet's certificates, kept; and where hosts enrol, if the settings say so.

    Raises ``HardwareError``, and ``OSError`` where the folder or the address cannot be used.
    """
    certificates = Certificates(
        settings=settings, agents=agents, enrolment=open_enrolment(settings, agents), clock=clock
    )
    try:
        await certificates.keep()
    except HardwareError as fault:
        log.warning("certificates_not_kept", reason=str(fault))
    if agents.enrol_listen is not None:
        context = certificates.listener_context()
        application = certificates.listener(settings)
        await edges.enter_async_context(listening(application, agents.enrol_listen, tls=context))
    return certificates
