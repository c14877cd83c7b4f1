"""What is asked of an event of ours, and the revision that it comes to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.issuing import (
    EventWish,
    IssueCommand,
    IssueKind,
    NothingChanges,
    changed_event,
    new_event,
)
from protocols.grid import EventStatus, SignalKind, Target

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
SOON = NOON + timedelta(minutes=10)
WISH = EventWish(program_id="peak", starts_at=SOON, duration_s=3600.0, kind=SignalKind.LEVEL, values=((None, 2.0),))


def command(wish: EventWish = WISH) -> IssueCommand:
    return IssueCommand(
        command_id="c1", at=NOON, by="ann", kind=IssueKind.CREATE, connection_id="below", event_id="e1", wish=wish
    )


def shape(event: object) -> list[tuple[float, float | None, float]]:
    (signal,) = event.signals
    return [
        ((item.starts_at - event.starts_at).total_seconds(), item.duration_s, item.value) for item in signal.intervals
    ]


def test_values_follow_one_another_and_the_last_fills_the_event() -> None:
    event = new_event(command(replace(WISH, values=((600.0, 1.0), (900.0, 3.0), (None, 2.0)))), NOON)
    assert (event.event_id, event.revision, event.starts_at, event.duration_s) == ("e1", 0, SOON, 3600.0)
    assert shape(event) == [(0.0, 600.0, 1.0), (600.0, 900.0, 3.0), (1500.0, 2100.0, 2.0)]


def test_an_open_ended_event_has_no_end_and_begins_now_where_nothing_else_is_said() -> None:
    event = new_event(command(replace(WISH, starts_at=None, duration_s=None, open_ended=True)), NOON)
    assert (event.starts_at, event.ends_at) == (NOON, None)
    assert shape(event) == [(0.0, None, 2.0)]


@pytest.mark.parametrize(
    ("wish", "says"),
    [
        (replace(WISH, program_id=None), "needs a program"),
        (replace(WISH, kind=None), "needs a signal"),
        (replace(WISH, duration_s=None), "needs a duration"),
        (replace(WISH, duration_s=0.0), "over 0"),
        (replace(WISH, values=((None, 4.0),)), "a level is 0, 1, 2 or 3, not 4"),
        (replace(WISH, kind=SignalKind.FRACTION, values=((None, 1.5),)), "a fraction is from -1 to 1"),
        (replace(WISH, kind=SignalKind.LIMIT, values=((None, -1.0),)), "not negative"),
        (replace(WISH, kind=SignalKind.ADJUST, values=((None, float("nan")),)), "no value"),
        (replace(WISH, values=((None, 1.0), (60.0, 2.0))), "only the last"),
        (replace(WISH, values=((4000.0, 1.0),)), "longer than the event"),
        (replace(WISH, starts_at=NOON - timedelta(hours=2)), "which is past"),
    ],
)
def test_what_is_no_event_is_said(wish: EventWish, says: str) -> None:
    with pytest.raises(ValueError, match=says):
        new_event(command(wish), NOON)


def test_a_change_is_the_next_revision_and_leaves_what_is_not_named() -> None:
    event = new_event(command(replace(WISH, values=((600.0, 1.0), (None, 2.0)), rank=3)), NOON)
    later = changed_event(event, EventWish(starts_at=SOON + timedelta(minutes=5)), NOON)
    assert (later.revision, later.rank, later.starts_at) == (1, 3, SOON + timedelta(minutes=5))
    assert shape(later) == [(0.0, 600.0, 1.0), (600.0, 3000.0, 2.0)]
    shorter = changed_event(later, EventWish(duration_s=300.0), NOON)
    assert (shorter.revision, shape(shorter)) == (2, [(0.0, 300.0, 1.0)])
    aimed = changed_event(shorter, EventWish(values=((None, 3.0),), targets=(Target(kind="ven", value="a"),)), NOON)
    assert (shape(aimed), aimed.targets[0].value) == ([(0.0, 300.0, 3.0)], "a")


def test_what_runs_can_be_drawn_out_and_changed_but_not_begun_anew() -> None:
    event = new_event(command(), NOON)
    inside = SOON + timedelta(minutes=1)
    assert shape(changed_event(event, EventWish(duration_s=7200.0), inside)) == [(0.0, 7200.0, 2.0)]
    with pytest.raises(ValueError, match="its start stays"):
        changed_event(event, EventWish(starts_at=inside + timedelta(hours=1)), inside)


def test_what_is_over_cancelled_or_so_already_is_said() -> None:
    event = new_event(command(), NOON)
    with pytest.raises(NothingChanges, match="so already"):
        changed_event(event, EventWish(duration_s=3600.0), NOON)
    with pytest.raises(ValueError, match="is over since"):
        changed_event(event, EventWish(duration_s=60.0), NOON + timedelta(days=1))
    with pytest.raises(ValueError, match="create another"):
        changed_event(replace(event, status=EventStatus.CANCELLED), EventWish(duration_s=60.0), NOON)
