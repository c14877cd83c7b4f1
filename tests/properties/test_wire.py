"""decode(encode(x)) == x for every message, and nothing but WireError for any other bytes."""

from datetime import UTC

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hardware import wire
from hardware.device import CapCommand, CapRange, CapResult, DeviceView, Lease, OnExpiry, Outcome, PowerReading, Quality
from hardware.errors import WireError
from hardware.job import CurvePoint, JobAction, JobResult, JobState, JobView, Verb

TEXT = st.text(st.characters(exclude_categories=["Cs"]), max_size=12)
NUMBER = st.floats(allow_nan=False, allow_infinity=False)
WHOLE = st.integers(0, 2**63 - 1)
LEASE = st.builds(Lease, epoch=WHOLE, sequence=WHOLE, duration_s=NUMBER, on_expiry=st.sampled_from(OnExpiry))
DEVICE = st.builds(
    DeviceView,
    device_id=TEXT,
    host_id=TEXT,
    model=TEXT,
    cap_range=st.builds(CapRange, min_w=NUMBER, default_w=NUMBER, max_w=NUMBER),
    limit_w=NUMBER,
    present=st.booleans(),
)
JOB = st.builds(
    JobView,
    job_id=TEXT,
    device_ids=st.lists(TEXT, max_size=3).map(tuple),
    tier=TEXT,
    weight=NUMBER,
    min_throughput=NUMBER,
    curve=st.lists(st.builds(CurvePoint, cap_w=NUMBER, power_w=NUMBER, throughput=NUMBER), max_size=3).map(tuple),
    max_pause_s=NUMBER,
    state=st.sampled_from(JobState),
    throughput=NUMBER,
)
CAP_RESULT = st.builds(
    CapResult,
    device_id=TEXT,
    requested_w=NUMBER,
    applied_w=st.none() | NUMBER,
    outcome=st.sampled_from(Outcome),
    detail=TEXT,
)
JOB_RESULT = st.builds(
    JobResult,
    job_id=TEXT,
    verb=st.sampled_from(Verb),
    state=st.none() | st.sampled_from(JobState),
    outcome=st.sampled_from(Outcome),
    detail=TEXT,
)
READING = st.builds(
    PowerReading,
    meter_id=TEXT,
    power_w=NUMBER,
    measured_at=st.datetimes(timezones=st.just(UTC)),
    energy_j=st.none() | NUMBER,
    quality=st.sampled_from(Quality),
)


def some(items):
    return st.lists(items, max_size=4).map(tuple)


REQUESTS = st.one_of(
    st.just(wire.Describe()),
    st.just(wire.Read()),
    st.builds(
        wire.Apply,
        commands=some(st.builds(CapCommand, device_id=TEXT, cap_w=NUMBER, lease=LEASE)),
        kind=st.just("apply"),
    ),
    st.builds(wire.Restore, device_ids=some(TEXT), epoch=WHOLE, kind=st.just("restore")),
    st.builds(
        wire.Act,
        actions=some(st.builds(JobAction, job_id=TEXT, verb=st.sampled_from(Verb), lease=LEASE)),
        kind=st.just("act"),
    ),
)
REPLIES = st.one_of(
    st.builds(
        wire.Described,
        host_id=TEXT,
        highest_epoch=WHOLE,
        devices=some(DEVICE),
        jobs=some(JOB),
        kind=st.just("described"),
    ),
    st.builds(wire.Applied, results=some(CAP_RESULT), kind=st.just("applied")),
    st.builds(wire.Acted, results=some(JOB_RESULT), kind=st.just("acted")),
    st.builds(wire.Readings, readings=some(READING), kind=st.just("readings")),
    st.builds(wire.Failed, error=TEXT, detail=TEXT, kind=st.just("failed")),
)


@settings(max_examples=150, deadline=None)
@given(request=REQUESTS)
def test_requests_come_back_as_they_were(request):
    assert wire.decode_request(wire.encode_request(request)) == request


@settings(max_examples=150, deadline=None)
@given(reply=REPLIES)
def test_replies_come_back_as_they_were(reply):
    assert wire.decode_reply(wire.encode_reply(reply)) == reply


@settings(max_examples=150, deadline=None)
@given(lease=LEASE, caps=some(st.tuples(TEXT, NUMBER)), data=st.data())
def test_short_forms_stand_for_the_long_ones(lease, caps, data):
    request = wire.Apply(commands=tuple(CapCommand(device_id=key, cap_w=cap_w, lease=lease) for key, cap_w in caps))
    assert wire.decode_request(wire.encode_request(request)) == request
    held = [CapResult(device_id=key, requested_w=w, applied_w=w, outcome=Outcome.APPLIED) for key, w in caps]
    other = data.draw(some(CAP_RESULT))
    at = data.draw(st.integers(0, len(held)))
    for results in (held, [*held[:at], *other, *held[at:]], [*held[:at], *other, *held[at + len(other) :]]):
        reply = wire.Applied(results=tuple(results))
        assert wire.decode_reply(wire.encode_reply(reply, to=request), to=request) == reply


@settings(max_examples=200, deadline=None)
@given(request=REQUESTS, data=st.data())
def test_damaged_line_is_another_message_or_a_wire_error(request, data):
    line = bytearray(wire.encode_request(request))
    place = data.draw(st.integers(0, len(line) - 1))
    line[place] = data.draw(st.integers(0, 255))
    damaged = bytes(line[: data.draw(st.integers(0, len(line)))])
    try:
        wire.decode_request(damaged)
    except WireError:
        return


def test_smallest_message():
    assert wire.decode_request(b'{"version":1,"message":{"kind":"read"}}') == wire.Read()


def test_message_cut_short():
    with pytest.raises(WireError):
        wire.decode_request(wire.encode_request(wire.Read())[:-3])
