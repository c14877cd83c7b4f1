"""Rows of a meter's file may come in any order, and what is written is read back as it was."""

from datetime import UTC, datetime, timedelta
from random import Random
from zoneinfo import ZoneInfo

from hypothesis import given
from hypothesis import strategies as st

from gateway.cli.history_csv import HistoryError
from gateway.cli.meter_csv import parse_meter_csv
from gateway.cli.meter_files import FileFormat, read_meter_file, write_meter_file
from gateway.domain.measurement import IntervalEnergy

START = datetime(2026, 3, 28, 12, tzinfo=UTC)
BERLIN = ZoneInfo("Europe/Berlin")


@st.composite
def series(draw: st.DrawFn) -> list[IntervalEnergy]:
    """A run of intervals of one length, with gaps; the commonest step is their length."""
    minutes = draw(st.sampled_from([5, 15, 30, 60]))
    kept = [*range(12), *(index for index in range(12, 60) if draw(st.booleans()))]
    return [
        IntervalEnergy(
            starts_at=START + timedelta(minutes=minutes * index),
            duration_s=minutes * 60.0,
            energy_wh=draw(st.floats(-1e6, 1e6)),
            coverage_fraction=1.0,
        )
        for index in kept
    ]


def text_of(intervals: list[IntervalEnergy], zone: ZoneInfo | None) -> str:
    stamps = [
        one.starts_at if zone is None else one.starts_at.astimezone(zone).replace(tzinfo=None) for one in intervals
    ]
    rows = [f"{at.isoformat()},{one.energy_wh!r}" for at, one in zip(stamps, intervals, strict=True)]
    return "\n".join(["start,Wh", *rows])


@given(intervals=series(), seed=st.integers(), zone=st.sampled_from([None, BERLIN]))
def test_any_order_of_the_rows_gives_the_same(
    intervals: list[IntervalEnergy], seed: int, zone: ZoneInfo | None
) -> None:
    shuffled = list(intervals)
    Random(seed).shuffle(shuffled)
    found = parse_meter_csv(text_of(shuffled, zone).encode(), unit=None, zone=zone)
    assert list(found.intervals) == intervals
    assert [shuffled[line - 2] for line in found.lines] == intervals


@given(intervals=series(), file_format=st.sampled_from(FileFormat))
def test_what_is_written_is_read_back(
    intervals: list[IntervalEnergy], file_format: FileFormat, tmp_path_factory
) -> None:
    file = tmp_path_factory.mktemp("out") / "file"
    write_meter_file(file, file_format, intervals, meter_id="site")
    found = read_meter_file(file.read_bytes(), file_format, unit=None, zone=None).intervals
    assert [(one.starts_at, one.duration_s) for one in found] == [(one.starts_at, one.duration_s) for one in intervals]
    assert all(abs(one.energy_wh - given.energy_wh) <= 6e-4 for one, given in zip(found, intervals, strict=True))


@given(body=st.binary(max_size=200), header=st.sampled_from([b"", b"start,kWh\n", b"start,end,kW,meter\n"]))
def test_whatever_comes_is_read_or_refused_in_one_line(body: bytes, header: bytes) -> None:
    refusal = ""
    try:
        parse_meter_csv(header + body, unit=None, zone=BERLIN)
    except HistoryError as cause:
        refusal = str(cause)
    assert "\n" not in refusal
