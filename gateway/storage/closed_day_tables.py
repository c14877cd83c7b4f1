"""A closed day as Parquet tables: the same rows are the same bytes, while the library that writes them is the same."""

from collections.abc import Iterable, Mapping
from hashlib import sha256
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.domain.closed_day import ClosedDay, ClosedFile, microwatt_hours
from gateway.domain.settlement import SettlementStatement

READINGS, ENERGY, INTERVALS, STATEMENTS = (
    "readings.parquet",
    "energy.parquet",
    "intervals.parquet",
    "statements.parquet",
)

ROW_GROUP = 1 << 17
"""Rows that are read by one thread; a file of many more is read by several."""

_WORD = pa.dictionary(pa.int32(), pa.string())
_INSTANT = pa.timestamp("us", tz="UTC")

SCHEMAS: Mapping[str, pa.Schema] = {
    READINGS: pa.schema(
        [
            ("meter_id", _WORD),
            ("measured_at", _INSTANT),
            ("power_w", pa.float64()),
            ("energy_j", pa.float64()),
            ("quality", _WORD),
        ]
    ),
    ENERGY: pa.schema(
        [
            ("meter_id", _WORD),
            ("starts_at", _INSTANT),
            ("duration_s", pa.float64()),
            ("energy_wh", pa.float64()),
            ("energy_uwh", pa.int64()),
            ("coverage_fraction", pa.float64()),
            ("quality", _WORD),
        ]
    ),
    INTERVALS: pa.schema(
        [
            ("statement_id", _WORD),
            ("starts_at", _INSTANT),
            ("duration_s", pa.float64()),
            ("baseline_uwh", pa.int64()),
            ("measured_uwh", pa.int64()),
            ("delivered_uwh", pa.int64()),
            ("coverage_fraction", pa.float64()),
            ("quality", _WORD),
        ]
    ),
    STATEMENTS: pa.schema(
        [
            ("statement_id", pa.string()),
            ("site_id", _WORD),
            ("connection_id", _WORD),
            ("event_id", pa.string()),
            ("rule", _WORD),
            ("rule_version", _WORD),
            ("issued_at", _INSTANT),
            ("delivered_kwh", pa.decimal128(38, 9)),
            ("amount", pa.decimal128(38, 4)),
            ("currency", _WORD),
            ("inputs_sha256", pa.string()),
        ]
    ),
}


def tables_of(day: ClosedDay) -> Mapping[str, pa.Table]:
    """The day's tables by file name, each in one order."""
    energy = sorted(day.energy, key=lambda one: (one.meter_id, one.energy.starts_at, one.energy.duration_s))
    statements = sorted(day.statements, key=lambda one: (one.issued_at, one.statement_id))
    rows: Mapping[str, Iterable[tuple[Any, ...]]] = {
        READINGS: (
            (one.meter_id, one.measured_at, one.power_w, one.energy_j, one.quality.value)
            for one in sorted(day.readings, key=lambda one: (one.meter_id, one.measured_at))
        ),
        ENERGY: (
            (
                one.meter_id,
                one.energy.starts_at,
                one.energy.duration_s,
                one.energy.energy_wh,
                microwatt_hours(one.energy.energy_wh),
                one.energy.coverage_fraction,
                one.energy.quality.value,
            )
            for one in energy
        ),
        INTERVALS: (row for one in statements for row in _intervals(one)),
        STATEMENTS: (
            (
                one.statement_id,
                one.site_id,
                one.verified.connection_id,
                one.verified.event_id,
                one.verified.rule,
                one.verified.rule_version,
                one.issued_at,
                one.delivered_kwh,
                one.amount,
                one.currency,
                one.inputs_sha256,
            )
            for one in statements
        ),
    }
    return {name: _table(SCHEMAS[name], list(found)) for name, found in rows.items()}


def write_table(path: Path, table: pa.Table) -> ClosedFile:
    """Write a table and say what was written."""
    pq.write_table(table, path, compression="zstd", version="2.6", row_group_size=ROW_GROUP)
    path.chmod(0o444)
    return ClosedFile(name=path.name, sha256=sha256(path.read_bytes()).hexdigest(), rows=table.num_rows)


def _intervals(statement: SettlementStatement) -> Iterable[tuple[Any, ...]]:
    for one in statement.verified.intervals:
        yield (
            statement.statement_id,
            one.starts_at,
            one.duration_s,
            microwatt_hours(one.baseline_wh),
            microwatt_hours(one.measured_wh),
            microwatt_hours(one.delivered_wh),
            one.coverage_fraction,
            one.quality.value,
        )


def _table(schema: pa.Schema, rows: list[tuple[Any, ...]]) -> pa.Table:
    columns = list(zip(*rows, strict=True)) if rows else [()] * len(schema)
    return pa.table(
        [pa.array(list(column), type=field.type) for column, field in zip(columns, schema, strict=True)], schema=schema
    )
