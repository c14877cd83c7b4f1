"""Bytes that are no message of ours, and the bounds of those that are."""

import math
from dataclasses import replace
from datetime import UTC, datetime

import pytest

from hardware.device import CapCommand, CapResult, Fault, Lease, OnExpiry, Outcome, PowerReading
from hardware.errors import Condition, WireError
from hardware.job import JobView
from hardware.wire import (
    MAX_LINE_BYTES,
    Applied,
    Apply,
    Describe,
    Described,
    Failed,
    Read,
    Readings,
    Restore,
    decode_reply,
    decode_request,
    encode_reply,
    encode_request,
)

READING = PowerReading(meter_id="site", power_w=105_000.0, measured_at=datetime(2026, 7, 1, tzinfo=UTC), energy_j=1e12)


def test_one_message_is_one_line_with_a_version():
    line = encode_request(Restore(device_ids=("a", "b\nc"), epoch=3))
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert b'"version":1' in line
    assert decode_request(line) == Restore(device_ids=("a", "b\nc"), epoch=3)


def test_reply_comes_back_as_it_was():
    assert decode_reply(encode_reply(Readings(readings=(READING,)))) == Readings(readings=(READING,))


def test_unknown_fields_are_ignored():
    line = b'{"version": 1, "since": 2, "message": {"kind": "read", "colour": "red"}}'
    assert decode_request(line) == Read()


@pytest.mark.parametrize(
    "line",
    [
        b"",
        b"\n",
        b"hello",
        b"\xff\xfe\x00",
        b"[]",
        b"null",
        b'{"version": 1}',
        b'{"version": 2, "message": {"kind": "read"}}',
        b'{"version": "1", "message": {"kind": "read"}}',
        b'{"version": 1, "message": {"kind": "shutdown"}}',
        b'{"version": 1, "message": {"kind": "readings", "readings": []}}',
        b'{"version": 1, "message": {"kind": "restore", "device_ids": "a", "epoch": 1}}',
        b'{"version": 1, "message": {"kind": "restore", "device_ids": ["a"], "epoch": true}}',
        b'{"version": 1, "message": {"kind": "restore", "device_ids": ["a"], "epoch": 1.5}}',
        b'{"version": 1, "message": {"kind": "apply", "commands": [{"device_id": "a", "cap_w": "200"}]}}',
        b'{"version": 1, "message": {"kind": "read"}} {"version": 1}',
        b"[" * 100_000,
        b'{"version": 1, "message": ' * 10_000,
    ],
)
def test_malformed_requests(line):
    with pytest.raises(WireError):
        decode_request(line)


def test_error_names_the_place():
    with pytest.raises(WireError, match=r"message\.restore\.epoch"):
        decode_request(b'{"version": 1, "message": {"kind": "restore", "device_ids": [], "epoch": "x"}}')


def test_instant_without_a_zone_is_malformed():
    line = encode_reply(Readings(readings=(READING,))).replace(b"00:00:00Z", b"00:00:00")
    with pytest.raises(WireError, match="time zone"):
        decode_reply(line)


JOB = JobView(
    job_id="train",
    device_ids=("GPU-1",),
    tier="flex3",
    weight=1.0,
    min_throughput=0.5,
    curve=(),
    deadline_at=datetime(2026, 12, 1, 8, tzinfo=UTC),
    remaining_s=3600.0,
)


def test_deadline_of_a_job_comes_across_and_an_agent_that_knows_none_is_understood():
    described = Described(host_id="h", highest_epoch=1, devices=(), jobs=(JOB,))
    line = encode_reply(described)
    assert decode_reply(line) == described
    older = line.replace(b',"deadline_at":"2026-12-01T08:00:00Z","remaining_s":3600.0', b"")
    assert len(older) < len(line)
    assert decode_reply(older) == replace(described, jobs=(replace(JOB, deadline_at=None, remaining_s=None),))


@pytest.mark.parametrize(
    ("right", "wrong"), [(b"08:00:00Z", b"08:00:00"), (b":3600.0", b":-1.0"), (b":3600.0", b":NaN")]
)
def test_deadline_without_a_zone_and_work_that_cannot_be_are_malformed(right, wrong):
    line = encode_reply(Described(host_id="h", highest_epoch=1, devices=(), jobs=(JOB,)))
    assert line.count(right) == 1
    with pytest.raises(WireError):
        decode_reply(line.replace(right, wrong))


def test_line_that_is_too_long_is_neither_written_nor_read():
    with pytest.raises(WireError, match="over"):
        encode_reply(Failed(error="x", detail="y" * MAX_LINE_BYTES))
    with pytest.raises(WireError, match="over"):
        decode_request(b" " * MAX_LINE_BYTES + encode_request(Describe()))


def test_number_that_is_none_is_no_command():
    lease = Lease(epoch=1, sequence=1, duration_s=10.0)
    line = encode_request(Apply(commands=(CapCommand(device_id="a", cap_w=math.nan, lease=lease),)))
    with pytest.raises(WireError):
        decode_request(line)


LEASE = Lease(epoch=1, sequence=1, duration_s=10.0)
CAPS = Apply(commands=tuple(CapCommand(device_id=f"GPU-{n}", cap_w=300.0 + n, lease=LEASE) for n in range(8)))
HELD = tuple(
    CapResult(device_id=one.device_id, requested_w=one.cap_w, applied_w=one.cap_w, outcome=Outcome.APPLIED)
    for one in CAPS.commands
)


def test_caps_under_one_lease_and_their_answer_are_short():
    line = encode_request(CAPS)
    assert line.count(b'"sequence"') == 1
    assert decode_request(line) == CAPS
    answer = encode_reply(Applied(results=HELD), to=CAPS)
    assert answer == b'{"message":{"kind":"held","caps":8},"version":1}\n'
    assert decode_reply(answer, to=CAPS) == Applied(results=HELD)
    assert decode_reply(answer.replace(b":", b": "), to=CAPS) == Applied(results=HELD)


@pytest.mark.parametrize(
    "change",
    [
        {"applied_w": 300.1},
        {"applied_w": None},
        {"requested_w": 301.0, "applied_w": 301.0},
        {"outcome": Outcome.CLAMPED},
        {"detail": "so"},
        {"device_id": "GPU-9"},
        {"fault": Fault(condition=Condition.CONFLICT, detail="so")},
    ],
)
def test_what_is_not_all_as_asked_is_told_in_full(change):
    reply = Applied(results=(replace(HELD[0], **change), *HELD[1:]))
    assert decode_reply(encode_reply(reply, to=CAPS), to=CAPS) == reply


def test_commands_under_several_leases_keep_their_own():
    held = replace(CAPS.commands[0], lease=replace(LEASE, on_expiry=OnExpiry.HOLD))
    request = Apply(commands=(held, *CAPS.commands[1:]))
    assert decode_request(encode_request(request)) == request


@pytest.mark.parametrize("to", [None, Describe(), Apply(commands=()), Apply(commands=CAPS.commands[:7])])
def test_short_answer_to_something_else_is_malformed(to):
    with pytest.raises(WireError, match="8 caps hold"):
        decode_reply(encode_reply(Applied(results=HELD), to=CAPS), to=to)


def test_caps_are_as_many_as_devices():
    with pytest.raises(WireError, match="as many"):
        decode_request(encode_request(CAPS).replace(b'"GPU-7"', b'"GPU-7","GPU-8"'))


@pytest.mark.parametrize("number", ["NaN", "Infinity", "-Infinity", "1e999"])
def test_number_that_is_none_is_no_reading(number):
    reading = f'{{"meter_id":"a","power_w":{number},"measured_at":"2026-01-01T00:00:00Z"}}'
    with pytest.raises(WireError):
        decode_reply(f'{{"version":1,"message":{{"kind":"readings","readings":[{reading}]}}}}'.encode())
