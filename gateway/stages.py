"""The services over open edges: built and run together, and stopped one stage after another."""

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

import structlog

from gateway.attach import MeteredFleet
from gateway.clock import Clock
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Program
from gateway.domain.control import DEFAULTS, ControlSettings
from gateway.domain.fleet import Site
from gateway.domain.site_verification import SiteBelow
from gateway.evidence_store import EvidenceStore
from gateway.ledger import Ledger
from gateway.services.actuator import Actuator
from gateway.services.dispatch import Dispatch
from gateway.services.intake import Intake
from gateway.services.joint_plan import JointPlan
from gateway.services.metering import FLUSH_S, Metering
from gateway.services.offering import Offering
from gateway.services.operating import Operating
from gateway.services.opting import Opting
from gateway.services.readiness import Readiness
from gateway.services.reporting import Reporting
from gateway.services.settling import Settling
from gateway.services.standing import Standing
from gateway.services.within_reach import BELIEVED, Believed
from hardware.device import PowerMeter
from protocols.grid import GridConnection
from protocols.object_store import ObjectStore
from protocols.party_store import PartyStore
from protocols.replay import NonceStore

log = structlog.get_logger()

STAGE_DEADLINE_S = 4.0
"""How long one stage of services may take to stop; four stages fit into the 15 s of a graceful stop."""


class Service(Protocol):
    """Whatever runs until it is told to stop."""

    async def run(self, stop: asyncio.Event) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """One database: the ledger, the log that proves it, and what dialects keep: parties, stamps, objects."""

    ledger: Ledger
    evidence: EvidenceStore
    parties: PartyStore
    nonces: NonceStore
    objects: ObjectStore


@dataclass(frozen=True, slots=True, kw_only=True)
class Edges:
    """Everything open that the services work with."""

    record: Record
    fleet: MeteredFleet
    actuator: Actuator
    meter: PowerMeter
    connections: Sequence[GridConnection]


Stages = Sequence[Mapping[str, Service]]
"""Named services in the order in which they stop, stage by stage."""


def build_services(
    edges: Edges,
    *,
    site: Site,
    programs: Mapping[str, Program],
    clock: Clock,
    readiness: Readiness,
    flush_s: float = FLUSH_S,
    keep_devices: bool = True,
    offering: Offering | None = None,
    joint: JointPlan | None = None,
    loop: ControlSettings = DEFAULTS,
    believed: Believed = BELIEVED,
    below: Callable[[], Sequence[SiteBelow]] = tuple,
) -> Stages:
    """The services over open edges, in the order in which they stop: no new work, caps back, reports out.

    Without ``keep_devices`` device readings serve control and are not stored. ``offering`` is one that the caller reads
    from, too; without it nobody does, no curves are learnt, and no thread is begun, as virtual time wants it. ``joint``
    plans for all events together; without it the heuristic does, in this very process. ``below`` are
    the sites below us, whose verifications are added up where a program says so.
    """
    ledger = edges.record.ledger
    intakes = {
        f"intake {connection.connection_id}": Intake(
            connection=connection,
            ledger=ledger,
            clock=clock,
            programs=programs,
            readiness=readiness,
            zone=site.timezone,
            site_id=site.site_id,
        )
        for connection in edges.connections
    }
    offering = offering or Offering(
        fleet=edges.fleet,
        site=site,
        ledger=ledger,
        clock=clock,
        actuator=edges.actuator,
        readiness=readiness,
        in_thread=False,
    )
    dispatch = Dispatch(
        fleet=edges.fleet,
        site=site,
        programs=programs,
        ledger=ledger,
        clock=clock,
        actuator=edges.actuator,
        readiness=readiness,
        joint=joint,
        curves=offering.curves,
        control=loop,
        demand=offering,
        believed=believed,
    )
    settling = Settling(
        site=site,
        programs=programs,
        rules=shipped_rules(),
        ledger=ledger,
        clock=clock,
        readiness=readiness,
        below=below,
    )
    standing = Standing(site=site, ledger=ledger, dispatch=dispatch, capability=lambda: offering.latest, now=clock.now)
    reporting = {
        f"reporting {connection.connection_id}": Reporting(
            connection=connection,
            site=site,
            ledger=ledger,
            clock=clock,
            readiness=readiness,
            state=standing.state,
            available_w=standing.available_w,
            available_in=standing.available_in,
        )
        for connection in edges.connections
    }
    metering = Metering(
        meter=edges.meter,
        site=site,
        ledger=ledger,
        clock=clock,
        readiness=readiness,
        flush_s=flush_s,
        keep_devices=keep_devices,
    )
    operating = Operating(programs=programs, ledger=ledger, clock=clock, readiness=readiness)
    opting = Opting(connections=edges.connections, programs=programs, ledger=ledger, clock=clock, readiness=readiness)
    return (
        {"operating": operating, "opting": opting, **intakes},
        {"dispatch": dispatch, "capability": offering},
        {"settling": settling, **reporting},
        {"metering": metering},
    )


async def run_services(stages: Stages, clock: Clock, stop: asyncio.Event) -> None:
    """Run all services; at ``stop`` end them stage by stage. A service that ends by a bug ends all of them."""
    async with asyncio.TaskGroup() as group:
        running: list[tuple[asyncio.Event, list[asyncio.Task[None]]]] = []
        for stage in stages:
            stage_stop = asyncio.Event()
            tasks = [
                group.create_task(clock.tend(service.run(stage_stop)), name=name) for name, service in stage.items()
            ]
            running.append((stage_stop, tasks))
        await stop.wait()
        log.info("stopping")
        for stage_stop, tasks in running:
            stage_stop.set()
            if not tasks:
                continue
            _, late = await asyncio.wait(tasks, timeout=STAGE_DEADLINE_S)
            for task in late:
                log.warning("stopped_late", service=task.get_name())
                task.cancel()
