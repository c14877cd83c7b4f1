"""Whom the VTN tells of what: subscriptions, in order, kept over restarts."""

from datetime import timedelta
from typing import Any

import pytest
from structlog.testing import capture_logs

from protocols.openadr3.vtn import MOST_SUBSCRIPTIONS

ALL = ["PROGRAM", "EVENT", "REPORT", "SUBSCRIPTION", "VEN", "RESOURCE"]
WRITES = ["CREATE", "UPDATE", "DELETE"]


async def subscribe(
    lab: Any,
    who: str,
    name: str,
    *,
    objects: list[str] = ALL,
    operations: list[str] = WRITES,
    token: str | None = None,
    **more: Any,
) -> dict[str, Any]:
    operation = {"objects": objects, "operations": operations, "callbackUrl": f"https://{who}.example/{name}"}
    if token is not None:
        operation["bearerToken"] = token
    made: dict[str, Any] = await lab.made(who, "/subscriptions", clientName=name, objectOperations=[operation], **more)
    return made


async def delivered(lab: Any) -> list[tuple[str, str, str]]:
    """What was told since this was asked last."""
    assert await lab.vtn.deliver_due(lab.now) is None
    found: list[tuple[str, str, str]] = lab.subscribers.short
    for _, said in lab.subscribers.told:
        lab.definition.check("notification", said)
    lab.subscribers.told.clear()
    return found


async def test_a_subscriber_is_told_in_order_of_what_it_asked_for(lab: Any) -> None:
    await subscribe(lab, "bl", "all", token="open sesame")
    await subscribe(lab, "bl", "programs", objects=["PROGRAM"], operations=["DELETE"])
    assert lab.subscribers.proven == ["https://bl.example/all", "https://bl.example/programs"]
    assert await delivered(lab) == [("all", "CREATE", "SUBSCRIPTION")]
    program = await lab.made("bl", "/programs", programName="peak")
    await lab.made("bl", "/events", programID=program["id"])
    await lab.ask("bl", "PUT", f"/programs/{program['id']}", {"programName": "off peak"})
    await lab.ask("bl", "DELETE", f"/programs/{program['id']}")
    assert lab.vtn.wake.is_set()
    told = await delivered(lab)
    assert [item for item in told if item[0] == "all"] == [
        ("all", "CREATE", "PROGRAM"),
        ("all", "CREATE", "EVENT"),
        ("all", "UPDATE", "PROGRAM"),
        ("all", "DELETE", "EVENT"),
        ("all", "DELETE", "PROGRAM"),
    ]
    assert [item for item in told if item[0] == "programs"] == [("programs", "DELETE", "PROGRAM")]
    assert "open sesame" in lab.subscribers.tokens
    assert len(set(lab.subscribers.ids)) == len(lab.subscribers.ids)


async def test_a_ven_is_told_only_of_what_it_may_see(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="peak")
    await lab.grant("ven-a", "north")
    await lab.grant("ven-b", "south", "north")
    await subscribe(lab, "ven-a", "a", targets=["north", "south"])
    await subscribe(lab, "ven-b", "b", objects=["EVENT", "VEN", "REPORT"])
    await delivered(lab)
    event = await lab.made("bl", "/events", programID=program["id"], targets=["north", "south"])
    assert await lab.vtn.deliver_due(lab.now) is None
    ((url, said),) = lab.subscribers.told
    assert (url, said["object"]["targets"]) == ("https://ven-a.example/a", ["north"])
    assert await delivered(lab) == [("a", "CREATE", "EVENT")]

    # Without targets in the subscription, as in a request, what has targets is not for it.
    await lab.made("bl", "/events", programID=program["id"])
    assert await delivered(lab) == [("b", "CREATE", "EVENT")]

    await lab.made("ven-b", "/reports", eventID=event["id"], clientName="b", resources=[])
    assert await delivered(lab) == [("b", "CREATE", "REPORT")]


async def test_an_event_that_leaves_a_vens_sight_is_told_as_deleted(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="peak")
    await lab.grant("ven-a", "north")
    await subscribe(lab, "ven-a", "a", objects=["EVENT"], targets=["north"])
    event = await lab.made("bl", "/events", programID=program["id"], targets=["south"])
    path = f"/events/{event['id']}"
    assert await delivered(lab) == []
    for targets, told in ((["north"], "CREATE"), (["north", "south"], "UPDATE"), (["south"], "DELETE")):
        await lab.ask("bl", "PUT", path, {"programID": program["id"], "targets": targets})
        assert await delivered(lab) == [("a", told, "EVENT")]
    await lab.ask("bl", "DELETE", path)
    assert await delivered(lab) == []


async def test_a_subscription_by_program_hears_of_that_program_only(lab: Any) -> None:
    one = await lab.made("bl", "/programs", programName="one")
    two = await lab.made("bl", "/programs", programName="two")
    await subscribe(lab, "bl", "one", programID=one["id"])
    await delivered(lab)
    for program in (one, two):
        event = await lab.made("bl", "/events", programID=program["id"])
        await lab.made("ven-a", "/reports", eventID=event["id"], clientName="a", resources=[])
    await lab.ask("bl", "PUT", f"/programs/{two['id']}", {"programName": "2"})
    await lab.grant("ven-a")
    assert await delivered(lab) == [("one", "CREATE", "EVENT"), ("one", "CREATE", "REPORT")]


async def test_reads_are_told_to_who_asks_for_that_but_not_to_the_reader(lab: Any) -> None:
    program = await lab.made("bl", "/programs", programName="peak")
    await subscribe(lab, "bl", "reads", objects=["PROGRAM"], operations=["READ"])
    await lab.ask("ven-a", "GET", "/programs")
    await lab.ask("ven-a", "GET", f"/programs/{program['id']}")
    await lab.ask("bl", "GET", "/programs")
    assert await delivered(lab) == [("reads", "READ", "PROGRAM")] * 2


async def test_what_was_on_its_way_is_delivered_after_a_restart(lab: Any) -> None:
    await subscribe(lab, "bl", "all", objects=["PROGRAM"])
    for number in range(3):
        await lab.made("bl", "/programs", programName=f"program {number}")
    lab.start()
    assert await lab.vtn.deliver_due(lab.now) is None
    assert [said["object"]["programName"] for _, said in lab.subscribers.told] == [f"program {n}" for n in range(3)]
    lab.subscribers.told.clear()
    lab.start()
    assert await delivered(lab) == []


async def test_one_who_is_away_is_tried_again_later_and_holds_up_nobody(lab: Any) -> None:
    await subscribe(lab, "bl", "away", objects=["PROGRAM"])
    await subscribe(lab, "bl", "here", objects=["PROGRAM"])
    lab.subscribers.away = {"https://bl.example/away"}
    await lab.made("bl", "/programs", programName="one")
    pauses = []
    with capture_logs() as logs:
        for _ in range(12):
            due_at = await lab.vtn.deliver_due(lab.now)
            pauses.append((due_at - lab.now).total_seconds())
            assert await lab.vtn.deliver_due(lab.now) == due_at
            lab.now = due_at
    assert [line["event"] for line in logs] == ["notification not delivered, will be tried again"]
    assert pauses[:4] == [2, 4, 8, 16]
    assert max(pauses) == 900
    lab.tokens.clear()
    await lab.made("bl", "/programs", programName="two")
    assert lab.subscribers.short == [("here", "CREATE", "PROGRAM")]
    lab.subscribers.away.clear()
    lab.later(hours=1)
    await lab.vtn.deliver_due(lab.now)
    away = [said["object"]["programName"] for url, said in lab.subscribers.told if url.endswith("away")]
    assert away == ["one", "two"]


async def test_one_who_is_slow_keeps_nobody_waiting_for_long(lab: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    await subscribe(lab, "bl", "slow", objects=["PROGRAM"])
    await subscribe(lab, "bl", "quick", objects=["EVENT"])
    for number in range(4):
        await lab.made("bl", "/programs", programName=str(number))
    tell = lab.subscribers.tell

    async def take_long(url: str, body: bytes, **more: Any) -> None:
        lab.later(seconds=1.5 if url.endswith("slow") else 0)
        await tell(url, body, **more)

    monkeypatch.setattr(lab.subscribers, "tell", take_long)
    assert await lab.vtn.deliver_due(lab.now) is not None
    assert len(lab.subscribers.told) == 2
    _, (program, *_) = await lab.ask("bl", "GET", "/programs")
    await lab.made("bl", "/events", programID=program["id"])
    assert await lab.vtn.deliver_due(lab.now) is None
    assert sorted(lab.subscribers.short) == [("quick", "CREATE", "EVENT"), *[("slow", "CREATE", "PROGRAM")] * 4]


async def test_what_cannot_be_delivered_for_a_day_is_dropped_with_a_word(lab: Any) -> None:
    await subscribe(lab, "bl", "away", objects=["PROGRAM"])
    lab.subscribers.away = {"https://bl.example/away"}
    await lab.made("bl", "/programs", programName="old")
    lab.later(hours=12)
    lab.tokens.clear()
    await lab.made("bl", "/programs", programName="new")
    assert await lab.vtn.deliver_due(lab.now) is not None
    lab.later(hours=12, seconds=1)
    with capture_logs() as logs:
        await lab.vtn.deliver_due(lab.now)
    assert [(line["event"], line.get("count")) for line in logs][:1] == [("notifications dropped undelivered", 1)]
    lab.subscribers.away.clear()
    lab.start()
    await lab.vtn.deliver_due(lab.now + timedelta(hours=1))
    assert [said["object"]["programName"] for _, said in lab.subscribers.told] == ["new"]


async def test_nobody_is_told_who_has_unsubscribed_or_moved(lab: Any) -> None:
    gone = await subscribe(lab, "bl", "gone", objects=["PROGRAM"])
    moved = await subscribe(lab, "bl", "moved", objects=["PROGRAM"])
    await lab.made("bl", "/programs", programName="one")
    await lab.ask("bl", "DELETE", f"/subscriptions/{gone['id']}")
    moved["objectOperations"][0]["callbackUrl"] = "https://bl.example/elsewhere"
    assert (await lab.ask("bl", "PUT", f"/subscriptions/{moved['id']}", moved))[0] == 200
    assert await delivered(lab) == []
    await lab.made("bl", "/programs", programName="two")
    assert await delivered(lab) == [("elsewhere", "CREATE", "PROGRAM")]


@pytest.mark.parametrize("change", [{"callbackUrl": "https://strange.example/x"}, {"callbackUrl": "x"}])
async def test_a_callback_that_does_not_prove_itself_is_not_taken(lab: Any, change: dict[str, str]) -> None:
    operation = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": "https://ven.example/x"}
    body = {"clientName": "c", "objectOperations": [operation | change]}
    assert (await lab.ask("ven-a", "POST", "/subscriptions", body))[0] == 400
    assert await lab.ask("ven-a", "GET", "/subscriptions") == (200, [])
    made = await lab.made("ven-a", "/subscriptions", clientName="c", objectOperations=[operation])
    assert (await lab.ask("ven-a", "PUT", f"/subscriptions/{made['id']}", body))[0] == 400
    assert await lab.ask("ven-a", "GET", "/subscriptions") == (200, [made])


async def test_an_address_that_is_proven_is_not_called_again(lab: Any) -> None:
    made = await subscribe(lab, "ven-a", "a")
    changed = {**made, "clientName": "another"}
    assert (await lab.ask("ven-a", "PUT", f"/subscriptions/{made['id']}", changed))[0] == 200
    assert lab.subscribers.proven == ["https://ven-a.example/a"]


async def test_one_subscription_has_only_so_many_callbacks(lab: Any) -> None:
    operations = [
        {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": f"https://ven.example/{number}"}
        for number in range(33)
    ]
    body = {"clientName": "c", "objectOperations": operations}
    assert (await lab.ask("ven-a", "POST", "/subscriptions", body))[0] == 400
    assert lab.subscribers.proven == []


async def test_one_client_has_only_so_many_subscriptions(lab: Any) -> None:
    for number in range(MOST_SUBSCRIPTIONS):
        await lab.made("ven-a", "/subscriptions", clientName=str(number), objectOperations=[])
    body = {"clientName": "one more", "objectOperations": []}
    assert (await lab.ask("ven-a", "POST", "/subscriptions", body))[0] == 409
    await lab.made("ven-b", "/subscriptions", **body)


@pytest.mark.parametrize("token", ["open\r\nHost: other", "sésame"])
async def test_a_token_is_no_way_to_write_other_headers(lab: Any, token: str) -> None:
    operation = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": "https://ven.example/x"}
    body = {"clientName": "c", "objectOperations": [operation | {"bearerToken": token}]}
    assert (await lab.ask("ven-a", "POST", "/subscriptions", body))[0] == 400
