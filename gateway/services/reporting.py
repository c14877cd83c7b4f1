"""Reporting: what the grid asked to be told, from the ledger through an outbox to the connection."""

import asyncio
from collections.abc import Callable, Collection
from dataclasses import dataclass
from datetime import datetime, timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.fleet import Site
from gateway.domain.report_grid import forecast_end, forecast_start, report_end, report_start
from gateway.domain.settlement import SettlementStatement
from gateway.domain.verification import VerifiedReport
from gateway.ledger import Ledger, Topic
from gateway.services.readiness import EXPECTED_FAULTS, Backoff, Readiness
from gateway.services.report_data import AvailableIn, ReportData, needs_baseline
from protocols.errors import Rejected
from protocols.grid import GridConnection
from protocols.grid_report import IntervalReport, Receipt, ReportOrder, ReportQuantity, ResourceState

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
"""A statement, or a later verification, that is older corrects no report any more."""

_TOLD_DIGITS = 12
"""Of a verification's fingerprint, enough to tell it from others of the event."""

Subject = tuple[str, tuple[ReportQuantity, ...], bool]


@dataclass(frozen=True, slots=True)
class _Correction:
    """What takes the place of what was reported before ``at``; ``name`` tells it from others."""

    name: str
    verified: VerifiedReport
    at: datetime


class Reporting:
    """Serves the report orders of one connection. What could not be delivered stays in the outbox, in order.

    ``state`` and ``available_w`` are asked for the present whenever an order wants them, ``available_in`` for hours to
    come; without them nothing is reported of these. A baseline or reduction that was reported while it was preliminary
    is reported once more when a statement has settled it, and when sites below have changed their part after that.
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
        self, order: ReportOrder, start: datetime, end: datetime, now: datetime, *, correction: str = ""
    ) -> IntervalReport:
        # Two counterparties may well number their orders alike.
        report_id = f"{order.connection_id}-{order.order_id}-{int(start.timestamp())}"
        return IntervalReport(
            report_id=f"{report_id}~{correction}" if correction else report_id,
            order_id=order.order_id,
            connection_id=order.connection_id,
            resource_id=order.resource_id,
            created_at=now,
            intervals=await self._data.intervals(order, start, end, now),
            corrects=report_id if correction else "",
        )

    async def _queue_corrections(self, orders: Collection[ReportOrder], now: datetime) -> None:
        """Queue anew what was reported of an event before it was settled, once for each correction."""
        if not orders or not self._settled.is_set():
            return
        self._settled.clear()
        try:
            due = await self._corrections(now)
            for correction in due:
                for order in orders:
                    await self._correct(order, correction, now)
        except EXPECTED_FAULTS:
            self._settled.set()
            raise
        self._corrected &= {(order.order_id, one.name) for order in orders for one in due}

    async def _corrections(self, now: datetime) -> list[_Correction]:
        """Of each statement that is not too old: its figures, or those that its sites have given since."""
        found = [await self._correction(statement) for statement in await self._ledger.statements()]
        return [one for one in found if one is not None and one.at + CORRECTED_FOR > now and one.verified.intervals]

    async def _correction(self, statement: SettlementStatement) -> _Correction | None:
        stated = statement.verified
        if stated.connection_id != self._connection.connection_id:
            return None
        # Only what is verified by sites is verified more than once.
        latest = await self._ledger.verified(stated.connection_id, stated.event_id) if stated.sites else None
        if latest is None or latest.revision != stated.revision or latest.verified_at <= stated.verified_at:
            return _Correction(statement.statement_id, stated, statement.issued_at)
        return _Correction(
            f"{statement.statement_id}-{latest.inputs_sha256[:_TOLD_DIGITS]}", latest, latest.verified_at
        )

    async def _correct(self, order: ReportOrder, correction: _Correction, now: datetime) -> None:
        key = (order.order_id, correction.name)
        reported_to = await self._ledger.report_cursor(order.connection_id, order.order_id)
        if key in self._corrected or reported_to is None:
            return
        first, last = correction.verified.intervals[0], correction.verified.intervals[-1]
        ends_at = last.starts_at + timedelta(seconds=last.duration_s)
        start = report_start(order, first.starts_at)
        while start < ends_at:
            end = report_end(order, start)
            # What is reported from now on has the corrected figures anyway.
            if end is None or end > reported_to or end + SETTLE_DELAY > correction.at:
                break
            if end > first.starts_at:
                corrected = await self._report(order, start, end, now, correction=correction.name)
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
