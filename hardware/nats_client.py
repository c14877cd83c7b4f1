"""One connection to a NATS server: the few words of its protocol that a fleet needs.

A gateway takes an answer from each of ten thousand hosts in a moment: nothing is between a message and who takes it,
no queue, no task. What is published in one turn of the loop is sent as one piece. TLS comes first of all, so that
nobody in between can talk us out of it.
"""

import asyncio
import json
import ssl
from collections.abc import Callable, Mapping
from typing import NamedTuple, cast
from urllib.parse import urlsplit

import structlog

from hardware.errors import AgentUnreachable

log = structlog.get_logger()

PORT = 4222

CLOSE_S = 2.0

MOST_PINGS = 2
"""A server that leaves so many unanswered has gone."""

MOST_LINE_BYTES = 65_536
"""Of the protocol's own lines; the server's greeting names a whole cluster."""

MOST_MESSAGE_BYTES = 8 * 1024 * 1024
"""Twice what gateway and agents ever send."""

OUTBOUND_BYTES = 64 * 1024 * 1024
"""What may wait to be sent: a server that takes no more of it is as good as gone."""

FLUSH_BYTES = 65_536


class Message(NamedTuple):
    """What came, and where an answer is expected. ``status`` is ``NO_RESPONDERS`` or 0."""

    subject: str
    reply: str
    data: bytes
    status: int = 0


NO_RESPONDERS = 503
"""The status that says that nobody listens."""

_NO_RESPONDERS_HEAD = b"NATS/1.0 503"

Handler = Callable[[Message], None]


async def connect(
    server: str,
    *,
    name: str,
    handlers: Mapping[str, Handler],
    tls: ssl.SSLContext | None,
    ping_s: float,
    on_end: Callable[[], None],
) -> "NatsClient":
    """Connect, and return with the subscriptions in force. ``on_end`` is called once, when it has ended.

    Raises ``AgentUnreachable`` or ``OSError``. Waits as long as the server does: bound it.
    """
    place = urlsplit(server if "//" in server else f"//{server}")
    _, client = await asyncio.get_running_loop().create_connection(
        lambda: NatsClient(name=name, handlers=handlers, ping_s=ping_s, on_end=on_end),
        place.hostname or "",
        place.port or PORT,
        ssl=tls,
    )
    try:
        await client.ready
    except BaseException:
        client.abort()
        raise
    return client


class NatsClient(asyncio.Protocol):
    """See ``connect``. ``handlers`` are by subject and must neither wait nor raise."""

    def __init__(
        self, *, name: str, handlers: Mapping[str, Handler], ping_s: float, on_end: Callable[[], None]
    ) -> None:
        self._name = name
        self._subjects = tuple(handlers)
        self._handlers = {str(number).encode(): handler for number, handler in enumerate(handlers.values(), 1)}
        self._ping_s = ping_s
        self._on_end = on_end
        self._loop = asyncio.get_running_loop()
        self._rest = b""
        self._out: list[bytes] = []
        self._out_bytes = 0
        self._full = False
        self._most_payload_bytes = 0
        self._greeted = False
        self._pings = 0
        self._complaint = ""
        self._next_ping: asyncio.TimerHandle | None = None
        self._lost = self._loop.create_future()
        self.ready: asyncio.Future[None] = self._loop.create_future()
        self.end: str | None = None
        """Why the connection has ended, ``None`` while it stands."""

    def publish(self, subject: str, payload: bytes, reply: str = "") -> None:
        """Hand a message to the server. Raises ``AgentUnreachable``."""
        if self.end is not None:
            raise AgentUnreachable(f"NATS did not take the message: {self.end}")
        if self._full:
            raise AgentUnreachable("NATS did not take the message: too much waits to be sent")
        if len(payload) > self._most_payload_bytes:
            raise AgentUnreachable(
                f"NATS takes messages of up to {self._most_payload_bytes} bytes, not of {len(payload)}",
                cure="raise max_payload in the server's configuration",
            )
        self._send(f"PUB {subject} {reply} {len(payload)}\r\n".encode() + payload + b"\r\n")

    async def close(self) -> None:
        """Send what waits, and let go, in bounded time."""
        self._flush()
        self._transport.close()
        try:
            await asyncio.wait([self._lost], timeout=CLOSE_S)
        finally:
            self.abort()

    def abort(self) -> None:
        """Let go at once."""
        self.ready.cancel()
        self._transport.abort()

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)
        self._transport.set_write_buffer_limits(high=OUTBOUND_BYTES)

    def connection_lost(self, exc: Exception | None) -> None:
        if self.end is None:
            ended = ConnectionResetError(self._complaint or "the server ended the connection")
            self.end = in_words(ended if exc is None or self._complaint else exc)
        if self._next_ping is not None:
            self._next_ping.cancel()
        self._lost.set_result(None)
        if not self.ready.done():
            self.ready.set_exception(AgentUnreachable(self.end))
        elif not self.ready.cancelled():
            self._on_end()

    def pause_writing(self) -> None:
        self._full = True

    def resume_writing(self) -> None:
        self._full = False

    def data_received(self, data: bytes) -> None:
        if self.end is not None:
            return
        buffer = self._rest + data if self._rest else data
        place = 0
        while (end := buffer.find(b"\r\n", place)) >= 0:
            try:
                if not buffer.startswith((b"MSG ", b"HMSG "), place):
                    self._take_line(buffer[place:end])
                    place = end + 2
                    continue
                message, sid, after = _message(buffer, buffer[place:end].split(b" "), end + 2)
                handler = self._handlers.get(sid)
            except (ValueError, IndexError):
                handler = message = None
            if handler is None:
                self._fail("what answers there is no NATS server")
                return
            if message is None:
                break
            handler(message)
            place = after
        self._rest = buffer[place:]
        if end < 0 and len(self._rest) > MOST_LINE_BYTES:
            self._fail("what answers there is no NATS server")

    def _take_line(self, line: bytes) -> None:
        if line == b"PING":
            self._send(b"PONG\r\n")
        elif line == b"PONG" and self._greeted:
            self._pings = 0
            if not self.ready.done():
                self._next_ping = self._loop.call_later(self._ping_s, self._ping)
                self.ready.set_result(None)
        elif line.startswith(b"-ERR"):
            # Where it is no reason to end the connection, as with a subject that is not allowed, the server goes on.
            self._complaint = line[4:].decode(errors="replace").strip(" '")
            log.debug("nats_error", name=self._name, reason=self._complaint)
        elif line.startswith(b"INFO "):
            self._most_payload_bytes = _most_payload_bytes(line[5:])
            if not self._greeted:
                self._greet()
        elif line != b"+OK":
            raise ValueError("no word of NATS")

    def _greet(self) -> None:
        """Say who we are and what we want to hear, once; the answer to the ping says that all of it is in force."""
        who = {
            "verbose": False,
            "pedantic": False,
            "lang": "python",
            "version": "1",
            "name": self._name,
            "protocol": 1,
            "headers": True,
            "no_responders": True,
        }
        lines = [f"CONNECT {json.dumps(who)}\r\n"]
        lines += [f"SUB {subject} {number}\r\n" for number, subject in enumerate(self._subjects, 1)]
        self._send("".join(lines).encode())
        self._greeted = True
        self._send(b"PING\r\n")

    def _ping(self) -> None:
        if self._pings >= MOST_PINGS:
            self._fail("the server does not answer any more")
            return
        self._pings += 1
        self._send(b"PING\r\n")
        self._next_ping = self._loop.call_later(self._ping_s, self._ping)

    def _send(self, piece: bytes) -> None:
        if not self._out:
            self._loop.call_soon(self._flush)
        self._out.append(piece)
        self._out_bytes += len(piece)
        if self._out_bytes >= FLUSH_BYTES:
            self._flush()

    def _flush(self) -> None:
        if self._out and self.end is None:
            self._transport.write(b"".join(self._out))
        self._out.clear()
        self._out_bytes = 0

    def _fail(self, reason: str) -> None:
        self.end = self._complaint or reason
        self._transport.abort()


def _message(buffer: bytes, words: list[bytes], begin: int) -> tuple[Message | None, bytes, int]:
    """The message of a line, whose subscription it is, and where it ends; ``None`` until all of it is there.

    Raises ``ValueError`` or ``IndexError`` where the line is malformed.
    """
    end, sid = begin + int(words[-1]), words[2]
    if not begin <= end <= begin + MOST_MESSAGE_BYTES:
        raise ValueError("a length that is none of ours")
    if len(buffer) < end + 2:
        return None, sid, begin
    # What a client wrote is no fault of the server: it must not end the connection.
    subject = words[1].decode(errors="replace")
    if words[0] == b"MSG":
        reply = words[3].decode(errors="replace") if len(words) == 5 else ""
        return Message(subject, reply, buffer[begin:end]), sid, end + 2
    reply = words[3].decode(errors="replace") if len(words) == 6 else ""
    body = begin + int(words[-2])
    if not begin <= body <= end:
        raise ValueError("a header that is longer than its message")
    status = int(buffer[begin:body].startswith(_NO_RESPONDERS_HEAD)) * NO_RESPONDERS
    return Message(subject, reply, buffer[body:end], status), sid, end + 2


def in_words(fault: Exception) -> str:
    """Why there is no connection, and what to do about it."""
    if isinstance(fault, ssl.SSLCertVerificationError):
        return (
            f"the NATS server's certificate is not trusted: {fault.verify_message}; see that this host's clock is"
            " right, and that it is named in servers as its certificate names it"
        )
    if isinstance(fault, ssl.SSLError) and "ALERT" in (fault.reason or ""):
        return (
            f"the NATS server does not take our certificate: {fault.reason}; see that both clocks are right, and where"
            " it has ended (gridgate agent --check) enrol this host again"
        )
    if "authorization violation" in str(fault).lower():
        return (
            "the NATS server does not know us: it has not read its users anew (reload in [[hardware]] of the gateway),"
            " or this host was removed from the fleet or enrolled anew"
        )
    if isinstance(fault, TimeoutError):
        return "no answer in time"
    return str(fault) or type(fault).__name__


def _text(word: bytes) -> str:
    """A subject: whoever may choose the end of one may choose bytes that are no text."""
    return word.decode(errors="replace")


def _size(word: bytes) -> int:
    """A length in the server's own words. Raises ``ValueError``."""
    if not word.isdigit():
        raise ValueError("no length")
    return int(word)


def _status(header: bytes) -> int:
    """The status in a header, 0 where there is none: a client may write there what it likes."""
    words = header.partition(b"\r\n")[0].split(b" ")
    return int(words[1]) if len(words) > 1 and len(words[1]) == 3 and words[1].isdigit() else 0


def _most_payload_bytes(text: bytes) -> int:
    """What a greeting says; raises ``ValueError`` where it is none."""
    info = json.loads(text)
    most = info.get("max_payload", 1024 * 1024) if isinstance(info, dict) else None
    if not isinstance(most, int):
        raise ValueError("no greeting of a NATS server")
    return most
