"""MQTT topics: their addresses, who may know them, and the rules for the broker."""

from typing import Any

import pytest

from protocols.openadr3.model_access import Anonymous, Mqtt
from protocols.openadr3.vtn_access import Client, Role
from protocols.openadr3.vtn_topics import mosquitto_acl

BROKER = Mqtt(uris=("mqtts://broker.example",), authentication=Anonymous())


class Published(list[tuple[str, bytes]]):
    """What was published where."""

    async def publish(self, topic: str, body: bytes) -> None:
        self.append((topic, body))

    def topics(self) -> list[str]:
        found = [topic for topic, _ in self]
        self.clear()
        return found


@pytest.fixture
def broker(lab: Any) -> Published:
    found = Published()
    lab.more = {"publisher": found, "broker_for": lambda _: BROKER}
    lab.start()
    return found


@pytest.mark.parametrize(
    ("path", "base", "one", "vens"),
    [
        *((plural, plural, False, False) for plural in ("programs", "events", "reports", "subscriptions", "vens")),
        ("resources", "resources", False, False),
        ("programs/P", "programs/P", True, False),
        ("programs/P/events", "events/programs/P", False, False),
        ("vens/V", "vens/V", True, True),
        ("vens/V/events", "events/vens/V", False, True),
        ("vens/V/programs", "programs/vens/V", False, True),
        ("vens/V/resources", "resources/vens/V", False, True),
    ],
)
async def test_the_topics_of_each_address(
    lab: Any, broker: Published, path: str, base: str, one: bool, vens: bool
) -> None:
    program = (await lab.made("bl", "/programs", programName="p"))["id"]
    ven = (await lab.grant("ven-a"))["id"]
    path, base = (text.replace("P", program).replace("V", ven) for text in (path, base))
    at = f"/notifiers/mqtt/topics/{path}"
    status, found = await lab.ask("bl", "GET", at)
    assert status == 200
    lab.definition.check("notifierTopicsResponse", found)
    words = ("UPDATE", "DELETE") if one else ("CREATE", "UPDATE", "DELETE")
    assert found["topics"] == {**{word: f"{base}/{word.lower()}" for word in words}, "ALL": f"{base}/+"}
    assert (await lab.ask("ven-a", "GET", at))[0] == (200 if vens else 403)
    assert (await lab.ask("ven-b", "GET", at))[0] == (404 if vens else 403)


@pytest.mark.parametrize(
    "path",
    ["mqtt/topics/vens/x", "mqtt/topics/programs/x", "mqtt/topics/things", "mqtt/topics", "mqtt", "kafka/topics"],
)
async def test_there_are_no_other_topics(lab: Any, broker: Published, path: str) -> None:
    assert (await lab.ask("bl", "GET", f"/notifiers/{path}"))[0] == 404


async def test_without_a_broker_there_are_no_topics(lab: Any) -> None:
    assert (await lab.ask("bl", "GET", "/notifiers/mqtt/topics/events"))[0] == 404


async def test_what_is_published_where(lab: Any, broker: Published) -> None:
    a = (await lab.grant("ven-a", "north"))["id"]
    b = (await lab.grant("ven-b"))["id"]
    program = (await lab.made("bl", "/programs", programName="p"))["id"]
    await lab.vtn.deliver_due(lab.now)
    assert broker.topics() == [
        "vens/create", "vens/create", "programs/create", f"programs/vens/{a}/create", f"programs/vens/{b}/create",
    ]  # fmt: skip
    event = (await lab.made("bl", "/events", programID=program, targets=["north"]))["id"]
    resource = {"objectType": "VEN_RESOURCE_REQUEST", "resourceName": "r", "venID": b}
    await lab.made("ven-b", "/resources", **resource)
    await lab.made("ven-a", "/reports", eventID=event, clientName="c", resources=[])
    await lab.made("ven-a", "/subscriptions", clientName="c", objectOperations=[])
    await lab.vtn.deliver_due(lab.now)
    assert broker.topics() == [
        "events/create", f"events/programs/{program}/create", f"events/vens/{a}/create",
        "resources/create", f"resources/vens/{b}/create", "reports/create", "subscriptions/create",
    ]  # fmt: skip
    await lab.ask("bl", "DELETE", f"/programs/{program}")
    await lab.ask("bl", "DELETE", f"/vens/{b}")
    await lab.ask("ven-a", "GET", "/vens")
    await lab.vtn.deliver_due(lab.now)
    assert broker.topics() == [
        "reports/delete", "events/delete", f"events/programs/{program}/delete", f"events/vens/{a}/delete",
        "programs/delete", f"programs/{program}/delete", f"programs/vens/{a}/delete", f"programs/vens/{b}/delete",
        "resources/delete", f"resources/vens/{b}/delete", "vens/delete", f"vens/{b}/delete",
    ]  # fmt: skip


async def test_the_broker_lets_a_ven_read_its_own_topics_only(lab: Any) -> None:
    ven = (await lab.grant("ven-a"))["id"]
    rules = await lab.vtn.mosquitto_acl("gridgate")
    by_user = {part.split("\n")[0]: part.strip().split("\n")[1:] for part in rules.split("user ")[1:]}
    assert by_user["gridgate"] == ["topic write #"]
    assert by_user["bl"] == ["topic read #"]
    assert by_user["ven-b"] == by_user["reader"] == []
    assert by_user["ven-a"] == [
        f"topic read programs/vens/{ven}/+",
        f"topic read events/vens/{ven}/+",
        f"topic read resources/vens/{ven}/+",
        f"topic read vens/{ven}/+",
    ]


@pytest.mark.parametrize("client_id", ["a\ntopic read #", "", " a", "a\r"])
def test_a_client_id_that_would_be_a_rule_is_refused(client_id: str) -> None:
    client = Client(client_id=client_id, secret_hash="", role=Role.VEN)
    with pytest.raises(ValueError, match="cannot be a user"):
        mosquitto_acl("gridgate", [client], [])
