"""``gridgate connection test`` against a real VTN of ours over TLS: each thing that may be wrong, in plain words."""

import socket
import ssl
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from aiohttp import web

from gateway import app
from gateway.clock import SystemClock
from gateway.config import Settings, settings_from
from gateway.connection_check import Finding
from gateway.connections import open_connections
from gateway.listening import listening
from gateway.tls import listener_context
from tests.certificates import Identity, authority
from tests.lab import free_port

NOW = datetime.now(UTC)


@dataclass(frozen=True)
class Files:
    """Certificates on disk, and the authority that made them."""

    folder: Path
    authority: Identity

    def identity(self, name: str, **terms: object) -> tuple[Path, Path]:
        made = self.authority.vouch(name, begins_at=NOW - timedelta(days=1), **terms)
        certificate, key = self.folder / f"{name}.pem", self.folder / f"{name}.key"
        certificate.write_bytes(made.pem)
        key.write_bytes(made.key_pem)
        return certificate, key

    @property
    def ca(self) -> Path:
        path = self.folder / "ca.pem"
        path.write_bytes(self.authority.pem)
        return path


@pytest.fixture
def files(tmp_path: Path) -> Files:
    return Files(folder=tmp_path, authority=authority(begins_at=NOW - timedelta(days=2)))


@pytest.fixture
async def vtn(tmp_path: Path) -> AsyncIterator[app.BuiltInVtn]:
    async with app.open_record(f"sqlite+aiosqlite:///{tmp_path}/vtn.db", migrate=True) as record:
        yield app.built_in_vtn("below", record.parties, SystemClock())


def declared(port: int, *, scheme: str = "https", **more: object) -> Settings:
    connection = {
        "kind": "openadr2b",
        "name": "utility",
        "url": f"{scheme}://127.0.0.1:{port}/OpenADR2/Simple/2.0b",
        **{key: str(value) for key, value in more.items()},
    }
    return settings_from({"site": {"id": "a"}, "connection": [connection]}, source="file")


async def tried(settings: Settings) -> dict[str, Finding]:
    """The last finding of each step."""
    return {finding.step: finding for finding in await app.check_connection(settings, "utility")}


def serving(vtn: app.BuiltInVtn, tls: ssl.SSLContext | None):
    application = web.Application()
    application.add_routes(vtn.routes())
    return listening(application, "127.0.0.1:0", tls=tls)


async def test_where_all_is_well_every_step_says_what_it_found(vtn: app.BuiltInVtn, files: Files) -> None:
    certificate, key = files.identity("vtn", hosts=("127.0.0.1",))
    ours, our_key = files.identity("ven")
    async with serving(vtn, listener_context(certificate, key, files.ca)) as port:
        found = await tried(declared(port, certificate=ours, key=our_key, ca=files.ca))
    assert [step for step, finding in found.items() if not finding.well] == []
    assert list(found) == ["fingerprint", "certificate", "name", "way", "TLS", "clocks", "registration"]
    assert found["TLS"].detail.startswith("TLSv1.3, ")
    assert found["registration"].detail == "the VTN is Demo-VTN, to be polled every 5 s"
    assert await vtn.parties() == ()


async def test_a_port_where_nobody_listens(files: Files) -> None:
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        found = await tried(declared(taken.getsockname()[1], ca=files.ca))
    assert list(found) == ["name", "way"]
    assert "refuses" in found["way"].detail
    assert "is the port right" in found["way"].cure


async def test_a_name_that_is_none() -> None:
    settings = settings_from(
        {
            "site": {"id": "a"},
            "connection": [{"kind": "openadr2b", "name": "utility", "url": "https://no-such-host.invalid/x"}],
        },
        source="file",
    )
    found = await tried(settings)
    assert (list(found), found["name"].well) == (["name"], False)


async def test_their_certificate_is_of_another_authority_another_name_or_over(
    vtn: app.BuiltInVtn, files: Files, tmp_path: Path
) -> None:
    strangers = Files(folder=tmp_path / "strangers", authority=authority("stranger", begins_at=NOW))
    strangers.folder.mkdir()
    cures = {}
    for name, (certificate, key) in {
        "another name": files.identity("other", hosts=("vtn.example",)),
        "over": files.identity("over", hosts=("127.0.0.1",), lasts=timedelta(hours=1)),
        "stranger": strangers.identity("vtn", hosts=("127.0.0.1",)),
    }.items():
        async with serving(vtn, listener_context(certificate, key, None)) as port:
            found = await tried(declared(port, ca=files.ca))
        assert (list(found)[-1], found["TLS"].well) == ("TLS", False)
        cures[name] = found["TLS"].cure
    assert "for another name" in cures["another name"]
    assert "not valid now" in cures["over"]
    assert "we do not trust who signed" in cures["stranger"]


async def test_they_do_not_take_our_certificate(vtn: app.BuiltInVtn, files: Files) -> None:
    certificate, key = files.identity("vtn", hosts=("127.0.0.1",))
    context = listener_context(certificate, key, files.ca)
    for version in (ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3):
        context.maximum_version = version
        async with serving(vtn, context) as port:
            found = await tried(declared(port, ca=files.ca))
        last = list(found.values())[-1]
        assert not last.well, last
        assert any(said in last.cure for said in ("take our certificate", "are named", "want a certificate of ours"))


async def test_what_speaks_no_tls_and_plain_http_is_told(vtn: app.BuiltInVtn, files: Files) -> None:
    async with serving(vtn, None) as port:
        found = await tried(declared(port, ca=files.ca))
        plain = await tried(declared(port, scheme="http"))
    assert "should url begin with http?" in found["TLS"].cure
    assert plain["TLS"].well, "on this machine nobody is between"
    assert plain["registration"].well


async def test_a_clock_that_is_off_and_a_server_that_is_no_vtn() -> None:
    async def page(request: web.Request) -> web.Response:
        return web.Response(text="busy", headers={"Date": "Thu, 01 Jan 2026 00:00:00 GMT"})

    application = web.Application()
    application.add_routes([web.route("*", "/{tail:.*}", page)])
    async with listening(application, "127.0.0.1:0") as port:
        found = await tried(declared(port, scheme="http"))
    assert "behind ours" in found["clocks"].detail
    assert "time server" in found["clocks"].cure
    assert (found["registration"].well, "whether it knows us" in found["registration"].cure) == (False, True)


async def test_our_own_files(files: Files) -> None:
    certificate, _ = files.identity("one")
    _, key = files.identity("two")
    found = await tried(declared(9, certificate=certificate, key=key, ca=files.ca))
    assert (list(found), "belong together" in found["certificate"].cure) == (["certificate"], True)
    soon, soon_key = files.identity("soon", lasts=timedelta(days=10))
    found = await tried(declared(9, certificate=soon, key=soon_key, ca=files.ca))
    assert (found["certificate"].well, found["certificate"].cure) == (False, "have it renewed")
    assert found["way"].well is False, "what else is wrong is told, too"


async def test_a_vtn_of_ours_that_does_not_listen() -> None:
    connection = {"kind": "openadr2b", "role": "vtn", "name": "below", "listen": "127.0.0.1:9", "open": True}
    settings = settings_from({"site": {"id": "a"}, "connection": [connection]}, source="file")
    (finding,) = await app.check_connection(settings, "below")
    assert (finding.step, finding.well, finding.cure) == ("listening", False, "start the gateway: gridgate serve")


async def test_a_vtn_of_openadr_3_takes_our_credentials_or_not(tmp_path: Path) -> None:
    secret, secret_hash = app.new_secret()
    port = free_port()
    here = f"http://127.0.0.1:{port}"
    client = {"client_id": "site-1", "secret_hash": secret_hash, "role": "ven"}
    vtn = {"kind": "openadr3", "role": "vtn", "name": "below", "listen": here[7:], "url": here, "client": [client]}

    def as_ven(secret: str) -> Settings:
        ven = {
            "kind": "openadr3",
            "name": "utility",
            "url": f"{here}/openadr3/3.1",
            "client_id": "site-1",
            "client_secret": secret,
        }
        return settings_from({"site": {"id": "a"}, "connection": [ven]}, source="file")

    async with AsyncExitStack() as edges:
        record = await edges.enter_async_context(app.open_record(f"sqlite+aiosqlite:///{tmp_path}/v.db", migrate=True))
        served = settings_from({"site": {"id": "u"}, "connection": [vtn]}, source="file")
        await open_connections(edges, served, record, SystemClock())
        well, wrong = await tried(as_ven(secret)), await tried(as_ven("guessed"))
    assert "takes our credentials; programs that we may see: gridgate-reports" in well["registration"].detail
    assert not wrong["registration"].well
    assert "check the client id and the client secret" in wrong["registration"].detail
