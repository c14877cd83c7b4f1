"""Bundles of statements that rest on imported and edited meter data: they hold by themselves, and nothing slips in."""

import asyncio
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import MeterImport, MeterKind
from gateway.domain.vee.edit import Edit, Method
from gateway.storage.sql_ledger import SqlLedger
from hardware.device import Quality
from tests import bundle_record
from tests.bundle_record import (
    SITE,
    STARTS_AT,
    Files,
    Made,
    drop_record,
    edit_record,
    faults,
    make,
    rewrite_log,
    tampered,
    verified,
)

HOUR = timedelta(hours=1)
VERIFIED_AT = STARTS_AT + timedelta(hours=1, seconds=3)
HALF_PAST = STARTS_AT - timedelta(minutes=30)
"""The revenue meter's hours begin at half past: the event begins within one and ends within the next."""


async def hand_over(
    ledger: SqlLedger,
    energies_wh: list[float],
    *,
    first: datetime,
    name: str,
    at: datetime,
    meter_id: str = SITE.meter_id,
    each: timedelta = HOUR,
) -> None:
    intervals = [
        IntervalEnergy(
            starts_at=first + index * each,
            duration_s=each.total_seconds(),
            energy_wh=energy_wh,
            coverage_fraction=1.0,
        )
        for index, energy_wh in enumerate(energies_wh)
    ]
    source = MeterImport(
        import_id=name,
        meter_id=meter_id,
        source=f"{name}.csv",
        sha256=name.ljust(64, "0"),
        unit="kWh",
        kind=MeterKind.REVENUE,
        by="ann",
        at=at,
        starts_at=first,
        ends_at=intervals[-1].ends_at,
        count=len(intervals),
    )
    assert await ledger.record_import(source, intervals)


async def edit(ledger: SqlLedger, starts_at: datetime, energy_wh: float, *, edit_id: str, at: datetime) -> None:
    await ledger.record_edit(
        Edit(
            edit_id=edit_id,
            meter_id=SITE.meter_id,
            starts_at=starts_at,
            duration_s=300.0,
            energy_wh=energy_wh,
            quality=Quality.ESTIMATED,
            reason="meter swapped",
            by="bob",
            at=at,
            method=Method.ENTERED,
        )
    )


async def revenue(ledger: SqlLedger) -> None:
    """Two hours around the event, a correction of days before it, and data of another meter and of a later time."""
    await hand_over(ledger, [93_000.0, 94_000.0], first=HALF_PAST, name="july", at=VERIFIED_AT)
    days = STARTS_AT - timedelta(days=3)
    await hand_over(ledger, [99_000.0] * 3, first=days, name="older", at=VERIFIED_AT)
    await hand_over(ledger, [1.0], first=STARTS_AT, name="other", at=VERIFIED_AT, meter_id="annex")
    later = VERIFIED_AT + HOUR
    await hand_over(ledger, [1.0] * 2, first=HALF_PAST, name="late", at=later)
    await edit(ledger, STARTS_AT - timedelta(days=1), 1_000.0, edit_id="d/1", at=VERIFIED_AT)
    await edit(ledger, STARTS_AT - timedelta(days=2), 1_000.0, edit_id="d/2", at=later)


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Made:
    return asyncio.run(make(tmp_path_factory.mktemp("record"), also=revenue))


def test_a_statement_by_the_revenue_meter_holds_from_its_bundle_alone(made: Made) -> None:
    found = verified(made.bundle, *made.heads)
    assert faults(found) == {}
    measured = made.statement.verified.intervals
    assert [(one.starts_at, one.duration_s, one.quality) for one in measured] == [
        (STARTS_AT, 1800.0, Quality.ESTIMATED),
        (STARTS_AT + timedelta(minutes=30), 1800.0, Quality.ESTIMATED),
    ]
    # Our meter has 101.5 kW and some up to ten, 81.5 kW and some after it.
    assert 0.44 * 93_000 < measured[0].measured_wh < 0.45 * 93_000


def test_what_nobody_can_check_of_imports_and_edits_is_said(made: Made) -> None:
    said = [line for line in verified(made.bundle, *made.heads).trust if line.startswith(("Import", "Edits"))]
    assert len(said) == 3
    assert said[0].startswith("Import: that 'july.csv', which ann handed over for meter site")
    assert "july" + "0" * 60 in said[0]
    assert said[2] == "Edits: 1 of the meter's intervals, by bob; records/reading_edit.txt has the reasons."


def test_the_same_bundle_is_made_again(made: Made, tmp_path: Path) -> None:
    assert asyncio.run(make(tmp_path, also=revenue)).body == made.body


def test_a_changed_energy_is_caught(made: Made) -> None:
    def cheat(files: Files) -> None:
        edit_record(
            files,
            "imported_energy",
            lambda line: b'"july"' in line and b":93000," in line,
            lambda content: content.replace(b":93000,", b":53000,"),
        )

    found = faults(verified(tampered(made, cheat), *made.heads))
    assert "imported energy july/" in found["records"]
    assert "is not what was logged" in found["records"]
    assert "is stated as" in found["figures"]


@pytest.mark.parametrize(
    ("kind", "key"),
    [
        ("imported_energy", b'"import_id":"july"'),
        ("imported_energy", b'"import_id":"other"'),
        ("reading_import", b'"import_id":"older"'),
        ("reading_edit", b"d/1"),
    ],
)
def test_what_is_left_out_is_missed(made: Made, kind: str, key: bytes) -> None:
    def leave_out(files: Files) -> None:
        line = next(line for line in files[f"records/{kind}.txt"].splitlines() if key in line)
        drop_record(files, kind, int(line.partition(b" ")[0]))

    found = faults(verified(tampered(made, leave_out), *made.heads))
    assert "is in the log and was left out of the bundle" in found["records"]


def test_readings_that_an_interval_is_shared_out_by_are_missed(made: Made) -> None:
    def leave_out(files: Files) -> None:
        lines = [line for line in files["records/reading.txt"].splitlines() if b'"2026-07-15T23:' in line]
        drop_record(files, "reading", int(lines[0].partition(b" ")[0]))

    found = faults(verified(tampered(made, leave_out), *made.heads))
    assert "the hour of readings from 2026-07-15T23:00:00Z of meter site" in found["records"]


def test_even_the_owner_of_the_key_cannot_change_an_import_under_heads_that_were_handed_out(made: Made) -> None:
    def cheat(files: Files) -> None:
        edit_record(
            files,
            "imported_energy",
            lambda line: b'"july"' in line and b":93000," in line,
            lambda content: content.replace(b":93000,", b":53000,"),
        )
        rewrite_log(files)

    found = faults(verified(tampered(made, cheat), *made.heads))
    assert "records" not in found
    assert "was rewritten" in found["your heads"]


@pytest.mark.parametrize("rule_id", ["meter-before-after", "ercot-meter-before-after"])
def test_minutes_before_an_event_are_cut_from_the_bundle_as_from_the_record(
    rule_id: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(bundle_record, "PROGRAM", replace(bundle_record.PROGRAM, baseline_rule=rule_id))
    made = asyncio.run(make(tmp_path, also=revenue))
    assert made.statement.verified.rule == rule_id
    assert made.statement.verified.insufficient is None
    assert faults(verified(made.bundle, *made.heads)) == {}


def test_a_record_that_is_no_import_is_said_to_be_unreadable(made: Made) -> None:
    def spoil(files: Files) -> None:
        edit_record(files, "reading_import", lambda line: b'"july"' in line, lambda _: b'{"import_id":"july"}')

    found = faults(verified(tampered(made, spoil), *made.heads))
    assert "reading_import cannot be read" in found["records"]
