"""The VEN against a small VTN: its own objects, programs, events and cancellations."""

from collections.abc import Callable
from datetime import timedelta

import pytest

from protocols.errors import MessageError, MessageTooLarge, ProtocolError, Rejected, Unreachable
from protocols.grid import EventStatus
from protocols.openadr3 import client
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.names import Version
from protocols.openadr3.ven import LOOK_AFTER_S
from protocols.openadr3.ven_polling import MOST_LOOKED_FOR
from tests.openadr3_definition import Definition
from tests.openadr3_server import NOON, SmallVtn, problem, said
from tests.unit.protocols.openadr3.joined import CANCELLED, HOUR, Pair, event, program, unreachable

LOOK_AFTER = timedelta(seconds=LOOK_AFTER_S)


async def test_makes_its_ven_and_resource_once(pair: Pair) -> None:
    for _ in range(3):
        await pair.poll()
    assert [ven["venName"] for ven in pair.vtn.held("vens")] == ["gateway"]
    assert [resource["resourceName"] for resource in pair.vtn.held("resources")] == ["site-1"]
    assert pair.ven.party_ids == {"gateway", pair.vtn.held("vens")[0]["id"]}
    pair.new_ven()
    await pair.poll()
    assert len(pair.vtn.held("vens")) == len(pair.vtn.held("resources")) == 1
    assert pair.store.registrations["utility"].registration_id == pair.vtn.held("vens")[0]["id"]


async def test_brings_an_event_with_the_name_of_its_program(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    event_id = pair.vtn.put("events", event(program_id))
    batch = await pair.listed()
    assert batch.complete
    (found,) = batch.events
    assert (found.event_id, found.program_id, found.starts_at) == (event_id, "peak", NOON + HOUR)
    assert found.raw_sha256 in {message.sha256 for message in pair.store.messages}
    assert await pair.poll() is None


async def test_a_change_brings_everything_there_is_with_a_higher_revision(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    first, second = pair.vtn.put("events", event(program_id)), pair.vtn.put("events", event(program_id))
    before = {found.event_id: found.revision for found in (await pair.listed()).events}
    pair.vtn.put("events", event(program_id, priority=1), first)
    after = {found.event_id: found.revision for found in (await pair.listed()).events}
    assert after[first] > before[first]
    assert after[second] == before[second]


async def test_a_batch_that_was_not_answered_is_brought_again(pair: Pair) -> None:
    pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    first = await pair.ven.receive(NOON)
    again = await pair.ven.receive(NOON + timedelta(seconds=10))
    assert first is not None
    assert again is not None
    assert again.events == first.events


async def test_a_deleted_event_is_gone_from_a_complete_batch(pair: Pair) -> None:
    event_id = pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    await pair.listed()
    del pair.vtn.objects["events"][event_id]
    batch = await pair.listed()
    assert batch.complete
    assert not batch.events


async def test_a_deleted_program_takes_its_events_along(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    pair.vtn.put("events", event(program_id))
    await pair.listed()
    del pair.vtn.objects["programs"][program_id]
    batch = await pair.listed()
    assert batch.complete
    assert not batch.events
    assert await pair.poll() is None


async def test_a_cancelled_event_keeps_the_times_that_it_had(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    event_id = pair.vtn.put("events", event(program_id))
    (before,) = (await pair.listed()).events
    pair.vtn.put("events", event(program_id, **CANCELLED), event_id)
    (after,) = (await pair.listed()).events
    assert after.status is EventStatus.CANCELLED
    assert after.revision > before.revision
    assert (after.starts_at, after.duration_s, after.signals) == (before.starts_at, 3600.0, before.signals)
    assert await pair.poll() is None


async def test_an_event_cancelled_before_this_life_is_left_to_implication(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    event_id = pair.vtn.put("events", event(program_id))
    await pair.listed()
    pair.vtn.put("events", event(program_id, **CANCELLED), event_id)
    pair.new_ven()
    batch = await pair.listed()
    assert batch.complete
    assert not batch.events


async def test_an_event_that_contradicts_itself_is_a_fault_and_not_gone(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    good, bad = pair.vtn.put("events", event(program_id)), pair.vtn.put("events", event(program_id))
    broken = [{"id": 0, "payloads": [{"type": "SIMPLE", "values": ["much"]}]}]
    pair.vtn.put("events", event(program_id, intervals=broken), bad)
    batch = await pair.listed()
    assert batch.complete
    assert [found.event_id for found in batch.events] == [good]
    assert [(fault.event_id, fault.detail) for fault in batch.faults] == [
        (bad, "SIMPLE has the values ['much'], expected numbers")
    ]


async def test_an_event_against_the_schema_is_a_fault_and_one_without_an_id_leaves_the_batch_incomplete(
    pair: Pair,
) -> None:
    pair.vtn.definition = None
    program_id = pair.vtn.put("programs", program())
    good, bad = pair.vtn.put("events", event(program_id)), pair.vtn.put("events", event(program_id))
    pair.vtn.objects["events"][bad]["priority"] = "high"
    batch = await pair.listed()
    assert [found.event_id for found in batch.events] == [good]
    assert [fault.event_id for fault in batch.faults] == [bad]
    assert batch.complete
    del pair.vtn.objects["events"][bad]["id"]
    assert not (await pair.listed()).complete


async def test_more_events_than_a_page_holds(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    ids = {pair.vtn.put("events", event(program_id)) for _ in range(123)}
    batch = await pair.listed()
    assert {found.event_id for found in batch.events} == ids
    assert len(batch.events) == 123
    assert batch.complete


async def test_a_list_that_moves_between_two_pages_cancels_nothing(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    ids = [pair.vtn.put("events", event(program_id)) for _ in range(80)]

    def delete_between(request: Request, _: Response) -> None:
        if request.path == "/events" and dict(request.query)["skip"] == "0":
            pair.vtn.objects["events"].pop(ids[0], None)
            pair.vtn.objects["events"].pop(ids[1], None)

    pair.vtn.after = delete_between
    batch = await pair.listed()
    assert not batch.complete
    pair.vtn.after = lambda _, __: None
    batch = await pair.listed()
    assert batch.complete
    assert {found.event_id for found in batch.events} == set(ids[2:])


async def test_an_event_that_a_list_misses_is_asked_for_before_it_counts_as_gone(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    event_id = pair.vtn.put("events", event(program_id))
    await pair.listed()
    pair.vtn.before = lambda request: said(200, []) if request.path == "/events" else None
    assert await pair.poll() is None
    assert ("GET", f"/events/{event_id}") in pair.vtn.asked


async def test_a_vtn_that_knows_no_pages_is_read_once(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    ids = [pair.vtn.put("events", event(program_id)) for _ in range(50)]
    everything = said(200, pair.vtn.held("events"))
    pair.vtn.before = lambda request: everything if request.path == "/events" else None
    batch = await pair.listed()
    assert {found.event_id for found in batch.events} == set(ids)
    assert batch.complete


async def test_a_vtn_that_refuses_a_parameter_of_3_1_1_is_asked_without_it(newer: Pair) -> None:
    def strict(request: Request) -> Response | None:
        return problem(400, "Bad Request", "active?") if "active" in dict(request.query) else None

    newer.vtn.before = strict
    newer.vtn.put("events", event(newer.vtn.put("programs", program())))
    assert len((await newer.listed()).events) == 1


async def test_a_vtn_that_says_no_more_than_the_definitions_examples(
    pair: Pair, definitions: dict[Version, Definition]
) -> None:
    """As a mock server does that is made from the definition alone."""
    definition = definitions[pair.vtn.version]

    def example(request: Request) -> Response:
        kind = request.path.rpartition("/")[2].removesuffix("s")
        found = definition.example(kind) | {"objectType": kind.upper()}
        if isinstance(found.get("targets"), str):
            del found["targets"]
        return said(200, [found]) if request.method == "GET" else said(201, found)

    pair.vtn.before = example
    batch = await pair.listed()
    assert batch.complete
    assert len(batch.events) + len(batch.faults) == 1
    assert await pair.poll() is None


async def test_a_list_without_end_is_not_read_to_its_end(pair: Pair, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(client, "MOST_PAGES", 5)
    held = {"programID": "p", "createdDateTime": NOON.isoformat(), "modificationDateTime": NOON.isoformat()}

    def endless(request: Request) -> Response | None:
        if request.path != "/events":
            return None
        skip, limit = int(dict(request.query)["skip"]), int(dict(request.query)["limit"])
        return said(200, [held | {"id": f"event-{skip + index}"} for index in range(limit)])

    pair.vtn.before = endless
    with pytest.raises(MessageTooLarge, match="a list of more than 5 pages"):
        await pair.ven.receive(NOON)
    assert pair.vtn.asked.count(("GET", "/events")) == 5 * len(client.PAGE_SIZES)


async def test_events_under_our_granted_targets_are_asked_for(newer: Pair) -> None:
    await newer.poll()
    newer.vtn.held("vens")[0]["targets"] = ["north", "east"]
    newer.vtn.held("resources")[0]["targets"] = ["hall-1"]
    program_id = newer.vtn.put("programs", program(targets=["north"]))
    ours = {newer.vtn.put("events", event(program_id, targets=[word])) for word in ("north", "east", "hall-1")}
    both = newer.vtn.put("events", event(program_id, targets=["north", "east"]))
    newer.vtn.put("events", event(program_id, targets=["south"]))
    everybody = newer.vtn.put("events", event(program_id))
    assert len((await newer.listed()).events) == 1
    newer.now += LOOK_AFTER
    batch = await newer.listed()
    assert {found.event_id for found in batch.events} == {*ours, both, everybody}
    (found,) = (found for found in batch.events if found.event_id == both)
    assert {target.value for target in found.targets} == {"north", "east"}
    assert {found.program_id for found in batch.events} == {"peak"}


async def test_events_for_others_are_passed_over(definitions: dict[Version, Definition]) -> None:
    pair = Pair(SmallVtn(definitions[Version.V3_0], Version.V3_0))
    program_id = pair.vtn.put("programs", program())

    def targeted(kind: str, *values: str) -> str:
        return pair.vtn.put("events", event(program_id, targets=[{"type": kind, "values": list(values)}]))

    ours = {
        targeted("VEN_NAME", "other", "gateway"),
        targeted("RESOURCE_NAME", "site-1"),
        targeted("SERVICE_AREA", "7"),
    }
    targeted("VEN_NAME", "other")
    targeted("GROUP", "elsewhere")
    assert {found.event_id for found in (await pair.listed()).events} == ours


async def test_only_the_named_programs_are_followed(definitions: dict[Version, Definition]) -> None:
    pair = Pair(SmallVtn(definitions[Version.V3_1]), program_names=("peak",))
    peak, other = pair.vtn.put("programs", program()), pair.vtn.put("programs", program("tariff"))
    ours = pair.vtn.put("events", event(peak))
    pair.vtn.put("events", event(other))
    assert [found.event_id for found in (await pair.listed()).events] == [ours]


async def test_a_program_that_cannot_be_read_any_more_cancels_nothing() -> None:
    pair = Pair(SmallVtn(None), program_names=("peak",))
    peak = pair.vtn.put("programs", program())
    pair.vtn.put("events", event(peak))
    (before,) = (await pair.listed()).events
    pair.vtn.objects["programs"][peak]["payloadDescriptors"] = "none"
    batch = await pair.listed()
    assert not batch.complete
    assert [found.event_id for found in batch.events] == [before.event_id]
    pair.new_ven()
    batch = await pair.listed()
    assert (batch.events, batch.complete) == ((), False), "a new life cannot know which program this is"


async def test_an_event_that_is_missed_and_cannot_be_read_is_a_fault(pair: Pair) -> None:
    pair.vtn.definition = None
    event_id = pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    await pair.listed()
    pair.vtn.objects["events"][event_id]["priority"] = "high"
    pair.vtn.before = lambda request: said(200, []) if request.path == "/events" else None
    batch = await pair.listed()
    assert [fault.event_id for fault in batch.faults] == [event_id]


async def test_a_vtn_that_lets_us_only_read_events_is_enough(pair: Pair) -> None:
    pair.vtn.forbidden = {("GET", "vens"), ("POST", "vens"), ("GET", "programs"), ("GET", "resources")}
    pair.vtn.put("events", event("program-9"))
    (found,) = (await pair.listed()).events
    assert found.program_id == "program-9"
    assert pair.ven.party_ids == {"gateway"}


@pytest.mark.parametrize("answer", [problem(500, "Internal Server Error"), Response(status=200, body=b"[")])
async def test_trouble_with_our_own_objects_keeps_no_event_from_us_and_cancels_none(
    pair: Pair, answer: Response
) -> None:
    pair.vtn.before = lambda request: answer if request.path == "/vens" else None
    pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    batch = await pair.listed()
    assert len(batch.events) == 1
    assert not batch.complete, "what is under our targets was not asked for"
    with pytest.raises(ProtocolError):
        await pair.poll()
    pair.vtn.before = lambda _: None
    assert (await pair.listed()).complete


async def test_a_ven_name_that_another_client_has_is_said(newer: Pair) -> None:
    newer.vtn.before = lambda request: said(200, []) if (request.method, request.path) == ("GET", "/vens") else None
    newer.vtn.put("vens", {"venName": "gateway"})
    await newer.listed()
    with pytest.raises(Rejected, match="choose another name") as caught:
        await newer.poll()
    assert caught.value.code == "409"


async def test_what_a_restarted_vtn_lost_is_made_anew(pair: Pair) -> None:
    pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    await pair.listed()
    pair.vtn.forget()
    pair.vtn.before = unreachable
    with pytest.raises(Unreachable):
        await pair.poll()
    pair.vtn.before = lambda _: None
    assert await pair.poll() is None
    assert len(pair.vtn.held("vens")) == len(pair.vtn.held("resources")) == 1


async def test_a_ven_that_was_lost_unnoticed_is_made_anew_before_long(pair: Pair) -> None:
    await pair.poll()
    pair.vtn.forget()
    await pair.poll(LOOK_AFTER)
    assert len(pair.vtn.held("vens")) == 1


async def test_starts_before_the_vtn(pair: Pair) -> None:
    pair.vtn.before = unreachable
    for _ in range(3):
        with pytest.raises(Unreachable):
            await pair.poll()
    pair.vtn.before = lambda _: None
    pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    assert len((await pair.listed()).events) == 1


async def test_an_outage_or_a_restart_of_ours_brings_no_event_twice_and_cancels_none(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    pair.vtn.put("events", event(program_id))
    (before,) = (await pair.listed()).events
    pair.vtn.before = unreachable
    with pytest.raises(Unreachable):
        await pair.poll()
    pair.vtn.before = lambda _: None
    assert await pair.poll() is None
    pair.new_ven()
    (after,) = (await pair.listed()).events
    assert after == before


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Response(status=200, body=b"not json"), MessageError),
        (Response(status=200, body=b'{"events": []}'), MessageError),
        (Response(status=200, body=b""), MessageError),
        (problem(500, "Internal Server Error", "the database is away"), Rejected),
        (problem(403, "Forbidden"), Rejected),
    ],
    ids=["no json", "no list", "nothing", "500", "403"],
)
async def test_what_is_no_list_of_events_changes_nothing(pair: Pair, answer: Response, fault: type[Exception]) -> None:
    pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    await pair.listed()
    pair.vtn.before = lambda request: answer if request.path == "/events" else None
    with pytest.raises(fault) as caught:
        await pair.poll()
    if isinstance(caught.value, MessageError):
        assert caught.value.raw_sha256 in {message.sha256 for message in pair.store.messages}
    pair.vtn.before = lambda _: None
    assert await pair.poll() is None


async def test_pages_too_large_to_read_are_asked_for_in_smaller_ones(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    ids = {pair.vtn.put("events", event(program_id)) for _ in range(30)}
    pair.vtn.before = no_page_over(10)
    batch = await pair.listed()
    assert {found.event_id for found in batch.events} == ids
    assert batch.complete
    asked = len(pair.vtn.asked)
    await pair.poll()
    assert pair.vtn.asked[asked:].count(("GET", "/events")) == 4, "the smaller pages are asked for at once"
    pair.vtn.before = no_page_over(0)
    with pytest.raises(MessageTooLarge):
        await pair.poll()


async def test_a_vtn_that_asks_for_patience_is_given_it(pair: Pair) -> None:
    await pair.poll()
    busy = Response(status=429, body=b"", retry_after_s=60.0)
    pair.vtn.before = lambda request: busy if request.path == "/events" else None
    with pytest.raises(Rejected):
        await pair.poll()
    pair.vtn.before = lambda _: None
    asked = len(pair.vtn.asked)
    with pytest.raises(Rejected, match="429"):
        await pair.poll(timedelta(seconds=30))
    assert len(pair.vtn.asked) == asked
    await pair.poll(timedelta(seconds=31))
    assert len(pair.vtn.asked) > asked


async def test_a_vtn_that_dates_nothing_has_a_revision_for_each_change(definitions: dict[Version, Definition]) -> None:
    pair = Pair(SmallVtn(definitions[Version.V3_0], Version.V3_0))
    program_id = pair.vtn.put("programs", program())
    event_id = pair.vtn.put("events", event(program_id))

    def undate() -> None:
        for key in ("createdDateTime", "modificationDateTime"):
            del pair.vtn.objects["events"][event_id][key]

    undate()
    (first,) = (await pair.listed()).events
    assert await pair.poll() is None
    pair.vtn.put("events", event(program_id, priority=3), event_id)
    undate()
    (second,) = (await pair.listed()).events
    assert second.revision > first.revision > 0


async def test_only_what_is_news_is_kept(pair: Pair) -> None:
    pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    await pair.listed()
    # Our own objects are looked after once more soon after the first time.
    await pair.poll(timedelta(seconds=20))
    kept = len(pair.store.messages)
    for _ in range(5):
        await pair.poll()
    assert len(pair.store.messages) == kept


async def test_a_refused_batch_is_offered_again_before_long(pair: Pair) -> None:
    pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    batch = await pair.ven.receive(pair.now)
    assert batch is not None
    await pair.ven.refuse(batch, "could not be processed", pair.now)
    assert await pair.poll() is None
    assert await pair.poll(LOOK_AFTER) is not None


def no_page_over(most: int) -> Callable[[Request], Response | None]:
    def before(request: Request) -> None:
        if request.path == "/events" and int(dict(request.query)["limit"]) > most:
            raise MessageTooLarge("too large")

    return before


async def test_what_was_granted_stands_while_we_may_not_read_our_own_object(newer: Pair) -> None:
    await newer.poll()
    newer.vtn.held("vens")[0]["targets"] = ["north"]
    newer.vtn.put("events", event(newer.vtn.put("programs", program()), targets=["north"]))
    newer.now += LOOK_AFTER
    assert len((await newer.listed()).events) == 1
    newer.vtn.forbidden = {("GET", "vens"), ("POST", "vens")}
    # Nor does a VTN show by its id what has targets.
    newer.vtn.before = lambda request: problem(404, "No") if request.path.startswith("/events/") else None
    assert await newer.poll(LOOK_AFTER) is None


async def test_programs_that_we_may_not_list_for_a_while_are_not_deleted(pair: Pair) -> None:
    pair.vtn.put("events", event(pair.vtn.put("programs", program())))
    await pair.listed()
    pair.vtn.forbidden = {("GET", "programs")}
    assert await pair.poll() is None


async def test_more_missing_events_than_can_be_looked_for_leave_the_batch_incomplete(pair: Pair) -> None:
    program_id = pair.vtn.put("programs", program())
    for _ in range(MOST_LOOKED_FOR + 1):
        pair.vtn.put("events", event(program_id))
    await pair.listed()
    pair.vtn.before = lambda request: said(200, []) if request.path == "/events" else None
    batch = await pair.listed()
    assert (len(batch.events), batch.complete) == (MOST_LOOKED_FOR, False)


async def test_the_later_of_two_readings_of_one_event_counts(newer: Pair) -> None:
    await newer.poll()
    newer.vtn.held("vens")[0]["targets"] = ["east", "north"]
    program_id = newer.vtn.put("programs", program())
    event_id = newer.vtn.put("events", event(program_id, targets=["east", "north"], priority=1))

    def change_between(request: Request, _: Response) -> None:
        if request.path == "/events" and dict(request.query).get("targets") == "east":
            newer.vtn.put("events", event(program_id, targets=["east", "north"], priority=2), event_id)

    newer.vtn.after = change_between
    newer.now += LOOK_AFTER
    assert [found.rank for found in (await newer.listed()).events] == [2]


async def test_a_vtn_that_filters_nothing_is_filtered_by_us(newer: Pair) -> None:
    others = newer.vtn.put("vens", {"venName": "other", "targets": ["south"]})
    newer.vtn.put("resources", {"resourceName": "site-1", "venID": others})

    def unfiltered(request: Request) -> Response | None:
        kind = request.path.strip("/")
        return said(200, newer.vtn.held(kind)) if request.method == "GET" and kind in {"vens", "resources"} else None

    newer.vtn.before = unfiltered
    await newer.poll()
    assert [ven["venName"] for ven in newer.vtn.held("vens")] == ["other", "gateway"]
    ours = newer.vtn.held("vens")[1]["id"]
    assert newer.ven.party_ids == {"gateway", ours}
    assert [resource["venID"] for resource in newer.vtn.held("resources")] == [others, ours]


async def test_an_error_that_may_pass_is_not_taken_for_a_missing_scope(pair: Pair) -> None:
    pair.vtn.forbidden = {("GET", "vens")}
    pair.vtn.before = lambda request: problem(500, "No") if request.method == "POST" else None
    assert not (await pair.listed()).complete
    with pytest.raises(Rejected, match="500"):
        await pair.poll()
