"""Objects over the REST API: made, read, changed and deleted, and what stands in the way."""

from typing import Any

import pytest

HOUR = {"start": "2030-01-31T13:00:00Z", "duration": "PT1H"}
LEVEL = [{"id": 0, "payloads": [{"type": "SIMPLE", "values": [2]}]}]
USAGE = [{"resourceName": "site", "intervals": [{"id": 0, "payloads": [{"type": "USAGE", "values": [1.5]}]}]}]


async def test_a_program_lives_its_life(lab: Any) -> None:
    made = await lab.made("bl", "/programs", programName="peak", id="mine", createdDateTime="2001-01-01T00:00:00Z")
    assert made["objectType"] == "PROGRAM"
    assert made["id"] != "mine"
    assert made["createdDateTime"] == made["modificationDateTime"] == "2030-01-31T12:00:00Z"
    path = f"/programs/{made['id']}"
    assert await lab.ask("bl", "GET", path) == (200, made)

    lab.later(seconds=5)
    status, changed = await lab.ask("bl", "PUT", path, {"programName": "off peak", "id": "other"})
    assert status == 200
    assert changed == {**made, "programName": "off peak", "modificationDateTime": "2030-01-31T12:00:05Z"}

    assert await lab.ask("bl", "DELETE", path) == (200, changed)
    assert (await lab.ask("bl", "GET", path))[0] == 404
    assert (await lab.ask("bl", "PUT", path, {"programName": "again"}))[0] == 404
    assert (await lab.ask("bl", "DELETE", path))[0] == 404


async def test_everything_is_still_there_after_a_restart(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="peak")
    event = await lab.made("bl", "/events", programID=program["id"], intervalPeriod=HOUR, intervals=LEVEL)
    ven = await lab.grant("ven-a", "here")
    report = await lab.made("ven-a", "/reports", eventID=event["id"], clientName="a", resources=USAGE)
    lab.start()
    assert await lab.ask("bl", "GET", "/programs") == (200, [program])
    assert await lab.ask("bl", "GET", "/events") == (200, [event])
    assert await lab.ask("ven-a", "GET", "/vens") == (200, [ven])
    assert await lab.ask("ven-a", "GET", "/reports") == (200, [report])
    assert (await lab.ask("bl", "POST", "/programs", {"programName": "peak"}))[0] == 409


async def test_names_are_taken_once(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="peak")
    other = await lab.made("bl", "/programs", programName="other")
    assert (await lab.ask("bl", "POST", "/programs", {"programName": "peak"}))[0] == 409
    assert (await lab.ask("bl", "PUT", f"/programs/{other['id']}", {"programName": "peak"}))[0] == 409
    assert (await lab.ask("bl", "PUT", f"/programs/{program['id']}", {"programName": "peak"}))[0] == 200

    a, b = await lab.grant("ven-a"), await lab.grant("ven-b")
    twice = {"objectType": "VEN_VEN_REQUEST", "venName": a["venName"]}
    assert (await lab.ask("ven-b", "POST", "/vens", twice))[0] == 409
    for ven, who in ((a, "ven-a"), (b, "ven-b")):
        body = {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "meter", "venID": ven["id"]}
        assert (await lab.ask(who, "POST", "/resources", body))[0] == 201
        assert (await lab.ask(who, "POST", "/resources", body))[0] == 409
    assert (await lab.ask("bl", "DELETE", f"/programs/{program['id']}"))[0] == 200
    await lab.made("bl", "/programs", programName="peak")


@pytest.mark.parametrize(
    ("who", "path", "body"),
    [
        ("bl", "/events", {"programID": "nowhere"}),
        ("ven-a", "/reports", {"eventID": "nowhere", "clientName": "a", "resources": []}),
        ("ven-a", "/subscriptions", {"programID": "nowhere", "clientName": "a", "objectOperations": []}),
        ("ven-a", "/resources", {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": "nowhere"}),
        ("bl", "/resources", {"objectType": "BL_RESOURCE_REQUEST", "clientID": "c", "resourceName": "r", "venID": "x"}),
    ],
)
async def test_what_an_object_speaks_of_has_to_be_there(lab: Any, who: str, path: str, body: Any) -> None:
    status, problem = await lab.ask(who, "POST", path, body)
    assert status == 409
    assert "there is no" in problem["detail"]


async def test_what_belongs_to_the_deleted_goes_with_it(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="peak")
    event = await lab.made("bl", "/events", programID=program["id"], eventName="e")
    await lab.made("ven-a", "/reports", eventID=event["id"], clientName="a", resources=USAGE)
    await lab.made("ven-a", "/subscriptions", programID=program["id"], clientName="a", objectOperations=[])
    ven = await lab.grant("ven-a")
    await lab.made("ven-a", "/resources", objectType="VEN_RESOURCE_REQUEST", resourceName="r", venID=ven["id"])
    assert (await lab.ask("bl", "DELETE", f"/programs/{program['id']}"))[0] == 200
    assert (await lab.ask("bl", "DELETE", f"/vens/{ven['id']}"))[0] == 200
    for path in ("/programs", "/events", "/reports", "/subscriptions", "/vens", "/resources"):
        assert await lab.ask("bl", "GET", path) == (200, [])
    lab.start()
    for path in ("/programs", "/events", "/reports", "/subscriptions", "/vens", "/resources"):
        assert await lab.ask("bl", "GET", path) == (200, [])


@pytest.mark.parametrize(
    ("path", "body", "says"),
    [
        ("/programs", {}, "lacks programName"),
        ("/programs", b"{", "not JSON"),
        ("/programs", [], "expected an object"),
        ("/programs", {"programName": ""}, "programName"),
        ("/programs", {"programName": "x" * 129}, "programName"),
        ("/programs", {"programName": "a", "targets": ["x", ""]}, "targets[1]"),
        ("/events", {"programID": "p", "priority": -1}, "priority"),
        ("/vens", {"objectType": "VEN_VEN_REQUEST", "venName": "v"}, "BL_VEN_REQUEST"),
        ("/vens", {"venName": "v"}, "objectType"),
        ("/resources", {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": "v"}, "BL_RESOURCE"),
    ],
)
async def test_a_bad_body_is_refused_by_name(lab: Any, path: str, body: Any, says: str) -> None:
    status, problem = await lab.ask("bl", "POST", path, body)
    assert (status, problem["status"]) == (400, 400)
    assert says in problem["detail"]
    assert await lab.ask("bl", "GET", path) == (200, [])


async def test_what_grows_past_what_we_read_is_not_kept(lab: Any) -> None:
    values = b",".join([b"1e9"] * 200_000)
    body = b'{"programName":"big","attributes":[{"type":"X","values":[' + values + b"]}]}"
    assert len(body) < 1 << 20
    assert (await lab.ask("bl", "POST", "/programs", body))[0] == 413
    assert await lab.ask("bl", "GET", "/programs") == (200, [])


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("GET", "/", 404),
        ("GET", "/nothing", 404),
        ("GET", "/programs/a/b", 404),
        ("PATCH", "/programs", 405),
        ("PUT", "/programs", 405),
        ("POST", "/programs/x", 405),
        ("DELETE", "/events", 405),
        ("POST", "/auth/server", 405),
        ("GET", "/auth/token", 405),
        ("POST", "/notifiers", 405),
    ],
)
async def test_there_is_nothing_else(lab: Any, method: str, path: str, status: int) -> None:
    assert (await lab.ask("bl", method, path))[0] == status


async def test_a_retried_post_of_a_report_or_a_subscription_is_the_same_one(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="peak")
    event = await lab.made("bl", "/events", programID=program["id"])
    report = {"eventID": event["id"], "clientName": "a", "resources": USAGE}
    first = await lab.made("ven-a", "/reports", **report)
    lab.later(seconds=9)
    assert await lab.made("ven-a", "/reports", **report) == first
    others = await lab.made("ven-b", "/reports", **report)
    assert others["id"] != first["id"]
    other = await lab.made("ven-a", "/reports", **{**report, "reportName": "another"})
    assert other["id"] != first["id"]
    subscription = {"clientName": "a", "objectOperations": []}
    assert await lab.made("ven-a", "/subscriptions", **subscription) == await lab.made(
        "ven-a", "/subscriptions", **subscription
    )


async def test_an_event_takes_its_reports_to_another_program(lab: Any) -> None:
    one, two = [await lab.made("bl", "/programs", programName=name) for name in ("one", "two")]
    event = await lab.made("bl", "/events", programID=one["id"])
    report = await lab.made("ven-a", "/reports", eventID=event["id"], clientName="a", resources=USAGE)
    assert (await lab.ask("bl", "PUT", f"/events/{event['id']}", {"programID": two["id"]}))[0] == 200
    assert await lab.ask("bl", "GET", "/reports", programID=one["id"]) == (200, [])
    assert await lab.ask("bl", "GET", "/reports", programID=two["id"]) == (200, [report])
    assert (await lab.ask("bl", "DELETE", f"/programs/{one['id']}"))[0] == 200
    assert await lab.ask("bl", "GET", "/reports") == (200, [report])


async def test_a_ven_cannot_fill_our_memory(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("protocols.openadr3.vtn_objects.MOST_OF_ONE", 3)
    ven = await lab.grant("ven-a")
    body = {"objectType": "VEN_RESOURCE_REQUEST", "venID": ven["id"]}
    for number in range(3):
        await lab.made("ven-a", "/resources", **body, resourceName=str(number))
    assert (await lab.ask("ven-a", "POST", "/resources", {**body, "resourceName": "more"}))[0] == 409
    large = {**body, "resourceName": "0", "attributes": [{"type": "X", "values": ["x" * (1 << 16)]}]}
    _, (first, *_) = await lab.ask("ven-a", "GET", "/resources")
    assert (await lab.ask("ven-a", "PUT", f"/resources/{first['id']}", large))[0] == 413
    assert (await lab.ask("ven-a", "GET", f"/resources/{first['id']}")) == (200, first)
