"""The VEN's webhook over real sockets, and the subscriptions that ask for it."""

from datetime import timedelta
from io import BytesIO

import aiohttp
import pytest

from protocols.json import MAX_BYTES
from protocols.openadr3.names import Version
from protocols.openadr3.ven import LOOK_AFTER_S
from protocols.openadr3.ven_webhook import LONGEST_ECHO, Webhook
from tests.openadr3_definition import Definition
from tests.openadr3_server import SmallVtn, problem, serving
from tests.unit.protocols.openadr3.joined import Pair, event, program

URL = "https://us.example/hooks/utility"
LOOK_AFTER = timedelta(seconds=LOOK_AFTER_S)


@pytest.fixture
def hooked(pair: Pair) -> Pair:
    """With a program, and a VEN that wants to be told."""
    pair.vtn.put("programs", program())
    pair.more["webhook"] = Webhook(URL, "token-1")
    pair.new_ven()
    return pair


async def test_a_challenge_is_answered_with_its_word() -> None:
    webhook = Webhook(URL)
    async with serving(*webhook.routes()) as url, aiohttp.ClientSession() as session:
        async with session.get(f"{url}/hooks/utility", params={"echo": "a<b>&ü"}) as answer:
            assert (answer.status, await answer.text(), answer.content_type) == (200, "a<b>&ü", "text/plain")
        for bad in ({}, {"echo": ""}, {"echo": "x" * (LONGEST_ECHO + 1)}):
            async with session.get(f"{url}/hooks/utility", params=bad) as answer:
                assert answer.status == 400
    assert not webhook.woken.is_set()


@pytest.mark.parametrize(
    ("authorization", "body", "status"),
    [
        ("Bearer token-1", b'{"objectType": "EVENT"}', 200),
        ("Bearer token-1", b"anything", 200),
        ("Bearer token-1", b"x" * (MAX_BYTES + 1), 413),
        ("Bearer token-2", b"{}", 401),
        ("Bearer token-1x", b"{}", 401),
        ("token-1", b"{}", 401),
        ("Bearer t\u00f6ken", b"{}", 401),
        (None, b"{}", 401),
    ],
)
async def test_only_who_has_the_token_wakes_us(authorization: str | None, body: bytes, status: int) -> None:
    webhook = Webhook(URL, "token-1")
    headers = {} if authorization is None else {"Authorization": authorization}
    async with (
        serving(*webhook.routes()) as url,
        aiohttp.ClientSession() as session,
        session.post(f"{url}/hooks/utility", data=BytesIO(body), headers=headers) as answer,
    ):
        assert answer.status == status
    assert webhook.woken.is_set() == (status == 200)


def test_every_life_has_a_token_of_its_own() -> None:
    assert len(Webhook(URL).token) >= 32
    assert Webhook(URL).token != Webhook(URL).token


async def test_the_vtn_is_asked_to_tell_of_programs_and_events(hooked: Pair) -> None:
    await hooked.poll()
    await hooked.poll(LOOK_AFTER)
    (subscription,) = hooked.vtn.held("subscriptions")
    assert subscription["clientName"] == "gateway"
    (operation,) = subscription["objectOperations"]
    assert operation["callbackUrl"] == URL
    assert operation["bearerToken"] == "token-1"
    assert set(operation["objects"]) == {"PROGRAM", "EVENT"}
    assert b"token-1" not in b"".join(message.body for message in hooked.store.messages)


async def test_a_new_life_tells_its_own_token_in_the_same_subscription(hooked: Pair) -> None:
    await hooked.poll()
    hooked.more["webhook"] = Webhook(URL, "token-2")
    hooked.new_ven()
    await hooked.poll()
    (subscription,) = hooked.vtn.held("subscriptions")
    assert subscription["objectOperations"][0]["bearerToken"] == "token-2"


async def test_a_subscription_that_the_vtn_lost_is_made_anew(hooked: Pair) -> None:
    await hooked.poll()
    hooked.vtn.forget()
    await hooked.poll(LOOK_AFTER)
    assert len(hooked.vtn.held("subscriptions")) == 1


async def test_in_3_1_our_targets_have_a_subscription_that_goes_with_them(newer: Pair) -> None:
    newer.more["webhook"] = Webhook(URL, "token-1")
    newer.new_ven()
    await newer.poll()
    newer.vtn.held("vens")[0]["targets"] = ["north", "east"]
    newer.now += LOOK_AFTER
    await newer.poll()
    assert [item.get("targets") for item in newer.vtn.held("subscriptions")] == [None, ["east", "north"]]
    del newer.vtn.held("vens")[0]["targets"]
    newer.now += LOOK_AFTER
    await newer.poll()
    assert [item.get("targets") for item in newer.vtn.held("subscriptions")] == [None]


async def test_in_3_0_every_program_that_is_followed_has_one(definitions: dict[Version, Definition]) -> None:
    pair = Pair(SmallVtn(definitions[Version.V3_0], Version.V3_0), webhook=Webhook(URL), program_names=("peak",))
    peak = pair.vtn.put("programs", program())
    pair.vtn.put("programs", program("tariff"))
    await pair.poll()
    assert [item["programID"] for item in pair.vtn.held("subscriptions")] == [peak]


async def test_somebody_elses_subscriptions_are_left_alone(hooked: Pair) -> None:
    (program_id,) = hooked.vtn.objects["programs"]
    operation = {"objects": ["EVENT"], "operations": ["CREATE"], "callbackUrl": "https://other.example"}
    other = hooked.vtn.put(
        "subscriptions", {"clientName": "gateway", "programID": program_id, "objectOperations": [operation]}
    )
    await hooked.poll()
    assert other in hooked.vtn.objects["subscriptions"]
    assert len(hooked.vtn.held("subscriptions")) == 2


async def test_a_vtn_that_takes_no_subscription_is_polled_all_the_same(hooked: Pair) -> None:
    hooked.vtn.before = lambda request: problem(400, "No") if request.path == "/subscriptions" else None
    hooked.vtn.put("events", event(next(iter(hooked.vtn.objects["programs"]))))
    assert len((await hooked.listed()).events) == 1


async def test_a_word_that_comes_while_we_read_is_not_lost(hooked: Pair) -> None:
    await hooked.poll()
    hooked.ven.woken.set()

    def tell(*_: object) -> None:
        assert not hooked.ven.woken.is_set()
        hooked.vtn.after = lambda _, __: None
        hooked.more["webhook"].woken.set()

    hooked.vtn.after = tell
    await hooked.poll()
    assert hooked.ven.woken.is_set()
