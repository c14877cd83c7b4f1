"""EiOpt, against a VTN that says what a script tells it to."""

from datetime import timedelta
from typing import Any

import pytest

from protocols.errors import NotRegistered, ProtocolError, Rejected, Unreachable
from protocols.grid import Opt, OptDecision, OptSchedule, Refusal
from protocols.openadr2b import codec, model
from tests.unit.protocols.openadr2b.conftest import NOON

SCHEDULE = OptSchedule(
    opt_id="opt-1",
    connection_id="utility",
    opt=Opt.OUT,
    created_at=NOON,
    periods=((NOON + timedelta(hours=1), 7200.0),),
    reason="maintenance",
)


def said(code: str = "200") -> model.EiResponse:
    return model.EiResponse(code=code, request_id="r", description="as scripted")


CREATED = model.CreatedOpt(response=said(), opt_id="opt-1")
CANCELED = model.CanceledOpt(response=said(), opt_id="opt-1")


async def test_a_schedule_is_told_and_ended(vtn: Any) -> None:
    vtn.says("EiOpt", CREATED, CANCELED)
    await vtn.ven.create_opt(SCHEDULE, NOON)
    await vtn.ven.cancel_opt("opt-1", NOON)
    (created,), (cancelled,) = vtn.sent(model.CreateOpt), vtn.sent(model.CancelOpt)
    assert (created.opt_id, created.opt, created.reason, created.ven_id) == ("opt-1", "optOut", "x-schedule", "ven-1")
    assert [(period.starts_at, period.duration) for period in created.availability] == [
        (NOON + timedelta(hours=1), timedelta(hours=2))
    ]
    assert created.targets.ven_ids == ("ven-1",)
    assert (cancelled.opt_id, cancelled.ven_id) == ("opt-1", "ven-1")


@pytest.mark.parametrize(
    ("answer", "fault", "words"),
    [
        (model.CreatedOpt(response=said("452"), opt_id="opt-1"), Rejected, "oadrCreateOpt opt-1: 452"),
        (model.CreatedOpt(response=said(), opt_id="opt-9"), Rejected, "answered as 'opt-9'"),
        (model.Response(response=said("459")), Rejected, "459"),
        (model.Response(response=said()), Rejected, "answered with oadrResponse"),
        (Rejected("HTTP 404", code="404"), Rejected, "no EiOpt service"),
        (model.Response(response=said("463")), NotRegistered, "463"),
        (Unreachable("cut"), Unreachable, "cut"),
    ],
)
async def test_an_opt_that_does_not_hold_is_an_error_in_plain_words(
    vtn: Any, answer: codec.Message | Exception, fault: type[ProtocolError], words: str
) -> None:
    vtn.says("EiOpt", answer)
    with pytest.raises(fault, match=words):
        await vtn.ven.create_opt(SCHEDULE, NOON)


async def test_an_opt_that_cannot_be_ended_is_an_error(vtn: Any) -> None:
    vtn.says("EiOpt", model.CanceledOpt(response=said("452"), opt_id="opt-1"), CREATED)
    for _ in range(2):
        with pytest.raises(Rejected):
            await vtn.ven.cancel_opt("opt-1", NOON)


async def test_nothing_is_opted_before_we_are_registered(stranger: Any) -> None:
    with pytest.raises(NotRegistered):
        await stranger.ven.create_opt(SCHEDULE, NOON)
    assert stranger.heard == []


async def test_rule_510_an_answer_that_the_vtn_takes_no_second_time_is_told_by_the_events_id(vtn: Any) -> None:
    decision = OptDecision(
        connection_id="utility",
        event_id="event-1",
        revision=3,
        opt=Opt.OUT,
        decided_at=NOON,
        refusal=Refusal.OPERATOR,
    )
    ids = iter(["opt-1", "r", *"abcdefgh"])
    vtn.ven = vtn.new_ven(new_id=lambda: next(ids))
    vtn.says("EiEvent", model.Response(response=said("459")))
    vtn.says("EiOpt", CREATED)
    assert await vtn.ven.restate(decision, NOON) is None
    (created,) = vtn.sent(model.CreateOpt)
    assert created.event == model.QualifiedEvent(event_id="event-1", modification_number=3)
    assert (created.opt, created.reason, created.availability) == ("optOut", "overrideStatus", ())
