"""Energy of a meter as utilities hand it over: CSV with a header. Every refusal is one line that names its lines.

Columns, in any order and whatever the case: the start of each interval (``start``, ``timestamp`` ...), its value, and
if there are any its end, the meter and the quality. The unit of the value is said by its column's name, such as
``kWh``, ``energy_kwh`` or ``Usage (kWh)``, or by who hands it over, who is believed over the file. Rows may come in any
order, but for the hour that a clock change repeats: it is told by the order of the rows.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from itertools import pairwise

from gateway.cli.history_csv import HistoryError, naming_line, placed, rows_of, stamp_of, value_of
from gateway.domain.measurement import IntervalEnergy
from hardware.device import Quality

_STARTS = frozenset({"start", "starts_at", "timestamp", "time", "datetime", "start time", "interval start", "from"})
_ENDS = frozenset({"end", "ends_at", "end time", "interval end", "to"})
_METERS = frozenset({"meter", "meter_id", "meter id", "meter number"})
_QUALITIES = frozenset({"quality", "status"})
_SHORTEST_S, _LONGEST_S = 1.0, 86_400.0


class Unit(StrEnum):
    """What a value is in."""

    WH = "Wh"
    KWH = "kWh"
    W = "W"
    KW = "kW"

    @property
    def is_power(self) -> bool:
        """Whether it is mean power over the interval, not its energy."""
        return self in {Unit.W, Unit.KW}

    def energy_wh(self, value: float, duration_s: float) -> float:
        """A value of this unit over an interval, in watt-hours."""
        scaled = value * 1000.0 if self in {Unit.KWH, Unit.KW} else value
        return scaled * duration_s / 3600.0 if self.is_power else scaled


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterFile:
    """Intervals in order of time, without overlap, and the line that each of them is from.

    ``unit`` is the one that the values were taken in; ``meter`` what the file calls the meter, ``""`` where it says
    nothing; ``without_value`` counts rows without a reading.
    """

    intervals: tuple[IntervalEnergy, ...]
    lines: tuple[int, ...]
    unit: Unit
    meter: str
    without_value: int


@dataclass(frozen=True, slots=True, kw_only=True)
class _Columns:
    """Where in a row is what; ``None`` where the file has no such column."""

    start: int
    value: int
    end: int | None
    meter: int | None
    quality: int | None
    unit: Unit


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    line: int
    start: datetime
    end: datetime | None
    value: float | None
    quality: Quality


def parse_meter_csv(content: bytes, *, unit: Unit | None, zone: tzinfo | None) -> MeterFile:
    """Energy by interval. ``unit`` is believed over the file's own; ``zone`` is that of stamps without an offset.

    Raises ``HistoryError``.
    """
    table = rows_of(content)
    if not table:
        raise HistoryError("the file is empty: a header such as `start,kWh` is expected")
    columns = _columns(table[0][1], unit)
    width = len(table[0][1])
    for line, cells in table[1:]:
        if len(cells) != width:
            raise HistoryError(
                f"line {line} has {len(cells)} columns where the header has {width}: is the file cut off?"
            )
    if len(table) == 1:
        raise HistoryError("there is a header and no row")
    meter = _one_meter(table[1:], columns.meter)
    rows = _rows(table[1:], columns, zone)
    interval_s = None if columns.end is not None else _commonest_step_s(rows)
    found = [(row, _interval(row, interval_s, columns.unit)) for row in rows if row.value is not None]
    if not found:
        raise HistoryError("no row has a value")
    _refuse_overlaps(found)
    return MeterFile(
        intervals=tuple(interval for _, interval in found),
        lines=tuple(row.line for row, _ in found),
        unit=columns.unit,
        meter=meter,
        without_value=len(rows) - len(found),
    )


def _columns(header: Sequence[str], given: Unit | None) -> _Columns:
    names = [" ".join(cell.split()).lower() for cell in header]
    start, end, meter, quality = (_one_of(names, kind) for kind in (_STARTS, _ENDS, _METERS, _QUALITIES))
    if start is None and any(";" in cell for cell in header):
        raise HistoryError(
            "the columns are separated by semicolons: save the file with commas between them, and points in numbers"
        )
    if start is None and _is_stamp(header[0]):
        raise HistoryError("line 1 is a row, there is no header: put one such as `start,kWh` above it")
    if start is None:
        raise HistoryError(
            f"the header {','.join(header)!r} has no column `start`: name that of the intervals' start so"
        )
    taken = {start, end, meter, quality}
    values = [index for index in range(len(names)) if index not in taken]
    said = {index: found for index in values if (found := _unit_in(header[index])) is not None}
    if len(said) > 1 or (not said and len(values) > 1):
        named = ", ".join(header[index].strip() for index in (said or values))
        raise HistoryError(f"more than one column may be the value ({named}): keep one of them")
    if not values:
        raise HistoryError(f"the header {','.join(header)!r} has no column for the value, such as `kWh`")
    value = next(iter(said), values[0])
    unit = given or said.get(value)
    if unit is None:
        raise HistoryError(
            f"nothing says what unit the column {header[value].strip()!r} is in: name it in the header, such as `kWh`, "
            "or give --unit Wh, kWh, W or kW"
        )
    return _Columns(start=start, value=value, end=end, meter=meter, quality=quality, unit=unit)


def _is_stamp(text: str) -> bool:
    try:
        stamp_of(text)
    except HistoryError:
        return False
    return True


def _one_of(names: Sequence[str], wanted: frozenset[str]) -> int | None:
    found = [index for index, name in enumerate(names) if name in wanted]
    if len(found) > 1:
        raise HistoryError(f"the columns {', '.join(names[index] for index in found)} mean the same: keep one of them")
    return found[0] if found else None


def _unit_in(name: str) -> Unit | None:
    """The unit that a column's name says, such as ``energy_kwh`` or ``Usage (kWh)``."""
    words = set(re.split(r"[^a-z]+", name.lower()))
    found = [unit for unit in Unit if unit.value.lower() in words]
    return found[0] if len(found) == 1 else None


def _rows(table: Sequence[tuple[int, list[str]]], columns: _Columns, zone: tzinfo | None) -> list[_Row]:
    """The rows in order of time."""
    starts = _placed_all([(line, cells[columns.start]) for line, cells in table], zone)
    found = []
    for (line, cells), start in zip(table, starts, strict=True):
        with naming_line(line):
            found.append(
                _Row(
                    line=line,
                    start=start,
                    end=None if columns.end is None else _end_of(cells[columns.end], start, zone),
                    value=value_of(cells[columns.value]),
                    quality=Quality.GOOD if columns.quality is None else _quality(cells[columns.quality]),
                )
            )
    return sorted(found, key=lambda row: row.start)


def _placed_all(stamps: Sequence[tuple[int, str]], zone: tzinfo | None) -> list[datetime]:
    """Each stamp in UTC; of local ones in an hour that comes twice, the first that is given is of the first."""
    written: list[tuple[int, datetime]] = []
    for line, text in stamps:
        with naming_line(line):
            written.append((line, stamp_of(text)))
    naive = [line for line, stamp in written if stamp.tzinfo is None]
    if naive and len(naive) < len(written):
        aware = next(line for line, stamp in written if stamp.tzinfo is not None)
        raise HistoryError(
            f"stamps with a UTC offset (line {aware}) beside stamps without one (line {naive[0]}): write all of them "
            "in one form"
        )
    twice = zone is not None and any(_comes_twice(stamp, zone) for _, stamp in written)
    if not twice or zone is None:
        found = []
        for line, stamp in written:
            with naming_line(line):
                found.append(placed(stamp, zone).astimezone(UTC))
        return found
    newest_first = sum(-1 if before > after else 1 for (_, before), (_, after) in pairwise(written)) < 0
    found = _told_by_order(written[::-1] if newest_first else written, zone)
    return found[::-1] if newest_first else found


def _told_by_order(written: Sequence[tuple[int, datetime]], zone: tzinfo) -> list[datetime]:
    """Local stamps, oldest first, some of which are of an hour that comes twice."""
    found: list[datetime] = []
    for line, stamp in written:
        with naming_line(line):
            if not _comes_twice(stamp, zone):
                at = placed(stamp, zone).astimezone(UTC)
            else:
                first, second = (stamp.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1))
                at = first if not found or found[-1] < first else second
            if found and at <= found[-1]:
                raise HistoryError(
                    f"{stamp} is not after the row before it, and an hour of the file comes twice in {zone} (the "
                    "clocks go back), which only the order of the rows can tell: sort them, or write the stamps with "
                    "a UTC offset"
                )
            found.append(at)
    _refuse_half_told([(line, stamp, at) for (line, stamp), at in zip(written, found, strict=True)], zone)
    return found


def _refuse_half_told(rows: Sequence[tuple[int, datetime, datetime]], zone: tzinfo) -> None:
    """Refuse a file that goes on after an hour that comes twice, and has it once: nobody knows which one it is."""
    by_day: dict[object, list[tuple[int, datetime, datetime]]] = {}
    for row in rows:
        if _comes_twice(row[1], zone):
            by_day.setdefault(row[1].date(), []).append(row)
    for day, of_day in by_day.items():
        folds = {at - stamp.replace(tzinfo=UTC) for _, stamp, at in of_day}
        if len(folds) == 1 and rows[-1][2] > of_day[-1][2]:
            raise HistoryError(
                f"line {of_day[0][0]}: the clocks go back on {day} in {zone}, and the file has the hour that comes "
                "twice only once: write the stamps with a UTC offset"
            )


def _comes_twice(stamp: datetime, zone: tzinfo) -> bool:
    """Whether the wall shows the time twice. What it never shows is told by ``placed``."""
    if stamp.tzinfo is not None:
        return False
    first, second = (stamp.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    back = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) == stamp
    return first.utcoffset() != second.utcoffset() and back


def _end_of(text: str, start: datetime, zone: tzinfo | None) -> datetime:
    stamp = stamp_of(text)
    if zone is not None and _comes_twice(stamp, zone):
        # The one of the two that is after the start, and nearest to it.
        both = [stamp.replace(tzinfo=zone, fold=fold).astimezone(UTC) for fold in (0, 1)]
        end = next((one for one in both if one > start), both[0])
    else:
        end = placed(stamp, zone).astimezone(UTC)
    if end <= start:
        raise HistoryError(f"the interval ends at {text.strip()}, not after its start")
    return end


def _quality(text: str) -> Quality:
    try:
        return Quality(text.strip().lower() or Quality.GOOD)
    except ValueError as cause:
        words = ", ".join(one.value for one in Quality)
        raise HistoryError(f"{text.strip()!r} is no quality: {words} are known") from cause


def _commonest_step_s(rows: Sequence[_Row]) -> float:
    if len(rows) < 2:
        raise HistoryError(
            "there is one row alone, so that the length of its interval cannot be told: add a column `end`"
        )
    for before, row in pairwise(rows):
        if row.start == before.start:
            raise _same(before.line, row.line)
    steps = Counter((row.start - before.start).total_seconds() for before, row in pairwise(rows))
    interval_s = min(steps, key=lambda step: (-steps[step], step))
    for before, row in pairwise(rows):
        step = (row.start - before.start).total_seconds()
        if step % interval_s:
            raise HistoryError(
                f"line {row.line} comes {step:g} s after line {before.line}, no multiple of the other rows' "
                f"{interval_s:g} s: put them on one interval, or add a column `end`"
            )
    return interval_s


def _interval(row: _Row, interval_s: float | None, unit: Unit) -> IntervalEnergy:
    duration_s = interval_s if row.end is None else (row.end - row.start).total_seconds()
    if duration_s is None or not _SHORTEST_S <= duration_s <= _LONGEST_S:
        raise HistoryError(f"line {row.line}: an interval of {duration_s:g} s: a second to a day can be used")
    return IntervalEnergy(
        starts_at=row.start,
        duration_s=duration_s,
        energy_wh=unit.energy_wh(row.value or 0.0, duration_s),
        coverage_fraction=1.0,
        quality=row.quality,
    )


def _refuse_overlaps(found: Sequence[tuple[_Row, IntervalEnergy]]) -> None:
    for (before, earlier), (row, later) in pairwise(found):
        if row.start == before.start:
            raise _same(before.line, row.line)
        if later.starts_at < earlier.ends_at:
            raise HistoryError(
                f"line {row.line} begins before the interval of line {before.line} is over ({earlier.duration_s:g} s): "
                "intervals must not overlap"
            )


def _same(first: int, second: int) -> HistoryError:
    lines = sorted([first, second])
    return HistoryError(f"line {lines[1]} has the same start as line {lines[0]}: keep one of them")


def _one_meter(table: Sequence[tuple[int, list[str]]], column: int | None) -> str:
    if column is None:
        return ""
    first: dict[str, int] = {}
    for line, cells in table:
        first.setdefault(cells[column].strip(), line)
    if len(first) > 1:
        (one, line), (other, other_line) = list(first.items())[:2]
        raise HistoryError(
            f"line {line} is of meter {one!r}, line {other_line} of meter {other!r}: hand over a file for each meter"
        )
    return next(iter(first))
