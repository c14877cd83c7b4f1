from dataclasses import replace
from datetime import timedelta

import pytest
from lxml import etree

from protocols.errors import MalformedMessage, MessageTooLarge, UnsupportedMessage
from protocols.grid import GridEvent
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.names import NSMAP
from protocols.openadr2b.neutral_event import write_event
from protocols.xml import parse

NAMESPACES = " ".join(f'xmlns:{prefix}="{namespace}"' for prefix, namespace in NSMAP.items())


def wrapped(inside: str) -> bytes:
    return (
        f"<oadr:oadrPayload {NAMESPACES}>\n<oadr:oadrSignedObject>\n{inside}\n"
        "</oadr:oadrSignedObject></oadr:oadrPayload>"
    ).encode()


def bare(inside: str) -> bytes:
    name, _, rest = inside.partition(">")
    return f"{name} {NAMESPACES}>{rest}".encode()


POLL = '<oadr:oadrPoll ei:schemaVersion="2.0b"><ei:venID>ven-1</ei:venID></oadr:oadrPoll>'


@pytest.fixture
def distribute(event: GridEvent) -> bytes:
    offered = write_event(event, now=event.created_at)
    return codec.encode(model.DistributeEvent(request_id="request-7", vtn_id="VTN-1", events=(offered,)))


def test_a_whole_payload_a_bare_message_and_a_fragment_are_read() -> None:
    assert codec.decode(wrapped(POLL)) == codec.decode(bare(POLL)) == model.Poll(ven_id="ven-1")
    unit = (
        "<power:energyReal><power:itemDescription/><power:itemUnits>Wh</power:itemUnits>"
        "<scale:siScaleCode>k</scale:siScaleCode></power:energyReal>"
    )
    name, value = codec.decode_any(parse(bare(unit)))
    assert (name, value) == (
        "energyReal",
        model.ItemBase(kind="energyReal", description="RealEnergy", units="Wh", scale="k"),
    )
    with pytest.raises(UnsupportedMessage, match="energyReal is no message"):
        codec.decode(bare(unit))


def test_a_signature_is_seen_and_passed_over() -> None:
    signed = wrapped(POLL).replace(b"<oadr:oadrSignedObject>", b"<ds:Signature>x</ds:Signature><oadr:oadrSignedObject>")
    assert codec.decode(signed) == model.Poll(ven_id="ven-1")
    assert codec.is_signed(parse(signed))
    assert not codec.is_signed(parse(wrapped(POLL)))


@pytest.mark.parametrize("version", ["2.0a", "2.0b", "x-own"])
def test_versions_that_the_schema_knows_pass(version: str) -> None:
    codec.decode(wrapped(POLL.replace("2.0b", version)))


@pytest.mark.parametrize(
    ("body", "says"),
    [
        (b"<html><body/></html>", "html is in the namespace 'of nobody'"),
        (b'<oadrPoll xmlns="http://openadr.org/oadr-2.0a/2012/07"/>', "'http://openadr.org/oadr-2.0a/2012/07'"),
        (wrapped("<oadr:oadrDance/>"), "oadr:oadrDance is no message"),
        (wrapped("<ei:eiEvent/>"), "ei:eiEvent is no message"),
        (wrapped(POLL.replace("2.0b", "3.0")), "schema version '3.0', expected 2.0b"),
    ],
)
def test_what_we_do_not_speak_is_said_to_be_so(body: bytes, says: str) -> None:
    with pytest.raises(UnsupportedMessage, match=says):
        codec.decode(body)


def test_what_the_parser_refuses_stays_refused() -> None:
    with pytest.raises(MessageTooLarge):
        codec.decode(b"<a>" * 80 + b"</a>" * 80)
    with pytest.raises(MalformedMessage):
        codec.decode(wrapped(POLL)[:-20])


@pytest.mark.parametrize(
    ("inside", "line", "says"),
    [
        ("", 2, "oadr:oadrSignedObject holds 0 messages"),
        (POLL + POLL, 2, "oadr:oadrSignedObject holds 2 messages"),
        ("<oadr:oadrPoll/>", 3, "oadr:oadrPoll lacks ei:venID"),
        (
            "<oadr:oadrPoll>\n<ei:venID>a</ei:venID>\n<ei:venID>b</ei:venID></oadr:oadrPoll>",
            5,
            "ei:venID at this place in oadr:oadrPoll, expected no more",
        ),
        (
            "<oadr:oadrPoll>\n<ei:vtnID>a</ei:vtnID></oadr:oadrPoll>",
            4,
            "ei:vtnID at this place in oadr:oadrPoll, expected ei:venID",
        ),
        (
            "<oadr:oadrPoll><ei:venID>a<ei:x/></ei:venID></oadr:oadrPoll>",
            3,
            "ei:venID has elements in it, expected text",
        ),
    ],
)
def test_the_error_names_line_and_element_and_what_was_expected(inside: str, line: int, says: str) -> None:
    with pytest.raises(MalformedMessage, match=says) as caught:
        codec.decode(wrapped(inside))
    assert caught.value.line == line


@pytest.mark.parametrize(
    ("found", "instead", "says"),
    [
        ("far</ei:eventStatus>", "soon</ei:eventStatus>", "ei:eventStatus is 'soon', expected one of none, far"),
        (">PT1H<", ">1 hour<", "xcal:duration is '1 hour', expected a duration"),
        (">2030-01-31T13:00:00Z<", ">noon<", "xcal:date-time is 'noon', expected an instant"),
        (">2.0</ei:value>", ">two</ei:value>", "ei:value is 'two', expected a number"),
        ("<ei:eiTarget/>", "", "ei:eiEvent lacks ei:eiTarget"),
        ("<xcal:components/>", "", "ei:eiActivePeriod needs xcal:properties and xcal:components"),
        (">always<", ">sometimes<", "oadr:oadrResponseRequired is 'sometimes', expected one of always, never"),
        (">level<", ">loud<", "ei:signalType is 'loud', expected one of"),
        ("<ei:modificationNumber>0", "<ei:modificationNumber>-1", "expected a whole number"),
    ],
)
def test_a_fault_deep_in_a_message_carries_its_request_id(
    distribute: bytes, found: str, instead: str, says: str
) -> None:
    assert found.encode() in distribute
    with pytest.raises(MalformedMessage, match=says) as caught:
        codec.decode(distribute.replace(found.encode(), instead.encode(), 1))
    assert caught.value.request_id == "request-7"


def test_a_request_id_that_is_only_an_answers_is_not_the_senders() -> None:
    inside = (
        "<oadr:oadrResponse><ei:eiResponse><ei:responseCode>20</ei:responseCode>"
        "<pyld:requestID>ours</pyld:requestID></ei:eiResponse></oadr:oadrResponse>"
    )
    with pytest.raises(MalformedMessage, match="expected a response code") as caught:
        codec.decode(wrapped(inside))
    assert caught.value.request_id is None


def break_off(event: model.EiEvent, part: str) -> model.EiEvent:
    signal = event.signal_set.signals[0]
    return {
        "status": replace(event, descriptor=replace(event.descriptor, status="soon")),
        "revision": replace(event, descriptor=replace(event.descriptor, modification_number=-1)),
        "duration": replace(event, period=replace(event.period, duration=timedelta(seconds=0.5))),
        "signals": replace(event, signal_set=model.SignalSet(signals=())),
        "intervals": replace(event, signal_set=model.SignalSet(signals=(replace(signal, intervals=()),))),
        "unit": replace(
            event,
            signal_set=model.SignalSet(
                signals=(replace(signal, unit=model.ItemBase(kind="horsePower", description="", units="hp")),)
            ),
        ),
    }[part]


@pytest.mark.parametrize(
    ("part", "says"),
    [
        ("status", "'soon' is not one of"),
        ("revision", "-1 is not from 0"),
        ("duration", "whole seconds only"),
        ("signals", "ei:eiEventSignals needs signals"),
        ("intervals", "strm:intervals needs at least 1"),
        ("unit", "horsePower is no kind of unit"),
    ],
)
def test_what_the_schema_has_no_room_for_is_not_written(event: GridEvent, part: str, says: str) -> None:
    offered = write_event(event, now=event.created_at)
    broken = replace(offered, event=break_off(offered.event, part))
    with pytest.raises(ValueError, match=says):
        codec.encode(model.DistributeEvent(request_id="r", vtn_id="V", events=(broken,)))


def test_an_empty_list_is_written_where_one_must_stand(schema: etree.XMLSchema) -> None:
    response = model.EiResponse(code="200", request_id="r")
    created = model_report.CreatedReport(response=response)
    body = codec.encode(created)
    schema.assertValid(etree.fromstring(body))
    assert b"oadrPendingReports/>" in body
    assert codec.decode(body) == created
    with pytest.raises(ValueError, match="report_request_ids"):
        codec.encode(model_report.CancelReport(request_id="r", report_request_ids=(), to_follow=False))


def test_the_names_of_messages() -> None:
    assert codec.name_of(model.Poll(ven_id="v")) == "oadrPoll"
    assert codec.name_of(model_report.UpdateReport(request_id="r")) == "oadrUpdateReport"
    assert len(codec.MESSAGES) == 23
