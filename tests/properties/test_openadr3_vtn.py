"""Our OpenADR 3 VTN: what a VEN may not see is in none of its answers, and requests that come twice act once."""

import asyncio
import json
from collections.abc import Iterator
from itertools import count
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from gateway.storage.sql_ledger import open_ledger
from tests.openadr3_definition import Definition
from tests.openadr3_lab import Lab

WORDS = tuple(f"word-{letter}" for letter in "abcde")
VENS = ("ven-a", "ven-b")
EVERYTHING = ("/programs", "/events", "/reports", "/subscriptions", "/vens", "/resources")
_numbers = count()
# A counterexample is small already, and to make it smaller takes minutes.
bounded = settings(
    max_examples=8, suppress_health_check=[HealthCheck.too_slow], phases=[Phase.explicit, Phase.reuse, Phase.generate]
)

words = st.frozensets(st.sampled_from(WORDS), max_size=3).map(sorted)
events = st.fixed_dictionaries(
    {
        "program": st.integers(0, 1),
        "targets": words,
        "asked of": st.lists(words, max_size=2),
        "later": st.none() | words,
    }
)
worlds = st.fixed_dictionaries(
    {
        "programs": st.tuples(words, words),
        "events": st.lists(events, max_size=4),
        "vens": st.fixed_dictionaries({who: st.tuples(words, words) for who in VENS}),
        "requested": words,
    }
)


class Labs:
    """Labs over one database, each with a connection of its own."""

    def __init__(self, runner: asyncio.Runner, ledger: Any, definition: Definition) -> None:
        self.runner = runner
        self._ledger = ledger
        self._definition = definition

    def new(self) -> Lab:
        return Lab(ledger=self._ledger, definition=self._definition, connection_id=f"program-{next(_numbers)}")


@pytest.fixture(scope="module")
def labs(tmp_path_factory: pytest.TempPathFactory, shared: Path) -> Iterator[Labs]:
    file = tmp_path_factory.mktemp("record") / "record.db"
    definition = Definition(shared / "data" / "openadr3", "3.1.1")
    with asyncio.Runner() as runner:
        opened = open_ledger(f"sqlite+aiosqlite:///{file}", migrate=True)
        ledger = runner.run(opened.__aenter__())
        yield Labs(runner, ledger, definition)
        runner.run(opened.__aexit__(None, None, None))


async def _build(lab: Lab, world: dict[str, Any]) -> list[dict[str, Any]]:
    for who, (own, of_resource) in world["vens"].items():
        ven = await lab.grant(who, *own)
        await lab.made(
            "bl",
            "/resources",
            objectType="BL_RESOURCE_REQUEST",
            clientID=who,
            resourceName=f"resource of {who}",
            venID=ven["id"],
            targets=of_resource,
        )
        operation = {
            "objects": ["PROGRAM", "EVENT", "VEN", "RESOURCE", "REPORT", "SUBSCRIPTION"],
            "operations": ["CREATE", "UPDATE", "DELETE"],
            "callbackUrl": f"https://{who}.example/hook",
        }
        await lab.made(
            who, "/subscriptions", clientName=f"of {who}", objectOperations=[operation], targets=world["requested"]
        )
    programs = [
        await lab.made("bl", "/programs", programName=f"program {number}", targets=targets)
        for number, targets in enumerate(world["programs"])
    ]
    made = []
    for number, event in enumerate(world["events"]):
        body = {
            "programID": programs[event["program"]]["id"],
            "eventName": f"<event {number}>",
            "targets": event["targets"],
            "reportDescriptors": [{"payloadType": "USAGE", "targets": targets} for targets in event["asked of"]],
        }
        held = await lab.made("bl", "/events", **body)
        if event["later"] is not None:
            await lab.ask("bl", "PUT", f"/events/{held['id']}", body | {"targets": event["later"]})
        made.append(held)
    for who in VENS:
        for held in made:
            report = {"eventID": held["id"], "clientName": f"of {who}", "resources": []}
            await lab.ask(who, "POST", "/reports", report)
    return made


def _targets(event: dict[str, Any]) -> list[str]:
    """The targets that an event has in the end."""
    found: list[str] = event["targets"] if event["later"] is None else event["later"]
    return found


async def _all_answers(lab: Lab, who: str, made: list[dict[str, Any]], requested: list[str]) -> str:
    """What a client is answered to everything it could ask, knowing every id there is."""
    queries: tuple[dict[str, Any], ...] = ({}, {"targets": requested}, {"targets": WORDS}, {"active": "true"})
    questions = [("GET", path, None, query) for path in EVERYTHING for query in queries]
    for path in EVERYTHING:
        _, of_all = await lab.ask("bl", "GET", path)
        questions += [("GET", f"{path}/{item['id']}", None, {}) for item in of_all]
    for held in made:
        report = {"eventID": held["id"], "clientName": "x", "resources": []}
        questions += [("POST", "/reports", report, {}), ("GET", "/reports", None, {"eventID": held["id"]})]
    answers = [await lab.raw(who, method, path, body, **query) for method, path, body, query in questions]
    return "\n".join(answer.body.decode() for answer in answers)


@bounded
@given(world=worlds)
def test_what_a_ven_may_not_see_is_in_none_of_its_answers(labs: Labs, world: dict[str, Any]) -> None:
    async def play() -> None:
        lab = labs.new()
        made = await _build(lab, world)
        await lab.vtn.deliver_due(lab.now)
        for who in VENS:
            granted = set().union(*world["vens"][who])
            other = VENS[1 - VENS.index(who)]
            told = json.dumps([said for url, said in lab.subscribers.told if who in url])
            answers = await _all_answers(lab, who, made, world["requested"])
            for event, (number, _) in zip(world["events"], enumerate(made), strict=True):
                may_see = not _targets(event) or not granted.isdisjoint(_targets(event))
                # What it was told of it may have seen before the event was changed.
                could_see = may_see or not event["targets"] or not granted.isdisjoint(event["targets"])
                assert may_see or f"<event {number}>" not in answers
                assert could_see or f"<event {number}>" not in told
            for word in WORDS:
                # A VEN gets back what it said itself: the targets of its own subscription.
                assert word in granted or word in world["requested"] or word not in answers + told
            for secret in (f"name of {other}", f"resource of {other}", f"of {other}", f"https://{other}"):
                assert secret not in answers + told

    labs.runner.run(play())


@bounded
@given(world=worlds)
def test_a_list_is_what_the_definition_says_word_for_word(labs: Labs, world: dict[str, Any]) -> None:
    async def play() -> None:
        lab = labs.new()
        await _build(lab, world)
        for who in VENS:
            for requested in (set(), set(world["requested"])):
                allowed = requested & set().union(*world["vens"][who])
                expected = [
                    (f"<event {number}>", sorted(allowed & set(_targets(event))))
                    for number, event in enumerate(world["events"])
                    if (allowed & set(_targets(event)) if _targets(event) else not requested)
                ]
                _, listed = await lab.ask(who, "GET", "/events", targets=sorted(requested))
                assert [(item["eventName"], sorted(item.get("targets", []))) for item in listed] == expected

    labs.runner.run(play())


def _posts(lab: Lab, ven_id: str, event_id: str) -> list[tuple[str, str, dict[str, Any]]]:
    """Requests that do not depend on each other."""
    operation = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": "https://ven.example/hook"}
    return [
        ("bl", "/programs", {"programName": "one"}),
        ("bl", "/programs", {"programName": "two", "targets": ["word-a"]}),
        ("ven-b", "/vens", {"objectType": "VEN_VEN_REQUEST", "venName": "b"}),
        ("ven-a", "/resources", {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": ven_id}),
        ("ven-a", "/reports", {"eventID": event_id, "clientName": "a", "resources": []}),
        ("ven-a", "/reports", {"eventID": event_id, "clientName": "a", "resources": [], "reportName": "another"}),
        ("ven-b", "/reports", {"eventID": event_id, "clientName": "a", "resources": []}),
        ("ven-b", "/subscriptions", {"clientName": "b", "objectOperations": [operation]}),
    ]


async def _state(lab: Lab) -> list[list[str]]:
    """Everything there is but for ids, times and order."""
    found = []
    for path in EVERYTHING:
        _, listed = await lab.ask("bl", "GET", path)
        for item in listed:
            for key in ("id", "createdDateTime", "modificationDateTime", "programID", "eventID", "venID"):
                item.pop(key, None)
        found.append(sorted(json.dumps(item, sort_keys=True) for item in listed))
    return found


@bounded
@given(order=st.lists(st.integers(0, 7), max_size=16))
def test_posts_in_any_order_and_any_number_come_to_the_same(labs: Labs, order: list[int]) -> None:
    async def come(numbers: list[int]) -> tuple[list[list[str]], int]:
        lab = labs.new()
        ven = await lab.grant("ven-a")
        program = await lab.made("bl", "/programs", programName="base")
        event = await lab.made("bl", "/events", programID=program["id"])
        requests = _posts(lab, ven["id"], event["id"])
        for number in numbers:
            who, path, body = requests[number]
            status, _ = await lab.ask(who, "POST", path, body)
            assert status in {201, 409}
            lab.later(seconds=1)
        return await _state(lab), len(await lab.vtn.reports(lab.now.replace(year=2000)))

    assert labs.runner.run(come([*order, *range(8)])) == labs.runner.run(come(list(range(8))))


@bounded
@given(changes=st.lists(st.tuples(words, st.integers(1, 3)), min_size=1, max_size=6))
def test_a_put_that_comes_again_changes_nothing_more(labs: Labs, changes: list[tuple[list[str], int]]) -> None:
    async def play() -> None:
        lab = labs.new()
        program = await lab.made("bl", "/programs", programName="one")
        path = f"/programs/{program['id']}"
        before = program
        for targets, times in changes:
            lab.later(seconds=1)
            body = {"programName": "one", "targets": targets}
            answers = [await lab.ask("bl", "PUT", path, body) for _ in range(times)]
            _, found = answers[0]
            assert answers == [(200, found)] * times
            same = targets == before.get("targets", [])
            # Every revision is later than the one before, and what is no change is no revision.
            assert (found["modificationDateTime"] > before["modificationDateTime"]) is not same
            assert {**found, "targets": targets} == {
                **program,
                "targets": targets,
                "modificationDateTime": found["modificationDateTime"],
            }
            before = found
        lab.start()
        assert (await lab.ask("bl", "GET", path))[1] == before

    labs.runner.run(play())
