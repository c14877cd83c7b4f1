"""Files of metered energy at the terminal: read in either format into one form, and written."""

import csv
import io
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, tzinfo
from enum import StrEnum
from hashlib import sha256
from pathlib import Path

from gateway.cli.history_csv import HistoryError
from gateway.cli.meter_csv import Unit, parse_meter_csv
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import RegisterReading
from gateway.meter_files import MeterFileError, read_green_button, write_green_button


class FileFormat(StrEnum):
    """What a file is written in."""

    CSV = "csv"
    GREEN_BUTTON = "greenbutton"


@dataclass(frozen=True, slots=True, kw_only=True)
class HandedOver:
    """What a file says: intervals in order of time, and ``lines`` they are from (none where a format has no lines).

    ``meter`` is what the file itself calls the meter; ``notes`` are for whoever hands it over.
    """

    intervals: tuple[IntervalEnergy, ...]
    lines: tuple[int, ...]
    registers: tuple[RegisterReading, ...]
    unit: str
    meter: str
    sha256: str
    notes: tuple[str, ...]


def read_meter_file(
    content: bytes,
    kind: FileFormat,
    *,
    unit: Unit | None,
    zone: tzinfo | None,
    usage_point: str | None = None,
) -> HandedOver:
    """The energy in a file. Raises ``HistoryError``."""
    digest = sha256(content).hexdigest()
    if kind is FileFormat.CSV:
        if usage_point is not None:
            raise HistoryError("--usage-point is of Green Button feeds: add --format greenbutton")
        found = parse_meter_csv(content, unit=unit, zone=zone)
        without = f"{found.without_value} rows have no value and are no readings"
        return HandedOver(
            intervals=found.intervals,
            lines=found.lines,
            registers=(),
            unit=found.unit.value,
            meter=found.meter,
            sha256=digest,
            notes=(without,) if found.without_value else (),
        )
    if unit not in {None, Unit.WH}:
        raise HistoryError(
            "a Green Button feed says itself what its units are, and is read into Wh: leave --unit out (--unit Wh says "
            "that it is right, whatever our own meter says)"
        )
    try:
        feed = read_green_button(content, usage_point=usage_point, local_time=zone)
    except MeterFileError as cause:
        raise HistoryError(str(cause)) from cause
    return HandedOver(
        intervals=feed.intervals,
        lines=(),
        registers=feed.registers,
        unit=Unit.WH.value,
        meter=feed.usage_point,
        sha256=digest,
        notes=feed.remarks,
    )


def write_meter_file(path: Path, kind: FileFormat, intervals: Sequence[IntervalEnergy], *, meter_id: str) -> None:
    """Write whole intervals. Raises ``HistoryError``, and ``OSError`` where the file cannot be written."""
    if kind is FileFormat.CSV:
        path.write_bytes(_csv(intervals))
        return
    try:
        path.write_bytes(write_green_button(intervals, meter_id=meter_id, title=f"meter {meter_id}"))
    except MeterFileError as cause:
        raise HistoryError(str(cause)) from cause


def _csv(intervals: Sequence[IntervalEnergy]) -> bytes:
    """Rows that an import reads back: kilowatt-hours to the last digit."""
    text = io.StringIO()
    out = csv.writer(text, lineterminator="\n")
    out.writerow(["start", "end", "kWh", "quality"])
    for one in intervals:
        starts, ends = (at.astimezone(UTC).isoformat().replace("+00:00", "Z") for at in (one.starts_at, one.ends_at))
        out.writerow([starts, ends, repr(one.energy_wh / 1000.0), one.quality.value])
    return text.getvalue().encode()
