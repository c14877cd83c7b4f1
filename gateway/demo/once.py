"""``gridgate demo --once``: one whole event in virtual time, without a port, and what it leaves behind."""

import asyncio
import csv
import json
from collections.abc import Callable
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import count
from pathlib import Path

from gateway import app
from gateway.clock import Clock, VirtualClock
from gateway.demo.stage import CONNECTION_ID, Stage, set_stage
from gateway.demo.utility import Schedule
from gateway.domain.fleet import Site
from gateway.domain.plan import PowerPlan, target_w
from gateway.domain.settlement import SettlementStatement
from gateway.ledger import Ledger
from gateway.picture import event_picture
from gateway.stages import run_services
from hardware.device import PowerReading

STARTS_AT = datetime(2026, 7, 15, 22, 40, tzinfo=UTC)
"""A Wednesday afternoon in Phoenix; always the same one, so that every run gives the same figures."""

SCHEDULE = Schedule(first_s=240.0, notice_s=300.0, duration_s=1200.0, again_after_s=None)
ROUNDING_S = 70.0
"""The event starts on a whole minute, and its statement comes some seconds after its end."""

AFTERWARDS_S = 300.0
"""How long it goes on after the statement, to show the way back."""

RECORDS = ("site.db", "utility.db")


@dataclass(frozen=True, slots=True, kw_only=True)
class Shown:
    """What ``demo --once`` leaves behind."""

    statement: SettlementStatement
    files: tuple[str, ...]
    baseline_w: float
    asked_w: float
    mean_site_w: float

    def in_words(self) -> str:
        """A few lines for the terminal."""
        statement = self.statement
        return "\n".join(
            (
                (
                    f"event {statement.verified.event_id}: asked to go from {self.baseline_w / 1000:.2f}"
                    f" to {self.asked_w / 1000:.2f} kW, held {self.mean_site_w / 1000:.2f} kW on average"
                ),
                (
                    f"delivered {statement.delivered_kwh} kWh by {statement.verified.rule},"
                    f" worth {statement.amount} {statement.currency}"
                ),
                *(f"  {name}" for name in self.files),
            )
        )


async def run_once(
    out: Path,
    *,
    schedule: Schedule = SCHEDULE,
    afterwards_s: float = AFTERWARDS_S,
    tell: Callable[[float], None] = lambda _: None,
) -> Shown:
    """Play one event; writes its record, figures and picture into ``out``. ``tell`` hears how far it is, 0 to 1."""
    clock = VirtualClock(STARTS_AT)
    _make_room(out)
    async with AsyncExitStack() as edges:
        numbers = count(1)
        stage = await set_stage(edges, clock, out, new_id=lambda: f"{next(numbers):08d}", virtual=True)
        site = stage.settings.site.site()
        connection = app.joined_ven(CONNECTION_ID, stage.vtn, stage.record.parties, site)
        stop = asyncio.Event()
        length_s = schedule.first_s + schedule.notice_s + schedule.duration_s + ROUNDING_S + afterwards_s
        watcher = _Watcher(
            ledger=stage.record.ledger,
            clock=clock,
            afterwards_s=afterwards_s,
            done=stop,
            tell=lambda now: tell(min(1.0, (now - STARTS_AT).total_seconds() / length_s)),
        )
        await run_services((*stage.stages(connection, schedule, flush_s=60.0), {"watcher": watcher}), clock, stop)
        return await _write_down(stage, site, out, clock.now())


def _make_room(out: Path) -> None:
    """Remove the records of an earlier run, and nothing else: the folder is the user's."""
    out.mkdir(parents=True, exist_ok=True)
    for record in RECORDS:
        for suffix in ("", "-wal", "-shm"):
            (out / (record + suffix)).unlink(missing_ok=True)


class _Watcher:
    """Ends the run some time after the statement was issued; says every ten seconds what time it is."""

    def __init__(
        self,
        *,
        ledger: Ledger,
        clock: Clock,
        afterwards_s: float,
        done: asyncio.Event,
        tell: Callable[[datetime], None],
    ) -> None:
        self._ledger = ledger
        self._clock = clock
        self._afterwards = timedelta(seconds=afterwards_s)
        self._done = done
        self._tell = tell

    async def run(self, stop: asyncio.Event) -> None:
        """Look every ten seconds."""
        ends_at: datetime | None = None
        while not stop.is_set() and (ends_at is None or self._clock.now() < ends_at):
            if ends_at is None and await self._ledger.statements():
                ends_at = self._clock.now() + self._afterwards
            await self._clock.wait(self._clock.now() + timedelta(seconds=10), stop)
            self._tell(self._clock.now())
        self._done.set()


async def _write_down(stage: Stage, site: Site, out: Path, ended_at: datetime) -> Shown:
    ledger = stage.record.ledger
    statement = (await ledger.statements())[0]
    verified = statement.verified
    plan = await ledger.plan(verified.connection_id, verified.event_id)
    if plan is None:
        raise RuntimeError("the event was settled without a plan")
    readings = await ledger.readings_between(site.meter_id, STARTS_AT, ended_at)
    rows = [_row(reading, statement, plan) for reading in readings]
    with (out / "power.csv").open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        writer.writerow(("time_s", "site_w", "target_w", "baseline_w"))
        writer.writerows(("" if cell is None else f"{cell:.3f}" for cell in row) for row in rows)
    (out / "statement.json").write_text(json.dumps(_statement(statement), indent=2) + "\n", encoding="utf-8")
    first, last = verified.intervals[0], verified.intervals[-1]
    event = (
        (first.starts_at - STARTS_AT).total_seconds(),
        (last.starts_at - STARTS_AT).total_seconds() + last.duration_s,
    )
    asked_w = min(interval.end_w for interval in plan.intervals)
    mean_site_w = 3600.0 * sum(row.measured_wh for row in verified.intervals) / (event[1] - event[0])
    shown = Shown(
        statement=statement,
        files=tuple(str(out / name) for name in ("power.csv", "statement.json", "power.svg", "site.db")),
        baseline_w=plan.baseline_w,
        asked_w=asked_w,
        mean_site_w=mean_site_w,
    )
    picture = event_picture(
        title=f"{verified.event_id}: site power through the event",
        time_s=[row[0] for row in rows],
        site_w=[row[1] for row in rows],
        target_w=[row[2] for row in rows],
        baseline_w=[row[3] for row in rows],
        starts_at=STARTS_AT,
        timezone=site.timezone,
        event=event,
        facts=(
            f"Asked: at most {asked_w / 1000:.2f} kW. Held: {mean_site_w / 1000:.2f} kW on average.",
            (
                f"Delivered {statement.delivered_kwh} kWh by {verified.rule} {verified.rule_version},"
                f" worth {statement.amount} {statement.currency}."
            ),
        ),
    )
    (out / "power.svg").write_text(picture, encoding="utf-8")
    return shown


def _row(
    reading: PowerReading, statement: SettlementStatement, plan: PowerPlan
) -> tuple[float, float, float | None, float | None]:
    """One row of power.csv: target and settlement baseline exactly in the settled intervals."""
    at = reading.measured_at
    settled = next(
        (
            interval
            for interval in statement.verified.intervals
            if interval.starts_at <= at < interval.starts_at + timedelta(seconds=interval.duration_s)
        ),
        None,
    )
    time_s = (at - STARTS_AT).total_seconds()
    if settled is None or settled.coverage_fraction == 0.0:
        return time_s, reading.power_w, None, None
    baseline_w = 3600.0 * settled.baseline_wh / (settled.duration_s * settled.coverage_fraction)
    return time_s, reading.power_w, target_w(plan, at), baseline_w


def _statement(statement: SettlementStatement) -> dict[str, object]:
    """The shape that others rely on; Decimals as strings, instants with ``Z``."""
    return {
        "statement_id": statement.statement_id,
        "event_id": statement.verified.event_id,
        "rule": statement.verified.rule,
        "rule_version": statement.verified.rule_version,
        "currency": statement.currency,
        "price_per_kwh": str(statement.price_per_kwh),
        "amount": str(statement.amount),
        "delivered_kwh": str(statement.delivered_kwh),
        "intervals": [
            {
                "starts_at": interval.starts_at.isoformat().replace("+00:00", "Z"),
                "duration_s": interval.duration_s,
                "baseline_wh": interval.baseline_wh,
                "measured_wh": interval.measured_wh,
                "delivered_wh": interval.delivered_wh,
                "coverage_fraction": interval.coverage_fraction,
            }
            for interval in statement.verified.intervals
        ],
        "inputs_sha256": statement.inputs_sha256,
        "notes": list(statement.notes),
    }
