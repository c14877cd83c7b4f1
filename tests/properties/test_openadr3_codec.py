"""decode(encode(x)) == x in both versions, and every x that we write is what the published schemas allow."""

import contextlib
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.errors import MessageError
from protocols.openadr3 import codec, model, model_access
from protocols.openadr3.codec_access import AUTH_ERRORS
from protocols.openadr3.codec_objects import TYPES
from protocols.openadr3.names import OPERATIONS, Version
from protocols.openadr3.values import FOREVER, NOW
from tests.openadr3_definition import Definition

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])

texts = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=12)
names = st.text(st.characters(codec="utf-8", exclude_characters="\x00"), min_size=1, max_size=12)
ids = st.from_regex(r"[a-zA-Z0-9_-]{1,12}", fullmatch=True)
uris = st.sampled_from(["https://utility.example/x", "about:blank", "urn:a:b"])
instants = st.datetimes(timezones=st.just(UTC))
starts = st.one_of(instants, st.just(NOW))
durations = st.one_of(st.timedeltas(timedelta(days=-400), timedelta(days=400)), st.just(FOREVER))
numbers = st.floats(allow_nan=False, allow_infinity=False)
int32s = st.integers(-(1 << 31), (1 << 31) - 1)
maybe = st.none().__or__
words = st.sampled_from


def tuples(item: st.SearchStrategy, least: int = 0, most: int = 2) -> st.SearchStrategy:
    return st.lists(item, min_size=least, max_size=most).map(tuple)


points = st.builds(model.Point, x=numbers, y=numbers)
values_maps = st.builds(
    model.ValuesMap,
    type=names,
    values=tuples(st.one_of(numbers, st.integers(-(10**30), 10**30), texts, st.booleans(), points), most=3),
)
periods = st.builds(model.IntervalPeriod, start=starts, duration=maybe(durations), randomize_start=maybe(durations))
intervals = tuples(st.builds(model.Interval, id=int32s, payloads=tuples(values_maps), period=maybe(periods)))
event_descriptors = st.builds(
    model.EventPayloadDescriptor, payload_type=names, units=maybe(names), currency=maybe(texts)
)
report_descriptors = st.builds(
    model.ReportPayloadDescriptor,
    payload_type=names,
    reading_type=maybe(names),
    units=maybe(names),
    accuracy=maybe(numbers),
    confidence=maybe(st.integers(0, 100)),
)
metadata = st.builds(model.Metadata, id=ids, created_at=instants, modified_at=instants)


def held(version: Version) -> dict[type, st.SearchStrategy]:
    """Objects as clients send them and as a VTN holds them."""
    new = version is Version.V3_1
    targets = tuples(names if new else values_maps)
    asked = st.builds(
        model.ReportDescriptor,
        payload_type=names,
        reading_type=maybe(names),
        units=maybe(names),
        targets=targets,
        aggregate=st.booleans(),
        start_interval=int32s,
        num_intervals=int32s,
        historical=st.booleans(),
        frequency=int32s,
        repeat=int32s,
        report_intervals=words(["INTERVALS", "SUB_INTERVALS", "OPEN_INTERVALS"] if new else ["INTERVALS"]),
    )
    program = {
        "name": names,
        "period": maybe(periods),
        "descriptions": tuples(uris),
        "payload_descriptors": tuples(st.one_of(event_descriptors, report_descriptors)),
        "targets": targets,
    }
    only_3_0 = {
        "long_name": maybe(texts),
        "retailer_name": maybe(texts),
        "country": maybe(texts),
        "time_zone_offset": maybe(durations),
        "binding_events": maybe(st.booleans()),
        "local_price": maybe(st.booleans()),
    }
    event = {
        "program_id": ids,
        "name": maybe(texts),
        "priority": maybe(st.integers(0, (1 << 31) - 1)),
        "targets": targets,
        "report_descriptors": tuples(asked),
        "payload_descriptors": tuples(event_descriptors),
        "period": maybe(periods),
        "intervals": intervals,
    }
    report = {
        "event_id": ids,
        "client_name": names,
        "name": maybe(texts),
        "payload_descriptors": tuples(report_descriptors),
        "resources": tuples(
            st.builds(model.ReportResource, name=names, intervals=intervals, period=maybe(periods)), most=1
        ),
    }
    operation = st.builds(
        model.ObjectOperation,
        objects=tuples(words(list(TYPES.values()))),
        operations=tuples(words(OPERATIONS)),
        callback_url=uris,
        bearer_token=maybe(texts),
    )
    subscription = {"client_name": names, "object_operations": tuples(operation), "targets": targets}
    owned = {"client_id": names, "targets": targets} if new else {"targets": targets}
    resource = {"name": names, "attributes": tuples(values_maps)}
    client = {"client_id": names} if new else {}
    return {
        model.Program: both(model.Program, {**program, **({"attributes": tuples(values_maps)} if new else only_3_0)}),
        model.Event: both(model.Event, event | ({"duration": maybe(durations)} if new else {})),
        model.Report: both(model.Report, report if new else report | {"program_id": ids}, **client),
        model.Subscription: both(
            model.Subscription, subscription | {"program_id": maybe(ids) if new else ids}, **client
        ),
        model.Ven: both(model.Ven, resource, **owned),
        model.Resource: both(model.Resource, resource | {"ven_id": ids}, **owned),
    }


def both(make: type, table: dict[str, st.SearchStrategy], **added: st.SearchStrategy) -> st.SearchStrategy:
    return st.one_of(st.builds(make, **table), st.builds(make, **table, **added, metadata=metadata))


HELD = {version: held(version) for version in Version}
ACCESS: dict[type, tuple[str, st.SearchStrategy]] = {
    model_access.TokenRequest: (
        "clientCredentialRequest",
        st.builds(model_access.TokenRequest, client_id=names, client_secret=names, scope=maybe(texts)),
    ),
    model_access.Token: (
        "clientCredentialResponse",
        st.builds(
            model_access.Token,
            access_token=names,
            expires_in_s=maybe(st.integers(0, 1 << 30)),
            refresh_token=maybe(names),
            scope=maybe(texts),
        ),
    ),
    model_access.AuthError: (
        "authError",
        st.builds(model_access.AuthError, error=words(AUTH_ERRORS), description=maybe(texts), uri=maybe(uris)),
    ),
    model_access.AuthServer: ("authServerInfo", st.builds(model_access.AuthServer, token_url=uris)),
    model_access.Problem: (
        "problem",
        st.builds(
            model_access.Problem,
            type=maybe(uris),
            title=maybe(texts),
            status=maybe(st.integers(100, 599)),
            detail=maybe(texts),
            instance=maybe(uris),
        ),
    ),
    model_access.Notifiers: (
        "notifiersResponse",
        st.builds(
            model_access.Notifiers,
            webhook=st.booleans(),
            mqtt=maybe(
                st.builds(
                    model_access.Mqtt,
                    uris=tuples(uris),
                    authentication=st.one_of(
                        st.builds(model_access.Anonymous),
                        st.builds(model_access.BearerToken, username=texts),
                        st.builds(model_access.ClientCertificate, ca_certificate=texts, certificate=texts, key=texts),
                    ),
                )
            ),
        ),
    ),
    model_access.Topics: (
        "notifierTopicsResponse",
        st.builds(model_access.Topics, update=texts, delete=texts, create=maybe(texts), all=maybe(texts)),
    ),
}


@pytest.fixture(scope="module")
def definitions(shared: Path) -> dict[Version, Definition]:
    folder = shared / "data" / "openadr3"
    return {Version.V3_1: Definition(folder, "3.1.1"), Version.V3_0: Definition(folder, "3.0.1")}


def schema_of(value: codec.Message, version: Version) -> str:
    name = TYPES[type(value)].lower()
    if isinstance(value, model.Ven | model.Resource) and value.metadata is None and version is Version.V3_1:
        return f"{'Ven' if value.client_id is None else 'Bl'}{name.capitalize()}Request"
    return name if value.metadata is not None or version is Version.V3_0 else f"{name}Request"


@pytest.mark.parametrize("version", list(Version))
@pytest.mark.parametrize("kind", TYPES)
def test_what_is_written_is_read_the_same_and_valid(
    definitions: dict[Version, Definition], kind: type, version: Version
) -> None:
    @QUICK
    @given(HELD[version][kind])
    def holds(value: model.Held) -> None:
        body = codec.encode(value, version)
        definitions[version].check(schema_of(value, version), json.loads(body))
        read = codec.decode_request if value.metadata is None else codec.decode
        assert read(body, kind, version) == value
        assert codec.decode_any(codec.encode_list([value], version))[1] is not None

    holds()


@pytest.mark.parametrize("version", list(Version))
def test_notifications_are_read_as_they_were_written(definitions: dict[Version, Definition], version: Version) -> None:
    things = st.one_of(*HELD[version].values()).filter(lambda value: value.metadata is not None)
    targets = tuples(names if version is Version.V3_1 else values_maps)

    @QUICK
    @given(st.builds(model.Notification, operation=words(OPERATIONS), object=things, targets=targets))
    def holds(value: model.Notification) -> None:
        body = codec.encode(value, version)
        definitions[version].check("notification", json.loads(body))
        assert codec.decode(body, model.Notification, version) == value

    holds()


@pytest.mark.parametrize("kind", ACCESS)
def test_what_stands_around_the_objects_is_read_as_it_was_written(
    definitions: dict[Version, Definition], kind: type
) -> None:
    name, things = ACCESS[kind]

    @QUICK
    @given(things)
    def holds(value: codec.Access) -> None:
        body = codec.encode(value, Version.V3_1)
        definitions[Version.V3_1].check(name, json.loads(body))
        assert codec.decode(body, kind, Version.V3_1) == value

    holds()


def test_the_least_object(definitions: dict[Version, Definition]) -> None:
    body = codec.encode(model.Event(program_id="p"), Version.V3_1)
    assert body == b'{"programID":"p"}'
    definitions[Version.V3_1].check("eventRequest", json.loads(body))
    assert codec.decode_request(body, model.Event, Version.V3_1) == model.Event(program_id="p")


@QUICK
@given(HELD[Version.V3_1][model.Event], st.data())
def test_an_event_with_one_byte_changed_is_read_or_refused(value: model.Event, data: st.DataObject) -> None:
    body = bytearray(codec.encode(value, Version.V3_1))
    body[data.draw(st.integers(0, len(body) - 1))] = data.draw(st.integers(0, 255))
    # Any other exception fails the test.
    with contextlib.suppress(MessageError):
        codec.decode_any(bytes(body))


KEYS = [
    "id",
    "objectType",
    "operation",
    "object",
    "programID",
    "programName",
    "eventID",
    "intervals",
    "payloads",
    "type",
    "values",
    "intervalPeriod",
    "start",
    "duration",
    "targets",
    "status",
    "WEBHOOK",
    "MQTT",
    "topics",
    "venName",
]
keys = words(KEYS)
json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | numbers | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(keys, inner, max_size=4),
    max_leaves=12,
)


@settings(max_examples=200, deadline=None)
@given(st.dictionaries(keys, json_values, max_size=8))
def test_any_object_is_read_or_refused(value: dict[str, object]) -> None:
    with contextlib.suppress(MessageError):
        codec.decode_any(json.dumps(value).encode())


def test_instants_survive_to_the_microsecond() -> None:
    at = datetime(2030, 1, 31, 12, 0, 0, 1, tzinfo=UTC)
    value = model.Program(name="p", metadata=model.Metadata(id="a", created_at=at, modified_at=at))
    assert codec.decode(codec.encode(value, Version.V3_1), model.Program, Version.V3_1) == value
