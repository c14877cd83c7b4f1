"""Calls outside the contract, as intake answers them."""

from dataclasses import replace

from gateway.domain.contract import Contract
from gateway.domain.operator import CommandKind
from protocols.grid import Opt, Refusal
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, Rig

CONTRACT = Contract(committed_w=1000.0, notice_s=60.0, max_duration_s=600.0, calls_per_day=2, rest_s=120.0)


async def answered(rig: Rig, *events: object) -> dict[str, tuple[Opt, str]]:
    rig.connection.says.append(rig.batch(*events, complete=False))  # type: ignore[arg-type]
    await rig.run(rig.intake(), for_s=3)
    return {one.event_id: (one.opt, one.detail) for one in rig.connection.answers[-1]}


async def test_a_call_within_the_contract_is_taken_part_in_and_one_outside_is_not_and_says_why(rig: Rig) -> None:
    rig.programs = {"peak": replace(PROGRAM, contract=CONTRACT)}
    found = await answered(
        rig,
        rig.event(event_id="fits", in_s=120, lasts_s=300),
        rig.event(event_id="soon", in_s=5, lasts_s=60),
        rig.event(event_id="long", in_s=7200, lasts_s=900),
    )
    assert found["fits"][0] is Opt.IN
    assert found["soon"][0] is Opt.OUT
    assert "notice" in found["soon"][1]
    assert found["long"][0] is Opt.OUT
    assert "longer than the 10 min agreed" in found["long"][1]
    record = await rig.ledger.event(CONNECTION_ID, "soon")
    assert record is not None
    assert record.decision is not None
    assert record.decision.refusal is Refusal.OUTSIDE_CONTRACT


async def test_calls_and_rest_count_those_taken_part_in(rig: Rig) -> None:
    rig.programs = {"peak": replace(PROGRAM, contract=CONTRACT)}
    await answered(rig, rig.event(event_id="one", in_s=120, lasts_s=60))
    rested = await answered(rig, rig.event(event_id="early", in_s=200, lasts_s=60))
    assert rested["early"][0] is Opt.OUT
    assert "rest" in rested["early"][1]
    second = await answered(rig, rig.event(event_id="two", in_s=600, lasts_s=60))
    assert second["two"][0] is Opt.IN
    third = await answered(rig, rig.event(event_id="three", in_s=1200, lasts_s=60))
    assert third["three"][0] is Opt.OUT
    assert "all 2 calls of the day" in third["three"][1]


async def test_a_mandatory_call_is_taken_part_in_and_the_record_says_that_it_is_outside(rig: Rig) -> None:
    rig.programs = {"peak": replace(PROGRAM, contract=CONTRACT, mandatory=True)}
    found = await answered(rig, rig.event(event_id="soon", in_s=5, lasts_s=60))
    assert found["soon"][0] is Opt.IN
    assert "mandatory, and outside the contract: notice" in found["soon"][1]


async def test_a_change_that_moves_no_start_keeps_its_notice(rig: Rig) -> None:
    rig.programs = {"peak": replace(PROGRAM, contract=CONTRACT)}
    event = rig.event(event_id="one", in_s=65, lasts_s=60)
    await answered(rig, event)
    await rig.run(for_s=30)
    found = await answered(rig, replace(event, revision=1))
    assert found["one"][0] is Opt.IN


async def test_what_the_contract_still_allows_stands_in_the_history(rig: Rig) -> None:
    rig.programs = {"peak": replace(PROGRAM, contract=replace(CONTRACT, calls_per_season=10, hours_per_season=20.0))}
    await answered(rig, rig.event(event_id="one", in_s=120, lasts_s=360))
    await answered(rig, rig.event(event_id="two", in_s=1200, lasts_s=360))
    (first,), (second,) = [await rig.ledger.log(CONNECTION_ID, event_id) for event_id in ("one", "two")]
    assert first.detail.endswith(
        "; 1 of 2 calls of the day, 9 of 10 calls of the season and 19.9 of 20.0 hours of the season are left after "
        "it; the rest after it lasts until 22:50 on 15 July"
    )
    assert "; 0 of 2 calls of the day, 8 of 10 calls of the season and 19.8 of 20.0 hours" in second.detail


async def test_a_program_without_a_contract_or_without_counts_says_nothing_of_what_is_left(rig: Rig) -> None:
    await answered(rig, rig.event(event_id="free", in_s=120, lasts_s=360))
    rig.programs = {"peak": replace(PROGRAM, contract=Contract(committed_w=1000.0))}
    await answered(rig, rig.event(event_id="bounded", in_s=120, lasts_s=360))
    for event_id in ("free", "bounded"):
        (line,) = await rig.ledger.log(CONNECTION_ID, event_id)
        assert "left" not in line.detail


async def test_a_call_that_an_operator_left_in_its_middle_was_a_call(rig: Rig) -> None:
    rig.programs = {"peak": replace(PROGRAM, contract=CONTRACT)}
    rig.connection.says.append(rig.batch(rig.event(event_id="peak-1", in_s=120, lasts_s=600), complete=False))
    script = {200: lambda: rig.ask(CommandKind.OPT_OUT)}
    await rig.run(rig.intake(), rig.operating(), for_s=230, script=script)
    early = await answered(rig, rig.event(event_id="early", in_s=800 - 230, lasts_s=60))
    assert "rest" in early["early"][1]
