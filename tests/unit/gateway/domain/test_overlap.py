"""Which target holds where several events are in force."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.overlap import governing_target
from gateway.domain.plan import PlanInterval, PowerPlan

START = datetime(2026, 7, 15, 22, tzinfo=UTC)
BASELINE_W = 100.0


def at(minute: float) -> datetime:
    return START + timedelta(minutes=minute)


def asks(event_id: str, target_w: float, minutes: float = 60.0, **more: object) -> PowerPlan:
    plan = PowerPlan(
        connection_id="utility",
        event_id=event_id,
        revision=0,
        made_at=START,
        baseline_w=BASELINE_W,
        intervals=(PlanInterval(starts_at=START, ends_at=at(minutes), start_w=target_w, end_w=target_w),),
        paused_job_ids=(),
        expected_w=0.0,
        shortfall_w=0.0,
        reason="",
        program_id="peak",
    )
    return replace(plan, **more)  # type: ignore[arg-type]


def keys(*event_ids: str) -> tuple[tuple[str, str], ...]:
    return tuple(("utility", event_id) for event_id in event_ids)


def test_the_lowest_governs_and_nothing_adds_up():
    low, high = asks("low", 70.0), asks("high", 80.0, 90.0)
    assert governing_target([high, low], at(10)) == (70.0, keys("low", "high"), ())
    assert governing_target([high, low], at(70)) == (80.0, keys("high"), ())
    assert governing_target([high, low], at(90)) is None
    assert governing_target([], START) is None


def test_reductions_add_up_where_their_programs_stack():
    one, two = asks("one", 90.0, stacks=True), asks("two", 75.0, 90.0, stacks=True, program_id="reserve")
    assert governing_target([one, two], at(10)) == (65.0, keys("two", "one"), ())
    assert governing_target([one, two], at(70)) == (75.0, keys("two"), ())
    alone = asks("alone", 85.0)
    assert governing_target([one, two, alone], at(10)) == (65.0, keys("two", "one", "alone"), ()), "it is in it"
    deep = asks("deep", 50.0)
    assert governing_target([one, two, deep], at(10)) == (50.0, keys("deep", "two", "one"), ())


def test_what_is_stacked_counts_from_its_own_baseline_and_ends_at_nothing():
    one, two = asks("one", 40.0, stacks=True), asks("two", 30.0, stacks=True, baseline_w=120.0)
    assert governing_target([one, two], at(10)) == (0.0, keys("two", "one"), ())
    raised = asks("raised", 130.0, stacks=True)
    assert governing_target([raised, replace(one, intervals=asks("", 90.0).intervals)], at(10)) == (
        90.0,
        keys("one", "raised"),
        (),
    )


def test_a_limit_holds_whatever_its_rank_and_whatever_stacks():
    limit = asks("limit", 60.0, is_limit=True, rank=9)
    first = asks("first", 90.0, rank=1)
    assert governing_target([limit, first], at(10)) == (60.0, keys("limit", "first"), ())
    assert governing_target([replace(limit, intervals=asks("", 95.0).intervals), first], at(10)) == (
        90.0,
        keys("first", "limit"),
        (),
    )


@pytest.mark.parametrize("less", [2, None])
def test_a_more_important_event_of_the_same_program_comes_first_even_where_it_asks_for_less(less):
    important, other = asks("important", 90.0, 30.0, rank=1), asks("other", 70.0, rank=less)
    assert governing_target([other, important], at(10)) == (90.0, keys("important"), keys("other"))
    assert governing_target([other, important], at(40)) == (70.0, keys("other"), ())


def test_rank_compares_with_no_other_program_and_no_other_connection():
    important = asks("important", 90.0, rank=1)
    elsewhere = asks("elsewhere", 70.0, rank=5, program_id="reserve")
    theirs = asks("theirs", 60.0, rank=5, connection_id="other")
    found = governing_target([important, elsewhere, theirs], at(10))
    assert found is not None
    assert (found.target_w, found.outranked) == (60.0, ())
    assert len(found.event_keys) == 3
