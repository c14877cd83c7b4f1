"""The VEN at an MQTT broker that speaks only 3.1.1, byte by byte; a real one is among the interop tests."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from protocols.errors import Unreachable
from protocols.openadr3.access import NoAccess
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.ven_mqtt import MqttTerms
from tests.openadr3_server import said
from tests.unit.protocols.openadr3.joined import Pair

CONNECT, SUBSCRIBE, DISCONNECT = 1, 8, 14
TOPICS = {"CREATE": "events/create", "UPDATE": "events/update", "DELETE": "events/delete"}


class OldBroker:
    """Refuses every version but 3.1.1 (OASIS 3.1.1, 3.1.2.2); tells who has subscribed what a test has it tell."""

    def __init__(self) -> None:
        self.versions: list[int] = []
        self.topics: list[bytes] = []
        self.subscriber: asyncio.StreamWriter | None = None

    def tell(self) -> None:
        assert self.subscriber is not None
        self.subscriber.write(bytes([0x30, 17, 0, 13]) + b"events/create{}")

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while True:
                kind, body = await self._packet(reader)
                if kind == CONNECT:
                    version = body[6]
                    self.versions.append(version)
                    writer.write(bytes([0x20, 2, 0, 0 if version == 4 else 1]))
                    if version != 4:
                        break
                elif kind == SUBSCRIBE:
                    self.topics.append(body[4:-1])
                    writer.write(bytes([0x90, 3]) + body[:2] + bytes([1]))
                    self.subscriber = writer
                elif kind == DISCONNECT:
                    break
        except asyncio.IncompleteReadError:
            pass
        finally:
            writer.close()

    async def _packet(self, reader: asyncio.StreamReader) -> tuple[int, bytes]:
        head = await reader.readexactly(2)
        return head[0] >> 4, await reader.readexactly(head[1])


@asynccontextmanager
async def old_broker() -> AsyncIterator[tuple[OldBroker, int]]:
    broker = OldBroker()
    async with await asyncio.start_server(broker.serve, "127.0.0.1", 0) as server:
        yield broker, server.sockets[0].getsockname()[1]


def told_of(pair: Pair, port: int) -> None:
    mqtt = {"URIS": ["mqtts://127.0.0.1:x", f"mqtt://127.0.0.1:{port}"], "serialization": "JSON"}
    found = {"WEBHOOK": True, "MQTT": mqtt | {"authentication": {"method": "ANONYMOUS"}}}

    def before(request: Request) -> Response | None:
        if request.path == "/notifiers":
            return said(200, found)
        return said(200, {"topics": TOPICS}) if request.path.endswith("/events") and "mqtt" in request.path else None

    pair.vtn.before = before
    pair.more["mqtt"] = MqttTerms(access=NoAccess(), plain_allowed=True)
    pair.new_ven()


async def test_a_broker_of_3_1_1_is_spoken_to_in_its_version(newer: Pair) -> None:
    async with old_broker() as (broker, port):
        told_of(newer, port)
        await newer.poll()
        task = asyncio.create_task(newer.ven.listen(newer.now))
        await asyncio.wait_for(newer.ven.woken.wait(), 10)
        newer.ven.woken.clear()
        broker.tell()
        await asyncio.wait_for(newer.ven.woken.wait(), 10)
        assert broker.versions == [5, 4]
        assert set(broker.topics) == {topic.encode() for topic in TOPICS.values()}
        task.cancel()
        await asyncio.wait({task})


async def test_nobody_at_the_brokers_address_is_unreachable(newer: Pair) -> None:
    told_of(newer, 1)
    await newer.poll()
    with pytest.raises(Unreachable, match="MQTT broker 127"):
        await asyncio.wait_for(newer.ven.listen(newer.now), 10)
