"""A report as a tagged PDF (PDF/UA-1, ISO 14289-1), set by typst with its own fonts: no font or file of the machine.

Text goes to the page as data (``sys.inputs``), so that nothing in it is read as markup.
"""

import json
from collections.abc import Sequence
from functools import cache
from importlib.resources import files

import typst

from gateway.domain.report.document import Cell, Column, Kind, Report, Section, Table, cell_text, instant_text
from gateway.domain.report.material import Topic
from gateway.reports.chart import chart_svg
from gateway.reports.glyphs import printed

_FOOT = 90
"""Characters at the foot of each page."""

_LINE, _GAP = 108, 3
"""Characters that a page's width holds of a table, and that lie between two columns."""

_NARROW, _WIDEST = 32, 70
"""Characters: a column up to the first keeps its width; over the second it does not grow any more."""


def write(report: Report) -> bytes:
    """The PDF; its time of creation is the report's."""
    chart = chart_svg(report)
    inputs = {"report": json.dumps(_content(report, drawn=chart is not None)), "chart": chart or ""}
    return typst.compile(
        _template(),
        format="pdf",
        sys_inputs=inputs,
        ignore_system_fonts=True,
        pdf_standards="ua-1",
        timestamp=int(report.issued_at.timestamp()),
    )


@cache
def _template() -> bytes:
    return files("gateway.reports").joinpath("statement.typ").read_bytes()


def _content(report: Report, *, drawn: bool) -> dict[str, object]:
    issued = instant_text(report.issued_at, report.timezone)
    return {
        "title": printed(report.title),
        "author": report.site_id,
        "under": f"Site {printed(report.site_id)}, issued {issued} ({report.timezone.key})",
        "foot": printed(_cut(report.report_id)),
        "alt": "" if report.chart is None else report.chart.description,
        "sections": [_section(section, report, drawn=drawn) for section in report.sections],
    }


def _section(section: Section, report: Report, *, drawn: bool) -> dict[str, object]:
    return {
        "title": f"{section.number}. {section.title}",
        "lead": printed(section.lead),
        "chart": drawn and section.title == Topic.CHART.value,
        "tables": [_table(table, report) for table in section.tables if table.rows],
        "notes": [printed(note) for note in section.notes],
    }


def _table(table: Table, report: Report) -> dict[str, object]:
    shown = table.rows[: table.most_on_pages]
    written = [_column(column, [row[place] for row in shown], report) for place, column in enumerate(table.columns)]
    lengths = [max([len(heading), *map(len, cells)]) for heading, cells in written]
    # Where all fits side by side every column is as wide as its cells.
    wide = sum(length + _GAP for length in lengths) > _LINE
    return {
        "caption": printed(_caption(table)),
        "columns": [
            {
                "heading": heading,
                "right": column.kind is Kind.NUMBER,
                "whole": column.kind is Kind.INSTANT,
                "share": _share(column, max(map(len, cells))) if wide else 0,
            }
            for column, (heading, cells) in zip(table.columns, written, strict=True)
        ],
        "rows": [list(row) for row in zip(*(cells for _, cells in written), strict=True)],
    }


def _column(column: Column, cells: Sequence[Cell], report: Report) -> tuple[str, list[str]]:
    """Heading and cells. What all instants of a column have in common stands in its heading, or not at all."""
    texts = [cell_text(cell, column, report.timezone) for cell in cells]
    heading = column.heading
    if column.kind is Kind.INSTANT:
        instants = [text for text, cell in zip(texts, cells, strict=True) if cell is not None]
        offsets, seconds = {text[-7:] for text in instants}, {text[-10:-7] for text in instants}
        if len(offsets) == 1:
            heading = f"{heading} (UTC{instants[0][-6:]})"
            cut = -10 if seconds == {":00"} else -7
            texts = [text if cell is None else text[:cut] for text, cell in zip(texts, cells, strict=True)]
    return printed(heading), [printed(text) for text in texts]


def _cut(text: str) -> str:
    return text if len(text) <= _FOOT else f"{text[: _FOOT - 1]}\N{HORIZONTAL ELLIPSIS}"


def _caption(table: Table) -> str:
    shown, count = table.most_on_pages, len(table.rows)
    if count <= shown:
        return table.caption
    return f"{table.caption}: the first {shown:,} of {count:,} rows; the report as xlsx or json has all of them"


def _share(column: Column, longest: int) -> int:
    """A column of long texts takes a share of the width that is left, and may wrap; 0 is as wide as its cells."""
    return min(longest, _WIDEST) if column.kind is Kind.TEXT and longest > _NARROW else 0
