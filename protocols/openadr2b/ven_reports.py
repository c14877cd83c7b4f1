"""EiReport, as a VEN serves it: what is offered, ordered, delivered and cancelled."""

from collections.abc import Callable, Collection, Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from protocols.errors import Rejected
from protocols.grid_report import IntervalReport, Receipt, ReportOffer, ReportOrder, ReportQuantity
from protocols.openadr2b.codec import Message
from protocols.openadr2b.conversation import (
    OK,
    REPORT,
    REPORT_NOT_SUPPORTED,
    Conversation,
    check,
    said_well,
)
from protocols.openadr2b.model import EiResponse
from protocols.openadr2b.model_report import (
    CanceledReport,
    CancelReport,
    CreatedReport,
    CreateReport,
    RegisteredReport,
    RegisterReport,
    Report,
    ReportRequest,
    UpdatedReport,
    UpdateReport,
)
from protocols.openadr2b.neutral_metadata import METADATA, write_offers
from protocols.openadr2b.neutral_report import quantities_in, read_order, write_report
from protocols.party_store import PartyStore, Registration

ReportQuestion = CreateReport | CancelReport | RegisterReport | UpdateReport
"""What a VTN may send about reports when it is polled."""

MAY_PASS = frozenset({"408", "425", "429"})
"""Of the codes 4xx, those after which the same message may be taken later."""


MOST_ORDERS = 100
"""Orders that stand at a time; more are refused."""

MOST_KEPT = 4 * MOST_ORDERS
"""Orders that are remembered, with those that ended."""

MOST_METADATA = 4
"""Times that the METADATA reports are sent anew for one turn, however often they were asked for."""

ENDED_KEPT = timedelta(days=7)
"""An order that has ended is remembered for so long: its last reports, and corrections of them, are still to go."""


class VenReports:
    """The reports of one VEN; orders are kept in the store.

    ``metadata_asked`` are the ids of orders for the METADATA reports themselves, which ``follow_up`` sends.
    """

    def __init__(
        self, conversation: Conversation, store: PartyStore, offers: Sequence[ReportOffer], new_id: Callable[[], str]
    ) -> None:
        self.metadata_asked: list[str] = []
        self._conversation = conversation
        self._store = store
        self._offers = tuple(offers)
        self._new_id = new_id

    async def orders(self) -> tuple[ReportOrder, ...]:
        """The orders that stand, and those whose last reports may still be on their way."""
        return await self._store.orders(self._conversation.connection_id)

    async def register(self, registration: Registration, now: datetime, *, asked_by: str | None = None) -> bool:
        """Send the METADATA reports and take the orders in the answer; false where it is worth another try.

        A new order replaces the ones there are for the same resource: the VTN has begun anew. A VTN that does not want
        our reports may still send events, so that its refusal is final. ``asked_by`` is the id of the order by which
        it asked for them.
        """
        message = RegisterReport(
            request_id=self._new_id(),
            reports=tuple(report for offer in self._offers for report in write_offers(offer, now)),
            ven_id=registration.party_id,
            report_request_id=asked_by,
        )
        try:
            heard = (await self._conversation.ask(REPORT, message, now)).message
            check(heard, "oadrRegisterReport", only_our_id=True)
        except Rejected as fault:
            return not fault.code.startswith("5")
        if isinstance(heard, RegisteredReport) and heard.requests:
            created = await self._take(heard.requests, message.request_id, registration, now, anew=True)
            await self._conversation.tell(REPORT, created, now)
        return True

    async def serve(self, message: ReportQuestion, registration: Registration, now: datetime) -> None:
        """Act on what a poll brought, and answer it."""
        await self._conversation.tell(REPORT, await self.answer(message, registration, now), now)
        await self.follow_up(registration, now)

    async def follow_up(self, registration: Registration, now: datetime) -> None:
        """Send the METADATA reports for which the VTN has asked."""
        while self.metadata_asked:
            await self.register(registration, now, asked_by=self.metadata_asked.pop(0))

    async def answer(self, message: ReportQuestion, registration: Registration, now: datetime) -> Message:
        """Act on what the VTN sent, durably; returns the answer."""
        ven_id = registration.party_id
        if isinstance(message, CreateReport):
            for request in message.requests:
                if request.specifier.specifier_id == METADATA and len(self.metadata_asked) < MOST_METADATA:
                    self.metadata_asked.append(request.report_request_id)
            return await self._take(message.requests, message.request_id, registration, now, anew=False)
        if isinstance(message, CancelReport):
            return await self._cancel(message, registration, now)
        if isinstance(message, RegisterReport):
            # A VTN may offer reports of its own; we want none.
            return RegisteredReport(response=said_well(message.request_id), ven_id=ven_id)
        response = EiResponse(
            code=REPORT_NOT_SUPPORTED, description="no report was asked for", request_id=message.request_id
        )
        return UpdatedReport(response=response, ven_id=ven_id)

    async def send(self, report: IntervalReport, registration: Registration, now: datetime) -> Receipt:
        """Deliver one report, see ``Ven.send_report``. An order of history is done with its last one."""
        order = _standing_order(report, await self.orders())
        if order is None:
            written = write_report(report, order_id=report.order_id)
        else:
            written = write_report(report, order_id=order.order_id, quantities=order.quantities, history=order.history)
        if written is None:
            receipt = _receipt(report, now, accepted=False, code="", detail="not sent: nothing was measured")
        else:
            receipt = await self._deliver(report, written, registration, now)
        if order is not None and order.history and _is_last(report, order):
            await self._store.cancel_order(order.connection_id, order.order_id)
        return receipt

    async def _deliver(
        self, report: IntervalReport, written: Report, registration: Registration, now: datetime
    ) -> Receipt:
        message = UpdateReport(request_id=self._new_id(), reports=(written,), ven_id=registration.party_id)
        try:
            heard = (await self._conversation.ask(REPORT, message, now)).message
            check(heard, "oadrUpdateReport", only_our_id=False)
        except Rejected as fault:
            if not fault.code.startswith("4") or fault.code in MAY_PASS:
                raise
            return _receipt(report, now, accepted=False, code=fault.code, detail=str(fault))
        if isinstance(heard, UpdatedReport) and heard.cancel is not None:
            canceled = await self._cancel(heard.cancel, registration, now)
            await self._conversation.tell(REPORT, canceled, now)
        return _receipt(report, now, accepted=True, code=OK)

    async def _take(
        self,
        requests: Sequence[ReportRequest],
        request_id: str,
        registration: Registration,
        now: datetime,
        *,
        anew: bool,
    ) -> CreatedReport:
        """Keep the orders that we can serve; the answer names every order that then stands.

        The same order once more is the one that stands, so that its grid stays. ``anew`` says that the VTN begins
        again: what it orders takes the place of what there was of the same.
        """
        standing = {order.order_id: order for order in await self._pruned(now)}
        wanted = [request for request in requests if request.specifier.specifier_id != METADATA]
        refused = ""
        for request in wanted:
            order = read_order(request, connection_id=registration.connection_id, offers=self._offers, now=now)
            if order is None:
                refused = f"report request {request.report_request_id[:60]} has a data point that we do not offer"
            elif order.order_id not in standing and _is_full(standing.values(), now):
                refused = f"{MOST_ORDERS} report requests stand already: cancel some"
            elif not _is_repeated(order, standing.get(order.order_id)):
                await self._store.save_order(order)
                for replaced in [one for one in standing.values() if anew and _is_replaced(one, order)]:
                    await self._store.cancel_order(registration.connection_id, replaced.order_id)
                    del standing[replaced.order_id]
                standing[order.order_id] = order
        response = said_well(request_id)
        if refused:
            response = EiResponse(code=REPORT_NOT_SUPPORTED, description=refused, request_id=request_id)
        return CreatedReport(response=response, pending=await self._pending(now), ven_id=registration.party_id)

    async def _cancel(self, message: CancelReport, registration: Registration, now: datetime) -> CanceledReport:
        """End orders: at once, or with a last report of what there is up to now.

        What is measured already is in the outbox and still follows, whether it was asked for or not.
        """
        standing = {order.order_id: order for order in await self.orders()}
        for order_id in message.report_request_ids:
            order = standing.get(order_id)
            if order is not None and message.to_follow and order.starts_at < now:
                ends_at = now if order.ends_at is None else min(now, order.ends_at)
                await self._store.save_order(replace(order, ends_at=ends_at))
            else:
                await self._store.cancel_order(registration.connection_id, order_id)
        return CanceledReport(
            response=said_well(message.request_id), pending=await self._pending(now), ven_id=registration.party_id
        )

    async def _pending(self, now: datetime) -> tuple[str, ...]:
        return tuple(order.order_id for order in _open(await self.orders(), now))

    async def _pruned(self, now: datetime) -> tuple[ReportOrder, ...]:
        """The orders, without those that ended so long ago that nothing of them is still to come."""
        kept = []
        for order in await self.orders():
            if order.ends_at is not None and order.ends_at + ENDED_KEPT < now and not order.history:
                await self._store.cancel_order(order.connection_id, order.order_id)
            else:
                kept.append(order)
        return tuple(kept)


def _open(orders: Iterable[ReportOrder], now: datetime) -> list[ReportOrder]:
    """The orders of which more is to come."""
    return [order for order in orders if order.ends_at is None or order.ends_at > now]


def _is_full(orders: Collection[ReportOrder], now: datetime) -> bool:
    return len(_open(orders, now)) >= MOST_ORDERS or len(orders) >= MOST_KEPT


def _is_last(report: IntervalReport, order: ReportOrder) -> bool:
    """Whether a report goes up to where its order ends, to a second."""
    if order.ends_at is None or not report.intervals:
        return False
    last = report.intervals[-1]
    return last.starts_at + timedelta(seconds=last.duration_s + 1.0) > order.ends_at


def _is_repeated(order: ReportOrder, known: ReportOrder | None) -> bool:
    """Whether an order is one that we have, but for when it came: without an interval it begins as it is read."""
    if known is None or known.ends_at is not None:
        return known == order
    return replace(order, starts_at=known.starts_at) == known


def _is_replaced(known: ReportOrder, order: ReportOrder) -> bool:
    return known.order_id != order.order_id and _subject(known) == _subject(order)


def _subject(order: ReportOrder) -> tuple[str, tuple[ReportQuantity, ...], bool]:
    return order.resource_id, order.quantities, order.history


def _standing_order(report: IntervalReport, orders: Sequence[ReportOrder]) -> ReportOrder | None:
    """The report's order, or the one that has replaced it; ``None`` where it was cancelled."""
    own = next((order for order in orders if order.order_id == report.order_id), None)
    if own is not None:
        return own
    known = quantities_in(report)
    of_the_same = (order for order in orders if order.resource_id == report.resource_id and not order.history)
    return next((order for order in of_the_same if known and set(known) <= set(order.quantities)), None)


def _receipt(report: IntervalReport, now: datetime, *, accepted: bool, code: str, detail: str = "") -> Receipt:
    return Receipt(report_id=report.report_id, accepted=accepted, received_at=now, code=code, detail=detail)
