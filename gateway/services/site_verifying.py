"""Verifying by sites: when all below have settled an event's time or were waited for long enough, and anew later.

The record is asked for what an event's sites have reported only when something of that event's time has come.
"""

import asyncio
from collections.abc import Callable, Collection, Sequence
from datetime import timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.event import EventRecord, EventVersion, took_part_until, version
from gateway.domain.fleet import Site
from gateway.domain.site_verification import SiteBelow, is_final, is_of, verify_by_sites
from gateway.domain.verification import VerifiedReport
from gateway.ledger import Ledger, LogEntry
from gateway.services.site_inputs import gather_site_inputs

log = structlog.get_logger()

CORRECTED_FOR = timedelta(days=1)
"""So long after a verification what a site reports of its time makes another."""


class SiteVerifying:
    """What the sites below have verified, added up; ``below`` says who they are now."""

    def __init__(
        self, *, site: Site, ledger: Ledger, clock: Clock, below: Callable[[], Sequence[SiteBelow]] = tuple
    ) -> None:
        self._site = site
        self._ledger = ledger
        self._clock = clock
        self._below = below
        self._known_below: tuple[SiteBelow, ...] = ()
        # By connection: the number of the last report that was looked at.
        self._heard: dict[str, int] = {}
        # Events whose reports were read, and of whose time nothing has come since.
        self._looked: set[EventVersion] = set()

    async def listen(self, records: Collection[EventRecord]) -> None:
        """Note of which of these events something has been reported since the last call."""
        below = tuple(self._below())
        if not records or below != self._known_below:
            self._looked.clear()
            self._heard.clear()
        self._known_below = below
        if not records:
            return
        self._looked &= {version(record) for record in records}
        for connection_id in sorted({one.connection_id for one in below}):
            number, new = await self._ledger.received_since(connection_id, self._heard.get(connection_id))
            for record in records:
                end = took_part_until(record)
                if end is not None and any(is_of(report, record.event.starts_at, end) for _, report in new):
                    self._looked.discard(version(record))
            self._heard[connection_id] = number

    async def verify(self, record: EventRecord, patience_s: float) -> VerifiedReport | None:
        """The first verification of an event that is over; ``None`` while sites have to settle first."""
        now, end = self._clock.now(), took_part_until(record)
        patient = end is not None and now < end + timedelta(seconds=patience_s)
        if patient and version(record) in self._looked:
            return None
        inputs = await gather_site_inputs(self._ledger, self._site, record, self._below())
        report = None
        if not patient or all(is_final(one, inputs.event_start, inputs.event_end) for one in inputs.sites):
            report = await asyncio.to_thread(verify_by_sites, inputs, verified_at=now)
            await self._ledger.record_verified(report)
        # Only now: what fails is tried again.
        self._looked.add(version(record))
        return report

    async def verify_again(self, record: EventRecord) -> bool:
        """Verify once more where a site has reported other figures since; whether there is a new verification."""
        if version(record) in self._looked:
            return False
        corrected = False
        known = await self._ledger.verified(record.event.connection_id, record.event.event_id)
        if known is not None and known.sites and self._clock.now() <= known.verified_at + CORRECTED_FOR:
            corrected = await self._correct(record, known)
        self._looked.add(version(record))
        return corrected

    async def _correct(self, record: EventRecord, known: VerifiedReport) -> bool:
        now, event = self._clock.now(), record.event
        inputs = await gather_site_inputs(self._ledger, self._site, record, self._stated(known))
        report = await asyncio.to_thread(verify_by_sites, inputs, verified_at=now)
        if report.intervals == known.intervals or not _goes_on_from(known, report):
            return False
        await self._ledger.record_verified(report)
        log.info("verified_again", connection=event.connection_id, event_id=event.event_id)
        await self._ledger.record_log(
            LogEntry(
                connection_id=event.connection_id,
                event_id=event.event_id,
                at=now,
                what="verified again",
                detail=f"a site has reported other figures: {_kwh(report)} in place of {_kwh(known)}",
            )
        )
        return True

    def _stated(self, known: VerifiedReport) -> list[SiteBelow]:
        """The sites of a verification, whoever is below now; those that had never registered may have since."""
        now = {(one.connection_id, one.party): one.party_id for one in self._below()}
        return [
            SiteBelow(
                party=part.party,
                connection_id=part.connection_id,
                party_id=part.party_id or now.get((part.connection_id, part.party), ""),
                weight_w=part.weight_w,
            )
            for part in known.sites
        ]


def _goes_on_from(known: VerifiedReport, report: VerifiedReport) -> bool:
    """Whether it rests on all that the one before rested on: what is on record no longer is not taken back."""
    parts = zip(known.sites, report.sites, strict=True)
    return all(set(before.report_ids) <= set(after.report_ids) for before, after in parts)


def _kwh(report: VerifiedReport) -> str:
    return f"{sum(one.delivered_wh for one in report.intervals) / 1000:.3f} kWh"
