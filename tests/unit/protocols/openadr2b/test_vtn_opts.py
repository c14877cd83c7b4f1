from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from protocols.grid import GridEvent, Opt, Target
from protocols.openadr2b import codec, model
from protocols.openadr2b.vtn_opts import MOST_OPTS
from tests.unit.protocols.openadr2b.vtn_asking import answer, ask, registered, told


@pytest.fixture
async def ven_id(joined: Any) -> str:
    return await registered(joined)


def create(joined: Any, ven_id: str, opt_id: str = "opt-1", opt: str = "optOut", **more: Any) -> model.CreateOpt:
    return model.CreateOpt(
        **{
            "opt_id": opt_id,
            "opt": opt,
            "reason": "mustRun",
            "ven_id": ven_id,
            "created_at": joined.now,
            "request_id": "q",
            "targets": model.Targets(ven_ids=(ven_id,)),
            **more,
        }
    )


async def word(joined: Any) -> str | None:
    answers = await joined.vtn.answers("event-1")
    return None if not answers else answers[0][1].opt.value


def on(revision: int = 0, event_id: str = "event-1") -> model.QualifiedEvent:
    return model.QualifiedEvent(event_id=event_id, modification_number=revision)


async def test_a_schedule_stands_until_it_is_cancelled_over_a_restart(joined: Any, ven_id: str) -> None:
    period = model.Period(starts_at=joined.now, duration=timedelta(hours=2))
    taken = await ask(joined, "EiOpt", create(joined, ven_id, availability=(period,), market_context="peak"))
    assert (codec.name_of(taken), taken.response.code, taken.opt_id) == ("oadrCreatedOpt", "200", "opt-1")
    joined.vtn = joined.new_vtn()
    (opt,) = await joined.vtn.opts(ven_id)
    assert (opt.opt, opt.periods, opt.program_id, opt.targets) == (Opt.OUT, ((joined.now, 7200.0),), "peak", ())
    cancel = model.CancelOpt(request_id="q", opt_id="opt-1", ven_id=ven_id)
    ended = await ask(joined, "EiOpt", cancel)
    assert (codec.name_of(ended), ended.response.code) == ("oadrCanceledOpt", "200")
    assert await joined.vtn.opts(ven_id) == ()
    assert (await ask(joined, "EiOpt", cancel)).response.code == "452"


async def test_an_opt_of_an_event_is_the_answer_until_it_is_cancelled(
    joined: Any, event: GridEvent, ven_id: str
) -> None:
    """Rule 510."""
    await joined.vtn.publish(event)
    await answer(joined, ven_id, "event-1")
    await ask(joined, "EiOpt", create(joined, ven_id, event=on()))
    assert await word(joined) == "out"
    # Some VENs repeat what they said first whenever the event is told again.
    await answer(joined, ven_id, "event-1")
    assert await word(joined) == "out"
    await ask(joined, "EiOpt", model.CancelOpt(request_id="q", opt_id="opt-1", ven_id=ven_id))
    assert await word(joined) == "in"


async def test_a_change_of_mind_goes_before_an_earlier_opt(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    await answer(joined, ven_id, "event-1")
    await ask(joined, "EiOpt", create(joined, ven_id, opt="optIn", event=on()))
    await answer(joined, ven_id, "event-1", opt="optOut")
    assert await word(joined) == "out"
    assert await joined.vtn.opts(ven_id) == ()


async def test_an_opt_of_a_revision_says_nothing_of_the_next(joined: Any, event: GridEvent, ven_id: str) -> None:
    await joined.vtn.publish(event)
    await ask(joined, "EiOpt", create(joined, ven_id, event=on()))
    assert await word(joined) == "out"
    assert await told(joined, ven_id) == [("event-1", 0, "far")]
    await joined.vtn.publish(replace(event, revision=1))
    await answer(joined, ven_id, "event-1", 1)
    assert await word(joined) == "in"


@pytest.mark.parametrize("qualified", [on(event_id="strange"), on(3), on(event_id="elsewhere")])
async def test_an_opt_of_an_event_that_was_never_sent_is_refused(
    joined: Any, event: GridEvent, ven_id: str, qualified: model.QualifiedEvent
) -> None:
    await joined.vtn.publish(event)
    await joined.vtn.publish(replace(event, event_id="elsewhere", targets=(Target(kind="ven", value="another"),)))
    assert (await ask(joined, "EiOpt", create(joined, ven_id, event=qualified))).response.code == "452"
    assert await joined.vtn.opts(ven_id) == ()


async def test_an_opt_for_somebody_else_or_of_no_time_is_refused(joined: Any, ven_id: str) -> None:
    other = create(joined, ven_id, targets=model.Targets(ven_ids=("another",)))
    assert (await ask(joined, "EiOpt", other)).response.code == "452"
    nothing = model.Period(starts_at=joined.now, duration=timedelta(0))
    assert (await ask(joined, "EiOpt", create(joined, ven_id, availability=(nothing,)))).response.code == "454"


async def test_a_ven_has_only_so_many_opts(joined: Any, ven_id: str, monkeypatch: pytest.MonkeyPatch) -> None:
    assert MOST_OPTS >= 100
    monkeypatch.setattr("protocols.openadr2b.vtn_opts.MOST_OPTS", 2)
    codes = [(await ask(joined, "EiOpt", create(joined, ven_id, opt_id))).response.code for opt_id in "abca"]
    assert codes == ["200", "200", "451", "200"]
