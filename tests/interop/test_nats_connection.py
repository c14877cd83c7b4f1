"""The connection against servers that are not what they should be: nobody in between, and none of several, ends it."""

import asyncio
import contextlib
import socket
import ssl
import time
from collections.abc import AsyncIterator, Callable, Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from gateway.tls import client_context
from hardware.fleet_ca import key_bytes, new_key, signing_request, write_private
from hardware.nats_connection import NatsConnection
from tests.lab import free_port
from tests.nats_server import NatsServer

INFO = b'INFO {"server_id":"x","version":"2.10.0","proto":1,"headers":true,"max_payload":1048576}\r\n'


@pytest.fixture
def server(tmp_path: Path) -> Iterator[NatsServer]:
    made = NatsServer(tmp_path)
    made.enrol("h00")
    try:
        yield made.start()
    finally:
        made.end()


async def until(what: str, question: Callable[[], bool], within_s: float = 20.0) -> None:
    deadline = time.monotonic() + within_s
    while not question():
        assert time.monotonic() < deadline, f"waited {within_s:g} s in vain: {what}"
        await asyncio.sleep(0.02)


@contextlib.asynccontextmanager
async def somebody_else(greeting: bytes) -> AsyncIterator[tuple[str, list[bytes]]]:
    """Somebody who listens where a NATS server should, says this, and answers every ping; and what it was told."""
    told: list[bytes] = []

    talks: set[asyncio.Task[None]] = set()

    async def talk(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        me = asyncio.current_task()
        assert me is not None
        talks.add(me)
        try:
            with contextlib.suppress(ConnectionError, asyncio.CancelledError):
                writer.write(greeting)
                while chunk := await reader.read(4096):
                    told.append(chunk)
                    writer.write(b"PONG\r\n" * chunk.count(b"PING"))
        finally:
            writer.transport.abort()

    listener = await asyncio.start_server(talk, "127.0.0.1", 0)
    try:
        yield f"tls://127.0.0.1:{listener.sockets[0].getsockname()[1]}", told
    finally:
        listener.close()
        for one in talks:
            one.cancel()
        await asyncio.gather(*talks, return_exceptions=True)


@pytest.fixture
async def connecting() -> AsyncIterator[Callable[..., NatsConnection]]:
    made: list[NatsConnection] = []

    def connect(*servers: str, **more: object) -> NatsConnection:
        connection = NatsConnection(servers=servers, name="test", handlers={}, first_wait_s=0.02, **more)
        made.append(connection)
        connection.start()
        return connection

    yield connect
    for one in made:
        await one.close()


async def test_nobody_in_between_talks_us_out_of_tls(server, connecting):
    async with somebody_else(INFO) as (url, told):
        connection = connecting(url, tls=server.host_tls("h00"))
        await until("it was spoken to", lambda: bool(told))
        await asyncio.sleep(0.2)
        assert connection.fault is not None
        assert not any(b"CONNECT" in one or b"SUB" in one for one in told), "nothing is said in plain text"


@pytest.mark.parametrize(
    "greeting", [b"", b"INFO\r\n", b"INFO {\r\n", b"HTTP/1.1 400 Bad Request\r\n\r\n", b"INFO []\r\n", b"\xff" * 70_000]
)
async def test_whatever_answers_there_it_is_tried_again(connecting, greeting):
    async with somebody_else(greeting) as (url, _):
        reasons: list[str] = []
        connection = connecting(url, on_down=reasons.append, most_wait_s=0.02)
        if greeting:
            await until("it says why", lambda: bool(reasons))
        await asyncio.sleep(0.1)
        assert connection._task is not None
        assert not connection._task.done()


async def test_one_of_several_servers_is_dead(server, connecting):
    connection = connecting(f"tls://127.0.0.1:{free_port()}", server.url, tls=server.host_tls("h00"))
    await until("it is connected", lambda: connection.fault is None)
    server.kill()
    await until("it notices", lambda: connection.fault is not None)
    server.start()
    await until("it is back", lambda: connection.fault is None)


async def test_server_of_another_name_is_refused(server, connecting):
    connection = connecting(server.url, tls=server.host_tls("h00"))
    await until("it is connected", lambda: connection.fault is None)
    server.enrolment.keep_certificates(server_names=["elsewhere.example"], now=datetime.now(UTC))
    await asyncio.to_thread(server.reload)
    connection.renew()
    await until("it says why", lambda: "not trusted" in (connection.fault or ""))


async def test_renewed_certificate_of_the_server_is_shown_after_a_reload(server, connecting):
    def served() -> bytes:
        context = client_context(ca=server.folder / "ca.pem", certificate=server.folder / "h00.pem")
        # The new one is of a time to come.
        context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
        with (
            socket.create_connection(("127.0.0.1", server.port), timeout=10) as plain,
            context.wrap_socket(plain, server_hostname="127.0.0.1") as secure,
        ):
            return secure.getpeercert(binary_form=True) or b""

    connection = connecting(server.url, tls=server.host_tls("h00"))
    await until("it is connected", lambda: connection.fault is None)
    before = await asyncio.to_thread(served)
    later = datetime.now(UTC) + timedelta(days=61)
    assert server.enrolment.keep_certificates(server_names=["127.0.0.1", "localhost"], now=later)
    await asyncio.to_thread(server.reload)
    assert connection.fault is None, "who is connected stays so"
    assert await asyncio.to_thread(served) != before


@pytest.mark.parametrize("days", [-1, 91])
async def test_clock_that_is_wrong_is_named(server, connecting, days):
    """The certificate of a gateway whose clock was a day ahead, and one that has ended."""
    key = new_key()
    now = datetime.now(UTC) - timedelta(days=days)
    token = server.enrolment.new_token("h01", url="https://127.0.0.1:1", now=now)
    csr = signing_request(key, "h01")
    certificate = server.enrolment.enrol(host_id="h01", secret=token.secret, csr_pem=csr, now=now)
    write_private(server.folder / "h01.pem", key_bytes(key) + certificate)
    await asyncio.to_thread(server.reload)
    connection = connecting(server.url, tls=server.host_tls("h01"))
    await until("it says why", lambda: "clocks are right" in (connection.fault or ""))


async def test_host_that_the_server_has_not_read_of_is_told_so(server, connecting):
    server.enrolment.remove("h00")
    await asyncio.to_thread(server.reload)
    connection = connecting(server.url, tls=server.host_tls("h00"))
    await until("it says why", lambda: "removed from the fleet" in (connection.fault or ""))


@pytest.mark.parametrize(
    "message",
    [
        b"PUB gridgate.lab-1.reply.x.h00.\xff 2\r\n{}\r\n",
        b"PUB gridgate.lab-1.reply.x.h00.1\x0b2\x0c 2\r\n{}\r\n",
        b"PUB gridgate.lab-1.reply.x.h00.1 \xff\xfe 2\r\n{}\r\n",
        b"HPUB gridgate.lab-1.reply.x.h00.1 16 18\r\nNATS/1.0 abc\r\n\r\n{}\r\n",
        b"HPUB gridgate.lab-1.reply.x.h00.1 16 18\r\nNATS/1.0 -50\r\n\r\n{}\r\n",
        b"HPUB gridgate.lab-1.reply.x.h00.1 12 12\r\nNATS/1.0\r\n\r\n\r\n",
        b"PUB gridgate.lab-1.host.h00.hello \xff 0\r\n\r\n",
    ],
)
async def test_no_agent_puts_the_gateway_out(server, message):
    """Bytes in the parts of a message that its permissions leave to a hostile agent, from a plain socket."""
    heard: list[str] = []
    gateway = NatsConnection(
        servers=[server.url],
        name="gateway",
        handlers={
            "gridgate.lab-1.reply.x.>": lambda message: heard.append(message.subject),
            "gridgate.lab-1.host.*.hello": lambda message: heard.append(message.subject),
        },
        tls=server.gateway_tls,
    )
    gateway.start()
    await until("it is connected", lambda: gateway.fault is None)
    client = gateway._client
    _, writer = await asyncio.open_connection("127.0.0.1", server.port, ssl=server.host_tls("h00")())
    try:
        good = b"PUB gridgate.lab-1.reply.x.h00.7 2\r\n{}\r\n"
        writer.write(b'CONNECT {"verbose":false,"headers":true,"protocol":1}\r\n' + message + good)
        await until("the next message is heard", lambda: "gridgate.lab-1.reply.x.h00.7" in heard)
        assert gateway._client is client, "the connection stood"
    finally:
        writer.transport.abort()
        await gateway.close()
