import asyncio
import hashlib
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.ledger import Ledger, LogEntry, Quarantined, Topic
from gateway.storage.sql_ledger import open_ledger
from protocols.grid import EventInterval, EventStatus, GridEvent, Opt, OptDecision, Refusal, Signal, SignalKind, Target
from protocols.party_store import Direction, PartyStore, RawMessage

NOON = datetime(2026, 7, 1, 12, 0, 0, 123457, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def an_event(event_id: str = "e1", revision: int = 0, **changes) -> GridEvent:
    starts_at = changes.pop("starts_at", NOON + HOUR)
    event = GridEvent(
        event_id=event_id,
        connection_id="utility",
        program_id="srp-peak",
        revision=revision,
        status=EventStatus.FAR,
        created_at=NOON,
        starts_at=starts_at,
        duration_s=3600.0,
        signals=(
            Signal(
                name="LOAD_DISPATCH",
                kind=SignalKind.ADJUST,
                intervals=(
                    EventInterval(starts_at=starts_at, duration_s=1800.1, value=-0.1),
                    EventInterval(starts_at=starts_at + HOUR / 2, duration_s=None, value=-1e-300),
                ),
                dialect_kind="delta",
            ),
            Signal(name="prices", kind=SignalKind.PRICE, intervals=(), currency="EUR"),
        ),
        rank=3,
        targets=(Target(kind="ven", value="Zähler „1“"),),
        comment="line\nbreak",
        raw_sha256="ab" * 32,
    )
    return replace(event, **changes)


def a_decision(opt: Opt = Opt.IN, revision: int = 0, at: datetime = NOON, event_id: str = "e1") -> OptDecision:
    return OptDecision(connection_id="utility", event_id=event_id, revision=revision, opt=opt, decided_at=at)


async def one(ledger: Ledger, event_id: str = "e1"):
    record = await ledger.event("utility", event_id)
    assert record is not None
    assert record in await ledger.events()
    return record


async def test_an_event_comes_back_as_it_was_given(ledger: Ledger) -> None:
    assert await ledger.record_event(an_event(), NOON) is True

    record = await one(ledger)

    assert record.event == an_event()
    assert (record.first_received_at, record.received_at) == (NOON, NOON)
    assert (record.decision, record.acknowledged_at, record.ended_at, record.end_cause) == (None, None, None, "")


async def test_an_event_that_nobody_sent_is_not_there(ledger: Ledger) -> None:
    await ledger.record_event(an_event(), NOON)

    assert await ledger.event("utility", "other") is None
    assert await ledger.event("other", "e1") is None


async def test_a_known_revision_changes_nothing(ledger: Ledger) -> None:
    await ledger.record_event(an_event(revision=2), NOON)
    await ledger.record_decision(a_decision(revision=2))

    assert await ledger.record_event(an_event(revision=2, comment="again"), NOON + MINUTE) is False
    assert await ledger.record_event(an_event(revision=1), NOON + MINUTE) is False

    record = await one(ledger)
    assert record.event == an_event(revision=2)
    assert record.received_at == NOON
    assert record.decision == a_decision(revision=2)


async def test_a_higher_revision_replaces_the_lower_and_has_no_answer_yet(ledger: Ledger) -> None:
    await ledger.record_event(an_event(), NOON)
    await ledger.record_decision(a_decision())
    await ledger.record_acknowledged("utility", "e1", 0, NOON)

    # 2.0b's modificationNumber is an unsigned 32-bit number.
    assert await ledger.record_event(an_event(revision=2**32 - 1), NOON + MINUTE) is True

    record = await one(ledger)
    assert record.event.revision == 2**32 - 1
    assert (record.first_received_at, record.received_at) == (NOON, NOON + MINUTE)
    assert (record.decision, record.acknowledged_at) == (None, None)
    assert len(await ledger.events()) == 1


async def test_answers_belong_to_their_revision(ledger: Ledger) -> None:
    await ledger.record_event(an_event(revision=1), NOON)
    await ledger.record_decision(a_decision(revision=0))
    await ledger.record_acknowledged("utility", "e1", 0, NOON)

    record = await one(ledger)
    assert (record.decision, record.acknowledged_at) == (None, None)


async def test_the_last_decision_stands_and_the_first_acknowledgement(ledger: Ledger) -> None:
    await ledger.record_event(an_event(), NOON)
    out = OptDecision(
        connection_id="utility",
        event_id="e1",
        revision=0,
        opt=Opt.OUT,
        decided_at=NOON,
        refusal=Refusal.OPERATOR,
        detail="by hand",
    )
    for decision in (a_decision(), a_decision(), out):
        await ledger.record_decision(decision)
    await ledger.record_acknowledged("utility", "e1", 0, NOON + MINUTE)
    await ledger.record_acknowledged("utility", "e1", 0, NOON + HOUR)

    record = await one(ledger)
    assert record.decision == out
    assert record.acknowledged_at == NOON + MINUTE


async def test_the_first_mark_of_an_early_end_stays(ledger: Ledger) -> None:
    await ledger.record_event(an_event(), NOON)

    await ledger.end_event("utility", "e1", NOON + MINUTE, "cancelled by the grid")
    await ledger.end_event("utility", "e1", NOON + HOUR, "not listed any more")

    record = await one(ledger)
    assert (record.ended_at, record.end_cause) == (NOON + MINUTE, "cancelled by the grid")


async def test_only_a_revision_that_is_not_cancelled_takes_the_mark_off(ledger: Ledger) -> None:
    await ledger.record_event(an_event(), NOON)
    await ledger.end_event("utility", "e1", NOON + MINUTE, "not listed any more")

    await ledger.record_event(an_event(revision=1, status=EventStatus.CANCELLED), NOON + 2 * MINUTE)
    cancelled = await one(ledger)
    await ledger.record_event(an_event(revision=2), NOON + 3 * MINUTE)
    revived = await one(ledger)

    assert (cancelled.event.status, cancelled.ended_at) == (EventStatus.CANCELLED, NOON + MINUTE)
    assert (revived.ended_at, revived.end_cause) == (None, "")


async def test_a_cancelled_revision_is_recorded_as_the_latest_and_marks_nothing(ledger: Ledger) -> None:
    await ledger.record_event(an_event(), NOON)

    assert await ledger.record_event(an_event(revision=1, status=EventStatus.CANCELLED), NOON + MINUTE) is True

    record = await one(ledger)
    assert (record.event.status, record.ended_at) == (EventStatus.CANCELLED, None)


async def test_ending_an_unknown_event_changes_nothing(ledger: Ledger) -> None:
    await ledger.end_event("utility", "e1", NOON, "not listed any more")

    assert await ledger.events() == ()


async def test_events_are_in_order_of_start(ledger: Ledger) -> None:
    for hours, name in ((3, "a"), (1, "b"), (2, "c")):
        await ledger.record_event(an_event(name, starts_at=NOON + hours * HOUR), NOON)

    assert [record.event.event_id for record in await ledger.events()] == ["b", "c", "a"]


async def test_since_leaves_out_what_ended_before(ledger: Ledger) -> None:
    await ledger.record_event(an_event("over", starts_at=NOON - 2 * HOUR), NOON)
    await ledger.record_event(an_event("just over", starts_at=NOON - HOUR), NOON)
    await ledger.record_event(an_event("open ended", starts_at=NOON - 9 * HOUR, duration_s=None), NOON)
    await ledger.record_event(an_event("ended", duration_s=None), NOON)
    await ledger.record_event(an_event("moved", starts_at=NOON - 2 * HOUR), NOON)
    await ledger.record_event(an_event("moved", 1), NOON)
    await ledger.record_event(an_event("revived"), NOON)
    for name in ("ended", "revived"):
        await ledger.end_event("utility", name, NOON - MINUTE, "cancelled")
    await ledger.record_event(an_event("revived", 1, starts_at=NOON + 2 * HOUR), NOON)

    left = [record.event.event_id for record in await ledger.events(since=NOON)]

    assert left == ["open ended", "just over", "moved", "revived"]
    assert len(await ledger.events()) == 6


async def test_the_same_id_from_two_connections_is_two_events(ledger: Ledger) -> None:
    await ledger.record_event(an_event(), NOON)
    await ledger.record_event(an_event(connection_id="market"), NOON)
    await ledger.record_decision(a_decision())

    ours = await ledger.event("utility", "e1")
    other = await ledger.event("market", "e1")

    assert ours is not None
    assert other is not None
    assert ours.decision is not None
    assert other.decision is None


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_an_event_with_a_value_that_is_no_number_is_refused_whole(ledger: Ledger, value: float) -> None:
    signal = an_event().signals[0]
    intervals = (replace(signal.intervals[0], value=value),)

    with pytest.raises(ValueError, match="JSON"):
        await ledger.record_event(an_event(signals=(replace(signal, intervals=intervals),)), NOON)

    assert await ledger.events() == ()


async def test_an_instant_without_a_zone_is_refused(ledger: Ledger) -> None:
    with pytest.raises(ValueError, match="time zone"):
        await ledger.record_event(an_event(), datetime(2026, 7, 1, 12))  # noqa: DTZ001 - the case in question

    assert await ledger.events() == ()


async def test_the_log_is_in_order_and_says_a_thing_once(ledger: Ledger) -> None:
    later = LogEntry(connection_id="utility", event_id="e1", at=NOON + MINUTE, what="caps applied", detail="12 devices")
    first = LogEntry(connection_id="utility", event_id="e1", at=NOON, what="received")
    other = LogEntry(connection_id="utility", event_id="e2", at=NOON, what="received")
    for entry in (later, first, other, first):
        await ledger.record_log(entry)

    assert await ledger.log("utility", "e1") == (first, later)


async def test_quarantined_messages_are_kept_once_in_order(ledger: Ledger) -> None:
    items = [
        Quarantined(connection_id="utility", raw_sha256=letter * 64, at=NOON, reason="made intake raise")
        for letter in "ba"
    ]
    for item in (*items, items[0]):
        await ledger.quarantine(item)

    assert await ledger.quarantined() == tuple(items)


async def test_a_raw_message_is_found_by_its_hash_as_it_first_came(ledger: Ledger, parties: PartyStore) -> None:
    body = bytes(range(256)) * 4096
    message = RawMessage(
        connection_id="utility",
        direction=Direction.IN,
        at=NOON,
        name="oadrDistributeEvent",
        body=body,
        sha256=hashlib.sha256(body).hexdigest(),
    )
    for arrival in (message, message, replace(message, at=NOON + MINUTE)):
        await parties.record_message(arrival)

    assert await ledger.raw_message(message.sha256) == message
    assert await ledger.raw_message("0" * 64) is None


async def test_a_raw_message_under_a_hash_not_its_own_is_refused(ledger: Ledger, parties: PartyStore) -> None:
    false_hash = hashlib.sha256(b"another body").hexdigest()

    with pytest.raises(ValueError, match="SHA-256"):
        await parties.record_message(
            RawMessage(connection_id="u", direction=Direction.OUT, at=NOON, name="", body=b"body", sha256=false_hash)
        )

    assert await ledger.raw_message(false_hash) is None


async def test_subscribers_wake_for_their_topics_when_something_changed(ledger: Ledger) -> None:
    events, plans = ledger.subscribe(Topic.EVENTS), ledger.subscribe(Topic.PLANS, Topic.STATEMENTS)

    await ledger.record_event(an_event(), NOON)
    assert (events.is_set(), plans.is_set()) == (True, False)

    for change in (
        ledger.record_decision(a_decision()),
        ledger.record_acknowledged("utility", "e1", 0, NOON),
        ledger.end_event("utility", "e1", NOON, "cancelled"),
        ledger.record_event(an_event(revision=1), NOON),
    ):
        events.clear()
        await change
        assert events.is_set()


async def test_what_changes_nothing_wakes_nobody(ledger: Ledger) -> None:
    await ledger.record_event(an_event(), NOON)
    await ledger.record_decision(a_decision())
    await ledger.record_acknowledged("utility", "e1", 0, NOON)
    await ledger.end_event("utility", "e1", NOON, "cancelled")
    wake = ledger.subscribe(*Topic)

    await ledger.record_event(an_event(), NOON + MINUTE)
    await ledger.record_decision(a_decision())
    await ledger.record_acknowledged("utility", "e1", 0, NOON + MINUTE)
    await ledger.end_event("utility", "e1", NOON + MINUTE, "cancelled")

    assert not wake.is_set()


async def test_each_life_has_a_higher_epoch_even_when_they_begin_at_once(ledger: Ledger, url: str) -> None:
    first = await ledger.begin_epoch()
    async with open_ledger(url, migrate=False) as other, open_ledger(url, migrate=False) as third:
        racing = await asyncio.gather(*(one_of.begin_epoch() for one_of in (ledger, other, third, other)))

    assert first >= 1
    assert sorted(racing) == [first + 1, first + 2, first + 3, first + 4]
    async with open_ledger(url, migrate=False) as later:
        assert await later.begin_epoch() == first + 5
        assert await later.begin_epoch(above=1000) == 1001
        assert await later.begin_epoch(above=1000) == 1002


async def test_what_was_recorded_is_there_after_a_restart(ledger: Ledger, url: str) -> None:
    await ledger.record_event(an_event(), NOON)
    await ledger.record_decision(a_decision())

    async with open_ledger(url, migrate=False) as restarted:
        assert (await one(restarted)) == (await one(ledger))


async def test_concurrent_verbs_do_not_meet(ledger: Ledger) -> None:
    names = [f"e{number}" for number in range(20)]

    await asyncio.gather(*(ledger.record_event(an_event(name), NOON) for name in names), ledger.events())

    assert {record.event.event_id for record in await ledger.events()} == set(names)
