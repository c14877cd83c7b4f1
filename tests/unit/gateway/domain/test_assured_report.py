"""How far the figures can be trusted, as a statement's reader gets it."""

from dataclasses import replace

import pytest

from gateway.domain.assurance.assure import Assurance, NotAssured
from gateway.domain.assurance.gaming import Verdict
from gateway.domain.assurance.reconcile import Reconciliation
from gateway.domain.report.assured import range_words, verdict_words
from gateway.domain.report.document import Report, Section, Table
from gateway.domain.report.material import StatementMaterial, Topic
from gateway.domain.report.statement import report_of
from tests.statement_material import assured, material

TRUSTED = (Topic.ACCURACY, Topic.SENSITIVITY, Topic.GAMING, Topic.REBOUND)


@pytest.fixture(scope="module")
def whole() -> StatementMaterial:
    return assured(material())


@pytest.fixture(scope="module")
def found(whole: StatementMaterial) -> Assurance:
    assert isinstance(whole.assurance, Assurance)
    return whole.assurance


def section(report: Report, topic: Topic) -> Section:
    return next(one for one in report.sections if one.title == topic.value)


def table(report: Report, name: str) -> Table:
    return next(one for one in report.tables if one.name == name)


def test_the_four_sections_are_filled_in_place(whole: StatementMaterial) -> None:
    report, bare = report_of(whole), report_of(replace(whole, assurance=None))
    assert [one.title for one in report.sections] == [topic.value for topic in Topic]
    for topic in TRUSTED:
        assert section(report, topic).tables
        assert not section(bare, topic).tables
        assert "record" in section(bare, topic).lead or "not" in section(bare, topic).lead


def test_the_certificate_says_what_the_rule_credits_where_nothing_happened(
    whole: StatementMaterial, found: Assurance
) -> None:
    report = report_of(whole)
    days = table(report, "placebo").rows
    assert len(days) == found.certificate.days == len(found.placebo.days)
    assert sum(float(str(row[1])) for row in days) == pytest.approx(
        sum(day.error_wh for day in found.placebo.days) / 1000
    )
    passed = table(report, "no_placebo").rows
    assert sum(float(str(row[1])) for row in passed) == len(found.placebo.passed)
    # A reason without its figures: one row for all days of a kind.
    assert len({row[0] for row in passed}) == len(passed)
    assert all(": " not in str(row[0]) for row in passed)


def test_every_interval_has_its_bounds_in_the_unit_of_its_reduction(whole: StatementMaterial, found: Assurance) -> None:
    intervals = table(report_of(whole), "intervals")
    titles = [column.title for column in intervals.columns]
    assert titles[4:7] == ["Reduction", "P50", "P90"]
    for row, one in zip(intervals.rows, found.intervals, strict=True):
        reduction, p50, p90 = (float(str(cell)) for cell in row[4:7])
        assert p90 <= p50
        assert one.reduction_w is not None
        assert one.p90_w is not None
        assert reduction - p90 == pytest.approx((one.reduction_w - one.p90_w) / 4000)


def test_without_any_bound_there_is_no_empty_column(whole: StatementMaterial, found: Assurance) -> None:
    none = replace(
        found, intervals=tuple(replace(one, p50_w=None, p90_w=None) for one in found.intervals),
        p50=replace(found.p50, value=None, days=0), p90=replace(found.p90, value=None, days=3),
    )  # fmt: skip
    report = report_of(replace(whole, assurance=none))
    assert "P50" not in [column.title for column in table(report, "intervals").columns]
    assert "not stated: 3 comparable days without an event, 9 are needed" in range_words(none)
    assert "not stated" in section(report, Topic.RESULT).lead


def test_the_range_of_few_days_says_what_they_are_enough_for(found: Assurance) -> None:
    few = replace(found, p90=replace(found.p90, value=None, days=5))
    assert "one of two events; for nine of ten there are too few days" in range_words(few)


def test_other_rules_stand_in_order_with_the_settled_one_among_them(whole: StatementMaterial, found: Assurance) -> None:
    report = report_of(whole)
    rows = table(report, "other_rules").rows
    credited = [float(str(row[1])) for row in rows]
    assert credited == sorted(credited)
    ((settled, *_),) = [row for row in rows if row[3] == "settled"]
    assert settled == found.rule
    named = ", ".join(str(row[1]) for row in table(report, "silent_rules").rows).split(", ")
    assert len(named) + len(rows) == len(found.sensitivity.others) + 1


def test_the_verdict_names_what_to_look_at_and_what_could_not_be_taken(found: Assurance) -> None:
    first, second, *others = found.gaming
    shaped = replace(
        found,
        gaming=(
            replace(first, verdict=Verdict.LOOK),
            replace(second, verdict=Verdict.CANNOT_SAY),
            *(replace(one, verdict=Verdict.PASS) for one in others),
        ),
    )
    assert verdict_words(shaped) == "1 of 7 tests found something to look at: pre-event ramp. 1 could not be taken."
    passed = replace(found, gaming=tuple(replace(one, verdict=Verdict.PASS) for one in found.gaming))
    assert verdict_words(passed) == "None of 8 tests found anything to look at."


def test_work_that_nobody_noted_is_not_on_record_and_no_zero(whole: StatementMaterial) -> None:
    rows = dict(table(report_of(whole), "rebound").rows)
    assert rows["Work that was put off"] == "not on record"


def test_devices_are_held_against_the_meter_or_it_is_said_why_not(whole: StatementMaterial, found: Assurance) -> None:
    silent = table(report_of(whole), "devices").rows
    assert silent == (("Compared", "not: no device telemetry was given"),)
    compared = Reconciliation(intervals=28, ratio=0.82, correlation=0.999, unexplained_fraction=0.18)
    told = dict(table(report_of(replace(whole, assurance=replace(found, reconciliation=compared))), "devices").rows)
    assert told["Devices, of the meter"] == "82.0 %"
    assert told["Of the fall, not shown by devices"] == "18.0 %"


def test_what_cannot_be_assessed_says_why_in_each_section(whole: StatementMaterial) -> None:
    report = report_of(replace(whole, assurance=NotAssured(reason="the event was revised since")))
    for topic in TRUSTED:
        assert "the event was revised since" in section(report, topic).lead


def test_the_chart_goes_on_after_the_event_and_says_what_was_saved(whole: StatementMaterial) -> None:
    assert whole.inputs is not None
    history = whole.inputs.history  # type: ignore[union-attr]
    end = history[-1].ends_at
    later = tuple(replace(history[-1], starts_at=end + (one.starts_at - history[0].starts_at)) for one in history[:12])
    chart = report_of(replace(whole, around=(*history, *later))).chart
    assert chart is not None
    after = [span for span in chart.spans if span.starts_at >= chart.event_end]
    assert len(after) == 8
    assert all(span.baseline_w is None and span.metered_w is not None for span in after)
    assert chart.reduction.endswith("kWh less")
