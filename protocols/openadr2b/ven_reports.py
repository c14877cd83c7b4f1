"""EiReport, as a VEN serves it: what is offered, ordered, delivered and cancelled."""

from collections.abc import Callable, Sequence
from datetime import datetime

from protocols.errors import Rejected
from protocols.grid import IntervalReport, PartyStore, Receipt, Registration, ReportOffer, ReportOrder
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
    ReportRequest,
    UpdatedReport,
    UpdateReport,
)
from protocols.openadr2b.neutral_metadata import METADATA, write_offers
from protocols.openadr2b.neutral_report import read_order, write_report

ReportQuestion = CreateReport | CancelReport | RegisterReport | UpdateReport
"""What a VTN may send about reports when it is polled."""

MAY_PASS = frozenset({"408", "425", "429"})
"""Of the codes 4xx, those after which the same message may be taken later."""


class VenReports:
    """The reports of one VEN; orders are kept in the store."""

    def __init__(
        self, conversation: Conversation, store: PartyStore, offers: Sequence[ReportOffer], new_id: Callable[[], str]
    ) -> None:
        self._conversation = conversation
        self._store = store
        self._offers = tuple(offers)
        self._new_id = new_id

    async def orders(self) -> tuple[ReportOrder, ...]:
        """The orders that stand."""
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
            await self._take(heard.requests, message.request_id, registration, now, anew=True)
        return True

    async def serve(self, message: ReportQuestion, registration: Registration, now: datetime) -> None:
        """Act on what the VTN sent, and answer it."""
        ven_id = registration.party_id
        if isinstance(message, CreateReport):
            await self._take(message.requests, message.request_id, registration, now, anew=False)
        elif isinstance(message, CancelReport):
            await self._cancel(message, registration, now)
        elif isinstance(message, RegisterReport):
            # A VTN may offer reports of its own; we want none.
            registered = RegisteredReport(response=said_well(message.request_id), ven_id=ven_id)
            await self._conversation.tell(REPORT, registered, now)
        else:
            response = EiResponse(
                code=REPORT_NOT_SUPPORTED, description="no report was asked for", request_id=message.request_id
            )
            await self._conversation.tell(REPORT, UpdatedReport(response=response, ven_id=ven_id), now)

    async def send(self, report: IntervalReport, registration: Registration, now: datetime) -> Receipt:
        """Deliver one report, see ``Ven.send_report``."""
        written = write_report(report, order_id=_standing_order(report, await self.orders()))
        if written is None:
            return _receipt(report, now, accepted=False, code="", detail="not sent: nothing was measured")
        message = UpdateReport(request_id=self._new_id(), reports=(written,), ven_id=registration.party_id)
        try:
            heard = (await self._conversation.ask(REPORT, message, now)).message
            check(heard, "oadrUpdateReport", only_our_id=False)
        except Rejected as fault:
            if not fault.code.startswith("4") or fault.code in MAY_PASS:
                raise
            return _receipt(report, now, accepted=False, code=fault.code, detail=str(fault))
        if isinstance(heard, UpdatedReport) and heard.cancel is not None:
            await self._cancel(heard.cancel, registration, now)
        return _receipt(report, now, accepted=True, code=OK)

    async def _take(
        self,
        requests: Sequence[ReportRequest],
        request_id: str,
        registration: Registration,
        now: datetime,
        *,
        anew: bool,
    ) -> None:
        """Keep the orders that we can serve, and answer with every order that then stands."""
        wanted = [request for request in requests if request.specifier.specifier_id != METADATA]
        orders = [
            read_order(request, connection_id=registration.connection_id, offers=self._offers, now=now)
            for request in wanted
        ]
        taken = [order for order in orders if order is not None]
        if anew:
            resources = {order.resource_id for order in taken}
            for order in await self.orders():
                if order.resource_id in resources:
                    await self._store.cancel_order(registration.connection_id, order.order_id)
        for order in taken:
            await self._store.save_order(order)
        response = said_well(request_id)
        if len(taken) < len(wanted):
            response = EiResponse(
                code=REPORT_NOT_SUPPORTED, description="a data point that we do not offer", request_id=request_id
            )
        pending = tuple(order.order_id for order in await self.orders())
        created = CreatedReport(response=response, pending=pending, ven_id=registration.party_id)
        await self._conversation.tell(REPORT, created, now)
        for request in requests:
            # Only where it was asked for of itself: in an answer to our METADATA reports it would ask for ever.
            if request.specifier.specifier_id == METADATA and not anew:
                await self.register(registration, now, asked_by=request.report_request_id)

    async def _cancel(self, message: CancelReport, registration: Registration, now: datetime) -> None:
        """End orders. What is measured already is in the outbox and still follows, whether it was asked for or not."""
        for order_id in message.report_request_ids:
            await self._store.cancel_order(registration.connection_id, order_id)
        canceled = CanceledReport(
            response=said_well(message.request_id),
            pending=tuple(order.order_id for order in await self.orders()),
            ven_id=registration.party_id,
        )
        await self._conversation.tell(REPORT, canceled, now)


def _standing_order(report: IntervalReport, orders: Sequence[ReportOrder]) -> str:
    """The report's order, or the one that has replaced it."""
    if all(order.order_id != report.order_id for order in orders):
        for order in orders:
            if order.resource_id == report.resource_id:
                return order.order_id
    return report.order_id


def _receipt(report: IntervalReport, now: datetime, *, accepted: bool, code: str, detail: str = "") -> Receipt:
    return Receipt(report_id=report.report_id, accepted=accepted, received_at=now, code=code, detail=detail)
