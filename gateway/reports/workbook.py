"""A report as a workbook: a sheet that says what there is, and a sheet for each table, with real numbers and dates.

A spreadsheet holds 15 digits of a number and no offset of a date: instants are shown in the site's local time, with
the offset in a column beside them. Every text is written as text, so that none becomes a formula or a link.
"""

import io
from collections.abc import Sequence
from datetime import UTC, datetime
from decimal import Decimal
from typing import Any

import xlsxwriter

from gateway.domain.report.document import Cell, Column, Kind, Report, Table, instant_text, number_text, one_line

_OVERVIEW = "Report"
_EXACT_DIGITS = 15
_WIDTHS = (8, 60)
_OFFSET = Column(title="UTC offset")


def write(report: Report) -> bytes:
    """The workbook, whole in memory."""
    out = io.BytesIO()
    book = xlsxwriter.Workbook(
        out, {"in_memory": True, "strings_to_formulas": False, "strings_to_urls": False, "strings_to_numbers": False}
    )
    created = report.issued_at.astimezone(UTC).replace(tzinfo=None)
    book.set_properties({"title": report.title, "created": created})
    head = book.add_format({"bold": True, "text_wrap": True, "valign": "top", "bottom": 1})
    wrap = book.add_format({"text_wrap": True, "valign": "top"})
    _overview(book.add_worksheet(_OVERVIEW), report, head, wrap)
    for table in report.tables:
        _sheet(book, book.add_worksheet(table.name), table, report, head)
    book.close()
    return out.getvalue()


def _overview(sheet: Any, report: Report, head: Any, wrap: Any) -> None:
    """Every section with what it says, also those without a table."""
    sheet.set_column(0, 0, 6)
    sheet.set_column(1, 1, 36)
    sheet.set_column(2, 2, 100)
    for place, words in enumerate(("No.", "Section", "What it says")):
        sheet.write_string(0, place, words, head)
    row = 0
    for section in report.sections:
        for number, words in enumerate((section.lead, *section.notes)):
            row += 1
            if number == 0:
                sheet.write_number(row, 0, section.number, wrap)
                sheet.write_string(row, 1, section.title, wrap)
            sheet.write_string(row, 2, words, wrap)
    sheet.write_string(row + 2, 1, "Issued", wrap)
    sheet.write_string(row + 2, 2, instant_text(report.issued_at, report.timezone), wrap)
    sheet.freeze_panes(1, 0)


def _sheet(book: Any, sheet: Any, table: Table, report: Report, head: Any) -> None:
    columns = [shown for column in table.columns for shown in _shown(column)]
    formats = [book.add_format({"num_format": _number_format(column)}) for column in columns]
    rows = [_cells(row, table.columns, report) for row in table.rows]
    for place, column in enumerate(columns):
        sheet.write_string(0, place, column.heading, head)
        longest = max([len(column.heading), *(len(_plain(row[place])) for row in rows)])
        sheet.set_column(place, place, min(max(longest + 2, _WIDTHS[0]), _WIDTHS[1]))
    for number, row in enumerate(rows, 1):
        for place, cell in enumerate(row):
            _put(sheet, number, place, cell, formats[place])
    sheet.freeze_panes(1, 0)
    sheet.repeat_rows(0)


def _shown(column: Column) -> Sequence[Column]:
    return (column, _OFFSET) if column.kind is Kind.INSTANT else (column,)


def _cells(row: Sequence[Cell], columns: Sequence[Column], report: Report) -> list[Cell]:
    cells: list[Cell] = []
    for cell, column in zip(row, columns, strict=True):
        if column.kind is not Kind.INSTANT:
            cells.append(cell)
        elif isinstance(cell, datetime):
            cells += [cell.astimezone(report.timezone), instant_text(cell, report.timezone)[-6:]]
        else:
            cells += [None, None]
    return cells


def _put(sheet: Any, row: int, place: int, cell: Cell, shown: Any) -> None:
    match cell:
        case None:
            return
        case str():
            sheet.write_string(row, place, one_line(cell), shown)
        case datetime():
            sheet.write_datetime(row, place, cell.replace(tzinfo=None), shown)
        case Decimal() if len(cell.as_tuple().digits) > _EXACT_DIGITS:
            sheet.write_string(row, place, number_text(cell, None), shown)
        case _:
            sheet.write_number(row, place, float(cell), shown)


def _plain(cell: Cell) -> str:
    return "2025-01-01 00:00:00" if isinstance(cell, datetime) else "" if cell is None else str(cell)[: _WIDTHS[1]]


def _number_format(column: Column) -> str:
    match column.kind:
        case Kind.INSTANT:
            return "yyyy-mm-dd hh:mm:ss"
        case Kind.NUMBER if column.decimals is not None:
            return "#,##0" + (f".{'0' * column.decimals}" if column.decimals else "")
        case Kind.NUMBER:
            return "General"
        case Kind.TEXT:
            return "@"
