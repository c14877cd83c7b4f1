"""Metering: readings into the ledger once a second, and closed intervals of energy at the site meter."""

import asyncio
import math
from collections.abc import Coroutine, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.domain.event import EventRecord, dispatch_ends_at, ramp_starts_at
from gateway.domain.fleet import Site
from gateway.domain.measurement import assess, integrate, slices, worst
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

LOOK_BACK = timedelta(hours=6)
"""The recovery of an event that ended longer ago is over, too."""


class Metering:
    """Reads one source of power each second.

    Every reading of the site meter, and of a generator's behind it, is kept. Device readings are kept as they come
    around events, and as one mean a minute (stamped with the start of the minute) otherwise. Without ``keep_devices``
    they are published and not kept: a run in virtual time throws its record away, and a quarter of its time would go
    into them.
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
        keep_devices: bool = True,
    ) -> None:
        self._meter = meter
        self._site = site
        self._ledger = ledger
        self._clock = clock
        self._readiness = readiness
        readiness.expect("meter")
        readiness.expect("ledger")
        self._records: tuple[EventRecord, ...] = ()
        self._minute: datetime | None = None
        self._of_minute: dict[str, list[PowerReading]] = {}
        self._last: dict[str, PowerReading] = {}
        self._closed_to: datetime | None = None
        self._flush = timedelta(seconds=flush_s)
        self._flushed_at: datetime | None = None
        self._keep_devices = keep_devices

    async def run(self, stop: asyncio.Event) -> None:
        """Read, publish, flush and close until told to stop; what is held is flushed at the end."""
        events_changed = self._ledger.subscribe(Topic.EVENTS)
        events_changed.set()
        while not stop.is_set():
            await self._read()
            await self._guarded(self._store(events_changed))
            await self._clock.wait(_next_second(self._clock.now()), stop)
        self._publish_means()
        await self._guarded(self._ledger.flush())

    async def _read(self) -> None:
        part = "meter"
        try:
            readings = await self._meter.read()
        except EXPECTED_FAULTS as fault:
            self._readiness.faulty(part, str(fault) or type(fault).__name__)
            return
        now = self._clock.now()
        assessed = assess([_without_bad_register(reading) for reading in readings], last=self._last, now=now)
        self._last.update((reading.meter_id, reading) for reading in assessed)
        site = [reading for reading in assessed if reading.meter_id == self._site.meter_id]
        generator = [reading for reading in assessed if reading.meter_id == self._site.generator_meter_id]
        settling = {self._site.meter_id, self._site.generator_meter_id}
        devices = [reading for reading in assessed if reading.meter_id not in settling]
        self._ledger.publish([*site, *generator])
        full_rate = self._event_is_near(now)
        if full_rate:
            # Now, not after the event: a reading in the middle of an hour that is logged looks like a change.
            self._publish_means()
        self._ledger.publish(devices, keep=full_rate and self._keep_devices)
        if not full_rate and self._keep_devices:
            self._average(devices, now)
        if site:
            self._readiness.well(part)
        else:
            self._readiness.faulty(part, f"no reading of the site meter {self._site.meter_id!r}")

    async def _store(self, events_changed: asyncio.Event) -> None:
        now = self._clock.now()
        if self._flushed_at is None or abs(now - self._flushed_at) >= self._flush:
            await self._ledger.flush()
            self._flushed_at = now
        if events_changed.is_set():
            events_changed.clear()
            try:
                self._records = await self._ledger.events(since=now - LOOK_BACK)
            except LedgerUnavailable:
                events_changed.set()
                raise
        await self._close_intervals(now)

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """Do the ledger's work; while the ledger is away readings wait in memory and control goes on."""
        try:
            await work
        except LedgerUnavailable as fault:
            self._readiness.faulty("ledger", str(fault))
        else:
            self._readiness.well("ledger")

    def _event_is_near(self, now: datetime) -> bool:
        for record in self._records:
            end = dispatch_ends_at(record)
            begun = now >= ramp_starts_at(record.event) - FULL_RATE_MARGIN
            if begun and (end is None or now < end + FULL_RATE_MARGIN):
                return True
        return False

    def _average(self, readings: Sequence[PowerReading], now: datetime) -> None:
        minute = now.replace(second=0, microsecond=0)
        if minute != self._minute:
            self._publish_means()
            self._minute = minute
        for reading in readings:
            self._of_minute.setdefault(reading.meter_id, []).append(reading)

    def _publish_means(self) -> None:
        """One mean of each device over the minute, or over what there is of it."""
        if self._minute is not None:
            self._ledger.publish([_mean(readings, self._minute) for readings in self._of_minute.values()])
        self._of_minute.clear()

    async def _close_intervals(self, now: datetime) -> None:
        """Integrate the site meter over each interval of the grid that has ended and was not closed yet."""
        end = _floor(now - timedelta(seconds=CLOSE_DELAY_S), self._site.interval_s)
        if self._closed_to is None:
            self._closed_to = await self._last_closed(now)
        if end <= self._closed_to:
            return
        # The site's last: where its interval is closed, so is its generator's.
        for meter_id in filter(None, (self._site.generator_meter_id, self._site.meter_id)):
            await self._close(meter_id, self._closed_to, end)
        self._closed_to = end

    async def _close(self, meter_id: str, start: datetime, end: datetime) -> None:
        # One reading from before the first interval may still stand for its beginning.
        readings = await self._ledger.readings_between(meter_id, start - timedelta(minutes=1), end)
        intervals = integrate(readings, slices(start, end, self._site.interval_s))
        measured = [interval for interval in intervals if interval.coverage_fraction > 0.0]
        if measured:
            await self._ledger.record_energy(meter_id, measured)

    async def _last_closed(self, now: datetime) -> datetime:
        known = await self._ledger.energy_between(self._site.meter_id, now - CATCH_UP, now)
        if known:
            return known[-1].starts_at + timedelta(seconds=known[-1].duration_s)
        return _floor(now, self._site.interval_s)


def _without_bad_register(reading: PowerReading) -> PowerReading:
    """A register that holds no number is as good as none; the power beside it may still be right."""
    usable = reading.energy_j is None or math.isfinite(reading.energy_j)
    return reading if usable else replace(reading, energy_j=None)


def _mean(readings: Sequence[PowerReading], minute: datetime) -> PowerReading:
    return PowerReading(
        meter_id=readings[0].meter_id,
        power_w=math.fsum(reading.power_w for reading in readings) / len(readings),
        measured_at=minute,
        quality=worst(reading.quality for reading in readings),
    )


def _floor(at: datetime, interval_s: int) -> datetime:
    return datetime.fromtimestamp(at.timestamp() // interval_s * interval_s, UTC)


def _next_second(now: datetime) -> datetime:
    return now.replace(microsecond=0) + timedelta(seconds=PERIOD_S)
