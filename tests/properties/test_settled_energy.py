"""Energy that settlement reads: nothing is lost or made where it is cut, and without imports nothing is changed."""

import asyncio
import math
from datetime import UTC, datetime, timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.event import EventRecord
from gateway.domain.measurement import IntervalEnergy, Slice, integrate, slices
from gateway.domain.meter_import import ImportedEnergy, MeterImport, MeterKind
from gateway.domain.settled_energy import layer, settled_slices, shared_out
from gateway.domain.vee.edit import Edit, Method
from gateway.services.meter_data import MARGIN, MeterData
from hardware.device import PowerReading, Quality

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
SPAN_MIN = 120

readings = st.lists(
    st.builds(
        PowerReading,
        meter_id=st.just("site"),
        power_w=st.floats(-1e5, 1e6),
        measured_at=st.integers(-300, SPAN_MIN * 60).map(lambda second: START + timedelta(seconds=second)),
    ),
    max_size=40,
    unique_by=lambda reading: reading.measured_at,
).map(lambda found: sorted(found, key=lambda reading: reading.measured_at))

minutes = st.integers(0, SPAN_MIN - 1)


def energy(minute: int, length: int, energy_wh: float) -> IntervalEnergy:
    return IntervalEnergy(
        starts_at=START + timedelta(minutes=minute),
        duration_s=length * 60.0,
        energy_wh=energy_wh,
        coverage_fraction=1.0,
    )


@st.composite
def imports(draw: st.DrawFn) -> ImportedEnergy:
    """A run of intervals of one length, with gaps."""
    length, first = draw(st.sampled_from([1, 5, 7, 15, 30])), draw(minutes)
    count = draw(st.integers(1, 12))
    kept = [index for index in range(count) if draw(st.integers(0, 4))] or [0]
    found = tuple(energy(first + index * length, length, draw(st.floats(-1e4, 1e5))) for index in kept)
    source = MeterImport(
        import_id=draw(st.uuids()).hex,
        meter_id="site",
        source="a.csv",
        sha256="",
        unit="Wh",
        kind=draw(st.sampled_from(MeterKind)),
        by="ann",
        at=START + timedelta(days=draw(st.integers(1, 9))),
        starts_at=found[0].starts_at,
        ends_at=found[-1].ends_at,
        count=len(found),
    )
    return ImportedEnergy(source=source, intervals=found)


@st.composite
def edits(draw: st.DrawFn) -> Edit:
    method = draw(st.sampled_from([Method.ENTERED, Method.REMOVED, Method.RAW]))
    return Edit(
        edit_id=draw(st.uuids()).hex,
        meter_id="site",
        starts_at=START + timedelta(minutes=draw(minutes)),
        duration_s=60.0 * draw(st.sampled_from([1, 5, 15])),
        energy_wh=draw(st.floats(0, 1e5)) if method is Method.ENTERED else None,
        quality=Quality.SUSPECT,
        reason="x",
        by="ann",
        at=START + timedelta(days=draw(st.integers(1, 9))),
        method=method,
    )


class Recorded:
    """A record of readings and closed intervals, without any import or edit."""

    def __init__(self, measured: list[PowerReading], closed: tuple[IntervalEnergy, ...]) -> None:
        self.measured, self.closed = measured, closed

    async def events(self, since: datetime | None = None) -> tuple[EventRecord, ...]:
        return ()

    async def readings_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[PowerReading, ...]:
        return tuple(one for one in self.measured if start <= one.measured_at < end)

    async def energy_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[IntervalEnergy, ...]:
        return tuple(one for one in self.closed if start <= one.starts_at < end)

    async def imported_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[ImportedEnergy, ...]:
        return ()

    async def edits_between(self, meter_id: str, start: datetime, end: datetime) -> tuple[Edit, ...]:
        return ()


@given(
    measured=readings,
    begin_s=st.integers(0, 3600),
    length_s=st.integers(0, 3600),
    interval_s=st.sampled_from([60, 300]),
)
def test_without_imports_the_answers_are_the_records_own(
    measured: list[PowerReading], begin_s: int, length_s: int, interval_s: int
) -> None:
    start = START + timedelta(seconds=begin_s)
    end = start + timedelta(seconds=length_s)
    closed = integrate(measured, slices(START, START + timedelta(minutes=SPAN_MIN), interval_s))
    record = Recorded(measured, closed)
    data = MeterData(record, interval_s=interval_s)

    async def asked() -> None:
        around = await record.readings_between("site", start - MARGIN, end)
        pieces = slices(start, end, interval_s)
        assert await data.measured_between("site", start, end, interval_s) == integrate(around, pieces)
        assert await data.energy_over("site", pieces, end) == integrate(around, pieces)
        assert await data.energy_between("site", start, end) == await record.energy_between("site", start, end)
        assert await data.revenue_covers("site", start, end) is (length_s == 0)

    asyncio.run(asked())


@given(given_imports=st.lists(imports(), max_size=4), given_edits=st.lists(edits(), max_size=6))
def test_what_stands_never_overlaps_and_is_from_the_record(
    given_imports: list[ImportedEnergy], given_edits: list[Edit]
) -> None:
    found = layer(given_imports, given_edits)
    assert all(before.ends_at <= after.starts_at for before, after in pairwise(found))
    raw = {one for of_import in given_imports for one in of_import.intervals}
    edited = {(one.starts_at, one.duration_s) for one in given_edits}
    assert all(one in raw or (one.starts_at, one.duration_s) in edited for one in found)


@given(of_import=imports(), measured=readings, cuts=st.lists(st.integers(1, SPAN_MIN * 60 * 2), max_size=8))
def test_however_it_is_cut_the_energy_stays_the_revenue_meters(
    of_import: ImportedEnergy, measured: list[PowerReading], cuts: list[int]
) -> None:
    known = of_import.intervals
    for run in known:
        inner = [run.starts_at + timedelta(seconds=cut % run.duration_s) for cut in cuts]
        points = sorted({run.starts_at, *inner, run.ends_at})
        pieces = [Slice(starts_at=a, duration_s=(b - a).total_seconds()) for a, b in pairwise(points)]
        found = shared_out(known, pieces, measured)
        assert all(one is not None and one.coverage_fraction == 1.0 for one in found)
        total = math.fsum(one.energy_wh for one in found if one is not None)
        assert total == pytest.approx(run.energy_wh, rel=1e-9, abs=1e-9)


@given(
    of_import=imports(),
    begin_s=st.integers(0, 3600),
    length_s=st.integers(0, 7200),
    interval_s=st.sampled_from([60, 300]),
)
def test_settled_slices_follow_each_other_and_cut_no_interval_but_at_the_ends(
    of_import: ImportedEnergy, begin_s: int, length_s: int, interval_s: int
) -> None:
    start = START + timedelta(seconds=begin_s)
    end = start + timedelta(seconds=length_s)
    found = settled_slices(start, end, interval_s, of_import.intervals)
    cuts = [one.starts_at for one in found]
    assert cuts[:1] == ([start] if length_s else [])
    assert all(before.ends_at == after.starts_at for before, after in pairwise(found))
    assert not found or found[-1].ends_at == end
    for known in of_import.intervals:
        assert not [at for at in cuts[1:] if known.starts_at < at < known.ends_at]
