"""Tokens over real sockets: discovered, asked for, kept, renewed, and never told."""

import asyncio
import base64
import logging
from collections.abc import AsyncIterator
from datetime import timedelta
from typing import Any

import aiohttp
import pytest
from aiohttp import web

from protocols.errors import ProtocolError, Rejected, Unreachable
from protocols.grid_report import ReportOffer
from protocols.openadr3.access import Authorized, ClientCredentials, NoAccess, StaticToken
from protocols.openadr3.client_http import HttpExchange, Request
from protocols.openadr3.names import Version
from protocols.openadr3.ven import Ven
from tests.openadr3_definition import Definition
from tests.openadr3_server import NOON, SmallVtn, routes_of, serving
from tests.unit.protocols.openadr2b.conftest import MemoryStore

SECRET = "s3cr:t &%"


class TokenServer:
    """Gives tokens out as a test has it; ``forms`` and ``headers`` are what it was sent."""

    def __init__(self) -> None:
        self.current: str | None = None
        self.given = 0
        self.expires_in: int | None = 3600
        self.only_basic = False
        self.answer: web.Response | None = None
        self.token_url: str | None = None
        self.discovered = 0
        self.forms: list[dict[str, str]] = []
        self.headers: list[str] = []

    async def server(self, request: web.Request) -> web.Response:
        self.discovered += 1
        if self.token_url is None:
            return web.json_response({"title": "Not Found", "status": 404}, status=404)
        return web.json_response({"tokenURL": self.token_url})

    async def token(self, request: web.Request) -> web.Response:
        form = {key: str(value) for key, value in (await request.post()).items()}
        self.forms.append(form)
        self.headers.append(request.headers.get("Authorization", ""))
        await asyncio.sleep(0)
        if self.answer is not None:
            return self.answer
        basic = base64.b64encode(b"client-1:s3cr%3At+%26%25").decode()
        by_basic = self.headers[-1] == f"Basic {basic}"
        by_form = form.get("client_id") == "client-1" and form.get("client_secret") == SECRET
        if not (by_basic if self.only_basic else by_form or by_basic):
            return web.json_response({"error": "invalid_client"}, status=401)
        self.given += 1
        self.current = f"token-{self.given}"
        found: dict[str, Any] = {"access_token": self.current, "token_type": "bearer"}
        return web.json_response(found if self.expires_in is None else found | {"expires_in": self.expires_in})

    def routes(self) -> list[web.RouteDef]:
        return [web.get("/openadr3/auth/server", self.server), web.post("/openadr3/auth/token", self.token)]


class Site:
    """A VTN that wants tokens, the server that gives them, and a client of both."""

    def __init__(self, url: str, session: aiohttp.ClientSession, tokens: TokenServer) -> None:
        self.url = f"{url}/openadr3"
        self.session = session
        self.tokens = tokens

    def access(self, **more: Any) -> ClientCredentials:
        usual: dict[str, Any] = {
            "vtn_url": self.url,
            "client_id": "client-1",
            "client_secret": SECRET,
            "connect": lambda url: HttpExchange(url, self.session, timeout_s=5.0),
        }
        return ClientCredentials(**(usual | more))

    def exchange(self, access: ClientCredentials | StaticToken | NoAccess) -> Authorized:
        return Authorized(HttpExchange(self.url, self.session, timeout_s=5.0), access)


@pytest.fixture
def vtn(definitions: dict[Version, Definition]) -> SmallVtn:
    return SmallVtn(definitions[Version.V3_1])


@pytest.fixture
async def site(vtn: SmallVtn) -> AsyncIterator[Site]:
    tokens = TokenServer()
    routes = (*tokens.routes(), routes_of(vtn, token=lambda: tokens.current or "none yet"))
    async with serving(*routes) as url, aiohttp.ClientSession() as session:
        yield Site(url, session, tokens)


PROGRAMS = Request(method="GET", path="/programs", query=(("skip", "0"), ("limit", "50")))


async def test_a_ven_polls_over_http_with_a_token_that_it_keeps(site: Site, vtn: SmallVtn) -> None:
    ven = Ven(
        connection_id="utility",
        ven_name="gateway",
        exchange=site.exchange(site.access()),
        store=(store := MemoryStore()),
        offers=(ReportOffer(resource_id="site-1", min_sampling_s=1, max_sampling_s=3600),),
    )
    program_id = vtn.put("programs", {"programName": "peak"})
    vtn.put("events", {"programID": program_id})
    for _ in range(3):
        await ven.receive(NOON)
    assert site.tokens.given == 1
    assert vtn.held("vens")[0]["venName"] == "gateway"
    kept = b"".join(message.body for message in store.messages)
    assert SECRET.encode() not in kept
    assert b"token-1" not in kept


async def test_without_discovery_the_token_is_the_vtns_own(site: Site) -> None:
    assert await site.access().token(NOON) == "token-1"
    assert site.tokens.forms == [{"grant_type": "client_credentials", "client_id": "client-1", "client_secret": SECRET}]


@pytest.mark.parametrize("token_url", ["/openadr3/auth/token", "auth/token", "{url}/auth/token"])
async def test_the_token_endpoint_is_discovered(site: Site, token_url: str) -> None:
    site.tokens.token_url = token_url.format(url=site.url)
    assert await site.access().token(NOON) == "token-1"


async def test_a_declared_token_endpoint_is_not_looked_for(site: Site) -> None:
    assert await site.access(token_url=f"{site.url}/auth/token", scope="read_targets").token(NOON) == "token-1"
    assert site.tokens.discovered == 0
    assert site.tokens.forms[0]["scope"] == "read_targets"


async def test_a_token_endpoint_without_tls_is_not_sent_the_secret_by_a_vtn_with_it(site: Site) -> None:
    site.tokens.token_url = f"{site.url}/auth/token"
    plain = HttpExchange(site.url, site.session)
    access = site.access(vtn_url="https://vtn.example", connect=lambda _: plain)
    with pytest.raises(Rejected, match="without TLS"):
        await access.token(NOON)
    assert not site.tokens.forms


async def test_a_server_that_takes_only_basic_is_asked_so_from_then_on(site: Site) -> None:
    site.tokens.only_basic = True
    access = site.access()
    assert await access.token(NOON) == "token-1"
    access.refused("token-1")
    assert await access.token(NOON) == "token-2"
    assert [bool(header) for header in site.tokens.headers] == [False, True, True]
    assert "client_secret" not in site.tokens.forms[-1]


@pytest.mark.parametrize(("expires_in", "kept_s", "renewed_s"), [(3600, 3569, 3570), (100, 89, 90), (0, -1, 0)])
async def test_a_token_is_renewed_shortly_before_it_expires(
    site: Site, expires_in: int, kept_s: float, renewed_s: float
) -> None:
    site.tokens.expires_in = expires_in
    access = site.access()
    await access.token(NOON)
    await access.token(NOON + timedelta(seconds=kept_s))
    assert site.tokens.given == 1
    await access.token(NOON + timedelta(seconds=renewed_s))
    assert site.tokens.given == 2


async def test_a_token_that_says_no_end_is_kept_until_it_is_refused(site: Site) -> None:
    site.tokens.expires_in = None
    exchange = site.exchange(site.access())
    for year in range(3):
        assert (await exchange(PROGRAMS, NOON + timedelta(days=365 * year))).status == 200
    site.tokens.current = "another"
    assert (await exchange(PROGRAMS, NOON)).status == 200
    assert site.tokens.given == 2


async def test_a_refused_token_is_renewed_once_and_no_more(site: Site) -> None:
    exchange = site.exchange(site.access())
    await exchange(PROGRAMS, NOON)
    site.tokens.current = "revoked"
    site.tokens.answer = web.json_response({"access_token": "of no use", "token_type": "Bearer"})
    assert (await exchange(PROGRAMS, NOON)).status == 401
    assert len(site.tokens.forms) == 2


async def test_many_requests_at_once_share_one_token(site: Site) -> None:
    exchange = site.exchange(site.access())
    answers = await asyncio.gather(*(exchange(PROGRAMS, NOON) for _ in range(10)))
    assert {answer.status for answer in answers} == {200}
    assert site.tokens.given == 1


async def test_a_static_token_is_shown_and_none_is_not(site: Site) -> None:
    site.tokens.current = "agreed"
    assert (await site.exchange(StaticToken("agreed"))(PROGRAMS, NOON)).status == 200
    assert (await site.exchange(StaticToken("other"))(PROGRAMS, NOON)).status == 401
    assert (await site.exchange(NoAccess())(PROGRAMS, NOON)).status == 401


@pytest.mark.parametrize(
    ("answer", "kind"),
    [
        ({"status": 401, "text": '{"error": "invalid_client"}'}, Rejected),
        ({"status": 400, "text": '{"error": "unauthorized_client", "error_description": "s3cr:t &%"}'}, Rejected),
        ({"status": 501, "text": "not here s3cr:t &%"}, Rejected),
        ({"status": 200, "text": '{"access_token": "s3cr:t &%", "token_type": "mac"}'}, Unreachable),
        ({"status": 200, "text": "s3cr:t &%"}, Unreachable),
    ],
)
async def test_no_token_is_a_fault_that_tells_no_secret(
    site: Site, answer: dict[str, Any], kind: type[ProtocolError], caplog: pytest.LogCaptureFixture
) -> None:
    class Fresh(TokenServer):
        async def token(self, request: web.Request) -> web.Response:
            return web.Response(**answer)

    async with serving(*Fresh().routes()) as url:
        caplog.set_level(logging.DEBUG)
        access = site.access(vtn_url=f"{url}/openadr3")
        with pytest.raises(kind) as caught:
            await access.token(NOON)
    assert SECRET not in str(caught.value)
    assert SECRET not in caplog.text
    assert SECRET not in repr(access)


def test_a_request_shows_neither_token_nor_form() -> None:
    request = Request(method="POST", path="/x", body=SECRET.encode(), authorization=f"Bearer {SECRET}")
    assert SECRET not in repr(request)
