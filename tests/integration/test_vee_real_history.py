"""Validation and estimation of a real building's quarter hours, which have real gaps."""

import csv
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from typing import Any
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.vee.edit import Method, resolve
from gateway.domain.vee.estimate import estimate
from gateway.domain.vee.finding import Kind, Severity
from gateway.domain.vee.rule import shipped_rules
from gateway.domain.vee.share import quality_share
from gateway.domain.vee.validate import unchecked, validate

PACIFIC = ZoneInfo("America/Los_Angeles")
QUARTER = timedelta(minutes=15)
FIRST, LAST = datetime(2013, 8, 1, tzinfo=PACIFIC), datetime(2013, 9, 27, tzinfo=PACIFIC)
GAPS = (
    ("2013-08-05T11:30", 6),
    ("2013-08-05T16:00", 1),
    ("2013-08-15T14:45", 1),
    ("2013-08-20T09:15", 1),
    ("2013-08-20T19:00", 1),
    ("2013-08-21T12:30", 20),
    ("2013-08-22T13:15", 2),
    ("2013-09-06T11:15", 287),
    ("2013-09-09T12:30", 8),
    ("2013-09-12T09:00", 416),
)
"""Where the file says ``nan``, by local stamp, and for how many rows in a row: counted in the text of the file."""


@pytest.fixture(scope="module")
def rows(shared: Path) -> list[tuple[datetime, str]]:
    """Local, naive stamps with the text of the kilowatts."""
    with (shared / "data/load/test_kw.csv").open(newline="") as file:
        return [(datetime.fromisoformat(at), text) for at, text in csv.reader(file)]


@pytest.fixture(scope="module")
def building(rows: list[tuple[datetime, str]]) -> list[IntervalEnergy]:
    return [
        IntervalEnergy(
            starts_at=at.replace(tzinfo=PACIFIC).astimezone(UTC),
            duration_s=900.0,
            energy_wh=float(text) * 250,
            coverage_fraction=1.0,
        )
        for at, text in rows
        if text != "nan"
    ]


def asked(rules_id: str = "standard") -> dict[str, Any]:
    return {
        "interval_s": 900.0, "zone": PACIFIC, "start": FIRST, "end": LAST, "rules": shipped_rules()[rules_id],
    }  # fmt: skip


def test_the_gaps_written_down_here_are_those_of_the_file(rows: list[tuple[datetime, str]]):
    empty = [at for at, text in rows if text == "nan"]
    assert (len(rows), len(empty)) == (57 * 96, 743) == (5_472, sum(count for _, count in GAPS))
    written = [datetime.fromisoformat(at) + number * QUARTER for at, count in GAPS for number in range(count)]
    assert empty == written


@pytest.mark.parametrize("rules_id", ["standard", "ieso", "california-mdma"])
def test_the_building_has_ten_gaps_and_no_other_fault(building: list[IntervalEnergy], rules_id: str):
    found = validate(building, **asked(rules_id))
    suspect = [one for one in found if one.severity is Severity.SUSPECT]
    assert [(one.kind, one.starts_at, one.figure("intervals")) for one in suspect] == [
        (Kind.GAP, datetime.fromisoformat(at).replace(tzinfo=PACIFIC), count) for at, count in GAPS
    ]
    # Days that the gaps touch; those of which nothing came are not counted.
    notes = [one for one in found if one.severity is Severity.NOTE]
    assert {one.kind for one in notes} == {Kind.DAY_COUNT}
    counts = {one.starts_at.astimezone(PACIFIC).date(): one.figure("intervals") for one in notes}
    assert counts == {
        date(2013, 8, 5): 89, date(2013, 8, 15): 95, date(2013, 8, 20): 94, date(2013, 8, 21): 76,
        date(2013, 8, 22): 94, date(2013, 9, 6): 45, date(2013, 9, 9): 44, date(2013, 9, 12): 36, date(2013, 9, 16): 28,
    }  # fmt: skip


def test_what_is_not_checked_of_the_building_is_said(building: list[IntervalEnergy]):
    assert [said.split(":")[0] for said in unchecked(building, **asked())] == ["Sum check", "Highest power"]


def test_every_gap_of_the_building_can_be_estimated(building: list[IntervalEnergy], rows: list[tuple[datetime, str]]):
    found = validate(building, **asked())
    made_at = datetime(2013, 10, 1, tzinfo=UTC)
    estimates = estimate(building, findings=found, meter_id="building", by="test", at=made_at, **asked())
    assert estimates.refused == ()
    methods = [edit.method for edit in estimates.edits]
    # Gaps of one and two quarters are interpolated: 1 + 1 + 1 + 1 + 2.
    assert (methods.count(Method.INTERPOLATION), methods.count(Method.LIKE_DAYS)) == (6, 737)
    # By hand from the file: 15 August 14:45 lies between 14:30 and 15:00.
    kw = dict(rows)
    noted = next(edit for edit in estimates.edits if edit.starts_at == datetime(2013, 8, 15, 14, 45, tzinfo=PACIFIC))
    neighbours = float(kw[datetime(2013, 8, 15, 14, 30)]) + float(kw[datetime(2013, 8, 15, 15)])  # noqa: DTZ001
    assert noted.energy_wh == pytest.approx(neighbours / 2 * 250)
    # Friday 13 September at noon: of the Fridays before and after, 6 September is in a gap from 11:15 on.
    fridays = [(8, 30), (9, 20), (8, 23), (8, 16)]
    friday = next(edit for edit in estimates.edits if edit.starts_at == datetime(2013, 9, 13, 12, tzinfo=PACIFIC))
    mean_kw = sum(float(kw[datetime(2013, month, day, 12)]) for month, day in fridays) / 4  # noqa: DTZ001
    assert friday.energy_wh == pytest.approx(mean_kw * 250)

    before = quality_share(building, start=FIRST, end=LAST)
    assert (before.good_s, before.missing_s) == (4_729 * 900.0, 743 * 900.0)
    done = resolve(building, estimates.edits)
    after = quality_share(done.intervals, start=FIRST, end=LAST)
    assert (after.good_s, after.estimated_s, after.suspect_s, after.missing_s) == (4_729 * 900.0, 743 * 900.0, 0.0, 0.0)
    assert f"{after.estimated_percent:.2f}" == "13.58"
    assert validate(done.intervals, **asked()) == ()


def test_each_rule_sheet_interpolates_what_it_says(building: list[IntervalEnergy]):
    interpolated = {}
    for rules_id in shipped_rules():
        found = validate(building, **asked(rules_id))
        made_at = datetime(2013, 10, 1, tzinfo=UTC)
        estimates = estimate(building, findings=found, meter_id="b", by="test", at=made_at, **asked(rules_id))
        assert len(estimates.edits) == 743
        interpolated[rules_id] = sum(edit.method is Method.INTERPOLATION for edit in estimates.edits)
    # Up to two hours: the gaps of six and eight quarters too.
    assert interpolated == {"standard": 6, "ieso": 6, "california-mdma": 20}
