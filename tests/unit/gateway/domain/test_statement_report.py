from dataclasses import replace
from datetime import UTC, datetime
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.report.document import LONGEST_TEXT, Report, Section, instant_text, number_text, one_line
from gateway.domain.report.material import Part, Topic
from gateway.domain.report.statement import report_of
from tests.statement_material import half_covered, material


def section(report: Report, topic: Topic) -> Section:
    return next(found for found in report.sections if found.title == topic.value)


def test_all_17_sections_stand_in_their_order_and_each_says_something() -> None:
    report = report_of(material())
    assert [found.number for found in report.sections] == list(range(1, 18))
    assert [found.title for found in report.sections] == [topic.value for topic in Topic]
    assert all(found.lead for found in report.sections)


def test_nothing_is_left_out_where_there_is_neither_a_baseline_nor_anything_around_it() -> None:
    bare = replace(material(history=False), inputs=None, history=(), actions=())
    report = report_of(bare)
    assert len(report.sections) == 17
    assert all(found.lead for found in report.sections)
    assert "no measurement" in section(report, Topic.RESULT).lead
    assert report.chart is None
    assert "nothing to draw" in section(report, Topic.CHART).lead


def test_the_money_can_be_multiplied_and_added_from_what_is_shown() -> None:
    found = material()
    money = section(report_of(found), Topic.MONEY)
    lines = next(table for table in money.tables if table.name == "money")
    total = Decimal(0)
    for row in lines.rows:
        quantity, price, factor, amount = (Decimal(str(row[place])) for place in (2, 4, 5, 6))
        assert abs(quantity * price * factor - amount) <= Decimal("0.005")
        total += amount
    assert total == found.statement.amount
    assert found.statement.tariff in money.lead


def test_a_statement_of_a_single_price_still_shows_its_product() -> None:
    found = material()
    older = replace(found.statement, tariff="", tariff_version="", lines=())
    (table,) = section(report_of(replace(found, statement=older)), Topic.MONEY).tables
    energy, price, product, amount = (row[1] for row in table.rows)
    assert isinstance(energy, Decimal)
    assert isinstance(price, Decimal)
    assert energy * price == product
    assert amount == found.statement.amount


def test_what_no_tariff_prices_says_so_on_the_first_page_and_is_no_zero() -> None:
    found = material()
    unpriced = replace(found, statement=replace(found.statement, unpriced="there is no price", lines=()))
    report = report_of(unpriced)
    assert "Nothing is priced: there is no price" in section(report, Topic.RESULT).lead
    assert "no amount" in section(report, Topic.MONEY).lead


def test_a_section_worked_out_elsewhere_stands_in_place_of_the_sentence_that_there_is_none() -> None:
    found = material()
    without = section(report_of(found), Topic.ACCURACY)
    assert "No placebo tests" in without.lead
    having = replace(found, added={Topic.ACCURACY: Part(lead="RRMSE 12.0 % over 19 placebo days.")})
    assert section(report_of(having), Topic.ACCURACY).lead == "RRMSE 12.0 % over 19 placebo days."


def test_the_chart_has_the_mean_power_of_the_covered_time_and_a_gap_where_nothing_is_covered() -> None:
    whole, holed = (report_of(one).chart for one in (material(), half_covered(material())))
    assert whole is not None
    assert holed is not None
    start = next(place for place, span in enumerate(whole.spans) if span.baseline_w is not None)
    assert holed.spans[start].metered_w == pytest.approx(whole.spans[start].metered_w)
    assert holed.spans[start + 1].metered_w is None
    assert whole.spans[start - 1].baseline_w is None
    assert whole.spans[start - 1].metered_w is not None


def test_the_same_material_makes_the_same_report() -> None:
    assert report_of(material()) == report_of(material())


@pytest.mark.parametrize(
    ("value", "decimals", "words"),
    [
        (1234.5, 2, "1,234.50"),
        (-0.0004, 3, "0.000"),
        (-2.5, 1, "\N{MINUS SIGN}2.5"),
        (Decimal("0.125"), 2, "0.12"),
        (Decimal("0.07250"), None, "0.07250"),
        (float("nan"), 1, "no number"),
    ],
)
def test_a_number_is_written_with_separators_and_its_sign(
    value: float | Decimal, decimals: int | None, words: str
) -> None:
    assert number_text(value, decimals) == words


def test_the_two_hours_of_a_clock_change_are_told_apart() -> None:
    zone = ZoneInfo("Europe/Berlin")
    assert instant_text(datetime(2025, 10, 26, 0, 30, tzinfo=UTC), zone) == "2025-10-26 02:30:00 +02:00"
    assert instant_text(datetime(2025, 10, 26, 1, 30, tzinfo=UTC), zone) == "2025-10-26 02:30:00 +01:00"


def test_a_text_is_one_line_without_marks_that_turn_it_round_and_not_longer_than_a_cell() -> None:
    assert one_line("a\n\tb\x00 \u202e9.99\u202c\ufeff") == "a b 9.99"
    assert len(one_line("x" * 10_000)) == LONGEST_TEXT
