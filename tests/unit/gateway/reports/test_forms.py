import csv
import io
import json
import re
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pyarrow.parquet as pq
import pytest
from openpyxl import load_workbook
from pypdf import PdfReader

from gateway import reports
from gateway.domain.report.material import HistoryLine, Topic
from gateway.domain.report.statement import report_of
from gateway.domain.verification import VerificationInputs
from gateway.reports import Form, ReportsMissing, glyphs, written
from gateway.reports.chart import chart_svg
from gateway.reports.glyphs import printed
from tests.statement_material import assured, half_covered, material

HOSTILE = '=HYPERLINK("http://x","y") #eval("1+1") *bold* $x$ @ref <b> \\ `raw` "] #panic("gone") \u202e \ud7ff'


def text_of(body: bytes) -> str:
    return "\n".join(page.extract_text() for page in PdfReader(io.BytesIO(body)).pages)


@pytest.mark.parametrize("form", list(Form))
def test_the_same_report_gives_the_same_bytes(form: Form) -> None:
    assert written(report_of(material()), form) == written(report_of(material()), form)


def test_the_pdf_is_tagged_titled_in_a_language_and_has_every_section() -> None:
    body = written(report_of(material()), Form.PDF)
    reader = PdfReader(io.BytesIO(body))
    root = reader.root_object
    assert root["/MarkInfo"]["/Marked"] is True or root["/MarkInfo"]["/Marked"].value is True
    assert "/StructTreeRoot" in root
    assert root["/Lang"] == "en"
    assert reader.metadata is not None
    assert reader.metadata.title == "Settlement statement site-utility-evt-1-r0"
    text = text_of(body)
    places = [text.index(f"{number}. {topic.value}") for number, topic in enumerate(Topic, 1)]
    assert places == sorted(places)
    assert b"pdfuaid" in reader.root_object["/Metadata"].get_data()


def test_the_chart_in_the_pdf_has_words_for_those_who_cannot_see_it() -> None:
    report = report_of(material())
    assert report.chart is not None
    reader = PdfReader(io.BytesIO(written(report, Form.PDF)))
    alternatives = [found["/Alt"] for found in map(reader.get_object, range(1, len(reader.xref[0]) + 1)) if _alt(found)]
    assert report.chart.description in alternatives


def _alt(found: object) -> bool:
    return isinstance(found, dict) and "/Alt" in found


def test_text_from_outside_is_shown_as_it_is_and_never_read_as_markup() -> None:
    text = text_of(written(report_of(material(detail=HOSTILE)), Form.PDF))
    assert '#eval("1+1")' in "".join(text.replace("\n", " "))
    assert "*bold*" in text
    assert "#panic" in text


def test_what_the_font_lacks_stands_as_its_code_point() -> None:
    assert "held by [U+4E2D]" in text_of(written(report_of(material(detail="held by \u4e2d")), Form.PDF))


def test_the_font_has_every_character_that_it_is_said_to_have() -> None:
    has = [chr(point) for first, last in glyphs._COVERED for point in range(first, last + 1)]
    assert "[U+" not in printed("".join(has))
    for begin in range(0, len(has), 900):
        detail = " ".join(has[begin : begin + 900])
        # A single character without a glyph would be refused under PDF/UA-1.
        assert written(report_of(material(detail=detail)), Form.PDF).startswith(b"%PDF")


def test_ids_of_any_length_leave_the_pdf_whole_and_can_be_copied_from_it() -> None:
    long = "e" * 40 + "-" + "0123456789abcdef" * 20
    body = written(report_of(material(event_id=long, statement_id=f"site-{long}")), Form.PDF)
    assert f"site-{long}" in "".join(text_of(body).split())


def test_what_is_longer_than_a_line_is_broken_and_never_runs_over_the_page() -> None:
    found = material(detail="e5" * 100)
    text = text_of(written(report_of(found), Form.PDF))
    assert "e5" * 100 in "".join(text.split())
    assert max(len(line) for line in text.splitlines()) < 140


def test_a_statement_of_nothing_can_be_written_as_pages_sheets_and_json_and_says_why_not_as_rows() -> None:
    report = report_of(material(history=False))
    assert "no measurement" in text_of(written(report, Form.PDF)).replace("\n", " ")
    assert "intervals" not in load_workbook(io.BytesIO(written(report, Form.XLSX))).sheetnames
    assert json.loads(written(report, Form.JSON))["chart"] is None
    for form in (Form.CSV, Form.PARQUET):
        with pytest.raises(ValueError, match="no settled interval"):
            written(report, form)


def test_the_workbook_has_a_sheet_a_table_with_numbers_and_dates_under_a_frozen_header() -> None:
    found = material()
    report = report_of(found)
    book = load_workbook(io.BytesIO(written(report, Form.XLSX)))
    assert book.sheetnames == ["Report", *(table.name for table in report.tables)]
    sheet = book["intervals"]
    assert sheet.freeze_panes == "A2"
    assert [cell.value for cell in sheet[1]][:4] == ["From", "UTC offset", "Length (min)", "Baseline (kWh)"]
    first = [cell.value for cell in sheet[2]]
    assert first[0] == datetime(2025, 5, 5, 16)  # noqa: DTZ001 - a spreadsheet's dates have no zone
    assert first[1] == "-07:00"
    delivered = sum(row[5].value for row in sheet.iter_rows(min_row=2))
    assert round(Decimal(delivered), 3) == found.statement.delivered_kwh


def test_the_workbook_has_no_formula_and_no_link() -> None:
    book = load_workbook(io.BytesIO(written(report_of(material(detail=HOSTILE, event_id="=1+1")), Form.XLSX)))
    cells = [cell for sheet in book for row in sheet.iter_rows() for cell in row]
    assert any(str(cell.value).startswith("=HYPERLINK") for cell in cells)
    assert {cell.data_type for cell in cells} <= {"s", "n", "d"}
    assert not any(cell.hyperlink for cell in cells)


@pytest.mark.parametrize("statement_id", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1"])
def test_csv_has_no_formula(statement_id: str) -> None:
    rows = list(csv.reader(io.StringIO(written(report_of(material(statement_id=statement_id)), Form.CSV).decode())))
    assert all(not row[0].startswith(("=", "+", "-", "@", "\t")) for row in rows)


def test_csv_has_every_interval_with_its_offset_and_a_negative_number_stays_one() -> None:
    rows = list(csv.DictReader(io.StringIO(written(report_of(half_covered(material())), Form.CSV).decode())))
    assert len(rows) == 12
    assert rows[0]["From"] == "2025-05-05T16:00:00-07:00"
    assert float(rows[1]["Covered (%)"]) == 0.0


def test_parquet_has_the_intervals_in_utc_with_units_in_their_names() -> None:
    found = material()
    table = pq.read_table(io.BytesIO(written(report_of(found), Form.PARQUET)))
    assert table.column_names[:4] == ["from", "length_min", "baseline_kwh", "metered_kwh"]
    assert table["from"][0].as_py() == found.statement.verified.intervals[0].starts_at
    assert table.schema.metadata[b"statement_id"] == b"site-utility-evt-1-r0"


def test_json_has_the_exact_figures() -> None:
    found = material()
    content = json.loads(written(report_of(found), Form.JSON))
    assert len(content["sections"]) == 17
    assert content["report_id"] == found.statement.statement_id
    money = next(table for part in content["sections"] for table in part["tables"] if table["name"] == "money")
    assert sum(Decimal(row[-1]) for row in money["rows"]) == found.statement.amount


def test_what_is_not_installed_is_said_with_the_way_to_get_it(monkeypatch: pytest.MonkeyPatch) -> None:
    def missing(name: str) -> object:
        raise ModuleNotFoundError("No module named 'typst'", name="typst")

    monkeypatch.setattr(reports, "import_module", missing)
    with pytest.raises(ReportsMissing, match=r"typst is not installed.*pip install gridgate\[reports\]"):
        written(report_of(material()), Form.PDF)


def test_the_chart_names_each_line_at_its_end_and_leaves_gaps_open() -> None:
    whole, holed = (chart_svg(report_of(one)) for one in (material(), half_covered(material())))
    assert whole is not None
    assert holed is not None
    for words in ("baseline ", "meter ", "price 0.75", "event", "USD/kWh", "America/Phoenix"):
        assert words in whole
    assert whole != holed
    assert holed.count("M") > whole.count("M")


def test_a_column_of_instants_of_one_day_says_its_offset_once() -> None:
    text = text_of(written(report_of(material()), Form.PDF)).replace("\xa0", " ")
    assert "From (UTC-07:00)" in text
    assert "2025-05-05 16:00 15.0" in text.replace("\n", " ")


def test_a_column_over_a_clock_change_keeps_each_offset() -> None:
    found = material()
    zone = replace(found, timezone=ZoneInfo("America/New_York"), history=(
        HistoryLine(at=datetime(2025, 3, 9, 6, tzinfo=UTC), what="before"),
        HistoryLine(at=datetime(2025, 3, 9, 8, tzinfo=UTC), what="after"),
    ))  # fmt: skip
    text = text_of(written(report_of(zone), Form.PDF)).replace("\xa0", " ")
    assert "2025-03-09 01:00:00 -05:00" in text
    assert "2025-03-09 04:00:00 -04:00" in text


def test_the_assurance_stands_in_every_form_and_fits_its_page() -> None:
    report = report_of(assured(material()))
    text = " ".join(text_of(written(report, Form.PDF)).split())
    assert "At least, in nine of ten events (P90)" in text
    assert "None of" in text or "found something to look at" in text
    rows = list(csv.DictReader(io.StringIO(written(report, Form.CSV).decode())))
    assert float(rows[0]["P90 (kWh)"]) <= float(rows[0]["P50 (kWh)"])
    assert {"p50_kwh", "p90_kwh"} <= set(pq.read_table(io.BytesIO(written(report, Form.PARQUET))).column_names)
    sheets = load_workbook(io.BytesIO(written(report, Form.XLSX))).sheetnames
    assert {"accuracy", "placebo", "other_rules", "gaming", "rebound", "devices"} <= set(sheets)


def test_the_chart_names_a_line_that_ends_with_the_event_where_it_begins() -> None:
    found = material()
    assert isinstance(found.inputs, VerificationInputs)
    end = found.inputs.history[-1].ends_at
    later = tuple(replace(found.inputs.history[-1], starts_at=end + timedelta(minutes=15 * n)) for n in range(8))
    drawn = chart_svg(report_of(replace(found, around=(*found.inputs.history, *later))))
    assert drawn is not None
    x = {name: float(re.search(rf'<text x="([\d.]+)"[^>]*>{name} ', drawn).group(1)) for name in ("baseline", "meter")}  # type: ignore[union-attr]
    assert x["meter"] == 620.0
    assert 68.0 < x["baseline"] < 400.0
    assert "kWh less</text>" in drawn
