"""Readings in columns say what the same readings say one by one, and are read from a record as any JSON parser does."""

import math
from datetime import UTC, datetime, timedelta

import numpy as np
import pytest
from hypothesis import example, given, settings
from hypothesis import strategies as st
from pydantic import TypeAdapter, ValidationError

from gateway.bundle_readings import read_canonical_hour
from gateway.domain.evidence import canonical_json
from gateway.domain.measurement import Slice, integrate
from gateway.domain.reading_columns import ReadingColumns, integrate_columns, joined
from hardware.device import PowerReading, Quality

HOUR = datetime(2026, 7, 15, 22, tzinfo=UTC)
ROWS = TypeAdapter(list[tuple[datetime, float, float | None, Quality]])
QUALITY = st.sampled_from(Quality)
POWER_W = st.floats(-1e9, 1e9) | st.integers(-1000, 1000).map(float)
WITHIN_US = st.integers(0, 3_599).map(lambda second: second * 1_000_000) | st.integers(0, 3_600_000_000 - 1)


def reading(within_us: int, power_w: float, energy_j: float | None, quality: Quality) -> PowerReading:
    at = HOUR + timedelta(microseconds=within_us)
    return PowerReading(meter_id="site", measured_at=at, power_w=power_w, energy_j=energy_j, quality=quality)


READING = st.builds(reading, WITHIN_US, POWER_W, st.none() | POWER_W, QUALITY)
PIECE = st.builds(
    lambda start_s, duration_s: Slice(starts_at=HOUR + timedelta(seconds=start_s), duration_s=duration_s),
    st.integers(-100, 3_700),
    st.integers(1, 900).map(float) | st.floats(1e-3, 100.0),
)


def content_of(readings: list[PowerReading]) -> bytes:
    return canonical_json([[one.measured_at, one.power_w, one.energy_j, one.quality] for one in readings])


def same(left: ReadingColumns, right: ReadingColumns) -> bool:
    names = ("stamps_us", "powers_w", "energies_j", "qualities")
    return all(np.array_equal(getattr(left, n), getattr(right, n), equal_nan=n == "energies_j") for n in names)


def read_slowly(content: bytes) -> ReadingColumns:
    rows = ROWS.validate_json(content)
    found = [
        PowerReading(meter_id="site", measured_at=at, power_w=power_w, energy_j=energy_j, quality=quality)
        for at, power_w, energy_j, quality in rows
    ]
    return ReadingColumns.of(found, "site")


@given(st.lists(READING, max_size=40), st.lists(PIECE, max_size=6))
@example([], [Slice(starts_at=HOUR, duration_s=300.0)])
@example([reading(0, 5.0, None, Quality.GOOD)] * 2, [Slice(starts_at=HOUR, duration_s=300.0)])
def test_energy_is_bit_by_bit_what_the_readings_give_one_by_one(
    readings: list[PowerReading], pieces: list[Slice]
) -> None:
    columns = joined([ReadingColumns.of(readings, "site")], "site")
    assert integrate_columns(columns, pieces) == integrate(readings, pieces)


def test_a_day_by_the_second_gives_the_same() -> None:
    readings = [
        reading(second * 1_000_000, 1e5 + second % 7 / 3, None, Quality.ESTIMATED if second == 9 else Quality.GOOD)
        for second in range(3_600)
    ]
    pieces = [Slice(starts_at=HOUR + timedelta(seconds=300 * index), duration_s=300.0) for index in range(12)]
    found = integrate_columns(ReadingColumns.of(readings, "site"), pieces)
    assert found == integrate(readings, pieces)
    assert [one.quality for one in found] == [Quality.ESTIMATED] + [Quality.GOOD] * 11


def test_a_piece_without_duration_and_a_power_that_is_none_are_refused() -> None:
    columns = ReadingColumns.of([reading(0, 5.0, None, Quality.GOOD)], "site")
    with pytest.raises(ValueError, match=r"lasts 0\.0 s"):
        integrate_columns(columns, [Slice(starts_at=HOUR, duration_s=0.0)])
    odd = ReadingColumns.of([reading(0, math.inf, None, Quality.GOOD)], "site")
    with pytest.raises(ValueError, match="inf W"):
        integrate_columns(odd, [Slice(starts_at=HOUR, duration_s=1.0)])


@given(st.lists(READING, max_size=40), st.integers(0, 3_600), st.integers(0, 3_600))
def test_what_is_taken_out_of_columns_is_what_went_in(readings: list[PowerReading], first_s: int, last_s: int) -> None:
    columns = joined([ReadingColumns.of([one], "site") for one in readings], "site")
    ordered = tuple(sorted(readings, key=lambda one: one.measured_at))
    assert columns.all() == ordered
    start, end = HOUR + timedelta(seconds=first_s), HOUR + timedelta(seconds=last_s)
    assert columns.between(start, end) == tuple(one for one in ordered if start <= one.measured_at < end)


@given(st.lists(READING, min_size=1, max_size=20))
def test_a_canonical_record_is_read(readings: list[PowerReading]) -> None:
    content = content_of(readings)
    found = read_canonical_hour(content, HOUR, "site")
    assert found is not None
    assert same(found, read_slowly(content))


PIECES = (b"", b"0", b'"', b",", b"-", b"null", b"true", b"[", b"]", b"],[", b" ", b"_", b"1e5", b"Z", b"\x00", b"\xff")


@settings(max_examples=300)
@given(st.data(), st.lists(READING, min_size=1, max_size=4))
def test_a_record_with_something_else_in_it_is_read_right_or_left_to_others(
    data: st.DataObject, readings: list[PowerReading]
) -> None:
    content = content_of(readings)
    at = data.draw(st.integers(0, len(content)))
    piece = data.draw(st.sampled_from(PIECES) | st.binary(max_size=2))
    changed = content[:at] + piece + content[at + data.draw(st.integers(0, 3)) :]
    found = read_canonical_hour(changed, HOUR, "site")
    if found is not None:
        assert same(found, read_slowly(changed))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"[]",
        b"[[]]",
        b'[["2026-07-15T23:00:00Z",1,null,"good"]]',
        b'[["2026-07-15T22:60:00Z",1,null,"good"]]',
        b'[["2026-07-15T22:00:00",1,null,"good"]]',
        b'[["2026-07-15T22:00:00+00:00",1,null,"good"]]',
        b'[["2026-07-15T22:00:00Z",null,null,"good"]]',
        b'[["2026-07-15T22:00:00Z",1,null,"perfect"]]',
        b'[["2026-07-15T22:00:00Z",1,"good"]]',
        b'[["2026-07-15T22:00:00Z",-7e-99,null,"good"]]',
        b'[["2026-07-15T22:00:00Z",1,-7e-99,"good"]]',
        # As many letters as there have to be, cut elsewhere.
        b'[["2026-07-15T22:00:00",1,null,"good"],["Z2026-07-15T22:00:01Z",1,null,"good"]]',
        b'[["2026-07-15T22:00:00Z",1,null,"goodg"],["2026-07-15T22:00:01Z",1,null,"ood"]]',
        b'[["2026-07-15T22:00:00Z",1,null,"good"],[],["2026-07-15T22:00:01Z",1,null,"good""",1,null,"good"]]',
        # As many numbers as there have to be, of which some look like what is put between rows.
        b'[["2026-07-15T22:00:00Z",1,"good"],["2026-07-15T22:00:01Z",-7e-99,5,null,"good"]]',
        b'[["2026-07-15T22:00:00Z",1,null,-7e-99,"good"],["2026-07-15T22:00:01Z",5,"good"]]',
        b'[["2026-07-15T22:00:00Z",1,2,3,"good"]]',
        b'[["2026-07-15T22:00:00Z",1,null,"good"],["2026-07-15T22:00:00Z",1_0,null,"good"]]',
    ],
)
def test_what_is_none_of_the_hour_is_left_to_others(content: bytes) -> None:
    assert read_canonical_hour(content, HOUR, "site") is None


def test_nothing_that_is_no_json_is_taken() -> None:
    with pytest.raises(ValidationError):
        read_slowly(b'[["2026-07-15T22:00:00Z",1_0,null,"good"]]')
