"""Everything that plays in the demonstration, opened and joined."""

from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path
from uuid import uuid4

from gateway import app
from gateway.attach import MeteredFleet, in_process_fleet
from gateway.clock import Clock
from gateway.config import Settings, settings_from
from gateway.demo.history import seed_history
from gateway.demo.utility import Schedule, Utility
from gateway.services.actuator import ACT_WAIT_S, Actuator
from gateway.services.offering import Offering
from gateway.services.readiness import Readiness
from gateway.stages import Edges, Record, Stages, build_services
from protocols.grid import GridConnection

PROGRAM_ID = "demo-peak"
CONNECTION_ID = "demo-utility"

SETTINGS = {
    "site": {"id": "demo-site", "timezone": "America/Phoenix", "interval_s": 60},
    "program": [
        {
            "id": PROGRAM_ID,
            "levels": {1: 0.10, 2: 0.25, 3: 0.40},
            "baseline": "caiso-10-in-10",
            "price_per_kwh": "0.75",
        }
    ],
    "hardware": [{"kind": "simulated", "hosts": 8, "devices_per_host": 8, "seed": 7}],
}

PATIENCE_S = 60.0
"""So long virtual time stands still for what takes real time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """What is open: the gateway's record, its fleet, and the utility's VTN on a record of its own."""

    settings: Settings
    clock: Clock
    record: Record
    fleet: MeteredFleet
    vtn: app.BuiltInVtn
    readiness: Readiness
    actuator: Actuator
    offering: Offering

    def stages(self, connection: GridConnection, schedule: Schedule, flush_s: float = 1.0) -> Stages:
        """The utility and the gateway's services over one connection."""
        services = build_services(
            Edges(
                record=self.record,
                fleet=self.fleet,
                actuator=self.actuator,
                meter=self.fleet,
                connections=[connection],
            ),
            offering=self.offering,
            site=self.settings.site.site(),
            programs=self.settings.programs(),
            clock=self.clock,
            readiness=self.readiness,
            flush_s=flush_s,
        )
        utility = Utility(program=self.vtn, program_id=PROGRAM_ID, schedule=schedule, clock=self.clock)
        return {"utility": utility}, *services


async def set_stage(
    edges: AsyncExitStack,
    clock: Clock,
    folder: Path,
    *,
    new_id: Callable[[], str] = lambda: uuid4().hex,
    virtual: bool = False,
) -> Stage:
    """Open everything, with both records in ``folder``; ``edges`` closes it, caps first.

    ``new_id`` names the utility's messages, whose digests stand on the statement. In ``virtual`` time whatever takes
    real time is waited for, so that a busy machine plays the same event.
    """
    settings = settings_from(SETTINGS, source="demo")
    record = await edges.enter_async_context(app.open_record(f"sqlite+aiosqlite:///{folder}/site.db", migrate=True))
    theirs = await edges.enter_async_context(app.open_record(f"sqlite+aiosqlite:///{folder}/utility.db", migrate=True))
    fleet = in_process_fleet(settings.fleets[0], clock)
    await seed_history(record.ledger, fleet, settings.site.site(), clock.now())
    act_wait_s = PATIENCE_S if virtual else ACT_WAIT_S
    actuator = await app.open_actuator(edges, record.ledger, fleet, clock, settings, act_wait_s=act_wait_s)
    readiness = Readiness()
    return Stage(
        settings=settings,
        clock=clock,
        record=record,
        fleet=fleet,
        vtn=app.built_in_vtn(CONNECTION_ID, theirs.parties, clock, new_id=new_id),
        readiness=readiness,
        actuator=actuator,
        offering=Offering(
            fleet=fleet,
            site=settings.site.site(),
            ledger=record.ledger,
            clock=clock,
            actuator=actuator,
            readiness=readiness,
            in_thread=not virtual,
        ),
    )
