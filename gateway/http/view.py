"""What the page shows at one instant: figures for programs, words for people."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.domain.electrical import node_states
from gateway.domain.event import EventState
from gateway.domain.settlement import SettlementStatement
from gateway.http import words
from gateway.http.capability_lines import CapabilityLines, capability_lines
from gateway.http.device_lines import DeviceSummary, NodeLine, assets_now, device_summary, node_lines
from gateway.http.event_lines import EventLine, event_lines
from gateway.http.fault_lines import FaultLine, fault_lines
from gateway.http.sources import LOOK_BACK, Record, Sources
from hardware.device import DeviceView, PowerReading, Quality

SILENT_AFTER_S = 5.0
"""An older reading is not shown as the present power."""

AT_TARGET_FRACTION = 0.005
"""Nearer than this to the target, meter noise decides which side of it the site is on."""

MOST_STATEMENTS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerLine:
    """Site power against target and live baseline, in watts and in words.

    ``power_w`` is ``None`` unless it is live; ``age_s`` is the age of the last reading all the same. ``target_w`` and
    ``baseline_w`` are ``None`` where no plan is in force.
    """

    power_w: float | None
    age_s: float | None
    target_w: float | None
    baseline_w: float | None
    power: str
    power_note: str
    target: str
    target_note: str
    baseline: str
    baseline_note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementLine:
    """One statement: what was delivered, and what it is worth. ``address`` is where its page is."""

    statement_id: str
    address: str
    event_id: str
    program_id: str
    issued: str
    delivered: str
    amount: str
    note: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Snapshot:
    """Everything on the page. ``headline`` and ``countdown`` tell the event that matters most now.

    ``mood`` is active, coming or quiet. ``utc_offset_s`` takes an instant to the site's local time.
    """

    now: datetime
    utc_offset_s: float
    clock: str
    zone: str
    site_id: str
    version: str
    ready: bool
    mood: str
    headline: str
    countdown: str
    power: PowerLine
    events: tuple[EventLine, ...]
    devices: DeviceSummary
    capability: CapabilityLines
    nodes: tuple[NodeLine, ...]
    faults: tuple[FaultLine, ...]
    statements: tuple[StatementLine, ...]


async def snapshot(sources: Sources) -> Snapshot:
    """The page's content now. Raises ``LedgerUnavailable`` where the ledger could not be read even once."""
    now = sources.now()
    record = await sources.view.record(now)
    readings = sources.ledger.latest_readings()
    devices = sources.devices()
    assets = assets_now(devices, sources.jobs(), readings, now)
    events = event_lines(sources, record, now)
    first = next((event for event in events if event.ahead), None)
    local = now.astimezone(sources.site.timezone)
    return Snapshot(
        now=now,
        utc_offset_s=(local.utcoffset() or timedelta(0)).total_seconds(),
        clock=f"{local:%H:%M:%S}",
        zone=words.zone_name(sources.site.timezone, now),
        site_id=sources.site.site_id,
        version=sources.version,
        ready=sources.ready(),
        mood="quiet" if first is None else "active" if first.state is EventState.ACTIVE else "coming",
        headline="Nothing is going on: no event is running or announced." if first is None else first.words,
        countdown="" if first is None else first.countdown,
        power=_power_line(sources, record, readings.get(sources.site.meter_id), now),
        events=events,
        devices=device_summary(assets),
        capability=capability_lines(sources.capability(), sources.site.timezone),
        nodes=_node_lines(sources, devices),
        faults=fault_lines(
            parts=sources.parts(),
            assets=assets,
            quarantined=record.quarantined,
            since=now - LOOK_BACK,
            ready=sources.ready(),
        ),
        statements=_statement_lines(record.statements, sources, now),
    )


def _node_lines(sources: Sources, devices: Mapping[str, DeviceView]) -> tuple[NodeLine, ...]:
    """The electrical tree as its guard sees it; empty where no node has a limit, or no device is known."""
    tree = sources.site.tree
    return () if tree is None or not devices else node_lines(node_states(tree, devices))


def _power_line(sources: Sources, record: Record, reading: PowerReading | None, now: datetime) -> PowerLine:
    age_s = None if reading is None else max(0.0, (now - reading.measured_at).total_seconds())
    live = reading if age_s is not None and age_s <= SILENT_AFTER_S else None
    force = record.in_force(now)
    target_w, plan = force if force is not None else (None, None)
    return PowerLine(
        power_w=None if live is None else live.power_w,
        age_s=age_s,
        target_w=target_w,
        baseline_w=None if plan is None else plan.baseline_w,
        power="no reading" if live is None else words.power(live.power_w),
        power_note=_power_note(sources, reading, live, now),
        target="none" if target_w is None else words.power(target_w),
        target_note=_target_note(target_w, live),
        baseline="none" if plan is None else words.power(plan.baseline_w),
        baseline_note=(
            "Measured and frozen when an event begins."
            if plan is None
            else "Mean before the event, frozen. Settlement goes by the program's rule."
        ),
    )


def _power_note(sources: Sources, last: PowerReading | None, live: PowerReading | None, now: datetime) -> str:
    limit_w = sources.site.import_limit_w
    if last is None:
        return f"No reading of the site meter ({sources.site.meter_id}) yet."
    if live is None:
        silent_s = (now - last.measured_at).total_seconds()
        at = words.instant(last.measured_at, sources.site.timezone, now)
        return f"No reading for {words.span(silent_s)}. The last one was {words.power(last.power_w)} at {at}."
    if live.quality is Quality.SUSPECT:
        return "This reading is marked as suspect: measured, but not plausible."
    if limit_w is None:
        return "Measured at the site meter."
    if live.power_w > limit_w:
        return f"Over the import limit of {words.power(limit_w)}."
    return f"Import limit {words.power(limit_w)}."


def _target_note(target_w: float | None, live: PowerReading | None) -> str:
    if target_w is None:
        return "No event limits the site now."
    if live is None:
        return "Whether it is kept cannot be said without a reading."
    over_w = live.power_w - target_w
    if abs(over_w) < AT_TARGET_FRACTION * abs(target_w):
        return "The site is at it."
    return f"The site is {words.power(abs(over_w))} {'over' if over_w > 0 else 'under'} it."


def _statement_lines(
    statements: Sequence[SettlementStatement], sources: Sources, now: datetime
) -> tuple[StatementLine, ...]:
    """The latest statements, newest first."""
    latest = sorted(statements, key=lambda statement: statement.issued_at, reverse=True)[:MOST_STATEMENTS]
    return tuple(
        StatementLine(
            statement_id=statement.statement_id,
            address=words.statement_address(statement.statement_id),
            event_id=statement.verified.event_id,
            program_id=statement.program_id,
            issued=words.instant(statement.issued_at, sources.site.timezone, now),
            delivered=f"{statement.delivered_kwh:,f} kWh".replace("-", words.MINUS),
            amount=f"{statement.amount:,f} {statement.currency}".replace("-", words.MINUS),
            note=" ".join(statement.notes) or f"By the rule {statement.verified.rule}.",
        )
        for statement in latest
    )
