"""The operator's word from the record to the caps, to later revisions, and to the grid."""

from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway import app
from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, is_answer_told
from gateway.domain.operator import CommandKind
from gateway.services.restating import WANTS_NONE
from protocols.errors import Rejected, Unreachable
from protocols.grid import EventStatus, GridEvent, Opt, Refusal
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, PROGRAM_ID, STARTS_AT, Rig

PART = f"connection {CONNECTION_ID}"


async def record(rig: Rig) -> EventRecord:
    found = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert found is not None
    return found


async def history(rig: Rig) -> list[tuple[str, str]]:
    return [(line.what, line.detail) for line in await rig.ledger.log(CONNECTION_ID, "peak-1")]


def restated(rig: Rig) -> list[tuple[int, Opt]]:
    return [(one.revision, one.opt) for one in rig.connection.restated]


async def test_an_opt_out_in_the_middle_lets_every_cap_go_within_two_seconds_and_an_opt_in_puts_them_back(
    rig: Rig,
) -> None:
    await rig.take(rig.event(in_s=5, lasts_s=120))
    held: dict[int, int] = {}

    def look(at_s: int) -> None:
        held[at_s] = rig.capped()

    await rig.run(
        rig.operating(),
        rig.dispatch(),
        rig.metering(),
        for_s=80,
        script={
            39.9: lambda: look(39),
            40.0: lambda: rig.ask(CommandKind.OPT_OUT),
            42.0: lambda: look(42),
            59.9: lambda: look(59),
            60.0: lambda: rig.ask(CommandKind.OPT_IN, reason="it runs again"),
            75.0: lambda: look(75),
        },
    )
    assert held[39] > 0
    assert (held[42], held[59]) == (0, 0)
    assert held[75] > 0
    words = await history(rig)
    assert [what for what, _ in words] == [
        "planned",
        "scheduled",
        "started",
        "opt-out",
        "released",
        "opt-in",
        "scheduled",
        "started",
    ]
    assert words[3] == ("opt-out", "opted out by ann: chiller down")
    assert words[5] == ("opt-in", "opted in again by ann: it runs again")


async def test_a_refusal_stands_in_the_history_with_who_asked(rig: Rig) -> None:
    rig.programs = {PROGRAM_ID: Program(program_id=PROGRAM_ID, levels=PROGRAM.levels, mandatory=True)}
    await rig.take(rig.event(lasts_s=120))
    command = await rig.ask(CommandKind.OPT_OUT)
    await rig.run(rig.operating(), rig.dispatch(), rig.metering(), for_s=30)
    decision = (await record(rig)).decision
    assert decision is not None
    assert decision.opt is Opt.IN
    outcome = await rig.ledger.command_outcome(command.command_id)
    assert outcome is not None
    assert not outcome.done
    (words,) = [detail for what, detail in await history(rig) if what == "opt-out refused"]
    assert words == "program peak is mandatory: its events cannot be opted out of (asked by ann: chiller down)"
    assert await rig.ledger.untold_commands(CONNECTION_ID) == ()


async def test_commands_are_acted_on_in_order_each_once_and_after_a_restart(rig: Rig) -> None:
    await rig.take(rig.event(in_s=600))
    asked = [await rig.ask(kind) for kind in (CommandKind.OPT_OUT, CommandKind.OPT_OUT, CommandKind.OPT_IN)]
    asked.append(await rig.ask(CommandKind.OPT_OUT, event_id="unknown"))
    for _ in range(2):
        await rig.run(rig.operating(), for_s=3)
    outcomes = [await rig.ledger.command_outcome(command.command_id) for command in asked]
    assert [outcome and outcome.done for outcome in outcomes] == [True, False, True, False]
    assert (await record(rig)).decision is not None
    assert (await rig.words()) == ["opt-out", "opt-out refused", "opt-in"]


async def test_an_opt_out_waits_for_a_ledger_that_is_away(rig: Rig) -> None:
    await rig.take(rig.event(in_s=600))
    await rig.ask(CommandKind.OPT_OUT)
    rig.database.locked = True
    said: list[str | None] = []

    def unlock() -> None:
        said.append(rig.readiness.parts()["operating"])
        rig.database.locked = False

    await rig.run(rig.operating(), for_s=10, script={5: unlock})
    assert said == ["another process holds the database"]
    assert rig.readiness.parts()["operating"] is None
    assert await rig.words() == ["opt-out"]


async def opted_out(rig: Rig, event: GridEvent) -> None:
    """Over intake and operating: the event is taken, answered, opted out of and the grid told."""
    rig.connection.says = [rig.batch(event)]
    await rig.run(rig.intake(), rig.operating(), for_s=10, script={3: lambda: rig.ask(CommandKind.OPT_OUT)})


async def test_the_grid_is_told_once_and_the_event_says_so(rig: Rig) -> None:
    await opted_out(rig, rig.event(in_s=600))
    assert restated(rig) == [(0, Opt.OUT)]
    assert is_answer_told(await record(rig))
    assert (await history(rig))[-1] == ("grid told", "we opt out")


async def test_the_grid_is_told_after_an_outage_and_only_how_it_ended(rig: Rig) -> None:
    rig.connection.says = [rig.batch(rig.event(in_s=600))]
    said: list[str | None] = []

    def down(fault: Exception | None) -> None:
        rig.connection.restate_fails = fault

    await rig.run(
        rig.intake(),
        rig.operating(),
        for_s=60,
        script={
            3: lambda: down(Unreachable("cut")),
            4: lambda: rig.ask(CommandKind.OPT_OUT),
            9: lambda: rig.ask(CommandKind.OPT_IN),
            14: lambda: rig.ask(CommandKind.OPT_OUT, reason="no, not yet"),
            20: lambda: said.append(rig.readiness.parts()[PART]),
            21: lambda: down(None),
        },
    )
    assert said == ["the grid does not know yet how we changed our answer to event peak-1: cut"]
    assert restated(rig) == [(0, Opt.OUT)]
    assert rig.readiness.parts()[PART] is None
    assert len(rig.connection.asked_at) > 25, "the conversation went on meanwhile"


async def test_what_an_earlier_life_left_untold_is_told_once_the_ledger_can_be_read(rig: Rig) -> None:
    await rig.take(rig.event(in_s=600))
    await rig.ask(CommandKind.OPT_OUT)
    await rig.run(rig.operating(), for_s=3)
    rig.database.unreadable = True

    def readable() -> None:
        assert rig.connection.restated == []
        rig.database.unreadable = False

    await rig.run(rig.intake(), for_s=30, script={10: readable})
    assert restated(rig) == [(0, Opt.OUT)]


async def test_what_the_grid_has_heard_in_an_answer_is_not_said_again(rig: Rig) -> None:
    event = rig.event(in_s=600)
    rig.connection.says = [rig.batch(event), None]
    rig.connection.restate_fails = Unreachable("cut")
    await rig.run(
        rig.intake(),
        rig.operating(),
        for_s=20,
        script={
            3: lambda: rig.ask(CommandKind.OPT_OUT),
            7: lambda: rig.connection.says.append(rig.batch(event)),
        },
    )
    assert [(one.opt, one.refusal) for answer in rig.connection.answers for one in answer] == [
        (Opt.IN, None),
        (Opt.OUT, Refusal.OPERATOR),
    ]
    assert restated(rig) == []
    assert await rig.ledger.untold_commands(CONNECTION_ID) == ()
    assert is_answer_told(await record(rig))


async def test_a_grid_that_wants_no_answer_gets_none(rig: Rig) -> None:
    await opted_out(rig, rig.event(in_s=600, response_required=False))
    assert restated(rig) == []
    assert (await history(rig))[-1] == ("grid told", f"not taken by the grid: {WANTS_NONE}")
    assert not is_answer_told(await record(rig))


async def test_a_grid_that_will_not_take_it_is_not_asked_again(rig: Rig) -> None:
    rig.connection.restate_fails = "oadrCreatedEvent: 452"
    await opted_out(rig, rig.event(in_s=600))
    assert restated(rig) == [(0, Opt.OUT)]
    assert (await history(rig))[-1] == ("grid told", "not taken by the grid: oadrCreatedEvent: 452")
    assert rig.readiness.parts()[PART] is None
    assert not is_answer_told(await record(rig))


async def test_a_grid_that_fails_is_left_alone_once_the_event_is_over(rig: Rig) -> None:
    rig.connection.restate_fails = Rejected("HTTP 500", code="500")
    rig.connection.says = [rig.batch(rig.event(lasts_s=60))]
    said: list[str | None] = []
    await rig.run(
        rig.intake(),
        rig.operating(),
        for_s=150,
        script={
            5: lambda: rig.ask(CommandKind.OPT_OUT),
            30: lambda: said.append(rig.readiness.parts()[PART]),
        },
    )
    assert said[0] is not None
    assert rig.readiness.parts()[PART] is None
    assert (await history(rig))[-1] == ("grid told", "not taken by the grid: HTTP 500")


async def test_a_later_revision_stays_out_until_the_operator_opts_in(rig: Rig) -> None:
    event = rig.event(in_s=600)
    await opted_out(rig, event)
    not_read = replace(event, revision=1, signals=())
    rig.connection.says = [rig.batch(not_read), rig.batch(replace(event, revision=2))]
    await rig.run(rig.intake(), rig.operating(), for_s=6)
    answers = [(one.revision, one.opt, one.refusal) for answer in rig.connection.answers for one in answer]
    assert answers == [
        (0, Opt.IN, None),
        (1, Opt.OUT, Refusal.SIGNAL_NOT_UNDERSTOOD),
        (2, Opt.OUT, Refusal.OPERATOR),
    ]
    assert (await history(rig))[-1] == ("modified", "revision 2; it stays opted out by ann: chiller down")

    await rig.run(rig.intake(), rig.operating(), for_s=6, script={1: lambda: rig.ask(CommandKind.OPT_IN)})
    assert restated(rig) == [(0, Opt.OUT), (2, Opt.IN)]
    rig.connection.says = [rig.batch(replace(event, revision=3))]
    await rig.run(rig.intake(), rig.operating(), for_s=3)
    assert rig.connection.answers[-1][0].opt is Opt.IN


@pytest.mark.parametrize("first", ["revision", "command"])
async def test_a_revision_that_comes_while_a_command_is_acted_on_stays_out(rig: Rig, first: str) -> None:
    """One of the two writes in the middle of the other, whichever began first."""
    event = await rig.take(rig.event(in_s=600))
    rig.connection.says = [rig.batch(replace(event, revision=1))]
    intake, operating = rig.intake(), rig.operating()
    inner, verb = (operating, "record_event") if first == "revision" else (intake, "record_acted")
    plain = getattr(rig.ledger, verb)

    async def in_the_middle(*arguments: Any) -> Any:
        setattr(rig.ledger, verb, plain)
        if inner is operating:
            await operating._act(await rig.ask(CommandKind.OPT_OUT))
        else:
            await intake._turn()
        return await plain(*arguments)

    setattr(rig.ledger, verb, in_the_middle)
    if inner is operating:
        await intake._turn()
    else:
        await operating._act(await rig.ask(CommandKind.OPT_OUT))

    found = await record(rig)
    assert found.event.revision == 1
    assert found.decision is not None
    assert (found.decision.revision, found.decision.refusal) == (1, Refusal.OPERATOR)


async def test_a_test_event_can_be_opted_out_of(rig: Rig) -> None:
    await opted_out(rig, rig.event(in_s=600, test=True))
    assert restated(rig) == [(0, Opt.OUT)]


async def test_an_event_that_was_opted_out_of_and_then_cancelled_was_not_taken_part_in(rig: Rig) -> None:
    event = rig.event(lasts_s=600)
    await opted_out(rig, event)
    rig.connection.says = [rig.batch(replace(event, revision=1, status=EventStatus.CANCELLED))]
    await rig.run(rig.intake(), for_s=3)
    (answer,) = rig.connection.answers[-1]
    assert (answer.opt, answer.refusal) == (Opt.OUT, None)


async def test_the_utility_sees_the_opt_out_over_a_real_vtn_and_ven(rig: Rig) -> None:
    vtn = app.built_in_vtn(CONNECTION_ID, rig.parties, rig.clock)
    ven = app.joined_ven(CONNECTION_ID, vtn, rig.parties, rig.site)
    await vtn.publish(rig.event(in_s=5, lasts_s=90))
    seen: list[tuple[Opt, str]] = []

    async def look() -> None:
        ((_, answer),) = await vtn.answers("peak-1")
        seen.append((answer.opt, answer.detail))

    await rig.run(
        rig.intake(ven),
        rig.operating(),
        rig.dispatch(),
        rig.metering(),
        for_s=60,
        script={
            20: look,
            21: lambda: rig.ask(CommandKind.OPT_OUT),
            30: look,
            31: lambda: rig.ask(CommandKind.OPT_IN),
            45: look,
        },
    )
    assert seen == [
        (Opt.IN, "SIMPLE governs"),
        (Opt.OUT, "opted out by the operator"),
        (Opt.IN, "the operator opted in again"),
    ]


@pytest.mark.parametrize("back", [False, True])
async def test_nothing_is_settled_past_an_opt_out(rig: Rig, back: bool) -> None:
    """An event that was opted out of in its middle is settled up to there; one taken part in again as a whole."""
    await rig.take(rig.event(in_s=60, lasts_s=120))
    await rig.run(
        rig.operating(),
        rig.dispatch(),
        rig.metering(),
        rig.settling(),
        for_s=300,
        script={
            120: lambda: rig.ask(CommandKind.OPT_OUT),
            **({165: lambda: rig.ask(CommandKind.OPT_IN)} if back else {}),
        },
    )
    (statement,) = await rig.ledger.statements()
    first, last = statement.verified.intervals[0], statement.verified.intervals[-1]
    assert first.starts_at == STARTS_AT + timedelta(seconds=60)
    (settled,) = [line.detail for line in await rig.ledger.log(CONNECTION_ID, "peak-1") if line.what == "settled"]
    ends_at = last.starts_at + timedelta(seconds=last.duration_s)
    if not back:
        left_at = STARTS_AT + timedelta(seconds=120)
        assert timedelta(0) <= ends_at - left_at <= timedelta(seconds=2)
        assert settled.endswith(f"; only up to {ends_at:%H:%M:%SZ}, when an operator opted out")
        assert first.delivered_wh > 0.0
        return
    assert ends_at == STARTS_AT + timedelta(seconds=180)
    assert "operator" not in settled
    assert last.delivered_wh < first.delivered_wh / 2, "while the caps were off counts as it was"
