"""An event or a report that our VTN and our VEN say to each other in 2.0b is the same at the other end."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st

from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind, Target
from protocols.grid_report import IntervalReport, ReportInterval
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_event import read_batch, write_event
from protocols.openadr2b.neutral_report import read_report, write_report

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
NAMES = {
    SignalKind.LEVEL: ("SIMPLE", "level"),
    SignalKind.ADJUST: ("LOAD_DISPATCH", "delta"),
    SignalKind.SETPOINT: ("LOAD_DISPATCH", "setpoint"),
    SignalKind.LIMIT: ("x-importLimit", "setpoint"),
    SignalKind.FRACTION: ("LOAD_DISPATCH", "multiplier"),
    SignalKind.PRICE: ("ELECTRICITY_PRICE", "price"),
    SignalKind.CAPACITY: ("LOAD_CONTROL", "x-loadControlCapacity"),
    SignalKind.NOTICE: ("DEMAND_CHARGE", "price"),
}
instants = st.integers(-(10**15), 10**15).map(lambda shift: NOON + timedelta(microseconds=shift))
seconds = st.integers(1, 86_400).map(float)
ids = st.text("abc-1", min_size=1, max_size=8)


def values(kind: SignalKind) -> st.SearchStrategy[float]:
    if kind is SignalKind.LEVEL:
        return st.sampled_from([0.0, 1.0, 2.0, 3.0])
    if kind is SignalKind.FRACTION:
        return st.integers(-2_000, 1_000).map(lambda thousandths: thousandths / 1000)
    if kind is SignalKind.CAPACITY:
        return st.floats(0.0, 1.0)
    return st.floats(-1e9, 1e9)


@st.composite
def grid_events(draw: st.DrawFn) -> GridEvent:
    starts_at = draw(instants)
    lengths = draw(st.lists(seconds, min_size=1, max_size=4))
    open_ended = draw(st.booleans())
    begins = [starts_at + timedelta(seconds=sum(lengths[:index])) for index in range(len(lengths))]

    def signal(kind: SignalKind) -> Signal:
        intervals = [
            EventInterval(starts_at=begin, duration_s=length, value=draw(values(kind)))
            for begin, length in zip(begins, lengths, strict=True)
        ]
        if open_ended:
            intervals[-1] = replace(intervals[-1], duration_s=None)
        name, word = NAMES[kind]
        currency = draw(st.sampled_from([None, "USD", "EUR"])) if kind is SignalKind.PRICE else None
        return Signal(name=name, kind=kind, intervals=tuple(intervals), dialect_kind=word, currency=currency)

    return GridEvent(
        event_id=draw(ids),
        connection_id="c",
        program_id=draw(ids),
        revision=draw(st.integers(0, 9)),
        status=EventStatus.FAR,
        created_at=draw(instants),
        starts_at=starts_at,
        duration_s=None if open_ended else sum(lengths),
        signals=tuple(signal(kind) for kind in draw(st.lists(st.sampled_from(sorted(NAMES)), min_size=1, max_size=3))),
        rank=draw(st.none() | st.integers(1, 9)),
        test=draw(st.booleans()),
        response_required=draw(st.booleans()),
        notification_s=float(draw(st.integers(0, 9_999))),
        ramp_up_s=float(draw(st.integers(-9_999, 9_999))),
        recovery_s=float(draw(st.integers(-9_999, 9_999))),
        start_tolerance_s=float(draw(st.integers(0, 9_999))),
        targets=tuple(Target(kind="ven", value=value) for value in draw(st.lists(ids, max_size=2))),
        comment=draw(ids),
    )


def over_the_wire(event: GridEvent) -> GridEvent:
    offered = write_event(event, now=event.starts_at - timedelta(days=1))
    message = codec.decode(codec.encode(model.DistributeEvent(request_id="r", vtn_id="V", events=(offered,))))
    assert isinstance(message, model.DistributeEvent)
    batch = read_batch(message, connection_id="c", raw_sha256="", received_at=NOON)
    assert batch.faults == ()
    return batch.events[0]


@settings(max_examples=100, deadline=None)
@given(grid_events())
def test_an_event_is_the_same_at_the_other_end(event: GridEvent) -> None:
    assert over_the_wire(event) == event


def test_the_least_event_is_the_same_at_the_other_end() -> None:
    event = GridEvent(
        event_id="e",
        connection_id="c",
        program_id="p",
        revision=0,
        status=EventStatus.FAR,
        created_at=NOON,
        starts_at=NOON,
        duration_s=None,
        signals=(
            Signal(
                name="SIMPLE",
                kind=SignalKind.LEVEL,
                dialect_kind="level",
                intervals=(EventInterval(starts_at=NOON, duration_s=None, value=1.0),),
            ),
        ),
    )
    assert over_the_wire(event) == event


report_intervals = st.lists(
    st.builds(
        ReportInterval,
        starts_at=instants,
        duration_s=seconds,
        power_w=st.floats(-1e9, 1e9),
        coverage_fraction=st.integers(0, 100).map(lambda percent: percent / 100),
    ),
    min_size=1,
    max_size=5,
)


@settings(max_examples=100, deadline=None)
@given(report_intervals, ids, ids)
def test_a_report_is_the_same_at_the_other_end(
    intervals: list[ReportInterval], report_id: str, resource_id: str
) -> None:
    intervals.sort(key=lambda interval: interval.starts_at)
    report = IntervalReport(
        report_id=report_id,
        order_id="o",
        connection_id="c",
        resource_id=resource_id,
        created_at=NOON,
        intervals=tuple(intervals),
    )
    written = write_report(report, order_id="o")
    assert written is not None
    message = codec.decode(codec.encode(model_report.UpdateReport(request_id="r", reports=(written,))))
    assert isinstance(message, model_report.UpdateReport)
    assert list(read_report(message.reports[0], connection_id="c", granularity_s=1, scale="none")) == [report]


def test_a_report_of_nought_watts_is_a_measurement() -> None:
    interval = ReportInterval(starts_at=NOON, duration_s=1.0, power_w=0.0, coverage_fraction=1.0)
    report = IntervalReport(
        report_id="r", order_id="o", connection_id="c", resource_id="s", created_at=NOON, intervals=(interval,)
    )
    written = write_report(report, order_id="o")
    assert written is not None
    assert list(read_report(written, connection_id="c", granularity_s=1, scale="none")) == [report]
