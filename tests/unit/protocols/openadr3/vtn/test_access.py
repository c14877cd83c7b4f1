"""Who may do what, and who sees what (Definition: Security; Object Privacy)."""

from typing import Any

import pytest

BODIES = {
    "/programs": {"programName": "p"},
    "/events": {"programID": "p"},
    "/reports": {"eventID": "e", "clientName": "c", "resources": []},
    "/subscriptions": {"clientName": "c", "objectOperations": []},
    "/vens": {"objectType": "VEN_VEN_REQUEST", "venName": "v"},
    "/resources": {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": "v"},
}
WRITES_OF_VENS = {"/reports", "/subscriptions", "/vens", "/resources"}


@pytest.mark.parametrize("path", BODIES)
async def test_each_write_needs_its_scope(lab: Any, path: str) -> None:
    for who, allowed in (("ven-a", path in WRITES_OF_VENS), ("bl", path != "/reports"), ("reader", False)):
        for method, at in (("POST", path), ("PUT", f"{path}/x"), ("DELETE", f"{path}/x")):
            status, _ = await lab.ask(who, method, at, BODIES[path])
            assert (status != 403) == allowed, (who, method, at)


async def test_each_read_needs_a_scope_and_a_ven_never_reads_all(lab: Any) -> None:
    for path in BODIES:
        # This client was declared with read_all, which no VEN may have.
        allowed = path in {"/programs", "/events"}
        assert (await lab.ask("reader", "GET", path))[0] == (200 if allowed else 403)
        assert (await lab.ask("reader", "GET", f"{path}/x"))[0] == (404 if allowed else 403)
        assert (await lab.ask("ven-a", "GET", path))[0] == 200


@pytest.mark.parametrize("path", [*BODIES, "/notifiers"])
async def test_nothing_without_a_token(lab: Any, path: str) -> None:
    answer = await lab.raw(None, "GET", path)
    assert answer.status == 401
    assert answer.headers["WWW-Authenticate"].startswith("Bearer")


async def test_the_way_to_a_token_is_open_to_all(lab: Any) -> None:
    status, found = await lab.ask(None, "GET", "/auth/server")
    assert (status, found) == (200, {"tokenURL": "https://vtn.example:8443/openadr3/3.1/auth/token"})
    lab.definition.check("authServerInfo", found)


async def test_a_ven_says_which_notifiers_there_are(lab: Any) -> None:
    status, found = await lab.ask("ven-a", "GET", "/notifiers")
    assert (status, found) == (200, {"WEBHOOK": True})
    lab.definition.check("notifiersResponse", found)


async def test_vens_see_only_their_own_and_change_no_others(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="peak")
    event = await lab.made("bl", "/events", programID=program["id"])
    made = {}
    for who in ("ven-a", "ven-b"):
        ven = await lab.made(who, "/vens", objectType="VEN_VEN_REQUEST", venName=who)
        assert (ven["clientID"], "targets" in ven) == (who, False)
        made[who] = {
            "/vens": ven,
            "/resources": await lab.made(
                who, "/resources", objectType="VEN_RESOURCE_REQUEST", resourceName=who, venID=ven["id"]
            ),
            "/reports": await lab.made(who, "/reports", eventID=event["id"], clientName=who, resources=[]),
            "/subscriptions": await lab.made(who, "/subscriptions", clientName=who, objectOperations=[]),
        }
    for path, own in made["ven-a"].items():
        other = made["ven-b"][path]
        assert own["clientID"] == "ven-a"
        assert await lab.ask("ven-a", "GET", path) == (200, [own])
        assert await lab.ask("bl", "GET", path) == (200, [own, other])
        assert await lab.ask("ven-a", "GET", f"{path}/{own['id']}") == (200, own)
        for method in ("GET", "PUT", "DELETE"):
            body = None if method == "GET" else BODIES[path]
            assert (await lab.ask("ven-a", method, f"{path}/{other['id']}", body))[0] == 404
    status, _ = await lab.ask(
        "ven-a",
        "POST",
        "/resources",
        {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "stolen", "venID": made["ven-b"]["/vens"]["id"]},
    )
    assert status == 409
    for path, own in made["ven-a"].items():
        assert (await lab.ask("ven-a", "DELETE", f"{path}/{own['id']}"))[0] in {200, 404}


async def test_only_business_logic_writes_targets(lab: Any) -> None:
    body = {"objectType": "BL_VEN_REQUEST", "clientID": "ven-a", "venName": "v", "targets": ["all"]}
    assert (await lab.ask("ven-a", "POST", "/vens", body))[0] == 403
    ven = await lab.grant("ven-a", "here")
    path = f"/vens/{ven['id']}"
    assert (await lab.ask("ven-a", "PUT", path, body))[0] == 403
    # What a VEN does not speak of stays.
    status, changed = await lab.ask("ven-a", "PUT", path, {"objectType": "VEN_VEN_REQUEST", "venName": "new"})
    assert (status, changed["venName"], changed["targets"]) == (200, "new", ["here"])
    status, changed = await lab.ask("bl", "PUT", path, {**body, "clientID": "ven-b"})
    assert (status, changed["clientID"], changed["targets"]) == (200, "ven-b", ["all"])


async def test_a_resource_belongs_to_the_client_of_its_ven(lab: Any) -> None:
    ven = await lab.grant("ven-a")
    body = {"objectType": "BL_RESOURCE_REQUEST", "clientID": "ven-b", "resourceName": "r", "venID": ven["id"]}
    assert (await lab.ask("bl", "POST", "/resources", body))[0] == 409
    assert (await lab.ask("bl", "POST", "/resources", {**body, "clientID": "ven-a"}))[0] == 201
    moved = {"objectType": "BL_VEN_REQUEST", "clientID": "ven-b", "venName": "v"}
    assert (await lab.ask("bl", "PUT", f"/vens/{ven['id']}", moved))[0] == 409


async def _targeted(lab: Any) -> dict[str, Any]:
    program = await lab.made("bl", "/programs", programName="open")
    await lab.made("bl", "/programs", programName="closed", targets=["north", "vip"])
    events = {}
    for name, targets in (("open", []), ("north", ["north"]), ("both", ["south", "north", "east"]), ("vip", ["vip"])):
        events[name] = await lab.made("bl", "/events", programID=program["id"], eventName=name, targets=targets)
    return events


async def test_a_target_has_to_be_both_requested_and_granted(lab: Any) -> None:
    await _targeted(lab)
    ven = await lab.grant("ven-a", "north")
    await lab.made(
        "bl",
        "/resources",
        objectType="BL_RESOURCE_REQUEST",
        clientID="ven-a",
        resourceName="r",
        venID=ven["id"],
        targets=["east"],
    )
    for requested, names in (
        ([], ["open"]),
        (["north"], ["north", "both"]),
        (["east"], ["both"]),
        (["vip"], []),
        (["south"], []),
        (["vip", "north"], ["north", "both"]),
    ):
        assert await lab.names("ven-a", "/events", targets=requested) == names, requested
        assert await lab.names("ven-b", "/events", targets=requested) == ([] if requested else ["open"])
    assert await lab.names("ven-a", "/programs", targets=["north"]) == ["closed"]
    assert await lab.names("ven-a", "/programs") == ["open"]
    assert await lab.names("bl", "/events") == ["open", "north", "both", "vip"]
    assert await lab.names("bl", "/events", targets=["south", "vip"]) == ["both", "vip"]


async def test_targets_that_were_not_requested_and_granted_are_hidden(lab: Any) -> None:
    events = await _targeted(lab)
    await lab.grant("ven-a", "north", "east")
    _, (north, both) = await lab.ask("ven-a", "GET", "/events", targets=["north", "south"])
    assert (north["targets"], both["targets"]) == (["north"], ["north"])
    _, (program,) = await lab.ask("ven-a", "GET", "/programs", targets=["north"])
    assert program["targets"] == ["north"]
    # By its id there is no place for targets: what is granted stands for them.
    _, by_id = await lab.ask("ven-a", "GET", f"/events/{events['both']['id']}")
    assert by_id["targets"] == ["north", "east"]
    assert (await lab.ask("ven-a", "GET", f"/events/{events['vip']['id']}"))[0] == 404
    _, whole = await lab.ask("bl", "GET", f"/events/{events['both']['id']}")
    assert whole["targets"] == ["south", "north", "east"]


async def test_reports_that_are_asked_of_others_are_hidden(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="open")
    asked = [
        {"payloadType": "USAGE"},
        {"payloadType": "DEMAND", "targets": ["vip", "north"]},
        {"payloadType": "BASELINE", "targets": ["vip"]},
    ]
    await lab.made("bl", "/events", programID=program["id"], reportDescriptors=asked)
    await lab.grant("ven-a", "north")
    _, (event,) = await lab.ask("ven-a", "GET", "/events")
    assert [item["payloadType"] for item in event["reportDescriptors"]] == ["USAGE", "DEMAND"]
    assert event["reportDescriptors"][1]["targets"] == ["north"]


async def test_a_ven_cannot_report_on_an_event_that_it_may_not_see(lab: Any) -> None:
    events = await _targeted(lab)
    status, hidden = await lab.ask("ven-a", "POST", "/reports", {**BODIES["/reports"], "eventID": events["vip"]["id"]})
    _, absent = await lab.ask("ven-a", "POST", "/reports", {**BODIES["/reports"], "eventID": "absent"})
    assert status == 409
    assert hidden["detail"].replace(events["vip"]["id"], "absent") == absent["detail"]


async def test_what_is_granted_follows_the_vens(lab: Any) -> None:
    await _targeted(lab)
    ven = await lab.grant("ven-a", "north")
    assert await lab.names("ven-a", "/events", targets=["vip"]) == []
    body = {"objectType": "BL_VEN_REQUEST", "clientID": "ven-a", "venName": "v", "targets": ["vip"]}
    await lab.ask("bl", "PUT", f"/vens/{ven['id']}", body)
    assert await lab.names("ven-a", "/events", targets=["vip", "north"]) == ["vip"]
    await lab.ask("bl", "DELETE", f"/vens/{ven['id']}")
    assert await lab.names("ven-a", "/events", targets=["vip", "north"]) == []
