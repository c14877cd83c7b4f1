"""Tables of what a VTN holds, in both versions: as a client sends it, and as a VTN gives it out."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from protocols.openadr3 import model
from protocols.openadr3.codec_parts import (
    asked_report,
    boolean,
    descriptor,
    duration,
    event_descriptor,
    intervals,
    maybe_period,
    maybe_targets,
    metadata,
    name,
    object_id,
    report_descriptor,
    text,
    values_maps,
)
from protocols.openadr3.names import HTTP_VERBS, OPERATIONS, Version
from protocols.openadr3.schema import ByWord, Content, Field, Inside, Leaf, ListOf, Object, maybe, one, read_object
from protocols.openadr3.values import URI, one_of, whole

TYPES: Mapping[type, str] = {
    model.Program: "PROGRAM",
    model.Event: "EVENT",
    model.Report: "REPORT",
    model.Subscription: "SUBSCRIPTION",
    model.Ven: "VEN",
    model.Resource: "RESOURCE",
}

_uri = Leaf(URI)
_object_type = Leaf(one_of(*TYPES.values()))
_client_id = one("client_id", "clientID", name)
_attributes = maybe("attributes", "attributes", values_maps)
_only_3_0 = (
    maybe("long_name", "programLongName", text),
    maybe("retailer_name", "retailerName", text),
    maybe("retailer_long_name", "retailerLongName", text),
    maybe("program_type", "programType", text),
    maybe("country", "country", text),
    maybe("principal_subdivision", "principalSubdivision", text),
    maybe("time_zone_offset", "timeZoneOffset", duration),
    maybe("binding_events", "bindingEvents", boolean),
    maybe("local_price", "localPrice", boolean),
)


@dataclass(frozen=True, slots=True)
class Tables:
    """One kind of object: as a client sends it, and as a VTN gives it out, which is what an object with an id is.

    A VTN reads with ``request`` what clients send, ids or not: it must ignore what they say of them (POST and PUT).
    """

    request: Content
    held: Content

    def read(self, value: object) -> Any:
        table = self.request if read_object(value).get("id") is None else self.held
        return table.read(value)

    def write(self, value: Any) -> object:
        return (self.request if value.metadata is None else self.held).write(value)


def tables(version: Version) -> Mapping[type, Tables]:
    """The tables of every kind of object."""
    found = {
        model.Program: _tables(version, model.Program, _program(version)),
        model.Event: _tables(version, model.Event, _event(version)),
        model.Report: _tables(version, model.Report, _report(version), adds_client=True),
        model.Subscription: _tables(version, model.Subscription, _subscription(version), adds_client=True),
    }
    if version is Version.V3_1:
        return found | {
            model.Ven: _by_two(model.Ven, "VEN", one("name", "venName", name)),
            model.Resource: _by_two(
                model.Resource, "RESOURCE", one("name", "resourceName", name), one("ven_id", "venID", object_id)
            ),
        }
    resource = _tables(version, model.Resource, _resource_3_0())
    return found | {model.Resource: resource, model.Ven: _tables(version, model.Ven, _ven_3_0(resource))}


def _tables(version: Version, make: type, table: tuple[Field, ...], *, adds_client: bool = False) -> Tables:
    added = (_client_id,) if adds_client and version is Version.V3_1 else ()
    return Tables(
        Object(make, *table), Object(make, *table, *added, inline=("metadata", metadata(version, TYPES[make])))
    )


def _by_two(make: type, word: str, *table: Field) -> Tables:
    """Kinds that both business logic and a VEN may make, each in its form; a VEN names neither client nor targets."""
    # The definition gives the held object two types at once, its own and the request's. Its own is written, as it is
    # of the other kinds, and both are read.
    by_logic = (*table, _client_id, maybe_targets(Version.V3_1), _attributes)
    forms = {
        f"BL_{word}_REQUEST": Object(make, *by_logic, said={"objectType": f"BL_{word}_REQUEST"}),
        f"VEN_{word}_REQUEST": Object(make, *table, _attributes, said={"objectType": f"VEN_{word}_REQUEST"}),
    }
    return Tables(
        ByWord(
            "objectType",
            forms,
            lambda value: f"VEN_{word}_REQUEST" if value.client_id is None else f"BL_{word}_REQUEST",
        ),
        Object(make, *by_logic, inline=("metadata", metadata(Version.V3_1, word, also=forms.keys()))),
    )


def _program(version: Version) -> tuple[Field, ...]:
    return (
        one("name", "programName", name),
        maybe_period,
        maybe("descriptions", "programDescriptions", ListOf(Inside("URL", _uri))),
        maybe("payload_descriptors", "payloadDescriptors", ListOf(descriptor)),
        maybe_targets(version),
        *((_attributes,) if version is Version.V3_1 else _only_3_0),
    )


def _event(version: Version) -> tuple[Field, ...]:
    v3_1 = version is Version.V3_1
    return (
        one("program_id", "programID", object_id),
        maybe("name", "eventName", text),
        *((maybe("duration", "duration", duration),) if v3_1 else ()),
        maybe("priority", "priority", Leaf(whole(0))),
        maybe_targets(version),
        maybe("report_descriptors", "reportDescriptors", ListOf(asked_report(version))),
        maybe("payload_descriptors", "payloadDescriptors", ListOf(event_descriptor)),
        maybe_period,
        Field("intervals", "intervals", intervals, required=not v3_1),
    )


def _report(version: Version) -> tuple[Field, ...]:
    resource = Object(
        model.ReportResource,
        one("name", "resourceName", name),
        maybe_period,
        one("intervals", "intervals", intervals),
    )
    return (
        *(() if version is Version.V3_1 else (one("program_id", "programID", object_id),)),
        one("event_id", "eventID", object_id),
        one("client_name", "clientName", name),
        maybe("name", "reportName", text),
        maybe("payload_descriptors", "payloadDescriptors", ListOf(report_descriptor)),
        one("resources", "resources", ListOf(resource)),
    )


def _subscription(version: Version) -> tuple[Field, ...]:
    operation = Object(
        model.ObjectOperation,
        one("objects", "objects", ListOf(_object_type)),
        one("operations", "operations", ListOf(Leaf(one_of(*OPERATIONS)))),
        one("callback_url", "callbackUrl", _uri),
        maybe("bearer_token", "bearerToken", text),
    )
    return (
        one("client_name", "clientName", name),
        Field("program_id", "programID", object_id, required=version is Version.V3_0),
        one("object_operations", "objectOperations", ListOf(operation)),
        maybe_targets(version),
    )


def _resource_3_0() -> tuple[Field, ...]:
    return (
        one("name", "resourceName", name),
        maybe("ven_id", "venID", object_id),
        _attributes,
        maybe_targets(Version.V3_0),
    )


def _ven_3_0(resource: Tables) -> tuple[Field, ...]:
    return (
        one("name", "venName", name),
        _attributes,
        maybe_targets(Version.V3_0),
        maybe("resources", "resources", ListOf(resource)),
    )


class NotificationTable:
    """A notification: its type is the object's, and 3.0 says operations as HTTP does. Both ways of it are read."""

    def __init__(self, version: Version, held: Mapping[type, Tables]) -> None:
        self._verbs = HTTP_VERBS if version is Version.V3_0 else {word: word for word in OPERATIONS}
        operation = Leaf(one_of(*OPERATIONS, also={verb: word for word, verb in HTTP_VERBS.items()}))
        self._type = Inside("objectType", _object_type)
        self._tables = {
            TYPES[make]: Object(
                model.Notification,
                one("operation", "operation", operation),
                one("object", "object", table.held),
                maybe_targets(version),
                said={"objectType": TYPES[make]},
            )
            for make, table in held.items()
        }

    def read(self, value: object) -> model.Notification:
        notification: model.Notification = self._tables[self._type.read(value)].read(value)
        return notification

    def write(self, value: model.Notification) -> dict[str, object]:
        own = self._tables[TYPES[type(value.object)]].write(value)
        return own | {"operation": self._verbs[value.operation]}
