"""The intervals of a report as Parquet: instants in UTC, doubles, text; what they are of stands in the metadata."""

from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq

from gateway.domain.report.document import Cell, Column, Kind, Report
from gateway.reports.interval_table import interval_table


def write(report: Report) -> bytes:
    """Raises ``ValueError`` where there is no interval."""
    table = interval_table(report)
    arrays = {
        _name(column): _array(column, [row[place] for row in table.rows]) for place, column in enumerate(table.columns)
    }
    made = pa.table(arrays).replace_schema_metadata(
        {"statement_id": report.report_id, "site_id": report.site_id, "timezone": report.timezone.key}
    )
    sink = pa.BufferOutputStream()
    pq.write_table(made, sink, compression="zstd", version="2.6")
    body: bytes = sink.getvalue().to_pybytes()
    return body


def _name(column: Column) -> str:
    unit = {"%": "percent"}.get(column.unit, column.unit)
    return "_".join(part.lower().replace(" ", "_") for part in (column.title, unit) if part)


def _array(column: Column, cells: Sequence[Cell]) -> Any:
    match column.kind:
        case Kind.INSTANT:
            at = [cell.astimezone(UTC) if isinstance(cell, datetime) else None for cell in cells]
            return pa.array(at, pa.timestamp("us", tz="UTC"))
        case Kind.NUMBER:
            return pa.array([None if cell is None else float(str(cell)) for cell in cells], pa.float64())
        case Kind.TEXT:
            return pa.array([None if cell is None else str(cell) for cell in cells], pa.string())
