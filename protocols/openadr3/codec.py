"""From bytes to objects and back, by a direct walk over the tables.

What is stricter than the definition's schemas: a field stands once in an object, numbers are finite, text holds no NUL,
an instant has its offset (but for the beginning of time, which is now). What is laxer: fields that no table has are
passed over, null stands for absent everywhere, payload descriptors may leave their type out, and a notification may
say operations as the other version does. An object that a VTN holds must have an id, in 3.0 too.

Whether values fit their payload type is not looked at here, as the definition has it (Message validation): one price
that is no number must not cost us the other events of a page.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Generic, TypeVar

from protocols.errors import MalformedMessage, MessageError, UnsupportedMessage
from protocols.json import parse
from protocols.openadr3 import model, model_access
from protocols.openadr3.codec_access import TABLES
from protocols.openadr3.codec_objects import TYPES, NotificationTable, Tables, tables
from protocols.openadr3.codec_parts import descriptor, values_map
from protocols.openadr3.names import Version
from protocols.openadr3.schema import Content, Misfit, shown

Access = (
    model_access.TokenRequest
    | model_access.Token
    | model_access.AuthError
    | model_access.AuthServer
    | model_access.Problem
    | model_access.Notifiers
    | model_access.Topics
)
Fragment = model.ValuesMap | model.EventPayloadDescriptor | model.ReportPayloadDescriptor
"""Parts that can be read for themselves."""
Message = model.Held | model.Notification | Fragment | Access
T = TypeVar("T")

_ONLY_3_1 = frozenset({model_access.AuthServer, model_access.Notifiers, model_access.Topics})
_HELD: Mapping[Version, Mapping[type, Tables]] = {version: tables(version) for version in Version}
_OTHERS: Mapping[Version, Mapping[type, Content]] = {
    version: {
        **{make: table for make, table in TABLES.items() if version is Version.V3_1 or make not in _ONLY_3_1},
        model.Notification: NotificationTable(version, _HELD[version]),
        model.ValuesMap: values_map,
        model.EventPayloadDescriptor: descriptor,
        model.ReportPayloadDescriptor: descriptor,
    }
    for version in Version
}
_BY_TYPE = {word: make for make, word in TYPES.items()} | {
    "BL_VEN_REQUEST": model.Ven,
    "VEN_VEN_REQUEST": model.Ven,
    "BL_RESOURCE_REQUEST": model.Resource,
    "VEN_RESOURCE_REQUEST": model.Resource,
}
# What tells an object that names no type, in the order in which it is looked for.
_BY_FIELD: tuple[tuple[str, type], ...] = (
    ("operation", model.Notification),
    ("objectOperations", model.Subscription),
    ("eventID", model.Report),
    ("resourceName", model.Resource),
    ("venName", model.Ven),
    ("programName", model.Program),
    ("programID", model.Event),
    ("grant_type", model_access.TokenRequest),
    ("access_token", model_access.Token),
    ("error", model_access.AuthError),
    ("tokenURL", model_access.AuthServer),
    ("WEBHOOK", model_access.Notifiers),
    ("topics", model_access.Topics),
    ("values", model.ValuesMap),
    ("payloadType", model.EventPayloadDescriptor),
    ("title", model_access.Problem),
    ("status", model_access.Problem),
    ("detail", model_access.Problem),
)


@dataclass(frozen=True, slots=True, kw_only=True)
class ListFault:
    """An item of a list that could not be read; ``object_id`` where at least that could be."""

    index: int
    object_id: str | None
    fault: MalformedMessage


@dataclass(frozen=True, slots=True, kw_only=True)
class Page(Generic[T]):
    """The items of a list that could be read, and those that could not."""

    items: tuple[T, ...]
    faults: tuple[ListFault, ...]


def decode(body: bytes, kind: type[T], version: Version) -> T:
    """An object as a VTN gives it out, or anything that has no id. Raises ``MessageError`` with the path in it."""
    value: T = _read(_given_out(kind, version), parse(body))
    return value


def decode_request(body: bytes, kind: type[T], version: Version) -> T:
    """An object as a client sends it: what it says of id, instants and type is passed over. Raises ``MessageError``."""
    value: T = _read(_held(kind, version).request, parse(body))
    return value


def decode_list(body: bytes, kind: type[T], version: Version) -> Page[T]:
    """What a VTN gives out as a list; an item that cannot be read leaves the others alone.

    Raises ``MessageError`` for what is no list, or no JSON.
    """
    content = _given_out(kind, version)
    found = parse(body)
    if not isinstance(found, list):
        raise MalformedMessage(f"$: {shown(found)}, expected a list")
    items: list[T] = []
    faults: list[ListFault] = []
    for index, item in enumerate(found):
        try:
            items.append(_read(content, item, f"[{index}]"))
        except MalformedMessage as fault:
            own_id = item.get("id") if isinstance(item, dict) else None
            faults.append(ListFault(index=index, object_id=own_id if isinstance(own_id, str) else None, fault=fault))
    return Page(items=tuple(items), faults=tuple(faults))


def decode_any(body: bytes) -> tuple[Version, Message | tuple[Message, ...]]:
    """Any message of either version, told by its fields; for people, not for a conversation. Raises ``MessageError``.

    The version is 3.1 where that can be read, else 3.0.
    """
    found = parse(body)
    try:
        return Version.V3_1, _read_all(found, Version.V3_1)
    except MessageError:
        try:
            return Version.V3_0, _read_all(found, Version.V3_0)
        except MessageError:
            # What 3.1 says of it is what is told: the outer error.
            pass
        raise


def encode(value: Message, version: Version) -> bytes:
    """The object as JSON in UTF-8. Raises ``ValueError`` for what this version of the definition has no room for."""
    return _dump(_table(type(value), version).write(value))


def encode_list(values: Sequence[Message], version: Version) -> bytes:
    """Objects as a list; as ``encode``."""
    return _dump([_table(type(value), version).write(value) for value in values])


def _dump(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":")).encode()


def _held(kind: type, version: Version) -> Tables:
    try:
        return _HELD[version][kind]
    except KeyError as cause:
        raise UnsupportedMessage(f"OpenADR {version} has no {kind.__name__}") from cause


def _table(kind: type, version: Version) -> Content:
    return _OTHERS[version].get(kind) or _held(kind, version)


def _given_out(kind: type, version: Version) -> Content:
    return _OTHERS[version].get(kind) or _held(kind, version).held


def _read(content: Content, value: object, at: str = "") -> Any:
    try:
        return content.read(value)
    except Misfit as misfit:
        if at:
            misfit.steps.append(at)
        raise MalformedMessage(str(misfit)) from misfit


def _read_all(found: object, version: Version) -> Message | tuple[Message, ...]:
    if isinstance(found, list):
        return tuple(_read_any(item, version, f"[{index}]") for index, item in enumerate(found))
    return _read_any(found, version, "")


def _read_any(value: object, version: Version, at: str) -> Message:
    if not isinstance(value, dict):
        raise MalformedMessage(f"${at}: {shown(value)}, expected an object")
    kind = None if "operation" in value else _BY_TYPE.get(str(value.get("objectType")))
    kind = kind or next((make for key, make in _BY_FIELD if key in value), None)
    if kind is None:
        raise UnsupportedMessage(f"${at}: an object of no kind that OpenADR 3 has")
    message: Message = _read(_table(kind, version), value, at)
    return message
