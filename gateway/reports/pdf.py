"""A report as a tagged PDF (PDF/UA-1, ISO 14289-1), set by typst with its own fonts: no font or file of the machine.

Text goes to the page as data (``sys.inputs``), so that nothing in it is read as markup.
"""

import json
from functools import cache
from importlib.resources import files

import typst

from gateway.domain.report.document import Column, Kind, Report, Section, Table, cell_text, instant_text
from gateway.domain.report.material import Topic
from gateway.reports.chart import chart_svg
from gateway.reports.glyphs import printed

_FOOT = 90
"""Characters at the foot of each page."""

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
    rows = [
        [printed(cell_text(cell, column, report.timezone)) for cell, column in zip(row, table.columns, strict=True)]
        for row in table.rows[: table.most_on_pages]
    ]
    longest = [max((len(row[place]) for row in rows), default=0) for place in range(len(table.columns))]
    return {
        "caption": printed(_caption(table)),
        "columns": [
            {"heading": printed(column.heading), "right": column.kind is Kind.NUMBER, "share": _share(column, length)}
            for column, length in zip(table.columns, longest, strict=True)
        ],
        "rows": rows,
    }


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
