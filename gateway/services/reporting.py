"""Reporting: what the grid asked to be told, from the ledger through an outbox to the connection."""

import asyncio
from collections.abc import Collection
from datetime import datetime, timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.fleet import Site
from gateway.domain.measurement import IntervalEnergy, Slice, integrate
from gateway.ledger import Ledger
from gateway.services.readiness import EXPECTED_FAULTS, Backoff, Readiness
from protocols.grid import GridConnection, IntervalReport, ReportInterval, ReportOrder

log = structlog.get_logger()

SETTLE_DELAY = timedelta(seconds=2)
"""A reading may come this late and still be reported with its interval."""

MOST_INTERVALS = 300
"""In one report; after an outage the backlog goes out in several."""

MOST_REPORTS = 20
"""Queued of one order before what is queued is delivered: a backlog does not keep a stop, or other orders, waiting."""

SMALLEST_GRANULARITY_S = 1.0

FORERUNNER = timedelta(minutes=5)
"""A new order that comes within so long goes on where the one before it stopped: a VTN that was away orders anew."""

LOOK_S = 2.0
"""A new order is seen within so long."""


class Reporting:
    """Serves the report orders of one connection. What could not be delivered stays in the outbox, in order."""

    def __init__(
        self, *, connection: GridConnection, site: Site, ledger: Ledger, clock: Clock, readiness: Readiness
    ) -> None:
        self._connection = connection
        self._site = site
        self._ledger = ledger
        self._clock = clock
        self._readiness = readiness
        self._part = f"reports {connection.connection_id}"
        readiness.expect(self._part)
        # By resource: the order that was served last, up to where, and when it was last seen standing.
        self._served: dict[str, tuple[str, datetime, datetime]] = {}
        # Why the last report was not taken, ``None`` where it was: a reason is said once, not with every report.
        self._refused: tuple[str, str] | None = None

    async def run(self, stop: asyncio.Event) -> None:
        """Queue and deliver until told to stop, then deliver what is queued once more."""
        backoff = Backoff(5.0, 60.0)
        while not stop.is_set():
            try:
                due_at = await self._queue_due()
                await self._deliver()
            except EXPECTED_FAULTS as fault:
                self._readiness.faulty(self._part, str(fault) or type(fault).__name__)
                due_at = self._clock.now() + timedelta(seconds=backoff.delay_s())
            else:
                self._readiness.well(self._part)
                backoff.well()
            await self._clock.wait(due_at, stop)
        await self._deliver_last()

    async def _queue_due(self) -> datetime:
        """Queue every report whose time has come; returns when to look again."""
        now = self._clock.now()
        look_at = now + timedelta(seconds=LOOK_S)
        orders = await self._connection.orders()
        standing = {order.order_id for order in orders}
        for order in orders:
            due_at = await self._queue_order(order, standing, now)
            if due_at is not None:
                look_at = min(look_at, due_at)
        return look_at

    async def _queue_order(self, order: ReportOrder, standing: Collection[str], now: datetime) -> datetime | None:
        """Queue what is due of one order; returns when its next report is, ``None`` where it has no more."""
        granularity = timedelta(seconds=max(order.granularity_s, SMALLEST_GRANULARITY_S))
        cursor = await self._ledger.report_cursor(order.connection_id, order.order_id)
        if cursor is None:
            cursor = self._beginning(order, standing, now)
        for _ in range(MOST_REPORTS):
            self._served[order.resource_id] = (order.order_id, cursor, now)
            end = _report_end(order, cursor, granularity)
            if order.ends_at is not None and end - cursor < granularity:
                return None
            # What is to be reported once, is reported when it is all there.
            once_at = None if order.report_back_s > 0.0 else order.ends_at
            due_at = (once_at or end) + SETTLE_DELAY
            if due_at > now:
                return due_at
            report = await self._report(order, cursor, end, granularity)
            await self._ledger.queue_report(report, end)
            cursor = end
        return now

    def _beginning(self, order: ReportOrder, standing: Collection[str], now: datetime) -> datetime:
        """Where an order begins that nothing was queued for yet."""
        order_id, reported_to, seen_at = self._served.get(order.resource_id, ("", order.starts_at, now))
        goes_on = order_id not in standing and now - seen_at <= FORERUNNER and order.starts_at <= now
        return min(reported_to, order.starts_at) if goes_on or order_id == order.order_id else order.starts_at

    async def _report(
        self, order: ReportOrder, start: datetime, end: datetime, granularity: timedelta
    ) -> IntervalReport:
        count = round((end - start) / granularity)
        cut = [
            Slice(starts_at=start + index * granularity, duration_s=granularity.total_seconds())
            for index in range(count)
        ]
        # A reading from before the first interval may still stand for its beginning.
        readings = await self._ledger.readings_between(self._site.meter_id, start - timedelta(minutes=1), end)
        return IntervalReport(
            # Two counterparties may well number their orders alike.
            report_id=f"{order.connection_id}-{order.order_id}-{int(start.timestamp())}",
            order_id=order.order_id,
            connection_id=order.connection_id,
            resource_id=order.resource_id,
            created_at=self._clock.now(),
            intervals=tuple(_mean_power(energy) for energy in integrate(readings, cut)),
        )

    async def _deliver(self) -> None:
        for report in await self._ledger.outbox(self._connection.connection_id):
            receipt = await self._connection.send_report(report, self._clock.now())
            await self._ledger.record_receipt(receipt)
            refused = None if receipt.accepted else (receipt.code, receipt.detail)
            if refused is not None and refused != self._refused:
                log.warning("report_rejected", report_id=report.report_id, code=receipt.code, detail=receipt.detail)
            self._refused = refused

    async def _deliver_last(self) -> None:
        try:
            await self._queue_due()
            await self._deliver()
        except EXPECTED_FAULTS as fault:
            log.warning("reports_left_in_outbox", part=self._part, reason=str(fault))


def _report_end(order: ReportOrder, start: datetime, granularity: timedelta) -> datetime:
    """Where the report that begins at ``start`` ends: whole intervals, as many as are wanted at a time."""
    if order.report_back_s > 0.0:
        wanted = max(1, int(timedelta(seconds=order.report_back_s) / granularity))
    elif order.ends_at is None:
        wanted = 1
    else:
        wanted = MOST_INTERVALS
    if order.ends_at is not None:
        wanted = min(wanted, int((order.ends_at - start) / granularity))
    return start + max(0, min(wanted, MOST_INTERVALS)) * granularity


def _mean_power(energy: IntervalEnergy) -> ReportInterval:
    measured_s = energy.duration_s * energy.coverage_fraction
    return ReportInterval(
        starts_at=energy.starts_at,
        duration_s=energy.duration_s,
        power_w=energy.energy_wh * 3600.0 / measured_s if measured_s > 0.0 else None,
        coverage_fraction=energy.coverage_fraction,
    )
