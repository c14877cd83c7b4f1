"""A VEN in HTTP push: what the VTN sends is checked, answered at once, and taken at the next turn."""

from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from datetime import timedelta
from io import BytesIO
from typing import Any

import pytest
from aiohttp import web
from aiohttp.test_utils import TestClient, TestServer

from protocols.errors import NotRegistered
from protocols.grid import Opt, OptDecision
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_metadata import specifier_id
from protocols.openadr2b.signature import decode_signed, encode_signed
from protocols.openadr2b.ven import QUIET, Ven
from protocols.openadr2b.ven_push import MOST_WAITING, PATH
from protocols.party_store import Direction, StoreUnavailable
from protocols.xml import MAX_BYTES
from tests.hand_signed import FAKE, VTN, signer, verifier
from tests.unit.protocols.openadr2b.conftest import NOON, ORDER, REGISTERED, Scripted

PUSH_URL = "http://127.0.0.1:9/site"

Client = TestClient[web.Request, web.Application]


class Pushing:
    """A VTN that sends to our routes over a real socket."""

    def __init__(self, scripted: Scripted, client: Client, valid: Callable[[bytes], None]) -> None:
        self.scripted = scripted
        self.client = client
        self.valid = valid

    @property
    def ven(self) -> Ven:
        return self.scripted.ven

    async def post(self, service: str, body: bytes) -> tuple[int, bytes]:
        async with self.client.post(f"/site{PATH}/{service}", data=BytesIO(body)) as response:
            return response.status, await response.read()

    async def send(self, service: str, message: codec.Message) -> codec.Message:
        status, body = await self.post(service, codec.encode(message))
        assert status == 200
        self.valid(body)
        return codec.decode(body)


async def open_push(scripted: Scripted, valid: Callable[[bytes], None], **more: Any) -> AsyncIterator[Pushing]:
    scripted.ven = scripted.new_ven(push_url=PUSH_URL, **more)
    application = web.Application()
    application.add_routes(scripted.ven.routes(lambda: NOON, "/site"))
    async with TestClient(TestServer(application)) as client:
        yield Pushing(scripted, client, valid)


@pytest.fixture
async def push(store: Any, valid: Callable[[bytes], None]) -> AsyncIterator[Pushing]:
    """Registered, with one order, past the first turn."""
    await store.save_registration(REGISTERED)
    await store.save_order(ORDER)
    async for pushing in open_push(Scripted(store, valid), valid):
        await pushing.scripted.settle()
        yield pushing


def decision(opt: Opt = Opt.IN) -> OptDecision:
    return OptDecision(connection_id="utility", event_id="event-1", revision=0, opt=opt, decided_at=NOON)


async def test_the_vtn_is_told_where_to_send(stranger: Any) -> None:
    stranger.ven = stranger.new_ven(push_url=PUSH_URL)
    created = model.CreatedPartyRegistration(
        response=model.EiResponse(code="200", request_id="r"),
        vtn_id="VTN-1",
        profiles=(model.Profile(name="2.0b", transports=("simpleHttp",)),),
        ven_id="ven-1",
        registration_id="registration-1",
    )
    stranger.says("EiRegisterParty", created, created)
    await stranger.ven.receive(NOON)
    (message,) = stranger.sent(model.CreatePartyRegistration)
    assert (message.transport_address, message.http_pull_model) == (PUSH_URL, False)
    assert stranger.sent(model.Poll) == []


async def test_an_event_is_received_at_once_and_acknowledged_when_it_is_decided(
    push: Pushing, distribute: model.DistributeEvent
) -> None:
    answer = await push.send("EiEvent", distribute)
    assert isinstance(answer, model.Response)
    assert (answer.response.code, answer.response.request_id, answer.ven_id) == ("200", "r", "ven-1")
    assert push.ven.woken.is_set()
    assert push.scripted.sent(model.CreatedEvent) == []
    batch = await push.ven.receive(NOON)
    assert batch is not None
    assert [event.event_id for event in batch.events] == ["event-1"]
    assert not push.ven.woken.is_set()
    await push.ven.respond(batch, [decision()], NOON)
    (created,) = push.scripted.sent(model.CreatedEvent)
    assert [response.opt for response in created.event_responses] == ["optIn"]


async def test_every_message_waits_its_turn(push: Pushing, distribute: model.DistributeEvent) -> None:
    await push.send("EiEvent", distribute)
    await push.send("EiEvent", replace(distribute, request_id="r2"))
    first = await push.ven.receive(NOON)
    assert push.ven.woken.is_set(), "one more is there"
    assert first is not None
    await push.ven.respond(first, [decision()], NOON)
    second = await push.ven.receive(NOON)
    assert second is not None
    await push.ven.respond(second, [decision()], NOON)
    assert (first.request_id, second.request_id) == ("r", "r2")
    assert await push.ven.receive(NOON) is None


async def test_an_event_that_is_missing_is_cancelled_only_once_the_vtn_was_asked(
    push: Pushing, distribute: model.DistributeEvent
) -> None:
    """A list that was on its way for long may be older than the event that it does not have."""
    await push.send("EiEvent", distribute)
    first = await push.ven.receive(NOON)
    assert first is not None
    assert not first.complete
    await push.ven.respond(first, [decision()], NOON)
    await push.send("EiEvent", replace(distribute, request_id="r2", events=()))
    late = await push.ven.receive(NOON)
    assert late is not None
    assert not late.complete
    assert push.ven.woken.is_set()
    push.scripted.says("EiEvent", distribute)
    asked = await push.ven.receive(NOON)
    assert asked is not None
    assert asked.complete
    assert [event.event_id for event in asked.events] == ["event-1"]


async def test_what_is_pushed_is_kept_before_it_is_answered(push: Pushing, distribute: model.DistributeEvent) -> None:
    await push.send("EiEvent", distribute)
    store: Any = push.scripted.store
    assert store.names(Direction.IN) == ["oadrDistributeEvent"]
    assert store.names(Direction.OUT) == ["oadrResponse"]


async def test_reports_are_ordered_and_cancelled(push: Pushing) -> None:
    asked = model_report.ReportRequest(
        report_request_id="order-2",
        specifier=model_report.ReportSpecifier(
            specifier_id=specifier_id("site-1"),
            granularity=timedelta(seconds=2),
            report_back=timedelta(seconds=4),
            payloads=(model_report.SpecifierPayload(r_id="site-1", reading_type="Mean"),),
        ),
    )
    created = await push.send("EiReport", model_report.CreateReport(request_id="r1", requests=(asked,)))
    assert isinstance(created, model_report.CreatedReport)
    assert created.pending == ("order-1", "order-2")
    canceled = await push.send(
        "EiReport", model_report.CancelReport(request_id="r2", report_request_ids=("order-1",), to_follow=False)
    )
    assert isinstance(canceled, model_report.CanceledReport)
    assert canceled.pending == ("order-2",)
    registered = await push.send("EiReport", model_report.RegisterReport(request_id="r3"))
    assert isinstance(registered, model_report.RegisteredReport)
    assert (registered.response.request_id, registered.requests) == ("r3", ())
    updated = await push.send("EiReport", model_report.UpdateReport(request_id="r4"))
    assert isinstance(updated, model_report.UpdatedReport)
    assert updated.response.code == "461"


async def test_the_metadata_reports_are_sent_at_the_next_turn(push: Pushing) -> None:
    asked = model_report.ReportRequest(
        report_request_id="m1",
        specifier=model_report.ReportSpecifier(
            specifier_id="METADATA",
            granularity=timedelta(0),
            report_back=timedelta(0),
            payloads=(model_report.SpecifierPayload(r_id="METADATA", reading_type="x-notApplicable"),),
        ),
    )
    await push.send("EiReport", model_report.CreateReport(request_id="r1", requests=(asked,)))
    assert push.ven.woken.is_set()
    await push.ven.receive(NOON)
    (offer,) = push.scripted.sent(model_report.RegisterReport)
    assert offer.report_request_id == "m1"


async def test_a_cancelled_registration_is_answered_and_ends(push: Pushing) -> None:
    answer = await push.send(
        "EiRegisterParty", model.CancelPartyRegistration(request_id="r", registration_id="registration-1")
    )
    assert isinstance(answer, model.CanceledPartyRegistration)
    assert (answer.response.code, answer.registration_id, answer.ven_id) == ("200", "registration-1", "ven-1")
    with pytest.raises(NotRegistered):
        await push.ven.receive(NOON)
    assert await push.scripted.store.registration("utility") is None


async def test_the_cancellation_of_an_earlier_registration_changes_nothing(push: Pushing) -> None:
    answer = await push.send("EiRegisterParty", model.CancelPartyRegistration(request_id="r", registration_id="old"))
    assert isinstance(answer, model.CanceledPartyRegistration)
    assert answer.response.code == "452"
    assert await push.ven.receive(NOON) is None
    assert push.ven.party_ids == {"ven-1"}


async def test_a_request_to_register_anew_names_what_we_had(push: Pushing) -> None:
    answer = await push.send("EiRegisterParty", model.RequestReregistration(ven_id="ven-1"))
    assert isinstance(answer, model.Response)
    assert answer.response.code == "200"
    assert await push.ven.receive(NOON) is None
    created = model.CreatedPartyRegistration(
        response=model.EiResponse(code="200", request_id="r"),
        vtn_id="VTN-1",
        profiles=(model.Profile(name="2.0b", transports=("simpleHttp",)),),
        ven_id="ven-1",
        registration_id="registration-2",
    )
    push.scripted.says("EiRegisterParty", created, created)
    await push.ven.receive(NOON)
    (message,) = push.scripted.sent(model.CreatePartyRegistration)
    assert (message.registration_id, message.ven_id) == ("registration-1", "ven-1")


@pytest.mark.parametrize(
    ("service", "message", "code"),
    [
        ("EiEvent", model.DistributeEvent(request_id="r", vtn_id="VTN-2"), "452"),
        ("EiRegisterParty", model.RequestReregistration(ven_id="ven-2"), "452"),
        ("EiReport", model_report.RegisterReport(request_id="r", ven_id="ven-2"), "452"),
        ("EiEvent", model.Poll(ven_id="ven-1"), "459"),
        ("EiReport", model.DistributeEvent(request_id="r", vtn_id="VTN-1"), "459"),
    ],
)
async def test_what_is_not_for_us_is_answered_so_and_changes_nothing(
    push: Pushing, service: str, message: codec.Message, code: str
) -> None:
    answer = await push.send(service, message)
    assert isinstance(answer, model.Response)
    assert answer.response.code == code
    assert not push.ven.woken.is_set()
    assert await push.ven.receive(NOON) is None


async def test_nothing_is_taken_before_we_are_registered(
    store: Any, valid: Callable[[bytes], None], distribute: model.DistributeEvent
) -> None:
    async for pushing in open_push(Scripted(store, valid), valid):
        answer = await pushing.send("EiEvent", distribute)
        assert isinstance(answer, model.Response)
        assert answer.response.code == "463"


async def test_what_is_no_message_is_refused_by_its_kind(push: Pushing) -> None:
    assert (await push.post("EiEvent", b"<nonsense"))[0] == 400
    assert (await push.post("EiEvent", b""))[0] == 400
    status, text = await push.post("EiEvent", b"x" * (MAX_BYTES + 1))
    assert status == 413
    assert b"more than the" in text
    assert (await push.post("EiElse", b"<a/>"))[0] == 404
    assert not push.ven.woken.is_set()


async def test_while_the_record_is_away_the_vtn_is_told_to_come_again(
    push: Pushing, distribute: model.DistributeEvent, monkeypatch: pytest.MonkeyPatch
) -> None:
    async def away(_: object) -> None:
        raise StoreUnavailable("locked")

    with monkeypatch.context() as patch:
        patch.setattr(push.scripted.store, "record_message", away)
        assert (await push.post("EiEvent", codec.encode(distribute)))[0] == 503
    assert not push.ven.woken.is_set(), "what is not kept is not taken"
    assert (await push.post("EiEvent", codec.encode(distribute)))[0] == 200


async def test_a_body_that_comes_in_pieces_is_bounded_too(push: Pushing) -> None:
    async def in_pieces() -> AsyncIterator[bytes]:
        for _ in range(MAX_BYTES // (1 << 16) + 1):
            yield b"x" * (1 << 16)

    async with push.client.post(f"/site{PATH}/EiEvent", data=in_pieces()) as response:
        assert response.status == 413


async def test_a_vtn_that_sends_faster_than_we_take_is_told_to_come_again(
    push: Pushing, distribute: model.DistributeEvent
) -> None:
    body = codec.encode(distribute)
    for _ in range(MOST_WAITING):
        assert (await push.post("EiEvent", body))[0] == 200
    assert (await push.post("EiEvent", body))[0] == 503
    await push.ven.receive(NOON)
    assert (await push.post("EiEvent", body))[0] == 200


async def test_a_vtn_that_is_silent_for_long_is_asked(push: Pushing) -> None:
    await push.ven.receive(NOON + QUIET - timedelta(seconds=1))
    assert push.scripted.sent(model.RequestEvent) == []
    await push.ven.receive(NOON + QUIET)
    await push.ven.receive(NOON + QUIET + timedelta(seconds=1))
    assert len(push.scripted.sent(model.RequestEvent)) == 1


async def test_only_signed_messages_are_taken_and_answers_are_signed(
    store: Any, valid: Callable[[bytes], None], distribute: model.DistributeEvent
) -> None:
    await store.save_registration(REGISTERED)
    async for pushing in open_push(Scripted(store, valid), valid, signer=signer(VTN), verifier=verifier()):
        status, text = await pushing.post("EiEvent", codec.encode(distribute))
        assert (status, b"without a ds:Signature" in text) == (403, True)
        assert (await pushing.post("EiEvent", encode_signed(distribute, signer(FAKE), NOON)))[0] == 403
        assert not pushing.ven.woken.is_set()
        once = encode_signed(distribute, signer(VTN), NOON)
        status, body = await pushing.post("EiEvent", once)
        assert status == 200
        answer = await decode_signed(body, verifier(), NOON)
        assert isinstance(answer.message, model.Response)
        assert (await pushing.post("EiEvent", once))[0] == 403, "a message that was taken is not taken again"
