"""Whatever a sender writes, a report stays a report: no formula in a file of rows, no markup on a page."""

import csv
import io

from hypothesis import example, given, settings
from hypothesis import strategies as st
from openpyxl import load_workbook
from pypdf import PdfReader

from gateway.domain.report.document import Column, Report, Section, Table, one_line
from gateway.domain.report.material import Topic
from gateway.reports import Form, written
from tests.statement_material import END, ZONE

TEXTS = st.text(st.characters(codec="utf-8"), max_size=60)


def report_with(text: str) -> Report:
    table = Table(name="intervals", caption=text, columns=(Column(title="What"),), rows=((text,),))
    section = Section(
        number=1, title=Topic.INTERVALS.value, lead=one_line(text), tables=(table,), notes=(one_line(text),)
    )
    return Report(
        report_id=one_line(text),
        title=one_line(text) or "untitled",
        site_id=one_line(text),
        issued_at=END,
        timezone=ZONE,
        sections=(section,),
    )


@given(text=TEXTS)
@example(text="=1+1")
@example(text="\n=1+1")
@example(text="\u202e=1+1")
def test_no_cell_of_a_csv_begins_as_a_formula_does(text: str) -> None:
    rows = list(csv.reader(io.StringIO(written(report_with(text), Form.CSV).decode(), newline="")))
    assert len(rows) == 2
    assert not any(cell.startswith(("=", "+", "-", "@", "\t", "\r")) for cell in rows[1])


@settings(max_examples=25, deadline=None)
@given(text=TEXTS)
@example(text='#panic("x") $ * _ ` ] [ { } < @a // /* */ \\')
@example(text="\u4e2d\u0300 \u060d \U0001f600 a\u0301 \u1100\u1161")
@example(text="\x1f")
def test_any_text_makes_a_page(text: str) -> None:
    assert len(PdfReader(io.BytesIO(written(report_with(text), Form.PDF))).pages) >= 1


@settings(max_examples=25, deadline=None)
@given(text=TEXTS)
@example(text="=1+1")
@example(text="http://example.invalid")
def test_any_text_stays_a_text_in_a_workbook(text: str) -> None:
    cell = load_workbook(io.BytesIO(written(report_with(text), Form.XLSX)))["intervals"]["A2"]
    assert cell.data_type in {"s", "n"}
    assert cell.hyperlink is None
    assert cell.value is None or isinstance(cell.value, str)
