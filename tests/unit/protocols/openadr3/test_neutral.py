import json

import pytest

from protocols.errors import MalformedMessage
from protocols.openadr3 import codec, model, model_access
from protocols.openadr3.names import Version
from protocols.openadr3.neutral import describe
from tests.unit.protocols.openadr3.objects import NOON, event, in_units, values

PRICED = event(values("PRICE", 0.17), payload_descriptors=in_units("PRICE", "KWH", "USD"))


def test_an_event_and_its_prices() -> None:
    found = describe(codec.encode(PRICED, Version.V3_1))
    assert (found["message"], found["protocol"], found["version"]) == ("Event", "openadr", "3.1")
    assert found["prices"] == [
        {"event_id": "event-1", "starts_at": NOON, "duration_s": 3600.0, "price_per_kwh": 0.17, "currency": "USD"}
    ]
    assert found["faults"] == []


def test_a_list_and_a_notification() -> None:
    found = describe(codec.encode_list([PRICED, model.Program(name="p")], Version.V3_1))
    assert found["message"] == "list of 2: Event, Program"
    assert isinstance(found["events"], list)
    assert len(found["events"]) == 1
    told = describe(codec.encode(model.Notification(operation="UPDATE", object=PRICED), Version.V3_0))
    assert told["message"] == "Notification"
    assert isinstance(told["events"], list)
    assert len(told["events"]) == 1


def test_an_event_that_contradicts_itself_is_a_fault() -> None:
    found = describe(codec.encode(event(values("SIMPLE", 9)), Version.V3_1))
    assert isinstance(found["faults"], list)
    assert found["faults"][0].detail == "SIMPLE is 9, expected 0, 1, 2 or 3"


def test_what_a_client_sends_has_no_id_yet() -> None:
    found = describe(
        b'{"programID": "p", "intervalPeriod": {"start": "2030-01-31T12:00:00Z", "duration": "PT1H"},'
        b' "intervals": [{"id": 0, "payloads": [{"type": "SIMPLE", "values": [1]}]}]}'
    )
    assert isinstance(found["events"], list)
    assert found["events"][0].event_id == ""


def test_content_is_plain_and_without_secrets() -> None:
    token = model_access.TokenRequest(client_id="c", client_secret="s3cret")
    found = describe(codec.encode(token, Version.V3_1))
    assert found["content"] == {"client_id": "c", "scope": None}
    assert "s3cret" not in json.dumps(found)
    with pytest.raises(MalformedMessage):
        describe(b"{")
