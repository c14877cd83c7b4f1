"""Schedules of ours on record: in order, each said once."""

from dataclasses import replace
from datetime import UTC, datetime

from gateway.domain.operator import CommandOutcome
from gateway.domain.opting import OptCommand, OptKind, OptRecord, OptTold
from gateway.ledger import Ledger
from protocols.grid import Opt, OptSchedule, Target

NOON = datetime(2026, 7, 1, 12, 0, 0, 123457, tzinfo=UTC)
SCHEDULE = OptSchedule(
    opt_id="o1",
    connection_id="utility",
    opt=Opt.OUT,
    created_at=NOON,
    periods=((NOON, 3600.0),),
    reason="chiller",
    program_id="peak",
    targets=(Target(kind="resource", value="hall-3"),),
)
CREATE = OptCommand(command_id="c1", at=NOON, by="Zoë", kind=OptKind.CREATE, schedule=SCHEDULE)
CANCEL = replace(CREATE, command_id="c2", kind=OptKind.CANCEL)


async def test_schedules_are_kept_in_order_and_once(ledger: Ledger) -> None:
    for command in (CREATE, CANCEL, replace(CREATE, by="somebody else")):
        await ledger.record_opt(command)
    assert await ledger.opts() == (OptRecord(command=CREATE), OptRecord(command=CANCEL))


async def test_the_first_outcome_and_the_first_word_to_the_grid_stay(ledger: Ledger) -> None:
    await ledger.record_opt(CREATE)
    outcome = CommandOutcome(command_id="c1", at=NOON, done=True, detail="it stands")
    told = OptTold(command_id="c1", at=NOON, taken=False, detail="no EiOpt")
    assert await ledger.record_opt_acted(outcome)
    assert not await ledger.record_opt_acted(replace(outcome, done=False))
    assert await ledger.record_opt_told(told)
    assert not await ledger.record_opt_told(replace(told, taken=True))
    assert await ledger.opts() == (OptRecord(command=CREATE, outcome=outcome, told=told),)
