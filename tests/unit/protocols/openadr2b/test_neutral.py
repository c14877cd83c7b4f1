from dataclasses import replace
from datetime import timedelta
from hashlib import sha256

import pytest

from protocols.errors import MalformedMessage, UnsupportedMessage
from protocols.grid import GridEvent, OptDecision, SignalKind
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral import describe
from protocols.openadr2b.neutral_event import write_event


def distribute(*events: GridEvent) -> bytes:
    offered = tuple(write_event(event, now=event.created_at) for event in events)
    return codec.encode(model.DistributeEvent(request_id="r", vtn_id="V", events=offered))


def test_events_come_in_neutral_form_with_their_prices(event: GridEvent) -> None:
    (signal,) = event.signals
    price = replace(signal, name="ELECTRICITY_PRICE", kind=SignalKind.PRICE, dialect_kind="price", currency="EUR")
    body = distribute(replace(event, signals=(signal, price)))
    found = describe(body)
    assert (found["message"], found["protocol"], found["version"]) == ("oadrDistributeEvent", "openadr", "2.0b")
    assert found["signed"] is False
    digest = sha256(body).hexdigest()
    assert found["events"] == [replace(event, signals=(signal, price), connection_id="", raw_sha256=digest)]
    assert found["prices"] == [
        {
            "event_id": "event-1",
            "starts_at": interval.starts_at,
            "duration_s": 1800.0,
            "price_per_kwh": interval.value,
            "currency": "EUR",
        }
        for interval in signal.intervals
    ]


def test_an_event_that_contradicts_itself_is_a_fault(event: GridEvent) -> None:
    found = describe(distribute(replace(event, duration_s=60.0)))
    assert found["events"] == []
    (fault,) = found["faults"]
    assert isinstance(fault, OptDecision)
    assert "active period" in fault.detail


def test_an_event_alone_is_a_fragment_that_is_read(event: GridEvent) -> None:
    payload = distribute(event)
    inside = payload[payload.index(b"<ei:eiEvent>") : payload.index(b"<oadr:oadrResponseRequired>")]
    declared = " ".join(f'xmlns:{prefix}="{uri}"' for prefix, uri in codec.NSMAP.items())
    found = describe(inside.replace(b"<ei:eiEvent>", f"<ei:eiEvent {declared}>".encode()))
    assert found["message"] == "eiEvent"
    (read,) = found["events"]
    assert read.event_id == "event-1"


def test_other_messages_come_as_they_stand_in_plain_objects(event: GridEvent) -> None:
    interval = model_report.ReportInterval(
        starts_at=event.starts_at,
        duration=timedelta(minutes=15),
        payloads=(model_report.ReportPayload(r_id="site-1", value=float("nan")),),
    )
    report = model_report.Report(
        report_request_id="o", specifier_id="s", created_at=event.created_at, intervals=(interval,)
    )
    found = describe(codec.encode(model_report.UpdateReport(request_id="r", reports=(report,))))
    assert (found["message"], found["events"], found["prices"]) == ("oadrUpdateReport", [], [])
    content = found["content"]
    assert isinstance(content, dict)
    written = content["reports"][0]["intervals"][0]
    assert (written["duration"], written["starts_at"]) == (900.0, event.starts_at)
    assert written["payloads"][0]["value"] == "nan"


def test_what_is_no_message_is_refused() -> None:
    with pytest.raises(UnsupportedMessage, match="namespace"):
        describe(b"<poll/>")
    with pytest.raises(MalformedMessage, match="line 1"):
        describe(b"nothing")
