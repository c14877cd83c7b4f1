"""Archiving: days that are over go into the archive, and once more where a statement about them has changed."""

import asyncio
from collections.abc import Collection
from datetime import date, datetime, timedelta

import structlog

from gateway.archive import ArchiveError, DayArchive
from gateway.clock import Clock
from gateway.domain.baseline.days import midnight
from gateway.domain.closed_day import ClosedDay, MeteredEnergy
from gateway.domain.fleet import Site
from gateway.domain.settlement import SettlementStatement
from gateway.ledger import Ledger, Topic
from gateway.services.readiness import EXPECTED_FAULTS, Backoff, Readiness

log = structlog.get_logger()

PART = "archive"

LOOKED_BACK = 10
"""Days that are caught up on after a start; older ones are written by command."""


class Archiving:
    """Writes each day of the site when it has been over for ``open_days`` whole days.

    One day at a time and in a thread: what a day holds takes the better part of a second to be written.
    """

    def __init__(
        self,
        *,
        archive: DayArchive,
        site: Site,
        ledger: Ledger,
        clock: Clock,
        readiness: Readiness,
        open_days: int,
    ) -> None:
        self._archive = archive
        self._site = site
        self._ledger = ledger
        self._clock = clock
        self._readiness = readiness
        self._open_days = open_days
        self._written: dict[date, frozenset[str]] = {}
        readiness.expect(PART)

    async def run(self, stop: asyncio.Event) -> None:
        """Write what is due until told to stop."""
        changed = self._ledger.subscribe(Topic.STATEMENTS)
        backoff = Backoff(30.0, 600.0)
        while not stop.is_set():
            changed.clear()
            now = self._clock.now()
            try:
                await self._write_due(now, stop)
            except (*EXPECTED_FAULTS, ArchiveError) as fault:
                self._readiness.faulty(PART, str(fault) or type(fault).__name__)
                look_at = now + timedelta(seconds=backoff.delay_s())
            else:
                self._readiness.well(PART)
                backoff.well()
                look_at = self._next_midnight(now)
            await self._clock.wait(look_at, stop, changed)

    async def _write_due(self, now: datetime, stop: asyncio.Event) -> None:
        today = now.astimezone(self._site.timezone).date()
        by_day = await statements_by_day(self._ledger, self._site)
        for back in range(self._open_days + LOOKED_BACK, self._open_days, -1):
            day = today - timedelta(days=back)
            known = frozenset(one.statement_id for one in by_day.get(day, ()))
            if stop.is_set() or self._written.get(day) == known:
                continue
            content = await closed_day(self._ledger, self._site, day, by_day.get(day, ()))
            if content.readings or content.energy or content.statements:
                manifest = await asyncio.to_thread(self._archive.write, content, now)
                log.info("day_archived", day=manifest.day, version=manifest.version)
            self._written[day] = known
        self._written = {day: known for day, known in self._written.items() if (today - day).days <= 2 * LOOKED_BACK}

    def _next_midnight(self, now: datetime) -> datetime:
        today = now.astimezone(self._site.timezone).date()
        return midnight(today + timedelta(days=1), self._site.timezone)


async def statements_by_day(ledger: Ledger, site: Site) -> dict[date, list[SettlementStatement]]:
    """All statements, by the local day on which their event began."""
    found: dict[date, list[SettlementStatement]] = {}
    for statement in await ledger.statements():
        verified = statement.verified
        record = await ledger.event(verified.connection_id, verified.event_id)
        begun_at = statement.issued_at if record is None else record.event.starts_at
        found.setdefault(begun_at.astimezone(site.timezone).date(), []).append(statement)
    return found


async def closed_day(ledger: Ledger, site: Site, day: date, statements: Collection[SettlementStatement]) -> ClosedDay:
    """What the record has of a day. Raises ``LedgerUnavailable``."""
    start, end = midnight(day, site.timezone), midnight(day + timedelta(days=1), site.timezone)
    return ClosedDay(
        site_id=site.site_id,
        day=day,
        timezone=site.timezone.key,
        readings=await ledger.readings_between(site.meter_id, start, end),
        energy=tuple(
            MeteredEnergy(meter_id=site.meter_id, energy=energy)
            for energy in await ledger.energy_between(site.meter_id, start, end)
        ),
        statements=tuple(statements),
    )
