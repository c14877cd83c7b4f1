"""Our own events in OpenADR 3's terms, for the sites below us."""

from collections.abc import Sequence
from datetime import datetime, timedelta

from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind, Target
from protocols.openadr3 import model
from protocols.openadr3.event_kinds import CARRIED, TEST_PREFIX
from protocols.openadr3.names import Version
from protocols.openadr3.units import WATTS
from protocols.openadr3.values import FOREVER, NOW

_WORDS = {
    SignalKind.LEVEL: ("SIMPLE", None),
    SignalKind.ADJUST: ("DISPATCH_SETPOINT_RELATIVE", "KW"),
    SignalKind.FRACTION: ("DISPATCH_SETPOINT_RELATIVE", "PERCENT"),
    SignalKind.SETPOINT: ("DISPATCH_SETPOINT", "KW"),
    SignalKind.LIMIT: ("IMPORT_CAPACITY_LIMIT", "KW"),
    SignalKind.PRICE: ("PRICE", "KWH"),
}
_IN_POWER = frozenset({SignalKind.ADJUST, SignalKind.SETPOINT, SignalKind.LIMIT})
_TYPES_OF_TARGETS = {"ven": "VEN_NAME", "group": "GROUP", "resource": "RESOURCE_NAME"}
_Place = tuple[datetime, float | None]


def write_event(event: GridEvent, *, program_id: str, modified_at: datetime, version: Version) -> model.Event:
    """The event as a VTN holds it since ``modified_at``, under the id of its program here.

    Raises ``ValueError`` for what 3.x cannot say: a ramp or a recovery, two signals under one payload type, a
    share of the site's capacity. A test
    event goes under types that nobody acts on who does not know them. That an answer is required, and how long before
    the event is to be told, is left out: 3.x has no words for either.
    """
    if event.ramp_up_s or event.recovery_s:
        raise ValueError("OpenADR 3 has no ramp and no recovery")
    prefix = TEST_PREFIX if event.test else ""
    described = [(prefix + _type_of(signal), _units_of(signal), signal) for signal in event.signals]
    if len({name for name, _, _ in described}) < len(described):
        raise ValueError("two signals of an event under one payload type")
    cancelled = event.status is EventStatus.CANCELLED
    return model.Event(
        program_id=program_id,
        name=event.comment or None,
        priority=event.rank,
        targets=_write_targets(event.targets, version),
        payload_descriptors=tuple(
            model.EventPayloadDescriptor(payload_type=name, units=units, currency=signal.currency)
            for name, units, signal in described
        ),
        period=model.IntervalPeriod(
            start=NOW if cancelled else event.starts_at,
            duration=timedelta(0) if cancelled else _length(event.duration_s),
            randomize_start=timedelta(seconds=event.start_tolerance_s) if event.start_tolerance_s else None,
        ),
        intervals=_write_intervals([(name, signal) for name, _, signal in described], cancelled=cancelled),
        metadata=model.Metadata(id=event.event_id, created_at=event.created_at, modified_at=modified_at),
    )


def _type_of(signal: Signal) -> str:
    if signal.kind is SignalKind.CAPACITY:
        raise ValueError("OpenADR 3 has no share of a site's capacity")
    return signal.name if signal.kind in CARRIED else _WORDS[signal.kind][0]


def _units_of(signal: Signal) -> str | None:
    return (signal.dialect_kind or None) if signal.kind in CARRIED else _WORDS[signal.kind][1]


def _length(duration_s: float | None) -> timedelta:
    return FOREVER if duration_s is None else timedelta(seconds=duration_s)


def _write_targets(targets: Sequence[Target], version: Version) -> model.Targets:
    if version is Version.V3_1:
        return tuple(target.value for target in targets)
    return tuple(
        model.ValuesMap(type=_TYPES_OF_TARGETS.get(target.kind, target.kind), values=(target.value,))
        for target in targets
    )


def _write_intervals(signals: Sequence[tuple[str, Signal]], *, cancelled: bool) -> tuple[model.Interval, ...]:
    """One interval for each time that any signal has a value for; each says its own time."""
    places: dict[_Place, list[model.ValuesMap]] = {}
    for name, signal in signals:
        for item in signal.intervals:
            payload = model.ValuesMap(type=name, values=_values(item, signal.kind))
            places.setdefault((item.starts_at, item.duration_s), []).append(payload)
    ordered = sorted(places.items(), key=lambda place: place[0][0])
    return tuple(
        model.Interval(
            id=index,
            payloads=tuple(payloads),
            period=None if cancelled else model.IntervalPeriod(start=starts_at, duration=_length(duration_s)),
        )
        for index, ((starts_at, duration_s), payloads) in enumerate(ordered)
    )


def _values(item: EventInterval, kind: SignalKind) -> tuple[model.Value, ...]:
    if kind in CARRIED and item.points:
        return tuple(model.Point(x=x, y=y) for x, y in item.points)
    return (item.text,) if kind in CARRIED and item.text else (_value(item, kind),)


def _value(item: EventInterval, kind: SignalKind) -> float | int:
    if kind in _IN_POWER:
        return item.value / WATTS["KW"]
    if kind is SignalKind.FRACTION:
        return -item.value + 0.0
    return int(item.value) if kind is SignalKind.LEVEL else item.value
