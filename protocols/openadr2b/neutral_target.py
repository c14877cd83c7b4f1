"""Targets between OpenADR 2.0b's terms and the neutral face: every kind that an eiTarget has."""

from collections.abc import Iterator, Sequence

from protocols.grid import Target
from protocols.openadr2b import model

_BY_KIND = {
    "ven": "ven_ids",
    "group": "group_ids",
    "resource": "resource_ids",
    "party": "party_ids",
    "groupName": "group_names",
    "aggregatedPnode": "aggregated_pnodes",
    "endDeviceAsset": "end_device_assets",
    "meterAsset": "meter_assets",
    "pnode": "pnodes",
    "serviceDeliveryPoint": "service_delivery_points",
}
_AREAS = {"serviceArea": "service_areas", "serviceLocation": "service_locations"}
_INTERFACE = "transportInterface"
_TO = " -> "
"""Between the two edges of a transport interface."""


def read_targets(targets: model.Targets) -> tuple[Target, ...]:
    """Each target by itself; an area as its coordinates between blanks, an interface as ``receipt -> delivery``."""
    return tuple(_read(targets))


def _read(targets: model.Targets) -> Iterator[Target]:
    for kind, name in _BY_KIND.items():
        for value in getattr(targets, name):
            yield Target(kind=kind, value=value)
    for kind, name in _AREAS.items():
        for coordinates in getattr(targets, name):
            yield Target(kind=kind, value=" ".join(map(repr, coordinates)))
    for interface in targets.transport_interfaces:
        yield Target(kind=_INTERFACE, value=f"{interface.point_of_receipt}{_TO}{interface.point_of_delivery}")


def write_targets(targets: Sequence[Target]) -> model.Targets:
    """The targets as one eiTarget. Raises ``ValueError`` for a kind that 2.0b has no element for."""
    named: dict[str, tuple[object, ...]] = {}
    for target in targets:
        name, value = _written(target)
        named[name] = (*named.get(name, ()), value)
    return model.Targets(**named)  # type: ignore[arg-type]  # the tables name attributes that hold what is written


def _written(target: Target) -> tuple[str, object]:
    if target.kind in _BY_KIND:
        return _BY_KIND[target.kind], target.value
    if target.kind in _AREAS:
        return _AREAS[target.kind], tuple(float(item) for item in target.value.split())
    if target.kind == _INTERFACE:
        receipt, _, delivery = target.value.partition(_TO)
        return "transport_interfaces", model.TransportInterface(point_of_receipt=receipt, point_of_delivery=delivery)
    raise ValueError(f"2.0b has no element for a target of kind {target.kind}")
