"""Where other VTNs fail, one test a check; and what certification asks of a VTN, one a rule.

The checks were made on a widely used VTN, with its users' issues at hand; their names say what goes wrong there.
"""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from protocols.errors import MalformedMessage, MessageTooLarge, OutOfTime
from protocols.grid import GridEvent
from protocols.openadr2b import codec, model
from protocols.openadr2b.certificate import Pinned, fingerprint
from protocols.openadr2b.signature import Signer, Verifier, encode_signed
from protocols.replay import MemoryNonces, ReplayWindow
from tests.certificates import authority
from tests.unit.protocols.openadr2b.vtn_asking import (
    answer,
    ask,
    created,
    data,
    offers,
    poll,
    register,
    registered,
    said,
    told,
    update,
)


@pytest.fixture
async def ven_id(joined: Any) -> str:
    return await registered(joined)


async def test_vtn_restart_report_data_still_has_its_order(joined: Any, ven_id: str) -> None:
    (request,) = (await ask(joined, "EiReport", offers(joined, ven_id))).requests
    await update(joined, ven_id, data(joined, request, "hall", 1.0))
    joined.vtn = joined.new_vtn()
    later = data(joined, request, "hall", 2.0, report_id="report-2")
    assert (await update(joined, ven_id, later)).response.code == "200"
    assert len(await joined.vtn.reports(joined.now - timedelta(seconds=1))) == 2


async def test_vtn_restart_events_still_known(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    await answer(joined, ven_id, "event-1")
    joined.vtn = joined.new_vtn()
    assert await told(joined, ven_id) == [("event-1", 0, "far")]
    assert len(await joined.vtn.answers("event-1")) == 1
    with pytest.raises(ValueError, match="revision 0 already"):
        await joined.vtn.publish(event)


async def test_poll_answer_lost_before_created_event_is_offered_again(
    joined: Any, event: GridEvent, ven_id: str
) -> None:
    await joined.vtn.publish(event)
    assert await told(joined, ven_id) == await told(joined, ven_id) == [("event-1", 0, "far")]


async def test_status_transition_is_sent_again(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    await told(joined, ven_id)
    await answer(joined, ven_id, "event-1")
    statuses = []
    for at in (event.starts_at, event.starts_at + timedelta(hours=1)):
        joined.now = at
        statuses += [status for _, _, status in await told(joined, ven_id)]
    assert statuses == ["active", "completed"]


async def test_a_live_event_can_be_modified(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    joined.now = event.starts_at
    await joined.vtn.publish(replace(event, revision=1, comment="longer"))
    assert await told(joined, ven_id) == [("event-1", 1, "active")]


async def test_poll_by_unknown_ven_id_asks_to_register(joined: Any) -> None:
    assert await poll(joined, "stranger") == model.RequestReregistration(ven_id="stranger")


async def test_vtn_serves_ei_opt(joined: Any, ven_id: str) -> None:
    opt = model.CreateOpt(
        opt_id="o",
        opt="optOut",
        reason="economic",
        ven_id=ven_id,
        created_at=joined.now,
        request_id="q",
        targets=model.Targets(ven_ids=(ven_id,)),
    )
    assert (await ask(joined, "EiOpt", opt)).response.code == "200"


async def test_schema_invalid_body_is_refused_and_kept(joined: Any, ven_id: str) -> None:
    with pytest.raises(MalformedMessage):
        await joined.vtn.answer("OadrPoll", codec.encode(model.Poll(ven_id=ven_id)).replace(b"venID", b"vtnID"))
    assert joined.vtn_store.messages[-1].name == ""


async def test_three_megabytes_are_too_large(joined: Any) -> None:
    with pytest.raises(MessageTooLarge):
        await joined.vtn.answer("OadrPoll", b" " * 3_000_000)


async def test_two_vtns_in_one_process_do_not_answer_for_each_other(joined: Any, ven_id: str) -> None:
    other = joined.new_vtn(connection_id="other", vtn_id="VTN-2")
    query = codec.encode(model.QueryRegistration(request_id="q"))
    names = [codec.decode(await vtn.answer("EiRegisterParty", query)).vtn_id for vtn in (joined.vtn, other)]
    assert names == ["VTN-1", "VTN-2"]
    assert await other.parties() == ()


@pytest.mark.parametrize(("ahead_s", "taken"), [(-6, True), (-299, True), (59, True), (-301, False), (3600, False)])
async def test_a_slow_clock_is_borne_and_a_signature_from_the_future_is_not(
    joined: Any, ahead_s: int, taken: bool
) -> None:
    party = authority().vouch("ven")
    verifier = Verifier(Pinned(fingerprint(party.der)), ReplayWindow(MemoryNonces()))
    joined.vtn = joined.new_vtn(verifier=verifier)
    signer = Signer(key_pem=party.key_pem, certificate_pem=party.pem)
    body = encode_signed(register(), signer, joined.now + timedelta(seconds=ahead_s))
    if taken:
        assert codec.decode(await joined.vtn.answer("EiRegisterParty", body)).ven_id
        return
    with pytest.raises(OutOfTime):
        await joined.vtn.answer("EiRegisterParty", body)


async def test_a_refused_registration_is_answered_by_its_own_message(joined: Any) -> None:
    refused = await ask(joined, "EiRegisterParty", register(profile="2.0a"))
    assert (codec.name_of(refused), refused.response.code) == ("oadrCreatedPartyRegistration", "451")


async def test_a_second_answer_to_an_event_is_heard(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    for opt in ("optIn", "optOut", "optIn", "optOut"):
        await answer(joined, ven_id, "event-1", opt=opt)
        ((_, decision),) = await joined.vtn.answers("event-1")
        assert f"opt{decision.opt.value.capitalize()}" == opt


async def test_messages_other_than_events_come_by_poll(joined: Any, ven_id: str) -> None:
    await joined.vtn.ask_for_offers(ven_id)
    assert codec.name_of(await poll(joined, ven_id)) == "oadrCreateReport"


@pytest.mark.parametrize("status", ["far", "active"])
async def test_rules_12_and_62_an_event_that_wants_no_answer_is_told_once(
    joined: Any, event: GridEvent, ven_id: str, status: str
) -> None:
    await joined.vtn.publish(replace(event, response_required=False))
    joined.now = joined.now if status == "far" else event.starts_at
    (offered,) = (await poll(joined, ven_id)).events
    assert (offered.response_required, offered.event.descriptor.status) == ("never", status)
    assert await told(joined, ven_id) == []


async def test_rule_47_an_open_ended_event_has_no_duration_and_stays_active(
    joined: Any, event: GridEvent, ven_id: str
) -> None:
    (signal,) = event.signals
    (first, _) = signal.intervals
    endless = replace(signal, intervals=(replace(first, duration_s=None),))
    await joined.vtn.publish(replace(event, duration_s=None, signals=(endless,)))
    joined.now = event.starts_at + timedelta(days=30)
    (offered,) = (await poll(joined, ven_id)).events
    assert (offered.event.period.duration, offered.event.descriptor.status) == (timedelta(0), "active")


async def test_rule_311_reports_are_offered_under_the_request_id_0(joined: Any, ven_id: str) -> None:
    message = offers(joined, ven_id, report_request_id="0")
    assert {report.report_request_id for report in message.reports} == {"0"}
    assert (await ask(joined, "EiReport", message)).response.code == "200"


async def test_the_ven_id_is_in_every_answer_that_has_one(joined: Any, event: GridEvent, ven_id: str) -> None:
    (party,) = await joined.vtn.parties()
    await joined.vtn.publish(replace(event, response_required=False))
    await told(joined, ven_id)
    wrong = model.CancelPartyRegistration(request_id="q", registration_id="wrong", ven_id=ven_id)
    leave = replace(wrong, registration_id=party.registration_id)
    answers = [
        await poll(joined, ven_id),
        await ask(joined, "EiEvent", created(ven_id, "event-1")),
        await ask(joined, "EiEvent", created(ven_id, "strange")),
        await ask(joined, "EiReport", offers(joined, ven_id)),
        await update(joined, ven_id),
        await ask(joined, "EiEvent", model.Poll(ven_id=ven_id)),
        await ask(joined, "EiRegisterParty", wrong),
        await ask(joined, "EiRegisterParty", leave),
    ]
    assert [item.ven_id for item in answers] == [ven_id] * len(answers)


async def test_registration_begins_with_a_query_and_ends_in_a_list_of_all_events(joined: Any, event: GridEvent) -> None:
    await joined.vtn.publish(event)
    query = await ask(joined, "EiRegisterParty", model.QueryRegistration(request_id="q"))
    assert (query.ven_id, query.registration_id, query.profiles[0].name) == (None, None, "2.0b")
    ven_id = await registered(joined)
    listed = await ask(joined, "EiEvent", model.RequestEvent(request_id="q2", ven_id=ven_id))
    assert (listed.response.request_id, len(listed.events)) == ("q2", 1)


async def test_a_ven_confirms_what_was_ordered_of_it(joined: Any, ven_id: str) -> None:
    await ask(joined, "EiReport", offers(joined, ven_id))
    await joined.vtn.order_report(ven_id, "hall", granularity_s=60, report_back_s=60, starts_at=joined.now)
    message = await poll(joined, ven_id)
    assert isinstance(await ask(joined, "EiReport", said(message, ven_id)), model.Response)


async def test_certain_events_are_tests_and_have_a_priority_and_a_comment(
    joined: Any, event: GridEvent, ven_id: str
) -> None:
    await joined.vtn.publish(replace(event, test=True, rank=3, comment="a drill"))
    descriptor = (await poll(joined, ven_id)).events[0].event.descriptor
    assert (descriptor.test_event, descriptor.priority, descriptor.comment) == ("true", 3, "a drill")
