"""The intervals of one report from OpenADR 2.0b's terms to the neutral face; watts inside."""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from math import isfinite

from protocols.grid_report import ReportInterval, ReportQuantity
from protocols.openadr2b import model_report as model
from protocols.openadr2b.columns import build_all
from protocols.openadr2b.event_kinds import SCALES
from protocols.openadr2b.neutral_metadata import DataPoint
from protocols.openadr2b.neutral_state import read_state

UNCERTAIN = "Quality Uncertain - Non Specific"

_Datum = tuple[datetime, float, model.ReportPayload, DataPoint]


def intervals_by_resource(
    report: model.Report, granularity_s: float, known: Mapping[str, DataPoint]
) -> Mapping[str, Iterable[ReportInterval]]:
    """The intervals of each resource, in the order of the report; ``known`` is what is known of each rID."""
    data = list(_data(report, granularity_s, known))
    if len(known) > 1:
        return _put_together(data)
    return {point.resource_id: _alone(data, point) for point in known.values() if data}


def _data(report: model.Report, granularity_s: float, known: Mapping[str, DataPoint]) -> Iterator[_Datum]:
    granularity = timedelta(seconds=granularity_s)
    cursor = report.starts_at or report.created_at
    for interval in report.intervals:
        starts_at = interval.starts_at or cursor
        duration = interval.duration
        duration_s = granularity_s if duration is None else duration.total_seconds()
        cursor = starts_at + (granularity if duration is None else duration)
        for payload in interval.payloads:
            point = known.get(payload.r_id)
            is_status = isinstance(payload.value, model.ResourceStatus)
            if point is not None and (point.quantity is ReportQuantity.STATE) is is_status:
                yield starts_at, duration_s, payload, point


def _alone(data: Sequence[_Datum], point: DataPoint) -> Sequence[ReportInterval]:
    """The intervals of one data point. By far the most reports are of one: of power, measured throughout."""
    values = [value for _, _, payload, _ in data if (value := _measured(payload)) is not None]
    if point.quantity is not ReportQuantity.POWER or len(values) < len(data):
        return [_first(*datum) for datum in data]
    scale = SCALES[point.scale or "none"]
    columns: dict[str, Sequence[object]] = {
        "starts_at": [starts_at for starts_at, _, _, _ in data],
        "duration_s": [duration_s for _, duration_s, _, _ in data],
        "power_w": [value * scale for value in values],
        "coverage_fraction": [_coverage_fraction(payload) for _, _, payload, _ in data],
    }
    return build_all(ReportInterval, len(data), columns)


def _measured(payload: model.ReportPayload) -> float | None:
    """The number of a payload, ``None`` where it is none, or marked as no value."""
    value = payload.value
    if isinstance(value, model.ResourceStatus) or not isfinite(value):
        return None
    return None if payload.quality is not None and payload.quality.startswith("No ") else value


def _coverage_fraction(payload: model.ReportPayload) -> float:
    return 1.0 if payload.confidence is None else payload.confidence / 100


def _put_together(data: Iterable[_Datum]) -> Mapping[str, Iterable[ReportInterval]]:
    """What several data points say of the same time is one interval; what one says twice is two."""
    by_resource: dict[str, dict[tuple[datetime, float, int], ReportInterval]] = {}
    seen: dict[tuple[datetime, float, str], int] = {}
    for starts_at, duration_s, payload, point in data:
        held = by_resource.setdefault(point.resource_id, {})
        key = (starts_at, duration_s, payload.r_id)
        times = seen[key] = seen.get(key, -1) + 1
        at = (starts_at, duration_s, times)
        before = held.get(at)
        held[at] = _first(starts_at, duration_s, payload, point) if before is None else _with(before, payload, point)
    return {resource_id: held.values() for resource_id, held in by_resource.items()}


def _with(interval: ReportInterval, payload: model.ReportPayload, point: DataPoint) -> ReportInterval:
    """The interval with one more data point read."""
    coverage_fraction = max(interval.coverage_fraction, _coverage_fraction(payload))
    if isinstance(payload.value, model.ResourceStatus):
        state = read_state(payload.value, SCALES[point.scale] if point.scale else None)
        return replace(interval, state=state, coverage_fraction=coverage_fraction)
    value = _measured(payload)
    if value is None:
        return interval
    value *= SCALES[point.scale or "none"]
    if point.quantity is ReportQuantity.POWER:
        return replace(interval, power_w=value, coverage_fraction=coverage_fraction)
    if point.quantity is ReportQuantity.AVAILABLE:
        return replace(interval, available_w=value, coverage_fraction=coverage_fraction)
    preliminary = interval.preliminary or payload.quality == UNCERTAIN
    if point.quantity is ReportQuantity.BASELINE:
        return replace(interval, baseline_w=value, coverage_fraction=coverage_fraction, preliminary=preliminary)
    return replace(interval, reduction_w=-value, coverage_fraction=coverage_fraction, preliminary=preliminary)


def _first(starts_at: datetime, duration_s: float, payload: model.ReportPayload, point: DataPoint) -> ReportInterval:
    """An interval of one data point."""
    value = _measured(payload) if point.quantity is ReportQuantity.POWER else None
    if value is not None:
        # By far the most are this, and nothing else: to fill an empty interval takes three times as long.
        return ReportInterval(
            starts_at=starts_at,
            duration_s=duration_s,
            power_w=value * SCALES[point.scale or "none"],
            coverage_fraction=_coverage_fraction(payload),
        )
    empty = ReportInterval(starts_at=starts_at, duration_s=duration_s, power_w=None, coverage_fraction=0.0)
    return _with(empty, payload, point)
