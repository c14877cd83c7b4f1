"""The reports that an event asks for, as orders to us.

A descriptor counts in the event's intervals, or in those that its period implies where it has none (User Guide 7.5).
One that wants what we offer, of the past or as a forecast, is an order; peaks and other payload types are none. Several
reports of the past follow each other: where a descriptor has them overlap (rolling reports), ours begin where the one
before ended. Forecasts are made as they are asked for, each of all the intervals that it is to be of.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from protocols.grid_report import ReportOffer, ReportOrder, ReportQuantity
from protocols.openadr3 import model
from protocols.openadr3.names import Version
from protocols.openadr3.report_kinds import given_units, is_forecast, quantity_of
from protocols.openadr3.timing import Contradiction, Span, is_cancelled, lay_out

_ALL = -1


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """An order, with the event and the descriptor it came by, which its reports are written by."""

    order: ReportOrder
    event: model.Event
    descriptor: model.ReportDescriptor


def read_orders(
    event: model.Event, *, connection_id: str, offer: ReportOffer, version: Version, received_at: datetime
) -> tuple[Asked, ...]:
    """The reports that an event asks for and that we can give of ``offer``. Raises ``Contradiction``.

    An order's id is the event's and the place of its descriptor, so that it is the same at every reading.
    """
    wanted = [
        (index, item, quantity)
        for index, item in enumerate(event.report_descriptors)
        if (quantity := _quantity(item)) in offer.quantities and quantity is not None and _is_of(item, offer)
    ]
    if event.metadata is None or not wanted or is_cancelled(event):
        return ()
    spans = lay_out(_with_intervals(event), received_at=received_at, version=version)
    if not spans:
        return ()
    found = []
    for index, item, quantity in wanted:
        counting = _Counting(item, spans, implied=not event.intervals, least_s=offer.min_sampling_s)
        starts_at, ends_at = counting.period()
        ahead_s = counting.ahead_s() if is_forecast(item) else 0.0
        order = ReportOrder(
            order_id=f"{event.metadata.id}.{index}",
            connection_id=connection_id,
            resource_id=offer.resource_id,
            granularity_s=counting.interval_s,
            report_back_s=counting.report_back_s(),
            starts_at=starts_at,
            ends_at=counting.last_forecast_before(starts_at, ends_at) if ahead_s else ends_at,
            quantities=(quantity,),
            ahead_s=ahead_s,
        )
        found.append(Asked(order=order, event=event, descriptor=item))
    return tuple(found)


def _quantity(descriptor: model.ReportDescriptor) -> ReportQuantity | None:
    backwards = descriptor.historical and descriptor.reading_type == "FORECAST"
    if backwards or descriptor.reading_type == "PEAK":
        return None
    return quantity_of(descriptor.payload_type, given_units(descriptor))


def _is_of(descriptor: model.ReportDescriptor, offer: ReportOffer) -> bool:
    """Whether the report is wanted of the resource: 3.0's targets may name others. What 3.1's mean is the VTN's."""
    named = {
        value
        for target in descriptor.targets
        if isinstance(target, model.ValuesMap) and target.type == "RESOURCE_NAME"
        for value in target.values
    }
    return not named or offer.resource_id in named


def _with_intervals(event: model.Event) -> model.Event:
    """The event with the one interval that its period implies, where it has none of its own."""
    if event.intervals or event.period is None or not event.period.duration:
        return event
    return model.Event(
        program_id=event.program_id,
        period=event.period,
        intervals=(model.Interval(id=0, payloads=()),),
        metadata=event.metadata,
    )


class _Counting:
    """A descriptor's counts of intervals, as times."""

    def __init__(
        self, descriptor: model.ReportDescriptor, spans: Sequence[Span], *, implied: bool, least_s: float
    ) -> None:
        self._spans = spans
        self._implied = implied
        self._descriptor = descriptor
        self._first = max(descriptor.start_interval, 0)
        counted = descriptor.num_intervals
        self._counted = max(1, len(spans) - self._first if counted == _ALL else counted)
        self._every = self._counted if descriptor.frequency == _ALL else max(0, descriptor.frequency)
        lengths = {span.duration for span in spans}
        length = next(iter(lengths)) if len(lengths) == 1 else None
        self.interval_s = least_s if length is None else max(least_s, length.total_seconds())

    def report_back_s(self) -> float:
        """How often; 0 for a single report at the end. Where the time is ours to choose: after each interval."""
        if self._descriptor.frequency == 0:
            return self.interval_s
        return 0.0 if self._descriptor.repeat == 1 else self._every * self.interval_s

    def ahead_s(self) -> float:
        """How long the time is that each forecast is of."""
        return self._counted * self.interval_s

    def last_forecast_before(self, starts_at: datetime, over_at: datetime | None) -> datetime | None:
        """Before when the last forecast is made; ``over_at`` where they go on for as long as the event."""
        if self._descriptor.repeat == _ALL:
            return over_at
        every_s = self.report_back_s() or self.ahead_s()
        return starts_at + timedelta(seconds=every_s * max(1, self._descriptor.repeat))

    def period(self) -> tuple[datetime, datetime | None]:
        """From when to when data is wanted; no end where the reports have none."""
        endless = self._descriptor.repeat == _ALL
        last = self._first + self._counted + self._every * max(0, self._descriptor.repeat - 1)
        if self._implied:
            starts_at, length = self._spans[0].starts_at, self._spans[0].duration
            if length is None:
                return starts_at, None
            return starts_at + self._first * length, None if endless else starts_at + last * length
        if self._first >= len(self._spans):
            raise Contradiction(f"a report from interval {self._first} on, of {len(self._spans)}")
        covered = self._spans[self._first : None if endless else last]
        ends = [span.ends_at for span in covered if span.ends_at is not None]
        return covered[0].starts_at, max(ends) if len(ends) == len(covered) else None
