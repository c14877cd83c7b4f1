"""However the network cuts the server's words into pieces, every message comes once, whole and in order."""

import asyncio
from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware.errors import AgentUnreachable
from hardware.nats_client import NO_RESPONDERS, Message, NatsClient

GREETING = b'INFO {"max_payload":1024}\r\n'
SUBJECT = "a.b"


class Sink(asyncio.Transport):
    """Takes what is written."""

    def __init__(self) -> None:
        super().__init__()
        self.written = b""
        self.aborted = False

    def set_write_buffer_limits(self, high: int | None = None, low: int | None = None) -> None:
        return

    def write(self, data: bytes) -> None:
        self.written += data

    def abort(self) -> None:
        self.aborted = True


MESSAGES = st.lists(
    st.builds(
        Message,
        subject=st.sampled_from(["a.b", "a.c"]),
        reply=st.sampled_from(["", "r.1"]),
        data=st.binary(max_size=20) | st.just(b"MSG a 1 2\r\nPING\r\n"),
        status=st.sampled_from([0, 0, NO_RESPONDERS]),
    ),
    max_size=6,
)


def said(message: Message) -> bytes:
    place = f"{message.subject} 1" + (f" {message.reply}" if message.reply else "")
    if not message.status:
        return f"MSG {place} {len(message.data)}\r\n".encode() + message.data + b"\r\n"
    head = f"NATS/1.0 {message.status}\r\n\r\n".encode()
    return f"HMSG {place} {len(head)} {len(head) + len(message.data)}\r\n".encode() + head + message.data + b"\r\n"


def hear(pieces: list[bytes]) -> tuple[list[Message], NatsClient, Sink]:
    """What a client of one subject makes of these pieces."""

    async def run() -> tuple[list[Message], NatsClient, Sink]:
        heard: list[Message] = []
        client = NatsClient(name="test", handlers={SUBJECT: heard.append}, ping_s=60.0, on_end=lambda: None)
        sink = Sink()
        client.connection_made(sink)
        for piece in pieces:
            client.data_received(piece)
        await asyncio.sleep(0)
        if client._next_ping is not None:
            client._next_ping.cancel()
        return heard, client, sink

    return asyncio.run(run())


@settings(max_examples=100, deadline=None)
@given(messages=MESSAGES, data=st.data())
def test_every_message_comes_once_however_it_is_cut(messages, data):
    whole = GREETING + b"PONG\r\n" + b"".join(said(one) + b"PING\r\n" for one in messages)
    cuts = sorted(data.draw(st.lists(st.integers(0, len(whole)), max_size=12)))
    edges = [0, *cuts, len(whole)]
    heard, client, sink = hear([whole[a:b] for a, b in pairwise(edges)])
    assert heard == messages
    assert client.ready.done()
    assert client.end is None
    assert sink.written.count(b"PONG\r\n") == len(messages)
    assert sink.written.count(b"SUB a.b 1\r\n") == 1


@settings(max_examples=200, deadline=None)
@given(noise=st.binary(max_size=60), data=st.data())
def test_noise_ends_the_connection_or_waits_for_more_and_never_raises(noise, data):
    begin = data.draw(st.sampled_from([b"", GREETING, b"MSG ", b"HMSG a 1 ", b"INFO ", b"-ERR "]))
    cut = data.draw(st.integers(0, len(noise)))
    _, client, sink = hear([begin + noise[:cut], noise[cut:]])
    assert (client.end is not None) == sink.aborted


def test_one_message():
    assert hear([GREETING, b"PONG\r\nMSG a.b 1 r.1 2\r\nhi\r\n"])[0] == [Message("a.b", "r.1", b"hi")]


def test_nobody_listens():
    heard, _, _ = hear([GREETING + b"PONG\r\n" + b"HMSG a.b 1 16 16\r\nNATS/1.0 503\r\n\r\n\r\n"])
    assert heard == [Message("a.b", "", b"", NO_RESPONDERS)]


@pytest.mark.parametrize(
    "line",
    [
        b"MSG a.b 1 -10",
        b"MSG a.b 1 9999999999",
        b"MSG a.b 1 x",
        b"MSG a.b 2 5",
        b"MSG 5",
        b"HMSG a.b 1 -1 5",
        b"HMSG a.b 1 9 5",
        b"NEWS",
        b"PONG",
        b"INFO []",
        b'INFO {"max_payload":"x"}',
        b"x" * 70_000,
    ],
)
def test_words_that_are_none_of_nats_end_the_connection(line):
    greeting = b"" if line == b"PONG" else GREETING
    heard, client, sink = hear([greeting + line + b"\r\n12345\r\n"])
    assert heard == []
    assert client.end == "what answers there is no NATS server"
    assert sink.aborted


def test_what_another_client_wrote_ends_nothing():
    heads = [b"NATS/1.0 5x3\r\n\r\n", b"\xff\xfe", b"", b"NATS/1.0\r\n"]
    headed = b"".join(b"HMSG a.b 1 %d %d\r\n%s\r\n" % (len(head), len(head), head) for head in heads)
    heard, client, _ = hear([GREETING + b"PONG\r\nMSG a.\xff\x0b\x0c 1 r.\xff\x0b 2\r\nhi\r\n" + headed])
    assert [one.data for one in heard] == [b"hi", b"", b"", b"", b""]
    assert {one.status for one in heard} == {0}
    assert client.end is None


def test_line_without_an_end():
    _, client, _ = hear([GREETING, b"x" * 70_000])
    assert client.end is not None


def test_bug_of_a_handler_is_not_hidden():
    async def run() -> None:
        client = NatsClient(name="test", handlers={SUBJECT: lambda _: int("x")}, ping_s=60.0, on_end=lambda: None)
        client.connection_made(Sink())
        client.data_received(GREETING + b"MSG a.b 1 0\r\n\r\n")

    with pytest.raises(ValueError, match="invalid literal"):
        asyncio.run(run())


def test_payload_over_the_servers_bound_is_not_sent():
    _, client, sink = hear([GREETING + b"PONG\r\n"])
    before = sink.written
    with pytest.raises(AgentUnreachable, match="up to 1024 bytes"):
        client.publish("a.b", b"x" * 1025)
    assert sink.written == before
