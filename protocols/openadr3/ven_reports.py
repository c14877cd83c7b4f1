"""The reports of one VEN: what events ask for, and how each is delivered once.

A report is named by its ``report_id``. Which names the VTN holds already is read once for each event and life, and
again after every answer that may have been lost: so one delivered again is put in its own place, and one that
corrects another in that one's.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from protocols.errors import MessageError, Rejected
from protocols.grid_report import IntervalReport, Receipt, ReportOffer, ReportOrder
from protocols.openadr3 import model
from protocols.openadr3.client import Client
from protocols.openadr3.neutral_order import Asked, read_orders
from protocols.openadr3.neutral_report import write_report
from protocols.openadr3.timing import Contradiction
from protocols.openadr3.ven_registration import NOT_FOR_US
from protocols.party_store import PartyStore

KEPT_AFTER = timedelta(days=1)
"""So long an order outlives its end: its last report comes after it, and may wait in an outbox."""

MAY_PASS = frozenset({"401", "408", "425", "429"})
"""Of the codes 4xx, those after which the same report may be taken later."""

_MOST_EVENTS = 1000
"""Whose reports' names are remembered at a time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class _Held:
    """A report at the VTN; ``as_read`` is what it says, where we have read it and not written it."""

    id: str
    as_read: model.Report | None = None


class VenReports:
    """Orders and deliveries; orders are kept in the store."""

    def __init__(self, client: Client, store: PartyStore, offers: Sequence[ReportOffer], client_name: str) -> None:
        self._client = client
        self._store = store
        self._offers = tuple(offers)
        self._client_name = client_name
        self._asked: dict[str, Asked] | None = None
        self._stored: dict[str, ReportOrder] | None = None
        self._names: dict[str, dict[str, _Held]] = {}

    async def orders(self) -> tuple[ReportOrder, ...]:
        """The orders that stand; before the first poll of a life those of the life before."""
        if self._asked is None:
            return await self._store.orders(self._client.connection_id)
        return tuple(asked.order for asked in self._asked.values())

    async def take(
        self,
        events: Iterable[model.Event],
        programs: Mapping[str, model.Program],
        now: datetime,
        *,
        whole: bool,
    ) -> None:
        """Have exactly the orders that the events make, and those whose time is over but for their last report.

        ``whole`` is false where events may have been missed: their orders stand on.
        """
        found = {
            asked.order.order_id: asked
            for event in events
            for asked in self._orders_of(event, programs.get(event.program_id), now)
        }
        stored = await self._stored_orders()
        for order_id, before in (self._asked or {}).items():
            ends_at = before.order.ends_at
            lasts = not whole if ends_at is None or ends_at > now else now < ends_at + KEPT_AFTER
            if order_id not in found and lasts:
                found[order_id] = before
        for order_id, asked in found.items():
            if stored.get(order_id) != asked.order:
                await self._store.save_order(asked.order)
                stored[order_id] = asked.order
        for order_id, order in list(stored.items()):
            waits = order.ends_at is not None and order.ends_at <= now < order.ends_at + KEPT_AFTER
            if order_id not in found and not waits:
                await self._store.cancel_order(self._client.connection_id, order_id)
                del stored[order_id]
        self._asked = found

    async def _stored_orders(self) -> dict[str, ReportOrder]:
        """What the store holds, read once: nobody else writes these."""
        if self._stored is None:
            orders = await self._store.orders(self._client.connection_id)
            self._stored = {order.order_id: order for order in orders}
        return self._stored

    def _orders_of(self, event: model.Event, program: model.Program | None, now: datetime) -> Iterable[Asked]:
        event = _with_units(event, program)
        for index, offer in enumerate(self._offers):
            try:
                found = read_orders(
                    event,
                    connection_id=self._client.connection_id,
                    offer=offer,
                    version=self._client.version,
                    received_at=now,
                )
            except Contradiction:
                # What the event asks to be done is judged elsewhere; a report that cannot be is none.
                return
            for asked in found:
                order_id = asked.order.order_id if index == 0 else f"{asked.order.order_id}.{index}"
                yield replace(asked, order=replace(asked.order, order_id=order_id))

    async def send(self, report: IntervalReport, now: datetime) -> Receipt:
        """Deliver one report, see ``Ven.send_report``."""
        asked = await self._asked_for(report.order_id, now)
        if asked is None:
            return _receipt(report, now, accepted=False, code="404", detail="the grid asks for this report no longer")
        written = write_report(
            report,
            asked=asked,
            client_name=self._client_name,
            resource_name=report.resource_id,
            version=self._client.version,
        )
        try:
            code = await self.deliver(written, (report.report_id, report.corrects), now)
        except Rejected as fault:
            if not fault.code.startswith("4") or fault.code in MAY_PASS:
                raise
            return _receipt(report, now, accepted=False, code=fault.code, detail=str(fault))
        return _receipt(report, now, accepted=True, code=code)

    async def deliver(self, report: model.Report, names: Sequence[str], now: datetime) -> str:
        """Have the VTN hold a report in the place of the one that has the first known of ``names``; the HTTP status.

        Raises what the client does.
        """
        known = await self._names_of(report.event_id, now)
        held = next((known[name] for name in names if name in known), None)
        if held is not None and held.as_read == report:
            # Its answer was lost. To put it once more would make a change of it; later it may be another's turn.
            known[report.name or ""] = replace(held, as_read=None)
            return "200"
        sure = False
        try:
            code, held_id = await self._put(report, held, now)
            sure = held_id is not None
            if held_id is not None:
                known[report.name or ""] = _Held(id=held_id)
            return code
        except MessageError:
            # Taken, by its status; what the VTN made of it can be read later.
            return "201"
        except Rejected as fault:
            sure = fault.code.startswith("4") and fault.code != "409"
            raise
        finally:
            if not sure:
                # Whether the VTN has it is to be looked up before it is sent again.
                self._names.pop(report.event_id, None)

    async def _put(self, report: model.Report, held: "_Held | None", now: datetime) -> tuple[str, str | None]:
        """Write it in the place of what is held, or anew where that is nothing; the status, and its id at the VTN."""
        if held is not None:
            try:
                await self._client.replace(report, f"/reports/{held.id}", now)
            except Rejected as fault:
                if fault.code != "404":
                    raise
            else:
                return "200", held.id
        created = await self._client.create(report, "/reports", now)
        return "201", None if created.metadata is None else created.metadata.id

    async def _names_of(self, event_id: str, now: datetime) -> dict[str, "_Held"]:
        """Our reports on an event that the VTN holds, by their names."""
        if event_id not in self._names:
            query = (("eventID", event_id), ("clientName", self._client_name))
            try:
                held = (await self._client.list_all(model.Report, "/reports", query, now)).items
            except Rejected as fault:
                if fault.code not in NOT_FOR_US:
                    raise
                # We may write reports and not read them: what was sent in this life is known all the same.
                held = ()
            ours = (item for item in held if item.event_id == event_id and item.client_name == self._client_name)
            if len(self._names) >= _MOST_EVENTS:
                self._names.clear()
            self._names[event_id] = {
                item.name: _Held(id=item.metadata.id, as_read=replace(item, metadata=None, client_id=None))
                for item in ours
                if item.name is not None and item.metadata is not None
            }
        return self._names[event_id]

    async def _asked_for(self, order_id: str, now: datetime) -> Asked | None:
        """What a report is written by. An event that is over is listed no more, but may still be read by its id."""
        asked = (self._asked or {}).get(order_id)
        if asked is not None:
            return asked
        event_id = order_id.partition(".")[0]
        try:
            event = await self._client.get(model.Event, f"/events/{event_id}", now)
            program = (
                None if event is None else await self._client.get(model.Program, f"/programs/{event.program_id}", now)
            )
        except Rejected as fault:
            if fault.code not in NOT_FOR_US:
                raise
            return None
        found = () if event is None else self._orders_of(event, program, now)
        return next((asked for asked in found if asked.order.order_id == order_id), None)


def _with_units(event: model.Event, program: model.Program | None) -> model.Event:
    """The event with the units of its report descriptors, which may be left to the program's payload descriptors."""
    said = {
        item.payload_type: item
        for item in (() if program is None else program.payload_descriptors)
        if isinstance(item, model.ReportPayloadDescriptor)
    }
    if not said:
        return event
    return replace(
        event,
        report_descriptors=tuple(
            replace(
                item,
                units=item.units or said[item.payload_type].units,
                reading_type=item.reading_type or said[item.payload_type].reading_type,
            )
            if item.payload_type in said
            else item
            for item in event.report_descriptors
        ),
    )


def _receipt(report: IntervalReport, now: datetime, *, accepted: bool, code: str, detail: str = "") -> Receipt:
    return Receipt(report_id=report.report_id, accepted=accepted, received_at=now, code=code, detail=detail)
