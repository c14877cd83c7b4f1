from collections.abc import Callable
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protocols.grid import EventBatch, EventInterval, EventStatus, GridEvent, Opt, Refusal, Signal, SignalKind, Target
from protocols.openadr2b import codec, model
from protocols.openadr2b.event_kinds import WATTS
from protocols.openadr2b.neutral_event import read_batch, status_at, write_event

HALF_HOUR = timedelta(minutes=30)


def read(*offered: model.OfferedEvent) -> EventBatch:
    message = model.DistributeEvent(request_id="request-1", vtn_id="VTN-1", events=offered)
    return read_batch(message, connection_id="utility", raw_sha256="abc", received_at=offered[0].event.period.starts_at)


def of(event: GridEvent) -> model.OfferedEvent:
    return write_event(event, now=event.created_at)


def with_period(offered: model.OfferedEvent, **changes: object) -> model.OfferedEvent:
    return replace(offered, event=replace(offered.event, period=replace(offered.event.period, **changes)))


def with_descriptor(offered: model.OfferedEvent, **changes: object) -> model.OfferedEvent:
    return replace(offered, event=replace(offered.event, descriptor=replace(offered.event.descriptor, **changes)))


def with_one_signal(offered: model.OfferedEvent, **changes: object) -> model.OfferedEvent:
    signal = replace(offered.event.signal_set.signals[0], **changes)
    return replace(offered, event=replace(offered.event, signal_set=model.SignalSet(signals=(signal,))))


def interval(value: float, minutes: float | None = 30, **more: object) -> model.SignalInterval:
    duration = None if minutes is None else timedelta(minutes=minutes)
    return model.SignalInterval(value=value, duration=duration, **more)


def unit(kind: str, units: str, scale: str) -> model.ItemBase:
    return model.ItemBase(kind=kind, description=kind, units=units, scale=scale)


KILOWATTS = replace(WATTS, scale="k")
PER_KWH = unit("currencyPerKWh", "USD", "none")


@pytest.mark.parametrize(
    ("name", "type_", "item_base", "value", "kind", "expected"),
    [
        ("SIMPLE", "level", None, 2.0, SignalKind.LEVEL, 2.0),
        ("simple", "level", None, 0.0, SignalKind.LEVEL, 0.0),
        ("simple", "delta", None, 7.0, SignalKind.OTHER, 7.0),
        ("LOAD_DISPATCH", "delta", KILOWATTS, -5.0, SignalKind.ADJUST, -5_000.0),
        ("LOAD_DISPATCH", "delta", replace(WATTS, scale="M", units="J/s"), 0.5, SignalKind.ADJUST, 500_000.0),
        ("LOAD_DISPATCH", "setpoint", WATTS, 120_000.0, SignalKind.SETPOINT, 120_000.0),
        ("LOAD_DISPATCH", "multiplier", None, 0.9, SignalKind.FRACTION, 0.1),
        ("LOAD_DISPATCH", "multiplier", None, 1.25, SignalKind.FRACTION, -0.25),
        ("LOAD_DISPATCH", "delta", None, -5.0, SignalKind.OTHER, -5.0),
        ("LOAD_DISPATCH", "delta", unit("energyReal", "Wh", "k"), -5.0, SignalKind.OTHER, -5.0),
        ("LOAD_DISPATCH", "level", None, -10.0, SignalKind.OTHER, -10.0),
        ("x-importLimit", "setpoint", KILOWATTS, 80.0, SignalKind.LIMIT, 80_000.0),
        ("ELECTRICITY_PRICE", "price", PER_KWH, 0.31, SignalKind.PRICE, 0.31),
        ("ELECTRICITY_PRICE", "price", replace(PER_KWH, scale="c"), 31.0, SignalKind.PRICE, 0.31),
        ("ENERGY_PRICE", "price", None, 0.5, SignalKind.PRICE, 0.5),
        ("ENERGY_PRICE", "price", unit("currencyPerThm", "USD", "none"), 0.5, SignalKind.OTHER, 0.5),
        ("ELECTRICITY_PRICE", "priceMultiplier", None, 1.5, SignalKind.NOTICE, 1.5),
        ("ENERGY_PRICE", "priceRelative", PER_KWH, -0.1, SignalKind.NOTICE, -0.1),
        ("DEMAND_CHARGE", "price", unit("currencyPerKW", "USD", "none"), 12.5, SignalKind.NOTICE, 12.5),
        ("BID_PRICE", "price", PER_KWH, 0.4, SignalKind.NOTICE, 0.4),
        ("BID_LOAD", "setpoint", KILOWATTS, 400.0, SignalKind.OTHER, 400.0),
        ("BID_ENERGY", "setpoint", unit("energyReal", "Wh", "k"), 400.0, SignalKind.OTHER, 400.0),
        ("CHARGE_STATE", "multiplier", None, 0.5, SignalKind.OTHER, 0.5),
        ("LOAD_CONTROL", "x-loadControlCapacity", None, 0.7, SignalKind.CAPACITY, 0.7),
        ("LOAD_CONTROL", "x-loadControlPercentOffset", None, -0.2, SignalKind.FRACTION, 0.2),
        ("LOAD_CONTROL", "x-loadControlPercentOffset", None, 0.1, SignalKind.FRACTION, -0.1),
        ("LOAD_CONTROL", "x-loadControlLevelOffset", None, 1.0, SignalKind.OTHER, 1.0),
        ("LOAD_CONTROL", "x-loadControlSetpoint", None, 21.0, SignalKind.OTHER, 21.0),
        ("x-own", "level", None, 9.0, SignalKind.OTHER, 9.0),
    ],
)
def test_what_each_signal_means(
    event: GridEvent,
    name: str,
    type_: str,
    item_base: model.ItemBase | None,
    value: float,
    kind: SignalKind,
    expected: float,
) -> None:
    offered = with_one_signal(of(event), name=name, type=type_, unit=item_base, intervals=(interval(value, 60),))
    (signal,) = read(offered).events[0].signals
    assert (signal.name, signal.dialect_kind, signal.kind) == (name, type_, kind)
    assert signal.intervals[0].value == pytest.approx(expected)
    assert signal.currency == (item_base.units if kind is SignalKind.PRICE and item_base else None)


def test_intervals_accumulate_from_the_start(event: GridEvent) -> None:
    (read_event,) = read(of(event)).events
    assert read_event.signals[0].intervals == event.signals[0].intervals
    assert read_event.signals[0].intervals[1].starts_at == event.starts_at + HALF_HOUR


def test_an_active_period_of_no_duration_is_open_ended(event: GridEvent) -> None:
    offered = with_one_signal(with_period(of(event), duration=timedelta(0)), intervals=(interval(1, 0),))
    (open_ended,) = read(offered).events
    assert open_ended.duration_s is None
    assert open_ended.ends_at is None
    assert open_ended.signals[0].intervals == (EventInterval(starts_at=event.starts_at, duration_s=None, value=1.0),)


def test_a_last_interval_of_no_duration_is_open_ended(event: GridEvent) -> None:
    offered = with_one_signal(of(event), intervals=(interval(1), interval(2, 0)))
    (first, last) = read(offered).events[0].signals[0].intervals
    assert (first.duration_s, last.duration_s) == (1800.0, None)
    assert last.starts_at == event.starts_at + HALF_HOUR


def test_intervals_without_durations_reach_to_the_next_start_or_the_end(event: GridEvent) -> None:
    start = event.starts_at
    whole = with_one_signal(of(event), intervals=(interval(1, None),))
    assert read(whole).events[0].signals[0].intervals[0].duration_s == 3600.0
    stated = with_one_signal(
        of(event),
        intervals=(interval(1, None, starts_at=start), interval(2, None, starts_at=start + HALF_HOUR)),
    )
    assert [item.duration_s for item in read(stated).events[0].signals[0].intervals] == [1800.0, 1800.0]


def test_stated_starts_may_leave_gaps(event: GridEvent) -> None:
    later = event.starts_at + timedelta(minutes=45)
    offered = with_one_signal(
        of(event), intervals=(interval(1, 15, starts_at=event.starts_at), interval(2, 15, starts_at=later))
    )
    assert [item.starts_at for item in read(offered).events[0].signals[0].intervals] == [event.starts_at, later]


@pytest.mark.parametrize(
    ("intervals", "says"),
    [
        ((interval(1), interval(2, 15)), "take 2700 s, the active period 3600 s"),
        ((interval(1), interval(2, 45)), "take 4500 s"),
        ((interval(1, 0), interval(2, 60)), "interval 0 lasts no time"),
        ((interval(1, None), interval(2, 30)), "interval 0 has no duration"),
        ((interval(1, 60), interval(2, 0)), "interval 1 lasts no time"),
        ((interval(1, -30), interval(2, 90)), "interval 0 has a negative duration"),
        ((interval(1, 60, starts_at=None), interval(2, 60)), "take 7200 s"),
        ((interval(4, 60),), "level 4"),
        ((interval(0.5, 60),), "level 0.5"),
        ((interval(float("nan"), 60),), "value nan"),
        ((interval(float("inf"), 60),), "value inf"),
    ],
)
def test_an_event_that_contradicts_itself_is_a_fault_and_spoils_no_other(
    event: GridEvent, intervals: tuple[model.SignalInterval, ...], says: str
) -> None:
    bad = with_descriptor(with_one_signal(of(event), intervals=intervals), event_id="bad", modification_number=3)
    batch = read(bad, of(event))
    assert [item.event_id for item in batch.events] == ["event-1"]
    (fault,) = batch.faults
    assert (fault.event_id, fault.revision, fault.opt, fault.refusal) == ("bad", 3, Opt.OUT, Refusal.INVALID)
    assert says in fault.detail
    assert batch.complete


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"duration": timedelta(hours=-1)}, "the active period has a negative duration"),
        ({"notification": timedelta(hours=-1)}, "the notification has a negative duration"),
        ({"start_after": timedelta(hours=-1)}, "startafter has a negative duration"),
        ({"duration": timedelta(days=4000)}, "the active period has a duration of 4000 days"),
        ({"ramp_up": timedelta(days=-999_999_999)}, "the ramp-up has a duration of"),
        ({"recovery": timedelta(days=999_999_999)}, "the recovery has a duration of"),
        ({"starts_at": datetime(1, 1, 1, tzinfo=UTC)}, "begins in the year 1"),
        ({"starts_at": datetime(9999, 12, 31, tzinfo=UTC)}, "begins in the year 9999"),
    ],
)
def test_a_period_that_makes_no_sense_is_a_fault(event: GridEvent, changes: dict[str, Any], says: str) -> None:
    assert says in read(with_period(of(event), **changes)).faults[0].detail


def test_an_interval_before_the_event_is_a_fault(event: GridEvent) -> None:
    early = with_one_signal(of(event), intervals=(interval(1, 60, starts_at=event.starts_at - HALF_HOUR),))
    assert "begins before" in read(early).faults[0].detail


def test_an_interval_beyond_reason_is_a_fault(event: GridEvent) -> None:
    late = interval(1, 0, starts_at=datetime(9999, 12, 31, tzinfo=UTC))
    offered = with_one_signal(with_period(of(event), duration=timedelta(0)), intervals=(late,))
    assert "or never" in read(offered).faults[0].detail


@pytest.mark.parametrize(
    ("type_", "value", "says"),
    [
        ("x-loadControlCapacity", 1.2, "capacity 1.2, expected a fraction from 0 to 1"),
        ("x-loadControlCapacity", -0.1, "capacity -0.1"),
        ("x-loadControlCapacity", 70.0, "capacity 70"),
        ("x-loadControlPercentOffset", -20.0, "changes by -20, expected a fraction from -1 to 1"),
    ],
)
def test_a_load_control_out_of_its_range_is_a_fault(event: GridEvent, type_: str, value: float, says: str) -> None:
    offered = with_one_signal(of(event), name="LOAD_CONTROL", type=type_, intervals=(interval(value, 60),))
    assert says in read(offered).faults[0].detail


def test_a_multiplier_below_zero_is_a_fault(event: GridEvent) -> None:
    offered = with_one_signal(of(event), name="LOAD_DISPATCH", type="multiplier", intervals=(interval(-1, 60),))
    assert "multiplies by -1" in read(offered).faults[0].detail


@pytest.mark.parametrize(("priority", "rank"), [(None, None), (0, None), (1, 1), (7, 7)])
def test_priority_nought_is_none_and_one_is_the_highest(
    event: GridEvent, priority: int | None, rank: int | None
) -> None:
    assert read(with_descriptor(of(event), priority=priority)).events[0].rank == rank


@pytest.mark.parametrize(
    ("word", "test"),
    [(None, False), ("false", False), ("FALSE", False), (" False ", False), ("true", True), ("maybe", True)],
)
def test_anything_but_false_is_a_test_event(event: GridEvent, word: str | None, test: bool) -> None:
    assert read(with_descriptor(of(event), test_event=word)).events[0].test is test


def test_an_empty_test_event_is_a_test(event: GridEvent) -> None:
    # The profile: anything other than false. An empty element is other than false; only its absence is none.
    assert read(with_descriptor(of(event), test_event="")).events[0].test is True


def test_the_rest_of_an_event(event: GridEvent) -> None:
    period = {
        "start_after": timedelta(minutes=1),
        "notification": timedelta(hours=2),
        "ramp_up": timedelta(minutes=-10),
        "recovery": timedelta(minutes=5),
    }
    offered = replace(with_period(of(event), **period), response_required="never")
    offered = with_descriptor(offered, comment="hot day", status="near", modification_number=4)
    targets = model.Targets(
        ven_ids=("v1", "v2"), group_ids=("g",), resource_ids=("r",), party_ids=("p",), pnodes=("n",)
    )
    offered = replace(offered, event=replace(offered.event, targets=targets))
    batch = read(offered)
    (found,) = batch.events
    assert (found.start_tolerance_s, found.notification_s, found.ramp_up_s, found.recovery_s) == (60, 7200, -600, 300)
    assert (found.revision, found.status, found.comment) == (4, EventStatus.NEAR, "hot day")
    assert found.response_required is False
    assert found.program_id == "http://utility.example/peak"
    assert (found.connection_id, found.raw_sha256) == ("utility", "abc")
    assert found.targets == (
        Target(kind="ven", value="v1"),
        Target(kind="ven", value="v2"),
        Target(kind="group", value="g"),
        Target(kind="resource", value="r"),
        Target(kind="party", value="p"),
        Target(kind="pnode", value="n"),
    )


@pytest.mark.parametrize(
    ("kind", "values", "more"),
    [
        (SignalKind.LEVEL, (1.0, 3.0), {"name": "SIMPLE", "dialect_kind": "level"}),
        (SignalKind.ADJUST, (-5_000.5, 0.0), {"name": "LOAD_DISPATCH", "dialect_kind": "delta"}),
        (SignalKind.SETPOINT, (80_000.0,), {"name": "LOAD_DISPATCH", "dialect_kind": "setpoint"}),
        (SignalKind.FRACTION, (0.1, 0.25, 1.0), {"name": "LOAD_DISPATCH", "dialect_kind": "multiplier"}),
        (SignalKind.LIMIT, (120_000.0,), {"name": "x-importLimit", "dialect_kind": "setpoint"}),
        (
            SignalKind.PRICE,
            (0.1, -0.02),
            {"name": "ELECTRICITY_PRICE", "dialect_kind": "price", "currency": "EUR"},
        ),
        (SignalKind.CAPACITY, (0.0, 0.7, 1.0), {"name": "LOAD_CONTROL", "dialect_kind": "x-loadControlCapacity"}),
        (SignalKind.NOTICE, (12.5,), {"name": "DEMAND_CHARGE", "dialect_kind": "price"}),
        (SignalKind.OTHER, (0.5,), {"name": "CHARGE_STATE", "dialect_kind": "setpoint"}),
    ],
)
def test_every_kind_is_written_and_read_the_same(
    with_signal: Callable[..., GridEvent],
    valid: Callable[[bytes], None],
    kind: SignalKind,
    values: tuple[float, ...],
    more: dict[str, str],
) -> None:
    event = with_signal(kind, *values, **more)
    message = model.DistributeEvent(request_id="r", vtn_id="V", events=(of(event),))
    body = codec.encode(message)
    valid(body)
    again = codec.decode(body)
    assert isinstance(again, model.DistributeEvent)
    (found,) = read(*again.events).events
    assert found.signals == event.signals


def test_what_2_0b_cannot_say_is_refused(event: GridEvent) -> None:
    with pytest.raises(ValueError, match="a target of kind moon"):
        of(replace(event, targets=(Target(kind="moon", value="m"),)))
    odd = Signal(name="GHG", kind=SignalKind.OTHER, intervals=event.signals[0].intervals, dialect_kind="level")
    with pytest.raises(ValueError, match="'GHG' is not one of"):
        codec.encode(model.DistributeEvent(request_id="r", vtn_id="V", events=(of(replace(event, signals=(odd,))),)))


def test_fractions_of_seconds_are_rounded_once(event: GridEvent) -> None:
    thirds = tuple(
        EventInterval(starts_at=event.starts_at + timedelta(seconds=index * 20 / 3), duration_s=20 / 3, value=1.0)
        for index in range(3)
    )
    short = replace(event, duration_s=20.0, signals=(replace(event.signals[0], intervals=thirds),))
    offered = of(short)
    durations = [item.duration for item in offered.event.signal_set.signals[0].intervals]
    assert durations == [timedelta(seconds=7), timedelta(seconds=6), timedelta(seconds=7)]
    assert read(offered).faults == ()


def test_status_and_current_value_follow_the_clock(event: GridEvent) -> None:
    ramped = replace(event, ramp_up_s=-600.0)
    start = event.starts_at
    expected = [
        (start - timedelta(minutes=11), EventStatus.FAR, 0.0),
        (start - timedelta(minutes=10), EventStatus.NEAR, 0.0),
        (start, EventStatus.ACTIVE, 1.0),
        (start + HALF_HOUR, EventStatus.ACTIVE, 2.0),
        (start + 2 * HALF_HOUR, EventStatus.COMPLETED, 0.0),
    ]
    for now, status, value in expected:
        written = write_event(ramped, now=now).event
        assert (written.descriptor.status, written.signal_set.signals[0].current_value) == (status.value, value)
    assert status_at(event, start - timedelta(seconds=1)) is EventStatus.FAR
    assert status_at(replace(event, status=EventStatus.CANCELLED), start) is EventStatus.CANCELLED
    assert status_at(replace(event, duration_s=None), start + timedelta(days=9)) is EventStatus.ACTIVE
