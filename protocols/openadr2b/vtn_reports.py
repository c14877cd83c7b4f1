"""EiReport from the VTN's side: what VENs offer, what we order of it and when, and the data that comes."""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta

from protocols.errors import MessageError
from protocols.grid import Party
from protocols.grid_report import IntervalReport, ReportOrder, ReportQuantity
from protocols.openadr2b import model, model_report
from protocols.openadr2b.codec import Message, decode, encode
from protocols.openadr2b.conversation import INVALID_DATA, INVALID_ID, NOT_ALLOWED, said_well
from protocols.openadr2b.neutral_metadata import METADATA, DataPoint, offers_of, read_points
from protocols.openadr2b.neutral_report import read_data, write_order
from protocols.openadr2b.vtn_queue import VtnQueue
from protocols.openadr2b.vtn_state import VtnState
from protocols.party_store import PlacedOrder

MOST_POINTS = 2000
"""Data points of one VEN."""

VERIFIED = (ReportQuantity.BASELINE, ReportQuantity.REDUCTION)
"""What a site says of what it has delivered."""

_SAMPLING_TOLD_S = 1.0


class VtnReports:
    """Orders reports and takes their data. What a VEN can report is kept as it said it, in its party's ``detail``.

    Each resource's power is ordered as soon as it is offered, every ``report_back_s`` in intervals of
    ``granularity_s``; a ``report_back_s`` of zero orders nothing by itself. With ``verified_s`` so are baseline and
    reduction, where a resource has both on offer: what it verifies, preliminary first and corrected later.
    """

    def __init__(
        self,
        *,
        state: VtnState,
        queue: VtnQueue,
        granularity_s: float,
        report_back_s: float,
        verified_s: float | None,
        new_id: Callable[[], str],
    ) -> None:
        self._state = state
        self._queue = queue
        self._granularity_s = granularity_s
        self._report_back_s = report_back_s
        self._verified_s = verified_s
        self._new_id = new_id
        self._points: dict[str, tuple[str, tuple[DataPoint, ...]]] = {}

    async def order(self, party: Party, order: ReportOrder, now: datetime) -> None:
        """Order a report. Raises ``ValueError`` for what the VEN does not offer, ``QueueFull``."""
        request = write_order(order, self.points(party))
        message = model_report.CreateReport(
            request_id=f"order-{order.order_id}", requests=(request,), ven_id=party.party_id
        )
        await self._queue.put(party.party_id, message, now)
        await self._state.save_order(PlacedOrder(party_id=party.party_id, order=order))

    async def cancel(self, placed: PlacedOrder, now: datetime, *, last_report: bool) -> None:
        """End an order; with ``last_report`` what is measured until then is sent once more. Raises ``QueueFull``."""
        order_id = placed.order.order_id
        message = model_report.CancelReport(
            request_id=f"cancel-{order_id}",
            report_request_ids=(order_id,),
            to_follow=last_report,
            ven_id=placed.party_id,
        )
        await self._queue.put(placed.party_id, message, now)
        await self._state.end_orders((order_id,), now)

    async def ask_for_offers(self, party: Party, now: datetime) -> None:
        """Have a VEN say anew what it can report. Raises ``QueueFull``."""
        specifier = model_report.ReportSpecifier(
            specifier_id=METADATA,
            granularity=timedelta(0),
            report_back=timedelta(0),
            payloads=(model_report.SpecifierPayload(r_id=METADATA, reading_type="x-notApplicable"),),
        )
        order_id = f"metadata-{self._new_id()}"
        request = model_report.ReportRequest(report_request_id=order_id, specifier=specifier)
        message = model_report.CreateReport(request_id=f"order-{order_id}", requests=(request,), ven_id=party.party_id)
        await self._queue.put(party.party_id, message, now)

    async def offer(self, party: Party, now: datetime) -> None:
        """Tell a VEN what we can report to it, which is nothing: some wait for it. Raises ``QueueFull``."""
        message = model_report.RegisterReport(request_id=f"offer-{self._new_id()}", ven_id=party.party_id)
        await self._queue.put(party.party_id, message, now)

    def points(self, party: Party) -> tuple[DataPoint, ...]:
        """The data points of a party, as it said them last."""
        detail, points = self._points.get(party.party_id, ("", ()))
        if detail != party.detail:
            points = _read_detail(party.detail)
            self._points[party.party_id] = (party.detail, points)
        return points

    async def take_offers(
        self, message: model_report.RegisterReport, party: Party, now: datetime
    ) -> model_report.RegisteredReport:
        """Keep what a VEN can report and answer with every order that stands, under the ids that they have."""
        if sum(len(report.descriptions) for report in message.reports) > MOST_POINTS:
            response = model.EiResponse(
                code=NOT_ALLOWED, description=f"more than {MOST_POINTS} data points", request_id=message.request_id
            )
            return model_report.RegisteredReport(response=response, ven_id=party.party_id)
        points = tuple(point for report in message.reports for point in read_points(report))
        offers = offers_of(points)
        # Kept before the orders: their data cannot be read without it.
        kept = replace(message, request_id="", ven_id=None, report_request_id=None)
        party = replace(party, offers=offers, detail=encode(kept).decode())
        await self._state.save_party(party)
        if self._report_back_s > 0:
            await self._order_by_itself(
                party,
                points,
                now,
                quantities=(ReportQuantity.POWER,),
                granularity_s=self._granularity_s,
                report_back_s=self._report_back_s,
            )
        if self._verified_s is not None:
            await self._order_by_itself(
                party,
                points,
                now,
                quantities=VERIFIED,
                granularity_s=self._verified_s,
                report_back_s=self._verified_s,
            )
        requests = []
        for placed in self._state.orders_of(party.party_id, now):
            try:
                requests.append(write_order(placed.order, points))
            except ValueError:
                # Offered no longer. It may be again, and then the order stands.
                continue
        return model_report.RegisteredReport(
            response=said_well(message.request_id), requests=tuple(requests), ven_id=party.party_id
        )

    def read_data(
        self, message: model_report.UpdateReport, party: Party
    ) -> tuple[tuple[IntervalReport, ...], model_report.UpdatedReport]:
        """The data of orders of ours, and the answer, which names the first fault of what is not."""
        items: list[IntervalReport] = []
        faults: list[tuple[str, str]] = []
        for report in message.reports:
            placed = self._state.orders.get(report.report_request_id)
            if placed is None or placed.party_id != party.party_id:
                faults.append((INVALID_ID, f"report request {report.report_request_id[:60]} is not ours"))
                continue
            try:
                items += self._read(report, placed, party)
            except OverflowError:
                faults.append((INVALID_DATA, "intervals past the end of the calendar"))
        response = said_well(message.request_id)
        if faults:
            code, description = faults[0]
            response = model.EiResponse(code=code, description=description, request_id=message.request_id)
        return tuple(items), model_report.UpdatedReport(response=response, ven_id=party.party_id)

    async def take_refusal(self, asked: Message, answer: model.EiResponse, now: datetime) -> None:
        """An order that a VEN will not serve has ended."""
        if isinstance(asked, model_report.CreateReport) and not answer.well:
            await self._state.end_orders((request.report_request_id for request in asked.requests), now)

    def _read(self, report: model_report.Report, placed: PlacedOrder, party: Party) -> Sequence[IntervalReport]:
        # What no interval says holds: the granularity, or for single values the time that they are of.
        granularity_s = placed.order.granularity_s or _SAMPLING_TOLD_S
        return tuple(
            read_data(
                report,
                connection_id=self._state.connection_id,
                granularity_s=granularity_s,
                points=self.points(party),
            )
        )

    async def keep(self, item: IntervalReport, party: Party, now: datetime) -> None:
        """Keep a report. One of a known id with other content is kept beside: some VENs count their ids from one.

        An order of one report has ended with it: a VEN that registers anew is not asked for it again.
        """
        store = self._state.store
        if not await store.save_received_report(party.party_id, item):
            known = await store.received_report(item.connection_id, party.party_id, item.report_id)
            if known is not None and known != item:
                beside = f"{item.report_id}/{item.created_at.isoformat()}"
                await store.save_received_report(party.party_id, replace(item, report_id=beside))
        placed = self._state.orders.get(item.order_id)
        if placed is not None and not placed.order.report_back_s:
            await self._state.end_orders((item.order_id,), now)

    async def _order_by_itself(
        self,
        party: Party,
        points: Sequence[DataPoint],
        now: datetime,
        *,
        quantities: tuple[ReportQuantity, ...],
        granularity_s: float,
        report_back_s: float,
    ) -> None:
        """Order the quantities of each resource that offers them all, unless such an order stands."""
        standing = {
            placed.order.resource_id
            for placed in self._state.orders_of(party.party_id, now)
            if placed.order.ends_at is None and placed.order.quantities == quantities
        }
        offering = [
            {point.resource_id for point in points if point.quantity is quantity and not point.history}
            for quantity in quantities
        ]
        for resource_id in sorted(set.intersection(*offering) - standing):
            order = ReportOrder(
                order_id=f"order-{self._new_id()}",
                connection_id=self._state.connection_id,
                resource_id=resource_id,
                granularity_s=granularity_s,
                report_back_s=report_back_s,
                starts_at=now,
                ends_at=None,
                quantities=quantities,
            )
            await self._state.save_order(PlacedOrder(party_id=party.party_id, order=order))


def _read_detail(detail: str) -> tuple[DataPoint, ...]:
    if not detail:
        return ()
    try:
        kept = decode(detail.encode())
    except MessageError:
        return ()
    if not isinstance(kept, model_report.RegisterReport):
        return ()
    return tuple(point for report in kept.reports for point in read_points(report))
