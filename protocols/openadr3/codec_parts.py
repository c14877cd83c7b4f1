"""Tables of the parts that several objects share, in both versions."""

from collections.abc import Collection, Mapping

from protocols.openadr3 import model
from protocols.openadr3.names import REPORT_PAYLOAD_TYPES, Version
from protocols.openadr3.schema import ByWord, Content, Field, Leaf, ListOf, Misfit, Object, maybe, one, shown
from protocols.openadr3.values import (
    BOOLEAN,
    DATE_TIME,
    DURATION,
    INTEGER,
    NAME,
    NUMBER,
    OBJECT_ID,
    PERCENT,
    START,
    TEXT,
    one_of,
)

text = Leaf(TEXT)
name = Leaf(NAME)
number = Leaf(NUMBER)
integer = Leaf(INTEGER)
boolean = Leaf(BOOLEAN)
object_id = Leaf(OBJECT_ID)
date_time = Leaf(DATE_TIME)
duration = Leaf(DURATION)

_REPORTED = tuple(REPORT_PAYLOAD_TYPES)

EVENT_DESCRIPTOR = "EVENT_PAYLOAD_DESCRIPTOR"
REPORT_DESCRIPTOR = "REPORT_PAYLOAD_DESCRIPTOR"

_point = Object(model.Point, one("x", "x", number), one("y", "y", number))


class _AnyValue:
    """A number, text, true or false, or a point; a number stays whole where it was."""

    def read(self, value: object) -> model.Value:
        if isinstance(value, bool | int | float):
            return value
        if isinstance(value, str):
            held: str = text.read(value)
            return held
        if isinstance(value, dict):
            point: model.Point = _point.read(value)
            return point
        raise Misfit(f"{shown(value)}, expected a number, text, true, false or a point")

    def write(self, value: model.Value) -> object:
        if isinstance(value, model.Point):
            return _point.write(value)
        if isinstance(value, str):
            return text.write(value)
        if not isinstance(value, bool):
            number.write(value)
        return value


values_map = Object(model.ValuesMap, one("type", "type", name), one("values", "values", ListOf(_AnyValue())))
values_maps = ListOf(values_map)

period = Object(
    model.IntervalPeriod,
    maybe("start", "start", Leaf(START)),
    maybe("duration", "duration", duration),
    maybe("randomize_start", "randomizeStart", duration),
)
maybe_period = maybe("period", "intervalPeriod", period)
interval = Object(model.Interval, one("id", "id", integer), maybe_period, one("payloads", "payloads", values_maps))
intervals = ListOf(interval)

event_descriptor = Object(
    model.EventPayloadDescriptor,
    one("payload_type", "payloadType", name),
    maybe("units", "units", name),
    maybe("currency", "currency", text),
    said={"objectType": EVENT_DESCRIPTOR},
)
report_descriptor = Object(
    model.ReportPayloadDescriptor,
    one("payload_type", "payloadType", name),
    maybe("reading_type", "readingType", name),
    maybe("units", "units", name),
    maybe("accuracy", "accuracy", number),
    maybe("confidence", "confidence", Leaf(PERCENT)),
    said={"objectType": REPORT_DESCRIPTOR},
)


def _descriptor_type(value: model.EventPayloadDescriptor | model.ReportPayloadDescriptor) -> str:
    return EVENT_DESCRIPTOR if isinstance(value, model.EventPayloadDescriptor) else REPORT_DESCRIPTOR


def _likely_descriptor(own: Mapping[str, object]) -> str:
    # 3.0 does not ask for the word, nor do the examples of 3.1 have it.
    of_a_report = own.keys() & {"readingType", "accuracy", "confidence"}
    return REPORT_DESCRIPTOR if of_a_report or own.get("payloadType") in _REPORTED else EVENT_DESCRIPTOR


descriptor = ByWord(
    "objectType",
    {EVENT_DESCRIPTOR: event_descriptor, REPORT_DESCRIPTOR: report_descriptor},
    _descriptor_type,
    _likely_descriptor,
)


def targets(version: Version) -> Content:
    """A list of targets: words, in 3.0 typed values."""
    return ListOf(name) if version is Version.V3_1 else values_maps


def maybe_targets(version: Version) -> Field:
    """Targets where there are any."""
    return maybe("targets", "targets", targets(version))


def asked_report(version: Version) -> Object:
    """The table of a reportDescriptor."""
    only_now = (
        maybe(
            "report_intervals",
            "reportIntervals",
            Leaf(one_of("INTERVALS", "SUB_INTERVALS", "OPEN_INTERVALS")),
        ),
    )
    return Object(
        model.ReportDescriptor,
        one("payload_type", "payloadType", name),
        maybe("reading_type", "readingType", name),
        maybe("units", "units", name),
        maybe_targets(version),
        maybe("aggregate", "aggregate", boolean),
        maybe("start_interval", "startInterval", integer),
        maybe("num_intervals", "numIntervals", integer),
        maybe("historical", "historical", boolean),
        maybe("frequency", "frequency", integer),
        maybe("repeat", "repeat", integer),
        *(only_now if version is Version.V3_1 else ()),
    )


def metadata(version: Version, object_type: str, *, also: Collection[str] = ()) -> Object:
    """What a VTN adds. The type is checked where it is there: not every VTN writes it. ``also`` are let pass for it."""
    dated = one if version is Version.V3_1 else maybe
    return Object(
        model.Metadata,
        one("id", "id", object_id),
        dated("created_at", "createdDateTime", date_time),
        dated("modified_at", "modificationDateTime", date_time),
        said={"objectType": object_type},
        also=also,
    )
