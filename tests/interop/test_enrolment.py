"""A host joins the fleet over real TLS: by a token once, later by its certificate; a refusal names its cure."""

import asyncio
import json
import os
import stat
import sys
import tempfile
from collections.abc import AsyncIterator
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import aiohttp
import pytest
from cryptography import x509

from gateway.config import AgentsSettings, load_config
from gateway.http.enrol import CERTIFICATE, make_enrolment
from gateway.http.enrol_client import enrol, keep_valid, renew
from gateway.joining import enrol_this_host, reload_server
from gateway.listening import listening
from gateway.tls import client_context, server_context, unverified_context
from hardware.enrolment import MOST_ATTEMPTS, Enrolment
from hardware.errors import EnrolmentRefused, HardwareError
from hardware.fleet_ca import new_key, signing_request
from hardware.passport import Membership, Passport, Token
from tests.lab import ROOT
from tests.nats_server import SITE, NatsServer


class Gate:
    """The gateway's side, listening; its clock is ``now``."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.now = datetime.now(UTC)
        self.monotonic_s = 0.0
        self.changes = 0
        self.cannot_reload = False
        self.enrolment = Enrolment(folder, site_id=SITE, now=self.now)
        self.enrolment.keep_certificates(server_names=["127.0.0.1"], now=self.now)
        self.url = ""

    def token(self, host_id: str = "h00", **more: float) -> Token:
        return self.enrolment.new_token(host_id, url=self.url, now=self.now, **more)

    async def changed(self) -> None:
        self.changes += 1
        if self.cannot_reload:
            raise HardwareError("the reload command ended with 1", cure="see reload in [[hardware]]")


@pytest.fixture
async def gate(tmp_path) -> AsyncIterator[Gate]:
    made = Gate(tmp_path / "fleet")
    application = make_enrolment(
        made.enrolment,
        site_id=SITE,
        servers=["tls://127.0.0.1:4222"],
        now=lambda: made.now,
        monotonic_s=lambda: made.monotonic_s,
        changed=made.changed,
    )
    context = server_context(
        ca=made.folder / "ca.pem", certificate=made.folder / "server.pem", key=made.folder / "server.key"
    )
    async with listening(application, "127.0.0.1:0", tls=context) as port:
        made.url = f"https://127.0.0.1:{port}"
        yield made


@pytest.fixture
def passport(tmp_path) -> Passport:
    return Passport(tmp_path / "host")


async def test_enrolled_once_by_a_token(gate, passport):
    token = gate.token()
    membership = await enrol(passport, Token.parse(token.text), host_id="h00")
    assert membership == Membership(host_id="h00", site_id=SITE, servers=("tls://127.0.0.1:4222",), url=gate.url)
    assert passport.membership() == membership
    for path in passport.folder.iterdir():
        assert stat.S_IMODE(path.stat().st_mode) == 0o600, path
    assert "h00" in gate.enrolment.hosts()
    assert gate.changes == 1, "the NATS server was told before the host"
    assert "CN=h00,OU=agent-1,O=lab-1" in (gate.folder / "nats-users.conf").read_text()
    client_context(ca=passport.ca_path, certificate=passport.certificate_path)
    kept = (gate.folder / "registry.json").read_text()
    assert token.secret not in kept
    assert "PRIVATE" not in kept
    with pytest.raises(EnrolmentRefused, match=r"used before.*asset remove"):
        await enrol(passport, token, host_id="h00")


async def test_keys_of_the_authority_are_its_users_only(gate):
    for name in ("ca.key", "gateway.key", "server.key", "registry.json"):
        path = gate.folder / name
        if path.exists():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, name
    assert stat.S_IMODE(gate.folder.stat().st_mode) == 0o700


async def test_token_that_has_ended(gate, passport):
    token = gate.token(lasts_s=60.0)
    gate.now += timedelta(seconds=61)
    with pytest.raises(EnrolmentRefused, match=r"ended at.*asset enrol h00"):
        await enrol(passport, token, host_id="h00")
    assert passport.membership() is None


async def test_token_of_another_host(gate, passport):
    token = gate.token("h00")
    with pytest.raises(EnrolmentRefused, match="for host 'h00', and this is 'h01'"):
        await enrol(passport, token, host_id="h01")
    gate.token("h01")
    with pytest.raises(EnrolmentRefused, match="not the token of host 'h01'"):
        await enrol(passport, replace(token, host_id="h01"), host_id="h01")
    with pytest.raises(EnrolmentRefused, match="no token for host 'h09'"):
        await enrol(passport, replace(token, host_id="h09"), host_id="h09")


async def test_authority_that_the_token_does_not_name_gets_no_secret(gate, passport):
    token = replace(gate.token(), ca_sha256="0" * 64)
    with pytest.raises(EnrolmentRefused, match="not the one that made the token"):
        await enrol(passport, token, host_id="h00")
    await enrol(passport, gate.token(), host_id="h00")


async def test_void_after_too_many_wrong_secrets(gate, passport):
    token = gate.token()
    for _ in range(MOST_ATTEMPTS):
        with pytest.raises(EnrolmentRefused, match="not the token"):
            await enrol(passport, replace(token, secret="wrong"), host_id="h00")
    with pytest.raises(EnrolmentRefused, match="void"):
        await enrol(passport, token, host_id="h00")


async def test_gateway_that_is_not_there(gate, passport):
    with pytest.raises(EnrolmentRefused, match=r"cannot be reached.*enrol_listen"):
        await enrol(passport, replace(gate.token(), url="https://127.0.0.1:1"), host_id="h00")


async def test_name_that_the_certificate_does_not_have(gate, passport):
    token = replace(gate.token(), url=gate.url.replace("127.0.0.1", "localhost"))
    with pytest.raises(EnrolmentRefused, match=r"cannot be trusted.*enrol_url"):
        await enrol(passport, token, host_id="h00")


async def test_renewed_by_its_certificate_and_never_after_removal(gate, passport):
    membership = await enrol(passport, gate.token(), host_id="h00")
    before = passport.certificate_path.read_bytes()
    assert not await keep_valid(passport, membership, gate.now), "not due yet"
    assert not await keep_valid(passport, membership, gate.now + timedelta(days=55)), "not due yet"
    gate.now += timedelta(seconds=5)
    assert await keep_valid(passport, membership, gate.now + timedelta(days=65))
    after = passport.certificate_path.read_bytes()
    assert after != before
    assert b"PRIVATE KEY" in after
    assert gate.enrolment.hosts()["h00"].generation == 1
    assert gate.enrolment.hosts()["h00"].certificate_ends_at > gate.now + timedelta(days=89, hours=23)
    gate.enrolment.remove("h00")
    assert "CN=h00" not in (gate.folder / "nats-users.conf").read_text()
    with pytest.raises(EnrolmentRefused, match="not enrolled any more"):
        await renew(passport, membership)
    await enrol(Passport(passport.folder / "new"), gate.token(), host_id="h00")
    with pytest.raises(EnrolmentRefused, match="enrolled anew"):
        await renew(passport, membership)


async def test_certificate_of_another_fleet_renews_nothing(gate, passport, tmp_path):
    membership = await enrol(passport, gate.token(), host_id="h00")
    other = NatsServer(tmp_path / "other")
    other.enrol("h00")
    passport.certificate_path.write_bytes((other.folder / "h00.pem").read_bytes())
    with pytest.raises(EnrolmentRefused):
        await renew(passport, membership)


async def post(gate: Gate, body: bytes) -> tuple[int, str]:
    async with (
        aiohttp.ClientSession() as session,
        session.post(gate.url + CERTIFICATE, data=body, ssl=unverified_context()) as answer,
    ):
        return answer.status, await answer.text()


@pytest.mark.parametrize(
    ("body", "status"),
    [
        (b"", 400),
        (b"[" * 10_000, 400),
        (b'{"host_id": "h00", "csr": "x", "more": 1}', 400),
        (json.dumps({"host_id": "h00", "csr": "x" * 5000}).encode(), 400),
        (b"x" * 20_000, 413),
        (json.dumps({"host_id": "h00", "csr": "nonsense"}).encode(), 403),
        (json.dumps({"host_id": "h00", "csr": "nonsense", "secret": "guess"}).encode(), 403),
        (json.dumps({"host_id": "../h00", "csr": "nonsense", "secret": "guess"}).encode(), 400),
    ],
)
async def test_hostile_request_is_refused(gate, body, status):
    assert (await post(gate, body))[0] == status
    assert gate.enrolment.hosts() == {}


async def test_signing_request_that_is_none(gate):
    token = gate.token()
    body = json.dumps({"host_id": "h00", "csr": "nonsense", "secret": token.secret}).encode()
    status, text = await post(gate, body)
    assert (status, "no signing request" in text) == (403, True)


async def test_rate_of_attempts_is_bounded(gate):
    answers = [await post(gate, b"") for _ in range(30)]
    assert [status for status, _ in answers].count(429) == 10
    gate.monotonic_s += 0.1
    assert [(await post(gate, b""))[0] for _ in range(3)] == [400, 400, 429]


@pytest.mark.parametrize("text", ["", "x", "e30", "?" * 100, "A" * 5000, "bm9uc2Vuc2U"])
def test_word_that_is_no_token(text):
    with pytest.raises(EnrolmentRefused, match="no token"):
        Token.parse(text)


@pytest.mark.parametrize("host_id", ["", "a.b", "a*", ">", "a b", "x" * 64, "../x", "ü"])
def test_name_that_no_host_may_have(gate_folder, host_id):
    enrolment = Enrolment(gate_folder, site_id=SITE, now=datetime.now(UTC))
    with pytest.raises(EnrolmentRefused, match="no name for a host"):
        enrolment.new_token(host_id, url="https://x", now=datetime.now(UTC))


@pytest.fixture
def gate_folder(tmp_path) -> Path:
    return tmp_path / "fleet"


async def test_two_processes_change_the_registry_without_loss(gate_folder):
    now = datetime.now(UTC)
    both = [Enrolment(gate_folder, site_id=SITE, now=now) for _ in range(2)]

    def add(keeper: Enrolment, first: int) -> None:
        for number in range(first, first + 20):
            keeper.new_token(f"h{number}", url="https://x", now=now)

    await asyncio.gather(asyncio.to_thread(add, both[0], 0), asyncio.to_thread(add, both[1], 100))
    kept = json.loads((gate_folder / "registry.json").read_text())
    assert len(kept["tokens"]) == 40


async def test_host_is_let_in_though_the_server_cannot_be_told_yet(gate, passport):
    gate.cannot_reload = True
    await enrol(passport, gate.token(), host_id="h00")
    assert passport.membership() is not None, "the token is used up: what it was for is not lost"
    assert gate.enrolment.reload_owed() is not None


def agents(*reload: str) -> AgentsSettings:
    return AgentsSettings(kind="agents", servers=("tls://127.0.0.1:4222",), reload=reload)


async def test_change_stays_owed_until_the_reload_command_works(gate, tmp_path):
    flag = tmp_path / "works"
    command = agents("test", "-e", str(flag))
    with pytest.raises(HardwareError, match=r"ended with 1.*each minute"):
        await reload_server(command, gate.enrolment)
    again = Enrolment(gate.folder, site_id=SITE, now=gate.now)
    assert again.keep_certificates(server_names=["127.0.0.1"], now=gate.now), "another process owes it, too"
    flag.touch()
    await reload_server(command, gate.enrolment)
    assert again.reload_owed() is None
    assert not again.keep_certificates(server_names=["127.0.0.1"], now=gate.now)


async def test_change_during_a_reload_stays_owed(gate):
    owed = gate.enrolment.reload_owed()
    assert owed is not None
    token = gate.token()
    gate.enrolment.enrol(host_id="h00", secret=token.secret, csr_pem=signing_request(new_key(), "h00"), now=gate.now)
    gate.enrolment.reloaded(owed)
    assert gate.enrolment.reload_owed() is not None


async def test_two_that_use_one_token_at_once(gate):
    token = gate.token()

    def redeem() -> bool:
        csr = signing_request(new_key(), "h00")
        try:
            gate.enrolment.enrol(host_id="h00", secret=token.secret, csr_pem=csr, now=gate.now)
        except EnrolmentRefused:
            return False
        return True

    done = await asyncio.gather(*(asyncio.to_thread(redeem) for _ in range(8)))
    assert done.count(True) == 1


async def test_guess_at_a_host_without_a_token_writes_nothing(gate):
    gate.token("h01")
    before = (gate.folder / "registry.json").stat().st_ino
    with pytest.raises(EnrolmentRefused, match="no token"):
        gate.enrolment.enrol(host_id="h00", secret="x", csr_pem=b"", now=gate.now)
    assert (gate.folder / "registry.json").stat().st_ino == before


async def test_registry_that_cannot_be_read_keeps_the_hosts_that_are_known(gate, passport):
    await enrol(passport, gate.token(), host_id="h00")
    assert set(gate.enrolment.hosts()) == {"h00"}
    (gate.folder / "registry.json").write_text("{")
    assert set(gate.enrolment.hosts()) == {"h00"}
    with pytest.raises(HardwareError, match="from a backup"):
        gate.token("h01")


async def test_authority_whose_files_do_not_fit_is_refused_with_the_cure(gate, tmp_path):
    other = NatsServer(tmp_path / "other")
    (gate.folder / "ca.key").write_bytes((other.folder / "ca.key").read_bytes())
    with pytest.raises(HardwareError, match=r"do not belong together.*from one backup"):
        Enrolment(gate.folder, site_id=SITE, now=gate.now)
    (gate.folder / "ca.key").unlink()
    with pytest.raises(HardwareError, match=r"cannot be read.*from one backup"):
        Enrolment(gate.folder, site_id=SITE, now=gate.now)


async def test_certificates_of_an_earlier_authority_or_site_are_made_anew(gate):
    for name in ("ca.key", "ca.pem"):
        (gate.folder / name).unlink()
    made = Enrolment(gate.folder, site_id="lab-2", now=gate.now)
    made.keep_certificates(server_names=["127.0.0.1"], now=gate.now)
    authority = x509.load_pem_x509_certificate(made.ca_pem)
    for name in ("gateway.pem", "server.pem"):
        x509.load_pem_x509_certificate((gate.folder / name).read_bytes()).verify_directly_issued_by(authority)
    kept = (gate.folder / "gateway.pem").read_bytes()
    made.keep_certificates(server_names=["127.0.0.1"], now=gate.now)
    assert (gate.folder / "gateway.pem").read_bytes() == kept
    (gate.folder / "gateway.pem").write_text("nonsense")
    made.keep_certificates(server_names=["127.0.0.1"], now=gate.now)
    client_context(ca=gate.folder / "ca.pem", certificate=gate.folder / "gateway.pem", key=gate.folder / "gateway.key")


async def test_request_that_comes_a_byte_at_a_time_is_ended(gate, monkeypatch):
    monkeypatch.setattr("gateway.http.enrol.READ_S", 0.2)

    async def drip() -> AsyncIterator[bytes]:
        for _ in range(200):
            yield b" "
            await asyncio.sleep(0.05)

    async with (
        aiohttp.ClientSession() as session,
        session.post(gate.url + CERTIFICATE, data=drip(), ssl=unverified_context()) as answer,
    ):
        assert answer.status == 408


WORKER = """
import asyncio, sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
import aiohttp.connector, encodings.idna
from gateway.http.enrol_client import keep_valid
from hardware.passport import Passport
from hardware.privileges import drop
# Last: the interpreter may lie where nobody else reads.
drop(user="nobody")
passport = Passport(Path(sys.argv[1]))
print(asyncio.run(keep_valid(passport, passport.membership(), datetime.now(UTC) + timedelta(days=65))))
"""


@pytest.mark.skipif(os.geteuid() != 0, reason="only root gives a worker another user")
async def test_worker_of_another_user_renews_its_certificate(gate):
    with tempfile.TemporaryDirectory() as folder:
        os.chmod(folder, 0o711)  # noqa: PTH101 - as short as that
        config = Path(folder) / "host.toml"
        config.write_text(
            f'[gateway]\nstate_dir = "{folder}"\n[site]\nid = "{SITE}"\n'
            '[agent]\nhost_id = "h00"\nworker_user = "nobody"\n[[hardware]]\nkind = "simulated"\n'
        )
        await enrol_this_host(load_config(config), gate.token().text)
        path = Path(folder) / "agent" / "agent.pem"
        before = path.read_bytes()
        worker = await asyncio.create_subprocess_exec(
            sys.executable, "-c", WORKER, str(path.parent), cwd=ROOT, stdout=asyncio.subprocess.PIPE
        )
        said, _ = await worker.communicate()
        assert b"True" in said, said
        assert path.read_bytes() != before
        assert stat.S_IMODE(path.stat().st_mode) == 0o600
