"""Reporting: what the grid asked to be told, from the ledger through an outbox to the connection."""

import asyncio
from collections.abc import Callable, Collection
from datetime import datetime, timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.fleet import Site
from gateway.domain.report_grid import forecast_end, forecast_start, report_end, report_start
from gateway.domain.settlement import SettlementStatement
from gateway.ledger import Ledger, Topic
from gateway.services.readiness import EXPECTED_FAULTS, Backoff, Readiness
from gateway.services.report_data import AvailableIn, ReportData, needs_baseline
from protocols.errors import Rejected
from protocols.grid import (
    GridConnection,
    IntervalReport,
    Receipt,
    ReportOrder,
    ReportQuantity,
    ResourceState,
)

log = structlog.get_logger()

SETTLE_DELAY = timedelta(seconds=2)
"""A reading may come this late and still be reported with its interval."""

MOST_REPORTS = 20
"""Queued of one order before what is queued is delivered: a backlog does not keep a stop, or other orders, waiting."""

FORERUNNER = timedelta(minutes=5)
"""A new order that comes within so long goes on where the one before it stopped: a VTN that was away orders anew."""

LOOK_S = 2.0
"""A new order is seen within so long."""

HOPELESS_AFTER = 5
"""So often an order's reports met an error that might pass, while others were taken: there it does not pass."""

CORRECTED_FOR = timedelta(days=1)
"""A statement that is older corrects no report any more."""

Subject = tuple[str, tuple[ReportQuantity, ...], bool]


class Reporting:
    """Serves the report orders of one connection. What could not be delivered stays in the outbox, in order.

    ``state`` and ``available_w`` are asked for the present whenever an order wants them, ``available_in`` for hours to
    come; without them nothing is reported of these. A baseline or reduction that was reported while it was preliminary
    is reported once more when a statement has settled it.
    """

    def __init__(
        self,
        *,
        connection: GridConnection,
        site: Site,
        ledger: Ledger,
        clock: Clock,
        readiness: Readiness,
        state: Callable[[], ResourceState] | None = None,
        available_w: Callable[[], float | None] | None = None,
        available_in: AvailableIn | None = None,
    ) -> None:
        self._connection = connection
        self._ledger = ledger
        self._clock = clock
        self._readiness = readiness
        self._data = ReportData(
            connection_id=connection.connection_id,
            site=site,
            ledger=ledger,
            state=state,
            available_w=available_w,
            available_in=available_in,
        )
        self._part = f"reports {connection.connection_id}"
        readiness.expect(self._part)
        # By what is reported: the order that was served last, up to where, and when it was last seen standing.
        self._served: dict[Subject, tuple[str, datetime, datetime]] = {}
        # Orders of which nothing is left, by when they ended; a connection may go on naming them for days.
        self._finished: dict[str, datetime | None] = {}
        # Why the last report was not taken, ``None`` where it was: a reason is said once, not with every report.
        self._refused: tuple[str, str] | None = None
        # By order: how often its reports failed while those of others did not.
        self._failed: dict[str, int] = {}
        self._settled = ledger.subscribe(Topic.STATEMENTS)
        self._settled.set()
        self._corrected: set[tuple[str, str]] = set()

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
        self._data.sample(orders, now)
        standing = {order.order_id for order in orders}
        self._finished = {order_id: at for order_id, at in self._finished.items() if order_id in standing}
        self._failed = {order_id: times for order_id, times in self._failed.items() if order_id in standing}
        for order in orders:
            if order.order_id in self._finished and self._finished[order.order_id] == order.ends_at:
                continue
            due_at = await self._queue_order(order, standing, now)
            if due_at is not None:
                look_at = min(look_at, due_at)
        await self._queue_corrections([order for order in orders if needs_baseline(order)], now)
        return look_at

    async def _queue_order(self, order: ReportOrder, standing: Collection[str], now: datetime) -> datetime | None:
        """Queue what is due of one order; returns when its next report is, ``None`` where it has no more."""
        cursor = await self._ledger.report_cursor(order.connection_id, order.order_id)
        if order.ahead_s > 0.0:
            return await self._queue_forecast(order, cursor, now)
        if cursor is None:
            cursor = self._beginning(order, standing, now)
        elif order.starts_at - cursor > FORERUNNER:
            # Another order of the same id, long after: what lies between was not asked for.
            cursor = order.starts_at
        for _ in range(MOST_REPORTS):
            self._served[_subject(order)] = (order.order_id, cursor, now)
            end = report_end(order, cursor)
            if end is None:
                self._finished[order.order_id] = order.ends_at
                # What it was of ends with it: an order that comes later does not go on from there.
                del self._served[_subject(order)]
                return None
            # What is to be reported once, is reported when it is all there.
            once_at = None if order.report_back_s > 0.0 else order.ends_at
            due_at = (once_at or end) + SETTLE_DELAY
            if due_at > now:
                return due_at
            await self._ledger.queue_report(await self._report(order, cursor, end, now), end)
            cursor = end
        return now

    async def _queue_forecast(self, order: ReportOrder, cursor: datetime | None, now: datetime) -> datetime | None:
        """As ``_queue_order``, of what is to come: made at the start of what it is of, and with no delay."""
        start = forecast_start(order, cursor, now)
        if start is None:
            self._finished[order.order_id] = order.ends_at
            return None
        if start > now:
            return start
        next_at = start + timedelta(seconds=order.report_back_s or order.ahead_s)
        report = await self._report(order, start, forecast_end(order, start), now)
        await self._ledger.queue_report(report, next_at)
        return next_at

    def _beginning(self, order: ReportOrder, standing: Collection[str], now: datetime) -> datetime:
        """Where an order begins that nothing was queued for yet."""
        if order.history:
            return order.starts_at
        order_id, reported_to, seen_at = self._served.get(_subject(order), ("", order.starts_at, now))
        goes_on = order_id not in standing and now - seen_at <= FORERUNNER and order.starts_at <= now
        return min(reported_to, order.starts_at) if goes_on or order_id == order.order_id else order.starts_at

    async def _report(
        self, order: ReportOrder, start: datetime, end: datetime, now: datetime, *, statement_id: str = ""
    ) -> IntervalReport:
        # Two counterparties may well number their orders alike.
        report_id = f"{order.connection_id}-{order.order_id}-{int(start.timestamp())}"
        return IntervalReport(
            report_id=f"{report_id}~{statement_id}" if statement_id else report_id,
            order_id=order.order_id,
            connection_id=order.connection_id,
            resource_id=order.resource_id,
            created_at=now,
            intervals=await self._data.intervals(order, start, end, now),
            corrects=report_id if statement_id else "",
        )

    async def _queue_corrections(self, orders: Collection[ReportOrder], now: datetime) -> None:
        """Queue anew what was reported of an event before its statement was there, once for each statement."""
        if not orders or not self._settled.is_set():
            return
        self._settled.clear()
        try:
            due = [one for one in await self._ledger.statements() if one.issued_at + CORRECTED_FOR > now]
            for statement in due:
                if statement.verified.connection_id == self._connection.connection_id and statement.verified.intervals:
                    for order in orders:
                        await self._correct(order, statement, now)
        except EXPECTED_FAULTS:
            self._settled.set()
            raise
        self._corrected &= {(order.order_id, one.statement_id) for order in orders for one in due}

    async def _correct(self, order: ReportOrder, statement: SettlementStatement, now: datetime) -> None:
        key = (order.order_id, statement.statement_id)
        reported_to = await self._ledger.report_cursor(order.connection_id, order.order_id)
        if key in self._corrected or reported_to is None:
            return
        first, last = statement.verified.intervals[0], statement.verified.intervals[-1]
        ends_at = last.starts_at + timedelta(seconds=last.duration_s)
        start = report_start(order, first.starts_at)
        while start < ends_at:
            end = report_end(order, start)
            # What is reported from now on has the statement's figures anyway.
            if end is None or end > reported_to or end + SETTLE_DELAY > statement.issued_at:
                break
            if end > first.starts_at:
                corrected = await self._report(order, start, end, now, statement_id=statement.statement_id)
                await self._ledger.queue_report(corrected, reported_to)
            start = end
        self._corrected.add(key)

    async def _deliver(self) -> None:
        """Deliver the outbox, of each order in order. One whose reports the grid cannot read holds up no other.

        Raises the first error that may pass, after the reports of the other orders are out.
        """
        troubles: dict[str, Rejected] = {}
        taken = False
        for report in await self._ledger.outbox(self._connection.connection_id):
            if report.order_id in troubles:
                continue
            try:
                receipt = await self._connection.send_report(report, self._clock.now())
            except Rejected as fault:
                if self._failed.get(report.order_id, 0) < HOPELESS_AFTER:
                    troubles[report.order_id] = fault
                    continue
                receipt = Receipt(
                    report_id=report.report_id,
                    accepted=False,
                    received_at=self._clock.now(),
                    code=fault.code,
                    detail=f"given up, since other reports are taken: {fault}",
                )
            else:
                taken = True
                self._failed.pop(report.order_id, None)
            await self._record(report, receipt)
        for order_id in troubles:
            self._failed[order_id] = self._failed.get(order_id, 0) + taken
        if troubles:
            raise next(iter(troubles.values()))

    async def _record(self, report: IntervalReport, receipt: Receipt) -> None:
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


def _subject(order: ReportOrder) -> Subject:
    return order.resource_id, order.quantities, order.history
