from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from protocols.errors import MalformedMessage
from protocols.grid import Opt, OptSchedule, Target
from protocols.openadr2b import codec, model
from protocols.openadr2b.neutral_opt import read_opt, write_opt

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
ALL_DAY = OptSchedule(
    opt_id="opt-1",
    connection_id="c",
    opt=Opt.OUT,
    created_at=NOON,
    periods=((NOON, 3600.0), (NOON + timedelta(days=1), 7200.0)),
    reason="x-schedule",
    program_id="http://utility.example/peak",
    targets=(Target(kind="resource", value="site-1"),),
)
ONE_EVENT = replace(ALL_DAY, periods=(), event_id="event-1", revision=3, reason="overrideStatus", opt=Opt.IN)
FOR_GOOD = replace(ALL_DAY, periods=(), reason="economic", program_id="", targets=())


@pytest.mark.parametrize("schedule", [ALL_DAY, ONE_EVENT, FOR_GOOD])
def test_an_opt_is_the_same_at_the_other_end(schedule: OptSchedule, valid: Callable[[bytes], None]) -> None:
    body = codec.encode(write_opt(schedule, ven_id="ven-1", request_id="r"))
    valid(body)
    message = codec.decode(body)
    assert isinstance(message, model.CreateOpt)
    assert read_opt(message, connection_id="c") == schedule


@pytest.mark.parametrize(
    ("schedule", "word"),
    [
        (replace(ALL_DAY, reason="chiller down"), "x-schedule"),
        (replace(ONE_EVENT, reason="chiller down"), "participating"),
        (replace(FOR_GOOD, reason="chiller down"), "notParticipating"),
        (replace(FOR_GOOD, reason="mustRun"), "mustRun"),
    ],
)
def test_a_reason_in_words_of_ours_goes_out_as_the_plainest_of_theirs(schedule: OptSchedule, word: str) -> None:
    assert write_opt(schedule, ven_id="ven-1", request_id="r").reason == word


@pytest.mark.parametrize(
    "schedule",
    [
        replace(ALL_DAY, event_id="event-1"),
        replace(ALL_DAY, periods=((NOON, 0.2),)),
        replace(ALL_DAY, targets=(Target(kind="moon", value="1"),)),
    ],
)
def test_what_an_opt_has_no_room_for_is_not_written(schedule: OptSchedule) -> None:
    with pytest.raises(ValueError, match=r"opt-1|no element"):
        write_opt(schedule, ven_id="ven-1", request_id="r")


def test_an_opt_that_contradicts_itself_is_not_read() -> None:
    message = write_opt(ALL_DAY, ven_id="ven-1", request_id="r")
    event = model.QualifiedEvent(event_id="e", modification_number=0)
    with pytest.raises(MalformedMessage, match="names an event and periods"):
        read_opt(replace(message, event=event), connection_id="c")
    timeless = model.Period(starts_at=NOON, duration=timedelta(0))
    with pytest.raises(MalformedMessage, match="lasts no time"):
        read_opt(replace(message, availability=(timeless,)), connection_id="c")
