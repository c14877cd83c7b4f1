from dataclasses import replace
from datetime import timedelta

import pytest

from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind, Target
from protocols.openadr3 import codec, model
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_event import read_event
from protocols.openadr3.neutral_writing import write_event
from protocols.openadr3.timing import is_cancelled
from protocols.openadr3.values import FOREVER
from tests.unit.protocols.openadr3.objects import HOUR, NOON


def signal(kind: SignalKind, value: float, name: str = "", **fields: object) -> Signal:
    intervals = (EventInterval(starts_at=NOON, duration_s=3600.0, value=value),)
    return Signal(**{"name": name, "kind": kind, "intervals": intervals, **fields})  # type: ignore[arg-type]


def asked(*signals: Signal, **fields: object) -> GridEvent:
    usual: dict[str, object] = {
        "event_id": "event-1",
        "connection_id": "c",
        "program_id": "peak",
        "revision": 3,
        "status": EventStatus.FAR,
        "created_at": NOON - HOUR,
        "starts_at": NOON,
        "duration_s": 3600.0,
        "signals": signals,
    }
    return GridEvent(**{**usual, **fields})  # type: ignore[arg-type]


def written(event: GridEvent, version: Version = Version.V3_1) -> model.Event:
    return write_event(event, program_id="program-1", modified_at=NOON, version=version)


@pytest.mark.parametrize(
    ("kind", "value", "name", "units", "said"),
    [
        (SignalKind.LEVEL, 2.0, "SIMPLE", None, 2),
        (SignalKind.ADJUST, -5000.0, "DISPATCH_SETPOINT_RELATIVE", "KW", -5.0),
        (SignalKind.FRACTION, 0.25, "DISPATCH_SETPOINT_RELATIVE", "PERCENT", -0.25),
        (SignalKind.SETPOINT, 250_000.0, "DISPATCH_SETPOINT", "KW", 250.0),
        (SignalKind.LIMIT, 10_000.0, "IMPORT_CAPACITY_LIMIT", "KW", 10.0),
        (SignalKind.PRICE, 0.17, "PRICE", "KWH", 0.17),
    ],
)
def test_each_kind_has_its_words_and_is_read_back(
    kind: SignalKind, value: float, name: str, units: str | None, said: float
) -> None:
    found = written(asked(signal(kind, value)))
    assert found.intervals[0].payloads == (model.ValuesMap(type=name, values=(said,)),)
    assert found.payload_descriptors[0].units == units
    again = read_event(found, connection_id="c", version=Version.V3_1, received_at=NOON)
    assert again is not None
    assert (again.signals[0].kind, again.signals[0].intervals) == (kind, signal(kind, value).intervals)


def test_signals_of_one_time_share_an_interval() -> None:
    found = written(asked(signal(SignalKind.LEVEL, 1.0), signal(SignalKind.PRICE, 0.5, currency="EUR")))
    (interval,) = found.intervals
    assert [payload.type for payload in interval.payloads] == ["SIMPLE", "PRICE"]
    assert found.payload_descriptors[1].currency == "EUR"
    assert interval.period == model.IntervalPeriod(start=NOON, duration=HOUR)


def test_what_an_event_says_beside_its_signals() -> None:
    event = asked(
        signal(SignalKind.LEVEL, 1.0),
        rank=4,
        comment="peak",
        start_tolerance_s=60.0,
        targets=(Target(kind="ven", value="v"), Target(kind="group", value="g"), Target(kind="AREA", value="a")),
    )
    found = written(event)
    assert (found.program_id, found.priority, found.name, found.targets) == ("program-1", 4, "peak", ("v", "g", "a"))
    assert found.period == model.IntervalPeriod(start=NOON, duration=HOUR, randomize_start=timedelta(minutes=1))
    assert found.metadata == model.Metadata(id="event-1", created_at=NOON - HOUR, modified_at=NOON)
    older = written(event, Version.V3_0)
    assert [target.type for target in older.targets if isinstance(target, model.ValuesMap)] == [
        "VEN_NAME",
        "GROUP",
        "AREA",
    ]
    for version, said in ((Version.V3_1, found), (Version.V3_0, older)):
        assert codec.decode(codec.encode(said, version), model.Event, version) == said


def test_a_test_event_is_nothing_to_who_does_not_know_our_words() -> None:
    found = written(asked(signal(SignalKind.SETPOINT, 5000.0), test=True))
    assert found.intervals[0].payloads[0].type == "X_TEST_DISPATCH_SETPOINT"
    again = read_event(found, connection_id="c", version=Version.V3_1, received_at=NOON)
    assert again is not None
    assert again.test
    assert again.signals[0].kind is SignalKind.SETPOINT


def test_a_cancelled_event_has_no_time_left() -> None:
    found = written(asked(signal(SignalKind.LEVEL, 1.0), status=EventStatus.CANCELLED))
    assert is_cancelled(found)
    again = read_event(found, connection_id="c", version=Version.V3_1, received_at=NOON)
    assert again is not None
    assert again.status is EventStatus.CANCELLED


def test_an_open_end_is_for_ever() -> None:
    endless = (EventInterval(starts_at=NOON, duration_s=None, value=1.0),)
    found = written(asked(signal(SignalKind.LEVEL, 1.0, intervals=endless), duration_s=None))
    assert found.intervals[0].period == model.IntervalPeriod(start=NOON, duration=FOREVER)


def test_another_dialects_signal_is_carried_under_its_name() -> None:
    found = written(asked(signal(SignalKind.OTHER, 7.5, name="GHG", dialect_kind="GHG")))
    assert found.intervals[0].payloads == (model.ValuesMap(type="GHG", values=(7.5,)),)
    assert found.payload_descriptors == (model.EventPayloadDescriptor(payload_type="GHG", units="GHG"),)


@pytest.mark.parametrize(
    ("event", "why"),
    [
        (asked(signal(SignalKind.LEVEL, 1.0), ramp_up_s=-60.0), "no ramp"),
        (asked(signal(SignalKind.LEVEL, 1.0), recovery_s=60.0), "no ramp and no recovery"),
        (asked(signal(SignalKind.ADJUST, 1.0), signal(SignalKind.FRACTION, 0.1)), "under one payload type"),
        (asked(signal(SignalKind.CAPACITY, 0.7)), "no share of a site's capacity"),
    ],
)
def test_what_3_x_cannot_say_is_refused(event: GridEvent, why: str) -> None:
    with pytest.raises(ValueError, match=why):
        written(event)


def test_an_id_that_3_x_cannot_have_is_refused_when_it_is_sent() -> None:
    found = written(replace(asked(signal(SignalKind.LEVEL, 1.0)), event_id="http://event/1"))
    with pytest.raises(ValueError, match="is no object id"):
        codec.encode(found, Version.V3_1)
