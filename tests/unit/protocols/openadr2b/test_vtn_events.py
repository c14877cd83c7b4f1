from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from protocols.grid import GridEvent, Target
from protocols.openadr2b import model
from protocols.openadr2b.vtn_parties import DeclaredParty, VtnParties
from tests.unit.protocols.openadr2b.vtn_asking import answer, ask, offers, poll, registered, told

HOUR = timedelta(hours=1)
AREA = Target(kind="serviceArea", value="33.4 -112.1 33.5 -112.1 33.5 -112.0 33.4 -112.1")


@pytest.fixture
async def ven_id(joined: Any) -> str:
    declared = DeclaredParty(name="somebody", targets=(Target(kind="group", value="halls"), AREA))
    joined.vtn = joined.new_vtn(parties=VtnParties([declared]))
    return await registered(joined)


@pytest.mark.parametrize(
    ("targets", "is_told"),
    [
        ((), True),
        ((Target(kind="group", value="halls"),), True),
        ((Target(kind="group", value="mills"),), False),
        ((Target(kind="group", value="mills"), Target(kind="group", value="halls")), True),
        ((AREA,), True),
        ((replace(AREA, value="33.40 -112.10 33.5 -112.1  33.5 -112 33.4 -112.1"),), True),
        ((Target(kind="serviceArea", value="1.0 2.0 3.0 4.0"),), False),
        ((Target(kind="resource", value="hall"),), True),
        ((Target(kind="resource", value="mill"),), False),
        ((Target(kind="party", value="somebody else"),), False),
        ((Target(kind="ven", value="another"), Target(kind="group", value="halls")), False),
    ],
)
async def test_events_go_to_whom_their_targets_name(
    joined: Any, event: GridEvent, ven_id: str, targets: tuple[Target, ...], is_told: bool
) -> None:
    await ask(joined, "EiReport", offers(joined, ven_id))
    await joined.vtn.publish(replace(event, targets=targets))
    assert bool(await told(joined, ven_id)) == is_told
    everything = await ask(joined, "EiEvent", model.RequestEvent(request_id="r", ven_id=ven_id))
    assert bool(everything.events) == is_told


async def test_a_ven_with_its_own_id_among_the_targets_is_told_what_of_it_is_meant(
    joined: Any, event: GridEvent, ven_id: str
) -> None:
    await joined.vtn.publish(
        replace(event, targets=(Target(kind="ven", value=ven_id), Target(kind="group", value="x")))
    )
    assert await told(joined, ven_id) == [("event-1", 0, "far")]


async def test_who_was_not_asked_cannot_answer(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(replace(event, targets=(Target(kind="ven", value="another"),)))
    assert (await answer(joined, ven_id, "event-1")).response.code == "452"
    assert await joined.vtn.answers("event-1") == ()


async def test_nobody_answers_a_revision_that_is_not_there_yet(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    assert (await answer(joined, ven_id, "event-1", 7)).response.code == "452"
    assert (await answer(joined, ven_id, "event-1", 0)).response.code == "200"


async def test_a_change_of_a_live_event_is_told_and_asked_anew(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    await told(joined, ven_id)
    await answer(joined, ven_id, "event-1")
    joined.now = event.starts_at + timedelta(minutes=5)
    await joined.vtn.publish(replace(event, revision=1, duration_s=1800.0, signals=_first_half(event)))
    assert await told(joined, ven_id) == [("event-1", 1, "active")]
    assert await told(joined, ven_id) == [("event-1", 1, "active")]
    await answer(joined, ven_id, "event-1", 1)
    assert await told(joined, ven_id) == []


async def test_every_status_is_told_as_it_comes_and_what_is_over_leaves(
    joined: Any, event: GridEvent, ven_id: str
) -> None:
    event = replace(event, ramp_up_s=-600.0)
    await joined.vtn.publish(event)
    steps = [
        (joined.now, "far"),
        (event.starts_at - timedelta(minutes=10), "near"),
        (event.starts_at, "active"),
        (event.starts_at + HOUR, "completed"),
    ]
    for at, status in steps:
        joined.now = at
        assert await told(joined, ven_id) == [("event-1", 0, status)]
        await answer(joined, ven_id, "event-1")
        assert await told(joined, ven_id) == []
    joined.now = event.starts_at + 2 * HOUR + timedelta(seconds=1)
    everything = await ask(joined, "EiEvent", model.RequestEvent(request_id="r", ven_id=ven_id))
    assert everything.events == ()


async def test_a_cancelled_event_keeps_the_window_in_which_its_end_is_randomised(
    joined: Any, event: GridEvent, ven_id: str
) -> None:
    await joined.vtn.publish(replace(event, start_tolerance_s=300.0))
    await told(joined, ven_id)
    await joined.vtn.cancel("event-1")
    (offered,) = (await poll(joined, ven_id)).events
    assert (offered.event.descriptor.status, offered.event.descriptor.modification_number) == ("cancelled", 1)
    assert offered.event.period.start_after == timedelta(minutes=5)
    await answer(joined, ven_id, "event-1", 1)
    assert await told(joined, ven_id) == []
    await joined.vtn.cancel("event-1")
    assert await told(joined, ven_id) == []


async def test_who_loses_an_event_by_its_new_targets_is_told_a_list_without_it(
    joined: Any, event: GridEvent, ven_id: str
) -> None:
    await joined.vtn.publish(event)
    await told(joined, ven_id)
    await answer(joined, ven_id, "event-1")
    await joined.vtn.publish(replace(event, revision=1, targets=(Target(kind="ven", value="another"),)))
    first = await poll(joined, ven_id)
    assert isinstance(first, model.DistributeEvent)
    assert first.events == ()
    assert isinstance(await poll(joined, ven_id), model.Response)


async def test_active_events_come_first_by_priority_and_the_rest_by_time(
    joined: Any, event: GridEvent, ven_id: str
) -> None:
    begin = joined.now + 2 * HOUR

    def at(event_id: str, starts_at: Any, rank: int | None) -> GridEvent:
        shift = starts_at - event.starts_at
        signal = event.signals[0]
        intervals = tuple(replace(item, starts_at=item.starts_at + shift) for item in signal.intervals)
        moved = replace(event, event_id=event_id, starts_at=starts_at, rank=rank)
        return replace(moved, signals=(replace(signal, intervals=intervals),))

    for one in (
        at("later", begin + HOUR, 1),
        at("over", begin - HOUR, 1),
        at("unranked", begin, None),
        at("soon", begin + HOUR / 2, 9),
        at("second", begin, 2),
        at("first", begin, 1),
    ):
        await joined.vtn.publish(one)
    joined.now = begin + timedelta(minutes=1)
    order = [event_id for event_id, _, _ in await told(joined, ven_id)]
    assert order == ["first", "second", "unranked", "soon", "later", "over"]


async def test_a_reply_limit_leaves_the_rest_for_the_next_poll(joined: Any, event: GridEvent, ven_id: str) -> None:
    for index in range(3):
        await joined.vtn.publish(replace(event, event_id=f"event-{index}", response_required=False))
    some = await ask(joined, "EiEvent", model.RequestEvent(request_id="r", ven_id=ven_id, reply_limit=1))
    assert [item.event.descriptor.event_id for item in some.events] == ["event-0"]
    assert len(await told(joined, ven_id)) == 3
    assert await told(joined, ven_id) == []


async def test_who_registers_anew_is_told_everything_again(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    await told(joined, ven_id)
    await answer(joined, ven_id, "event-1")
    assert await told(joined, ven_id) == []
    assert await registered(joined) == ven_id
    assert await told(joined, ven_id) == [("event-1", 0, "far")]


def _first_half(event: GridEvent) -> Any:
    (signal,) = event.signals
    return (replace(signal, intervals=signal.intervals[:1]),)


async def test_what_is_told_again_is_kept_once(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    joined.vtn_store.messages.clear()
    for _ in range(3):
        await told(joined, ven_id)
    assert len({message.sha256 for message in joined.vtn_store.messages}) == 1
    joined.now = event.starts_at
    await told(joined, ven_id)
    assert len({message.sha256 for message in joined.vtn_store.messages}) == 2
