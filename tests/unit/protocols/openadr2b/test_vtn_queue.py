"""What waits for a VEN beside events: in order, one a poll, until it is answered, over a restart."""

from dataclasses import replace
from typing import Any

import pytest

from protocols.errors import QueueFull
from protocols.grid import GridEvent
from protocols.openadr2b import codec, model
from protocols.openadr2b.vtn_queue import MOST_OFFERS
from tests.unit.protocols.openadr2b.vtn_asking import ask, offers, poll, register, registered, said


@pytest.fixture
async def ven_id(joined: Any) -> str:
    ven = await registered(joined)
    await ask(joined, "EiReport", offers(joined, ven))
    return ven


async def order(joined: Any, ven_id: str) -> str:
    order_id: str = await joined.vtn.order_report(
        ven_id, "hall", granularity_s=60, report_back_s=60, starts_at=joined.now
    )
    return order_id


async def test_messages_of_every_kind_come_in_order_one_a_poll(joined: Any, ven_id: str) -> None:
    order_id = await order(joined, ven_id)
    await joined.vtn.cancel_report(order_id)
    await joined.vtn.offer_reports(ven_id)
    await joined.vtn.ask_for_offers(ven_id)
    await joined.vtn.cancel_registration(ven_id)
    joined.vtn = joined.new_vtn()
    names = []
    while not isinstance(message := await poll(joined, ven_id), model.Response | model.RequestReregistration):
        names.append(codec.name_of(message))
        service = "EiRegisterParty" if isinstance(message, model.CancelPartyRegistration) else "EiReport"
        done = await ask(joined, service, said(message, ven_id))
        assert (done.response.code, done.ven_id) == ("200", ven_id)
    assert names == [
        "oadrCreateReport",
        "oadrCancelReport",
        "oadrRegisterReport",
        "oadrCreateReport",
        "oadrCancelPartyRegistration",
    ]
    assert await joined.vtn.parties() == ()
    assert joined.vtn_store.kept_queue == {}


async def test_a_message_comes_until_it_is_answered(joined: Any, ven_id: str) -> None:
    await order(joined, ven_id)
    message = await poll(joined, ven_id)
    assert await poll(joined, ven_id) == message
    stray = said(message, ven_id, response=model.EiResponse(code="200", request_id="another"))
    await ask(joined, "EiReport", stray)
    assert await poll(joined, ven_id) == message
    nameless = said(message, ven_id, response=model.EiResponse(code="200", request_id=""))
    await ask(joined, "EiReport", nameless)
    assert isinstance(await poll(joined, ven_id), model.Response)


async def test_one_that_is_never_answered_lets_the_others_through_and_ends(joined: Any, ven_id: str) -> None:
    await joined.vtn.offer_reports(ven_id)
    order_id = await order(joined, ven_id)
    came = [await poll(joined, ven_id) for _ in range(6)]
    assert [codec.name_of(message) for message in came] == ["oadrRegisterReport"] * 5 + ["oadrCreateReport"]
    await ask(joined, "EiReport", said(came[-1], ven_id, pending=(order_id,)))
    for _ in range(MOST_OFFERS - 5):
        assert codec.name_of(await poll(joined, ven_id)) == "oadrRegisterReport"
    assert isinstance(await poll(joined, ven_id), model.Response)


async def test_events_and_messages_take_turns(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    await order(joined, ven_id)
    names = [codec.name_of(await poll(joined, ven_id)) for _ in range(4)]
    assert names == ["oadrDistributeEvent", "oadrCreateReport"] * 2


async def test_no_more_is_kept_for_a_ven_than_there_is_room_for(joined: Any, ven_id: str) -> None:
    for _ in range(100):
        await joined.vtn.ask_for_offers(ven_id)
    with pytest.raises(QueueFull, match="100 messages untaken"):
        await order(joined, ven_id)
    other = await registered(joined, ven_name="another")
    await joined.vtn.ask_for_offers(other)


async def test_a_ven_is_asked_to_register_anew_until_it_has(joined: Any, ven_id: str) -> None:
    (party,) = await joined.vtn.parties()
    await joined.vtn.ask_to_reregister(ven_id)
    await joined.vtn.ask_to_reregister(ven_id)
    for _ in range(2):
        assert await poll(joined, ven_id) == model.RequestReregistration(ven_id=ven_id)
        acknowledged = model.Response(response=model.EiResponse(code="200", request_id=""), ven_id=ven_id)
        assert await joined.exchange("EiRegisterParty", codec.encode(acknowledged)) == b""
    again = await ask(joined, "EiRegisterParty", register(ven_id=ven_id, registration_id=party.registration_id))
    assert (again.ven_id, again.registration_id) == (ven_id, party.registration_id)
    assert isinstance(await poll(joined, ven_id), model.Response)


async def test_a_registration_that_the_ven_does_not_know_stays(joined: Any, ven_id: str) -> None:
    await joined.vtn.cancel_registration(ven_id)
    message = await poll(joined, ven_id)
    refused = said(message, ven_id, response=model.EiResponse(code="452", request_id=message.request_id))
    await ask(joined, "EiRegisterParty", refused)
    assert [party.party_id for party in await joined.vtn.parties()] == [ven_id]


async def test_two_programs_share_nothing(joined: Any, event: GridEvent, ven_id: str) -> None:
    other = joined.new_vtn(connection_id="other", vtn_id="VTN-2")
    await other.publish(replace(event, event_id="other-event"))
    await joined.vtn.publish(event)
    assert await other.parties() == ()
    mine = await poll(joined, ven_id)
    assert [item.event.descriptor.event_id for item in mine.events] == ["event-1"]
    theirs = codec.decode(await other.answer("OadrPoll", codec.encode(model.Poll(ven_id=ven_id))))
    assert theirs == model.RequestReregistration(ven_id=ven_id)
