"""The VEN wakes by notifications from a real Mosquitto, with a token, with a certificate, and not without TLS."""

import asyncio
import gc
import shutil
import ssl
import subprocess
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from protocols.errors import Rejected, Unreachable
from protocols.openadr3.access import StaticToken
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.names import Version
from protocols.openadr3.ven_mqtt import MqttTerms
from tests.certificates import Identity, authority
from tests.lab import eventually, free_port
from tests.openadr3_definition import Definition
from tests.openadr3_server import SmallVtn, problem, said
from tests.unit.protocols.openadr3.joined import Pair, program

MOSQUITTO = shutil.which("mosquitto", path="/usr/sbin:/usr/bin:/usr/local/sbin")
TOKEN = "token-1"
YESTERDAY = datetime.now(UTC) - timedelta(days=1)


class Broker:
    """A Mosquitto of its own in a folder, with the listener lines that a test gives it."""

    def __init__(self, folder: Path, *lines: str) -> None:
        assert MOSQUITTO is not None
        self.folder = folder
        self.port = free_port()
        self.log = folder / "mosquitto.log"
        config = folder / "mosquitto.conf"
        own = [f"listener {self.port} 127.0.0.1", f"log_dest file {self.log}", f"user {folder.owner()}", *lines]
        config.write_text("\n".join(own) + "\n")
        self.config = config
        self.process: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        assert MOSQUITTO is not None
        self.log.write_text("")
        self.process = subprocess.Popen(
            [MOSQUITTO, "-c", str(self.config)], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        eventually("Mosquitto runs", lambda: "running" in self.log.read_text(), 10, 0.02)

    def stop(self) -> None:
        if self.process is not None:
            self.process.terminate()
            self.process.wait(10)
            self.process = None


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    if MOSQUITTO is None:
        pytest.skip("no mosquitto on this machine: apt-get install mosquitto")
    return tmp_path


@pytest.fixture
def with_password(folder: Path) -> Iterator[Broker]:
    """It knows one client, whose password is its token."""
    passwords = folder / "passwords"
    subprocess.run(["mosquitto_passwd", "-b", "-c", str(passwords), "client-1", TOKEN], check=True, capture_output=True)
    broker = Broker(folder, f"password_file {passwords}", "allow_anonymous false")
    broker.start()
    yield broker
    broker.stop()


@pytest.fixture(scope="session")
def root() -> Identity:
    return authority(begins_at=YESTERDAY)


@pytest.fixture
def with_certificates(folder: Path, root: Identity) -> Iterator[Broker]:
    """TLS on both sides."""
    server = root.vouch("broker", hosts=("127.0.0.1", "localhost"), begins_at=YESTERDAY)
    for name, pem in (("ca", root.pem), ("cert", server.pem), ("key", server.key_pem)):
        (folder / f"{name}.pem").write_bytes(pem)
    broker = Broker(
        folder,
        f"cafile {folder}/ca.pem",
        f"certfile {folder}/cert.pem",
        f"keyfile {folder}/key.pem",
        "require_certificate true",
        "use_identity_as_username true",
    )
    broker.start()
    yield broker
    broker.stop()


class Told:
    """A VTN that names a broker and its topics, and a VEN that has polled it once."""

    def __init__(self, definition: Definition, uri: str, authentication: dict[str, Any], **terms: Any) -> None:
        self.vtn = SmallVtn(definition)
        self.definition = definition
        self.mqtt: dict[str, Any] = {"URIS": [uri], "serialization": "JSON", "authentication": authentication}
        self.paths: list[str] = []
        self.vtn.before = self.notifiers
        usual = {"access": StaticToken(TOKEN), "client_id": "client-1"}
        self.pair = Pair(self.vtn, mqtt=MqttTerms(**(usual | terms)))
        self.vtn.put("programs", program())

    def notifiers(self, request: Request) -> Response | None:
        if not request.path.startswith("/notifiers"):
            return None
        self.paths.append(request.path)
        if request.path == "/notifiers":
            found = {"WEBHOOK": True, "MQTT": self.mqtt}
            self.definition.check("notifiersResponse", found)
            return said(200, found)
        if request.path == "/notifiers/mqtt/topics/programs":
            return problem(403, "Forbidden")
        topic = request.path.removeprefix("/notifiers/mqtt/topics/").replace("/", "-")
        names = {"CREATE": f"{topic}/create", "UPDATE": f"{topic}/update", "DELETE": f"{topic}/delete"}
        if topic.endswith("-events"):
            names["ALL"] = f"{topic}/+"
        self.definition.check("notifierTopicsResponse", {"topics": names})
        return said(200, {"topics": names})

    @property
    def ven_id(self) -> str:
        return str(self.vtn.held("vens")[0]["id"])

    @asynccontextmanager
    async def listening(self) -> AsyncIterator[asyncio.Task[bool]]:
        await self.pair.poll()
        task = asyncio.create_task(self.pair.ven.listen(self.pair.now))
        waiting = asyncio.create_task(self.pair.ven.woken.wait())
        await asyncio.wait({task, waiting}, timeout=10, return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        try:
            yield task
        finally:
            task.cancel()
            await asyncio.wait({task})


@pytest.fixture
def definition(shared: Path) -> Definition:
    return Definition(shared / "data" / "openadr3", "3.1.1")


async def test_a_notification_wakes_the_ven(with_password: Broker, definition: Definition) -> None:
    bearer = {"method": "OAUTH2_BEARER_TOKEN", "username": "{clientID}"}
    told = Told(definition, f"mqtt://127.0.0.1:{with_password.port}", bearer, plain_allowed=True)
    async with told.listening():
        assert told.pair.ven.woken.is_set(), "what was said before we listened"
        await told.pair.poll()
        assert not told.pair.ven.woken.is_set()
        async with aiomqtt.Client("127.0.0.1", with_password.port, username="client-1", password=TOKEN) as other:
            for topic in (f"vens-{told.ven_id}-events/create", f"vens-{told.ven_id}-programs/delete"):
                await other.publish(topic, b'{"objectType": "EVENT"}', qos=1)
                await asyncio.wait_for(told.pair.ven.woken.wait(), 10)
                told.pair.ven.woken.clear()
    assert f"/notifiers/mqtt/topics/programs/{told.vtn.held('programs')[0]['id']}/events" in told.paths


async def test_a_broker_that_ends_is_said_and_found_again(with_password: Broker, definition: Definition) -> None:
    bearer = {"method": "OAUTH2_BEARER_TOKEN", "username": "client-1"}
    told = Told(definition, f"mqtt://127.0.0.1:{with_password.port}", bearer, plain_allowed=True)
    async with told.listening() as task:
        with_password.stop()
        with pytest.raises(Unreachable, match="MQTT broker"):
            await asyncio.wait_for(task, 10)
    async with told.listening() as task:
        with pytest.raises(Unreachable, match="MQTT broker"):
            await asyncio.wait_for(task, 10)
    with_password.start()
    async with told.listening() as task:
        assert told.pair.ven.woken.is_set()
        assert not task.done()


async def test_a_wrong_token_is_not_let_in(with_password: Broker, definition: Definition) -> None:
    bearer = {"method": "OAUTH2_BEARER_TOKEN", "username": "{clientID}"}
    uri = f"mqtt://127.0.0.1:{with_password.port}"
    told = Told(definition, uri, bearer, plain_allowed=True, access=StaticToken("wrong-token"))
    async with told.listening() as task:
        with pytest.raises(Unreachable) as caught:
            await asyncio.wait_for(task, 10)
    assert "wrong-token" not in str(caught.value)


async def test_a_broker_without_tls_is_not_sent_the_token(with_password: Broker, definition: Definition) -> None:
    bearer = {"method": "OAUTH2_BEARER_TOKEN", "username": "{clientID}"}
    told = Told(definition, f"mqtt://127.0.0.1:{with_password.port}", bearer)
    async with told.listening() as task:
        with pytest.raises(Rejected, match="mqtts:// is needed"):
            await task


async def test_the_vtns_certificate_lets_us_in_and_its_key_is_not_kept(
    with_certificates: Broker, root: Identity, definition: Definition
) -> None:
    ours = root.vouch("client-1", begins_at=YESTERDAY)
    certificate = {
        "method": "CERTIFICATE",
        "caCert": root.pem.decode(),
        "clientCert": ours.pem.decode(),
        "clientKey": ours.key_pem.decode(),
    }
    told = Told(definition, f"mqtts://localhost:{with_certificates.port}", certificate)
    async with told.listening() as task:
        assert told.pair.ven.woken.is_set()
        assert not task.done()
    assert b"PRIVATE KEY" not in b"".join(message.body for message in told.pair.store.messages)


# The MQTT library leaves a socket whose handshake failed to the garbage collector.
@pytest.mark.filterwarnings("ignore:unclosed <ssl:ResourceWarning")
async def test_a_broker_that_nobody_vouches_for_is_not_spoken_to(
    with_certificates: Broker, definition: Definition
) -> None:
    told = Told(
        definition,
        f"mqtts://localhost:{with_certificates.port}",
        {"method": "ANONYMOUS"},
        context=ssl.create_default_context,
    )
    async with told.listening() as task:
        with pytest.raises(Unreachable, match="CERTIFICATE_VERIFY_FAILED"):
            await asyncio.wait_for(task, 10)
    del task
    gc.collect()


async def test_without_a_broker_there_is_nothing_to_listen_to(definition: Definition) -> None:
    told = Told(definition, "mqtts://localhost", {"method": "ANONYMOUS"})
    assert not await told.pair.ven.listen(told.pair.now), "not before the first poll"
    told.vtn.before = lambda request: said(200, {"WEBHOOK": True}) if request.path == "/notifiers" else None
    await told.pair.poll()
    assert not await told.pair.ven.listen(told.pair.now)
    told.vtn.before = lambda request: said(404, {"status": 404}) if request.path == "/notifiers" else None
    assert not await told.pair.ven.listen(told.pair.now), "nor of a VTN that knows no notifiers"
    assert Version.V3_1 is told.vtn.version
