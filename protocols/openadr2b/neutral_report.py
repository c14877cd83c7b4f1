"""Orders for reports, and their data, between OpenADR 2.0b's terms and the neutral face; watts inside."""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import ceil

from protocols.grid_report import (
    IntervalReport,
    ReportInterval,
    ReportOffer,
    ReportOrder,
    ReportQuantity,
    ResourceState,
)
from protocols.openadr2b import model_report as model
from protocols.openadr2b.model import Period
from protocols.openadr2b.neutral_event import whole_seconds
from protocols.openadr2b.neutral_intervals import UNCERTAIN, intervals_by_resource
from protocols.openadr2b.neutral_metadata import DataPoint, kind_of, points_of, r_id_of
from protocols.openadr2b.neutral_state import write_state

MOST_ORDERED = timedelta(days=3660)
"""An order that would last longer stands until it is cancelled, one that begins later or comes more rarely is none."""

CORRECTED = "~"
"""Between the id of a report and what makes that of its correction: 2.0b has no field for it."""

_GOOD = "Quality Good - Non Specific"
_WHOLE_COVERAGE_FRACTION = 0.995
"""From here on a coverage rounds to a confidence of 100."""

_JUDGED = frozenset({ReportQuantity.BASELINE, ReportQuantity.REDUCTION})
"""What may still be corrected."""


def read_offers(report: model.Report) -> Iterator[tuple[ReportOffer, model.ReportDescription]]:
    """The data points of a METADATA report that we can use: real power, by telemetry."""
    if report.name != "METADATA_TELEMETRY_USAGE":
        return
    for description in report.descriptions:
        unit = description.unit
        # openleadr writes a custom unit in W where its user says "powerReal" instead of "RealPower".
        if unit is not None and (unit.kind == "powerReal" or (unit.kind == "customUnit" and unit.units == "W")):
            sampling = description.sampling
            least_s = 1.0 if sampling is None else sampling.min_period.total_seconds()
            most_s = least_s if sampling is None else sampling.max_period.total_seconds()
            yield (
                ReportOffer(resource_id=description.r_id, min_sampling_s=least_s, max_sampling_s=max(least_s, most_s)),
                description,
            )


def read_order(
    request: model.ReportRequest, *, connection_id: str, offers: Sequence[ReportOffer], now: datetime
) -> ReportOrder | None:
    """An order for data points of one of our reports, ``None`` for anything that we do not offer, or cannot wait for.

    A report interval of no duration is open ended; a report-back of zero without an end is a report of one interval.
    Telemetry is of the present: of an interval that began before ``now`` the grid is kept, and the past not served.
    History without an interval is all that there is; with one that is open ended it is up to ``now``.
    """
    specifier = request.specifier
    asked = {payload.r_id for payload in specifier.payloads}
    offered = [point for offer in offers for point in points_of(offer) if point.specifier_id == specifier.specifier_id]
    points = [point for point in offered if point.r_id in asked]
    if not asked or len(points) < len(asked) or not _is_servable(specifier, now):
        return None
    granularity_s = max(specifier.granularity.total_seconds(), 0.0)
    if granularity_s or points[0].history:
        granularity_s = max(granularity_s, points[0].min_sampling_s)
    order = ReportOrder(
        order_id=request.report_request_id,
        connection_id=connection_id,
        resource_id=points[0].resource_id,
        granularity_s=granularity_s,
        report_back_s=max(specifier.report_back.total_seconds(), 0.0),
        starts_at=now,
        ends_at=None,
        quantities=tuple(point.quantity for point in points),
        history=points[0].history,
    )
    begins_at = None if specifier.interval is None else specifier.interval.starts_at
    length = timedelta(0) if specifier.interval is None else specifier.interval.duration
    if order.history:
        return _of_the_past(order, begins_at, length, points[0].history_s, now)
    step_s = max(granularity_s, points[0].min_sampling_s)
    if length <= timedelta(0) and not order.report_back_s:
        length = timedelta(seconds=step_s)
    starts_at = now if begins_at is None else _on_grid(begins_at, step_s, now)
    ends_at = _after(now if begins_at is None else begins_at, length) if length > timedelta(0) else None
    return replace(order, starts_at=starts_at, ends_at=ends_at)


def _is_servable(specifier: model.ReportSpecifier, now: datetime) -> bool:
    """Whether its times are of this age: sums with others could leave the calendar."""
    late = specifier.interval is not None and specifier.interval.starts_at - now > MOST_ORDERED
    return not late and max(specifier.granularity, specifier.report_back) <= MOST_ORDERED


def _of_the_past(
    order: ReportOrder, begins_at: datetime | None, length: timedelta, history_s: float, now: datetime
) -> ReportOrder:
    """The order with the time that it asks for, as far back as there is data."""
    oldest = now - timedelta(seconds=history_s)
    starts_at = oldest if begins_at is None else _on_grid(begins_at, order.granularity_s, oldest)
    if begins_at is None or length <= timedelta(0):
        return replace(order, starts_at=starts_at, ends_at=max(now, starts_at))
    ends_at = _after(begins_at, length)
    return replace(order, starts_at=starts_at, ends_at=None if ends_at is None else max(ends_at, starts_at))


def _on_grid(begins_at: datetime, step_s: float, least: datetime) -> datetime:
    """The first instant from ``least`` on that is a whole number of steps after the beginning."""
    behind_s = (least - begins_at).total_seconds()
    return begins_at if behind_s <= 0 else begins_at + timedelta(seconds=ceil(behind_s / step_s) * step_s)


def _after(begins_at: datetime, length: timedelta) -> datetime | None:
    # What lasts for years on end, or past the end of the calendar, is until cancelled.
    try:
        return None if length > MOST_ORDERED else begins_at + length
    except OverflowError:
        return None


def write_order(order: ReportOrder, points: Sequence[DataPoint]) -> model.ReportRequest:
    """Our request for an order, of data points that a counterparty offers; granularity is kept to what can be had.

    Raises ``ValueError`` where they are not all on offer in one report.
    """
    wanted = [
        point
        for point in points
        if point.resource_id == order.resource_id
        and point.history is order.history
        and point.quantity in order.quantities
    ]
    for specifier in dict.fromkeys(point.specifier_id for point in wanted):
        chosen = [point for point in wanted if point.specifier_id == specifier]
        if {point.quantity for point in chosen} == set(order.quantities):
            return _write_order(order, specifier, chosen)
    raise ValueError(
        f"no report of {order.resource_id} has {', '.join(order.quantities)} together"
        f"{' as history' if order.history else ''}: order them one by one, or what is on offer"
    )


def _write_order(order: ReportOrder, specifier: str, points: Sequence[DataPoint]) -> model.ReportRequest:
    granularity_s = order.granularity_s
    if granularity_s:
        granularity_s = min(max(granularity_s, points[0].min_sampling_s), points[0].max_sampling_s)
    length_s = 0.0 if order.ends_at is None else (order.ends_at - order.starts_at).total_seconds()
    return model.ReportRequest(
        report_request_id=order.order_id,
        specifier=model.ReportSpecifier(
            specifier_id=specifier,
            granularity=whole_seconds(granularity_s),
            report_back=whole_seconds(order.report_back_s),
            interval=Period(starts_at=order.starts_at, duration=whole_seconds(length_s)),
            payloads=tuple(
                model.SpecifierPayload(r_id=point.r_id, reading_type=point.reading_type) for point in points
            ),
        ),
    )


def write_request(
    order_id: str, report: model.Report, offer: ReportOffer, *, granularity_s: float, report_back_s: float
) -> model.ReportRequest:
    """Our request for a data point on offer, at what granularity it can be had."""
    reading_type = next(item.reading_type for item in report.descriptions if item.r_id == offer.resource_id)
    return model.ReportRequest(
        report_request_id=order_id,
        specifier=model.ReportSpecifier(
            specifier_id=report.specifier_id,
            granularity=whole_seconds(min(max(granularity_s, offer.min_sampling_s), offer.max_sampling_s)),
            report_back=whole_seconds(report_back_s),
            payloads=(model.SpecifierPayload(r_id=offer.resource_id, reading_type=reading_type),),
        ),
    )


def write_report(
    report: IntervalReport,
    *,
    order_id: str,
    quantities: Sequence[ReportQuantity] | None = None,
    history: bool = False,
) -> model.Report | None:
    """What is known of the ``quantities`` that were ordered (``None``: what there is), ``None`` where nothing is.

    Intervals of which nothing is known are left out: the schema demands a number, and any number would be taken for
    one. The coverage goes into the confidence, in percent; a baseline that may still change is of uncertain quality.
    """
    wanted = quantities_in(report) if quantities is None else quantities
    # One data point an interval: openleadr's VTN cannot read two, and none that we know cannot read one.
    rows = [
        (interval, payload)
        for quantity in wanted
        for interval in report.intervals
        if (payload := _write_payload(interval, quantity, report.resource_id)) is not None
    ]
    if not rows:
        return None
    starts_at = min(interval.starts_at for interval, _ in rows)
    ends_at = max(interval.starts_at + timedelta(seconds=interval.duration_s) for interval, _ in rows)
    prefix, name = kind_of(wanted, history=history)
    return model.Report(
        starts_at=starts_at,
        duration=whole_seconds((ends_at - starts_at).total_seconds()),
        intervals=tuple(
            model.ReportInterval(
                starts_at=interval.starts_at,
                duration=whole_seconds(interval.duration_s),
                uid=str(index),
                payloads=(payload,),
            )
            for index, (interval, payload) in enumerate(rows)
        ),
        report_id=_written_id(report),
        report_request_id=order_id,
        specifier_id=f"{prefix}-{report.resource_id}",
        name=name,
        created_at=report.created_at,
    )


def _written_id(report: IntervalReport) -> str:
    named = not report.corrects or report.report_id.startswith(f"{report.corrects}{CORRECTED}")
    return report.report_id if named else f"{report.corrects}{CORRECTED}{report.report_id}"


def quantities_in(report: IntervalReport) -> tuple[ReportQuantity, ...]:
    """What a report of an order that nobody remembers is of: its state, or its power, or what it says else."""
    known = {one for one in ReportQuantity for interval in report.intervals if _value(interval, one) is not None}
    for alone in (ReportQuantity.STATE, ReportQuantity.POWER):
        if alone in known:
            return (alone,)
    return tuple(one for one in ReportQuantity if one in known)


def _value(interval: ReportInterval, quantity: ReportQuantity) -> float | ResourceState | None:
    return {
        ReportQuantity.POWER: interval.power_w,
        ReportQuantity.BASELINE: interval.baseline_w,
        ReportQuantity.REDUCTION: interval.reduction_w,
        ReportQuantity.AVAILABLE: interval.available_w,
        ReportQuantity.STATE: interval.state,
    }[quantity]


def _write_payload(interval: ReportInterval, quantity: ReportQuantity, resource_id: str) -> model.ReportPayload | None:
    value = _value(interval, quantity)
    if value is None:
        return None
    whole = interval.coverage_fraction >= _WHOLE_COVERAGE_FRACTION
    certain = not interval.preliminary if quantity in _JUDGED else whole or quantity is ReportQuantity.STATE
    return model.ReportPayload(
        r_id=r_id_of(resource_id, quantity),
        confidence=round(100 * min(max(interval.coverage_fraction, 0.0), 1.0)),
        value=_written(value, quantity),
        quality=_GOOD if certain else UNCERTAIN,
    )


def _written(value: float | ResourceState, quantity: ReportQuantity) -> float | model.ResourceStatus:
    if isinstance(value, ResourceState):
        return write_state(value)
    # A change of demand: less of it is negative.
    return -value if quantity is ReportQuantity.REDUCTION else value


def read_report(
    report: model.Report, *, connection_id: str, granularity_s: float, scale: str
) -> Iterator[IntervalReport]:
    """As ``read_data``, where every rID is a power of its own, in the SI scale ``scale``."""
    r_ids = dict.fromkeys(payload.r_id for interval in report.intervals for payload in interval.payloads)
    points = [
        DataPoint(
            r_id=r_id,
            specifier_id=report.specifier_id,
            resource_id=r_id,
            quantity=ReportQuantity.POWER,
            history=False,
            reading_type="",
            scale=scale,
            min_sampling_s=granularity_s,
            max_sampling_s=granularity_s,
            history_s=0.0,
        )
        for r_id in r_ids
    ]
    return read_data(report, connection_id=connection_id, granularity_s=granularity_s, points=points)


def read_data(
    report: model.Report, *, connection_id: str, granularity_s: float, points: Sequence[DataPoint]
) -> Iterator[IntervalReport]:
    """The data of one report, by resource, in watts; ``points`` is what the METADATA report said of the rIDs.

    ``granularity_s`` holds where an interval says no duration. Values that are no finite number, or marked as no
    value, were not measured; rIDs that are not among the points are passed over.
    """
    known = {point.r_id: point for point in points if point.specifier_id == report.specifier_id}
    by_resource = intervals_by_resource(report, granularity_s, known)
    own_id = report.report_id or f"{report.report_request_id}/{report.created_at.isoformat()}"
    original, corrected, _ = own_id.partition(CORRECTED)
    for resource_id, intervals in by_resource.items():
        suffix = "" if len(by_resource) == 1 else f"/{resource_id}"
        yield IntervalReport(
            report_id=own_id + suffix,
            order_id=report.report_request_id,
            connection_id=connection_id,
            resource_id=resource_id,
            created_at=report.created_at,
            intervals=tuple(intervals),
            corrects=original + suffix if corrected else "",
        )
