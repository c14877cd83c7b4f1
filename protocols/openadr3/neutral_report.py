"""Reports between OpenADR 3's terms and the neutral face: quantities over intervals, see ``report_kinds``.

======================================  =====================================================================
OpenADR 3                               neutral
======================================  =====================================================================
DATA_QUALITY OK, or none                measured, coverage 1
DATA_QUALITY ESTIMATED                  power: coverage by the descriptor's confidence, else 0; baseline or
                                        reduction: preliminary, coverage 0
DATA_QUALITY MISSING or BAD             not measured
readingType FORECAST                    not read; written of forecasts, which are ESTIMATED
======================================  =====================================================================
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from math import isfinite

from protocols.grid_report import IntervalReport, ReportInterval, ReportQuantity
from protocols.openadr3 import model
from protocols.openadr3.names import AGGREGATED_REPORT, DATA_QUALITY, OPERATING_STATE, Version
from protocols.openadr3.neutral_order import Asked
from protocols.openadr3.report_kinds import (
    QUANTITIES,
    USAGE_FORECAST,
    from_watts,
    given_units,
    quantity_of,
    read_state,
    to_watts,
    watts_of,
    write_state,
)
from protocols.openadr3.timing import Contradiction, Span, is_cancelled, lay_out, said_at, spans_of
from protocols.openadr3.units import numbers, units_of

_BY_BASELINE = (ReportQuantity.BASELINE, ReportQuantity.REDUCTION)
_FORECAST = "FORECAST"
_MAY_CHANGE = (*_BY_BASELINE, ReportQuantity.AVAILABLE)
_NOT_MEASURED = frozenset({"MISSING", "BAD"})
_WHOLE_COVERAGE_FRACTION = 0.995
"""From here on a coverage rounds to a confidence of 100."""


def write_report(
    report: IntervalReport, *, asked: Asked, client_name: str, resource_name: str, version: Version
) -> model.Report:
    """What was measured, in the payload type and the unit that were asked for.

    Each interval says its own time and has the id of the event's interval that it is in, or a number of its own. One
    without a measurement says MISSING and no number: any number would be taken for one.
    """
    descriptor, event = asked.descriptor, asked.event
    ahead = asked.order.ahead_s > 0
    if event.metadata is None:
        raise ValueError("a report on an event that no VTN holds")
    spans = lay_out(event, received_at=report.created_at, version=version) if event.intervals else ()
    return model.Report(
        event_id=event.metadata.id,
        program_id=event.program_id if version is Version.V3_0 else None,
        client_name=client_name,
        name=report.report_id,
        payload_descriptors=(
            model.ReportPayloadDescriptor(
                payload_type=descriptor.payload_type,
                reading_type=_FORECAST if ahead else descriptor.reading_type or _usual_reading_type(descriptor),
                units=given_units(descriptor),
                confidence=_confidence(report) if _is_power(descriptor) and not ahead else None,
            ),
        ),
        resources=(
            model.ReportResource(
                name=AGGREGATED_REPORT if descriptor.aggregate else resource_name,
                intervals=tuple(
                    model.Interval(
                        id=next((span.interval.id for span in spans if _is_in(item.starts_at, span)), index),
                        period=model.IntervalPeriod(start=item.starts_at, duration=timedelta(seconds=item.duration_s)),
                        payloads=_write_payloads(item, descriptor),
                    )
                    for index, item in enumerate(report.intervals)
                ),
            ),
        ),
    )


def _is_power(descriptor: model.ReportDescriptor) -> bool:
    return QUANTITIES.get(descriptor.payload_type) is ReportQuantity.POWER


def _usual_reading_type(descriptor: model.ReportDescriptor) -> str | None:
    return None if descriptor.payload_type == OPERATING_STATE else "MEAN"


def _confidence(report: IntervalReport) -> int | None:
    """The mean coverage of what is estimated, in percent."""
    partial = [
        interval.coverage_fraction
        for interval in report.intervals
        if interval.power_w is not None and interval.coverage_fraction < _WHOLE_COVERAGE_FRACTION
    ]
    return None if not partial else round(100 * max(sum(partial) / len(partial), 0.0))


def _is_in(at: datetime, span: Span) -> bool:
    return span.starts_at <= at and (span.ends_at is None or at < span.ends_at)


def _write_payloads(item: ReportInterval, descriptor: model.ReportDescriptor) -> tuple[model.ValuesMap, ...]:
    kind = descriptor.payload_type
    units = given_units(descriptor)
    quantity = quantity_of(kind, units)
    if quantity is ReportQuantity.STATE and item.state is not None:
        return (model.ValuesMap(type=kind, values=(write_state(item.state),)),)
    power_w = None if quantity is None else watts_of(item, quantity)
    if power_w is None or units is None:
        return (model.ValuesMap(type=DATA_QUALITY, values=("MISSING",)),)
    return (
        model.ValuesMap(type=kind, values=(from_watts(power_w, kind, units, item.duration_s),)),
        model.ValuesMap(type=DATA_QUALITY, values=(_written_quality(item, quantity),)),
    )


def _written_quality(item: ReportInterval, quantity: ReportQuantity | None) -> str:
    partial = quantity is ReportQuantity.POWER and item.coverage_fraction < _WHOLE_COVERAGE_FRACTION
    return "ESTIMATED" if partial or (quantity in _MAY_CHANGE and item.preliminary) else "OK"


def read_report(
    report: model.Report, *, connection_id: str, event: model.Event | None, version: Version, received_at: datetime
) -> tuple[IntervalReport, ...]:
    """What a VEN sent us of its power and its state, by resource. Raises ``Contradiction``.

    What the report leaves open, the unit and the times of its intervals, ``event`` says, which it answers. Resources
    without anything that is a quantity to us are left out.
    """
    report_id = (report.name or "") if report.metadata is None else report.metadata.id
    descriptors = _descriptors(report, event)
    now = said_at(report, received_at)
    found: list[IntervalReport] = []
    for resource in report.resources:
        try:
            spans = spans_of(
                _with_times(resource, event, received_at, version), resource.period, now=now, version=version
            )
        except OverflowError as cause:
            raise Contradiction(f"the intervals of {resource.name} leave the calendar") from cause
        intervals = tuple(_read_intervals(spans, descriptors, resource.name))
        if intervals:
            found.append(
                IntervalReport(
                    report_id=report_id if len(report.resources) == 1 else f"{report_id}/{resource.name}",
                    order_id=report.event_id,
                    connection_id=connection_id,
                    resource_id=resource.name,
                    created_at=now,
                    intervals=intervals,
                )
            )
    return tuple(found)


def _descriptors(report: model.Report, event: model.Event | None) -> Mapping[str, model.ReportPayloadDescriptor]:
    """Descriptors by payload type: the report's own, with the units that the event asked for where they say none."""
    asked = {} if event is None else {item.payload_type: item.units for item in event.report_descriptors}
    own = {item.payload_type: item for item in report.payload_descriptors}
    return {
        name: model.ReportPayloadDescriptor(
            payload_type=name,
            units=units_of(name, (own[name].units if name in own else None) or asked.get(name)),
            confidence=own[name].confidence if name in own else None,
        )
        for name in QUANTITIES.keys() - {USAGE_FORECAST}
        if name not in own or own[name].reading_type != _FORECAST
    }


def _with_times(
    resource: model.ReportResource, event: model.Event | None, received_at: datetime, version: Version
) -> Sequence[model.Interval]:
    """The intervals, with the event's times by their ids where neither they nor their resource say any."""
    if resource.period is not None or event is None or not event.intervals or is_cancelled(event):
        return resource.intervals
    periods = {
        span.interval.id: model.IntervalPeriod(start=span.starts_at, duration=span.duration)
        for span in reversed(lay_out(event, received_at=received_at, version=version))
    }
    return [
        model.Interval(id=item.id, payloads=item.payloads, period=item.period or periods.get(item.id))
        for item in resource.intervals
    ]


def _read_intervals(
    spans: Sequence[Span], descriptors: Mapping[str, model.ReportPayloadDescriptor], resource_name: str
) -> Iterator[ReportInterval]:
    for span in spans:
        if span.duration is None:
            raise Contradiction(f"interval {span.interval.id} of {resource_name} has no end")
        duration_s = span.duration.total_seconds()
        found = _quantities(span.interval, descriptors, duration_s)
        quality = _quality(span.interval)
        state = _state(span.interval)
        if quality in _NOT_MEASURED:
            found = {}
        elif not found and state is None:
            continue
        power_w, confidence = found.get(ReportQuantity.POWER, (None, None))
        estimated = 0.0 if confidence is None else confidence / 100
        whole = 1.0 if quality != "ESTIMATED" else estimated
        # What rests on a baseline has no coverage of its own on the wire: settled, it is of the whole interval.
        settled = 1.0 if quality != "ESTIMATED" and not found.keys().isdisjoint(_BY_BASELINE) else 0.0
        yield ReportInterval(
            starts_at=span.starts_at,
            duration_s=duration_s,
            power_w=power_w,
            coverage_fraction=settled if power_w is None else whole,
            baseline_w=found.get(ReportQuantity.BASELINE, (None, None))[0],
            reduction_w=found.get(ReportQuantity.REDUCTION, (None, None))[0],
            available_w=found.get(ReportQuantity.AVAILABLE, (None, None))[0],
            state=None if state is None else read_state(state),
            preliminary=quality == "ESTIMATED" and not found.keys().isdisjoint(_BY_BASELINE),
        )


def _quantities(
    interval: model.Interval, descriptors: Mapping[str, model.ReportPayloadDescriptor], duration_s: float
) -> dict[ReportQuantity, tuple[float, int | None]]:
    """The mean watts that the first payload of each quantity says, and the confidence in them."""
    found: dict[ReportQuantity, tuple[float, int | None]] = {}
    for payload in interval.payloads:
        descriptor = descriptors.get(payload.type)
        values = numbers(payload.values)
        if descriptor is None or descriptor.units is None or values is None or len(values) != 1:
            continue
        quantity = quantity_of(payload.type, descriptor.units)
        if quantity is None or quantity is ReportQuantity.STATE or quantity in found:
            continue
        power_w = to_watts(values[0], payload.type, descriptor.units, duration_s)
        if isfinite(power_w):
            found[quantity] = (power_w, descriptor.confidence)
    return found


def _state(interval: model.Interval) -> str | None:
    for payload in interval.payloads:
        if payload.type == OPERATING_STATE and payload.values and isinstance(payload.values[0], str):
            return payload.values[0]
    return None


def _quality(interval: model.Interval) -> str:
    words = [payload.values[0] for payload in interval.payloads if payload.type == DATA_QUALITY and payload.values]
    return words[0] if words and isinstance(words[0], str) else "OK"
