"""Importing: what is judged, what is refused and why, and that a refusal records nothing."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.meter_import import ImportedEnergy, MeterImport, MeterKind, RegisterReading
from gateway.services.importing import ImportRefused, import_of, judge, take

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
NOW = NOON + timedelta(days=1)


def intervals(count: int, *, first: datetime = NOON, minutes: float = 15, kwh: float = 25) -> list[IntervalEnergy]:
    return [
        IntervalEnergy(
            starts_at=first + timedelta(minutes=minutes * index),
            duration_s=60 * minutes,
            energy_wh=1000 * kwh,
            coverage_fraction=1.0,
        )
        for index in range(count)
    ]


def source_of(
    given: Sequence[IntervalEnergy], name: str = "july.csv", kind: MeterKind = MeterKind.REVENUE
) -> MeterImport:
    return import_of(
        given,
        import_id=name,
        meter_id="site",
        source=name,
        sha256=name,
        unit="kWh",
        kind=kind,
        by="ann",
        at=NOW,
    )


class Record:
    """A record in memory."""

    def __init__(self, own: Sequence[IntervalEnergy] = ()) -> None:
        self.own = tuple(own)
        self.taken: list[ImportedEnergy] = []
        self.registers: list[RegisterReading] = []

    async def record_import(
        self, source: MeterImport, given: Sequence[IntervalEnergy], registers: Sequence[RegisterReading] = ()
    ) -> bool:
        if any((one.source.meter_id, one.source.sha256) == (source.meter_id, source.sha256) for one in self.taken):
            return False
        self.taken.append(ImportedEnergy(source=source, intervals=tuple(given)))
        self.registers += registers
        return True

    async def imports(self, meter_id: str | None = None) -> tuple[MeterImport, ...]:
        return tuple(one.source for one in self.taken if meter_id in {None, one.source.meter_id})

    async def imported_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[ImportedEnergy, ...]:
        return tuple(one for one in self.taken if one.source.meter_id == meter_id)

    async def energy_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]:
        return tuple(one for one in self.own if start <= one.starts_at < end)


async def refusal(record: Record, source: MeterImport, given: Sequence[IntervalEnergy], **more: object) -> str:
    before = list(record.taken)
    with pytest.raises(ImportRefused) as found:
        await judge(record, source, given, **more)  # type: ignore[arg-type] - the options' own types
    assert record.taken == before
    return str(found.value)


async def test_an_import_spans_its_intervals_and_is_compared_with_our_own() -> None:
    given = intervals(8, kwh=25.25)
    source = source_of(given)
    assert (source.starts_at, source.ends_at, source.count) == (NOON, NOON + timedelta(hours=2), 8)
    record = Record(intervals(18, minutes=5, kwh=25 / 3))
    judged = await judge(record, source, given)
    # Our own are there of an hour and a half.
    assert (judged.comparison.compared, judged.replaces) == (6, 0)
    assert judged.comparison.ratio == pytest.approx(1.01)
    await take(record, source, given, [RegisterReading(at=NOON, energy_wh=1.0)])
    assert (len(record.taken), len(record.registers)) == (1, 1)


async def test_a_unit_that_looks_wrong_is_refused_unless_it_is_certain() -> None:
    given = intervals(8, kwh=100)
    record = Record(intervals(24, minutes=5, kwh=25 / 3))
    said = await refusal(record, source_of(given), given)
    assert "taken as kWh the energy is 4 times what our own meter says of the same 8 intervals" in said
    assert (await judge(record, source_of(given), given, unit_is_certain=True)).comparison.ratio == pytest.approx(4)


async def test_the_same_file_again_is_refused_however_it_is_called() -> None:
    given, record = intervals(2), Record()
    source = source_of(given)
    await take(record, source, given)
    again = replace(source, import_id="another", source="copy.csv")
    assert "imported for meter site before: july.csv at 2026-07-02 12:00Z by ann" in await refusal(record, again, given)
    # Two at once: the second finds out when it records.
    with pytest.raises(ImportRefused, match=r"july\.csv at"):
        await take(record, again, given)
    assert len(record.taken) == 1


async def test_what_is_yet_to_come_is_refused_by_its_line() -> None:
    given = intervals(3, first=NOW - timedelta(minutes=31))
    said = await refusal(Record(), source_of(given), given, lines=(2, 3, 4))
    assert said.startswith("line 4: the interval from 2026-07-02 11:59Z ends at 2026-07-02 12:14Z")


@pytest.mark.parametrize(
    ("given", "line"),
    [
        (intervals(3), "line 2: "),
        (intervals(3, first=NOON + timedelta(minutes=15)), "line 2: "),
        ([*intervals(2), *intervals(1, first=NOON + timedelta(minutes=45))], "line 2: "),
        (intervals(8, first=NOON + timedelta(minutes=30)), "line 2: "),
        (intervals(7), "line 6: "),
    ],
)
async def test_part_of_an_interval_that_stands_is_refused(given: list[IntervalEnergy], line: str) -> None:
    record, hours = Record(), intervals(2, minutes=60, kwh=100)
    await take(record, source_of(hours, "hours.csv"), hours)
    said = await refusal(record, source_of(given), given, lines=range(2, 20))
    assert said.startswith(line)
    assert "that was imported from hours.csv: hand over all of its time" in said


async def test_all_of_it_is_replaced() -> None:
    record, hours = Record(), intervals(2, minutes=60, kwh=100)
    await take(record, source_of(hours, "hours.csv"), hours)
    for given, count in [(intervals(8), 2), (intervals(4), 1), (intervals(1, minutes=180, kwh=300), 2)]:
        assert (await judge(record, source_of(given), given)).replaces == count


async def test_data_of_our_own_meter_replaces_none_of_the_revenue_meters() -> None:
    record, hours = Record(), intervals(2, minutes=60, kwh=100)
    await take(record, source_of(hours, "hours.csv"), hours)
    given = intervals(3)
    assert (await judge(record, source_of(given, kind=MeterKind.GATEWAY), given)).replaces == 0
