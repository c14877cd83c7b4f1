"""The site as it is served, over a real ledger, at an instant that the test chooses."""

from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from aiohttp import ClientResponse
from aiohttp.test_utils import TestClient, TestServer

from gateway.app import decode_message
from gateway.domain.capability import Capability
from gateway.domain.contract import Program
from gateway.domain.fleet import Site
from gateway.domain.plan import PlanInterval, PowerPlan
from gateway.http.site import make_site
from gateway.ledger import Ledger
from gateway.storage.sql_ledger import open_ledger
from hardware.device import CapRange, DeviceView, PowerReading
from hardware.job import JobView
from protocols.grid import EventInterval, EventStatus, GridEvent, Opt, OptDecision, Signal, SignalKind

NOON = datetime(2026, 7, 14, 19, 0, tzinfo=UTC)
"""Noon of a Tuesday in Phoenix."""


def _event(**changes: Any) -> GridEvent:
    """An event of an hour from 16:00 local time that limits the site to 75 kW, but for the changes."""
    values: dict[str, Any] = {
        "event_id": "evt-1",
        "connection_id": "ven-1",
        "program_id": "srp-peak",
        "revision": 0,
        "status": EventStatus.FAR,
        "created_at": NOON,
        "starts_at": NOON + timedelta(hours=4),
        "duration_s": 3600.0,
        **changes,
    }
    kind = values.pop("kind", SignalKind.LIMIT)
    steps = values.pop("values", (75_000.0,))
    step_s = (values["duration_s"] or 3600.0) / max(1, len(steps))
    intervals = tuple(
        EventInterval(starts_at=values["starts_at"] + timedelta(seconds=place * step_s), duration_s=step_s, value=value)
        for place, value in enumerate(steps)
    )
    values.setdefault("signals", (Signal(name="LOAD_DISPATCH", kind=kind, intervals=intervals, currency="USD"),))
    return GridEvent(**values)


def _plan(event: GridEvent, target_w: float, baseline_w: float, shortfall_w: float = 0.0) -> PowerPlan:
    """A plan that holds one target for the whole event."""
    interval = PlanInterval(starts_at=event.starts_at, ends_at=event.ends_at, start_w=target_w, end_w=target_w)
    return PowerPlan(
        connection_id=event.connection_id,
        event_id=event.event_id,
        revision=event.revision,
        made_at=event.starts_at,
        baseline_w=baseline_w,
        intervals=(interval,),
        paused_job_ids=(),
        expected_w=target_w,
        shortfall_w=shortfall_w,
        reason="a test's plan",
    )


def _device(device_id: str, *, host_id: str = "node-1", limit_w: float = 700.0, present: bool = True) -> DeviceView:
    """A device of 200 to 700 W."""
    return DeviceView(
        device_id=device_id,
        host_id=host_id,
        model="H100",
        cap_range=CapRange(min_w=200.0, default_w=700.0, max_w=700.0),
        limit_w=limit_w,
        present=present,
    )


@dataclass
class Stage:
    """The served site; what a test changes here is what the pages show."""

    ledger: Ledger
    at: datetime = NOON
    parts: dict[str, str | None] = field(default_factory=lambda: {"meter": None, "ledger": None})
    devices: dict[str, DeviceView] = field(default_factory=dict)
    jobs: dict[str, JobView] = field(default_factory=dict)
    program: Program = field(default_factory=lambda: Program(program_id="srp-peak", levels={1: 0.10, 2: 0.25, 3: 0.40}))
    capability: Capability | None = None
    ready: bool = True
    client: Any = None

    async def get(self, path: str, **arguments: Any) -> ClientResponse:
        response: ClientResponse = await self.client.get(path, **arguments)
        return response

    async def now(self) -> Any:
        """``/api/now``."""
        response = await self.get("/api/now")
        assert response.status == 200
        return await response.json()

    async def page(self) -> str:
        """The front page."""
        response = await self.get("/")
        assert response.status == 200
        return await response.text()

    async def receive(self, event: GridEvent, opt: Opt | None = Opt.IN, *, told: bool = True, **why: Any) -> None:
        """Take an event in, answer it, and tell the grid."""
        await self.ledger.record_event(event, self.at)
        if opt is None:
            return
        await self.ledger.record_decision(
            OptDecision(
                connection_id=event.connection_id,
                event_id=event.event_id,
                revision=event.revision,
                opt=opt,
                decided_at=self.at,
                **why,
            )
        )
        if told:
            await self.ledger.record_acknowledged(event.connection_id, event.event_id, event.revision, self.at)

    def measure(self, power_w: float, age_s: float = 0.0, meter_id: str = "site") -> None:
        """A reading of so long ago."""
        measured_at = self.at - timedelta(seconds=age_s)
        self.ledger.publish([PowerReading(meter_id=meter_id, power_w=power_w, measured_at=measured_at)])


@pytest.fixture
async def stage(tmp_path: Path) -> AsyncIterator[Stage]:
    """The site over HTTP on loopback."""
    async with open_ledger(f"sqlite+aiosqlite:///{tmp_path / 'ledger.db'}", migrate=True) as ledger:
        stage = Stage(ledger)
        application = make_site(
            ledger=ledger,
            site=Site(site_id="phx-1", timezone=ZoneInfo("America/Phoenix"), meter_id="site", import_limit_w=120_000.0),
            programs={stage.program.program_id: stage.program},
            now=lambda: stage.at,
            parts=lambda: stage.parts,
            ready=lambda: stage.ready,
            devices=lambda: stage.devices,
            jobs=lambda: stage.jobs,
            capability=lambda: stage.capability,
            version="1.2.3",
            connections=["utility", "below"],
            describe=decode_message,
        )
        async with TestClient(TestServer(application)) as client:
            stage.client = client
            yield stage


@pytest.fixture
def make_event() -> Callable[..., GridEvent]:
    return _event


@pytest.fixture
def make_plan() -> Callable[..., PowerPlan]:
    return _plan


@pytest.fixture
def make_device() -> Callable[..., DeviceView]:
    return _device
