"""Energy of a meter as CSV: units, meters, clock changes, and every refusal with its lines."""

from datetime import UTC, datetime, timedelta, timezone
from zoneinfo import ZoneInfo

import pytest

from gateway.cli.history_csv import HistoryError
from gateway.cli.meter_csv import MeterFile, Unit, parse_meter_csv
from hardware.device import Quality

BERLIN = ZoneInfo("Europe/Berlin")
NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def parsed(*lines: str, unit: Unit | None = None, zone: ZoneInfo | None = None) -> MeterFile:
    return parse_meter_csv("\n".join(lines).encode(), unit=unit, zone=zone)


def refusal(*lines: str, unit: Unit | None = None, zone: ZoneInfo | None = None) -> str:
    with pytest.raises(HistoryError) as found:
        parsed(*lines, unit=unit, zone=zone)
    return str(found.value)


def rows(*values: object, first: datetime = NOON, step_min: int = 15) -> list[str]:
    return [
        f"{(first + timedelta(minutes=step_min * index)).isoformat()},{value}" for index, value in enumerate(values)
    ]


@pytest.mark.parametrize(
    ("header", "unit", "energy_wh"),
    [
        ("start,kWh", Unit.KWH, 8_000.0),
        ("Start, Usage (kWh)", Unit.KWH, 8_000.0),
        ("timestamp,energy_wh", Unit.WH, 8.0),
        ("interval start,Demand [kW]", Unit.KW, 2_000.0),
        ("time,power_w", Unit.W, 2.0),
    ],
)
def test_the_header_says_the_unit(header: str, unit: Unit, energy_wh: float) -> None:
    found = parsed(header, *rows(8, 8))
    assert (found.unit, [one.energy_wh for one in found.intervals]) == (unit, [energy_wh, energy_wh])
    assert [one.duration_s for one in found.intervals] == [900.0, 900.0]
    assert found.intervals[0].starts_at == NOON
    assert found.lines == (2, 3)


def test_a_unit_that_is_given_is_believed_over_the_files() -> None:
    assert parsed("start,kWh", *rows(8, 8), unit=Unit.KW).intervals[0].energy_wh == 2_000.0
    assert parsed("start,value", *rows(8, 8), unit=Unit.WH).intervals[0].energy_wh == 8.0


def test_without_a_unit_nothing_is_guessed() -> None:
    said = refusal("start,value", *rows(8, 8))
    assert said == (
        "nothing says what unit the column 'value' is in: name it in the header, such as `kWh`, or give --unit Wh, "
        "kWh, W or kW"
    )


@pytest.mark.parametrize(
    ("lines", "says"),
    [
        ((), "the file is empty: a header such as `start,kWh` is expected"),
        (tuple(rows(1, 2)), "line 1 is a row, there is no header: put one such as `start,kWh` above it"),
        (("start,kWh",), "there is a header and no row"),
        (("when,kWh", *rows(1, 2)), "the header 'when,kWh' has no column `start`"),
        (("start,kWh,kW", f"{NOON.isoformat()},1,4"), "more than one column may be the value (kWh, kW)"),
        (("start,a,b", f"{NOON.isoformat()},1,4"), "more than one column may be the value (a, b)"),
        (("start,timestamp,kWh", f"{NOON.isoformat()},x,4"), "mean the same: keep one of them"),
        (("start,end", f"{NOON.isoformat()},x"), "has no column for the value"),
        (("start,kWh", *rows(1, 2, "3,4")), "line 4 has 3 columns where the header has 2: is the file cut off?"),
        (("start,kWh", *rows(1, 2), "2026-07-01T12:3"), "line 4 has 1 columns where the header has 2"),
        (("start,kWh", *rows(1, 2), "2026-07-01T1,3"), "line 4: '2026-07-01T1' is no date and time"),
        (("start,kWh", *rows(1, "2,5".replace(",", "."), "3..1")), "line 4: '3..1' is no number"),
        (("start,kWh", *rows("", "nan")), "no row has a value"),
        (("start,kWh", *rows(1)), "one row alone"),
        (("start,kWh", *rows(1, 2), *rows(3)), "line 4 has the same start as line 2: keep one of them"),
        (
            ("start,kWh", *rows(1, 2, 3), *rows(4, first=NOON + timedelta(minutes=50))),
            "line 5 comes 1200 s after line 4, no multiple of the other rows' 900 s",
        ),
        (
            ("start,end,kWh", "2026-07-01T12:00Z,2026-07-01T12:15Z,1", "2026-07-01T12:14Z,2026-07-01T12:30Z,1"),
            "line 3 begins before the interval of line 2 is over (900 s)",
        ),
        (("start,end,kWh", "2026-07-01T12:00Z,2026-07-01T12:00Z,1"), "line 2: the interval ends at"),
        (("start,end,kWh", "2026-07-01T12:00Z,2026-07-03T12:00Z,1"), "line 2: an interval of 172800 s"),
        (
            ("start,kWh,meter", "2026-07-01T12:00Z,1,A", "2026-07-01T12:15Z,1,A", "2026-07-01T12:00Z,1,B"),
            "line 2 is of meter 'A', line 4 of meter 'B': hand over a file for each meter",
        ),
        (("start,kWh,quality", "2026-07-01T12:00Z,1,fine"), "line 2: 'fine' is no quality: good, suspect, estimated"),
        (("start,kWh", *rows(1), "2026-07-01 12:15,1"), "stamps with a UTC offset (line 2) beside stamps without"),
        (("start,kWh", "2026-07-01 12:00,1", "2026-07-01 12:15,1"), "line 2: 2026-07-01 12:00:00 has no UTC offset"),
    ],
)
def test_what_cannot_be_used_is_refused_with_its_lines(lines: tuple[str, ...], says: str) -> None:
    assert says in refusal(*lines)


def test_rows_without_a_value_are_no_readings() -> None:
    found = parsed("start,kWh", *rows(1, "", "nan", 2))
    assert [one.energy_wh for one in found.intervals] == [1_000.0, 2_000.0]
    assert (found.without_value, found.lines) == (2, (2, 5))


def test_meter_end_and_quality_have_columns_of_their_own() -> None:
    found = parsed(
        "Meter,Interval start,Interval end,kWh,Quality",
        "A7,2026-07-01T12:00Z,2026-07-01T12:30Z,1,estimated",
        "A7,2026-07-01T12:30Z,2026-07-01T12:45Z,2,",
    )
    assert found.meter == "A7"
    assert [(one.duration_s, one.quality) for one in found.intervals] == [
        (1800.0, Quality.ESTIMATED),
        (900.0, Quality.GOOD),
    ]


def local(day: int, month: int, *times: str) -> list[str]:
    return [f"2026-{month:02}-{day:02} {time},{index}" for index, time in enumerate(times)]


AUTUMN = local(25, 10, "01:30", "02:00", "02:30", "02:00", "02:30", "03:00")
"""In Berlin the hour from two to three comes twice on that day."""


def test_the_hour_that_comes_twice_is_told_by_order() -> None:
    found = parsed("start,kWh", *AUTUMN, zone=BERLIN)
    first = datetime(2026, 10, 25, 1, 30, tzinfo=timezone(timedelta(hours=2))).astimezone(UTC)
    assert [one.starts_at for one in found.intervals] == [first + timedelta(minutes=30 * index) for index in range(6)]
    assert [one.energy_wh for one in found.intervals] == [1000.0 * index for index in range(6)]
    assert parsed("start,kWh", *AUTUMN[::-1], zone=BERLIN).intervals == found.intervals


def test_with_an_end_each_interval_is_as_long_as_it_says() -> None:
    lines = ["2026-10-25 02:30,2026-10-25 02:00,1", "2026-10-25 02:00,2026-10-25 02:30,2"]
    found = parsed("start,end,kWh", *lines, "2026-10-25 02:30,2026-10-25 03:00,2", zone=BERLIN)
    assert [one.duration_s for one in found.intervals] == [1800.0] * 3


def test_an_hour_that_should_come_twice_and_does_not_is_refused() -> None:
    said = refusal("start,kWh", *AUTUMN[:3], AUTUMN[-1], zone=BERLIN)
    assert said.startswith("line 3: the clocks go back on 2026-10-25 in Europe/Berlin")
    # At its end a file may break off.
    assert len(parsed("start,kWh", *AUTUMN[:3], zone=BERLIN).intervals) == 3


def test_shuffled_rows_of_an_hour_that_comes_twice_are_refused() -> None:
    said = refusal("start,kWh", AUTUMN[1], AUTUMN[0], *AUTUMN[2:], zone=BERLIN)
    assert said.startswith("line 3: 2026-10-25 01:30:00 is not after the row before it")


def test_a_time_that_does_not_exist_is_refused_by_its_line() -> None:
    said = refusal("start,kWh", *local(29, 3, "01:30", "02:00", "02:30", "03:00"), zone=BERLIN)
    assert said.startswith("line 3: 2026-03-29 02:00:00 does not exist in Europe/Berlin (the clocks go forward)")
    found = parsed("start,kWh", *local(29, 3, "01:30", "03:00", "03:30"), zone=BERLIN)
    assert [one.duration_s for one in found.intervals] == [1800.0] * 3
