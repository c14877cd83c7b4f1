"""An event of ours is read back as it was meant, and no event that can be decoded makes the mapping break."""

import contextlib
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind, Target
from protocols.openadr3 import codec, model
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_event import read_event
from protocols.openadr3.neutral_writing import write_event
from protocols.openadr3.timing import MOST_VALUES, Contradiction
from protocols.openadr3.values import FOREVER, NOW

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
QUICK = settings(max_examples=60, deadline=None)

NAMES = {
    SignalKind.LEVEL: ("SIMPLE", ""),
    SignalKind.ADJUST: ("DISPATCH_SETPOINT_RELATIVE", "KW"),
    SignalKind.SETPOINT: ("DISPATCH_SETPOINT", "KW"),
    SignalKind.LIMIT: ("IMPORT_CAPACITY_LIMIT", "KW"),
    SignalKind.PRICE: ("PRICE", "KWH"),
    SignalKind.NOTICE: ("GHG", "GHG"),
    SignalKind.OTHER: ("CHARGE_STATE_SETPOINT", "PERCENT"),
}


@st.composite
def signals(draw: st.DrawFn, kind: SignalKind) -> Signal:
    starts_at, intervals = NOON, []
    for length_s in draw(st.lists(st.integers(1, 7200), min_size=1, max_size=4)):
        # Whole kilowatts survive being written in KW.
        value = draw(st.integers(0, 3)) * (1.0 if kind in {SignalKind.LEVEL, SignalKind.PRICE} else 1000.0)
        intervals.append(EventInterval(starts_at=starts_at, duration_s=float(length_s), value=value))
        starts_at += timedelta(seconds=length_s + draw(st.sampled_from([0, 60])))
    if draw(st.booleans()):
        last = intervals.pop()
        intervals.append(EventInterval(starts_at=last.starts_at, duration_s=None, value=last.value))
    name, units = NAMES[kind]
    currency = draw(st.sampled_from(["USD", None])) if kind is SignalKind.PRICE else None
    return Signal(name=name, kind=kind, intervals=tuple(intervals), dialect_kind=units, currency=currency)


@st.composite
def events(draw: st.DrawFn) -> GridEvent:
    kinds = draw(st.lists(st.sampled_from(list(NAMES)), min_size=1, max_size=3, unique=True))
    found = tuple(draw(signals(kind)) for kind in kinds)
    ends_s = [
        None if item.duration_s is None else (item.starts_at - NOON).total_seconds() + item.duration_s
        for signal in found
        for item in signal.intervals
    ]
    finite_s = [end_s for end_s in ends_s if end_s is not None]
    return GridEvent(
        event_id="event-1",
        connection_id="c",
        program_id="program-1",
        revision=int(NOON.timestamp() * 1e6),
        status=EventStatus.FAR,
        created_at=NOON,
        starts_at=NOON,
        duration_s=max(finite_s) if len(finite_s) == len(ends_s) else None,
        signals=found,
        rank=draw(st.none() | st.integers(0, 9)),
        test=draw(st.booleans()),
        response_required=False,
        start_tolerance_s=float(draw(st.integers(0, 600))),
        targets=tuple(Target(kind="target", value=word) for word in draw(st.lists(st.sampled_from("ab"), max_size=2))),
        comment=draw(st.sampled_from(["", "peak"])),
    )


def sent_and_read(event: GridEvent) -> GridEvent | None:
    said = write_event(event, program_id="program-1", modified_at=NOON, version=Version.V3_1)
    again = codec.decode(codec.encode(said, Version.V3_1), model.Event, Version.V3_1)
    return read_event(again, connection_id="c", version=Version.V3_1, received_at=NOON - timedelta(seconds=1))


@QUICK
@given(events())
def test_an_event_is_read_as_it_was_written(event: GridEvent) -> None:
    found = sent_and_read(event)
    assert found is not None
    assert sorted(found.signals, key=lambda signal: signal.name) == sorted(
        event.signals, key=lambda signal: signal.name
    )
    assert {**_fields(found), "signals": ()} == {**_fields(event), "signals": ()}


def _fields(event: GridEvent) -> dict[str, object]:
    return {name: getattr(event, name) for name in GridEvent.__slots__}


def test_the_least_event_is_read_as_it_was_written() -> None:
    interval = EventInterval(starts_at=NOON, duration_s=60.0, value=1.0)
    event = GridEvent(
        event_id="e",
        connection_id="c",
        program_id="program-1",
        revision=int(NOON.timestamp() * 1e6),
        status=EventStatus.FAR,
        created_at=NOON,
        starts_at=NOON,
        duration_s=60.0,
        signals=(Signal(name="SIMPLE", kind=SignalKind.LEVEL, intervals=(interval,)),),
        response_required=False,
    )
    assert sent_and_read(event) == event


lengths = st.sampled_from([timedelta(0), timedelta(seconds=1), timedelta(hours=1), FOREVER, timedelta(days=-1)])
starts = st.sampled_from([NOW, NOON, NOON.replace(year=9999), NOON.replace(year=1066), NOON + timedelta(minutes=30)])
periods = st.builds(
    model.IntervalPeriod,
    start=st.none() | starts,
    duration=st.none() | lengths,
    randomize_start=st.none() | lengths,
)
payloads = st.builds(
    model.ValuesMap,
    type=st.sampled_from(["SIMPLE", "PRICE", "DISPATCH_SETPOINT", "DISPATCH_SETPOINT_RELATIVE", "ALERT_FIRE", "X"]),
    values=st.lists(
        st.floats(allow_nan=False, allow_infinity=False) | st.integers(-5, 10**30) | st.text(max_size=3), max_size=3
    ).map(tuple),
)
descriptors = st.builds(
    model.EventPayloadDescriptor,
    payload_type=st.sampled_from(["PRICE", "DISPATCH_SETPOINT", "DISPATCH_SETPOINT_RELATIVE"]),
    units=st.sampled_from([None, "KW", "KWH", "PERCENT", "X"]),
)
any_events = st.builds(
    model.Event,
    program_id=st.just("p"),
    duration=st.none() | lengths,
    period=st.none() | periods,
    payload_descriptors=st.lists(descriptors, max_size=2).map(tuple),
    intervals=st.lists(
        st.builds(
            model.Interval,
            id=st.just(0),
            period=st.none() | periods,
            payloads=st.lists(payloads, max_size=2).map(tuple),
        ),
        max_size=3,
    ).map(tuple),
)


@settings(max_examples=300, deadline=None)
@given(any_events, st.sampled_from(list(Version)))
def test_any_event_is_read_or_contradicts_itself(event: model.Event, version: Version) -> None:
    found = None
    # Any other exception fails the test.
    with contextlib.suppress(Contradiction):
        found = read_event(event, connection_id="c", version=version, received_at=NOON)
    for signal in found.signals if found is not None else ():
        assert len(signal.intervals) <= MOST_VALUES
        ends = [item.starts_at for item in signal.intervals]
        assert ends == sorted(ends)
        assert all(item.duration_s is None or item.duration_s > 0 for item in signal.intervals)
