"""What can be reported, between OpenADR 2.0b's METADATA reports and the neutral face.

=========  ==================================  ==============================================================
neutral    2.0b                                in
=========  ==================================  ==============================================================
POWER      usage                               TELEMETRY_USAGE, HISTORY_USAGE
BASELINE   baseline                            TELEMETRY_USAGE, HISTORY_USAGE
REDUCTION  deltaDemand, "change in demand as   TELEMETRY_USAGE, HISTORY_USAGE
           compared to the baseline": the
           sign is the other one
AVAILABLE  upRegulationCapacityAvailable:      TELEMETRY_USAGE
           less load is up, to a grid
STATE      x-resourceStatus                    TELEMETRY_STATUS
=========  ==================================  ==============================================================

All but STATE are real power (powerReal). Our first TELEMETRY_USAGE report has one data point only, site power: there
are VTNs that take no report with more. What needs a baseline is a report of its own.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil

from protocols.grid_report import ReportOffer, ReportQuantity
from protocols.openadr2b import model_report as model
from protocols.openadr2b.event_kinds import WATTS
from protocols.openadr2b.model import ItemBase, Targets
from protocols.openadr2b.neutral_event import whole_seconds

METADATA = "METADATA"
"""The specifier id by which a counterparty asks for the METADATA report itself."""

USAGE = "TELEMETRY_USAGE"
STATUS = "TELEMETRY_STATUS"
HISTORY = "HISTORY_USAGE"

HISTORY_SAMPLING_S = 60.0
"""The finest that history is offered at: means over a minute."""

_HISTORY_OF_TELEMETRY = timedelta(hours=1)
"""How far back a METADATA report of telemetry says that data can be had; our record keeps far more."""

_TYPE_OF = {
    ReportQuantity.POWER: ("usage", "Mean"),
    ReportQuantity.BASELINE: ("baseline", "Estimated"),
    ReportQuantity.REDUCTION: ("deltaDemand", "Derived"),
    ReportQuantity.AVAILABLE: ("upRegulationCapacityAvailable", "Estimated"),
    ReportQuantity.STATE: ("x-resourceStatus", "x-notApplicable"),
}
_QUANTITY_OF = {
    "usage": ReportQuantity.POWER,
    "demand": ReportQuantity.POWER,
    "reading": ReportQuantity.POWER,
    "avgUsage": ReportQuantity.POWER,
    "avgDemand": ReportQuantity.POWER,
    "baseline": ReportQuantity.BASELINE,
    "deltaDemand": ReportQuantity.REDUCTION,
    "deltaUsage": ReportQuantity.REDUCTION,
    "upRegulationCapacityAvailable": ReportQuantity.AVAILABLE,
    "x-resourceStatus": ReportQuantity.STATE,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class DataPoint:
    """One rID of one METADATA report, in neutral terms.

    ``scale`` is the SI code of its watts, ``""`` where it has no unit in watts (a status may have none).
    """

    r_id: str
    specifier_id: str
    resource_id: str
    quantity: ReportQuantity
    history: bool
    reading_type: str
    scale: str
    min_sampling_s: float
    max_sampling_s: float
    history_s: float


@dataclass(frozen=True, slots=True)
class _Kind:
    """One METADATA report of an offer: how its specifier begins, its name, and what can be in it."""

    prefix: str
    name: str
    quantities: tuple[ReportQuantity, ...]


_KINDS = (
    _Kind("telemetry", USAGE, (ReportQuantity.POWER,)),
    _Kind("response", USAGE, (ReportQuantity.BASELINE, ReportQuantity.REDUCTION, ReportQuantity.AVAILABLE)),
    _Kind("status", STATUS, (ReportQuantity.STATE,)),
    _Kind("history", HISTORY, (ReportQuantity.POWER, ReportQuantity.BASELINE, ReportQuantity.REDUCTION)),
)


def kind_of(quantities: Iterable[ReportQuantity], *, history: bool) -> tuple[str, str]:
    """The prefix of the specifier, and the name, of our report that has these quantities."""
    asked = set(quantities)
    kind = next(kind for kind in _KINDS if (kind.name == HISTORY) is history and asked <= set(kind.quantities))
    return kind.prefix, kind.name


def specifier_id(
    resource_id: str, quantities: Iterable[ReportQuantity] = (ReportQuantity.POWER,), *, history: bool = False
) -> str:
    """The report specifier of an offer: the same after every restart, so that orders outlive us."""
    return f"{kind_of(quantities, history=history)[0]}-{resource_id}"


def r_id_of(resource_id: str, quantity: ReportQuantity) -> str:
    """The data point of a quantity; the resource's id alone is its power."""
    return resource_id if quantity is ReportQuantity.POWER else f"{resource_id}-{quantity}"


def points_of(offer: ReportOffer) -> tuple[DataPoint, ...]:
    """Every data point that we offer of a resource."""
    return tuple(
        DataPoint(
            r_id=r_id_of(offer.resource_id, quantity),
            specifier_id=f"{kind.prefix}-{offer.resource_id}",
            resource_id=offer.resource_id,
            quantity=quantity,
            history=kind.name == HISTORY,
            reading_type=_TYPE_OF[quantity][1],
            scale="none",
            min_sampling_s=max(HISTORY_SAMPLING_S, offer.min_sampling_s)
            if kind.name == HISTORY
            else offer.min_sampling_s,
            max_sampling_s=max(HISTORY_SAMPLING_S, offer.max_sampling_s)
            if kind.name == HISTORY
            else offer.max_sampling_s,
            history_s=offer.history_s if kind.name == HISTORY else 0.0,
        )
        for kind in _KINDS
        if kind.name != HISTORY or offer.history_s > 0
        for quantity in kind.quantities
        if quantity in offer.quantities
    )


def write_offers(offer: ReportOffer, now: datetime) -> tuple[model.Report, ...]:
    """The METADATA reports of one offer, that of its power first."""
    points = points_of(offer)
    return tuple(
        _write_metadata(kind.name, chosen, now)
        for kind in _KINDS
        if (chosen := [point for point in points if point.specifier_id == f"{kind.prefix}-{offer.resource_id}"])
    )


def _write_metadata(name: str, points: Sequence[DataPoint], now: datetime) -> model.Report:
    history_s = points[0].history_s
    return model.Report(
        duration=whole_seconds(history_s) if history_s else _HISTORY_OF_TELEMETRY,
        descriptions=tuple(_describe(point) for point in points),
        # Rule 311: the id of a METADATA report that was not asked for is 0.
        report_request_id="0",
        specifier_id=points[0].specifier_id,
        name=f"{METADATA}_{name}",
        created_at=now,
    )


def _describe(point: DataPoint) -> model.ReportDescription:
    report_type, reading_type = _TYPE_OF[point.quantity]
    return model.ReportDescription(
        r_id=point.r_id,
        data_source=Targets(resource_ids=(point.resource_id,)),
        report_type=report_type,
        unit=WATTS,
        reading_type=reading_type,
        sampling=model.SamplingRate(
            min_period=timedelta(seconds=max(1, ceil(point.min_sampling_s))),
            max_period=timedelta(seconds=max(1, ceil(point.max_sampling_s))),
            on_change=False,
        ),
    )


def read_points(report: model.Report) -> tuple[DataPoint, ...]:
    """The data points of a METADATA report that we can use: real power, and status.

    A point's resource is the one that it names as its source, else it is called by its rID; so it is too where two
    points would be the same quantity of the same resource.
    """
    name = (report.name or "").removeprefix(f"{METADATA}_")
    if name not in {USAGE, STATUS, HISTORY}:
        return ()
    found = [point for item in report.descriptions if (point := _read_point(report, name, item)) is not None]
    named = [(point.resource_id, point.quantity) for point in found]
    return tuple(
        replace(point, resource_id=point.r_id) if named.count(key) > 1 else point
        for point, key in zip(found, named, strict=True)
    )


def _read_point(report: model.Report, name: str, item: model.ReportDescription) -> DataPoint | None:
    quantity = _QUANTITY_OF.get(item.report_type)
    scale = "" if item.unit is None or not _is_power(item.unit) else item.unit.scale or "none"
    if quantity is None or (quantity is ReportQuantity.STATE) is not (name == STATUS):
        return None
    if quantity is not ReportQuantity.STATE and not scale:
        return None
    sources = () if item.data_source is None else item.data_source.resource_ids
    least_s = 1.0 if item.sampling is None else item.sampling.min_period.total_seconds()
    most_s = least_s if item.sampling is None else item.sampling.max_period.total_seconds()
    history_s = 0.0 if report.duration is None else report.duration.total_seconds()
    return DataPoint(
        r_id=item.r_id,
        specifier_id=report.specifier_id,
        resource_id=sources[0] if len(sources) == 1 else item.r_id,
        quantity=quantity,
        history=name == HISTORY,
        reading_type=item.reading_type,
        scale=scale,
        min_sampling_s=least_s,
        max_sampling_s=max(least_s, most_s),
        history_s=max(history_s, 0.0) if name == HISTORY else 0.0,
    )


def _is_power(unit: ItemBase) -> bool:
    # openleadr writes a custom unit in W where its user says "powerReal" instead of "RealPower".
    return unit.kind == "powerReal" or (unit.kind == "customUnit" and unit.units == "W")


def offers_of(points: Iterable[DataPoint]) -> tuple[ReportOffer, ...]:
    """What a counterparty offers, one offer a resource: what can be had of all its data points together."""
    by_resource: dict[str, list[DataPoint]] = {}
    for point in points:
        by_resource.setdefault(point.resource_id, []).append(point)
    return tuple(
        ReportOffer(
            resource_id=resource_id,
            min_sampling_s=min(point.min_sampling_s for point in held),
            max_sampling_s=max(point.max_sampling_s for point in held),
            quantities=tuple(one for one in ReportQuantity if any(point.quantity is one for point in held)),
            history_s=max(point.history_s for point in held),
        )
        for resource_id, held in by_resource.items()
    )
