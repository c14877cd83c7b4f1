"""Our VTN tells our VEN by a real Mosquitto, at which the VEN is known by the certificate that the VTN gave it."""

import asyncio
from collections.abc import Iterator
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.storage.sql_ledger import open_ledger
from protocols.grid import EventStatus
from protocols.grid_report import ReportOffer
from protocols.openadr3 import vtn_answers
from protocols.openadr3.access import NoAccess
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.model_access import ClientCertificate, Mqtt
from protocols.openadr3.ven import LOOK_AFTER_S, Ven
from protocols.openadr3.ven_mqtt import MqttTerms
from protocols.openadr3.vtn_mqtt import MqttPublisher
from tests.integration.test_openadr3_pair import peak
from tests.mosquitto import HOST, Mosquitto
from tests.openadr3_definition import Definition
from tests.openadr3_lab import Lab
from tests.unit.protocols.openadr2b.conftest import MemoryStore


@pytest.fixture
def broker(tmp_path: Path) -> Iterator[Mosquitto]:
    found = Mosquitto(tmp_path)
    try:
        found.start()
        yield found
    finally:
        found.end()


async def test_a_published_event_wakes_the_ven_that_it_is_for(broker: Mosquitto, tmp_path: Path, shared: Path) -> None:
    def broker_for(client_id: str) -> Mqtt:
        broker.context(client_id)
        pem = (tmp_path / f"{client_id}.pem").read_text()
        begins = pem.index("-----BEGIN PRIVATE KEY")
        shown = ClientCertificate(
            ca_certificate=(tmp_path / "ca.pem").read_text(), certificate=pem[:begins], key=pem[begins:]
        )
        return Mqtt(uris=(f"mqtts://{HOST}:{broker.port}",), authentication=shown)

    publisher = MqttPublisher(host=HOST, port=broker.port, tls=broker.context("gridgate"), timeout_s=5.0)
    definition = Definition(shared / "data" / "openadr3", "3.1.1")
    async with open_ledger(f"sqlite+aiosqlite:///{tmp_path}/record.db", migrate=True) as ledger:
        lab = Lab(ledger=ledger, definition=definition, more={"publisher": publisher, "broker_for": broker_for})

        async def exchange(request: Request, _: datetime) -> Response:
            answer = await lab.vtn.respond(
                vtn_answers.Request(
                    method=request.method,
                    path=request.path,
                    query=request.query,
                    authorization=f"Bearer {await lab.token('ven-a')}",
                    content_type=request.content_type,
                    body=request.body or b"",
                )
            )
            return Response(status=answer.status, body=answer.body)

        ven = Ven(
            connection_id="utility",
            ven_name="gateway",
            exchange=exchange,
            store=MemoryStore(),
            offers=(ReportOffer(resource_id="site-1", min_sampling_s=1, max_sampling_s=3600),),
            mqtt=MqttTerms(access=NoAccess(), client_id="ven-a"),
        )
        await ven.receive(lab.now)
        broker.allow(await lab.vtn.mosquitto_acl("gridgate"))
        await lab.vtn.deliver_due(lab.now)
        task = asyncio.create_task(ven.listen(lab.now))
        try:
            await asyncio.wait_for(ven.woken.wait(), 10)
            event = peak(lab.now)
            for told in (event, None):
                lab.now += timedelta(seconds=LOOK_AFTER_S)
                await ven.receive(lab.now)
                assert not ven.woken.is_set()
                await (lab.vtn.cancel(event.event_id) if told is None else lab.vtn.publish(told))
                await lab.vtn.deliver_due(lab.now)
                await asyncio.wait_for(ven.woken.wait(), 10)
                batch = await ven.receive(lab.now)
                assert batch is not None
                statuses = [found.status for found in batch.events]
                assert statuses == [EventStatus.CANCELLED if told is None else EventStatus.FAR]
        finally:
            task.cancel()
            await asyncio.wait({task})
            await publisher.close()
