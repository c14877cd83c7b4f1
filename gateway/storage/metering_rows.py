"""Readings, closed intervals and cap outcomes, in rows."""

import math
from collections.abc import Collection, Mapping, Sequence
from datetime import datetime

from sqlalchemy import BigInteger, func, select, type_coerce
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.measurement import IntervalEnergy, from_epoch_us
from gateway.ledger import CapOutcome, TotalMinute
from gateway.storage import rows, tables
from gateway.storage.meter_tables import temperature
from hardware.device import PowerReading, Quality

# Rows handed to the driver at once: after a long outage others get their turn between two portions.
_PORTION = 2000

_MINUTE_US = 60_000_000


async def add_readings(connection: AsyncConnection, readings: Sequence[PowerReading]) -> None:
    """Keep the readings; the first of a meter and instant stays."""
    for first in range(0, len(readings), _PORTION):
        portion = [
            {
                "meter_id": reading.meter_id,
                "measured_at": reading.measured_at,
                "power_w": reading.power_w,
                "energy_j": reading.energy_j,
                "quality": reading.quality.value,
            }
            for reading in readings[first : first + _PORTION]
        ]
        await rows.add_all(connection, tables.reading, portion)


async def readings(
    connection: AsyncConnection, meter_id: str, start: datetime, end: datetime
) -> tuple[PowerReading, ...]:
    """The meter's stored readings, ``start <= measured_at < end``, in order of time."""
    table = tables.reading
    asked = (
        select(table.c.meter_id, table.c.power_w, table.c.measured_at, table.c.energy_j, table.c.quality)
        .where(table.c.meter_id == meter_id, table.c.measured_at >= start, table.c.measured_at < end)
        .order_by(table.c.measured_at)
    )
    return tuple(
        PowerReading(
            meter_id=row.meter_id,
            power_w=row.power_w,
            measured_at=row.measured_at,
            energy_j=row.energy_j,
            quality=Quality(row.quality),
        )
        for row in await connection.execute(asked)
    )


async def totals(
    connection: AsyncConnection, start: datetime, end: datetime, apart_from: Collection[str]
) -> tuple[TotalMinute, ...]:
    """Minutes of all meters together, but for some, summed by the database: of a fleet there are millions of readings.

    The names come first, each found by a step in the primary key, since readings are not in the order of time.
    """
    table = tables.reading
    names = select(func.min(table.c.meter_id).label("meter_id")).cte("names", recursive=True)
    following = select(func.min(table.c.meter_id)).where(table.c.meter_id > names.c.meter_id).scalar_subquery()
    names = names.union_all(select(following).where(names.c.meter_id.is_not(None)))
    minute = (type_coerce(table.c.measured_at, BigInteger) // _MINUTE_US).label("minute")
    means = (
        select(minute, func.avg(table.c.power_w).label("power_w"))
        .join(names, names.c.meter_id == table.c.meter_id)
        .where(table.c.measured_at >= start, table.c.measured_at < end, table.c.meter_id.not_in(list(apart_from)))
        .group_by(table.c.meter_id, minute)
        .subquery()
    )
    asked = (
        select(means.c.minute, func.sum(means.c.power_w).label("power_w"), func.count().label("meters"))
        .group_by(means.c.minute)
        .order_by(means.c.minute)
    )
    return tuple(
        TotalMinute(
            starts_at=from_epoch_us(row.minute * _MINUTE_US), power_w=float(row.power_w), meters=int(row.meters)
        )
        for row in await connection.execute(asked)
    )


async def add_energy(connection: AsyncConnection, meter_id: str, intervals: Sequence[IntervalEnergy]) -> None:
    """Keep the intervals; the first of a meter, start and duration stays. Raises ``ValueError`` for no numbers."""
    for interval in intervals:
        if not all(map(math.isfinite, (interval.duration_s, interval.energy_wh, interval.coverage_fraction))):
            raise ValueError(f"meter {meter_id}: {interval} is no measurement")
    portion = [
        {
            "meter_id": meter_id,
            "starts_at": interval.starts_at,
            "duration_s": interval.duration_s,
            "energy_wh": interval.energy_wh,
            "coverage_fraction": interval.coverage_fraction,
            "quality": interval.quality.value,
        }
        for interval in intervals
    ]
    await rows.add_all(connection, tables.energy, portion)


async def energy(
    connection: AsyncConnection, meter_id: str, start: datetime, end: datetime
) -> tuple[IntervalEnergy, ...]:
    """The meter's intervals that start in ``[start, end)``, in order of time."""
    table = tables.energy
    asked = (
        select(table.c.starts_at, table.c.duration_s, table.c.energy_wh, table.c.coverage_fraction, table.c.quality)
        .where(table.c.meter_id == meter_id, table.c.starts_at >= start, table.c.starts_at < end)
        .order_by(table.c.starts_at, table.c.duration_s)
    )
    return tuple(
        IntervalEnergy(
            starts_at=row.starts_at,
            duration_s=row.duration_s,
            energy_wh=row.energy_wh,
            coverage_fraction=row.coverage_fraction,
            quality=Quality(row.quality),
        )
        for row in await connection.execute(asked)
    )


async def add_temperatures(connection: AsyncConnection, series: Sequence[tuple[datetime, float]], at: datetime) -> None:
    """Keep a series as recorded then. Raises ``ValueError`` for what is no number."""
    if not all(math.isfinite(temperature_c) for _, temperature_c in series):
        raise ValueError("a temperature is no finite number")
    portion = [
        {"starts_at": starts_at, "recorded_at": at, "temperature_c": temperature_c}
        for starts_at, temperature_c in series
    ]
    await rows.add_all(connection, temperature, portion)


async def temperatures(
    connection: AsyncConnection, start: datetime, end: datetime, known_by: datetime | None
) -> tuple[tuple[datetime, float], ...]:
    """What was known by an instant (``None``: now), the last word on each start, in order of time."""
    table = temperature
    asked = (
        select(table.c.starts_at, table.c.temperature_c)
        .where(table.c.starts_at >= start, table.c.starts_at < end)
        .order_by(table.c.starts_at, table.c.recorded_at)
    )
    if known_by is not None:
        asked = asked.where(table.c.recorded_at <= known_by)
    return tuple({row.starts_at: row.temperature_c for row in await connection.execute(asked)}.items())


async def add_outcomes(connection: AsyncConnection, outcomes: Mapping[str, CapOutcome]) -> None:
    """Keep the outcomes, given by digest."""
    await rows.add_all(
        connection,
        tables.cap_outcome,
        [
            {
                "digest": key,
                "at": outcome.at,
                "device_id": outcome.device_id,
                "requested_w": outcome.requested_w,
                "applied_w": outcome.applied_w,
                "outcome": outcome.outcome,
                "detail": outcome.detail,
            }
            for key, outcome in outcomes.items()
        ],
    )


async def outcomes(connection: AsyncConnection, start: datetime, end: datetime) -> dict[str, CapOutcome]:
    """Stored outcomes, ``start <= at < end``, by digest, in order of time."""
    table = tables.cap_outcome
    asked = select(table).where(table.c.at >= start, table.c.at < end).order_by(table.c.at, table.c.id)
    return {
        row.digest: CapOutcome(
            at=row.at,
            device_id=row.device_id,
            requested_w=row.requested_w,
            applied_w=row.applied_w,
            outcome=row.outcome,
            detail=row.detail,
        )
        for row in await connection.execute(asked)
    }
