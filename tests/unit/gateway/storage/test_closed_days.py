"""Closed days go into files that are never rewritten, and whatever is done to them is named."""

import json
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from decimal import Decimal
from pathlib import Path

import pyarrow.parquet as pq
import pytest

from gateway.archive import ArchiveBroken, ArchiveUnavailable
from gateway.domain.closed_day import ClosedDay, MeteredEnergy
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.settlement import SettlementStatement
from gateway.domain.verification import VerifiedInterval, VerifiedReport
from gateway.storage.closed_days import ClosedDays
from hardware.device import PowerReading

NIGHT = datetime(2026, 7, 1, tzinfo=UTC)
LATER = NIGHT + timedelta(days=3)
YEAR = (date(2026, 1, 1), date(2026, 12, 31))


def a_statement(event_id: str = "e1", *, delivered_wh: float = 250.0, statement_id: str = "") -> SettlementStatement:
    intervals = tuple(
        VerifiedInterval(
            starts_at=NIGHT + timedelta(minutes=5 * index),
            duration_s=300.0,
            baseline_wh=1000.0,
            measured_wh=1000.0 - delivered_wh,
            delivered_wh=delivered_wh,
            coverage_fraction=1.0,
        )
        for index in range(3)
    )
    verified = VerifiedReport(
        connection_id="utility",
        event_id=event_id,
        revision=0,
        rule="caiso-10-in-10",
        rule_version="1.0",
        verified_at=NIGHT,
        intervals=intervals,
        days=(),
        adjustment_kind="none",
        adjustment_raw=None,
        adjustment_applied=None,
    )
    kwh = Decimal(str(3 * delivered_wh / 1000)).quantize(Decimal("0.001"))
    return SettlementStatement(
        statement_id=statement_id or f"s-{event_id}",
        site_id="phx-1",
        program_id="peak",
        verified=verified,
        price_per_kwh=Decimal("0.75"),
        currency="USD",
        delivered_kwh=kwh,
        amount=(kwh * Decimal("0.75")).quantize(Decimal("0.01")),
        issued_at=NIGHT + timedelta(hours=1),
        capability_test=False,
        raw_sha256="",
        inputs_sha256="",
    )


def a_day(days: int = 0, *statements: SettlementStatement) -> ClosedDay:
    begins_at = NIGHT + timedelta(days=days)
    return ClosedDay(
        site_id="phx-1",
        day=begins_at.date(),
        timezone="UTC",
        readings=tuple(
            PowerReading(meter_id="feed", power_w=1000.0 + index, measured_at=begins_at + timedelta(seconds=index))
            for index in range(4)
        ),
        energy=(
            MeteredEnergy(
                meter_id="feed",
                energy=IntervalEnergy(starts_at=begins_at, duration_s=300.0, energy_wh=83.4, coverage_fraction=1.0),
            ),
        ),
        statements=statements,
    )


@pytest.fixture
def archive(tmp_path: Path) -> ClosedDays:
    return ClosedDays(tmp_path / "closed")


def files_of(archive: ClosedDays, tmp_path: Path) -> dict[str, Path]:
    return {path.relative_to(tmp_path / "closed").as_posix(): path for path in (tmp_path / "closed").rglob("*.*")}


def test_an_archive_without_a_day_is_empty_and_well(archive: ClosedDays) -> None:
    assert (archive.manifests(), list(archive.check()), archive.totals(*YEAR)) == ((), [], ())


def test_a_day_is_written_once_and_read_back(archive: ClosedDays, tmp_path: Path) -> None:
    day = a_day(0, a_statement())
    first = archive.write(day, LATER)
    assert archive.write(day, LATER + timedelta(days=1)) == first
    assert archive.manifests() == (first,)
    readings = pq.read_table(tmp_path / "closed/2026-07-01/v1/readings.parquet")
    assert readings.column("power_w").to_pylist() == [1000.0, 1001.0, 1002.0, 1003.0]
    assert readings.column("measured_at").to_pylist()[1] == NIGHT + timedelta(seconds=1)
    assert {file.name: file.rows for file in first.files} == {
        "readings.parquet": 4,
        "energy.parquet": 1,
        "intervals.parquet": 3,
        "statements.parquet": 1,
    }


def test_the_same_day_is_the_same_bytes(tmp_path: Path) -> None:
    day = a_day(0, a_statement())
    one, other = (ClosedDays(tmp_path / name).write(day, LATER) for name in ("one", "other"))
    assert one == other


def test_the_order_of_what_a_day_holds_does_not_matter_to_its_files(tmp_path: Path) -> None:
    day = a_day(0, a_statement("e1"), a_statement("e2"))
    turned = replace(day, readings=day.readings[::-1], statements=day.statements[::-1])
    one, other = ClosedDays(tmp_path / "one").write(day, LATER), ClosedDays(tmp_path / "other").write(turned, LATER)
    assert one.files == other.files


def test_late_data_makes_a_version_and_changes_no_file(archive: ClosedDays, tmp_path: Path) -> None:
    archive.write(a_day(0, a_statement()), LATER)
    before = {name: path.read_bytes() for name, path in files_of(archive, tmp_path).items()}
    second = archive.write(a_day(0, a_statement(delivered_wh=260.0)), LATER + timedelta(days=1))
    after = {name: path.read_bytes() for name, path in files_of(archive, tmp_path).items()}
    assert second.version == 2
    assert archive.manifests() == (second,)
    assert before.items() <= after.items()
    assert not archive.check()


def test_totals_are_exact_and_of_the_statement_that_was_issued_last(archive: ClosedDays) -> None:
    corrected = replace(a_statement(delivered_wh=260.0, statement_id="s-e1-v2"), issued_at=NIGHT + timedelta(days=2))
    archive.write(a_day(0, a_statement(delivered_wh=250.0), corrected), LATER)
    archive.write(a_day(1, a_statement("e2", delivered_wh=-0.0000005)), LATER)
    first, second = archive.totals(*YEAR)
    assert (first.statement_id, first.intervals, first.delivered_kwh) == ("s-e1-v2", 3, Decimal("0.78"))
    assert (first.stated_kwh, first.amount, first.agrees) == (Decimal("0.780"), Decimal("0.58"), True)
    assert (second.delivered_uwh, second.measured_uwh) == (0, 3 * 1_000_000_000)
    assert archive.totals(date(2026, 7, 2), date(2026, 7, 2)) == (second,)


def test_a_statement_that_does_not_state_the_sum_of_its_intervals_is_told(archive: ClosedDays) -> None:
    archive.write(a_day(0, replace(a_statement(), delivered_kwh=Decimal("0.752"))), LATER)
    (total,) = archive.totals(*YEAR)
    assert not total.agrees


def test_an_event_without_intervals_is_listed_with_nothing(archive: ClosedDays) -> None:
    statement = a_statement()
    empty = replace(
        statement,
        verified=replace(statement.verified, intervals=(), insufficient="no readings"),
        delivered_kwh=Decimal("0.000"),
        amount=Decimal("0.00"),
    )
    archive.write(a_day(0, empty), LATER)
    (total,) = archive.totals(*YEAR)
    assert (total.intervals, total.delivered_uwh, total.agrees) == (0, 0, True)


@pytest.mark.parametrize(
    ("name", "what"),
    [
        ("2026-07-01/v1/energy.parquet", "was changed"),
        ("2026-07-01/v1/manifest.json", "is not as it was written"),
    ],
)
def test_a_changed_file_is_named(archive: ClosedDays, tmp_path: Path, name: str, what: str) -> None:
    archive.write(a_day(), LATER)
    path = files_of(archive, tmp_path)[name]
    path.chmod(0o644)
    path.write_bytes(path.read_bytes() + b" ")
    (broken,) = archive.check()
    assert broken.path == name
    assert what in broken.what


def test_a_missing_file_and_one_too_many_are_named(archive: ClosedDays, tmp_path: Path) -> None:
    archive.write(a_day(), LATER)
    files_of(archive, tmp_path)["2026-07-01/v1/energy.parquet"].rename(tmp_path / "closed/2026-07-01/v1/more.parquet")
    assert [(one.path, one.what) for one in archive.check()] == [
        ("2026-07-01/v1/energy.parquet", "is missing"),
        ("2026-07-01/v1/more.parquet", "is in no manifest"),
    ]


def test_a_manifest_that_was_rewritten_is_found_by_its_successor(archive: ClosedDays, tmp_path: Path) -> None:
    archive.write(a_day(0), LATER)
    archive.write(a_day(1), LATER + timedelta(days=1))
    path = files_of(archive, tmp_path)["2026-07-01/v1/manifest.json"]
    forged = path.read_bytes().replace(b'"timezone":"UTC"', b'"timezone":"Utc"')
    path.write_bytes(forged)
    (broken,) = archive.check()
    assert broken.path == "2026-07-02/v1/manifest.json"
    assert "is not here or was changed" in broken.what


def test_a_day_that_is_withheld_is_found_by_its_successor(archive: ClosedDays, tmp_path: Path) -> None:
    archive.write(a_day(0), LATER)
    archive.write(a_day(1), LATER + timedelta(days=1))
    (tmp_path / "closed/2026-07-01/v1").rename(tmp_path / "taken away")
    assert [one.path for one in archive.check()] == ["2026-07-02/v1/manifest.json"]


def test_what_was_left_by_a_death_in_the_middle_is_no_version(archive: ClosedDays, tmp_path: Path) -> None:
    unfinished = tmp_path / "closed/2026-07-01/.unfinished-v1"
    unfinished.mkdir(parents=True)
    (unfinished / "energy.parquet").write_bytes(b"half")
    assert archive.manifests() == ()
    assert archive.write(a_day(), LATER).version == 1
    assert not archive.check()


def test_a_manifest_of_a_newer_format_is_refused_in_words(archive: ClosedDays, tmp_path: Path) -> None:
    archive.write(a_day(), LATER)
    path = files_of(archive, tmp_path)["2026-07-01/v1/manifest.json"]
    path.write_text(json.dumps({**json.loads(path.read_text()), "format": 2}))
    with pytest.raises(ArchiveBroken, match="is of format 2, this gridgate reads 1"):
        archive.manifests()


def test_a_folder_that_cannot_be_written_says_so(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("no folder")
    with pytest.raises(ArchiveUnavailable):
        ClosedDays(tmp_path / "file").write(a_day(), LATER)
