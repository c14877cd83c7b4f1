"""The VEN's registration and events, against a VTN that says what a script tells it to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any

import pytest

from protocols.errors import (
    MalformedMessage,
    MessageError,
    NotRegistered,
    ProtocolError,
    Rejected,
    Unreachable,
    UnsupportedMessage,
)
from protocols.grid import GridEvent, Opt, OptDecision
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_event import write_event
from protocols.party_store import Direction, Registration

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
REGISTERED = Registration(
    connection_id="utility",
    registration_id="registration-1",
    party_id="ven-1",
    counterparty_id="VTN-1",
    poll_s=10.0,
    registered_at=NOON,
)

Answer = codec.Message | bytes | Exception


def said(code: str = "200", request_id: str = "r") -> model.EiResponse:
    return model.EiResponse(code=code, request_id=request_id, description="as scripted")


NOTHING = model.Response(response=said(), ven_id="ven-1")


def created(**more: Any) -> model.CreatedPartyRegistration:
    return model.CreatedPartyRegistration(
        response=more.pop("response", said()),
        vtn_id="VTN-1",
        profiles=(model.Profile(name="2.0b", transports=("simpleHttp",)),),
        **more,
    )


@pytest.mark.parametrize(
    ("queried", "given", "poll_s"),
    [
        (None, None, 7.0),
        (None, timedelta(seconds=30), 30.0),
        (timedelta(seconds=20), None, 20.0),
        (timedelta(seconds=20), timedelta(0), 20.0),
        (None, timedelta(0), 7.0),
        (None, timedelta(days=400), 86_400.0),
    ],
)
async def test_the_vtns_poll_frequency_goes_before_ours(
    stranger: Any, queried: timedelta | None, given: timedelta | None, poll_s: float
) -> None:
    stranger.ven = stranger.new_ven(poll_s=7.0)
    stranger.says(
        "EiRegisterParty",
        created(poll_every=queried),
        created(poll_every=given, ven_id="ven-1", registration_id="registration-1"),
    )
    await stranger.ven.receive(NOON)
    assert stranger.ven.poll_s == poll_s
    assert stranger.store.registrations["utility"] == replace(REGISTERED, poll_s=poll_s)


@pytest.mark.parametrize(
    "answer",
    [
        created(),
        created(response=said("451")),
        model.Response(response=said("463")),
        NOTHING,
        Rejected("HTTP 500", code="500"),
    ],
)
async def test_a_refused_registration_is_said_and_tried_again(stranger: Any, answer: Answer) -> None:
    stranger.says("EiRegisterParty", created(), answer)
    with pytest.raises((Rejected, NotRegistered)):
        await stranger.ven.receive(NOON)
    assert stranger.store.registrations == {}
    stranger.says("EiRegisterParty", created(), created(ven_id="ven-1", registration_id="registration-1"))
    await stranger.ven.receive(NOON)
    assert stranger.store.registrations["utility"] == REGISTERED


async def test_a_vtn_without_reports_still_sends_events(stranger: Any, distribute: model.DistributeEvent) -> None:
    await stranger.store.save_registration(REGISTERED)
    stranger.says("EiReport", Rejected("HTTP 404", code="404"))
    stranger.says("EiEvent", distribute)
    batch = await stranger.ven.receive(NOON)
    assert batch is not None
    assert [event.event_id for event in batch.events] == ["event-1"]
    await stranger.ven.receive(NOON)
    assert len(stranger.sent(model_report.RegisterReport)) == 1


async def test_a_report_service_that_fails_for_now_is_asked_again(stranger: Any) -> None:
    await stranger.store.save_registration(REGISTERED)
    stranger.says("EiReport", Rejected("HTTP 503", code="503"), model_report.RegisteredReport(response=said()))
    for _ in range(3):
        await stranger.ven.receive(NOON)
    assert len(stranger.sent(model_report.RegisterReport)) == 2


@pytest.mark.parametrize(
    "answer",
    [
        model.Response(response=said("463")),
        model.Response(response=said("452")),
        Rejected("HTTP 403", code="403"),
        Rejected("HTTP 404", code="404"),
    ],
)
async def test_a_vtn_that_no_longer_knows_us_is_registered_with_anew(vtn: Any, answer: Answer) -> None:
    vtn.says("OadrPoll", answer)
    with pytest.raises(NotRegistered):
        await vtn.ven.receive(NOON)
    assert vtn.store.registrations == {}
    assert vtn.ven.party_ids == frozenset()
    vtn.says("EiRegisterParty", created(), created(ven_id="ven-2", registration_id="registration-2"))
    await vtn.ven.receive(NOON)
    assert vtn.ven.party_ids == {"ven-2"}


@pytest.mark.parametrize("code", ["450", "459", "500"])
async def test_another_error_is_said_and_forgets_nothing(vtn: Any, code: str) -> None:
    vtn.says("EiEvent", NOTHING)
    vtn.says("OadrPoll", model.Response(response=said(code)), Rejected("HTTP", code=code))
    for _ in range(2):
        with pytest.raises(Rejected) as caught:
            await vtn.ven.receive(NOON)
        assert caught.value.code == code
    assert vtn.store.registrations["utility"] == REGISTERED
    # Behind an error of the other side an answer may have been lost: all events are asked for.
    assert len(vtn.sent(model.RequestEvent)) == (1 if code == "500" else 0)


async def test_a_request_to_register_anew_is_acknowledged_and_followed(vtn: Any) -> None:
    vtn.says("OadrPoll", model.RequestReregistration(ven_id="ven-1"))
    assert await vtn.ven.receive(NOON) is None
    ((service, acknowledgement),) = vtn.heard[1:]
    assert service == "EiRegisterParty"
    assert acknowledgement == model.Response(
        response=model.EiResponse(code="200", description="OK", request_id=""), ven_id="ven-1"
    )
    assert vtn.store.registrations == {}
    vtn.says("EiRegisterParty", created(), created(ven_id="ven-1", registration_id="registration-1"))
    await vtn.ven.receive(NOON)
    assert vtn.store.registrations["utility"] == REGISTERED


async def test_the_vtn_cancels_our_registration(vtn: Any) -> None:
    vtn.says("OadrPoll", model.CancelPartyRegistration(request_id="r9", registration_id="registration-1"))
    with pytest.raises(NotRegistered, match="cancelled"):
        await vtn.ven.receive(NOON)
    (answer,) = vtn.sent(model.CanceledPartyRegistration)
    assert (answer.response.code, answer.response.request_id, answer.ven_id) == ("200", "r9", "ven-1")
    assert vtn.store.registrations == {}


async def test_the_vtn_cancels_a_registration_that_is_not_ours(vtn: Any) -> None:
    vtn.says("OadrPoll", model.CancelPartyRegistration(request_id="r9", registration_id="another"))
    assert await vtn.ven.receive(NOON) is None
    (answer,) = vtn.sent(model.CanceledPartyRegistration)
    assert answer.response.code == "452"
    assert vtn.store.registrations["utility"] == REGISTERED


async def test_an_answer_that_lists_no_events_cancels_none(stranger: Any) -> None:
    await stranger.store.save_registration(REGISTERED)
    stranger.says("EiEvent", NOTHING)
    assert await stranger.ven.receive(NOON) is None


@pytest.mark.parametrize(("code", "questions"), [("503", 2), ("405", 1)])
async def test_a_refused_question_for_events_does_not_keep_us_from_polling(
    stranger: Any, code: str, questions: int
) -> None:
    await stranger.store.save_registration(REGISTERED)
    stranger.says("EiEvent", Rejected("HTTP", code=code), NOTHING)
    for _ in range(3):
        assert await stranger.ven.receive(NOON) is None
    assert len(stranger.sent(model.RequestEvent)) == questions
    assert len(stranger.sent(model.Poll)) == 3


async def test_what_is_said_to_an_acknowledgement_is_kept_whatever_it_is(vtn: Any) -> None:
    vtn.says("OadrPoll", model.CancelPartyRegistration(request_id="r9", registration_id="another"))
    vtn.says("EiRegisterParty", b"<thanks>")
    assert await vtn.ven.receive(NOON) is None
    assert (vtn.store.messages[-1].name, vtn.store.messages[-1].body) == ("", b"<thanks>")


async def test_responses_name_the_request_and_skip_what_wants_none(
    vtn: Any, event: GridEvent, distribute: model.DistributeEvent
) -> None:
    silent = write_event(replace(event, event_id="event-2", response_required=False), now=NOON)
    vtn.says("OadrPoll", replace(distribute, request_id="r7", events=(*distribute.events, silent)))
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    assert batch.request_id == "r7"
    await vtn.ven.respond(batch, [decision("event-1"), decision("event-2")], NOON)
    (answer,) = vtn.sent(model.CreatedEvent)
    (response,) = answer.event_responses
    assert (response.event.event_id, response.request_id, response.opt, response.code) == (
        "event-1",
        "r7",
        "optIn",
        "200",
    )


def decision(event_id: str, opt: Opt = Opt.IN) -> OptDecision:
    return OptDecision(connection_id="utility", event_id=event_id, revision=0, opt=opt, decided_at=NOON)


async def test_a_faulty_event_that_wants_no_answer_gets_none(vtn: Any, distribute: model.DistributeEvent) -> None:
    (offered,) = distribute.events
    period = replace(offered.event.period, duration=timedelta(seconds=1))
    silent = replace(offered, event=replace(offered.event, period=period), response_required="never")
    vtn.says("OadrPoll", replace(distribute, events=(silent,)))
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    assert [fault.event_id for fault in batch.faults] == ["event-1"]
    await vtn.ven.respond(batch, (), NOON)
    assert vtn.sent(model.CreatedEvent) == []


async def test_a_later_change_of_mind_can_be_said(vtn: Any, distribute: model.DistributeEvent) -> None:
    vtn.says("OadrPoll", distribute)
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    await vtn.ven.respond(batch, [decision("event-1")], NOON)
    await vtn.ven.respond(batch, [decision("event-1", Opt.OUT)], NOON)
    assert [answer.event_responses[0].opt for answer in vtn.sent(model.CreatedEvent)] == ["optIn", "optOut"]


async def test_a_changed_answer_names_the_request_that_listed_the_event(
    vtn: Any, distribute: model.DistributeEvent
) -> None:
    vtn.says("OadrPoll", replace(distribute, request_id="r7"))
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    await vtn.ven.respond(batch, [decision("event-1")], NOON)
    vtn.says("EiEvent", NOTHING)
    assert await vtn.ven.restate(decision("event-1", Opt.OUT), NOON) is None
    changed = vtn.sent(model.CreatedEvent)[-1]
    (response,) = changed.event_responses
    assert (changed.response.code, changed.response.request_id, changed.ven_id) == ("200", "r7", "ven-1")
    assert (response.event.event_id, response.event.modification_number) == ("event-1", 0)
    assert (response.request_id, response.opt, response.code) == ("r7", "optOut", "200")


@pytest.mark.parametrize(
    ("answer", "says"),
    [
        (model.Response(response=said("452")), "oadrCreatedEvent: 452 as scripted"),
        (model.Response(response=said("469")), "oadrCreatedEvent: 469 as scripted"),
        (Rejected("HTTP 404", code="404"), "HTTP 404"),
        (Rejected("HTTP 503", code="503"), None),
        (Unreachable("cut"), None),
        (b"<not xml", None),
        (model.Response(response=said("463")), None),
    ],
)
async def test_a_changed_answer_that_the_vtn_refuses_is_said_no_more(
    vtn: Any, answer: Answer, says: str | None
) -> None:
    vtn.says("EiEvent", answer)
    if says is not None:
        assert await vtn.ven.restate(decision("event-1", Opt.OUT), NOON) == says
        return
    with pytest.raises(ProtocolError):
        await vtn.ven.restate(decision("event-1", Opt.OUT), NOON)


async def test_nothing_is_restated_before_we_are_registered(stranger: Any) -> None:
    with pytest.raises(NotRegistered):
        await stranger.ven.restate(decision("event-1", Opt.OUT), NOON)
    assert stranger.heard == []


@pytest.mark.parametrize(
    "answer",
    [
        model.Response(response=said("452")),
        Rejected("HTTP 500", code="500"),
        b"<not xml",
        model.Response(response=said("463")),
    ],
)
async def test_a_refused_answer_is_followed_by_one_new_question(
    vtn: Any, distribute: model.DistributeEvent, answer: Answer
) -> None:
    vtn.says("OadrPoll", distribute)
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    vtn.says("EiEvent", answer, distribute, answer)
    await vtn.ven.respond(batch, [decision("event-1")], NOON)
    vtn.says("EiRegisterParty", created(), created(ven_id="ven-1", registration_id="registration-1"))
    again = await vtn.ven.receive(NOON)
    assert again is not None
    assert again.events == (replace(batch.events[0], raw_sha256=again.raw_sha256),)
    await vtn.ven.respond(again, [decision("event-1")], NOON)
    vtn.heard.clear()
    if not vtn.store.registrations:
        return
    # It was asked about these events already: from now on the poll has its turn.
    assert await vtn.ven.receive(NOON) is None
    assert [service for service, _ in vtn.heard] == ["OadrPoll"]


async def test_a_message_that_cannot_be_read_is_kept_refused_and_said(
    vtn: Any, distribute: model.DistributeEvent
) -> None:
    broken = codec.encode(replace(distribute, request_id="r7")).replace(b">far<", b">soon<")
    vtn.says("OadrPoll", broken)
    with pytest.raises(MalformedMessage, match="'soon'") as caught:
        await vtn.ven.receive(NOON)
    assert caught.value.raw_sha256 == sha256(broken).hexdigest()
    assert caught.value.connection_id == "utility"
    assert (vtn.store.messages[0].direction, vtn.store.messages[0].body) == (Direction.IN, broken)
    (answer,) = vtn.sent(model.CreatedEvent)
    assert (answer.response.code, answer.response.request_id, answer.event_responses) == ("459", "r7", ())
    assert await vtn.ven.receive(NOON) is None


@pytest.mark.parametrize("body", [b"<html><body>maintenance</body></html>", b"busy", b"<a>" * 99, b"<x/>"])
async def test_an_answer_that_is_no_message_is_kept_and_said(vtn: Any, body: bytes) -> None:
    vtn.says("OadrPoll", body)
    with pytest.raises(MessageError) as caught:
        await vtn.ven.receive(NOON)
    assert caught.value.raw_sha256 == sha256(body).hexdigest()
    assert [item.sha256 for item in vtn.store.messages] == [caught.value.raw_sha256]
    assert vtn.sent(model.CreatedEvent) == []


async def test_what_the_store_could_not_keep_is_asked_for_again(
    vtn: Any, distribute: model.DistributeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def full(_: Any) -> None:
        raise OSError("disk full")

    vtn.says("OadrPoll", distribute)
    with monkeypatch.context() as patch:
        patch.setattr(vtn.store, "record_message", full)
        with pytest.raises(OSError, match="disk full"):
            await vtn.ven.receive(NOON)
    vtn.says("EiEvent", distribute)
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    assert len(vtn.sent(model.RequestEvent)) == 1


async def test_a_refusal_that_does_not_arrive_hides_nothing(vtn: Any, distribute: model.DistributeEvent) -> None:
    vtn.says("OadrPoll", codec.encode(distribute).replace(b">far<", b">soon<"))
    vtn.says("EiEvent", Unreachable("cut"))
    with pytest.raises(MalformedMessage, match="'soon'"):
        await vtn.ven.receive(NOON)


async def test_events_of_another_vtn_are_refused(vtn: Any, distribute: model.DistributeEvent) -> None:
    vtn.says("OadrPoll", replace(distribute, vtn_id="VTN-2"))
    with pytest.raises(MalformedMessage, match="vtnID is 'VTN-2'") as caught:
        await vtn.ven.receive(NOON)
    assert caught.value.raw_sha256 == vtn.store.messages[0].sha256
    (answer,) = vtn.sent(model.CreatedEvent)
    assert (answer.response.code, answer.event_responses) == ("452", ())


async def test_an_empty_answer_is_no_answer(vtn: Any) -> None:
    vtn.says("OadrPoll", b"")
    with pytest.raises(Unreachable, match="empty answer"):
        await vtn.ven.receive(NOON)


async def test_a_message_that_no_vtn_sends_is_refused(vtn: Any) -> None:
    vtn.says("OadrPoll", model.Poll(ven_id="ven-1"))
    with pytest.raises(UnsupportedMessage, match="oadrPoll is nothing that a VTN sends") as caught:
        await vtn.ven.receive(NOON)
    assert caught.value.raw_sha256 == vtn.store.messages[0].sha256


async def test_everything_is_kept_before_it_is_acted_on(vtn: Any, distribute: model.DistributeEvent) -> None:
    vtn.says("OadrPoll", distribute)
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    vtn.says("EiEvent", NOTHING)
    await vtn.ven.respond(batch, [decision("event-1")], NOON)
    kept = [(item.direction, item.name, item.at, item.connection_id) for item in vtn.store.messages]
    assert kept == [
        (Direction.IN, "oadrDistributeEvent", NOON, "utility"),
        (Direction.OUT, "oadrCreatedEvent", NOON, "utility"),
        (Direction.IN, "oadrResponse", NOON, "utility"),
    ]
    assert batch.raw_sha256 == vtn.store.messages[0].sha256
    assert all(sha256(item.body).hexdigest() == item.sha256 for item in vtn.store.messages)
