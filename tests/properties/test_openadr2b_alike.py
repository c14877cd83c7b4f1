"""Many intervals of one shape are read column by column: what comes of it is what one by one would have given."""

import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from protocols.errors import MessageError
from protocols.openadr2b import codec, codec_report, schema
from protocols.openadr2b.model_report import (
    LoadControlState,
    LoadControlValue,
    Report,
    ReportInterval,
    ReportPayload,
    ResourceStatus,
    UpdateReport,
)

QUICK = settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
WORTH_IT = schema.MANY

AMISS = (
    (rb"<ei:value>[^<]*", b"<ei:value>much"),
    (rb"<ei:value>", b"<ei:value><!-- so much -->"),
    (rb"<ei:rID>", b"<ei:rID><ei:rID/>"),
    (rb"(<ei:rID>[^<]*</ei:rID>)", rb"\1\1"),
    (rb"<ei:rID>[^<]*</ei:rID>", b""),
    (rb"<ei:payloadFloat>.*?</ei:payloadFloat>", b"<ei:payloadFloat/>"),
    (rb"(<xcal:dtstart>.*?</xcal:dtstart>)(.*?)</ei:interval>", rb"\2\1</ei:interval>"),
    (rb"<xcal:date-time>.", b"<xcal:date-time>x"),
    (rb"</oadr:oadrReportPayload>", b"\n<ei:more/></oadr:oadrReportPayload>"),
    (rb"<ei:interval>", b"<ei:interval wide='true'>and\n"),
    (rb"<ei:interval>", b"<ei:intervals>"),
)
"""Patterns in a message, and what stands there instead; not all of it is wrong."""

texts = st.text(st.characters(codec="utf-8", exclude_categories=["Cc", "Cs", "Cn"]), max_size=6)
instants = st.datetimes(timezones=st.just(UTC))
durations = st.integers(-100_000, 100_000).map(lambda seconds: timedelta(seconds=seconds))
numbers = st.floats(allow_nan=False)
states = st.builds(LoadControlState, capacity=st.none() | st.builds(LoadControlValue, current=numbers))
statuses = st.builds(
    ResourceStatus, online=st.booleans(), manual_override=st.booleans(), load_control=st.none() | states
)


@st.composite
def alike(draw: st.DrawFn) -> tuple[ReportInterval, ...]:
    """Intervals that say the same things, but for what is in a status."""
    says = draw(st.sets(st.sampled_from(["starts_at", "duration", "uid", "confidence", "accuracy", "quality"])))
    values = draw(st.sampled_from([numbers, statuses]))
    payloads = draw(st.integers(1, 3))

    def where_said(name: str, what: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
        return what if name in says else st.none()

    payload = st.builds(
        ReportPayload,
        r_id=texts,
        value=values,
        confidence=where_said("confidence", st.integers(0, 100)),
        accuracy=where_said("accuracy", numbers),
        quality=where_said("quality", st.sampled_from(codec_report.QUALITIES)),
    )
    interval = st.builds(
        ReportInterval,
        payloads=st.lists(payload, min_size=payloads, max_size=payloads).map(tuple),
        starts_at=where_said("starts_at", instants),
        duration=where_said("duration", durations),
        uid=where_said("uid", texts),
    )
    return tuple(draw(st.lists(interval, min_size=WORTH_IT // 2, max_size=2 * WORTH_IT)))


def message_of(several: list[tuple[ReportInterval, ...]]) -> UpdateReport:
    report = Report(
        report_request_id="o",
        specifier_id="s",
        created_at=datetime(2030, 1, 31, tzinfo=UTC),
        intervals=tuple(interval for some in several for interval in some),
    )
    return UpdateReport(request_id="r", reports=(report,), ven_id="v")


messages = st.lists(alike(), min_size=1, max_size=2).map(message_of)


def outcome(body: bytes, many: int) -> object:
    """What a body is read as, or why it is not, where ``many`` elements are looked at for being of one shape."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(schema, "MANY", many)
        try:
            return codec.decode(body)
        except MessageError as fault:
            return type(fault), str(fault), fault.line, fault.request_id


@QUICK
@given(messages)
def test_what_is_written_is_read_the_same(message: UpdateReport) -> None:
    assert codec.decode(codec.encode(message)) == message


@pytest.mark.parametrize(("pattern", "instead"), AMISS)
def test_what_is_amiss_in_some_of_many_is_said_as_one_by_one(pattern: bytes, instead: bytes) -> None:
    @QUICK
    @given(messages, st.data())
    def holds(message: UpdateReport, data: st.DataObject) -> None:
        head, *intervals = re.split(rb"(?=<ei:interval>)", codec.encode(message))
        amiss = data.draw(st.just(set(range(len(intervals)))) | st.sets(st.integers(0, len(intervals) - 1), max_size=3))
        for place in amiss:
            intervals[place] = re.sub(pattern, instead, intervals[place])
        body = b"\n".join([head, *intervals])
        assert outcome(body, WORTH_IT) == outcome(body, 1 << 32)

    holds()
