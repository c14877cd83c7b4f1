"""A bundle of a statement whose regression went by imported temperatures."""

import asyncio
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path

import pytest

from gateway.bundling import HeadTooOld
from gateway.domain.measurement import integrate, slices
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from hardware.device import PowerReading
from tests import bundle_record
from tests.bundle_record import (
    SITE,
    STARTS_AT,
    STATEMENT_ID,
    Made,
    bundle_of,
    drop_record,
    edit_record,
    entries_of,
    faults,
    make,
    tampered,
    verified,
)

BEGIN = STARTS_AT.replace(hour=16)


async def weeks_and_weather(ledger: SqlLedger) -> None:
    """The same weekday of older weeks, and the temperature of every hour of an afternoon."""
    for week in range(3, 9):
        first = BEGIN - timedelta(days=7 * week)
        readings = [
            PowerReading(
                meter_id=SITE.meter_id,
                power_w=100_000.0 + 500.0 * week,
                measured_at=first + timedelta(minutes=minute),
            )
            for minute in range(8 * 60)
        ]
        ledger.publish(readings)
        await ledger.flush()
        closed = integrate(readings, slices(first, first + timedelta(hours=8), SITE.interval_s))
        await ledger.record_energy(SITE.meter_id, closed)
    series = sorted(
        (BEGIN + timedelta(hours=hour) - timedelta(days=day), 12.0 + 5 * day % 13 + hour / 4)
        for day in range(60)
        for hour in range(8)
    )
    await ledger.record_temperatures(series, STARTS_AT - timedelta(hours=1))


@pytest.fixture(scope="module")
def by_weather() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        program = replace(bundle_record.PROGRAM, baseline_rule="time-of-week-regression")
        patch.setattr(bundle_record, "PROGRAM", program)
        yield


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("record")


@pytest.fixture(scope="module")
def made(by_weather: None, folder: Path) -> Made:
    return asyncio.run(make(folder, also=weeks_and_weather))


def test_it_verifies_by_the_temperatures_that_it_holds(made: Made) -> None:
    assert made.statement.verified.insufficient is None
    assert faults(verified(made.bundle)) == {}
    assert b"temperature_c" in made.bundle.files["inputs.json"]
    assert len(made.bundle.files["records/temperature.txt"].splitlines()) == 480


def test_a_temperature_that_was_changed_or_left_out_is_found(made: Made) -> None:
    first = b'"temperature_c":13.5'
    changed = tampered(
        made,
        lambda files: edit_record(
            files,
            "temperature",
            lambda line: b'"starts_at":"2026-07-15T22:00:00Z"' in line,
            lambda content: content.replace(first, b'"temperature_c":14.5'),
        ),
    )
    assert {"records", "figures"} <= set(faults(verified(changed)))

    def drop(files: dict[str, bytes]) -> None:
        number = next(entry.number for entry in entries_of(files) if entry.kind == "temperature")
        drop_record(files, "temperature", number)

    assert "records" in faults(verified(tampered(made, drop)))


async def test_a_correction_that_came_after_the_verification_changes_no_bundle(
    by_weather: None, made: Made, folder: Path
) -> None:
    async with open_ledger(f"sqlite+aiosqlite:///{folder}/record.db", migrate=True) as ledger:
        statement = await ledger.statement(STATEMENT_ID)
        assert statement is not None
        await ledger.record_temperatures([(STARTS_AT, 35.0)], STARTS_AT + timedelta(days=1))
        again = await bundle_of(ledger, statement)
        assert again.files["inputs.json"] == made.bundle.files["inputs.json"]
        # One that was there before and is not under the last head makes the bundle wait for the next.
        await ledger.record_temperatures([(STARTS_AT, 36.0)], statement.verified.verified_at)
        stale = replace(statement, verified=replace(statement.verified, inputs_sha256="ab" * 32))
        with pytest.raises(HeadTooOld, match="temperatures that it rests on"):
            await bundle_of(ledger, stale)
