from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from io import BytesIO
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from protocols.errors import MalformedMessage, MessageTooLarge
from protocols.grid import GridEvent, Target
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.exchange import HttpExchange
from protocols.openadr2b.neutral_metadata import write_offers
from protocols.openadr2b.ven import Ven
from protocols.openadr2b.vtn import PATH
from protocols.party_store import Direction
from protocols.xml import MAX_BYTES


async def ask(joined: Any, service: str, message: codec.Message) -> Any:
    return codec.decode(await joined.exchange(service, codec.encode(message)))


def register(**more: Any) -> model.CreatePartyRegistration:
    return model.CreatePartyRegistration(
        **{
            "request_id": "r1",
            "profile": "2.0b",
            "transport": "simpleHttp",
            "report_only": False,
            "xml_signature": False,
            "ven_name": "somebody",
            "http_pull_model": True,
            **more,
        }
    )


@pytest.fixture
async def ven_id(joined: Any) -> str:
    answer = await ask(joined, "EiRegisterParty", register())
    assert answer.ven_id
    return str(answer.ven_id)


async def test_a_query_says_how_to_register_and_registers_nobody(joined: Any) -> None:
    answer = await ask(joined, "EiRegisterParty", model.QueryRegistration(request_id="r1"))
    assert (answer.response.request_id, answer.vtn_id, answer.ven_id) == ("r1", "VTN-1", None)
    assert answer.profiles == (model.Profile(name="2.0b", transports=("simpleHttp",)),)
    assert answer.poll_every == timedelta(seconds=10)
    assert await joined.vtn.parties() == ()


@pytest.mark.parametrize("odd", [{"transport": "xmpp"}, {"http_pull_model": False}, {"profile": "2.0a"}])
async def test_only_2_0b_in_pull_mode_is_registered(joined: Any, odd: dict[str, Any]) -> None:
    answer = await ask(joined, "EiRegisterParty", register(**odd))
    assert (answer.response.code, answer.ven_id) == ("451", None)
    assert await joined.vtn.parties() == ()


async def test_who_comes_again_is_the_same_party(joined: Any) -> None:
    first = await ask(joined, "EiRegisterParty", register())
    with_ids = register(ven_id=first.ven_id, registration_id=first.registration_id)
    again = await ask(joined, "EiRegisterParty", with_ids)
    assert (again.ven_id, again.registration_id) == (first.ven_id, first.registration_id)
    by_name = await ask(joined, "EiRegisterParty", register())
    assert by_name.ven_id == first.ven_id
    assert by_name.registration_id == first.registration_id
    other = await ask(joined, "EiRegisterParty", register(ven_name="another"))
    assert other.ven_id != first.ven_id
    assert len(await joined.vtn.parties()) == 2


async def test_a_party_that_leaves_is_asked_to_register_when_it_comes_back(joined: Any, ven_id: str) -> None:
    (party,) = await joined.vtn.parties()
    leave = model.CancelPartyRegistration(request_id="r2", registration_id="wrong", ven_id=ven_id)
    assert (await ask(joined, "EiRegisterParty", leave)).response.code == "452"
    left = await ask(joined, "EiRegisterParty", replace(leave, registration_id=party.registration_id))
    assert (left.response.code, left.registration_id) == ("200", party.registration_id)
    assert await joined.vtn.parties() == ()
    assert await ask(joined, "OadrPoll", model.Poll(ven_id=ven_id)) == model.RequestReregistration(ven_id=ven_id)
    assert (await ask(joined, "EiRegisterParty", register())).ven_id == ven_id


@pytest.mark.parametrize(
    ("service", "message"),
    [
        ("OadrPoll", model.Poll(ven_id="stranger")),
        ("EiEvent", model.RequestEvent(request_id="r", ven_id="stranger")),
        ("EiReport", model_report.UpdateReport(request_id="r", ven_id="stranger")),
    ],
)
async def test_a_stranger_is_asked_to_register(joined: Any, service: str, message: codec.Message) -> None:
    assert await ask(joined, service, message) == model.RequestReregistration(ven_id="stranger")


async def test_a_message_without_a_ven_id_is_refused(joined: Any) -> None:
    answer = await ask(joined, "EiReport", model_report.UpdateReport(request_id="r7"))
    assert (answer.response.code, answer.response.request_id) == ("452", "r7")


@pytest.mark.parametrize("service", ["EiEvent", "EiOpt", "EiReport"])
async def test_a_message_at_the_wrong_service_is_refused(joined: Any, ven_id: str, service: str) -> None:
    answer = await ask(joined, service, model.Poll(ven_id=ven_id))
    assert answer.response.code == "459"
    assert f"oadrPoll is not for {service}" in answer.response.description


async def test_an_oadr_response_is_answered_with_nothing(joined: Any) -> None:
    message = model.Response(response=model.EiResponse(code="200", request_id=""))
    assert await joined.exchange("EiRegisterParty", codec.encode(message)) == b""


async def test_an_answer_to_an_event_that_we_never_sent_is_refused(joined: Any, ven_id: str) -> None:
    response = model.EventResponse(
        code="200",
        request_id="r",
        event=model.QualifiedEvent(event_id="strange", modification_number=0),
        opt="optIn",
    )
    message = model.CreatedEvent(
        response=model.EiResponse(code="200", request_id="r"), event_responses=(response,), ven_id=ven_id
    )
    assert (await ask(joined, "EiEvent", message)).response.code == "452"


async def test_a_late_answer_to_an_old_revision_changes_nothing(joined: Any, event: GridEvent, ven_id: str) -> None:
    def answer(revision: int, opt: str) -> model.CreatedEvent:
        response = model.EventResponse(
            code="200",
            request_id="r",
            event=model.QualifiedEvent(event_id="event-1", modification_number=revision),
            opt=opt,
        )
        return model.CreatedEvent(
            response=model.EiResponse(code="200", request_id="r"), event_responses=(response,), ven_id=ven_id
        )

    await joined.vtn.publish(event)
    await joined.vtn.publish(replace(event, revision=1))
    await ask(joined, "EiEvent", answer(1, "optIn"))
    await ask(joined, "EiEvent", answer(0, "optOut"))
    ((_, kept),) = await joined.vtn.answers("event-1")
    assert (kept.revision, kept.opt) == (1, "in")


async def test_a_reply_limit_is_kept(joined: Any, event: GridEvent, ven_id: str) -> None:
    for index in range(3):
        await joined.vtn.publish(replace(event, event_id=f"event-{index}"))
    answer = await ask(joined, "EiEvent", model.RequestEvent(request_id="r", ven_id=ven_id, reply_limit=2))
    assert len(answer.events) == 2
    assert answer.response.request_id == "r"


async def test_only_what_2_0b_can_say_is_published(joined: Any, event: GridEvent) -> None:
    with pytest.raises(ValueError, match="target of kind moon"):
        await joined.vtn.publish(replace(event, targets=(Target(kind="moon", value="m"),)))
    with pytest.raises(ValueError, match="is not from 0"):
        await joined.vtn.publish(replace(event, revision=-1))
    assert joined.vtn_store.events == {}


async def test_a_report_in_kilowatts_is_kept_in_watts_over_a_restart(joined: Any, ven_id: str) -> None:
    offer = joined.new_ven()._reports._offers[0]
    (report,) = write_offers(offer, joined.now)
    (description,) = report.descriptions
    unit = replace(
        description.unit, scale="k", power=model.PowerAttributes(hertz=Decimal(50), voltage=Decimal(230), ac=True)
    )
    report = replace(report, descriptions=(replace(description, unit=unit),))
    registered = await ask(
        joined, "EiReport", model_report.RegisterReport(request_id="r", reports=(report,), ven_id=ven_id)
    )
    (order,) = registered.requests
    joined.vtn = joined.new_vtn()
    data = model_report.Report(
        report_request_id=order.report_request_id,
        specifier_id=order.specifier.specifier_id,
        created_at=joined.now,
        intervals=(
            model_report.ReportInterval(
                starts_at=joined.now, payloads=(model_report.ReportPayload(r_id="site-1", value=2.5),)
            ),
        ),
    )
    for _ in range(2):
        answer = await ask(
            joined, "EiReport", model_report.UpdateReport(request_id="r", reports=(data,), ven_id=ven_id)
        )
        assert answer.response.code == "200"
    ((_, kept),) = await joined.vtn.reports(joined.now - timedelta(seconds=1))
    assert [(item.power_w, item.duration_s) for item in kept.intervals] == [(2500.0, 10.0)]


async def test_a_report_past_the_end_of_the_calendar_is_refused(joined: Any, ven_id: str) -> None:
    interval = model_report.ReportInterval(
        starts_at=datetime(9999, 12, 31, tzinfo=UTC),
        duration=timedelta(days=2),
        payloads=(model_report.ReportPayload(r_id="site-1", value=2.5),),
    )
    (report,) = write_offers(joined.new_ven()._reports._offers[0], joined.now)
    offers = model_report.RegisterReport(request_id="r", reports=(report,), ven_id=ven_id)
    (order,) = (await ask(joined, "EiReport", offers)).requests
    data = model_report.Report(
        report_request_id=order.report_request_id,
        specifier_id=order.specifier.specifier_id,
        created_at=joined.now,
        intervals=(interval,),
    )
    answer = await ask(joined, "EiReport", model_report.UpdateReport(request_id="r", reports=(data,), ven_id=ven_id))
    assert answer.response.code == "454"


async def test_what_cannot_be_read_is_kept_and_changes_nothing(joined: Any, ven_id: str) -> None:
    body = codec.encode(model.Poll(ven_id=ven_id)).replace(b"venID", b"vtnID")
    with pytest.raises(MalformedMessage, match="expected ei:venID") as caught:
        await joined.vtn.answer("OadrPoll", body)
    kept = joined.vtn_store.messages[-1]
    assert (kept.body, kept.direction, kept.sha256) == (body, Direction.IN, caught.value.raw_sha256)
    count = len(joined.vtn_store.messages)
    with pytest.raises(MessageTooLarge):
        await joined.vtn.answer("OadrPoll", b" " * (MAX_BYTES + 1))
    assert len(joined.vtn_store.messages) == count


@asynccontextmanager
async def over_http(joined: Any) -> AsyncIterator[tuple[aiohttp.ClientSession, str]]:
    application = web.Application()
    application.add_routes(joined.vtn.routes())
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    try:
        async with aiohttp.ClientSession() as session:
            yield session, f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    finally:
        await runner.cleanup()


async def test_a_ven_reaches_it_over_http(joined: Any, event: GridEvent) -> None:
    await joined.vtn.publish(event)
    async with over_http(joined) as (session, url):
        ven: Ven = joined.new_ven(HttpExchange(url, session))
        batch = await ven.receive(joined.now)
        assert batch is not None
        assert [found.event_id for found in batch.events] == ["event-1"]
        await ven.refuse(batch, "not today", joined.now)
    assert len(await joined.vtn.answers("event-1")) == 1


@pytest.mark.parametrize(
    ("body", "status", "says"),
    [
        (b"<oadrPoll", 400, "not well-formed"),
        (b"", 400, "empty"),
        (b'<!DOCTYPE r [<!ENTITY a "b">]><r>&a;</r>', 400, "document type declaration"),
        (b"<poll/>", 400, "namespace"),
        (b"<a>" * 300, 413, "levels"),
        (b" " * (MAX_BYTES + 1), 413, "more than the 1048576 bytes"),
        (b" " * (5 * MAX_BYTES), 413, "more than the 1048576 bytes"),
    ],
    ids=["truncated", "empty", "bomb", "namespace", "deep", "large", "huge"],
)
async def test_bad_bodies_get_one_clear_error(joined: Any, body: bytes, status: int, says: str) -> None:
    async with over_http(joined) as (session, url):
        async with session.post(f"{url}/OadrPoll", data=BytesIO(body)) as response:
            assert response.status == status
            assert says in await response.text()
        good = codec.encode(model.QueryRegistration(request_id="r"))
        async with session.post(f"{url}/EiRegisterParty", data=good) as response:
            assert (response.status, response.content_type) == (200, "application/xml")
    assert joined.vtn_store.kept_parties == {}
