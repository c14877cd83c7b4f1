"""What must hold of validation, estimation and editing of any meter's data."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from random import Random
from typing import Any
from zoneinfo import ZoneInfo

from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.vee.edit import Edit, Method, resolve
from gateway.domain.vee.estimate import estimate
from gateway.domain.vee.finding import Finding, Kind, Severity
from gateway.domain.vee.rule import shipped_rules
from gateway.domain.vee.validate import validate
from hardware.device import Quality
from tests.metered_site import BRUSSELS, FAULTS, HOUR, NEW_YORK, clean_load, first_instant, gap, register

START = datetime(2026, 3, 2, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
MADE = datetime(2026, 3, 9, tzinfo=UTC)


def interval(slot: int, energy_wh: float) -> IntervalEnergy:
    return IntervalEnergy(
        starts_at=START + slot * QUARTER, duration_s=900.0, energy_wh=energy_wh, coverage_fraction=1.0
    )


energies = st.floats(-1e6, 1e6)
raws = st.lists(st.builds(interval, st.integers(0, 12), energies), min_size=1, max_size=16)


@st.composite
def edits(draw: st.DrawFn) -> list[Edit]:
    made = []
    for number in range(draw(st.integers(0, 8))):
        method = draw(st.sampled_from([Method.ENTERED, Method.REMOVED, Method.RAW]))
        made.append(
            Edit(
                edit_id=f"e-{number}",
                meter_id="m-1",
                starts_at=START + draw(st.integers(0, 12)) * QUARTER,
                duration_s=900.0,
                energy_wh=draw(energies) if method is Method.ENTERED else None,
                quality=Quality.SUSPECT if method is Method.REMOVED else Quality.ESTIMATED,
                reason="drawn",
                by="drawn",
                at=MADE + timedelta(hours=draw(st.integers(0, 3))),
                method=method,
            )
        )
    return made


@given(raws, edits(), st.randoms(use_true_random=False))
def test_resolving_is_idempotent_and_the_order_does_not_matter(
    raw: Sequence[IntervalEnergy], made: list[Edit], chance: Random
):
    once = resolve(raw, made)
    assert resolve(once.intervals, made) == once
    mixed, shuffled = list(raw), list(made)
    chance.shuffle(mixed)
    chance.shuffle(shuffled)
    assert resolve(mixed, shuffled) == once


@given(raws, edits())
def test_what_no_edit_names_is_answered_as_it_came_and_the_latest_edit_counts(
    raw: Sequence[IntervalEnergy], made: list[Edit]
):
    resolved = resolve(raw, made)
    for slot in range(13):
        at = START + slot * QUARTER
        came = sorted(one.energy_wh for one in raw if one.starts_at == at)
        named = [edit for edit in made if edit.starts_at == at]
        found = [one for one in resolved.intervals if one.starts_at == at]
        counted = [edit for edit in resolved.counted if edit.starts_at == at]
        last = max(named, key=lambda edit: (edit.at, edit.edit_id), default=None)
        assert counted == ([] if last is None else [last])
        if last is None or last.method is Method.RAW:
            assert sorted(one.energy_wh for one in found) == came
        elif last.method is Method.REMOVED:
            assert [(one.coverage_fraction, one.quality) for one in found] == [(0.0, Quality.SUSPECT)]
        else:
            assert [(one.energy_wh, one.quality) for one in found] == [(last.energy_wh, last.quality)]


MONDAY = date(2026, 5, 4)
LOADS = {zone: clean_load(MONDAY, 28, zone) for zone in (BRUSSELS, NEW_YORK)}
STANDARD = shipped_rules()["standard"]
slots = st.integers(2 * 96, 26 * 96)
places = st.sampled_from([BRUSSELS, NEW_YORK])


def look(
    load: Sequence[IntervalEnergy], zone: ZoneInfo, registers: Sequence[tuple[datetime, float]] = ()
) -> tuple[Finding, ...]:
    start, end = first_instant(MONDAY, zone), first_instant(MONDAY + timedelta(days=28), zone)
    return validate(load, interval_s=900.0, zone=zone, start=start, end=end, rules=STANDARD, registers=registers)


@given(st.sampled_from(sorted(FAULTS)), places, slots, st.integers(1, 20), st.integers(0))
@settings(max_examples=50)
def test_every_fault_is_found_and_named_whatever_the_order(name: str, zone: ZoneInfo, slot: int, count: int, seed: int):
    faulty = FAULTS[name](LOADS[zone], slot, count)
    found = look(faulty.intervals, zone)
    assert (faulty.kind, faulty.starts_at, faulty.ends_at) in {(one.kind, one.starts_at, one.ends_at) for one in found}
    assert {one.kind for one in found} <= {faulty.kind} | faulty.beside
    mixed = list(faulty.intervals)
    Random(seed).shuffle(mixed)
    assert look(mixed, zone) == found


@given(st.integers(0, 10_000), st.dates(date(2025, 1, 1), date(2027, 12, 1)), places)
@settings(max_examples=30)
def test_a_clean_series_finds_nothing_whatever_the_season(seed: int, first: date, zone: ZoneInfo):
    load = clean_load(first, 21, zone, seed=seed)
    start, end = first_instant(first, zone), first_instant(first + timedelta(days=21), zone)
    read = register(load, start, load[700].starts_at, end)
    assert validate(
        load, interval_s=900.0, zone=zone, start=start, end=end, rules=STANDARD, registers=read
    ) == ()  # fmt: skip


@given(st.sampled_from(range(2000, 2038)), places, st.booleans())
def test_a_day_on_which_clocks_change_has_92_or_100_quarter_hours(year: int, zone: ZoneInfo, spring: bool):
    days = [date(year, 3 if spring else 10, 1) + timedelta(days=number) for number in range(61)]
    hours = {day: (first_instant(day + timedelta(days=1), zone) - first_instant(day, zone)) / HOUR for day in days}
    day = next(one for one in days if hours[one] == (23 if spring else 25))
    load = clean_load(day, 1, zone)
    assert len(load) == (92 if spring else 100)
    start, end = first_instant(day, zone), first_instant(day + timedelta(days=1), zone)
    asked: dict[str, Any] = {"interval_s": 900.0, "zone": zone, "start": start, "end": end, "rules": STANDARD}
    assert validate(load, **asked) == ()
    (count,) = [one for one in validate(load[1:], **asked) if one.kind is Kind.DAY_COUNT]
    assert (count.figure("intervals"), count.figure("expected")) == (len(load) - 1, len(load))


@given(slots, st.integers(5, 200), st.floats(0.3, 3.0), st.integers(0, 900), places)
@settings(max_examples=25)
def test_estimates_add_up_to_the_register(slot: int, count: int, drawn: float, second: int, zone: ZoneInfo):
    load = LOADS[zone]
    inside = range(slot, slot + count)
    truth = [replace(one, energy_wh=one.energy_wh * drawn) if n in inside else one for n, one in enumerate(load)]
    faulty = gap(truth, slot, count)
    # Read within an interval before the gap, which counts by its share, and at the end of the period.
    early = truth[96]
    ((_, before_wh),) = register(truth, early.starts_at)
    within = (early.starts_at + timedelta(seconds=second), before_wh + early.energy_wh * second / 900)
    read = [within, *register(truth, truth[-1].ends_at)]
    asked: dict[str, Any] = {
        "interval_s": 900.0,
        "zone": zone,
        "start": first_instant(MONDAY, zone),
        "end": truth[-1].ends_at,
        "rules": STANDARD,
        "registers": read,
    }
    found = validate(faulty.intervals, **asked)
    estimates = estimate(faulty.intervals, findings=found, meter_id="m", by="t", at=MADE, **asked)
    assert estimates.refused == ()
    done = resolve(faulty.intervals, estimates.edits).intervals
    assert len(done) == len(load)
    estimated_wh = math.fsum(edit.energy_wh or 0.0 for edit in estimates.edits)
    true_wh = math.fsum(one.energy_wh for one in truth[slot : slot + count])
    # What is left as it was is smaller than what the register can tell.
    tolerance_wh = max(1000.0, 0.01 * (read[1][1] - read[0][1]))
    scaled = {edit.method for edit in estimates.edits} == {Method.LIKE_DAYS_TO_REGISTER}
    assert abs(estimated_wh - true_wh) <= (1e-3 if scaled else tolerance_wh)
    assert scaled or estimated_wh <= tolerance_wh
    assert not [one for one in validate(done, **asked) if one.kind in {Kind.GAP, Kind.REGISTER, Kind.DAY_COUNT}]
    # What was measured is as it was.
    measured = [one for one in done if one.quality is Quality.GOOD]
    assert measured == sorted(faulty.intervals, key=lambda one: one.starts_at)


@given(st.sampled_from(sorted(FAULTS)), slots, st.integers(1, 20))
@settings(max_examples=40)
def test_what_is_proposed_is_estimated_with_a_reason_and_leaves_no_suspect_interval(name: str, slot: int, count: int):
    faulty = FAULTS[name](LOADS[BRUSSELS], slot, count)
    load = LOADS[BRUSSELS]
    asked: dict[str, Any] = {
        "interval_s": 900.0, "zone": BRUSSELS, "start": load[0].starts_at, "end": load[-1].ends_at, "rules": STANDARD,
    }  # fmt: skip
    found = validate(faulty.intervals, **asked)
    estimates = estimate(faulty.intervals, findings=found, meter_id="m", by="t", at=MADE, **asked)
    backwards = faulty.intervals[::-1]
    assert estimate(backwards, findings=found[::-1], meter_id="m", by="t", at=MADE, **asked) == estimates
    for edit in estimates.edits:
        removed = edit.method is Method.REMOVED
        assert edit.quality is (Quality.SUSPECT if removed else Quality.ESTIMATED)
        assert (edit.energy_wh is None) is removed
        assert edit.reason
    done = resolve(faulty.intervals, estimates.edits).intervals
    assert [one for one in validate(done, **asked) if one.severity is Severity.SUSPECT] == []
