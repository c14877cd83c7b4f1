"""What ``gridgate meter`` does in the record. Apart from the commands, so that their ``--help`` loads none of it."""

import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass, replace
from datetime import UTC, datetime, tzinfo
from enum import StrEnum
from typing import TypeVar
from uuid import uuid4

from gateway.cli.ask import read_record
from gateway.cli.command import patiently
from gateway.cli.history_csv import HistoryError, parse_instant
from gateway.cli.meter_csv import Unit
from gateway.cli.meter_files import FileFormat, HandedOver
from gateway.cli.output import BAD_USAGE, fail
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import MeterImport, MeterKind
from gateway.ledger import Ledger
from gateway.services.importing import ImportRefused, import_of, judge, take
from gateway.services.meter_data import MeterData
from hardware.device import Quality

T = TypeVar("T")
Word = TypeVar("Word", bound=StrEnum)

PATIENCE_S = 30.0
"""So long a record that is busy is tried again."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Imported:
    """What became of a file: the import, whether it is on record, and what was seen on the way.

    ``ratio`` is the median of imported energy over our own of the ``compared`` intervals that both meters have.
    """

    imported: MeterImport
    recorded: bool
    energy_kwh: float
    replaces: int
    compared: int
    ratio: float | None
    registers: int
    meter_in_file: str
    notes: tuple[str, ...]


def hand_over(
    url: str,
    handed: HandedOver,
    *,
    meter_id: str,
    source: str,
    kind: MeterKind,
    by: str,
    unit_is_certain: bool,
    check_only: bool,
    json_wanted: bool,
) -> Imported:
    """Judge a file and record it. Ends the command where it is refused, or the record cannot be used."""
    made = import_of(
        handed.intervals,
        import_id=uuid4().hex,
        meter_id=meter_id,
        source=source,
        sha256=handed.sha256,
        unit=handed.unit,
        kind=kind,
        by=by,
        at=datetime.now(UTC),
    )

    async def taken(ledger: Ledger) -> Imported:
        judged = await judge(ledger, made, handed.intervals, lines=handed.lines, unit_is_certain=unit_is_certain)

        async def write(at: datetime) -> MeterImport:
            source = replace(made, at=at)
            await take(ledger, source, handed.intervals, handed.registers)
            return source

        return Imported(
            imported=made if check_only else await written(write),
            recorded=not check_only,
            energy_kwh=sum(one.energy_wh for one in handed.intervals) / 1000.0,
            replaces=judged.replaces,
            compared=judged.comparison.compared,
            ratio=judged.comparison.ratio,
            registers=len(handed.registers),
            meter_in_file=handed.meter,
            notes=handed.notes,
        )

    return refusing(url, source, taken, json_wanted=json_wanted)


def series_of(
    url: str, meter_id: str, start: datetime, end: datetime, *, json_wanted: bool
) -> tuple[IntervalEnergy, ...]:
    """What stands of a meter's energy, each interval as long as it came."""
    return read_record(
        url, lambda ledger: MeterData(ledger).series_between(meter_id, start, end), json_wanted=json_wanted
    )


async def written(write: Callable[[datetime], Awaitable[T]]) -> T:
    """Write with the instant at which it is written, again while the record is busy.

    What is settled in the meantime goes by what is on record, and not by what somebody has in hand.
    """
    return await patiently(lambda: write(datetime.now(UTC)), time.monotonic() + PATIENCE_S)


def refusing(url: str, what: str, work: Callable[[Ledger], Awaitable[T]], *, json_wanted: bool) -> T:
    """Ask or change the record; a refusal ends the command with exit code 2."""
    try:
        return read_record(url, work, json_wanted=json_wanted)
    except ImportRefused as cause:
        fail(f"{what}: {cause}; nothing was recorded", code=BAD_USAGE, json_wanted=json_wanted)


def period(first: str, last: str, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """The values of ``--from`` and ``--to``; without an offset they are local to ``zone``. Raises ``HistoryError``."""
    start, end = (parse_instant(text, zone).astimezone(UTC) for text in (first, last))
    if end <= start:
        raise HistoryError(f"--to {last} is not after --from {first}")
    return start, end


def past_period(first: str, last: str, zone: tzinfo | None) -> tuple[datetime, datetime]:
    """As ``period``, of one that is over: what is yet to come is no gap. Raises ``HistoryError``."""
    start, end = period(first, last, zone)
    now = datetime.now(UTC)
    if end > now:
        raise HistoryError(f"--to {last} is yet to come: take {now:%Y-%m-%dT%H:%MZ} or earlier")
    return start, end


def format_named(text: str) -> FileFormat:
    """The value of ``--format``. Raises ``HistoryError``."""
    return _word(FileFormat, "--format", text)


def kind_named(text: str) -> MeterKind:
    """The value of ``--kind``. Raises ``HistoryError``."""
    return _word(MeterKind, "--kind", text)


def unit_named(text: str | None) -> Unit | None:
    """The value of ``--unit``, however it is written. Raises ``HistoryError``."""
    return None if text is None else _word(Unit, "--unit", text)


def quality_named(text: str) -> Quality:
    """The value of ``--quality``. Raises ``HistoryError``."""
    return _word(Quality, "--quality", text)


def _word(kind: type[Word], option: str, text: str) -> Word:
    for one in kind:
        if one.value.lower() == text.strip().lower():
            return one
    known = ", ".join(one.value for one in kind)
    raise HistoryError(f"{option} {text!r} is not known: {known} are")
