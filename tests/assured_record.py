"""Records of real sites with one settled event each: a building of 15-minute intervals, and a cluster of 256 GPUs."""

import asyncio
import csv
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from pathlib import Path
from zoneinfo import ZoneInfo

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Program
from gateway.domain.fleet import Site
from gateway.domain.measurement import IntervalEnergy, integrate, slices
from gateway.domain.settlement import SettlementStatement, settle
from gateway.domain.verification import verify_event
from gateway.domain.work_account import WorkAccount
from gateway.ledger import Ledger
from gateway.services.settling import gather_inputs
from gateway.storage.sql_ledger import open_ledger
from hardware.device import PowerReading
from protocols.grid import EventInterval, EventStatus, GridEvent, Opt, OptDecision, Signal, SignalKind

PACIFIC = ZoneInfo("America/Los_Angeles")
BUILDING = Site(site_id="building", timezone=PACIFIC, meter_id="site", interval_s=900)
BUILDING_START = datetime(2013, 9, 23, 14, tzinfo=PACIFIC)
BUILDING_END = BUILDING_START + timedelta(hours=2)
BUILDING_ID = "building-utility-peak-1-r0"

CLUSTER = Site(site_id="cluster", timezone=ZoneInfo("America/Phoenix"), meter_id="site", interval_s=300)
CLUSTER_START = datetime.fromisoformat("2025-05-04T16:15-07:00")
CLUSTER_END = CLUSTER_START + timedelta(hours=3)
CLUSTER_ID = "cluster-utility-peak-1-r0"
GPUS = tuple(f"node-{number // 64}/gpu-{number % 64:02d}" for number in range(256))
_OF_THE_METER = 0.82
"""Ours, for want of telemetry of each GPU: so much of the cluster's power its GPUs draw, all alike."""


def program(rule: str) -> Program:
    return Program(program_id="peak", baseline_rule=rule, price_per_kwh=Decimal("0.75"))


def peak(starts_at: datetime, ends_at: datetime, *, event_id: str = "peak-1", ramp_up_s: float = 0.0) -> GridEvent:
    length_s = (ends_at - starts_at).total_seconds()
    step = EventInterval(starts_at=starts_at, duration_s=length_s, value=70_000.0)
    return GridEvent(
        event_id=event_id,
        connection_id="utility",
        program_id="peak",
        revision=0,
        status=EventStatus.FAR,
        created_at=starts_at - timedelta(hours=1),
        starts_at=starts_at,
        duration_s=length_s,
        ramp_up_s=ramp_up_s,
        signals=(Signal(name="LOAD_DISPATCH", kind=SignalKind.LIMIT, intervals=(step,)),),
    )


async def take(ledger: Ledger, event: GridEvent) -> None:
    """We are told an hour before the start, and take part."""
    await ledger.record_event(event, event.created_at)
    decision = OptDecision(
        connection_id=event.connection_id,
        event_id=event.event_id,
        revision=event.revision,
        opt=Opt.IN,
        decided_at=event.created_at,
    )
    await ledger.record_decision(decision)


async def settled(
    ledger: Ledger, site: Site, rule: str, statement_id: str, *, event_id: str = "peak-1"
) -> SettlementStatement:
    """The event's statement, on record."""
    record = await ledger.event("utility", event_id)
    assert record is not None
    inputs = await gather_inputs(ledger, site, record, shipped_rules()[rule])
    at = inputs.event_end + timedelta(seconds=5)
    verified = verify_event(inputs, verified_at=at)
    await ledger.record_verified(verified)
    statement = settle(verified, program=program(rule), site_id=site.site_id, statement_id=statement_id, issued_at=at)
    await ledger.record_statement(statement)
    return statement


async def record_building(
    ledger: Ledger, shared: Path, *, rule: str = "caiso-10-in-10", quarters: float = 8.0
) -> SettlementStatement:
    """Two months of a building, and an event of so many quarters of an hour by a rule of ten days."""
    with (shared / "data/load/test_kw.csv").open(newline="") as file:
        load = [
            (datetime.fromisoformat(at).replace(tzinfo=PACIFIC).astimezone(UTC), 1000.0 * float(text))
            for at, text in csv.reader(file)
            if text != "nan"
        ]
    await ledger.record_energy(
        BUILDING.meter_id,
        [
            IntervalEnergy(starts_at=at, duration_s=900.0, energy_wh=power_w / 4, coverage_fraction=1.0)
            for at, power_w in load
        ],
    )
    near = [(at, power_w) for at, power_w in load if abs(at - BUILDING_START) < timedelta(hours=12)]
    await read(ledger, [(at + minute * timedelta(minutes=1), w) for at, w in near for minute in range(15)])
    await take(ledger, peak(BUILDING_START, BUILDING_START + timedelta(minutes=15 * quarters)))
    return await settled(ledger, BUILDING, rule, BUILDING_ID)


async def record_cluster(
    ledger: Ledger, shared: Path, *, devices: bool = True, silent_from: datetime | None = None
) -> SettlementStatement:
    """An afternoon of the cluster with its event of three hours, by the quarter of an hour before its ramp.

    Its first GPU says nothing any more from ``silent_from`` on.
    """
    with (shared / "data/gpu/emerald/SRP_total_power.csv").open(newline="") as file:
        load = [
            (datetime.fromisoformat(row["timestamp"]).astimezone(UTC), float(row["total"]))
            for row in csv.DictReader(file)
        ]
    await read(ledger, load)
    readings = [PowerReading(meter_id=CLUSTER.meter_id, power_w=w, measured_at=at) for at, w in load]
    first, last = load[0][0], load[-1][0]
    await ledger.record_energy(CLUSTER.meter_id, integrate(readings, slices(first, last, CLUSTER.interval_s)))
    if devices:
        for place, gpu in enumerate(GPUS):
            until = silent_from or last if place == 0 else last
            await read(ledger, [(at, _OF_THE_METER * w / len(GPUS)) for at, w in load if at < until], meter_id=gpu)
    ramp = CLUSTER_START - timedelta(minutes=15)
    job = WorkAccount(
        job_id="finetune",
        since=ramp,
        asked_since=ramp,
        at=CLUSTER_END,
        lost_s=900.0,
        asked_lost_s=900.0,
        devices=256,
    )
    await ledger.record_work_accounts([job])
    await take(ledger, peak(CLUSTER_START, CLUSTER_END, ramp_up_s=-900.0))
    return await settled(ledger, CLUSTER, "meter-before-after", CLUSTER_ID)


async def read(ledger: Ledger, load: Sequence[tuple[datetime, float]], *, meter_id: str = "site") -> None:
    ledger.publish([PowerReading(meter_id=meter_id, power_w=w, measured_at=at) for at, w in load])
    await ledger.flush()


def building_file(folder: Path, shared: Path) -> Path:
    """A database with the building's record."""
    path = folder / "building.db"

    async def fill() -> None:
        async with open_ledger(f"sqlite+aiosqlite:///{path}", migrate=True) as ledger:
            await record_building(ledger, shared)

    asyncio.run(fill())
    return path
