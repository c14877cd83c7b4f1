"""Reports that are ordered one by one: in 3.1 standing events that ask for nothing but reports (User Guide 7.5).

An order is one event under its own id, which only the ven that it is for can read. Its period is one interval, and the
descriptors count in such intervals: each report is of as many as are measured between two of them.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from protocols.grid import Target
from protocols.grid_report import ReportOrder, ReportQuantity
from protocols.openadr3 import model
from protocols.openadr3.names import OPERATING_STATE
from protocols.openadr3.values import FOREVER, NOW
from protocols.openadr3.vtn_answers import Refused
from protocols.openadr3.vtn_granting import grant, program_called
from protocols.openadr3.vtn_objects import VtnObjects, id_of
from protocols.party_store import PartyStore, PlacedOrder

ASKED = {
    ReportQuantity.POWER: model.ReportDescriptor(payload_type="DEMAND", reading_type="MEAN", units="KW"),
    ReportQuantity.BASELINE: model.ReportDescriptor(payload_type="BASELINE", reading_type="MEAN", units="KW"),
    ReportQuantity.REDUCTION: model.ReportDescriptor(payload_type="DELTA_USAGE", units="KWH"),
    ReportQuantity.AVAILABLE: model.ReportDescriptor(payload_type="LOAD_SHED_DELTA_AVAILABLE", units="KW"),
    ReportQuantity.STATE: model.ReportDescriptor(payload_type=OPERATING_STATE),
}
"""What is asked for to have a quantity; ``report_kinds`` reads what comes."""


class VtnOrders:
    """The standing events of one VTN, all in the program of that name: those of orders, and those to every ven."""

    def __init__(
        self,
        *,
        connection_id: str,
        store: PartyStore,
        objects: VtnObjects,
        now: Callable[[], datetime],
        program_name: str,
    ) -> None:
        self._connection_id = connection_id
        self._store = store
        self._objects = objects
        self._now = now
        self._program_name = program_name

    async def stand(self, event_id: str, asked: Sequence[model.ReportDescriptor], every: timedelta) -> None:
        """Have every VEN report all the time, by an event that asks for nothing else (User Guide 7.5)."""
        program = await program_called(self._objects, self._program_name)
        wanted = model.Event(
            program_id=id_of(program),
            name=event_id,
            # Without end, or it would be over after the first report.
            duration=FOREVER,
            period=model.IntervalPeriod(start=self._now(), duration=every),
            report_descriptors=tuple(replace(one, report_intervals="INTERVALS", repeat=-1) for one in asked),
        )
        held = self._objects.one(model.Event, event_id)
        if held is None:
            await self._objects.add(wanted, object_id=event_id)
        elif held.period is None or held.period.duration != every:
            await self._objects.change(held, lambda _: wanted)

    async def placed(self) -> tuple[PlacedOrder, ...]:
        return await self._store.placed_orders(self._connection_id)

    async def place(self, party_id: str, order: ReportOrder) -> None:
        """Order it; again, under the id of one that is there, changes nothing.

        Raises ``KeyError`` for an unknown party, ``ValueError`` for what 3.1 cannot ask for.
        """
        ven = self._objects.one(model.Ven, party_id)
        if ven is None:
            raise KeyError(party_id)
        wanted = _event(order, party_id)
        if order.resource_id:
            raise ValueError(f"in 3.1 a report is of all that {ven.name} has: leave the resource out")
        if self._objects.one(model.Event, order.order_id) is None:
            # Both before the event: whoever is told of it has to be able to read it.
            await grant(self._objects, Target(kind="ven", value=party_id))
            program = await program_called(self._objects, self._program_name)
            try:
                await self._objects.add(replace(wanted, program_id=id_of(program)), object_id=order.order_id)
            except Refused as cause:
                raise ValueError(cause.detail) from cause
        if order.order_id not in {placed.order.order_id for placed in await self.placed()}:
            await self._store.save_placed_order(PlacedOrder(party_id=party_id, order=order))

    async def end(self, order_id: str) -> None:
        """Empty the event's window, and ask for nothing any more. Raises ``KeyError`` for one never placed."""
        placed = {one.order.order_id: one for one in await self.placed()}[order_id]
        held = self._objects.one(model.Event, order_id)
        if held is not None:
            over = model.IntervalPeriod(start=NOW, duration=timedelta(0))
            await self._objects.change(
                held, lambda event: replace(event, period=over, duration=timedelta(0), report_descriptors=())
            )
        if placed.ended_at is None:
            await self._store.save_placed_order(replace(placed, ended_at=self._now()))

    async def end_all(self, party_id: str) -> None:
        """End what was ordered of a party that is no more."""
        for placed in await self.placed():
            if placed.party_id == party_id and placed.ended_at is None:
                await self.end(placed.order.order_id)


def _event(order: ReportOrder, party_id: str) -> model.Event:
    """The standing event of an order, of no program yet. Raises ``ValueError`` for what 3.1 cannot ask for."""
    if order.history:
        raise ValueError("this VTN orders no reports of the past over OpenADR 3.1: order from now on")
    if order.granularity_s < 1.0:
        raise ValueError("a report in 3.1 counts in intervals: give them a length of a second or more")
    if order.report_back_s <= 0.0 and order.ends_at is None:
        raise ValueError("a report that is sent once, at the end, needs an end")
    length_s = None if order.ends_at is None else (order.ends_at - order.starts_at).total_seconds()
    every_s = order.report_back_s or length_s or 0.0
    if every_s % order.granularity_s > 1e-6:
        raise ValueError(
            f"a report every {every_s:g} s is not of whole intervals of {order.granularity_s:g} s, which 3.1 counts in"
        )
    counted = round(every_s / order.granularity_s)
    # An end is said as a number of reports: the event itself goes on, or the last one would come after it.
    repeat = -1 if length_s is None else ceil(length_s / every_s - 1e-6)
    return model.Event(
        program_id="unknown",
        name=order.order_id,
        duration=FOREVER,
        period=model.IntervalPeriod(start=order.starts_at, duration=timedelta(seconds=order.granularity_s)),
        targets=(party_id,),
        report_descriptors=tuple(
            replace(ASKED[quantity], num_intervals=counted, frequency=counted, repeat=repeat)
            for quantity in order.quantities
        ),
    )
