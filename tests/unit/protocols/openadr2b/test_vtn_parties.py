"""Who may talk to a VTN: by the certificate of the connection, of a trusted proxy, or of the signature."""

import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import replace
from hashlib import sha256
from typing import Any
from urllib.parse import quote

import aiohttp
import pytest
from aiohttp import web

from protocols.errors import NotAuthentic, Replayed, UntrustedCertificate
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.certificate import Authority, fingerprint
from protocols.openadr2b.signature import Signer, Verifier, decode_signed, encode_signed
from protocols.openadr2b.vtn import PATH
from protocols.openadr2b.vtn_http import ProxyHeader
from protocols.openadr2b.vtn_parties import ANYBODY, Caller, DeclaredParty, VtnParties
from protocols.party_store import StoreUnavailable
from protocols.replay import MemoryNonces, ReplayWindow
from tests.certificates import Identity, authority
from tests.unit.protocols.openadr2b.vtn_asking import created, register

ROOT = authority()
OURS, OTHERS, STRANGE = (ROOT.vouch(name) for name in ("hall", "mill", "stranger"))
HALL = DeclaredParty(name="hall", fingerprints=(fingerprint(OURS.der),), ven_id="VEN-hall")
MILL = DeclaredParty(name="mill", fingerprints=(sha256(OTHERS.der).hexdigest(),))


def caller(identity: Identity) -> Caller:
    return Caller.with_certificate(identity.der)


async def ask(joined: Any, service: str, message: codec.Message, who: Caller) -> Any:
    body = await joined.vtn.answer(service, codec.encode(message), who)
    joined.valid(body)
    return codec.decode(body)


async def enter(joined: Any, who: Caller, **more: Any) -> Any:
    return await ask(joined, "EiRegisterParty", register(**more), who)


def poll(ven_id: str) -> model.Poll:
    return model.Poll(ven_id=ven_id)


@pytest.fixture
def closed(joined: Any) -> Any:
    joined.vtn = joined.new_vtn(parties=VtnParties([HALL, MILL], closed=True, certificates=True))
    return joined


async def test_the_certificate_decides_the_ven_id_whatever_the_body_says(closed: Any) -> None:
    answer = await enter(closed, caller(OURS), ven_name="mill")
    assert (answer.response.code, answer.ven_id) == ("200", "VEN-hall")
    (party,) = await closed.vtn.parties()
    assert (party.name, party.fingerprint) == ("hall", sha256(OURS.der).hexdigest())
    wrong = await enter(closed, caller(OURS), ven_id="VEN-mill")
    assert (codec.name_of(wrong), wrong.response.code, wrong.ven_id) == ("oadrCreatedPartyRegistration", "452", None)


@pytest.mark.parametrize("who", [ANYBODY, caller(STRANGE)], ids=["nobody", "stranger"])
async def test_who_is_not_declared_is_refused_by_the_right_message(closed: Any, who: Caller) -> None:
    refused = await enter(closed, who, ven_name="hall")
    assert (codec.name_of(refused), refused.response.code) == ("oadrCreatedPartyRegistration", "452")
    assert await closed.vtn.parties() == ()
    for service, message, kind in (
        ("OadrPoll", poll("VEN-hall"), "oadrResponse"),
        ("EiEvent", model.RequestEvent(request_id="q", ven_id="VEN-hall"), "oadrResponse"),
        ("EiReport", model_report.UpdateReport(request_id="q", ven_id="VEN-hall"), "oadrUpdatedReport"),
        ("EiReport", model_report.RegisterReport(request_id="q", ven_id="VEN-hall"), "oadrRegisteredReport"),
        ("EiOpt", model.CancelOpt(request_id="q", opt_id="o", ven_id="VEN-hall"), "oadrCanceledOpt"),
    ):
        answer = await ask(closed, service, message, who)
        assert (codec.name_of(answer), answer.response.code) == (kind, "452")


@pytest.mark.parametrize("who", [ANYBODY, caller(OTHERS), caller(STRANGE)], ids=["nobody", "another", "stranger"])
async def test_nobody_speaks_for_a_ven_but_with_its_certificate(closed: Any, who: Caller) -> None:
    for identity in (OURS, OTHERS):
        await enter(closed, caller(identity))
    answer = await ask(closed, "OadrPoll", poll("VEN-hall"), who)
    assert (codec.name_of(answer), answer.response.code, answer.ven_id) == ("oadrResponse", "452", "VEN-hall")
    opted = await ask(closed, "EiEvent", created("VEN-hall", "event-1"), who)
    assert opted.response.code == "452"
    assert (await ask(closed, "OadrPoll", poll("VEN-hall"), caller(OURS))).response.code == "200"


async def test_a_message_without_a_ven_id_is_known_by_its_certificate(closed: Any) -> None:
    await enter(closed, caller(OURS))
    message = model_report.RegisterReport(request_id="q")
    answer = await ask(closed, "EiReport", message, caller(OURS))
    assert (answer.response.code, answer.ven_id) == ("200", "VEN-hall")


async def test_a_short_fingerprint_and_a_whole_one_are_the_same_certificate(closed: Any) -> None:
    short = Caller(fingerprint=sha256(OTHERS.der).hexdigest()[-20:])
    assert (await enter(closed, short)).response.code == "200"
    assert (await enter(closed, caller(OTHERS))).response.code == "200"
    assert len(await closed.vtn.parties()) == 1


async def test_where_the_list_is_open_a_name_belongs_to_who_came_with_a_certificate_first(joined: Any) -> None:
    first = await enter(joined, caller(OURS), ven_name="hall")
    for who in (ANYBODY, caller(STRANGE)):
        refused = await enter(joined, who, ven_name="hall")
        assert (refused.response.code, refused.ven_id) == ("452", None)
        assert (await ask(joined, "OadrPoll", poll(first.ven_id), who)).response.code == "452"
    renamed = await enter(joined, caller(OURS), ven_name="anything")
    assert renamed.ven_id == first.ven_id


async def test_there_is_room_for_so_many_vens(joined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.openadr2b.vtn_registration.MOST_PARTIES", 1)
    assert (await enter(joined, ANYBODY, ven_name="a")).response.code == "200"
    assert (await enter(joined, ANYBODY, ven_name="b")).response.code == "451"
    assert (await enter(joined, ANYBODY, ven_name="a")).response.code == "200"


@pytest.mark.parametrize(
    ("declared", "says"),
    [
        ((HALL, HALL), "name 'hall'"),
        ((HALL, replace(MILL, ven_id="VEN-hall")), "venID 'VEN-hall'"),
        ((HALL, replace(MILL, fingerprints=(sha256(OURS.der).hexdigest(),))), "fingerprint"),
        ((replace(HALL, fingerprints=("AB:CD",)),), "is no fingerprint"),
    ],
)
def test_two_parties_cannot_be_one(declared: tuple[DeclaredParty, ...], says: str) -> None:
    with pytest.raises(ValueError, match=says):
        VtnParties(declared)


def signing(joined: Any, **more: Any) -> Verifier:
    """A VTN that signs and wants signatures; its own certificate is the mill's."""
    verifier = Verifier(Authority(ROOT.pem), ReplayWindow(MemoryNonces()))
    signer = Signer(key_pem=OTHERS.key_pem, certificate_pem=OTHERS.pem)
    joined.vtn = joined.new_vtn(signer=signer, verifier=verifier, **more)
    return Verifier(Authority(ROOT.pem), ReplayWindow(MemoryNonces()))


async def signed(joined: Any, ours: Verifier, who: Identity, service: str, message: codec.Message) -> Any:
    signer = Signer(key_pem=who.key_pem, certificate_pem=who.pem)
    answer = await joined.vtn.answer(service, encode_signed(message, signer, joined.now))
    joined.valid(answer)
    heard = await decode_signed(answer, ours, joined.now)
    assert heard.signer == fingerprint(OTHERS.der)
    return heard.message


async def test_the_signer_must_be_the_party(joined: Any) -> None:
    ours = signing(joined, parties=VtnParties([HALL], closed=True, certificates=True))
    answer = await signed(joined, ours, OURS, "EiRegisterParty", register())
    assert answer.ven_id == "VEN-hall"
    assert (await signed(joined, ours, OURS, "OadrPoll", poll("VEN-hall"))).response.code == "200"
    assert (await signed(joined, ours, STRANGE, "OadrPoll", poll("VEN-hall"))).response.code == "452"


async def test_what_is_not_signed_or_sent_again_is_kept_and_changes_nothing(joined: Any) -> None:
    signing(joined)
    with pytest.raises(NotAuthentic):
        await joined.vtn.answer("EiRegisterParty", codec.encode(register()))
    assert await joined.vtn.parties() == ()
    body = encode_signed(register(), Signer(key_pem=OURS.key_pem, certificate_pem=OURS.pem), joined.now)
    await joined.vtn.answer("EiRegisterParty", body)
    with pytest.raises(Replayed):
        await joined.vtn.answer("EiRegisterParty", body)
    assert [message.name for message in joined.vtn_store.messages] == [
        "",
        "oadrCreatePartyRegistration",
        "oadrCreatedPartyRegistration",
        "",
    ]
    stolen = encode_signed(poll("x"), Signer(key_pem=OURS.key_pem, certificate_pem=OURS.pem), joined.now)
    with pytest.raises(UntrustedCertificate):
        await joined.vtn.answer("OadrPoll", stolen, Caller(fingerprint=sha256(STRANGE.der).hexdigest()))


@asynccontextmanager
async def served(joined: Any, tls: ssl.SSLContext | None = None) -> AsyncIterator[str]:
    application = web.Application()
    application.add_routes(joined.vtn.routes())
    runner = web.AppRunner(application, shutdown_timeout=0.1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0, ssl_context=tls).start()
    try:
        yield f"http{'s' if tls else ''}://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    finally:
        await runner.cleanup()


async def post(url: str, message: codec.Message, **more: Any) -> tuple[int, Any]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(f"{url}/EiRegisterParty", data=codec.encode(message), **more) as response,
    ):
        body = await response.read()
        return response.status, codec.decode(body) if response.status == 200 else body.decode()


@pytest.mark.parametrize("proxies", [("127.0.0.1",), ("10.0.0.0/8", "127.0.0.0/8")])
async def test_a_proxy_tells_the_certificate_of_who_called_it(joined: Any, proxies: tuple[str, ...]) -> None:
    proxy = ProxyHeader(name="X-Client-Cert", proxies=proxies)
    joined.vtn = joined.new_vtn(parties=VtnParties([HALL], closed=True, certificates=True), proxy=proxy)
    async with served(joined) as url:
        for value in (quote(OURS.pem.decode()), fingerprint(OURS.der), sha256(OURS.der).hexdigest()):
            _, answer = await post(url, register(), headers={"X-Client-Cert": value})
            assert answer.ven_id == "VEN-hall"
        for headers in ({}, {"X-Client-Cert": quote(STRANGE.pem.decode())}):
            _, answer = await post(url, register(), headers=headers)
            assert answer.response.code == "452"
        for value in ("nonsense", "-----BEGIN%20CERTIFICATE-----", "a" * 9000):
            status, _ = await post(url, register(), headers={"X-Client-Cert": value})
            assert status in {400, 403}


async def test_a_header_from_anybody_else_proves_nothing(joined: Any) -> None:
    proxy = ProxyHeader(name="X-Client-Cert", proxies=("10.0.0.1",))
    joined.vtn = joined.new_vtn(parties=VtnParties([HALL], closed=True, certificates=True), proxy=proxy)
    async with served(joined) as url:
        _, answer = await post(url, register(), headers={"X-Client-Cert": fingerprint(OURS.der)})
        assert answer.response.code == "452"
    with pytest.raises(ValueError, match="nonsense"):
        joined.new_vtn(proxy=ProxyHeader(name="X-Client-Cert", proxies=("nonsense",))).routes()


async def test_nothing_is_acted_on_that_cannot_be_stored(joined: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    async def away(_: object) -> None:
        raise StoreUnavailable("the disk under secret/path fails")

    async with served(joined) as url:
        monkeypatch.setattr(joined.vtn_store, "record_message", away)
        status, said = await post(url, register())
        assert (status, "secret" in said) == (503, False)
        monkeypatch.undo()
        assert joined.vtn_store.kept_parties == {}
        status, answer = await post(url, register())
        assert (status, answer.response.code) == (200, "200")


def test_a_vtn_id_without_a_capital_is_refused(joined: Any) -> None:
    with pytest.raises(ValueError, match="no capital letter"):
        joined.new_vtn(vtn_id="vtn-1")
