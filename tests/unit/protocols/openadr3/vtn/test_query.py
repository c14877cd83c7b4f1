"""Lists: pages and filters."""

from typing import Any

import pytest


async def _programs(lab: Any, count: int) -> list[str]:
    names = [f"program {number}" for number in range(count)]
    for name in names:
        await lab.made("bl", "/programs", programName=name)
    return names


async def test_pages_are_in_order_of_creation_and_stay_so(lab: Any) -> None:
    names = await _programs(lab, 53)
    assert await lab.names("bl", "/programs") == names[:50]
    assert await lab.names("bl", "/programs", skip=50) == names[50:]
    assert await lab.names("bl", "/programs", skip=2, limit=3) == names[2:5]
    assert await lab.names("bl", "/programs", limit=0) == []
    assert await lab.names("bl", "/programs", skip=1000) == []
    _, (first,) = await lab.ask("bl", "GET", "/programs", limit=1)
    await lab.ask("bl", "PUT", f"/programs/{first['id']}", {"programName": "program 0"})
    lab.start()
    assert await lab.names("bl", "/programs") == names[:50]


@pytest.mark.parametrize(
    ("path", "query"),
    [
        ("/programs", {"limit": 51}),
        ("/programs", {"limit": -1}),
        ("/programs", {"skip": -1}),
        ("/programs", {"skip": "x"}),
        ("/programs", {"skip": 1 << 31}),
        ("/programs", {"skip": "²"}),
        ("/programs", {"skip": [1, 2]}),
        ("/programs", {"targets": ""}),
        ("/programs", {"targets": "x" * 129}),
        ("/programs", {"targets": ["t"] * 300}),
        ("/events", {"programID": "a/b"}),
        ("/events", {"active": "yes"}),
        ("/reports", {"eventID": ""}),
        ("/reports", {"clientName": ""}),
        ("/subscriptions", {"objects": "THING"}),
        ("/vens", {"venName": "x" * 129}),
        ("/resources", {"venID": "%"}),
    ],
)
async def test_a_bad_parameter_is_refused_by_name(lab: Any, path: str, query: dict[str, Any]) -> None:
    status, problem = await lab.ask("bl", "GET", path, **query)
    assert status == 400
    assert problem["detail"].startswith(next(iter(query)))


async def test_a_parameter_that_nobody_knows_is_passed_over(lab: Any) -> None:
    assert (await lab.ask("bl", "GET", "/programs", colour="red"))[0] == 200


async def test_reports_are_found_by_program_event_and_client(lab: Any) -> None:
    events = []
    for name in ("one", "two"):
        program = await lab.made("bl", "/programs", programName=name)
        events.append(await lab.made("bl", "/events", programID=program["id"]))
    for event, who, client in ((0, "ven-a", "x"), (1, "ven-a", "y"), (1, "ven-b", "x")):
        await lab.made(
            who, "/reports", eventID=events[event]["id"], clientName=client, resources=[], reportName=f"{event} {who}"
        )
    assert await lab.names("bl", "/reports") == ["0 ven-a", "1 ven-a", "1 ven-b"]
    assert await lab.names("bl", "/reports", programID=events[0]["programID"]) == ["0 ven-a"]
    assert await lab.names("bl", "/reports", eventID=events[1]["id"], clientName="x") == ["1 ven-b"]
    assert await lab.names("bl", "/reports", skip=1, limit=1) == ["1 ven-a"]
    assert await lab.names("ven-a", "/reports", eventID=events[1]["id"]) == ["1 ven-a"]
    assert await lab.names("ven-b", "/reports", programID=events[0]["programID"]) == []


async def test_vens_and_resources_are_found_by_name_ven_and_target(lab: Any) -> None:
    for client_id, targets in (("ven-a", ["north", "east"]), ("ven-b", ["south"])):
        ven = await lab.grant(client_id, *targets)
        for name in ("meter", client_id):
            await lab.made(
                "bl",
                "/resources",
                objectType="BL_RESOURCE_REQUEST",
                clientID=client_id,
                resourceName=name,
                venID=ven["id"],
                targets=[f"{name}-t"],
            )
    assert await lab.names("bl", "/vens", venName="name of ven-b") == ["name of ven-b"]
    assert await lab.names("bl", "/vens", targets=["east", "nowhere"]) == ["name of ven-a"]
    assert await lab.names("ven-a", "/vens", targets="south") == []
    assert await lab.names("bl", "/resources", resourceName="meter") == ["meter", "meter"]
    assert await lab.names("bl", "/resources", venID=ven["id"]) == ["meter", "ven-b"]
    assert await lab.names("bl", "/resources", venID=ven["id"], targets="meter-t") == ["meter"]
    assert await lab.names("ven-a", "/resources", venID=ven["id"]) == []


async def test_subscriptions_are_found_by_program_client_and_objects(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="peak")

    def operations(*objects: str) -> list[dict[str, Any]]:
        return [{"objects": list(objects), "operations": ["CREATE"], "callbackUrl": "https://v.example/x"}]

    await lab.made("ven-a", "/subscriptions", clientName="one", objectOperations=operations("EVENT", "PROGRAM"))
    await lab.made(
        "ven-a", "/subscriptions", clientName="two", programID=program["id"], objectOperations=operations("VEN")
    )
    assert await lab.names("ven-a", "/subscriptions", objects=["EVENT", "REPORT"]) == ["one"]
    assert await lab.names("ven-a", "/subscriptions", programID=program["id"]) == ["two"]
    assert await lab.names("ven-a", "/subscriptions", clientName="one", objects="VEN") == []


async def test_events_that_are_over_are_left_out_where_only_active_ones_are_asked_for(lab: Any) -> None:
    program = (await lab.made("bl", "/programs", programName="peak"))["id"]
    level = [{"id": 0, "payloads": [{"type": "SIMPLE", "values": [1]}]}]
    for name, event in {
        "over": {"intervalPeriod": {"start": "2030-01-31T10:00:00Z", "duration": "PT2H"}, "intervals": level},
        "running": {"intervalPeriod": {"start": "2030-01-31T10:00:00Z", "duration": "PT2H0.1S"}, "intervals": level},
        "to come": {"intervalPeriod": {"start": "2031-01-31T10:00:00Z", "duration": "PT1H"}, "intervals": level},
        "cancelled": {"intervalPeriod": {"start": "0001-01-01T00:00:00Z", "duration": "PT0S"}, "intervals": level},
        "endless": {"intervalPeriod": {"start": "2020-01-31T10:00:00Z", "duration": "P9999Y"}, "intervals": level},
        "contradicts itself": {"intervals": level},
        "only reports": {"reportDescriptors": [{"payloadType": "USAGE"}]},
        "only reports, over": {
            "intervalPeriod": {"start": "2020-01-01T00:00:00Z", "duration": "P1D"},
            "reportDescriptors": [{"payloadType": "USAGE"}],
        },
        "past the calendar": {"intervalPeriod": {"start": "9999-01-01T00:00:00Z", "duration": "P9998Y"}},
    }.items():
        await lab.made("bl", "/events", programID=program, eventName=name, **event)
    active = ["running", "to come", "endless", "contradicts itself", "only reports", "past the calendar"]
    assert await lab.names("bl", "/events", active="true") == active
    assert len(await lab.names("bl", "/events", active="false")) == 9
    lab.later(seconds=1)
    assert "running" not in await lab.names("ven-a", "/events", active="true")
