"""Importing: energy that was handed over is judged against what is on record, and taken into it whole or not at all."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from itertools import pairwise
from typing import Protocol

from gateway.domain.measurement import IntervalEnergy, Slice, integrate
from gateway.domain.meter_import import ImportedEnergy, MeterImport, MeterKind, RegisterReading, standing
from gateway.domain.settled_energy import as_readings
from gateway.domain.unit_check import Comparison, compare


class ImportRefused(ValueError):
    """An import that is not taken; nothing was recorded. The text says why, and what to do."""


class ImportsInto(Protocol):
    """What an import asks of a record; a ``Ledger`` answers it."""

    async def record_import(
        self, source: MeterImport, intervals: Sequence[IntervalEnergy], registers: Sequence[RegisterReading] = ()
    ) -> bool: ...

    async def imports(self, meter_id: str | None = None) -> tuple[MeterImport, ...]: ...

    async def imported_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[ImportedEnergy, ...]: ...

    async def energy_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Judged:
    """An import that may be taken: how it compares with our own meter, and how many known intervals it replaces."""

    comparison: Comparison
    replaces: int


def import_of(
    intervals: Sequence[IntervalEnergy],
    *,
    import_id: str,
    meter_id: str,
    source: str,
    sha256: str,
    unit: str,
    kind: MeterKind,
    by: str,
    at: datetime,
) -> MeterImport:
    """The import that intervals in order of time make."""
    return MeterImport(
        import_id=import_id,
        meter_id=meter_id,
        source=source,
        sha256=sha256,
        unit=unit,
        kind=kind,
        by=by,
        at=at,
        starts_at=intervals[0].starts_at,
        ends_at=intervals[-1].ends_at,
        count=len(intervals),
    )


async def judge(
    record: ImportsInto,
    source: MeterImport,
    intervals: Sequence[IntervalEnergy],
    *,
    lines: Sequence[int] = (),
    unit_is_certain: bool = False,
) -> Judged:
    """Hold an import against the record, and record nothing.

    ``intervals`` are in order of time, ``lines`` those of the file that they are from. ``unit_is_certain`` where
    somebody said so. Raises ``ImportRefused``: the file was imported before, an interval is yet to come, it would
    replace part of an interval that stands, or the energies are in another unit by all that our own readings say.
    """
    await _refuse_again(record, source)
    _refuse_the_future(source, intervals, lines)
    replaces = await _replaced(record, source, intervals, lines)
    closed = await record.energy_between(source.meter_id, source.starts_at, source.ends_at)
    comparison = compare(intervals, _own(source.meter_id, closed, intervals))
    if comparison.suspicion and not unit_is_certain:
        raise ImportRefused(
            f"taken as {source.unit} the energy is {comparison.ratio:.4g} times what our own meter says of the same "
            f"{comparison.compared} intervals, which looks like {comparison.suspicion}: say with --unit what it is "
            f"(--unit {source.unit} if it is right as it stands)"
        )
    return Judged(comparison=comparison, replaces=replaces)


async def take(
    record: ImportsInto,
    source: MeterImport,
    intervals: Sequence[IntervalEnergy],
    registers: Sequence[RegisterReading] = (),
) -> None:
    """Record an import that was judged. Raises ``ImportRefused`` where the file has been imported meanwhile."""
    if not await record.record_import(source, intervals, registers):
        await _refuse_again(record, source)
        raise ImportRefused("this import is on record")


async def _refuse_again(record: ImportsInto, source: MeterImport) -> None:
    for known in await record.imports(source.meter_id):
        if known.sha256 == source.sha256:
            raise ImportRefused(
                f"this file was imported for meter {known.meter_id} before: {known.source} at "
                f"{known.at:%Y-%m-%d %H:%MZ} by {known.by} (import {known.import_id})"
            )


def _refuse_the_future(source: MeterImport, intervals: Sequence[IntervalEnergy], lines: Sequence[int]) -> None:
    for index, interval in enumerate(intervals):
        if interval.ends_at > source.at:
            raise ImportRefused(
                f"{_line(lines, index)}the interval from {interval.starts_at:%Y-%m-%d %H:%MZ} ends at "
                f"{interval.ends_at:%Y-%m-%d %H:%MZ}, which is yet to come: is the time zone right?"
            )


async def _replaced(
    record: ImportsInto, source: MeterImport, intervals: Sequence[IntervalEnergy], lines: Sequence[int]
) -> int:
    """How many intervals of this kind of meter are replaced; one of which a part alone would be is refused."""
    imported = await record.imported_between(source.meter_id, source.starts_at, source.ends_at)
    known = standing([one for one in imported if one.source.kind is source.kind])
    count, first = 0, 0
    for one in known:
        stands = one.interval
        while first < len(intervals) and intervals[first].ends_at <= stands.starts_at:
            first += 1
        over = []
        for index in range(first, len(intervals)):
            if intervals[index].starts_at >= stands.ends_at:
                break
            over.append(index)
        if not over:
            continue
        pieces = [intervals[index] for index in over]
        gapless = all(before.ends_at == after.starts_at for before, after in pairwise(pieces))
        if not gapless or pieces[0].starts_at > stands.starts_at or pieces[-1].ends_at < stands.ends_at:
            raise ImportRefused(
                f"{_line(lines, over[0])}the interval from {pieces[0].starts_at:%Y-%m-%d %H:%MZ} replaces part of the "
                f"one from {stands.starts_at:%Y-%m-%d %H:%MZ} to {stands.ends_at:%Y-%m-%d %H:%MZ} that was imported "
                f"from {one.source.source}: hand over all of its time"
            )
        count += 1
    return count


def _own(
    meter_id: str, closed: Sequence[IntervalEnergy], intervals: Sequence[IntervalEnergy]
) -> tuple[IntervalEnergy, ...]:
    """What our own closed intervals say of each imported one."""
    pieces = [Slice(starts_at=one.starts_at, duration_s=one.duration_s) for one in intervals]
    longest_s = max((one.duration_s for one in closed), default=1.0)
    return integrate(as_readings(meter_id, closed), pieces, max_gap_s=longest_s)


def _line(lines: Sequence[int], index: int) -> str:
    return f"line {lines[index]}: " if lines else ""
