"""The record away for a while: nothing is half done, nothing is lost, and what comes twice is known by its id."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from gateway.ledger import LedgerUnavailable
from protocols.object_store import Asked, ObjectStore, StoredObject
from protocols.openadr3.vtn_answers import Request
from protocols.openadr3.vtn_tokens import MOST_FAILURES
from tests.openadr3_lab import Lab


class Faulty(ObjectStore):
    """A store that cannot be written while ``away`` is set, and is slow while there is a ``gate``."""

    def __init__(self, store: ObjectStore) -> None:
        self.store = store
        self.away = False
        self.gate: asyncio.Event | None = None

    async def objects(self, connection_id: str, asked: Asked) -> tuple[StoredObject, ...]:
        return await self.store.objects(connection_id, asked)

    async def change(
        self, connection_id: str, *, kept: Sequence[StoredObject] = (), gone: Sequence[tuple[str, str]] = ()
    ) -> None:
        if self.gate is not None:
            await self.gate.wait()
        if self.away:
            raise LedgerUnavailable("away")
        await self.store.change(connection_id, kept=kept, gone=gone)


@pytest.fixture
def store(lab: Lab) -> Faulty:
    found = Faulty(lab.vtn._objects._store)
    lab.vtn._objects._store = lab.vtn._telling._store = lab.vtn._telling._outbox._store = found
    return found


async def test_what_cannot_be_kept_has_not_happened(lab: Any, store: Faulty) -> None:
    program = await lab.made("bl", "/programs", programName="one")
    operation = {"objects": ["PROGRAM"], "operations": ["CREATE", "UPDATE", "DELETE"], "callbackUrl": "https://b.x/all"}
    await lab.made("bl", "/subscriptions", clientName="c", objectOperations=[operation])
    store.away = True
    for method, path, body in (
        ("POST", "/programs", {"programName": "two"}),
        ("PUT", f"/programs/{program['id']}", {"programName": "changed"}),
        ("DELETE", f"/programs/{program['id']}", None),
    ):
        with pytest.raises(LedgerUnavailable):
            await lab.ask("bl", method, path, body)
    assert await lab.ask("bl", "GET", "/programs") == (200, [program])
    assert await lab.vtn.deliver_due(lab.now) is None
    store.away = False
    await lab.made("bl", "/programs", programName="two")
    assert (await lab.ask("bl", "PUT", f"/programs/{program['id']}", {"programName": "changed"}))[0] == 200
    await lab.vtn.deliver_due(lab.now)
    assert lab.subscribers.short == [("all", "CREATE", "PROGRAM"), ("all", "UPDATE", "PROGRAM")]


async def test_what_was_delivered_and_not_struck_off_comes_again_under_its_id(lab: Any, store: Faulty) -> None:
    operation = {"objects": ["PROGRAM"], "operations": ["CREATE"], "callbackUrl": "https://b.x/all"}
    await lab.made("bl", "/subscriptions", clientName="c", objectOperations=[operation])
    await lab.made("bl", "/programs", programName="one")
    store.away = True
    with pytest.raises(LedgerUnavailable):
        await lab.vtn.deliver_due(lab.now)
    lab.start()
    await lab.vtn.deliver_due(lab.now)
    first, second = lab.subscribers.ids
    assert first == second
    assert [said["object"]["programName"] for _, said in lab.subscribers.told] == ["one", "one"]


async def test_two_of_one_name_at_once_are_one(lab: Any, store: Faulty) -> None:
    await lab.token("bl")
    store.gate = asyncio.Event()
    posts = [asyncio.create_task(lab.ask("bl", "POST", "/programs", {"programName": "same"})) for _ in range(3)]
    await asyncio.sleep(0)
    store.gate.set()
    assert sorted(status for status, _ in await asyncio.gather(*posts)) == [201, 409, 409]


async def test_a_vens_change_cannot_bring_back_what_was_taken_from_it_meanwhile(lab: Any, store: Faulty) -> None:
    ven = await lab.grant("ven-a", "north", "vip")
    await lab.token("ven-a")
    store.gate = asyncio.Event()
    less = {"objectType": "BL_VEN_REQUEST", "clientID": "ven-a", "venName": "v", "targets": ["north"]}
    own = {"objectType": "VEN_VEN_REQUEST", "venName": "renamed"}
    path = f"/vens/{ven['id']}"
    by_logic = asyncio.create_task(lab.ask("bl", "PUT", path, less))
    await asyncio.sleep(0)
    by_ven = asyncio.create_task(lab.ask("ven-a", "PUT", path, own))
    await asyncio.sleep(0)
    store.gate.set()
    await asyncio.gather(by_logic, by_ven)
    _, held = await lab.ask("bl", "GET", path)
    assert (held["venName"], held["targets"]) == ("renamed", ["north"])


async def test_guesses_at_once_are_counted_all(lab: Any) -> None:
    body = b"grant_type=client_credentials&client_id=ven-a&client_secret=guess"
    asked = Request(method="POST", path="/auth/token", body=body, peer="192.0.2.9")
    answers = await asyncio.gather(*(lab.vtn.respond(asked) for _ in range(40)))
    statuses = [answer.status for answer in answers]
    assert (statuses.count(401), statuses.count(429)) == (MOST_FAILURES, 40 - MOST_FAILURES)
    assert (await lab.vtn.respond(asked)).status == 429
