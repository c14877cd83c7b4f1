"""What the pages are made from: the ledger, and whatever else the composition root hands in."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from aiohttp import web

from gateway.domain.capability import Capability
from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, dispatch_ends_at
from gateway.domain.fleet import Site
from gateway.domain.message_trace import Describe
from gateway.domain.overlap import governing_target
from gateway.domain.plan import PowerPlan
from gateway.domain.settlement import SettlementStatement
from gateway.domain.tree_head import SignedHead
from gateway.ledger import Ledger, LedgerUnavailable, Quarantined, Topic
from hardware.device import DeviceView
from hardware.job import JobView
from protocols.grid import GridEvent, Opt

LOOK_BACK = timedelta(hours=24)
"""For so long an event that is over stays on the page."""

RELOAD_AFTER = timedelta(seconds=15)
"""The record is read anew when it changes, and so often in any case."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """What the ledger held when it was last read; plans by (connection_id, event_id)."""

    read_at: datetime
    events: tuple[EventRecord, ...]
    plans: Mapping[tuple[str, str], PowerPlan]
    statements: tuple[SettlementStatement, ...]
    quarantined: tuple[Quarantined, ...]

    def plan_of(self, event: GridEvent) -> PowerPlan | None:
        """The plan for the revision that stands."""
        return self.plans.get((event.connection_id, event.event_id))

    def in_force(self, at: datetime) -> tuple[float, PowerPlan] | None:
        """The target that holds for the site at an instant, in watts, and the plan it is from."""
        plans = {}
        for record in self.events:
            plan, ends_at = self.plan_of(record.event), dispatch_ends_at(record)
            if plan is not None and (ends_at is None or at < ends_at) and not _is_out(record, plan, at):
                plans[plan.connection_id, plan.event_id] = plan
        governing = governing_target(plans.values(), at)
        return None if governing is None else (governing.target_w, plans[governing.event_keys[0]])


def _is_out(record: EventRecord, plan: PowerPlan, at: datetime) -> bool:
    """Whether we had opted out of the event by then, after it was planned for."""
    decision = record.decision
    if decision is None or decision.opt is Opt.IN:
        return False
    return at >= decision.decided_at or plan.revision != record.event.revision


class RecordView:
    """The latest ``Record``, read from the ledger only when something in it changed: pages ask each second."""

    def __init__(self, ledger: Ledger) -> None:
        self._ledger = ledger
        self._changed = ledger.subscribe(Topic.EVENTS, Topic.PLANS, Topic.STATEMENTS)
        self._reading = asyncio.Lock()
        self._record: Record | None = None

    async def record(self, now: datetime) -> Record:
        """The record as of ``now``; an older one while the ledger cannot be read.

        Raises ``LedgerUnavailable`` where it could not be read even once.
        """
        async with self._reading:
            if self._record is not None and not self._is_due(self._record, now):
                return self._record
            # Cleared first: what changes while we read wakes us again.
            self._changed.clear()
            try:
                self._record = await self._read(now)
            except LedgerUnavailable:
                self._changed.set()
                if self._record is None:
                    raise
            return self._record

    def _is_due(self, record: Record, now: datetime) -> bool:
        return self._changed.is_set() or not timedelta(0) <= now - record.read_at < RELOAD_AFTER

    async def _read(self, now: datetime) -> Record:
        events = await self._ledger.events(since=now - LOOK_BACK)
        plans = {}
        for record in events:
            key = (record.event.connection_id, record.event.event_id)
            plan = await self._ledger.plan(*key)
            if plan is not None and plan.revision == record.event.revision:
                plans[key] = plan
        return Record(
            read_at=now,
            events=events,
            plans=plans,
            statements=await self._ledger.statements(),
            quarantined=await self._ledger.quarantined(),
        )


Heads = Callable[[], Awaitable[Sequence[SignedHead]]]


async def no_heads() -> Sequence[SignedHead]:
    """Where no log is kept."""
    return ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Sources:
    """Everything that a page may show. The callables are cheap and answer from memory."""

    ledger: Ledger
    site: Site
    programs: Mapping[str, Program]
    now: Callable[[], datetime]
    parts: Callable[[], Mapping[str, str | None]]
    ready: Callable[[], bool]
    devices: Callable[[], Mapping[str, DeviceView]]
    jobs: Callable[[], Mapping[str, JobView]]
    capability: Callable[[], Capability | None]
    version: str
    connections: Sequence[str]
    """Their names."""
    describe: Describe
    heads: Heads
    view: RecordView = field(repr=False)


SOURCES = web.AppKey("SOURCES", Sources)
