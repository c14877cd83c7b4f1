"""Metered energy that was handed over, and edits, in rows."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta
from itertools import groupby

from sqlalchemy import RowMapping, Table, func, select

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import (
    LONGEST_INTERVAL_S,
    ImportedEnergy,
    MeterImport,
    MeterKind,
    RegisterReading,
)
from gateway.domain.vee.edit import Edit
from gateway.ledger import Topic
from gateway.storage import rows
from gateway.storage.database import Database
from gateway.storage.meter_tables import imported_energy, meter_register, reading_edit, reading_import, temperature
from hardware.device import Quality

# Rows handed to the driver at once.
_PORTION = 2000
_LONGEST = timedelta(seconds=LONGEST_INTERVAL_S)


class MeterDataVerbs:
    """The ledger's verbs about imports and edits."""

    database: Database
    _wake: Callable[[Topic], None]

    async def record_import(
        self, source: MeterImport, intervals: Sequence[IntervalEnergy], registers: Sequence[RegisterReading] = ()
    ) -> bool:
        _refuse_unusable(source, intervals, registers)
        energy = [
            {
                "import_id": source.import_id,
                "starts_at": one.starts_at,
                "duration_s": one.duration_s,
                "energy_wh": one.energy_wh,
                "quality": one.quality.value,
            }
            for one in intervals
        ]
        stood = [{"import_id": source.import_id, "at": one.at, "energy_wh": one.energy_wh} for one in registers]
        async with self.database.write() as connection:
            new = await rows.add(connection, reading_import, _import_row(source))
            if new:
                for table, portion in (*_portions(imported_energy, energy), *_portions(meter_register, stood)):
                    # Plain insertions: a row that is there already must end all of it.
                    await connection.execute(table.insert(), portion)
        if new:
            self._wake(Topic.METER_DATA)
        return new

    async def imports(self, meter_id: str | None = None) -> tuple[MeterImport, ...]:
        asked = select(reading_import).order_by(reading_import.c.id)
        if meter_id is not None:
            asked = asked.where(reading_import.c.meter_id == meter_id)
        async with self.database.read() as connection:
            return tuple(_import_of(row) for row in (await connection.execute(asked)).mappings())

    async def imported_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[ImportedEnergy, ...]:
        table = imported_energy
        of_meter = select(reading_import).where(
            reading_import.c.meter_id == meter_id, reading_import.c.starts_at < end, reading_import.c.ends_at > start
        )
        async with self.database.read() as connection:
            sources = [
                _import_of(row) for row in (await connection.execute(of_meter.order_by(reading_import.c.id))).mappings()
            ]
            asked = (
                select(table)
                .where(
                    table.c.import_id.in_([one.import_id for one in sources]),
                    table.c.starts_at > start - _LONGEST,
                    table.c.starts_at < end,
                )
                .order_by(table.c.import_id, table.c.starts_at)
            )
            found = (await connection.execute(asked)).mappings().all() if sources else ()
        by_import = {
            name: tuple(one for row in group if (one := _interval_of(row)).ends_at > start)
            for name, group in groupby(found, key=lambda row: row["import_id"])
        }
        return tuple(
            ImportedEnergy(source=one, intervals=by_import[one.import_id])
            for one in sources
            if by_import.get(one.import_id)
        )

    async def registers_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[RegisterReading, ...]:
        table = meter_register
        asked = (
            select(table.c.at, table.c.energy_wh)
            .join(reading_import, reading_import.c.import_id == table.c.import_id)
            .where(reading_import.c.meter_id == meter_id, table.c.at >= start, table.c.at < end)
            .order_by(reading_import.c.id)
        )
        async with self.database.read() as connection:
            # The last one of an instant stays.
            found = {
                row.at: RegisterReading(at=row.at, energy_wh=row.energy_wh) for row in await connection.execute(asked)
            }
        return tuple(sorted(found.values(), key=lambda one: one.at))

    async def record_edit(self, edit: Edit) -> bool:
        return await self.record_edits([edit]) > 0

    async def record_edits(self, edits: Sequence[Edit]) -> int:
        for edit in edits:
            if edit.duration_s > LONGEST_INTERVAL_S:
                raise ValueError(f"edit {edit.edit_id} is of {edit.duration_s:g} s: no interval is longer than a day")
        new = 0
        async with self.database.write() as connection:
            for edit in edits:
                row = {"edit_id": edit.edit_id, "meter_id": edit.meter_id, "starts_at": edit.starts_at}
                new += await rows.add(connection, reading_edit, {**row, "document": edit})
        if new:
            self._wake(Topic.METER_DATA)
        return new

    async def edits_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[Edit, ...]:
        table = reading_edit
        asked = (
            select(table.c.document)
            .where(table.c.meter_id == meter_id, table.c.starts_at > start - _LONGEST, table.c.starts_at < end)
            .order_by(table.c.id)
        )
        async with self.database.read() as connection:
            found: Sequence[Edit] = (await connection.execute(asked)).scalars().all()
        return tuple(one for one in found if one.starts_at + timedelta(seconds=one.duration_s) > start)

    async def meter_data_count(self) -> int:
        asked = select(
            select(func.count()).select_from(reading_import).scalar_subquery()
            + select(func.count()).select_from(reading_edit).scalar_subquery()
            + select(func.count()).select_from(temperature).scalar_subquery()
        )
        async with self.database.read() as connection:
            count: int = (await connection.execute(asked)).scalar_one()
        return count


def _portions(table: Table, found: Sequence[rows.Row]) -> list[tuple[Table, Sequence[rows.Row]]]:
    return [(table, found[first : first + _PORTION]) for first in range(0, len(found), _PORTION)]


def _refuse_unusable(
    source: MeterImport, intervals: Sequence[IntervalEnergy], registers: Sequence[RegisterReading]
) -> None:
    for one in intervals:
        usable = (
            math.isfinite(one.energy_wh) and 0 < one.duration_s <= LONGEST_INTERVAL_S and one.coverage_fraction == 1.0
        )
        if not usable or one.starts_at < source.starts_at or one.ends_at > source.ends_at:
            raise ValueError(f"import {source.import_id}: {one} is no interval of it")
    if len(intervals) != source.count:
        raise ValueError(f"import {source.import_id} has {len(intervals)} intervals and says {source.count}")
    for register in registers:
        if not math.isfinite(register.energy_wh):
            raise ValueError(f"import {source.import_id}: {register} is no reading of a register")


def _import_row(source: MeterImport) -> rows.Row:
    return {
        "import_id": source.import_id,
        "meter_id": source.meter_id,
        "source": source.source,
        "sha256": source.sha256,
        "unit": source.unit,
        "kind": source.kind.value,
        "by": source.by,
        "at": source.at,
        "starts_at": source.starts_at,
        "ends_at": source.ends_at,
        "count": source.count,
    }


def _import_of(row: RowMapping) -> MeterImport:
    columns = {name: value for name, value in row.items() if name != "id"}
    return MeterImport(**{**columns, "kind": MeterKind(row["kind"])})


def _interval_of(row: RowMapping) -> IntervalEnergy:
    return IntervalEnergy(
        starts_at=row["starts_at"],
        duration_s=row["duration_s"],
        energy_wh=row["energy_wh"],
        coverage_fraction=1.0,
        quality=Quality(row["quality"]),
    )
