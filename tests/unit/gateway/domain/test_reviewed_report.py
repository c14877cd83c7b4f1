"""Versions, reviews, imports, edits and proofs, as a statement's reader gets them."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gateway.domain.meter_import import MeterImport, MeterKind
from gateway.domain.reconciliation import LineDifference, Reconciliation
from gateway.domain.report.document import Report, Section, Table
from gateway.domain.report.material import StatementMaterial, Topic
from gateway.domain.report.statement import report_of
from gateway.domain.settlement import Edition, Run
from gateway.domain.statement_changes import changes
from gateway.domain.statement_review import ReviewKind, StatementReview
from gateway.domain.statement_versions import VersionLine
from gateway.domain.vee.edit import Edit, Method
from hardware.device import Quality
from tests.statement_material import END, START, material

AT = datetime(2025, 6, 1, 12, tzinfo=UTC)


def section(report: Report, topic: Topic) -> Section:
    return next(one for one in report.sections if one.title == topic.value)


def table(report: Report, name: str) -> Table:
    return next(one for one in report.tables if one.name == name)


@pytest.fixture
def versions() -> StatementMaterial:
    """A first statement that was disputed, and a second by the revenue meter that was approved."""
    found = material()
    first = found.statement
    second = replace(
        first,
        statement_id=f"{first.statement_id}-v2",
        delivered_kwh=first.delivered_kwh - Decimal("1.500"),
        edition=Edition(
            version=2,
            run=Run.RECALCULATED,
            supersedes=first.statement_id,
            shadow=False,
            dispute_until=END + timedelta(days=30),
        ),
    )
    said = StatementReview(
        review_id="r1",
        statement_id=first.statement_id,
        kind=ReviewKind.DISPUTED,
        by="bo",
        at=AT,
        reason="too much",
        lines=("delivered_kwh",),
    )
    theirs = Reconciliation(
        statement_id=second.statement_id,
        reference="ISO-77",
        party="iso",
        compared=3,
        differences=(LineDifference(figure="amount", ours="1", theirs="2", difference=None, reason="another price"),),
    )
    lines = (
        VersionLine(statement=first, reviews=(said,), approved_by=(), open_disputes=("r1",), received=()),
        VersionLine(
            statement=second,
            reviews=(),
            approved_by=("ann",),
            open_disputes=(),
            received=(theirs,),
            changes=changes(first, second, None, None),
        ),
    )
    return replace(found, statement=second, versions=lines)


def test_versions_stand_with_what_changed_and_why(versions: StatementMaterial) -> None:
    report = report_of(versions)
    assert "newest of 2" in section(report, Topic.VERSIONS).lead
    first, second = table(report, "versions").rows
    assert (first[0], first[6], second[0], second[6], second[7]) == (1.0, "yes", 2.0, "no", "ann")
    changed = table(report, "changes").rows
    assert any("delivered" in str(row[1]) for row in changed)
    assert len(changed) == len(versions.versions[1].changes)
    assert table(report, "received").rows == (("iso", "ISO-77", 2.0, 3.0, 1.0),)
    assert table(report, "differences").rows[0][-1] == "another price"


def test_an_older_version_says_which_one_has_taken_its_place(versions: StatementMaterial) -> None:
    older = replace(versions, statement=versions.versions[0].statement)
    assert (
        f"superseded: the newest of 2 is {versions.statement.statement_id}"
        in section(report_of(older), Topic.VERSIONS).lead
    )


def test_the_first_page_says_version_run_meter_and_until_when_it_may_be_disputed(versions: StatementMaterial) -> None:
    rows = dict(table(report_of(versions), "result").rows)
    assert str(rows["Version"]).startswith(
        "2, recalculated, in place of site-utility-evt-1-r0, may be disputed until 2025"
    )
    assert rows["Rests on"] == "the revenue meter"
    assert "our own metering" in str(dict(table(report_of(material()), "result").rows)["Rests on"])


def test_who_said_what_stands_by_name_and_open_disputes_are_counted(versions: StatementMaterial) -> None:
    part = section(report_of(versions), Topic.EXCEPTIONS)
    assert part.lead == "One decision or review is on record. One dispute is open."
    assert table(report_of(versions), "overrides").rows == (
        (AT, "bo", "version 1 disputed (delivered_kwh)", "too much"),
    )


def test_imports_and_edits_of_the_event_are_listed_with_who_and_why() -> None:
    taken = MeterImport(
        import_id="i1", meter_id="site", source="may.csv", sha256="ab" * 32, unit="kWh", kind=MeterKind.REVENUE,
        by="ann", at=AT, starts_at=START, ends_at=END, count=12,
    )  # fmt: skip
    edit = Edit(
        edit_id="e1", meter_id="site", starts_at=START, duration_s=900.0, energy_wh=None, quality=Quality.SUSPECT,
        reason="meter was replaced", by="bo", at=AT, method=Method.REMOVED,
    )  # fmt: skip
    report = report_of(replace(material(), imports=(taken,), edits=(edit,)))
    assert "1 imports and 1 edits of meter data" in section(report, Topic.QUALITY).lead
    assert table(report, "imports").rows[0][:3] == ("may.csv", "revenue", "ann")
    assert table(report, "edits").rows[0][2] is None
    assert table(report, "edits").rows[0][-1] == "meter was replaced"
    assert "Nothing was imported or edited" in section(report_of(material()), Topic.QUALITY).lead
