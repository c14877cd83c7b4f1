"""The way of an event is idempotent per revision: a batch applied once changes nothing the second time."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.event import Change, ChangeKind, EventRecord, EventState, changes, effective_end, state
from protocols.grid import EventBatch, EventStatus, GridEvent

START = datetime(2026, 7, 1, 16, 0, tzinfo=UTC)


def event(event_id: str, revision: int, status: EventStatus, minutes: int, duration_s: float | None) -> GridEvent:
    return GridEvent(
        event_id=event_id,
        connection_id="utility",
        program_id="peak",
        revision=revision,
        status=status,
        created_at=START,
        starts_at=START + timedelta(minutes=minutes),
        duration_s=duration_s,
        signals=(),
    )


events = st.builds(
    event,
    st.sampled_from("abcd"),
    st.integers(0, 3),
    st.sampled_from(EventStatus),
    st.integers(-120, 120),
    st.none() | st.sampled_from([60.0, 3600.0]),
)


def applied(known: dict[str, EventRecord], change: Change, at: datetime) -> None:
    """What the ledger makes of a change."""
    found, event_id = change.event, change.event.event_id
    before = known.get(event_id)
    if before is None or found.revision > before.event.revision:
        ended_at = before.ended_at if before and found.status is EventStatus.CANCELLED else None
        first_at = at if before is None else before.first_received_at
        known[event_id] = EventRecord(event=found, first_received_at=first_at, received_at=at, ended_at=ended_at)
    if change.kind in {ChangeKind.CANCELLED, ChangeKind.IMPLIED_CANCEL} and known[event_id].ended_at is None:
        known[event_id] = replace(known[event_id], ended_at=at)


def batch(found: list[GridEvent], at: datetime, *, complete: bool) -> EventBatch:
    return EventBatch(
        connection_id="utility",
        events=tuple(found),
        complete=complete,
        request_id="r",
        raw_sha256="0" * 64,
        received_at=at,
    )


@given(st.lists(st.tuples(st.lists(events, max_size=4), st.booleans()), max_size=5))
@example([([event("a", 0, EventStatus.FAR, 10, 3600.0)], True), ([], True), ([], True)])
def test_a_batch_applied_twice_changes_once(conversation: list[tuple[list[GridEvent], bool]]) -> None:
    known: dict[str, EventRecord] = {}
    for turn, (found, complete) in enumerate(conversation):
        at = START + timedelta(seconds=10 * turn)
        one = batch(found, at, complete=complete)
        for change in changes(known, one):
            if change.kind is not ChangeKind.STALE:
                applied(known, change, at)
        again = {change.kind for change in changes(known, one)}
        assert again <= {ChangeKind.REPEATED, ChangeKind.STALE}
        if complete:
            # What is still to come or under way for us is what the message listed.
            alive = {
                event_id
                for event_id, record in known.items()
                if state(record, at) not in (EventState.CANCELLED, EventState.COMPLETED)
            }
            assert alive <= {listed.event_id for listed in found}


@given(events, st.none() | st.integers(-200, 300))
@example(event("a", 1, EventStatus.CANCELLED, 0, None), 30)
def test_states_only_go_forward_and_the_end_is_never_before_the_start(found: GridEvent, ended: int | None) -> None:
    ended_at = None if ended is None else START + timedelta(minutes=ended)
    record = EventRecord(
        event=found,
        first_received_at=START - timedelta(hours=9),
        received_at=START - timedelta(hours=8),
        ended_at=ended_at,
    )
    order = [EventState.FAR, EventState.NEAR, EventState.ACTIVE, EventState.COMPLETED, EventState.CANCELLED]
    seen = [order.index(state(record, START + timedelta(minutes=minute))) for minute in range(-300, 400, 5)]
    assert seen == sorted(seen)
    end = effective_end(record)
    assert end is None or end >= found.starts_at
