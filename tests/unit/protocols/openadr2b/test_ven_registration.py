"""How a registration ends and begins anew, and signatures on the way, against a scripted VTN."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from protocols.errors import NotAuthentic, NotRegistered, OutOfTime, Rejected, Replayed, Unreachable
from protocols.openadr2b import codec, model
from protocols.openadr2b.certificate import fingerprint
from protocols.openadr2b.signature import decode_signed, encode_signed
from protocols.openadr2b.ven import Ven
from protocols.party_store import Direction
from protocols.xml import parse
from tests.certificates import Identity
from tests.hand_signed import FAKE, VTN, signer, verifier
from tests.unit.protocols.openadr2b.conftest import NOON, REGISTERED, MemoryStore, Scripted


def said(code: str = "200") -> model.EiResponse:
    return model.EiResponse(code=code, request_id="r", description="as scripted")


CREATED = model.CreatedPartyRegistration(
    response=said(),
    vtn_id="VTN-1",
    profiles=(model.Profile(name="2.0b", transports=("simpleHttp",)),),
    ven_id="ven-1",
    registration_id="registration-2",
)
CANCELED = model.CanceledPartyRegistration(response=said(), registration_id="registration-1", ven_id="ven-1")


async def test_it_starts_with_a_query(stranger: Any) -> None:
    stranger.says("EiRegisterParty", replace(CREATED, ven_id=None, registration_id=None), CREATED)
    await stranger.ven.receive(NOON)
    kinds = [codec.name_of(message) for _, message in stranger.heard]
    assert kinds[:2] == ["oadrQueryRegistration", "oadrCreatePartyRegistration"]
    assert kinds[2:4] == ["oadrRegisterReport", "oadrRequestEvent"], "reports and events at once after registration"


async def test_we_end_our_registration_and_stay_away(vtn: Any) -> None:
    vtn.says("EiRegisterParty", CANCELED)
    await vtn.ven.deregister(NOON)
    (message,) = vtn.sent(model.CancelPartyRegistration)
    assert (message.registration_id, message.ven_id) == ("registration-1", "ven-1")
    assert vtn.store.registrations == {}
    with pytest.raises(NotRegistered, match="start the gateway anew"):
        await vtn.ven.receive(NOON)
    assert len(vtn.heard) == 1


@pytest.mark.parametrize("answer", [replace(CANCELED, response=said("452")), model.Response(response=said("463"))])
async def test_a_vtn_that_knows_us_no_more_has_nothing_to_end(vtn: Any, answer: codec.Message) -> None:
    vtn.says("EiRegisterParty", answer)
    await vtn.ven.deregister(NOON)
    assert vtn.store.registrations == {}


@pytest.mark.parametrize("answer", [replace(CANCELED, response=said("451")), Unreachable("cut"), CREATED])
async def test_a_registration_that_does_not_end_stands(vtn: Any, answer: codec.Message | Exception) -> None:
    vtn.says("EiRegisterParty", answer)
    with pytest.raises((Rejected, Unreachable)):
        await vtn.ven.deregister(NOON)
    assert "utility" in vtn.store.registrations
    await vtn.ven.receive(NOON)


async def test_asked_to_register_anew_we_name_the_old_registration(vtn: Any) -> None:
    vtn.says("OadrPoll", model.RequestReregistration(ven_id="ven-1"))
    assert await vtn.ven.receive(NOON) is None
    vtn.says("EiRegisterParty", CREATED, CREATED)
    await vtn.ven.receive(NOON)
    (message,) = vtn.sent(model.CreatePartyRegistration)
    assert (message.registration_id, message.ven_id) == ("registration-1", "ven-1")
    assert vtn.store.registrations["utility"].registration_id == "registration-2"


@pytest.mark.parametrize("code", ["452", "463"])
async def test_where_the_old_registration_is_not_taken_we_come_as_somebody_new(vtn: Any, code: str) -> None:
    vtn.says("OadrPoll", model.RequestReregistration(ven_id="ven-1"))
    await vtn.ven.receive(NOON)
    vtn.heard.clear()
    vtn.says("EiRegisterParty", CREATED, replace(CREATED, response=said(code)), CREATED)
    await vtn.ven.receive(NOON)
    first, second = vtn.sent(model.CreatePartyRegistration)
    assert (first.registration_id, second.registration_id, second.ven_id) == ("registration-1", None, None)
    assert "utility" in vtn.store.registrations


class Signed:
    """A scripted VTN that signs, and says of each message that came whether it was signed by us."""

    def __init__(self, store: MemoryStore, valid: Callable[[bytes], None], us: Identity) -> None:
        self.us = us
        self.valid = valid
        self.by = VTN
        self.at = NOON
        self.bodies: list[bytes] = []
        self.answers: list[bytes] = []
        self.ven = Ven(
            connection_id="utility",
            ven_name="gateway",
            exchange=self.exchange,
            store=store,
            offers=(),
            signer=signer(us),
            verifier=verifier(),
        )

    async def exchange(self, service: str, body: bytes) -> bytes:
        self.valid(body)
        self.bodies.append(body)
        said = Scripted.NO_EVENTS if service == "EiEvent" else Scripted.NOTHING
        return self.answers.pop(0) if self.answers else encode_signed(said, signer(self.by), self.at)


@pytest.fixture
async def signed(store: MemoryStore, valid: Callable[[bytes], None]) -> Signed:
    await store.save_registration(REGISTERED)
    return Signed(store, valid, VTN)


async def test_every_message_is_signed_and_one_that_is_sent_again_is_signed_anew(signed: Signed) -> None:
    assert signed.ven.fingerprint == fingerprint(VTN.der)
    for _ in range(4):
        await signed.ven.receive(NOON)
    polls = [body for body in signed.bodies if isinstance(codec.decode(body), model.Poll)]
    assert len(polls) == len(set(polls)) == 3
    receiver = verifier()
    for body in signed.bodies:
        await decode_signed(body, receiver, NOON)


async def test_the_registration_says_that_we_sign(signed: Signed, store: MemoryStore) -> None:
    await store.forget_registration("utility")
    signed.answers = [encode_signed(CREATED, signer(), NOON) for _ in range(2)]
    await signed.ven.receive(NOON)
    asked = [
        message for body in signed.bodies if isinstance(message := codec.decode(body), model.CreatePartyRegistration)
    ]
    assert [message.xml_signature for message in asked] == [True]


@pytest.mark.parametrize(
    ("at", "fault", "words"),
    [
        (NOON - timedelta(seconds=900), OutOfTime, "900.0 s ago by our clock"),
        (NOON + timedelta(hours=1), OutOfTime, "3600.0 s ahead of our clock"),
    ],
)
async def test_a_clock_that_is_wrong_is_said_by_how_much(
    signed: Signed, at: datetime, fault: type[NotAuthentic], words: str
) -> None:
    signed.at = at
    with pytest.raises(fault, match=words):
        await signed.ven.receive(NOON)


async def test_who_we_do_not_know_and_what_is_not_signed_is_not_taken(
    signed: Signed, store: MemoryStore, distribute: model.DistributeEvent
) -> None:
    await signed.ven.receive(NOON)
    signed.by = FAKE
    with pytest.raises(NotAuthentic, match="was expected"):
        await signed.ven.receive(NOON)
    signed.answers = [codec.encode(distribute)]
    sent = len(signed.bodies)
    with pytest.raises(NotAuthentic, match="without a ds:Signature") as caught:
        await signed.ven.receive(NOON)
    assert len(signed.bodies) == sent + 1, "who is not proven to be the VTN gets no answer"
    assert caught.value.raw_sha256 in {message.sha256 for message in store.messages}


async def test_an_answer_that_was_caught_and_sent_again_is_not_taken(signed: Signed) -> None:
    caught = encode_signed(Scripted.NO_EVENTS, signer(), NOON)
    signed.answers = [encode_signed(Scripted.NOTHING, signer(), NOON), caught, caught]
    await signed.ven.receive(NOON)
    signed.ven._events.due = True
    signed.answers = [caught]
    with pytest.raises(Replayed):
        await signed.ven.receive(NOON)


async def test_signed_messages_are_kept_as_they_went(signed: Signed, store: MemoryStore) -> None:
    await signed.ven.receive(NOON)
    out = [message for message in store.messages if message.direction is Direction.OUT]
    assert out
    assert all(codec.is_signed(parse(message.body)) for message in out)
