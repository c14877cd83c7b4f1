"""Metered history and events as people hand them over: CSV with a header. Every refusal is one line with its cure."""

import csv
import math
from collections import Counter
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, tzinfo
from itertools import pairwise

from gateway.domain.measurement import IntervalEnergy

READINGS_HEADER = "`timestamp,kw` (mean power) or `timestamp,kwh` (energy of the interval)"
EVENTS_HEADER = "`start,end`"
TEMPERATURE_HEADER = "`start,temperature_c`"

# What lies outside is a slip of the pen, not a history, and would only cost time.
_YEARS = range(1970, 2200)
_INTERVALS_S = (1.0, 86_400.0)
_LONGEST_EVENT = timedelta(days=7)
_LARGEST_VALUE = 1e9
_TEMPERATURES_C = (-90.0, 60.0)


class HistoryError(ValueError):
    """Input that cannot be used: the text says where, why, and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class MeteredHistory:
    """Intervals with a reading, in order; ``offsets`` are the UTC offsets that the stamps were written with."""

    intervals: tuple[IntervalEnergy, ...]
    interval_s: float
    offsets: frozenset[timedelta]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Row:
    """One line: the start of its interval, and its value in the header's unit, ``None`` where there is no reading."""

    line: int
    starts_at: datetime
    value: float | None


def parse_instant(text: str, zone: tzinfo | None) -> datetime:
    """An instant in ISO 8601; a naive one is local to ``zone``.

    Raises ``HistoryError`` for another form, for a naive one without a zone, and for a time on the wall that the zone's
    clock change skipped or showed twice.
    """
    return placed(stamp_of(text), zone)


def parse_readings(content: bytes, zone: tzinfo | None) -> MeteredHistory:
    """Readings by the start of their interval; empty, ``nan`` or absent is no reading. Raises ``HistoryError``."""
    table = rows_of(content)
    in_kw = _value_column(table[0][1] if table else []) == "kw"
    rows: list[_Row] = []
    naive_line, aware_line = 0, 0
    for line, cells in table[1:]:
        with naming_line(line):
            if len(cells) > 2:
                raise HistoryError(f"{len(cells)} columns where the header has two")
            stamp = stamp_of(cells[0])
            naive_line = naive_line or (line if stamp.tzinfo is None else 0)
            aware_line = aware_line or (line if stamp.tzinfo is not None else 0)
            if naive_line and aware_line:
                raise HistoryError(
                    f"stamps with a UTC offset (line {aware_line}) beside stamps without one (line {naive_line}): "
                    "write all of them in one form"
                )
            value = value_of(cells[1] if len(cells) == 2 else "")
            rows.append(_Row(line=line, starts_at=placed(stamp, zone), value=value))
    _check_order(rows)
    interval_s = _interval_s(rows)
    factor = 1000.0 * interval_s / 3600.0 if in_kw else 1000.0
    return MeteredHistory(
        intervals=tuple(
            IntervalEnergy(
                starts_at=row.starts_at.astimezone(UTC),
                duration_s=interval_s,
                energy_wh=row.value * factor,
                coverage_fraction=1.0,
            )
            for row in rows
            if row.value is not None
        ),
        interval_s=interval_s,
        offsets=frozenset(offset for row in rows if (offset := row.starts_at.utcoffset()) is not None),
    )


def parse_events(content: bytes, zone: tzinfo | None) -> tuple[tuple[datetime, datetime], ...]:
    """Events as start and end. Raises ``HistoryError``."""
    table = rows_of(content)
    header = ",".join(cell.strip().lower() for cell in table[0][1]) if table else ""
    if header != "start,end":
        raise HistoryError(f"line 1 is {header!r}: the header {EVENTS_HEADER} is expected")
    events = []
    for line, cells in table[1:]:
        with naming_line(line):
            if len(cells) != 2:
                raise HistoryError(f"{len(cells)} columns where the header has two")
            events.append(parse_event(cells[0], cells[1], zone))
    return tuple(events)


def parse_temperatures(content: bytes, zone: tzinfo | None) -> tuple[tuple[datetime, float], ...]:
    """Temperatures in degrees Celsius by the instant they hold from; empty or ``nan`` is none.

    Raises ``HistoryError``.
    """
    table = rows_of(content)
    header = ",".join(cell.strip().lower() for cell in table[0][1]) if table else ""
    if header != "start,temperature_c":
        raise HistoryError(f"line 1 is {header!r}: the header {TEMPERATURE_HEADER} is expected")
    rows: list[_Row] = []
    for line, cells in table[1:]:
        with naming_line(line):
            if len(cells) > 2:
                raise HistoryError(f"{len(cells)} columns where the header has two")
            value = value_of(cells[1] if len(cells) == 2 else "")
            if value is not None and not _TEMPERATURES_C[0] <= value <= _TEMPERATURES_C[1]:
                raise HistoryError(
                    f"{value:g} is no temperature of a place in degrees Celsius: leave it empty for none"
                )
            rows.append(_Row(line=line, starts_at=parse_instant(cells[0], zone), value=value))
    _check_order(rows)
    return tuple((row.starts_at.astimezone(UTC), row.value) for row in rows if row.value is not None)


def parse_event(start: str, end: str, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """One event; it must end after its start. Raises ``HistoryError``."""
    begins, ends = parse_instant(start, zone), parse_instant(end, zone)
    if ends <= begins:
        raise HistoryError(f"the event ends at {end.strip()}, not after its start {start.strip()}")
    if ends - begins > _LONGEST_EVENT:
        raise HistoryError(f"the event lasts {ends - begins}, more than {_LONGEST_EVENT.days} days")
    return begins.astimezone(UTC), ends.astimezone(UTC)


def stamp_of(text: str) -> datetime:
    """A stamp in ISO 8601, naive where it has no offset. Raises ``HistoryError``."""
    try:
        stamp = datetime.fromisoformat(text.strip())
    except ValueError as cause:
        raise HistoryError(f"{text.strip()!r} is no date and time: write it like 2025-05-03T16:15:00-07:00") from cause
    if stamp.year not in _YEARS:
        raise HistoryError(f"the year of {text.strip()} is not within {_YEARS.start} to {_YEARS.stop - 1}")
    return stamp


def placed(stamp: datetime, zone: tzinfo | None) -> datetime:
    """The stamp with its zone; a naive one belongs to ``zone``. Raises ``HistoryError`` as ``parse_instant``."""
    if stamp.tzinfo is not None:
        return stamp
    if zone is None:
        raise HistoryError(f"{stamp} has no UTC offset: say with --timezone which zone it is local to")
    first, second = (stamp.replace(tzinfo=zone, fold=fold) for fold in (0, 1))
    if first.utcoffset() == second.utcoffset():
        return first
    exists = first.astimezone(UTC).astimezone(zone).replace(tzinfo=None, fold=0) == stamp
    why = "comes twice in {} (the clocks go back)" if exists else "does not exist in {} (the clocks go forward)"
    raise HistoryError(f"{stamp} {why.format(zone)}: write the stamps with a UTC offset")


@contextmanager
def naming_line(line: int) -> Iterator[None]:
    """Say of which line an error is."""
    try:
        yield
    except HistoryError as cause:
        raise HistoryError(f"line {line}: {cause}") from cause


def rows_of(content: bytes) -> list[tuple[int, list[str]]]:
    """The lines that are not blank, with their numbers. Raises ``HistoryError``."""
    try:
        text = content.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise HistoryError(f"byte {cause.start + 1} is not UTF-8: save the file as UTF-8") from cause
    reader = csv.reader(text.splitlines())
    try:
        return [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as cause:
        raise HistoryError(f"line {reader.line_num} is not CSV: {cause}") from cause


def _value_column(header: list[str]) -> str:
    names = [cell.strip().lower() for cell in header]
    if not names:
        raise HistoryError(f"the file is empty: the header {READINGS_HEADER} is expected")
    if len(names) == 2 and names[0] == "timestamp" and names[1] in {"kw", "kwh"}:
        return names[1]
    try:
        stamp_of(names[0])
    except HistoryError:
        wrong = f"the header {','.join(names)!r} is not known"
    else:
        wrong = "line 1 is a reading, there is no header"
    raise HistoryError(f"{wrong}: {READINGS_HEADER} is expected")


def value_of(text: str) -> float | None:
    """A number, ``None`` for no reading. Raises ``HistoryError``."""
    try:
        value = float(text) if text.strip() else math.nan
    except ValueError as cause:
        raise HistoryError(f"{text.strip()!r} is no number: leave it empty for no reading") from cause
    if abs(value) > _LARGEST_VALUE:
        raise HistoryError(f"{text.strip()!r} is beyond any meter: leave it empty for no reading")
    return None if math.isnan(value) else value


def _check_order(rows: list[_Row]) -> None:
    for before, row in pairwise(rows):
        if row.starts_at == before.starts_at:
            raise HistoryError(f"line {row.line} has the same stamp as line {before.line}: keep one of them")
        if row.starts_at < before.starts_at:
            raise HistoryError(f"line {row.line} is earlier than line {before.line}: sort the rows by time")


def _interval_s(rows: list[_Row]) -> float:
    """Length of the intervals: the commonest step, which every stamp must keep to."""
    if len(rows) < 2:
        raise HistoryError("there are fewer than two rows, so that the length of an interval cannot be told")
    steps = Counter((row.starts_at - before.starts_at).total_seconds() for before, row in pairwise(rows))
    interval_s = min(steps, key=lambda step: (-steps[step], step))
    if not _INTERVALS_S[0] <= interval_s <= _INTERVALS_S[1]:
        raise HistoryError(f"most rows are {interval_s:g} s apart: intervals of a second to a day can be used")
    for before, row in pairwise(rows):
        step = (row.starts_at - before.starts_at).total_seconds()
        if step % interval_s:
            raise HistoryError(
                f"line {row.line} comes {step:g} s after line {before.line}, no multiple of the other rows' "
                f"{interval_s:g} s: put the readings on one interval"
            )
    return interval_s
