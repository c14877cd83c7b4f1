"""Metered energy that was handed over, and edits, on record: whole or not at all, each file once."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import ImportedEnergy, MeterImport, MeterKind, RegisterReading
from gateway.domain.vee.edit import Edit, Method
from gateway.ledger import Topic
from gateway.storage.sql_evidence import SqlEvidenceStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from hardware.device import Quality

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
QUARTER = timedelta(minutes=15)


def quarters(count: int, *, first: datetime = NOON, energy_wh: float = 25_000.0) -> tuple[IntervalEnergy, ...]:
    return tuple(
        IntervalEnergy(
            starts_at=first + index * QUARTER,
            duration_s=900.0,
            energy_wh=energy_wh + index,
            coverage_fraction=1.0,
            quality=Quality.ESTIMATED if index % 4 == 3 else Quality.GOOD,
        )
        for index in range(count)
    )


def source_of(intervals: tuple[IntervalEnergy, ...], **changes: object) -> MeterImport:
    known = MeterImport(
        import_id="i1",
        meter_id="site",
        source="July ü.csv",
        sha256="ab" * 32,
        unit="kWh",
        kind=MeterKind.REVENUE,
        by="Zoë",
        at=NOON + timedelta(days=3),
        starts_at=intervals[0].starts_at,
        ends_at=intervals[-1].ends_at,
        count=len(intervals),
    )
    return replace(known, **changes)  # type: ignore[arg-type] - the fields' own types


def edit_of(interval: IntervalEnergy, **changes: object) -> Edit:
    known = Edit(
        edit_id="d1",
        meter_id="site",
        starts_at=interval.starts_at,
        duration_s=interval.duration_s,
        energy_wh=1.0,
        quality=Quality.ESTIMATED,
        reason="read off the display",
        by="ann",
        at=NOON + timedelta(days=4),
        method=Method.ENTERED,
    )
    return replace(known, **changes)  # type: ignore[arg-type] - the fields' own types


async def test_an_import_comes_back_as_it_was_recorded(ledger: SqlLedger) -> None:
    # More than one portion of rows.
    given = quarters(5000)
    source = source_of(given)
    assert await ledger.record_import(source, given)
    assert await ledger.imports() == (source,)
    assert await ledger.imports("site") == (source,)
    assert await ledger.imports("other") == ()
    found = await ledger.imported_between("site", NOON, given[-1].ends_at)
    assert found == (ImportedEnergy(source=source, intervals=given),)


async def test_intervals_that_reach_into_the_time_asked_for_are_found(ledger: SqlLedger) -> None:
    given = quarters(8)
    await ledger.record_import(source_of(given), given)
    (found,) = await ledger.imported_between("site", NOON + timedelta(minutes=20), NOON + timedelta(minutes=46))
    assert found.intervals == given[1:4]
    (found,) = await ledger.imported_between("site", NOON + timedelta(minutes=15), NOON + timedelta(minutes=30))
    assert found.intervals == given[1:2]
    assert await ledger.imported_between("other", NOON, NOON + QUARTER) == ()
    assert await ledger.imported_between("site", NOON - QUARTER, NOON) == ()
    assert await ledger.imported_between("site", given[-1].ends_at, given[-1].ends_at + QUARTER) == ()


async def test_imports_are_given_in_the_order_in_which_they_were_recorded(ledger: SqlLedger) -> None:
    given = quarters(2)
    # Ids and instants that sort the other way round.
    first = source_of(given, import_id="z", sha256="01" * 32, at=NOON + timedelta(days=9))
    second = source_of(given, import_id="a", sha256="02" * 32)
    for source in (first, second):
        await ledger.record_import(source, given)
    assert await ledger.imports() == (first, second)
    assert [one.source for one in await ledger.imported_between("site", NOON, NOON + QUARTER)] == [first, second]


async def test_the_same_file_counts_once_for_a_meter(ledger: SqlLedger) -> None:
    given = quarters(2)
    source = source_of(given)
    assert await ledger.record_import(source, given)
    assert not await ledger.record_import(replace(source, import_id="i2", source="again.csv"), given)
    assert await ledger.imports() == (source,)
    (found,) = await ledger.imported_between("site", NOON, NOON + QUARTER)
    assert found.source == source
    assert await ledger.record_import(replace(source, import_id="i3", meter_id="other"), given)


@pytest.mark.parametrize(
    "spoil",
    [
        lambda given: (*given[:2], replace(given[2], energy_wh=float("nan"))),
        lambda given: (*given[:2], replace(given[2], duration_s=86_401.0)),
        lambda given: (*given[:2], replace(given[2], duration_s=0.0)),
        lambda given: (*given[:2], replace(given[2], coverage_fraction=0.5)),
        lambda given: (*given[:2], replace(given[2], starts_at=NOON - QUARTER)),
        lambda given: given[:2],
    ],
)
async def test_an_import_that_cannot_be_used_is_refused_whole(ledger: SqlLedger, spoil) -> None:
    given = quarters(3)
    with pytest.raises(ValueError, match="import i1"):
        await ledger.record_import(source_of(given), spoil(given))
    assert await ledger.imports() == ()
    assert await ledger.imported_between("site", NOON, NOON + QUARTER) == ()


async def test_an_import_that_fails_half_way_leaves_nothing_behind(ledger: SqlLedger) -> None:
    given = quarters(3000)
    twice = (*given[:-1], given[0])
    with pytest.raises(Exception, match=r"(?i)unique"):
        await ledger.record_import(source_of(given), twice)
    assert await ledger.imports() == ()
    assert await ledger.record_import(source_of(given), given)
    (found,) = await ledger.imported_between("site", NOON, given[-1].ends_at)
    assert found.intervals == given


async def test_of_registers_at_one_instant_the_last_import_counts(ledger: SqlLedger) -> None:
    given = quarters(2)
    stood = [RegisterReading(at=NOON + index * QUARTER, energy_wh=1e6 + index) for index in range(3)]
    await ledger.record_import(source_of(given), given, stood)
    later = source_of(given, import_id="a", sha256="02" * 32)
    await ledger.record_import(later, given, [replace(stood[1], energy_wh=7.0)])
    assert await ledger.registers_between("site", NOON, NOON + 2 * QUARTER) == (
        stood[0],
        replace(stood[1], energy_wh=7.0),
    )
    assert await ledger.registers_between("other", NOON, NOON + QUARTER) == ()
    with pytest.raises(ValueError, match="register"):
        await ledger.record_import(
            source_of(given, import_id="i3", sha256="03" * 32), given, [replace(stood[0], energy_wh=float("inf"))]
        )


async def test_edits_are_kept_in_order_and_once(ledger: SqlLedger) -> None:
    given = quarters(3)
    first, second = edit_of(given[1]), edit_of(given[0], edit_id="d0")
    assert await ledger.record_edit(first)
    assert await ledger.record_edit(second)
    assert not await ledger.record_edit(replace(first, reason="another"))
    assert await ledger.edits_between("site", NOON, NOON + timedelta(hours=1)) == (first, second)
    assert await ledger.edits_between("site", NOON + timedelta(minutes=14), NOON + QUARTER) == (second,)
    assert await ledger.edits_between("site", NOON + timedelta(minutes=29), NOON + 2 * QUARTER) == (first,)
    assert await ledger.edits_between("other", NOON, NOON + QUARTER) == ()
    with pytest.raises(ValueError, match="longer than a day"):
        await ledger.record_edit(edit_of(given[0], edit_id="d3", duration_s=86_401.0))


async def test_both_wake_who_waits_for_meter_data(ledger: SqlLedger) -> None:
    wake = ledger.subscribe(Topic.METER_DATA)
    given = quarters(2)
    await ledger.record_import(source_of(given), given)
    assert wake.is_set()
    wake.clear()
    await ledger.record_import(source_of(given), given)
    assert not wake.is_set()
    await ledger.record_edit(edit_of(given[0]))
    assert wake.is_set()


async def test_their_number_rises_whoever_recorded_them(ledger: SqlLedger, url: str) -> None:
    given = quarters(2)
    counts = [await ledger.meter_data_count()]
    async with open_ledger(url, migrate=False) as another:
        await another.record_import(source_of(given), given)
        counts.append(await ledger.meter_data_count())
        await another.record_import(source_of(given), given)
        counts.append(await ledger.meter_data_count())
        await another.record_edit(edit_of(given[0]))
        counts.append(await ledger.meter_data_count())
    assert counts == [0, 1, 1, 2]


async def test_imports_and_edits_are_in_the_log_of_evidence(ledger: SqlLedger) -> None:
    given = quarters(2)
    store = SqlEvidenceStore(ledger)
    await ledger.record_import(source_of(given), given, [RegisterReading(at=NOON, energy_wh=1e6)])
    await ledger.record_edit(edit_of(given[0]))
    assert await store.log_new(NOON) == 5
    # What is of an older time comes later: it is found all the same.
    older = quarters(2, first=NOON - timedelta(days=300))
    await ledger.record_import(source_of(older, import_id="i0", sha256="01" * 32), older)
    assert await store.log_new(NOON) == 3
    assert await store.log_new(NOON) == 0
    kept = [(one.kind, one.key) for one in await store.entries(0, 9)]
    noon_us = 1_782_907_200_000_000
    assert ("imported_energy", f"i1/{noon_us}") in kept
    assert ("reading_edit", f"{noon_us}/site/d1") in kept
    assert [kind for kind, _ in kept].count("meter_register") == 1
    assert [kind for kind, _ in kept].count("reading_import") == 2
    content = await store.content("imported_energy", f"i1/{noon_us}")
    assert content is not None
    assert b'"energy_wh":25000' in content
    assert await store.mismatches() == []
