"""Settling: every event that we took part in has one statement, from inputs that stay the same."""

from dataclasses import replace
from datetime import timedelta

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Program
from gateway.domain.event import EventRecord
from gateway.domain.evidence import fingerprint
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import MeterImport, MeterKind
from gateway.domain.settlement import Edition, Run, SettlementStatement, check
from gateway.domain.statement_changes import changes
from gateway.ledger import LedgerUnavailable
from gateway.services.settling import gather_inputs
from hardware.device import PowerReading
from protocols.grid import EventStatus, Opt, SignalKind
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, SITE, STARTS_AT, Rig

RULE = shipped_rules()[PROGRAM.baseline_rule]


async def settle(rig: Rig, for_s: float = 300.0) -> list[str]:
    await rig.run(rig.metering(), rig.settling(), for_s=for_s)
    return [statement.verified.event_id for statement in await rig.ledger.statements()]


async def test_an_event_is_settled_once_when_its_last_interval_is_closed(rig: Rig) -> None:
    await rig.take(rig.event(in_s=120, lasts_s=90))
    seen: list[int] = []

    async def look() -> None:
        seen.append(len(await rig.ledger.statements()))

    await rig.run(rig.metering(), rig.settling(), for_s=280, script={238: look, 250: look})
    assert seen == [0, 1]
    (statement,) = await rig.ledger.statements()
    assert statement.verified.insufficient is None
    assert await settle(rig, 30) == ["peak-1"]
    assert "settled" in await rig.words()


async def test_what_moves_nothing_is_not_settled(rig: Rig) -> None:
    await rig.take(rig.event(event_id="out", in_s=60), Opt.OUT)
    await rig.take(rig.event(event_id="test", in_s=60, test=True))
    await rig.take(rig.event(event_id="over", in_s=-600))
    await rig.take(rig.event(event_id="price", in_s=60, kind=SignalKind.PRICE, value=0.12))
    await rig.take(rig.event(event_id="cancelled", in_s=60, status=EventStatus.CANCELLED))
    assert await settle(rig) == []


async def test_an_event_cut_short_is_settled_up_to_there(rig: Rig) -> None:
    await rig.take(rig.event(in_s=60, lasts_s=None))

    async def cancel() -> None:
        await rig.ledger.end_event(CONNECTION_ID, "peak-1", rig.clock.now(), "cancelled by the sender")

    await rig.run(rig.metering(), rig.settling(), for_s=250, script={150: cancel})
    (statement,) = await rig.ledger.statements()
    last = statement.verified.intervals[-1]
    assert last.starts_at + timedelta(seconds=last.duration_s) == STARTS_AT + timedelta(seconds=150)


async def test_an_event_that_ended_while_we_were_down_waits_for_its_intervals(rig: Rig) -> None:
    await rig.take(rig.event(in_s=60, lasts_s=60))
    await rig.run(rig.metering(), for_s=119)
    rig.clock._now += timedelta(minutes=10)
    # Settling looks first; metering closes what is left a moment later.
    closed: list[int] = []
    settling = rig.settling()
    settle_one = settling._settle

    async def look(record: EventRecord, program: Program) -> bool:
        closed.append(len(await rig.ledger.energy_between(SITE.meter_id, STARTS_AT, STARTS_AT + timedelta(minutes=2))))
        return await settle_one(record, program)

    settling._settle = look  # type: ignore[method-assign] - looks on at the moment of settling
    await rig.run(settling, rig.metering(), for_s=30)
    assert closed == [2]


async def test_an_event_whose_last_interval_was_never_measured_is_settled_all_the_same(rig: Rig) -> None:
    await rig.take(rig.event(in_s=60, lasts_s=300))
    await rig.run(rig.metering(), for_s=90)
    rig.clock._now += timedelta(minutes=10)
    assert await settle(rig, 100) == []
    assert await settle(rig, 130) == ["peak-1"]


async def test_the_inputs_are_the_same_today_and_later(rig: Rig) -> None:
    other = await rig.take(rig.event(event_id="longer", in_s=150, lasts_s=None))
    await rig.take(rig.event(in_s=120, lasts_s=60))
    assert await settle(rig, 260) == ["peak-1"]
    (statement,) = await rig.ledger.statements()
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    today = await gather_inputs(rig.ledger, SITE, record, RULE)
    assert check(statement, today, PROGRAM) is None
    assert len(today.excluded) == 2

    rig.clock._now += timedelta(hours=1)
    await rig.take(replace(other, revision=1, duration_s=7200.0))
    await rig.ledger.end_event(CONNECTION_ID, "longer", rig.clock.now(), "cancelled by the sender")
    await rig.take(rig.event(event_id="late", in_s=-3600 - 110, lasts_s=7200.0))
    later = await gather_inputs(rig.ledger, SITE, record, RULE)
    assert later == today


async def test_a_ledger_that_is_away_delays_a_statement_and_loses_none(rig: Rig) -> None:
    def lock(locked: bool) -> None:
        rig.database.locked = locked

    await rig.take(rig.event(in_s=60, lasts_s=60))
    said: list[str | None] = []
    await rig.run(
        rig.metering(),
        rig.settling(),
        for_s=400,
        script={
            110: lambda: lock(True),
            340: lambda: said.append(rig.readiness.parts()["settling"]),
            350: lambda: lock(False),
        },
    )
    assert said == ["another process holds the database"]
    (statement,) = await rig.ledger.statements()
    assert all(interval.coverage_fraction == 1.0 for interval in statement.verified.intervals)


async def test_a_crash_between_verification_and_statement_is_made_good(rig: Rig) -> None:
    await rig.take(rig.event(in_s=60, lasts_s=60))
    record_statement = rig.ledger.record_statement

    async def crash(*_: object) -> None:
        raise LedgerUnavailable("the disk is full")

    rig.ledger.record_statement = crash  # type: ignore[method-assign, assignment] - fails between the two
    assert await settle(rig, 140) == []
    verified = await rig.ledger.verified(CONNECTION_ID, "peak-1")
    rig.ledger.record_statement = record_statement  # type: ignore[method-assign] - as it was
    assert await settle(rig, 20) == ["peak-1"]
    (statement,) = await rig.ledger.statements()
    assert statement.verified == verified


async def test_what_was_settled_long_ago_is_forgotten(rig: Rig) -> None:
    settling = rig.settling()
    await rig.take(rig.event(in_s=60, lasts_s=60))
    await rig.run(settling, rig.metering(), for_s=140)
    assert len(settling._settled) == 1
    rig.clock._now += timedelta(days=30)
    await rig.run(settling, for_s=1)
    assert settling._settled == set()


async def late(rig: Rig, *, power_w: float = 500.0) -> None:
    """Readings of the second minute of the event, which were not there when it was settled."""
    at = STARTS_AT + timedelta(seconds=120)
    rig.ledger.publish(
        [
            PowerReading(meter_id=SITE.meter_id, measured_at=at + timedelta(seconds=index), power_w=power_w)
            for index in range(60)
        ]
    )
    await rig.ledger.flush()


async def settled_with_a_gap(rig: Rig) -> SettlementStatement:
    """An event of two minutes, of which the second was not metered in time."""
    await rig.take(rig.event(in_s=60, lasts_s=120))
    await rig.run(rig.metering(), for_s=119)
    rig.clock._now += timedelta(minutes=10)
    await rig.run(rig.settling(), for_s=140)
    (first,) = await rig.ledger.statements()
    return first


async def test_readings_that_come_late_make_a_version_that_says_why(rig: Rig) -> None:
    first = await settled_with_a_gap(rig)
    assert first.edition == Edition(
        version=1, run=Run.INITIAL, dispute_until=first.issued_at + timedelta(days=PROGRAM.dispute_days)
    )
    await late(rig)
    await rig.run(rig.settling(), for_s=140)
    before, after = await rig.ledger.statements()
    assert before == first
    assert after.statement_id == f"{first.statement_id}-v2"
    assert (after.edition.version, after.edition.run, after.edition.supersedes) == (
        2, Run.RECALCULATED, first.statement_id,
    )  # fmt: skip
    assert after.delivered_kwh != first.delivered_kwh

    inputs = [await rig.ledger.statement_inputs(one.verified.inputs_sha256) for one in (before, after)]
    assert inputs[0] is not None
    assert inputs[1] is not None
    for statement, given in zip((before, after), inputs, strict=True):
        assert check(statement, given, PROGRAM) is None
    found = changes(before, after, inputs[0], inputs[1])
    assert {one.figure for one in found} >= {"measured Wh", "delivered Wh", "delivered kWh"}
    lines = [line.detail for line in await rig.ledger.log(CONNECTION_ID, "peak-1") if line.what == "settled again"]
    assert len(lines) == 1
    assert "of the event came late or were edited" in lines[0]


async def test_nothing_new_makes_no_version_however_often_it_is_asked(rig: Rig) -> None:
    first = await settled_with_a_gap(rig)
    for _ in range(3):
        await rig.run(rig.settling(), for_s=140)
    await rig.run(rig.settling(), for_s=4000)
    assert await rig.ledger.statements() == (first,)


async def test_late_readings_are_noticed_within_the_hour(rig: Rig) -> None:
    first = await settled_with_a_gap(rig)

    async def come() -> None:
        await late(rig)

    await rig.run(rig.settling(), for_s=3700, script={60: come})
    assert [one.edition.supersedes for one in await rig.ledger.statements()] == ["", first.statement_id]


async def test_a_final_statement_is_the_last_one(rig: Rig) -> None:
    first = await settled_with_a_gap(rig)
    final = replace(
        first, statement_id=f"{first.statement_id}-v2", edition=Edition(version=2, run=Run.FINAL, shadow=False)
    )
    await rig.ledger.record_statement(final)
    await late(rig)
    await rig.run(rig.settling(), for_s=140)
    assert await rig.ledger.statements() == (first, final)


async def test_what_comes_after_the_final_statement_is_said_once_and_changes_nothing(rig: Rig) -> None:
    first = await settled_with_a_gap(rig)
    final = replace(
        first, statement_id=f"{first.statement_id}-v2", edition=Edition(version=2, run=Run.FINAL, shadow=True)
    )
    await rig.ledger.record_statement(final)
    verified = await rig.ledger.verified(CONNECTION_ID, "peak-1")
    settling = rig.settling()
    await rig.run(settling, for_s=10, script={5: lambda: load_revenue_data(rig, 20.0)})
    for _ in range(2):
        await rig.run(rig.settling(), for_s=140)
    assert await rig.ledger.statements() == (first, final)
    assert await rig.ledger.verified(CONNECTION_ID, "peak-1") == verified
    (line,) = [line for line in await rig.ledger.log(CONNECTION_ID, "peak-1") if line.what == "final stands"]
    assert line.detail.startswith(f"{final.statement_id} stays at {final.delivered_kwh} kWh, {final.amount} USD; by ")
    assert "it rests on the revenue meter, its baseline in part on our own now" in line.detail


async def test_a_revision_of_a_settled_event_supersedes_its_statement(rig: Rig) -> None:
    first = await settled_with_a_gap(rig)
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    await rig.take(replace(record.event, revision=1))
    await rig.run(rig.settling(), for_s=140)
    _, second = await rig.ledger.statements()
    assert (second.verified.revision, second.edition.supersedes) == (1, first.statement_id)


async def load_revenue_data(rig: Rig, energy_wh: float, *, first: int = 1, count: int = 2, name: str = "i1") -> None:
    """The revenue meter's minutes as somebody imports them; by themselves the event's two."""
    minute = timedelta(seconds=60)
    begins_at = STARTS_AT + first * minute
    intervals = tuple(
        IntervalEnergy(
            starts_at=begins_at + index * minute, duration_s=60.0, energy_wh=energy_wh, coverage_fraction=1.0
        )
        for index in range(count)
    )
    source = MeterImport(
        import_id=name,
        meter_id=SITE.meter_id,
        source=f"{name}.csv",
        sha256=fingerprint(name),
        unit="Wh",
        kind=MeterKind.REVENUE,
        by="Ann",
        at=rig.clock.now(),
        starts_at=begins_at,
        ends_at=begins_at + count * minute,
        count=count,
    )
    assert await rig.ledger.record_import(source, intervals)


async def test_a_statement_is_a_shadow_until_the_revenue_meter_has_spoken(rig: Rig) -> None:
    """Long after the event, and over the hours before it that nothing was imported of."""
    first = await settled_with_a_gap(rig)
    assert first.edition.shadow
    rig.clock._now += timedelta(days=30)
    settling = rig.settling()
    await rig.run(settling, for_s=10)
    assert await rig.ledger.statements() == (first,)
    await rig.run(settling, for_s=10, script={1: lambda: load_revenue_data(rig, 20.0)})
    _, second = await rig.ledger.statements()
    assert not second.edition.shadow
    assert [one.measured_wh for one in second.verified.intervals] == [20.0, 20.0]
    lines = [line.detail for line in await rig.ledger.log(CONNECTION_ID, "peak-1") if line.what == "settled again"]
    assert len(lines) == 1
    assert "it rests on the revenue meter, its baseline in part on our own now" in lines[0]
    await rig.run(rig.settling(), for_s=60)
    assert len(await rig.ledger.statements()) == 2


async def test_a_baseline_by_another_meter_than_the_event_is_said_until_it_is_by_the_same(rig: Rig) -> None:
    await settled_with_a_gap(rig)
    await load_revenue_data(rig, 20.0)
    await rig.run(rig.settling(), for_s=140)
    mixed = (await rig.ledger.statements())[-1]
    assert mixed.edition.own_baseline
    assert any("its baseline not all of it" in note for note in mixed.notes)
    await load_revenue_data(rig, 30.0, first=-60, count=61, name="i2")
    await rig.run(rig.settling(), for_s=140)
    whole = (await rig.ledger.statements())[-1]
    assert (whole.edition.version, whole.edition.shadow, whole.edition.own_baseline) == (3, False, False)
    assert [one.baseline_wh for one in whole.verified.intervals] == [30.0, 30.0]
    assert not any("its baseline not all of it" in note for note in whole.notes)


async def test_events_whose_names_run_into_each_other_have_a_statement_each(rig: Rig) -> None:
    longer = replace(rig.event(event_id="x-peak", in_s=60, lasts_s=60), connection_id="utility")
    shorter = replace(rig.event(event_id="peak", in_s=60, lasts_s=60), connection_id="utility-x")
    for one in (longer, shorter):
        await rig.take(one)
    await settle(rig, 260)
    found = await rig.ledger.statements()
    assert {(one.verified.connection_id, one.verified.event_id) for one in found} == {
        ("utility", "x-peak"),
        ("utility-x", "peak"),
    }
    names = sorted(one.statement_id for one in found)
    assert len(names) == 2
    assert names[1].startswith(f"{names[0]}~")
    # Asked once more, each has its own and gets no other.
    await settle(rig, 130)
    assert await rig.ledger.statements() == found


async def test_a_version_that_another_process_has_just_issued_is_not_issued_again(rig: Rig) -> None:
    first = await settled_with_a_gap(rig)
    await late(rig)
    statements_of = rig.ledger.statements_of

    async def before_the_other(connection_id: str, event_id: str) -> tuple[SettlementStatement, ...]:
        found = await statements_of(connection_id, event_id)
        final = replace(first, statement_id=f"{first.statement_id}-v2", edition=Edition(version=2, run=Run.FINAL))
        await rig.ledger.record_statement(final)
        return found

    rig.ledger.statements_of = before_the_other  # type: ignore[method-assign] - another process in between
    await rig.run(rig.settling(), for_s=140)
    assert [one.edition.run for one in await rig.ledger.statements()] == [Run.INITIAL, Run.FINAL]
    said = [line.what for line in await rig.ledger.log(CONNECTION_ID, "peak-1")]
    assert "settled again" not in said
