"""What holds for the plan of any event."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import example, given
from hypothesis import strategies as st

from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, dispatch_ends_at, ramp_starts_at
from gateway.domain.plan import LiveBaseline, PowerPlan, plan, target_w
from hardware.job import CurvePoint, JobView
from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind

START = datetime(2026, 7, 1, 16, 0, tzinfo=UTC)
PROGRAM = Program(program_id="peak", levels={1: 0.1, 2: 0.25, 3: 0.4})
BASELINE = LiveBaseline(
    connection_id="utility", event_id="ev1", power_w=100_000.0, from_at=START, to_at=START, readings=1
)
JOBS = tuple(
    JobView(
        job_id=f"job{i}",
        device_ids=tuple(f"gpu{i}-{k}" for k in range(100)),
        tier="flex2",
        weight=1.0 + i,
        min_throughput=0.6,
        curve=(
            CurvePoint(cap_w=100.0, power_w=100.0, throughput=0.3),
            CurvePoint(cap_w=200.0, power_w=200.0, throughput=0.8),
            CurvePoint(cap_w=400.0, power_w=400.0, throughput=1.0),
        ),
        max_pause_s=300.0 * i,
    )
    for i in range(2)
)


def make_record(
    kind: SignalKind, values: list[tuple[int, float]], ramp_s: int, recovery_s: int, ended_s: int | None
) -> EventRecord:
    """Values of a kind, given as parts of the baseline, one after the other for so many seconds."""
    intervals = []
    starts_at = START
    for seconds, part in values:
        value = {
            SignalKind.LEVEL: float(round(3 * part)),
            SignalKind.FRACTION: part,
            SignalKind.ADJUST: -part * BASELINE.power_w,
        }.get(kind, part * BASELINE.power_w)
        intervals.append(EventInterval(starts_at=starts_at, duration_s=float(seconds), value=value))
        starts_at += timedelta(seconds=seconds)
    event = GridEvent(
        event_id="ev1",
        connection_id="utility",
        program_id="peak",
        revision=0,
        status=EventStatus.FAR,
        created_at=START,
        starts_at=START,
        duration_s=(starts_at - START).total_seconds(),
        signals=(Signal(name="s", kind=kind, intervals=tuple(intervals)),),
        ramp_up_s=float(ramp_s),
        recovery_s=float(recovery_s),
    )
    ended_at = None if ended_s is None else START + timedelta(seconds=ended_s)
    return EventRecord(event=event, first_received_at=START, received_at=START, ended_at=ended_at)


kinds = st.sampled_from(
    [SignalKind.LEVEL, SignalKind.FRACTION, SignalKind.ADJUST, SignalKind.LIMIT, SignalKind.SETPOINT]
)
records = st.builds(
    make_record,
    kinds,
    st.lists(st.tuples(st.integers(1, 1000), st.floats(0.0, 1.0)), min_size=1, max_size=4),
    st.integers(-900, 900),
    st.integers(-900, 900),
    st.none() | st.integers(-1000, 3000),
)
MINIMAL = make_record(SignalKind.FRACTION, [(60, 0.5)], -10, 10, None)


def make(record: EventRecord) -> PowerPlan:
    return plan(record, PROGRAM, BASELINE, JOBS, fixed_w=20_000.0, made_at=START)


@given(records)
@example(MINIMAL)
def test_the_same_revision_gives_the_same_plan(record: EventRecord) -> None:
    assert make(record) == make(record)


@given(records)
@example(MINIMAL)
def test_a_plan_stays_within_the_events_time_and_between_its_ask_and_the_baseline(record: EventRecord) -> None:
    found = make(record)
    end = dispatch_ends_at(record)
    assert end is not None
    for one in found.intervals:
        assert one.ends_at is not None
        assert ramp_starts_at(record.event) <= one.starts_at < one.ends_at <= end
    for before, after in pairwise(found.intervals):
        assert before.ends_at is not None
        assert before.ends_at <= after.starts_at
    if found.intervals:
        lowest_w = min(min(one.start_w, one.end_w) for one in found.intervals)
        assert -1e-6 <= lowest_w <= BASELINE.power_w
        asked = [(one, target_w(found, one.starts_at)) for one in found.intervals]
        assert all(target == one.start_w for one, target in asked)


@given(records)
@example(make_record(SignalKind.LIMIT, [(200, 0.1)], 0, 0, None))
def test_what_is_promised_adds_up(record: EventRecord) -> None:
    found = make(record)
    assert found.shortfall_w >= 0.0
    lowest_w = min((min(one.start_w, one.end_w) for one in found.intervals), default=None)
    if lowest_w is not None and found.shortfall_w > 0.0:
        assert abs(found.expected_w - found.shortfall_w - lowest_w) < 1e-6
    elif lowest_w is not None:
        assert found.expected_w <= lowest_w + 1e-6
    # Only one job may pause at all, and for no longer than 5 minutes.
    assert set(found.paused_job_ids) <= {"job1"}
