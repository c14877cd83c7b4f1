"""What a message says of itself in one line, and secrets that are not shown."""

from datetime import UTC, datetime
from hashlib import sha256

import pytest

from gateway.app import decode_message
from gateway.domain.message_trace import masked, trace
from protocols.openadr2b import model, model_report
from protocols.openadr2b.codec import Message, encode, name_of
from protocols.party_store import Direction, RawMessage

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)


def raw(body: bytes, name: str = "", took_s: float | None = None) -> RawMessage:
    return RawMessage(
        connection_id="utility",
        direction=Direction.IN,
        at=NOON,
        name=name,
        body=body,
        sha256=sha256(body).hexdigest(),
        took_s=took_s,
    )


def said(message: Message) -> tuple[str, bool]:
    (line,) = trace([raw(encode(message), name_of(message))], decode_message)
    return line.verdict, line.well


def test_an_answer_says_its_code() -> None:
    well = model.Response(response=model.EiResponse(code="200", description="OK", request_id="1"), ven_id="v")
    bad = model.Response(response=model.EiResponse(code="452", description="not yours", request_id="1"), ven_id="v")
    assert said(well) == ("200 OK", True)
    assert said(bad) == ("452 not yours", False)


def test_answers_to_events_are_named_each() -> None:
    answers = tuple(
        model.EventResponse(
            code=code,
            request_id="1",
            event=model.QualifiedEvent(event_id=event_id, modification_number=0),
            opt=opt,
            description=why,
        )
        for event_id, code, opt, why in (("e1", "200", "optIn", None), ("e2", "460", "optOut", "no such signal"))
    )
    message = model.CreatedEvent(
        response=model.EiResponse(code="200", description="OK", request_id="1"), event_responses=answers, ven_id="v"
    )
    assert said(message) == ("200 OK; e1 optIn; e2 optOut (460 no such signal)", True)


def test_a_problem_of_openadr_3_says_its_status() -> None:
    problem = b'{"title": "Forbidden", "status": 403, "detail": "write_events is not granted"}'
    (line,) = trace([raw(problem)], decode_message)
    assert (line.verdict, line.well) == ("403 Forbidden: write_events is not granted", False)


def test_what_cannot_be_read_is_listed_all_the_same() -> None:
    (line,) = trace([raw(b"<html>busy", took_s=0.25)], decode_message)
    assert (line.name, line.well, line.took_s, line.size_bytes) == ("?", False, 0.25, 10)
    assert line.verdict.startswith("cannot be read: ")


@pytest.mark.parametrize(
    ("body", "shown"),
    [
        (
            b'{"client_id": "a", "client_secret": "s3\\"cr3t", "access_token":"abc"}',
            b'{"client_id": "a", "client_secret": "***", "access_token":"***"}',
        ),
        (
            b"grant_type=client_credentials&client_secret=s3cr3t&scope=a",
            b"grant_type=client_credentials&client_secret=***&scope=a",
        ),
        (
            b"<a><x:password kind='p'>s3cr3t</x:password><b>1</b></a>",
            b"<a><x:password kind='p'>***</x:password><b>1</b></a>",
        ),
        (
            b'{"bearerToken" : "s3cr3t", "callbackUrl": "https://a"}',
            b'{"bearerToken" : "***", "callbackUrl": "https://a"}',
        ),
    ],
)
def test_secrets_are_taken_out(body: bytes, shown: bytes) -> None:
    assert masked(body) == shown


def test_reports_say_how_many_intervals_they_bring() -> None:
    intervals = tuple(
        model_report.ReportInterval(payloads=(model_report.ReportPayload(r_id="power", value=1.0),), starts_at=NOON)
        for _ in range(2)
    )
    report = model_report.Report(
        report_request_id="order-7", specifier_id="telemetry", created_at=NOON, intervals=intervals
    )
    assert said(model_report.UpdateReport(request_id="1", reports=(report,), ven_id="v")) == (
        "order-7: 2 intervals",
        True,
    )


def test_a_report_of_openadr_3_says_whose_intervals_it_brings() -> None:
    body = (
        b'{"objectType": "REPORT", "eventID": "e1", "clientName": "site", "resources": [{"resourceName": "hall-1",'
        b' "intervals": [{"id": 0, "payloads": [{"type": "DEMAND", "values": [1.5]}]}]}]}'
    )
    (line,) = trace([raw(body)], decode_message)
    assert (line.verdict, line.well) == ("hall-1: 1 interval", True)
