"""Notifications of our OpenADR 3 VTN over a real Mosquitto, which lets nobody read what is not theirs."""

import asyncio
import json
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import aiomqtt
import pytest

from gateway.storage.sql_ledger import open_ledger
from protocols.errors import Unreachable
from protocols.openadr3.model_access import ClientCertificate, Mqtt
from protocols.openadr3.vtn_mqtt import MqttPublisher
from tests.mosquitto import HOST, Mosquitto
from tests.openadr3_definition import Definition
from tests.openadr3_lab import Lab


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    found = Mosquitto(tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.end()


@pytest.fixture
async def lab(broker: Mosquitto, tmp_path: Path, shared: Path) -> AsyncIterator[Lab]:
    publisher = MqttPublisher(host=HOST, port=broker.port, tls=broker.context("gridgate"), timeout_s=5.0)
    definition = Definition(shared / "data" / "openadr3", "3.1.1")
    async with open_ledger(f"sqlite+aiosqlite:///{tmp_path}/record.db", migrate=True) as ledger:
        yield Lab(ledger=ledger, definition=definition, more={"publisher": publisher, "broker_for": _broker_for})
        await publisher.close()


def _broker_for(client_id: str) -> Mqtt:
    shown = ClientCertificate(ca_certificate="CA", certificate=f"of {client_id}", key="KEY")
    return Mqtt(uris=("mqtts://broker.example:8883",), authentication=shown)


@asynccontextmanager
async def listening(broker: Mosquitto, name: str, *topics: str) -> AsyncIterator[asyncio.Queue[tuple[str, Any]]]:
    """Topics and messages as a client of the broker gets them."""
    heard: asyncio.Queue[tuple[str, Any]] = asyncio.Queue()
    async with aiomqtt.Client(HOST, broker.port, tls_context=broker.context(name), timeout=5.0) as client:

        async def listen() -> None:
            async for message in client.messages:
                heard.put_nowait((str(message.topic), json.loads(bytes(message.payload))))

        for topic in topics:
            await client.subscribe(topic, qos=1)
        task = asyncio.create_task(listen())
        try:
            yield heard
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)


async def _heard(queue: asyncio.Queue[tuple[str, Any]], count: int) -> list[tuple[str, Any]]:
    return [await asyncio.wait_for(queue.get(), 5) for _ in range(count)]


async def _topics(lab: Lab, who: str, path: str) -> dict[str, str]:
    status, found = await lab.ask(who, "GET", f"/notifiers/mqtt/topics/{path}")
    assert status == 200, found
    lab.definition.check("notifierTopicsResponse", found)
    topics: dict[str, str] = found["topics"]
    return topics


async def test_each_client_hears_what_it_may_and_the_broker_keeps_it_from_the_rest(lab: Lab, broker: Mosquitto) -> None:
    _, notifiers = await lab.ask("ven-a", "GET", "/notifiers")
    lab.definition.check("notifiersResponse", notifiers)
    assert notifiers["MQTT"]["authentication"]["clientCert"] == "of ven-a"

    vens = {who: await lab.grant(who, *targets) for who, targets in (("ven-a", ["north"]), ("ven-b", ["south"]))}
    # What the rules do not let us publish yet the broker takes and drops, as MQTT 3.1.1 has it.
    assert await lab.vtn.deliver_due(lab.now) is None
    broker.allow(await lab.vtn.mosquitto_acl("gridgate"))
    own = {who: await _topics(lab, who, f"vens/{vens[who]['id']}/events") for who in vens}
    everything = await _topics(lab, "bl", "events")
    program = await lab.made("bl", "/programs", programName="peak")
    await lab.vtn.deliver_due(lab.now)

    async with (
        listening(broker, "bl", everything["ALL"]) as bl,
        # The second VEN tries to hear everything, and the first one's too.
        listening(broker, "ven-b", own["ven-b"]["ALL"], own["ven-a"]["ALL"], everything["ALL"], "#") as b,
        listening(broker, "ven-a", own["ven-a"]["CREATE"], own["ven-a"]["DELETE"]) as a,
    ):
        body = {"programID": program["id"], "eventName": "for a", "targets": ["north", "elsewhere"]}
        event = await lab.made("bl", "/events", **body)
        await lab.ask("bl", "PUT", f"/events/{event['id']}", {**body, "targets": ["south"]})
        lab.later(seconds=60)
        await lab.vtn.deliver_due(lab.now)
        heard = await _heard(a, 2)
        assert [topic for topic, _ in heard] == [own["ven-a"]["CREATE"], own["ven-a"]["DELETE"]]
        assert [said["object"]["targets"] for _, said in heard] == [["north"], ["north"]]
        heard = await _heard(b, 1)
        assert [(topic, said["operation"]) for topic, said in heard] == [(own["ven-b"]["CREATE"], "CREATE")]
        heard = await _heard(bl, 2)
        assert [(topic, said["object"]["targets"]) for topic, said in heard] == [
            (everything["CREATE"], ["north", "elsewhere"]),
            (everything["UPDATE"], ["south"]),
        ]
        for _, said in heard:
            lab.definition.check("notification", said)
        await lab.made("bl", "/events", programID=program["id"], eventName="for all")
        await lab.vtn.deliver_due(lab.now)
        for queue in (a, b, bl):
            ((_, said),) = await _heard(queue, 1)
            assert said["object"]["eventName"] == "for all"
        assert a.empty()
        assert b.empty()


async def test_a_broker_that_was_away_gets_everything_in_order(lab: Lab, broker: Mosquitto) -> None:
    broker.allow(await lab.vtn.mosquitto_acl("gridgate"))
    broker.end()
    for name in ("one", "two", "three"):
        await lab.made("bl", "/programs", programName=name)
    due_at = await lab.vtn.deliver_due(lab.now)
    assert due_at is not None
    lab.start()
    broker.start()
    async with listening(broker, "bl", (await _topics(lab, "bl", "programs"))["ALL"]) as bl:
        assert await lab.vtn.deliver_due(due_at) is None
        assert [said["object"]["programName"] for _, said in await _heard(bl, 3)] == ["one", "two", "three"]
        # And a connection that breaks between two messages is opened anew.
        broker.end()
        broker.start()
        await lab.made("bl", "/programs", programName="four")
        while due_at is not None:
            due_at = await lab.vtn.deliver_due(due_at)


async def test_a_broker_that_does_not_know_us_is_no_broker(broker: Mosquitto, tmp_path: Path) -> None:
    nobody = ssl.create_default_context(cafile=tmp_path / "ca.pem")
    publisher = MqttPublisher(host=HOST, port=broker.port, tls=nobody, timeout_s=2.0)
    with pytest.raises(Unreachable, match="MQTT broker"):
        await publisher.publish("programs/create", b"{}")
    await publisher.close()
