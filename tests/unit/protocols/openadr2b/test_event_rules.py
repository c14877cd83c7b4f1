"""What 2.0b says of events, rule by rule: from an oadrDistributeEvent over our decision to the oadrCreatedEvent."""

from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, EventState, acts, changes, decide, state
from gateway.domain.governing import governing_signal
from protocols.grid import EventStatus, GridEvent, SignalKind, Target
from protocols.openadr2b import codec, model
from protocols.openadr2b.event_kinds import SCALES, WATTS
from protocols.openadr2b.neutral_event import write_event
from tests.unit.protocols.openadr2b.conftest import NOON, Scripted

CONTEXT = "http://utility.example/peak"
PROGRAMS = {CONTEXT: Program(program_id=CONTEXT, levels={1: 0.1, 2: 0.2, 3: 0.3}, capacity_w=1e6)}
HOUR = timedelta(hours=1)
NAMES = (
    "SIMPLE",
    "simple",
    "ELECTRICITY_PRICE",
    "ENERGY_PRICE",
    "DEMAND_CHARGE",
    "BID_PRICE",
    "BID_LOAD",
    "BID_ENERGY",
    "CHARGE_STATE",
    "LOAD_DISPATCH",
    "LOAD_CONTROL",
    "x-own",
)
TYPES = (
    "delta",
    "level",
    "multiplier",
    "price",
    "priceMultiplier",
    "priceRelative",
    "setpoint",
    "x-loadControlCapacity",
    "x-loadControlLevelOffset",
    "x-loadControlPercentOffset",
    "x-loadControlSetpoint",
)
Change = Callable[[model.OfferedEvent], model.OfferedEvent]


def period(**changes: Any) -> Change:
    return lambda offered: replace(
        offered, event=replace(offered.event, period=replace(offered.event.period, **changes))
    )


def descriptor(**changes: Any) -> Change:
    return lambda offered: replace(
        offered, event=replace(offered.event, descriptor=replace(offered.event.descriptor, **changes))
    )


def targets(**changes: Any) -> Change:
    return lambda offered: replace(offered, event=replace(offered.event, targets=model.Targets(**changes)))


def signal(*values: float, **changes: Any) -> model.EventSignal:
    length = HOUR / max(1, len(values))
    return model.EventSignal(
        **{
            "name": "SIMPLE",
            "type": "level",
            "signal_id": changes.get("name", "s"),
            "intervals": tuple(model.SignalInterval(value=value, duration=length) for value in values),
            **changes,
        }
    )


def signals(*given: model.EventSignal, baseline: model.EventBaseline | None = None) -> Change:
    return lambda offered: replace(
        offered, event=replace(offered.event, signal_set=model.SignalSet(signals=given, baseline=baseline))
    )


DISPATCH = signal(-5.0, name="LOAD_DISPATCH", type="delta", unit=replace(WATTS, scale="k"))
OURS = (Target(kind="group", value="south"), Target(kind="resource", value="site-1"))


async def answered(vtn: Scripted, *offered: model.OfferedEvent) -> tuple[tuple[GridEvent, ...], list[tuple[str, str]]]:
    """The events as they were read, and the answers: opt type and code."""
    vtn.ven = vtn.new_ven(targets=OURS)
    vtn.says("EiEvent", replace(Scripted.NO_EVENTS, events=offered))
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    decisions = [decide(event, PROGRAMS, vtn.ven.party_ids, NOON, not_ours=vtn.ven.not_ours) for event in batch.events]
    await vtn.ven.respond(batch, decisions, NOON)
    sent = vtn.sent(model.CreatedEvent)
    return batch.events, [(one.opt, one.code) for message in sent for one in message.event_responses]


@pytest.mark.parametrize(
    ("change", "answer"),
    [
        pytest.param(lambda offered: offered, ("optIn", "200"), id="plain"),
        pytest.param(descriptor(market_context="http://else"), ("optOut", "453"), id="a program that is not ours"),
        pytest.param(signals(signal(1.0, name="CHARGE_STATE", type="setpoint")), ("optOut", "460"), id="charge"),
        pytest.param(signals(signal(1.0, name="LOAD_CONTROL", type="setpoint")), ("optOut", "460"), id="load control"),
        pytest.param(signals(signal(0.7, name="LOAD_CONTROL", type="x-loadControlCapacity")),
                     ("optIn", "200"), id="capacity"),
        pytest.param(signals(signal(7.0, name="LOAD_CONTROL", type="x-loadControlCapacity")),
                     ("optOut", "454"), id="more than all of the capacity"),
        pytest.param(signals(signal(-0.2, name="LOAD_CONTROL", type="x-loadControlPercentOffset")),
                     ("optIn", "200"), id="percent offset"),
        pytest.param(signals(signal(1.0, name="LOAD_CONTROL", type="x-loadControlLevelOffset")),
                     ("optOut", "460"), id="level offset"),
        pytest.param(signals(signal(1.0, name="LOAD_CONTROL", type="x-loadControlSetpoint")),
                     ("optOut", "460"), id="set point of a controller"),
        pytest.param(signals(signal(12.5, name="DEMAND_CHARGE", type="price")), ("optIn", "200"), id="demand charge"),
        pytest.param(signals(signal(0.4, name="BID_PRICE", type="price")), ("optIn", "200"), id="bid price"),
        pytest.param(signals(signal(1.5, name="ENERGY_PRICE", type="priceMultiplier")),
                     ("optIn", "200"), id="multiplier of a price"),
        pytest.param(signals(signal(4.0, name="BID_LOAD", type="setpoint", unit=WATTS)),
                     ("optOut", "460"), id="bid load"),
        pytest.param(signals(signal(4.0, name="BID_ENERGY", type="setpoint")), ("optOut", "460"), id="bid energy"),
        pytest.param(signals(signal(5.0)), ("optOut", "454"), id="a level that there is not"),
        pytest.param(signals(signal(1.0, intervals=(model.SignalInterval(value=1.0, duration=HOUR * 2),))),
                     ("optOut", "454"), id="intervals longer than the event"),
        pytest.param(signals(DISPATCH), ("optIn", "200"), id="dispatch"),
        pytest.param(signals(signal(0.2, name="ELECTRICITY_PRICE", type="price")), ("optIn", "200"), id="price alone"),
        pytest.param(targets(ven_ids=("ven-1",)), ("optIn", "200"), id="our venID"),
        pytest.param(targets(ven_ids=("ven-2",)), ("optOut", "462"), id="another venID"),
        pytest.param(targets(group_ids=("north",)), ("optOut", "462"), id="another group"),
        pytest.param(targets(group_ids=("north", "south")), ("optIn", "200"), id="our group among others"),
        pytest.param(targets(ven_ids=("ven-1",), resource_ids=("x",)), ("optOut", "462"), id="another resource"),
        pytest.param(targets(party_ids=("acme",)), ("optIn", "200"), id="of parties nothing was declared"),
        pytest.param(descriptor(test_event="true"), ("optIn", "200"), id="a test"),
        pytest.param(descriptor(status="cancelled", modification_number=1), ("optIn", "200"), id="cancelled"),
        pytest.param(descriptor(status="completed"), ("optIn", "200"), id="completed"),
        pytest.param(period(duration=timedelta(days=-1)), ("optOut", "454"), id="a negative duration"),
    ],
)  # fmt: skip
async def test_each_event_has_its_own_code(
    vtn: Scripted, event: GridEvent, change: Change, answer: tuple[str, str]
) -> None:
    plain = write_event(replace(event, event_id="beside"), now=NOON)
    _, answers = await answered(vtn, change(write_event(event, now=NOON)), plain)
    assert sorted(answers) == sorted([answer, ("optIn", "200")])


@pytest.mark.parametrize(
    ("change", "reads"),
    [
        pytest.param(period(start_after=timedelta(minutes=10)), {"start_tolerance_s": 600.0}, id="startafter"),
        pytest.param(period(notification=HOUR), {"notification_s": 3600.0}, id="notification"),
        pytest.param(period(ramp_up=timedelta(minutes=-5), recovery=timedelta(minutes=5)),
                     {"ramp_up_s": -300.0, "recovery_s": 300.0}, id="ramp-up and recovery"),
        pytest.param(descriptor(priority=0), {"rank": None}, id="no priority"),
        pytest.param(descriptor(priority=1), {"rank": 1}, id="the highest priority"),
        pytest.param(descriptor(comment="hot day"), {"comment": "hot day"}, id="vtnComment"),
        pytest.param(descriptor(test_event="false"), {"test": False}, id="no test"),
        pytest.param(descriptor(test_event="drill"), {"test": True}, id="whatever else is a test"),
        pytest.param(targets(service_areas=((1.0, 2.0),)),
                     {"targets": (Target(kind="serviceArea", value="1.0 2.0"),)}, id="a service area"),
    ],
)  # fmt: skip
async def test_what_an_event_says_is_read(
    vtn: Scripted, event: GridEvent, change: Change, reads: dict[str, Any]
) -> None:
    (found,), _ = await answered(vtn, change(write_event(event, now=NOON)))
    assert {name: getattr(found, name) for name in reads} == reads


async def test_rule_47_an_event_that_lasts_no_time_is_open_ended(vtn: Scripted, event: GridEvent) -> None:
    endless = signals(signal(1.0, intervals=(model.SignalInterval(value=1.0, duration=timedelta(0)),)))
    (found,), answers = await answered(vtn, endless(period(duration=timedelta(0))(write_event(event, now=NOON))))
    assert (found.duration_s, found.ends_at) == (None, None)
    assert found.signals[0].intervals[0].duration_s is None
    assert answers == [("optIn", "200")]


async def test_rules_12_and_62_an_event_that_wants_no_answer_gets_none(vtn: Scripted, event: GridEvent) -> None:
    silent = replace(write_event(event, now=NOON), response_required="never")
    faulty = signals(signal(5.0))(replace(silent, event=replace(silent.event)))
    events, answers = await answered(vtn, silent)
    assert (len(events), answers, vtn.sent(model.CreatedEvent)) == (1, [], [])
    assert (await answered(vtn, faulty))[1] == []


async def test_a_test_event_is_answered_and_moves_nothing(vtn: Scripted, event: GridEvent) -> None:
    (found,), answers = await answered(vtn, descriptor(test_event="true")(write_event(event, now=NOON)))
    assert answers == [("optIn", "200")]
    assert not acts(found)


async def test_of_several_signals_the_most_specific_governs_and_all_are_kept(vtn: Scripted, event: GridEvent) -> None:
    baseline = model.EventBaseline(
        baseline_id="b",
        name="day ahead",
        starts_at=event.starts_at,
        duration=HOUR,
        intervals=(model.SignalInterval(value=50.0, duration=HOUR),),
        unit=replace(WATTS, scale="k"),
    )
    price = signal(0.2, name="ELECTRICITY_PRICE", type="price")
    several = signals(signal(1.0), price, DISPATCH, baseline=baseline)
    (found,), answers = await answered(vtn, several(write_event(event, now=NOON)))
    governing = governing_signal(found, PROGRAMS[CONTEXT])
    assert governing is not None
    assert (governing.kind, governing.intervals[0].value) == (SignalKind.ADJUST, -5000.0)
    assert [(one.name, one.kind) for one in found.signals] == [
        ("SIMPLE", SignalKind.LEVEL),
        ("ELECTRICITY_PRICE", SignalKind.PRICE),
        ("LOAD_DISPATCH", SignalKind.ADJUST),
        ("day ahead", SignalKind.OTHER),
    ]
    assert found.signals[-1].intervals[0].value == 50_000.0
    assert answers == [("optIn", "200")]
    again = write_event(found, now=NOON).event.signal_set.baseline
    assert again is not None
    assert (again.name, again.intervals[0].value) == ("day ahead", 50_000.0)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
async def test_a_baseline_that_makes_no_sense_spoils_no_event(vtn: Scripted, event: GridEvent, value: float) -> None:
    baseline = model.EventBaseline(
        baseline_id="b",
        name="b",
        starts_at=event.starts_at,
        duration=HOUR,
        intervals=(model.SignalInterval(value=value),),
    )
    offered = signals(signal(1.0), baseline=baseline)(write_event(event, now=NOON))
    assert (await answered(vtn, offered))[1] == [("optIn", "200")]


async def test_the_current_value_is_for_show_and_the_intervals_count(vtn: Scripted, event: GridEvent) -> None:
    (found,), _ = await answered(vtn, signals(signal(1.0, 2.0, current_value=3.0))(write_event(event, now=NOON)))
    assert [item.value for item in found.signals[0].intervals] == [1.0, 2.0]


@pytest.mark.parametrize("name", NAMES)
async def test_every_name_and_type_of_the_profile_is_carried(vtn: Scripted, event: GridEvent, name: str) -> None:
    offered = [
        signals(signal(1.0, name=name, type=kind))(write_event(replace(event, event_id=kind), now=NOON))
        for kind in TYPES
    ]
    events, answers = await answered(vtn, *offered)
    assert [one.signals[0].dialect_kind for one in events] == list(TYPES)
    assert {code for _, code in answers} <= {"200", "460"}


@pytest.mark.parametrize("scale", SCALES)
async def test_every_scale_is_brought_to_watts(vtn: Scripted, event: GridEvent, scale: str) -> None:
    scaled = signal(2.0, name="LOAD_DISPATCH", type="setpoint", unit=replace(WATTS, scale=scale))
    (found,), _ = await answered(vtn, signals(scaled)(write_event(event, now=NOON)))
    assert found.signals[0].intervals[0].value == 2.0 * SCALES[scale]


def held(event: GridEvent, **changes: Any) -> dict[str, EventRecord]:
    return {event.event_id: EventRecord(event=event, first_received_at=NOON, received_at=NOON, **changes)}


@pytest.mark.parametrize("after", [timedelta(0), timedelta(minutes=90)])
async def test_an_event_is_changed_before_and_during_it(vtn: Scripted, event: GridEvent, after: timedelta) -> None:
    (first,), _ = await answered(vtn, write_event(event, now=NOON))
    later = write_event(replace(event, revision=1), now=NOON + after)
    vtn.says("OadrPoll", replace(Scripted.NO_EVENTS, events=(signals(signal(3.0))(later),)))
    batch = await vtn.ven.receive(NOON + after)
    assert batch is not None
    (change,) = changes(held(first), batch)
    assert (change.kind, change.event.revision) == ("modified", 1)
    assert change.event.signals[0].intervals[0].value == 3.0


async def test_an_event_that_is_not_listed_is_cancelled_by_implication(vtn: Scripted, event: GridEvent) -> None:
    (first,), _ = await answered(vtn, write_event(event, now=NOON))
    vtn.says("OadrPoll", Scripted.NO_EVENTS)
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    (change,) = changes(held(first), batch)
    assert change.kind == "implied cancel"
    ended = held(first, ended_at=NOON)[first.event_id]
    assert state(ended, NOON) is EventState.CANCELLED


async def test_a_message_of_every_kind_of_event_passes_the_schema(
    event: GridEvent, valid: Callable[[bytes], None]
) -> None:
    offered = signals(signal(1.0), DISPATCH)(
        targets(ven_ids=("v",), service_areas=((1.0, 2.0),), party_ids=("p",))(write_event(event, now=NOON))
    )
    message = replace(Scripted.NO_EVENTS, events=(offered,))
    valid(codec.encode(message))
    assert codec.decode(codec.encode(message)) == message
    assert write_event(event, now=NOON).event.descriptor.status == EventStatus.FAR
