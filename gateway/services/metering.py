"""Metering: readings into the ledger once a second, and closed intervals of energy at the site meter."""

import asyncio
from collections.abc import Coroutine, Sequence
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.domain.event import EventRecord, EventState, state
from gateway.domain.fleet import Site
from gateway.domain.measurement import assess, integrate, slices
from gateway.ledger import Ledger, LedgerUnavailable, Topic
from gateway.services.readiness import EXPECTED_FAULTS, Readiness
from hardware.device import PowerMeter, PowerReading

log = structlog.get_logger()

PERIOD_S = 1.0

FLUSH_S = 1.0
"""How long a reading may be held in memory; a run in virtual time can afford more."""

CLOSE_DELAY_S = 2.0
"""An interval is closed this long after its end, so that its last reading has come."""

CATCH_UP = timedelta(days=1)
"""After a stop, intervals no older than this are closed from the readings that are there."""

FULL_RATE_MARGIN = timedelta(minutes=15)
"""Device readings are kept at full rate from so long before an event to so long after it."""


class Metering:
    """Reads one source of power each second.

    Every reading of the site meter is kept. Device readings are kept as they come around events, and as one mean a
    minute (stamped with the start of the minute) otherwise.
    """

    def __init__(
        self,
        *,
        meter: PowerMeter,
        site: Site,
        ledger: Ledger,
        clock: Clock,
        readiness: Readiness,
        flush_s: float = FLUSH_S,
    ) -> None:
        self._meter = meter
        self._site = site
        self._ledger = ledger
        self._clock = clock
        self._readiness = readiness
        self._records: tuple[EventRecord, ...] = ()
        self._minute: datetime | None = None
        self._sums: dict[str, tuple[float, int]] = {}
        self._last: dict[str, PowerReading] = {}
        self._closed_to: datetime | None = None
        self._flush = timedelta(seconds=flush_s)
        self._flush_at: datetime | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Read, publish, flush and close until told to stop; what is held is flushed at the end."""
        events_changed = self._ledger.subscribe(Topic.EVENTS)
        events_changed.set()
        while not stop.is_set():
            if events_changed.is_set():
                events_changed.clear()
                await self._guarded(self._reload())
            await self._read()
            await self._guarded(self._store())
            await self._clock.wait(_next_second(self._clock.now()), stop)
        await self._guarded(self._ledger.flush())

    async def _read(self) -> None:
        part = "meter"
        try:
            readings = await self._meter.read()
        except EXPECTED_FAULTS as fault:
            self._readiness.faulty(part, str(fault) or type(fault).__name__)
            return
        now = self._clock.now()
        assessed = assess(readings, last=self._last, now=now)
        self._last.update((reading.meter_id, reading) for reading in assessed)
        site = [reading for reading in assessed if reading.meter_id == self._site.meter_id]
        devices = [reading for reading in assessed if reading.meter_id != self._site.meter_id]
        self._ledger.publish(site)
        full_rate = self._event_is_near(now)
        self._ledger.publish(devices, keep=full_rate)
        if not full_rate:
            self._average(devices, now)
        if site:
            self._readiness.well(part)
        else:
            self._readiness.faulty(part, f"no reading of the site meter {self._site.meter_id!r}")

    async def _store(self) -> None:
        now = self._clock.now()
        if self._flush_at is None or now >= self._flush_at:
            await self._ledger.flush()
            self._flush_at = now + self._flush
        await self._close_intervals(now)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the ledger's work; while the ledger is away readings wait in memory and control goes on."""
        try:
            await work
        except LedgerUnavailable as fault:
            self._readiness.faulty("ledger", str(fault))
        else:
            self._readiness.well("ledger")

    async def _reload(self) -> None:
        self._records = await self._ledger.events(since=self._clock.now() - FULL_RATE_MARGIN)

    def _event_is_near(self, now: datetime) -> bool:
        return any(
            state(record, now) is EventState.ACTIVE
            or state(record, now + FULL_RATE_MARGIN) is EventState.ACTIVE
            or state(record, now - FULL_RATE_MARGIN) is EventState.ACTIVE
            for record in self._records
        )

    def _average(self, readings: Sequence[PowerReading], now: datetime) -> None:
        minute = now.replace(second=0, microsecond=0)
        if self._minute is not None and minute != self._minute:
            self._ledger.publish(
                [
                    PowerReading(meter_id=meter_id, power_w=total_w / count, measured_at=self._minute)
                    for meter_id, (total_w, count) in self._sums.items()
                ]
            )
            self._sums.clear()
        self._minute = minute
        for reading in readings:
            total_w, count = self._sums.get(reading.meter_id, (0.0, 0))
            self._sums[reading.meter_id] = (total_w + reading.power_w, count + 1)

    async def _close_intervals(self, now: datetime) -> None:
        """Integrate the site meter over each interval of the grid that has ended and was not closed yet."""
        end = _floor(now - timedelta(seconds=CLOSE_DELAY_S), self._site.interval_s)
        if self._closed_to is None:
            self._closed_to = await self._last_closed(now)
        if end <= self._closed_to:
            return
        start, self._closed_to = self._closed_to, end
        try:
            # One reading from before the first interval may still stand for its beginning.
            readings = await self._ledger.readings_between(self._site.meter_id, start - timedelta(minutes=1), end)
            intervals = integrate(readings, slices(start, end, self._site.interval_s))
            await self._ledger.record_energy(
                self._site.meter_id, [interval for interval in intervals if interval.coverage_fraction > 0.0]
            )
        except LedgerUnavailable:
            self._closed_to = start
            raise

    async def _last_closed(self, now: datetime) -> datetime:
        known = await self._ledger.energy_between(self._site.meter_id, now - CATCH_UP, now)
        if known:
            return known[-1].starts_at + timedelta(seconds=known[-1].duration_s)
        return _floor(now, self._site.interval_s)


def _floor(at: datetime, interval_s: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // interval_s * interval_s, UTC)


def _next_second(now: datetime) -> datetime:
    return now.replace(microsecond=0) + timedelta(seconds=PERIOD_S)
