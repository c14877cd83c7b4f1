"""Schedules of ours: from the record to our answers, and to the grid, which may be away."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.domain.contract import Program
from gateway.domain.operator import CommandKind
from gateway.domain.opting import OptCommand, OptKind, OptState, opt_lines
from gateway.services.opting import NO_WORD, Opting
from protocols.errors import Rejected, Unreachable
from protocols.grid import EventStatus, Opt, OptSchedule, Target
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, PROGRAM_ID, Rig, ScriptedConnection

HOUR_S = 3600.0


class OptingConnection(ScriptedConnection):
    """One whose protocol has a word for schedules."""

    def __init__(self) -> None:
        super().__init__()
        self.created: list[str] = []
        self.cancelled: list[str] = []
        self.opt_fails: Exception | None = None

    async def create_opt(self, schedule: OptSchedule, now: datetime) -> None:
        if self.opt_fails is not None:
            raise self.opt_fails
        self.created.append(schedule.opt_id)

    async def cancel_opt(self, opt_id: str, now: datetime) -> None:
        if self.opt_fails is not None:
            raise self.opt_fails
        self.cancelled.append(opt_id)


@pytest.fixture
def grid(rig: Rig) -> OptingConnection:
    rig.connection = OptingConnection()
    return rig.connection


def opting(rig: Rig) -> Opting:
    return Opting(
        connections=[rig.connection],
        programs=rig.programs,
        ledger=rig.ledger,
        clock=rig.clock,
        readiness=rig.readiness,
    )


async def give(rig: Rig, kind: OptKind = OptKind.CREATE, *, in_s: float = 0.0, **changes: object) -> None:
    """Out for an hour from then on, or cancelled."""
    schedule = OptSchedule(
        opt_id="o1",
        connection_id=CONNECTION_ID,
        opt=Opt.OUT,
        created_at=rig.clock.now(),
        periods=((rig.clock.now() + timedelta(seconds=in_s), HOUR_S),),
        reason="maintenance",
    )
    schedule = replace(schedule, **changes)  # type: ignore[arg-type]
    command_id = f"{kind}-{schedule.opt_id}"
    await rig.ledger.record_opt(
        OptCommand(command_id=command_id, at=rig.clock.now(), by="ann", kind=kind, schedule=schedule)
    )


async def stands(rig: Rig) -> tuple[OptState, str]:
    line = opt_lines(await rig.ledger.opts())[-1]
    return line.state, line.detail


async def answer(rig: Rig, event_id: str = "peak-1") -> Opt | None:
    record = await rig.ledger.event(CONNECTION_ID, event_id)
    return None if record is None or record.decision is None else record.decision.opt


async def test_an_event_that_touches_the_schedule_is_answered_out_and_one_that_does_not_is_not(
    rig: Rig, grid: OptingConnection
) -> None:
    await give(rig, in_s=600)
    inside = rig.event(in_s=HOUR_S, lasts_s=1800.0)
    before = rig.event(in_s=300, lasts_s=300.0, event_id="before")
    after = rig.event(in_s=600 + HOUR_S, event_id="after")
    script = {3.0: lambda: grid.says.append(rig.batch(inside, before, after))}
    await rig.run(opting(rig), rig.intake(), for_s=10, script=script)
    assert [await answer(rig, name) for name in ("peak-1", "before", "after")] == [Opt.OUT, Opt.IN, Opt.IN]
    said = next(one for one in grid.answers[-1] if one.event_id == "peak-1")
    assert (said.refusal, said.detail) == ("operator", "operator's schedule o1: maintenance")
    assert grid.created == ["o1"]
    assert (await stands(rig))[0] is OptState.TOLD


async def test_an_event_on_record_is_left_and_taken_again_when_the_schedule_is_cancelled(
    rig: Rig, grid: OptingConnection
) -> None:
    await rig.take(rig.event(in_s=1800))
    await give(rig)
    await rig.run(opting(rig), rig.operating(), rig.intake(), for_s=10)
    assert await answer(rig) is Opt.OUT
    await give(rig, OptKind.CANCEL)
    await rig.run(opting(rig), rig.operating(), rig.intake(), for_s=10)
    assert await answer(rig) is Opt.IN
    assert [one.opt for one in grid.restated] == [Opt.OUT, Opt.IN]
    assert grid.cancelled == ["o1"]
    assert (await stands(rig))[0] is OptState.CANCELLED


async def test_an_event_that_came_out_by_the_schedule_is_taken_in_when_it_is_cancelled(
    rig: Rig, grid: OptingConnection
) -> None:
    await give(rig)
    event = rig.event(in_s=1800)
    await rig.run(opting(rig), rig.intake(), for_s=5, script={2.0: lambda: grid.says.append(rig.batch(event))})
    assert await answer(rig) is Opt.OUT
    await give(rig, OptKind.CANCEL)
    await rig.run(opting(rig), rig.operating(), rig.intake(), for_s=10)
    assert await answer(rig) is Opt.IN


async def test_an_event_that_runs_goes_on_also_over_a_revision_and_the_operator_is_told(
    rig: Rig, grid: OptingConnection
) -> None:
    event = await rig.take(rig.event(lasts_s=1800))
    await give(rig)
    later = replace(event, revision=1, status=EventStatus.ACTIVE)
    script = {3.0: lambda: grid.says.append(rig.batch(later))}
    await rig.run(opting(rig), rig.operating(), rig.intake(), for_s=10, script=script)
    assert await answer(rig) is Opt.IN
    outcome = (await rig.ledger.opts())[0].outcome
    assert outcome is not None
    assert outcome.detail.endswith("; peak-1 runs already and goes on: opt out of it by gridgate event opt-out")


async def test_the_operators_opt_in_to_one_event_goes_before_the_schedule(rig: Rig, grid: OptingConnection) -> None:
    await give(rig)
    event = rig.event(in_s=1800)
    script = {
        2.0: lambda: grid.says.append(rig.batch(event)),
        8.0: lambda: rig.ask(CommandKind.OPT_IN),
        12.0: lambda: grid.says.append(rig.batch(replace(event, revision=1))),
    }
    await rig.run(opting(rig), rig.operating(), rig.intake(), for_s=20, script=script)
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    assert (record.event.revision, await answer(rig)) == (1, Opt.IN)


@pytest.mark.parametrize("first", ["schedule", "event"])
async def test_an_event_that_a_revision_moves_out_of_the_period_is_taken_in_again(
    rig: Rig, grid: OptingConnection, first: str
) -> None:
    event = rig.event(in_s=1800)
    if first == "event":
        await rig.take(event)
    await give(rig)
    if first == "schedule":
        grid.says.append(rig.batch(event))
    await rig.run(opting(rig), rig.operating(), rig.intake(), for_s=10)
    assert await answer(rig) is Opt.OUT
    moved = replace(rig.event(in_s=3 * HOUR_S), revision=1)
    grid.says.append(rig.batch(moved))
    await rig.run(opting(rig), rig.operating(), rig.intake(), for_s=10)
    assert await answer(rig) is Opt.IN


async def test_an_operators_own_opt_out_of_an_event_stands_wherever_it_is_moved(
    rig: Rig, grid: OptingConnection
) -> None:
    await rig.take(rig.event(in_s=1800))
    await rig.ask(CommandKind.OPT_OUT)
    await rig.run(opting(rig), rig.operating(), rig.intake(), for_s=10)
    await give(rig)
    moved = replace(rig.event(in_s=3 * HOUR_S), revision=1)
    script = {5.0: lambda: grid.says.append(rig.batch(moved))}
    await rig.run(opting(rig), rig.operating(), rig.intake(), for_s=10, script=script)
    assert await answer(rig) is Opt.OUT


async def test_a_mandatory_program_is_not_left(rig: Rig, grid: OptingConnection) -> None:
    rig.programs = {PROGRAM_ID: Program(program_id=PROGRAM_ID, levels=PROGRAM.levels, mandatory=True)}
    await give(rig, program_id=PROGRAM_ID)
    await give(rig, opt_id="o2")
    script = {3.0: lambda: grid.says.append(rig.batch(rig.event(in_s=1800)))}
    await rig.run(opting(rig), rig.intake(), for_s=10, script=script)
    named, whole = opt_lines(await rig.ledger.opts())
    assert (named.state, named.detail) == (
        OptState.REFUSED,
        "program peak is mandatory: its events cannot be opted out of",
    )
    assert whole.detail.endswith("events of peak are mandatory and taken part in all the same")
    assert (await answer(rig), grid.created) == (Opt.IN, ["o2"])


async def test_a_grid_that_was_away_is_told_later_once_also_over_a_restart(rig: Rig, grid: OptingConnection) -> None:
    grid.opt_fails = Unreachable("no connection")
    await give(rig)
    await rig.run(opting(rig), for_s=10)
    assert (await stands(rig))[0] is OptState.TO_BE_TOLD
    assert "does not know yet of schedule o1: no connection" in str(rig.readiness.parts())
    grid.opt_fails = None
    await rig.run(opting(rig), for_s=30)
    assert (await stands(rig))[0] is OptState.TOLD
    await rig.run(opting(rig), for_s=30)
    assert grid.created == ["o1"]


async def test_what_the_grid_refuses_for_good_holds_with_us_and_says_why(rig: Rig, grid: OptingConnection) -> None:
    grid.opt_fails = Rejected("the VTN has no EiOpt service", code="501")
    await give(rig)
    await rig.run(opting(rig), for_s=30)
    assert await stands(rig) == (OptState.NOT_TAKEN, "the VTN has no EiOpt service")
    grid.opt_fails = None
    await give(rig, OptKind.CANCEL)
    await rig.run(opting(rig), for_s=10)
    assert (grid.created, grid.cancelled) == ([], [])
    assert (await stands(rig))[0] is OptState.CANCELLED


async def test_a_service_that_fails_each_time_is_given_up_and_one_that_is_busy_is_not(
    rig: Rig, grid: OptingConnection
) -> None:
    grid.opt_fails = Rejected("HTTP 500", code="500")
    await give(rig)
    await rig.run(opting(rig), for_s=30)
    assert (await stands(rig))[0] is OptState.TO_BE_TOLD
    await rig.run(opting(rig), for_s=90)
    assert await stands(rig) == (OptState.NOT_TAKEN, "HTTP 500")
    grid.opt_fails = Rejected("HTTP 503", code="503")
    await give(rig, opt_id="o2")
    await rig.run(opting(rig), for_s=600)
    assert (await stands(rig))[0] is OptState.TO_BE_TOLD


async def test_a_protocol_without_the_word_says_so(rig: Rig) -> None:
    await give(rig)
    await rig.run(opting(rig), for_s=5)
    assert await stands(rig) == (OptState.NOT_TAKEN, NO_WORD)


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"connection_id": "utilty"}, "no connection 'utilty': there is utility"),
        ({"program_id": "paek"}, "no program 'paek': there is peak"),
    ],
)
async def test_what_is_not_known_is_refused_with_the_nearest(
    rig: Rig, grid: OptingConnection, changes: dict[str, str], why: str
) -> None:
    await give(rig, **changes)
    await rig.run(opting(rig), for_s=5)
    assert await stands(rig) == (OptState.REFUSED, why)


async def test_a_schedule_for_a_resource_is_about_events_that_name_it(rig: Rig, grid: OptingConnection) -> None:
    hall = Target(kind="resource", value="hall-3")
    await give(rig, targets=(hall,))
    script = {3.0: lambda: grid.says.append(rig.batch(rig.event(in_s=1800)))}
    await rig.run(opting(rig), rig.intake(), for_s=10, script=script)
    assert await answer(rig) is Opt.IN
