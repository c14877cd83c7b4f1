"""Reports between OpenADR 2.0b's terms and the neutral face. We report and ask for real power in watts."""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from math import ceil, isfinite

from protocols.grid import IntervalReport, ReportInterval, ReportOffer, ReportOrder
from protocols.openadr2b import model_report as model
from protocols.openadr2b.model import Targets
from protocols.openadr2b.neutral_event import SCALES, WATTS, whole_seconds

METADATA = "METADATA"
"""The specifier id by which a counterparty asks for the METADATA report itself."""

_NAME = "TELEMETRY_USAGE"
_GOOD = "Quality Good - Non Specific"
_UNCERTAIN = "Quality Uncertain - Non Specific"
_WHOLE_COVERAGE_FRACTION = 0.995
"""From here on a coverage rounds to a confidence of 100."""

_HISTORY = timedelta(hours=1)
"""How far back a METADATA report says that data can be had; our record keeps far more."""


def specifier_id(resource_id: str) -> str:
    """The report specifier of an offer: the same after every restart, so that orders outlive us."""
    return f"telemetry-{resource_id}"


def write_offer(offer: ReportOffer, now: datetime) -> model.Report:
    """The METADATA report of one offer: one data point, whose rID is the offer's ``resource_id``."""
    return model.Report(
        duration=_HISTORY,
        descriptions=(
            model.ReportDescription(
                r_id=offer.resource_id,
                data_source=Targets(resource_ids=(offer.resource_id,)),
                report_type="usage",
                unit=WATTS,
                reading_type="Mean",
                sampling=model.SamplingRate(
                    min_period=timedelta(seconds=max(1, ceil(offer.min_sampling_s))),
                    max_period=timedelta(seconds=max(1, ceil(offer.max_sampling_s))),
                    on_change=False,
                ),
            ),
        ),
        # Rule 311: the id of a METADATA report that was not asked for is 0.
        report_request_id="0",
        specifier_id=specifier_id(offer.resource_id),
        name=f"METADATA_{_NAME}",
        created_at=now,
    )


def read_offers(report: model.Report) -> Iterator[tuple[ReportOffer, model.ReportDescription]]:
    """The data points of a METADATA report that we can use: real power, by telemetry."""
    if report.name != f"METADATA_{_NAME}":
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
    """An order for one of our offers, ``None`` for anything that we do not offer.

    A report interval of no duration is open ended. A report-back of zero without an end is a report of one interval.
    Telemetry is of the present: what an order asks of the time before ``now`` is not served.
    """
    specifier = request.specifier
    asked = {payload.r_id for payload in specifier.payloads}
    for offer in offers:
        if specifier.specifier_id == specifier_id(offer.resource_id) and asked == {offer.resource_id}:
            break
    else:
        return None
    granularity_s = max(specifier.granularity.total_seconds(), 0.0)
    if granularity_s:
        granularity_s = max(granularity_s, offer.min_sampling_s)
    report_back_s = max(specifier.report_back.total_seconds(), 0.0)
    begins_at = now if specifier.interval is None else specifier.interval.starts_at
    length = timedelta(0) if specifier.interval is None else specifier.interval.duration
    if not length and not report_back_s:
        length = timedelta(seconds=max(granularity_s, offer.min_sampling_s))
    return ReportOrder(
        order_id=request.report_request_id,
        connection_id=connection_id,
        resource_id=offer.resource_id,
        granularity_s=granularity_s,
        report_back_s=report_back_s,
        starts_at=max(begins_at, now),
        ends_at=_after(begins_at, length) if length > timedelta(0) else None,
    )


def _after(begins_at: datetime, length: timedelta) -> datetime | None:
    try:
        return begins_at + length
    except OverflowError:
        # Past the end of the calendar: that is until cancelled.
        return None


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


def write_report(report: IntervalReport, *, order_id: str) -> model.Report | None:
    """What was measured, ``None`` where nothing was.

    Intervals without a measurement are left out: the schema demands a number, and any number would be taken for one.
    The coverage goes into the confidence, in percent.
    """
    measured = [(interval, interval.power_w) for interval in report.intervals if interval.power_w is not None]
    if not measured:
        return None
    starts_at, last = measured[0][0].starts_at, measured[-1][0]
    return model.Report(
        starts_at=starts_at,
        duration=whole_seconds((last.starts_at - starts_at).total_seconds() + last.duration_s),
        intervals=tuple(
            _write_interval(interval, power_w, index, report.resource_id)
            for index, (interval, power_w) in enumerate(measured)
        ),
        report_id=report.report_id,
        report_request_id=order_id,
        specifier_id=specifier_id(report.resource_id),
        name=_NAME,
        created_at=report.created_at,
    )


def _write_interval(interval: ReportInterval, power_w: float, index: int, resource_id: str) -> model.ReportInterval:
    whole = interval.coverage_fraction >= _WHOLE_COVERAGE_FRACTION
    return model.ReportInterval(
        starts_at=interval.starts_at,
        duration=whole_seconds(interval.duration_s),
        uid=str(index),
        payloads=(
            model.ReportPayload(
                r_id=resource_id,
                confidence=round(100 * min(max(interval.coverage_fraction, 0.0), 1.0)),
                value=power_w,
                quality=_GOOD if whole else _UNCERTAIN,
            ),
        ),
    )


def read_report(
    report: model.Report, *, connection_id: str, granularity_s: float, scale: str
) -> Iterator[IntervalReport]:
    """The data of one report, by rID, in watts; ``scale`` is the SI code that the METADATA report named.

    ``granularity_s`` holds where an interval says no duration. Values that are no finite number, or marked as no
    value, were not measured.
    """
    by_r_id: dict[str, list[ReportInterval]] = {}
    cursor = report.starts_at or report.created_at
    for interval in report.intervals:
        starts_at = interval.starts_at or cursor
        duration_s = granularity_s if interval.duration is None else interval.duration.total_seconds()
        cursor = starts_at + timedelta(seconds=duration_s)
        for payload in interval.payloads:
            if isinstance(payload.value, model.ResourceStatus):
                continue
            measured = isfinite(payload.value) and not (payload.quality or "").startswith("No ")
            by_r_id.setdefault(payload.r_id, []).append(
                ReportInterval(
                    starts_at=starts_at,
                    duration_s=duration_s,
                    power_w=payload.value * SCALES[scale] if measured else None,
                    coverage_fraction=(1.0 if payload.confidence is None else payload.confidence / 100)
                    if measured
                    else 0.0,
                )
            )
    own_id = report.report_id or f"{report.report_request_id}/{report.created_at.isoformat()}"
    for r_id, intervals in by_r_id.items():
        yield IntervalReport(
            report_id=own_id if len(by_r_id) == 1 else f"{own_id}/{r_id}",
            order_id=report.report_request_id,
            connection_id=connection_id,
            resource_id=r_id,
            created_at=report.created_at,
            intervals=tuple(intervals),
        )
