"""Callbacks over real sockets, and the addresses that are never called."""

import asyncio
import hashlib
import hmac
import json
from collections.abc import AsyncIterator, Sequence
from io import BytesIO
from pathlib import Path
from socket import AF_INET
from typing import Any

import pytest
from aiohttp import web
from yarl import URL

from protocols.errors import Unreachable
from protocols.openadr3.vtn_http import over_http
from protocols.openadr3.vtn_webhook import CallbackRefused, HttpCallbacks, is_public
from tests.openadr3_vtn import HOST, Issuer, serve


class Subscriber:
    """A callback that answers as it is told to; what it was asked is in ``asked``."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, dict[str, str], bytes]] = []
        self.echoes = True
        self.status = 200
        self.location = ""
        self.silent_s = 0.0

    async def handle(self, request: web.Request) -> web.Response:
        self.asked.append((request.method, request.path_qs, dict(request.headers), await request.read()))
        await asyncio.sleep(self.silent_s)
        if self.location:
            raise web.HTTPFound(self.location)
        echoed = request.query.get("echo", "") if self.echoes else "something else"
        return web.Response(status=self.status, text=echoed)


@pytest.fixture
def subscriber() -> Subscriber:
    return Subscriber()


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Issuer:
    return Issuer.new(tmp_path_factory.mktemp("issuer"))


@pytest.fixture
async def url(subscriber: Subscriber, issuer: Issuer) -> AsyncIterator[str]:
    async with serve([web.route("*", "/{path:.*}", subscriber.handle)], issuer) as base:
        yield base + "/hook?of=mine"


def callbacks(issuer: Issuer, **more: Any) -> HttpCallbacks:
    return HttpCallbacks(**{"tls": issuer.trust, "allowed_hosts": [HOST], **more})


async def test_a_callback_that_echoes_is_proven(url: str, subscriber: Subscriber, issuer: Issuer) -> None:
    await callbacks(issuer).prove(url)
    await callbacks(issuer).prove(url)
    (method, first, _, _), (_, second, _, _) = subscriber.asked
    assert method == "GET"
    assert first.startswith("/hook?of=mine&echo=")
    assert first != second


@pytest.mark.parametrize(
    "odd", [{"echoes": False}, {"status": 201}, {"status": 404}, {"location": "https://a.example"}]
)
async def test_a_callback_that_does_not_is_refused(
    url: str, subscriber: Subscriber, issuer: Issuer, odd: dict[str, Any]
) -> None:
    for name, value in odd.items():
        setattr(subscriber, name, value)
    with pytest.raises(CallbackRefused, match="echo"):
        await callbacks(issuer).prove(url)
    assert len(subscriber.asked) == 1


async def test_a_notification_carries_the_subscribers_token_and_our_signature(
    url: str, subscriber: Subscriber, issuer: Issuer
) -> None:
    await callbacks(issuer).tell(url, b'{"a":1}', notice_id="7", bearer_token="open", key=b"key")
    ((method, path, headers, body),) = subscriber.asked
    assert (method, path, body, headers["Content-Type"]) == ("POST", "/hook?of=mine", b'{"a":1}', "application/json")
    assert (headers["Authorization"], headers["Gridgate-Notification"]) == ("Bearer open", "7")
    expected = hmac.new(b"key", b'7.{"a":1}', hashlib.sha256).hexdigest()
    assert headers["Gridgate-Signature"] == f"sha256={expected}"
    await callbacks(issuer).tell(url, b"{}", notice_id="8", bearer_token=None, key=None)
    assert not {"Authorization", "Gridgate-Signature"} & subscriber.asked[1][2].keys()


@pytest.mark.parametrize("odd", [{"status": 500}, {"status": 404}, {"location": "https://127.0.0.1:1/"}])
async def test_a_notification_that_is_not_taken_is_to_be_tried_again(
    url: str, subscriber: Subscriber, issuer: Issuer, odd: dict[str, Any]
) -> None:
    for name, value in odd.items():
        setattr(subscriber, name, value)
    with pytest.raises(Unreachable):
        await callbacks(issuer).tell(url, b"{}", notice_id="1", bearer_token=None, key=None)
    assert len(subscriber.asked) == 1


async def test_who_is_silent_is_not_waited_for(url: str, subscriber: Subscriber, issuer: Issuer) -> None:
    subscriber.silent_s = 5.0
    with pytest.raises(Unreachable, match="Timeout"):
        await callbacks(issuer, timeout_s=0.2).tell(url, b"{}", notice_id="1", bearer_token=None, key=None)


async def test_a_certificate_that_nobody_vouches_for_is_no_callback(url: str, issuer: Issuer, tmp_path: Path) -> None:
    other = Issuer.new(tmp_path)
    with pytest.raises(CallbackRefused, match="Certificate"):
        await callbacks(other).prove(url)


@pytest.mark.parametrize(
    "url",
    [
        "http://vtn.example/hook",
        "ftp://vtn.example/hook",
        "https:///hook",
        "https://",
        "hook",
        "https://user:word@vtn.example/",
        "https://127.0.0.1/",
        "https://10.0.0.1/",
        "https://169.254.169.254/latest/meta-data",
        "https://[::1]/",
        "https://[::ffff:10.0.0.1]/",
        "https://[fe80::1]/",
        "https://0.0.0.0/",
        "https://224.0.0.1/",
        "https://host:99999/",
        "https://[::1/",
    ],
)
async def test_no_address_of_ours_is_called(issuer: Issuer, url: str) -> None:
    async def fail(_host: str, _port: int) -> Sequence[tuple[int, str]]:
        raise AssertionError("nothing is to be looked up")

    with pytest.raises(CallbackRefused):
        await callbacks(issuer, allowed_hosts=(), lookup=fail).prove(url)


@pytest.mark.parametrize("host", ["localhost", "127.1", "2130706433", "0x7f.0.0.1", "0177.0.0.1", "127.0.0.1."])
async def test_no_other_way_of_writing_one_is_called(
    host: str, url: str, subscriber: Subscriber, issuer: Issuer
) -> None:
    with pytest.raises(CallbackRefused):
        await callbacks(issuer, allowed_hosts=()).prove(url.replace(HOST, host))
    assert subscriber.asked == []


@pytest.mark.parametrize("addresses", [["10.1.2.3"], ["93.184.216.34", "127.0.0.1"], ["::1"], ["64:ff9b::7f00:1"]])
async def test_a_name_that_leads_inside_is_not_called(
    addresses: list[str], url: str, subscriber: Subscriber, issuer: Issuer
) -> None:
    async def lookup(_host: str, _port: int) -> Sequence[tuple[int, str]]:
        return [(AF_INET, address) for address in addresses]

    inside = callbacks(issuer, lookup=lookup)
    with pytest.raises(CallbackRefused, match="private network"):
        await inside.prove(url.replace(HOST, "inside.example"))
    assert subscriber.asked == []


async def test_a_name_is_looked_up_once_and_that_address_is_called(
    url: str, subscriber: Subscriber, issuer: Issuer
) -> None:
    """A name that changes its mind between judging and calling gains nothing: there is only one looking up."""
    looked_up: list[str] = []

    async def lookup(host: str, _port: int) -> Sequence[tuple[int, str]]:
        looked_up.append(host)
        return [(AF_INET, HOST)]

    # The certificate is for the address, not for the name: so far the call gets, and no farther.
    with pytest.raises(CallbackRefused, match="Certificate"):
        await callbacks(issuer, allowed_hosts=["lab.example"], lookup=lookup).prove(url.replace(HOST, "lab.example"))
    assert looked_up == ["lab.example"]
    assert subscriber.asked == []


@pytest.mark.parametrize(
    ("address", "public"),
    [
        ("93.184.216.34", True),
        ("2606:2800:220:1::1", True),
        ("64:ff9b::5db8:d822", True),
        ("64:ff9b::a00:1", False),
        ("192.168.1.1", False),
        ("100.64.0.1", False),
        ("192.0.2.1", False),
        ("255.255.255.255", False),
        ("fd00::1", False),
        ("fe80::1%eth0", False),
        ("::", False),
        ("2002:7f00:1::", False),
        ("::ffff:8.8.8.8", False),
    ],
)
def test_which_addresses_are_public(address: str, public: bool) -> None:
    assert is_public(address) is public


async def test_the_routes_bound_what_is_read_and_answer_in_the_definitions_words(lab: Any, issuer: Issuer) -> None:
    import aiohttp

    class Away(Exception):
        pass

    async def away(_: object) -> Any:
        raise Away

    token = await lab.token("bl")
    async with (
        serve(lab.vtn.routes(), issuer) as base,
        serve(over_http(away, (Away,)), issuer) as broken,
        aiohttp.ClientSession(connector=aiohttp.TCPConnector(ssl=issuer.trust)) as session,
    ):
        headers = {"Authorization": f"Bearer {token}"}
        vtn = f"{base}/openadr3/3.1"

        async def big() -> AsyncIterator[bytes]:
            for _ in range(40):
                yield b" " * (1 << 15)

        for body in (BytesIO(b" " * ((1 << 20) + 1)), big()):
            async with session.post(f"{vtn}/programs", data=body, headers=headers) as answer:
                assert (answer.status, answer.content_type) == (413, "application/json")
                lab.definition.check("problem", await answer.json())
        async with session.post(f"{vtn}/programs", json={"programName": "é"}, headers=headers) as answer:
            assert answer.status == 201
            assert (await answer.json())["programName"] == "é"
        async with session.get(f"{vtn}/programs", params={"targets": ["a", "b"]}, headers=headers) as answer:
            assert json.loads(await answer.read()) == []
        async with session.get(f"{vtn}/programs", headers=headers | {"Accept-Encoding": "gzip"}) as answer:
            assert answer.headers["Content-Encoding"] == "gzip"
            assert len(await answer.json()) == 1
        async with session.get(f"{vtn}/programs") as answer:
            assert answer.status == 401
        for nowhere in ("", "/", "/programs/a%0Ab", "/%2e%2e/x", "/programs/%00"):
            async with session.get(URL(vtn + nowhere, encoded=True), headers=headers) as answer:
                assert (answer.status, answer.content_type) == (404, "application/json"), nowhere
        async with session.get(f"{broken}/openadr3/3.1/programs") as answer:
            assert (answer.status, answer.headers["Retry-After"]) == (503, "5")
