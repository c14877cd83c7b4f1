"""The intervals of a report as CSV (RFC 4180), UTF-8, a header line with units.

A text that a spreadsheet would take for a formula gets an apostrophe before it (OWASP, CSV Injection, from memory, to
be checked); numbers are written as numbers.
"""

import csv
import io
from datetime import datetime
from decimal import Decimal

from gateway.domain.report.document import Cell, Report, one_line
from gateway.reports.interval_table import interval_table

_FORMULA = ("=", "+", "-", "@", "\t", "\r", "\n")


def write(report: Report) -> bytes:
    """Raises ``ValueError`` where there is no interval."""
    table = interval_table(report)
    out = io.StringIO(newline="")
    rows = csv.writer(out)
    rows.writerow(["Statement", *(column.heading for column in table.columns)])
    for row in table.rows:
        rows.writerow([_safe(report.report_id), *(_spelled(cell, report) for cell in row)])
    return out.getvalue().encode()


def _spelled(cell: Cell, report: Report) -> str:
    match cell:
        case None:
            return ""
        case str():
            return _safe(cell)
        case datetime():
            return cell.astimezone(report.timezone).isoformat(timespec="seconds")
        case Decimal():
            return f"{cell:f}"
        case _:
            return repr(cell)


def _safe(text: str) -> str:
    line = one_line(text)
    return f"'{line}" if line.startswith(_FORMULA) else line
