"""The gateway that is played with: started, ended as an operator would, or killed, on one record and one fleet."""

import asyncio
from contextlib import AsyncExitStack
from pathlib import Path

from gateway import app
from gateway.clock import Clock
from gateway.config import Settings, settings_from
from gateway.ledger import Ledger, Topic
from gateway.services.dispatch import Dispatch
from gateway.services.joint_plan import JointPlan
from gateway.services.readiness import Readiness
from gateway.simulation.planning import PATIENCE_S, PlanHere
from gateway.simulation.scenario import SITE_ID, Scenario
from gateway.simulation.site import PlayedSite
from gateway.site_meters import over_devices
from gateway.stages import Edges, build_services, run_services

CONNECTION_ID = "simulated-utility"
PROGRAM_ID = "simulated-program"

FLUSH_S = 60.0
"""How long readings stay in memory. Virtual time loses nothing by it, and the disk has less to do."""


class GatewayLife:
    """One gateway at a time. ``ledger`` is its record while it runs; ``plans_changed`` is set at every new plan."""

    def __init__(
        self, scenario: Scenario, *, site: PlayedSite, vtn: app.BuiltInVtn, clock: Clock, folder: Path
    ) -> None:
        self.url = f"sqlite+aiosqlite:///{folder}/site.db"
        self.ledger: Ledger | None = None
        self.plans_changed = asyncio.Event()
        self.told_of_the_meter: list[tuple[float, str, str | None]] = []
        """When, in seconds of the scenario, which part of the site's metering changed, and what is wrong with it."""
        self._scenario = scenario
        self._settings = settings_of(scenario)
        self._dispatch: Dispatch | None = None
        # Over time that is skipped there would be a report a minute, of nothing.
        self._reports = scenario.around_events_s is None
        self._site = site
        self._vtn = vtn
        self._clock = clock
        self._record_edge = AsyncExitStack()
        self._actuator_edge = AsyncExitStack()
        self._stop = asyncio.Event()
        self._running: asyncio.Task[None] | None = None

    async def start(self, group: asyncio.TaskGroup) -> None:
        """Start it as a task of the group: a bug in a service ends the group. Call it from tended work."""
        record = await self._record_edge.enter_async_context(app.open_record(self.url, migrate=True))
        site = self._settings.site.site()
        fleet = self._site.reached()
        actuator = await app.open_actuator(
            self._actuator_edge, record.ledger, fleet, self._clock, self._settings, act_wait_s=PATIENCE_S
        )
        stages = build_services(
            Edges(
                record=record,
                fleet=fleet,
                actuator=actuator,
                meter=over_devices(
                    [(self._scenario.meter, self._site.meter)],
                    self._settings.site.overhead,
                    fleet,
                    self._clock,
                    tell=self._hear,
                ),
                connections=[app.joined_ven(CONNECTION_ID, self._vtn, record.parties, site, reports=self._reports)],
            ),
            site=site,
            programs=self._settings.programs(),
            clock=self._clock,
            readiness=Readiness(),
            flush_s=FLUSH_S,
            keep_devices=False,
            joint=JointPlan(PlanHere(), wait_s=PATIENCE_S),
        )
        self._dispatch = next(
            service for stage in stages for service in stage.values() if isinstance(service, Dispatch)
        )
        self.ledger = record.ledger
        self.plans_changed = record.ledger.subscribe(Topic.PLANS)
        self.plans_changed.set()
        self._stop = asyncio.Event()
        self._running = group.create_task(run_services(stages, self._clock, self._stop))
        # So that its services are among those that time waits for, before whoever called waits.
        await asyncio.sleep(0)

    async def kill(self) -> None:
        """End it at once: nothing is put back, nobody is told. Readings are kept, as if flushed every second."""
        if self._running is not None:
            self._running.cancel()
            await asyncio.wait([self._running])
        self._actuator_edge.pop_all()
        await self._close()

    async def end(self) -> None:
        """Stop it gracefully."""
        self._stop.set()
        if self._running is not None:
            await asyncio.wait([self._running])
        await self._actuator_edge.aclose()
        await self._close()

    @property
    def mode(self) -> str:
        """What control stands on, by its ``ControlMode``; empty while no gateway runs."""
        return "" if self._dispatch is None else str(self._dispatch.mode)

    def _hear(self, part: str, reason: str | None) -> None:
        time_s = (self._clock.now() - self._scenario.zero).total_seconds()
        self.told_of_the_meter.append((time_s, part, reason))

    async def _close(self) -> None:
        self.ledger = self._dispatch = None
        self._running = None
        await self._record_edge.aclose()


def settings_of(scenario: Scenario) -> Settings:
    """The settings of the gateway that is played with."""
    declared = {
        "site": {
            "id": SITE_ID,
            "timezone": scenario.timezone,
            "interval_s": scenario.interval_s,
            **scenario.site.model_dump(),
        },
        "program": [
            {
                "id": PROGRAM_ID,
                "baseline": scenario.program.baseline,
                "price_per_kwh": scenario.program.price_per_kwh,
                "currency": scenario.program.currency,
                "contract": None if scenario.program.contract is None else scenario.program.contract.model_dump(),
            }
        ],
    }
    return settings_from(declared, source="scenario")
