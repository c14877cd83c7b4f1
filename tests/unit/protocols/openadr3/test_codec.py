import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from protocols.errors import MalformedMessage, MessageError, MessageTooLarge, UnsupportedMessage
from protocols.openadr3 import codec, model, model_access
from protocols.openadr3.names import REPORT_PAYLOAD_TYPES, Version
from protocols.openadr3.values import FOREVER, NOW
from tests.openadr3_definition import Definition, examples, read_yaml
from tests.unit.protocols.openadr3.objects import HELD, HOUR, NOON, event, in_units, values

BOTH = list(Version)
NAMES: dict[type, str] = {
    model.Program: "program",
    model.Event: "event",
    model.Report: "report",
    model.Subscription: "subscription",
    model.Ven: "ven",
    model.Resource: "resource",
}
ACCESS: dict[type, str] = {
    model_access.TokenRequest: "clientCredentialRequest",
    model_access.Token: "clientCredentialResponse",
    model_access.AuthError: "authError",
    model_access.Problem: "problem",
    model_access.AuthServer: "authServerInfo",
    model_access.Notifiers: "notifiersResponse",
    model_access.Topics: "notifierTopicsResponse",
}
REQUESTS = {
    "programRequest": model.Program,
    "reportRequest": model.Report,
    "eventRequest": model.Event,
    "subscriptionRequest": model.Subscription,
    "BlVenRequest": model.Ven,
    "VenVenRequest": model.Ven,
    "BlResourceRequest": model.Resource,
    "VenResourceRequest": model.Resource,
}
# Examples that contradict the very definition they stand in, by what is wrong with them.
CONTRADICTORY = {
    **{
        f'"createdDateTime": "{time}"': "expected an instant"
        for time in ("17:15:16", "14:13:26", "17:35:55", "12:22:12", "12:21:14")
    },
    '"payLoadType": "USAGE"': "lacks payloadType",
}
NO_JSON = ("...", "\\", "{ 0.9,  0.4 }", '"payloads": [\n{\n')


def of(kind: type, given: Any) -> Any:
    """The example of a held object, of the type that it is."""
    return given | {"objectType": NAMES[kind].upper()} if kind in NAMES else given


@pytest.mark.parametrize("version", BOTH)
@pytest.mark.parametrize("kind", [*NAMES, *ACCESS])
def test_every_object_of_the_definition_is_read_and_written_as_it_asks(
    definitions: dict[Version, Definition], kind: type, version: Version
) -> None:
    name, definition = (NAMES | ACCESS)[kind], definitions[version]
    if name not in definition.schemas:
        with pytest.raises(UnsupportedMessage, match=kind.__name__):
            codec.decode(b"{}", kind, version)
        return
    given = of(kind, definition.example(name))
    found = codec.decode(json.dumps(given).encode(), kind, version)
    written = json.loads(codec.encode(found, version))
    definition.check(name, written)
    assert codec.decode(json.dumps(written).encode(), kind, version) == found
    assert given.keys() == written.keys()


@pytest.mark.parametrize("name", REQUESTS)
def test_every_request_of_the_definition_is_read_and_written_as_it_asks(
    definitions: dict[Version, Definition], name: str
) -> None:
    definition = definitions[Version.V3_1]
    given = definition.example(name)
    found = codec.decode_request(json.dumps(given).encode(), REQUESTS[name], Version.V3_1)
    assert found.metadata is None
    written = json.loads(codec.encode(found, Version.V3_1))
    definition.check(name, written)
    assert given.keys() == written.keys()


@pytest.mark.parametrize("version", BOTH)
def test_the_notification_of_the_definition(definitions: dict[Version, Definition], version: Version) -> None:
    given = definitions[version].example("notification")
    given["objectType"], given["object"] = "EVENT", of(model.Event, definitions[version].example("event"))
    found = codec.decode(json.dumps(given).encode(), model.Notification, version)
    assert (found.operation, type(found.object)) == ("UPDATE" if version is Version.V3_1 else "CREATE", model.Event)
    written = json.loads(codec.encode(found, version))
    definitions[version].check("notification", written)
    assert written["operation"] == given["operation"]


def test_every_example_of_the_documents_is_read_or_contradicts_the_definition(published: Path) -> None:
    read = 0
    refused: list[str] = []
    for path in (*sorted(published.glob("3.1.1/*.md")), *sorted(published.glob("doc/*.md"))):
        for text in examples(path):
            try:
                given = json.loads(text)
            except ValueError:
                assert any(mark in text for mark in NO_JSON), text
                continue
            if "method" in given:
                mqtt = {"URIS": ["mqtts://broker.example"], "serialization": "JSON", "authentication": given}
                given = {"WEBHOOK": True, "MQTT": mqtt}
            try:
                codec.decode_any(json.dumps(given).encode())
                read += 1
            except MessageError as fault:
                if not any(mark in text and why in str(fault) for mark, why in CONTRADICTORY.items()):
                    refused.append(f"{text} {fault}")
    assert refused == []
    assert read == 63


def test_the_enumerations_that_we_know_are_the_published_ones(published: Path) -> None:
    folder = published / "3.1.1" / "enumerations"
    assert set(read_yaml(folder / "report-payloads.schema.yaml")["definitions"]) == REPORT_PAYLOAD_TYPES


def test_an_event_in_the_models_terms() -> None:
    body = b"""{"id": "e-1", "objectType": "EVENT", "createdDateTime": "2030-01-31T04:00:00-07:00",
        "modificationDateTime": "2030-01-31T12:00:00.000Z", "programID": "program-1", "priority": 0, "duration": null,
        "targets": ["group-1"], "myPrivateObject": {"a": [1]},
        "payloadDescriptors": [{"payloadType": "PRICE", "units": "KWH", "currency": "USD"}],
        "reportDescriptors": [{"payloadType": "USAGE"}],
        "intervalPeriod": {"start": "0001-01-01", "duration": "P9999Y", "randomizeStart": "PT1M30S"},
        "intervals": [{"id": 3, "payloads": [
            {"type": "PRICE", "values": [0.17, 1, true, "x", {"x": 1, "y": 2.5}]}]}]}"""
    found = codec.decode(body, model.Event, Version.V3_1)
    assert found == model.Event(
        program_id="program-1",
        priority=0,
        targets=("group-1",),
        payload_descriptors=in_units("PRICE", "KWH", "USD"),
        report_descriptors=(model.ReportDescriptor(payload_type="USAGE"),),
        period=model.IntervalPeriod(start=NOW, duration=FOREVER, randomize_start=timedelta(seconds=90)),
        intervals=(model.Interval(id=3, payloads=(values("PRICE", 0.17, 1, True, "x", model.Point(x=1.0, y=2.5)),)),),
        metadata=model.Metadata(id="e-1", created_at=NOON - HOUR, modified_at=NOON),
    )
    assert json.loads(codec.encode(found, Version.V3_1))["intervalPeriod"] == {
        "start": "0001-01-01T00:00:00Z",
        "duration": "P9999Y",
        "randomizeStart": "PT1M30S",
    }


@pytest.mark.parametrize(
    "start",
    ["0001-01-01", "0001-01-01T00:00:00", "0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000+00:00", "0000-00-00"],
)
def test_the_beginning_of_time_is_now(start: str) -> None:
    body = json.dumps({"programID": "p", "intervalPeriod": {"start": start}}).encode()
    found = codec.decode_request(body, model.Event, Version.V3_1)
    assert found.period == model.IntervalPeriod(start=NOW)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"id": 5}, "$.id: 5, expected an object id"),
        ({"id": "a/b"}, "$.id: 'a/b', expected an object id"),
        ({"id": None}, "$: lacks id"),
        ({"programID": None}, "$: lacks programID"),
        ({"createdDateTime": None, "modificationDateTime": None}, "$: lacks createdDateTime, modificationDateTime"),
        ({"createdDateTime": "2030-01-31T12:00:00"}, "$.createdDateTime: '2030-01-31T12:00:00', expected an instant"),
        ({"createdDateTime": "2030-02-30T12:00:00Z"}, "$.createdDateTime"),
        ({"createdDateTime": "0001-01-01T00:00:00+14:00"}, "$.createdDateTime"),
        ({"objectType": "REPORT"}, "$.objectType: 'REPORT', expected EVENT"),
        ({"objectType": ["EVENT"]}, "$.objectType: a list, expected EVENT"),
        ({"priority": -1}, "$.priority: -1, expected a whole number from 0"),
        ({"priority": 1 << 31}, "$.priority"),
        ({"priority": True}, "$.priority: True"),
        ({"priority": 0.5}, "$.priority: 0.5"),
        ({"targets": [{"type": "GROUP", "values": ["a"]}]}, "$.targets[0]: an object, expected text"),
        ({"targets": [""]}, "$.targets[0]: '', expected text of 1 to 128 characters"),
        ({"targets": ["a", "b" * 129]}, "$.targets[1]"),
        ({"targets": ["\ud800"]}, "$.targets[0]"),
        ({"eventName": "a\x00b"}, "$.eventName"),
        ({"eventName": 5}, "$.eventName: 5, expected text"),
        ({"intervalPeriod": {"duration": "PT"}}, "$.intervalPeriod.duration: 'PT', expected a duration"),
        ({"intervalPeriod": {"duration": "P99999999Y"}}, "$.intervalPeriod.duration"),
        ({"intervalPeriod": {"duration": "P" + "9" * 5000 + "D"}}, "$.intervalPeriod.duration"),
        ({"intervalPeriod": {"duration": 3600}}, "$.intervalPeriod.duration: 3600"),
        ({"intervalPeriod": []}, "$.intervalPeriod: a list, expected an object"),
        ({"intervals": {}}, "$.intervals: an object, expected a list"),
        ({"intervals": [{"id": 0, "payloads": []}, {"id": "x"}]}, "$.intervals[1].id: 'x'"),
        ({"intervals": [{"id": 0, "payloads": [{"type": "P"}]}]}, "$.intervals[0].payloads[0]: lacks values"),
        (
            {"intervals": [{"id": 0, "payloads": [{"type": "P", "values": [0, None]}]}]},
            "$.intervals[0].payloads[0].values[1]: None, expected a number",
        ),
        (
            {"intervals": [{"id": 0, "payloads": [{"type": "P", "values": [{"x": 1}]}]}]},
            "$.intervals[0].payloads[0].values[0]: lacks y",
        ),
        ({"reportDescriptors": [{"payloadType": "USAGE", "reportIntervals": "ALL"}]}, "expected one of INTERVALS"),
        ({"payloadDescriptors": [{"objectType": "X", "payloadType": "P"}]}, "$.payloadDescriptors[0].objectType: 'X'"),
    ],
)
def test_what_is_no_event_is_told_with_its_path(change: dict[str, object], says: str) -> None:
    body = json.loads(codec.encode(event(values("SIMPLE", 1)), Version.V3_1)) | change
    with pytest.raises(MalformedMessage) as told:
        codec.decode(json.dumps(body).encode(), model.Event, Version.V3_1)
    assert str(told.value).startswith("$")
    assert says in str(told.value)


@pytest.mark.parametrize("body", [b"5", b"[]", b'"EVENT"', b"null", b"true"])
def test_what_is_no_object_is_told(body: bytes) -> None:
    with pytest.raises(MalformedMessage, match=r"^\$: .*, expected an object"):
        codec.decode(body, model.Event, Version.V3_1)


def test_depth_and_size_are_bounded() -> None:
    with pytest.raises(MessageTooLarge, match="levels"):
        codec.decode(b'{"a":' * 5000, model.Event, Version.V3_1)
    with pytest.raises(MessageTooLarge, match="bytes"):
        codec.decode(b" " * 2_000_000, model.Event, Version.V3_1)


def test_an_item_that_cannot_be_read_leaves_the_others_of_its_list_alone() -> None:
    good = codec.encode(event(values("SIMPLE", 1)), Version.V3_1).decode()
    body = f'[{good}, {{"id": "e-2"}}, 7, {good.replace("event-1", "e-3")}]'.encode()
    page = codec.decode_list(body, model.Event, Version.V3_1)
    assert [item.metadata and item.metadata.id for item in page.items] == ["event-1", "e-3"]
    assert [(fault.index, fault.object_id) for fault in page.faults] == [(1, "e-2"), (2, None)]
    assert str(page.faults[0].fault).startswith("$[1]: lacks createdDateTime")
    with pytest.raises(MalformedMessage, match="expected a list"):
        codec.decode_list(good.encode(), model.Event, Version.V3_1)
    with pytest.raises(MalformedMessage, match="stands twice"):
        codec.decode_list(b'[{"id": 1, "id": 2}]', model.Event, Version.V3_1)


def test_what_a_client_says_of_id_and_instants_is_passed_over() -> None:
    body = b'{"programName": "p", "id": 7, "createdDateTime": "17:15:16", "objectType": "NONSENSE"}'
    assert codec.decode_request(body, model.Program, Version.V3_1) == model.Program(name="p")


def test_a_ven_that_makes_itself_names_no_client_and_no_targets() -> None:
    own = model.Ven(name="v")
    assert json.loads(codec.encode(own, Version.V3_1)) == {"objectType": "VEN_VEN_REQUEST", "venName": "v"}
    by_logic = codec.encode(replace(own, client_id="c", targets=("a",)), Version.V3_1)
    assert json.loads(by_logic)["objectType"] == "BL_VEN_REQUEST"
    with pytest.raises(ValueError, match="targets"):
        codec.encode(replace(own, targets=("a",)), Version.V3_1)
    with pytest.raises(
        MalformedMessage, match=r"\$\.objectType: None, expected one of BL_VEN_REQUEST, VEN_VEN_REQUEST"
    ):
        codec.decode_request(b'{"venName": "v"}', model.Ven, Version.V3_1)
    greedy = b'{"objectType": "VEN_VEN_REQUEST", "venName": "v", "clientID": "other", "targets": ["theirs"]}'
    assert codec.decode_request(greedy, model.Ven, Version.V3_1) == own


def test_a_ven_that_a_vtn_holds_is_read_under_either_type() -> None:
    held = model.Ven(name="v", client_id="c", metadata=HELD)
    body = codec.encode(held, Version.V3_1)
    assert json.loads(body)["objectType"] == "VEN"
    for word in (b'"BL_VEN_REQUEST"', b'"VEN_VEN_REQUEST"'):
        assert codec.decode(body.replace(b'"VEN"', word), model.Ven, Version.V3_1) == held
    with pytest.raises(MalformedMessage, match="expected VEN"):
        codec.decode(body.replace(b'"VEN"', b'"RESOURCE"'), model.Ven, Version.V3_1)


def test_versions_have_no_room_for_each_others_words() -> None:
    of_3_1 = event(values("SIMPLE", 1), duration=HOUR)
    with pytest.raises(ValueError, match="no place for duration"):
        codec.encode(of_3_1, Version.V3_0)
    of_3_0 = model.Program(name="p", long_name="A program")
    with pytest.raises(ValueError, match="no place for long_name"):
        codec.encode(of_3_0, Version.V3_1)
    assert json.loads(codec.encode(of_3_0, Version.V3_0)) == {"programName": "p", "programLongName": "A program"}
    with pytest.raises(ValueError, match="targets"):
        codec.encode(event(targets=("a",)), Version.V3_0)


@pytest.mark.parametrize(
    ("value", "says"),
    [
        (event(program_id="a b"), "programID: 'a b' is no object id"),
        (event(priority=-1), "priority"),
        (event(values("X", float("nan"))), "nan is no number"),
        (event(values("X", 10**400)), "too large"),
        (event(targets=("a" * 129,)), "targets"),
        (event(period=model.IntervalPeriod(start=datetime(2030, 1, 1))), "not aware"),  # noqa: DTZ001
        (model.Report(event_id="e", client_name="", resources=()), "clientName"),
        (model.Report(event_id="e", client_name="c", resources=(), metadata=HELD), "clientID must be there"),
        (model.Notification(operation="POST", object=event()), "operation"),
        (model.Notification(operation="CREATE", object=event(metadata=None)), "metadata must be there"),
    ],
)
def test_what_cannot_be_said_is_refused(value: codec.Message, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        codec.encode(value, Version.V3_1)


def test_text_that_no_json_can_carry_does_not_stop_a_message() -> None:
    written = codec.encode(event(name="a\x00\ud800b"), Version.V3_1)
    assert json.loads(written)["eventName"] == "a\ufffd\ufffdb"


def test_secrets_do_not_show() -> None:
    found = codec.decode(b'{"access_token": "s3cret", "token_type": "bearer"}', model_access.Token, Version.V3_1)
    assert found.access_token == "s3cret"
    assert found.token_type == "Bearer"
    assert "s3cret" not in repr(found)
    asked = model_access.TokenRequest(client_id="c", client_secret="s3cret")
    assert "s3cret" not in repr(asked)
    with pytest.raises(MalformedMessage, match=r"\$\.grant_type: 'password', expected client_credentials"):
        codec.decode(
            b'{"grant_type": "password", "client_id": "c", "client_secret": "s"}',
            model_access.TokenRequest,
            Version.V3_1,
        )


@pytest.mark.parametrize("version", BOTH)
def test_a_notification_is_read_with_either_versions_operations(version: Version) -> None:
    held = codec.encode(event(values("SIMPLE", 1)), version).decode()
    for operation, word in (("DELETE", "DELETE"), ("POST", "CREATE"), ("UPDATE", "UPDATE")):
        body = f'{{"objectType": "EVENT", "operation": "{operation}", "object": {held}}}'.encode()
        assert codec.decode(body, model.Notification, version).operation == word
    with pytest.raises(MalformedMessage, match="objectType"):
        codec.decode(
            f'{{"objectType": "VEN", "operation": "POST", "object": {held}}}'.encode(), model.Notification, version
        )


def test_any_message_is_told_by_its_fields() -> None:
    of_3_0 = b'{"programID": "p", "intervals": [], "targets": [{"type": "GROUP", "values": ["a"]}]}'
    assert codec.decode_any(of_3_0)[0] is Version.V3_0
    assert codec.decode_any(b'{"title": "Not Found", "status": 404}') == (
        Version.V3_1,
        model_access.Problem(title="Not Found", status=404),
    )
    assert codec.decode_any(b"[]") == (Version.V3_1, ())
    with pytest.raises(UnsupportedMessage, match="of no kind that OpenADR 3 has"):
        codec.decode_any(b'{"hello": 1}')
    with pytest.raises(MalformedMessage, match=r"\$\[0\].programName: 5"):
        codec.decode_any(b'[{"programName": 5}]')


def test_instants_are_utc_whatever_their_offset() -> None:
    body = b'{"programID": "p", "intervalPeriod": {"start": "2030-01-31T05:00:00.123456789-07:00"}}'
    found = codec.decode_request(body, model.Event, Version.V3_1)
    assert found.period is not None
    assert found.period.start == datetime(2030, 1, 31, 12, 0, 0, 123456, tzinfo=UTC)
