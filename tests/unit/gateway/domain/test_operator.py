"""The operator's word: what a command comes to, and what it does to later revisions."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.domain.contract import Program
from gateway.domain.event import EventRecord
from gateway.domain.operator import CommandKind, OperatorCommand, judge, kept_out, said_by
from protocols.grid import EventStatus, GridEvent, Opt, OptDecision, Refusal

NOON = datetime(2026, 7, 15, 12, tzinfo=UTC)
PROGRAM = Program(program_id="peak")
MANDATORY = Program(program_id="peak", mandatory=True)
OUT = OperatorCommand(
    command_id="c1",
    at=NOON - timedelta(seconds=1),
    by="ann",
    kind=CommandKind.OPT_OUT,
    connection_id="utility",
    event_id="e1",
    reason="chiller down",
)
BACK = replace(OUT, command_id="c2", kind=CommandKind.OPT_IN, reason="chiller runs")
EVENT = GridEvent(
    event_id="e1",
    connection_id="utility",
    program_id="peak",
    revision=2,
    status=EventStatus.FAR,
    created_at=NOON,
    starts_at=NOON,
    duration_s=3600.0,
    signals=(),
)


def answered(opt: Opt = Opt.IN, refusal: Refusal | None = None, detail: str = "") -> OptDecision:
    return OptDecision(
        connection_id="utility",
        event_id="e1",
        revision=2,
        opt=opt,
        decided_at=NOON,
        refusal=refusal,
        detail=detail,
    )


OPERATORS = answered(Opt.OUT, Refusal.OPERATOR, "opted out by ann: chiller down")


def known(decision: OptDecision | None = None, **changes: Any) -> EventRecord:
    event = replace(EVENT, **changes.pop("event", {}))
    at = NOON - timedelta(hours=1)
    return EventRecord(event=event, first_received_at=at, received_at=at, decision=decision or answered(), **changes)


@pytest.mark.parametrize("event", [{}, {"test": True}, {"duration_s": None}, {"starts_at": NOON + timedelta(days=1)}])
@pytest.mark.parametrize("program", [PROGRAM, None])
def test_an_event_that_is_not_over_can_be_opted_out_of(event: dict[str, Any], program: Program | None) -> None:
    verdict = judge(OUT, known(event=event), program, None, NOON)
    assert verdict.decision == OPERATORS
    assert verdict.detail == "we are out of event e1; what is held for it alone is let go, and it is not settled"


@pytest.mark.parametrize(
    ("test", "says"), [(False, "settled up to now, unless we opt in again"), (True, "not settled")]
)
def test_what_was_taken_part_in_so_far_is_settled(test: bool, says: str) -> None:
    verdict = judge(OUT, known(event={"test": test}), PROGRAM, None, NOON + timedelta(minutes=10))
    assert verdict.detail.endswith(f"is let go, and it is {says}")


@pytest.mark.parametrize(
    ("command", "record", "program", "standing", "says"),
    [
        (OUT, None, None, None, "no event 'e1' is on record over utility"),
        (BACK, None, None, OUT, "no event 'e1' is on record over utility"),
        (OUT, known(), MANDATORY, None, "program peak is mandatory"),
        (OUT, known(event={"duration_s": 0.0}), PROGRAM, None, "over already since 2026-07-15 12:00:00Z"),
        (OUT, known(event={"duration_s": 0.0}), MANDATORY, None, "over already"),
        (OUT, known(ended_at=NOON), PROGRAM, None, "over already"),
        (BACK, known(OPERATORS, ended_at=NOON), PROGRAM, OUT, "over already"),
        (OUT, known(OPERATORS), PROGRAM, OUT, "out of event e1 already: opted out by ann: chiller down"),
        (
            OUT,
            known(answered(Opt.OUT, Refusal.PROGRAM_UNKNOWN, "no program 'peak'")),
            None,
            None,
            "already: program unknown: no program 'peak'",
        ),
        (OUT, known(answered(Opt.OUT)), PROGRAM, None, "already: no reason given"),
        (BACK, known(), PROGRAM, None, "no operator has opted out of event e1"),
        (BACK, known(), PROGRAM, BACK, "no operator has opted out of event e1"),
        (
            BACK,
            known(answered(Opt.OUT, Refusal.INVALID, "a duration is negative")),
            PROGRAM,
            OUT,
            "no operator's opt-out keeps us out of event e1: invalid: a duration is negative",
        ),
    ],
)
def test_a_refusal_says_why(
    command: OperatorCommand,
    record: EventRecord | None,
    program: Program | None,
    standing: OperatorCommand | None,
    says: str,
) -> None:
    verdict = judge(command, record, program, standing, NOON)
    assert verdict.decision is None
    assert says in verdict.detail


def test_an_operators_opt_out_can_be_taken_back_and_the_grid_hears_no_name() -> None:
    verdict = judge(BACK, known(OPERATORS), PROGRAM, OUT, NOON)
    assert verdict.decision == answered(Opt.IN, detail="the operator opted in again")
    assert verdict.detail == "we take part in event e1 again"


def test_a_later_revision_stays_out_until_the_operator_opts_in() -> None:
    fresh = answered(detail="SIMPLE governs")
    later = replace(EVENT, revision=3)
    assert kept_out(fresh, later, PROGRAM, OUT, NOON) == replace(OPERATORS, revision=3)
    assert kept_out(fresh, EVENT, PROGRAM, BACK, NOON) == fresh
    assert kept_out(fresh, EVENT, PROGRAM, None, NOON) == fresh


def test_what_we_would_refuse_anyway_keeps_its_reason_and_a_mandatory_one_is_taken_part_in() -> None:
    not_ours = answered(Opt.OUT, Refusal.NOT_OUR_TARGET, "meant for ven-2")
    assert kept_out(not_ours, EVENT, PROGRAM, OUT, NOON) == not_ours
    assert kept_out(answered(), EVENT, MANDATORY, OUT, NOON) == answered()


def test_a_command_in_words() -> None:
    assert said_by(OUT) == "opted out by ann: chiller down"
    assert said_by(BACK) == "opted in again by ann: chiller runs"
