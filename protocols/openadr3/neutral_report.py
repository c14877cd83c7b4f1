"""Reports between OpenADR 3's terms and the neutral face, which is mean power over intervals.

=====================================  =====================================================================
OpenADR 3                              neutral
=====================================  =====================================================================
DEMAND or READING, in a unit of power  mean power of the interval (W = KW * 1000)
USAGE, in a unit of energy             its mean power (W = KWH * 3,600,000 / seconds)
DATA_QUALITY OK, or none               measured, coverage 1
DATA_QUALITY ESTIMATED                 measured, coverage by the descriptor's confidence, else 0
DATA_QUALITY MISSING or BAD            not measured
BASELINE, OPERATING_STATE, STORAGE_..  carried by the codec, no place in the face
=====================================  =====================================================================
"""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime, timedelta
from math import isfinite

from protocols.grid import IntervalReport, ReportInterval
from protocols.openadr3 import model
from protocols.openadr3.names import AGGREGATED_REPORT, DATA_QUALITY, Version
from protocols.openadr3.neutral_order import Asked
from protocols.openadr3.timing import Contradiction, Span, is_cancelled, lay_out, said_at, spans_of
from protocols.openadr3.units import POWER_TYPES, WATT_HOURS, WATTS, numbers, units_of

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
                reading_type=descriptor.reading_type or "MEAN",
                units=units_of(descriptor.payload_type, descriptor.units),
                confidence=_confidence(report),
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
    if item.power_w is None:
        return (model.ValuesMap(type=DATA_QUALITY, values=("MISSING",)),)
    units = units_of(descriptor.payload_type, descriptor.units) or ""
    in_power = units in WATTS
    value = item.power_w / WATTS[units] if in_power else item.power_w * item.duration_s / 3600 / WATT_HOURS[units]
    quality = "OK" if item.coverage_fraction >= _WHOLE_COVERAGE_FRACTION else "ESTIMATED"
    return (
        model.ValuesMap(type=descriptor.payload_type, values=(value,)),
        model.ValuesMap(type=DATA_QUALITY, values=(quality,)),
    )


def read_report(
    report: model.Report, *, connection_id: str, event: model.Event | None, version: Version, received_at: datetime
) -> tuple[IntervalReport, ...]:
    """What a VEN sent us of its power, by resource. Raises ``Contradiction``.

    What the report leaves open, the unit and the times of its intervals, ``event`` says, which it answers. Resources
    without anything that we can read as power are left out.
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
        for name in POWER_TYPES
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
        found = _power(span.interval, descriptors, duration_s)
        quality = _quality(span.interval)
        if quality in _NOT_MEASURED:
            yield ReportInterval(starts_at=span.starts_at, duration_s=duration_s, power_w=None, coverage_fraction=0.0)
        elif found is not None:
            power_w, confidence = found
            estimated = 0.0 if confidence is None else confidence / 100
            yield ReportInterval(
                starts_at=span.starts_at,
                duration_s=duration_s,
                power_w=power_w,
                coverage_fraction=estimated if quality == "ESTIMATED" else 1.0,
            )


def _power(
    interval: model.Interval, descriptors: Mapping[str, model.ReportPayloadDescriptor], duration_s: float
) -> tuple[float, int | None] | None:
    """The mean power that the first payload of power or energy says, and the confidence in it."""
    for payload in interval.payloads:
        descriptor = descriptors.get(payload.type)
        values = numbers(payload.values)
        if descriptor is None or descriptor.units is None or values is None or len(values) != 1:
            continue
        if descriptor.units in WATTS:
            power_w = values[0] * WATTS[descriptor.units]
        elif descriptor.units in WATT_HOURS and payload.type == "USAGE":
            power_w = values[0] * WATT_HOURS[descriptor.units] / (duration_s / 3600)
        else:
            continue
        if isfinite(power_w):
            return power_w, descriptor.confidence
    return None


def _quality(interval: model.Interval) -> str:
    words = [payload.values[0] for payload in interval.payloads if payload.type == DATA_QUALITY and payload.values]
    return words[0] if words and isinstance(words[0], str) else "OK"
