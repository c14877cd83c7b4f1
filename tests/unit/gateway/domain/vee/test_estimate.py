import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from statistics import fmean
from typing import Any

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.vee.edit import Method, resolve
from gateway.domain.vee.estimate import Estimates, estimate
from gateway.domain.vee.finding import Kind
from gateway.domain.vee.rule import shipped_rules
from gateway.domain.vee.validate import validate
from hardware.device import Quality
from tests.metered_site import (
    BRUSSELS,
    Faulty,
    clean_load,
    contradicted,
    first_instant,
    gap,
    late_clock,
    local_time_as_utc,
    merged,
    register,
    same_again,
    spike,
)

STANDARD = shipped_rules()["standard"]
MONDAY = date(2026, 5, 4)
LOAD = clean_load(MONDAY, 28, BRUSSELS)
NOON = 14 * 96 + 48
"""Slot of noon on the third Monday."""
WEEK = 7 * 96
WEEKS = [first_instant(MONDAY + timedelta(days=7 * week), BRUSSELS) for week in range(5)]
MADE = datetime(2026, 6, 1, 9, tzinfo=UTC)


def propose(intervals: Sequence[IntervalEnergy], **changes: Any) -> Estimates:
    of: dict[str, Any] = {
        "interval_s": 900.0,
        "zone": BRUSSELS,
        "start": WEEKS[0],
        "end": WEEKS[4],
        "rules": STANDARD,
        "registers": (),
    }
    of |= changes
    findings, events = of.pop("findings", None), of.pop("events", ())
    return estimate(
        intervals,
        findings=validate(intervals, **of) if findings is None else findings,
        events=events,
        meter_id="main",
        by="ada",
        at=MADE,
        **of,
    )


def energies(estimates: Estimates) -> list[float | None]:
    return [edit.energy_wh for edit in estimates.edits]


def test_nothing_is_proposed_for_what_is_right():
    assert propose(LOAD) == Estimates(edits=(), refused=())


def test_a_short_gap_lies_on_the_line_between_its_neighbours():
    found = propose(gap(LOAD, NOON, 3).intervals)
    before_wh, after_wh = LOAD[NOON - 1].energy_wh, LOAD[NOON + 3].energy_wh
    assert energies(found) == pytest.approx([before_wh + (after_wh - before_wh) * part / 4 for part in (1, 2, 3)])
    first = found.edits[0]
    assert (first.starts_at, first.duration_s, first.meter_id) == (LOAD[NOON].starts_at, 900.0, "main")
    assert (first.quality, first.method, first.by, first.at) == (Quality.ESTIMATED, Method.INTERPOLATION, "ada", MADE)
    assert first.edit_id == "main/2026-05-18T10:00:00+00:00/900/2026-06-01T09:00:00+00:00"
    assert first.reason.startswith("gap: on the line from ")
    assert first.reason.endswith(" kW after (standard 1.0)")
    assert found.refused == ()


def test_a_gap_longer_than_the_rule_s_longest_takes_the_mean_of_like_days():
    short, long = propose(gap(LOAD, NOON, 4).intervals), propose(gap(LOAD, NOON, 5).intervals)
    assert {edit.method for edit in short.edits} == {Method.INTERPOLATION}
    assert {edit.method for edit in long.edits} == {Method.LIKE_DAYS}
    mondays = [[LOAD[NOON + slot + week * WEEK].energy_wh for week in (-2, -1, 1)] for slot in range(5)]
    assert energies(long) == pytest.approx([fmean(same) for same in mondays])
    assert long.edits[0].reason == "gap: mean of the same time of 3 like days (standard 1.0)"


def test_like_days_are_the_nearest_and_no_more_than_the_rule_wants():
    rules = replace(STANDARD, like_days=replace(STANDARD.like_days, days=2))
    found = propose(gap(LOAD, NOON, 5).intervals, rules=rules)
    expected = [fmean((LOAD[NOON + slot - WEEK].energy_wh, LOAD[NOON + slot + WEEK].energy_wh)) for slot in range(5)]
    assert energies(found) == pytest.approx(expected)


def test_of_two_like_days_as_near_the_earlier_one_comes_first():
    rules = replace(STANDARD, like_days=replace(STANDARD.like_days, days=1, least_days=1))
    found = propose(gap(LOAD, NOON, 5).intervals, rules=rules)
    assert energies(found) == pytest.approx([LOAD[NOON + slot - WEEK].energy_wh for slot in range(5)])


def test_of_an_hour_shown_twice_the_first_one_is_like_that_of_other_days():
    # Brussels: 25 October 2026 has two hours from 02:00 on.
    first = date(2026, 10, 19)
    load = clean_load(first, 14, BRUSSELS)
    start, end = first_instant(first, BRUSSELS), first_instant(first + timedelta(days=14), BRUSSELS)
    rules = replace(STANDARD, like_days=replace(STANDARD.like_days, days=1, least_days=1))
    at = {one.starts_at: slot for slot, one in enumerate(load)}
    slot = at[datetime(2026, 11, 1, 1, tzinfo=UTC)]
    found = propose(gap(load, slot, 8).intervals, start=start, end=end, rules=rules)
    assert found.edits[0].starts_at.astimezone(BRUSSELS).hour == 2
    assert found.edits[0].energy_wh == pytest.approx(load[at[datetime(2026, 10, 25, 0, tzinfo=UTC)]].energy_wh)


def test_an_event_on_a_like_day_is_no_basis_and_a_neighbour_in_one_is():
    event = (LOAD[NOON - WEEK + 2].starts_at + timedelta(minutes=5), LOAD[NOON - WEEK + 4].starts_at)
    found = propose(gap(LOAD, NOON, 8).intervals, events=[event])
    mondays = [[LOAD[NOON + slot + week * WEEK].energy_wh for week in (-2, -1, 1)] for slot in range(8)]
    for slot in (2, 3):
        del mondays[slot][1]
    assert energies(found) == pytest.approx([fmean(same) for same in mondays])
    around = (LOAD[NOON - 4].starts_at, LOAD[NOON + 4].starts_at)
    assert [edit.method for edit in propose(gap(LOAD, NOON, 1).intervals, events=[around]).edits] == [
        Method.INTERPOLATION
    ]


def test_a_like_day_that_is_suspect_or_estimated_is_no_basis():
    load = spike(LOAD, NOON - WEEK, 1).intervals
    load[NOON + WEEK] = replace(load[NOON + WEEK], quality=Quality.ESTIMATED)
    found = propose(gap(load, NOON, 5).intervals)
    by_start = {edit.starts_at: edit for edit in found.edits}
    assert LOAD[NOON].starts_at not in by_start
    (refused,) = found.refused
    assert (refused.starts_at, refused.ends_at) == (LOAD[NOON].starts_at, LOAD[NOON + 1].starts_at)
    # The spike itself has neighbours.
    assert by_start[LOAD[NOON - WEEK].starts_at].method is Method.INTERPOLATION
    assert len(found.edits) == 5


def test_the_length_of_the_gap_counts_local_time_of_like_days_over_a_clock_change():
    # Brussels: clocks go forward on 29 March 2026. Noon stays noon.
    first = date(2026, 3, 9)
    load = clean_load(first, 42, BRUSSELS)
    start, end = first_instant(first, BRUSSELS), first_instant(first + timedelta(days=42), BRUSSELS)
    at = datetime(2026, 3, 30, 12, tzinfo=BRUSSELS)
    slot = next(number for number, one in enumerate(load) if one.starts_at == at)
    found = propose(gap(load, slot, 8).intervals, start=start, end=end)
    before, after = slot - WEEK + 4, slot + WEEK
    assert load[before].starts_at.astimezone(BRUSSELS).hour == load[after].starts_at.astimezone(BRUSSELS).hour == 12
    nearest = (slot - WEEK + 4, slot + WEEK, slot - 2 * WEEK + 4, slot + 2 * WEEK)
    assert found.edits[0].energy_wh == pytest.approx(fmean(load[number].energy_wh for number in nearest))


def test_too_few_like_days_is_an_answer_that_says_what_is_missing():
    found = propose(gap(LOAD[: 2 * WEEK], NOON - WEEK, 8).intervals, end=WEEKS[2])
    assert found.edits == ()
    (refused,) = found.refused
    assert (refused.starts_at, refused.ends_at) == (LOAD[NOON - WEEK].starts_at, LOAD[NOON - WEEK + 8].starts_at)
    assert refused.reason == (
        "over 120 min nothing is interpolated (at most 60 min), and of 2 like days at the least 1 with a good reading "
        "were found within 56 days of 2026-05-11: give more history, or enter the energy"
    )


def test_history_before_the_period_is_a_basis():
    found = propose(gap(LOAD, NOON, 8).intervals, start=WEEKS[2], end=WEEKS[3])
    assert [edit.method for edit in found.edits] == [Method.LIKE_DAYS] * 8


def test_a_gap_at_the_edge_has_one_neighbour_and_takes_like_days():
    found = propose(LOAD[2:])
    assert [edit.method for edit in found.edits] == [Method.LIKE_DAYS] * 2
    nothing = propose(LOAD[2:96], end=first_instant(MONDAY + timedelta(days=1), BRUSSELS))
    assert nothing.edits == ()
    assert nothing.refused[0].reason.startswith("a neighbour to interpolate from is missing or not good, and of 2 like")


def test_without_any_reading_nothing_is_estimated():
    found = propose([])
    assert found.edits == ()
    assert [(one.starts_at, one.ends_at) for one in found.refused] == [(WEEKS[0], WEEKS[4])]


def test_estimates_add_up_to_the_register():
    load = gap(LOAD, NOON, 3 * 96).intervals
    # What was drawn in the gap is a fifth more than the like days say.
    drawn = [
        replace(one, energy_wh=one.energy_wh * 1.2) if NOON <= n < NOON + 288 else one for n, one in enumerate(LOAD)
    ]
    read = register(drawn, *WEEKS)
    found = propose(load, registers=read)
    assert {edit.method for edit in found.edits} == {Method.LIKE_DAYS_TO_REGISTER}
    done = resolve(load, found.edits).intervals
    total_wh = math.fsum(one.energy_wh for one in done if WEEKS[2] <= one.starts_at < WEEKS[3])
    assert total_wh == pytest.approx(read[3][1] - read[2][1], rel=1e-9)
    factors = {edit.reason.split(", times ")[1].split(" ")[0] for edit in found.edits}
    (factor,) = factors
    assert 1.15 < float(factor) < 1.25


def test_a_gap_so_small_that_the_register_cannot_tell_is_not_scaled():
    read = register(LOAD, *WEEKS)
    found = propose(gap(LOAD, NOON, 2).intervals, registers=read)
    assert {edit.method for edit in found.edits} == {Method.INTERPOLATION}
    # Read around the gap alone, it can: two intervals hold more than the tolerance of 1 kWh.
    near = register(LOAD, LOAD[NOON - 2].starts_at, LOAD[NOON + 4].starts_at)
    found = propose(gap(LOAD, NOON, 2).intervals, registers=near)
    assert {edit.method for edit in found.edits} == {Method.INTERPOLATION_TO_REGISTER}
    assert sum(edit.energy_wh or 0.0 for edit in found.edits) == pytest.approx(
        LOAD[NOON].energy_wh + LOAD[NOON + 1].energy_wh
    )


def test_a_register_that_says_nothing_was_drawn_makes_the_estimate_nothing():
    off = [replace(one, energy_wh=0.0) if NOON <= n < NOON + 96 else one for n, one in enumerate(LOAD)]
    found = propose(gap(LOAD, NOON, 96).intervals, registers=register(off, *WEEKS))
    assert len(found.edits) == 96
    assert sum(edit.energy_wh or 0.0 for edit in found.edits) == pytest.approx(0.0, abs=1e-3)
    # As well where it says a little less than what was measured besides.
    less = [(at, wh - (500.0 if at == WEEKS[3] else 0.0)) for at, wh in register(off, *WEEKS)]
    found = propose(gap(LOAD, NOON, 96).intervals, registers=less)
    assert [edit.energy_wh for edit in found.edits] == [0.0] * 96


@pytest.mark.parametrize("drawn", [20.0, -3.0])
def test_a_register_that_contradicts_the_estimate_refuses_it(drawn: float):
    other = [
        replace(one, energy_wh=one.energy_wh * drawn) if NOON <= n < NOON + 96 else one for n, one in enumerate(LOAD)
    ]
    found = propose(gap(LOAD, NOON, 96).intervals, registers=register(other, *WEEKS))
    assert found.edits == ()
    (refused,) = found.refused
    assert (refused.starts_at, refused.ends_at) == (LOAD[NOON].starts_at, LOAD[NOON + 96].starts_at)
    assert "look which of them is wrong" in refused.reason


def test_a_register_read_within_the_gap_cuts_nothing():
    within = LOAD[NOON + 40].starts_at + timedelta(minutes=5)
    read = [*register(LOAD, *WEEKS), (within, 1.0)]
    found = propose(gap(LOAD, NOON, 96).intervals, registers=read, findings=())
    assert {edit.method for edit in found.edits} == {Method.LIKE_DAYS_TO_REGISTER}


def test_a_register_read_on_the_grid_within_the_gap_cuts_it_in_two():
    drawn = [
        replace(one, energy_wh=one.energy_wh * 1.5) if NOON <= n < NOON + 48 else one for n, one in enumerate(LOAD)
    ]
    read = register(drawn, WEEKS[2], LOAD[NOON + 48].starts_at, WEEKS[3])
    found = propose(gap(LOAD, NOON, 96).intervals, registers=read)
    first, second = found.edits[:48], found.edits[48:]
    assert sum(edit.energy_wh or 0.0 for edit in first) == pytest.approx(
        sum(one.energy_wh for one in drawn[NOON : NOON + 48])
    )
    assert sum(edit.energy_wh or 0.0 for edit in second) == pytest.approx(
        sum(one.energy_wh for one in drawn[NOON + 48 : NOON + 96])
    )


def test_where_nothing_can_be_estimated_the_register_still_says_how_much_is_missing():
    load = gap(LOAD[: 2 * WEEK], NOON - WEEK, 8).intervals
    found = propose(load, end=WEEKS[2], registers=register(LOAD, *WEEKS[:3]))
    missing_kwh = sum(one.energy_wh for one in LOAD[NOON - WEEK : NOON - WEEK + 8]) / 1_000
    assert f"the register leaves {missing_kwh:.6g} kWh for all that is missing" in found.refused[0].reason


@pytest.mark.parametrize(
    "faulty", [spike(LOAD, NOON, 1), contradicted(LOAD, NOON, 3), late_clock(LOAD, NOON, 6), merged(LOAD, NOON, 3)]
)
def test_after_the_edits_nothing_suspect_is_left(faulty: Faulty):
    found = propose(faulty.intervals)
    assert found.refused == ()
    assert faulty.kind.value in " ".join(edit.reason for edit in found.edits)
    done = resolve(faulty.intervals, found.edits).intervals
    assert validate(
        done, interval_s=900.0, zone=BRUSSELS, start=WEEKS[0], end=WEEKS[4], rules=STANDARD
    ) == ()  # fmt: skip


def test_intervals_off_the_grid_are_removed_for_what_stands_on_it():
    found = propose(late_clock(LOAD, NOON, 6).intervals)
    removed = [edit for edit in found.edits if edit.method is Method.REMOVED]
    assert [edit.starts_at for edit in removed] == [
        one.starts_at + timedelta(minutes=5) for one in LOAD[NOON : NOON + 6]
    ]
    assert len(found.edits) - len(removed) == 7


def test_intervals_off_the_grid_stay_where_nothing_stands_in_for_them():
    late = late_clock(LOAD[:WEEK], 300, 8).intervals
    found = propose(late, end=WEEKS[1])
    assert found.edits == ()
    assert [(one.starts_at, one.ends_at) for one in found.refused] == [(LOAD[300].starts_at, LOAD[309].starts_at)]


def test_a_note_wants_no_estimate():
    assert propose(same_again(LOAD, NOON, 2).intervals).edits == ()


def test_a_suspect_reading_is_estimated_though_nothing_was_found():
    load = [*LOAD]
    load[NOON] = replace(load[NOON], quality=Quality.SUSPECT)
    (edit,) = propose(load).edits
    assert edit.reason.startswith("suspect reading: on the line from ")


def test_a_finding_that_somebody_cleared_wants_no_estimate():
    load = spike(LOAD, NOON, 1).intervals
    assert propose(load, findings=()).edits == ()
    # A gap or a contradiction stays one, whatever the findings.
    assert propose(gap(LOAD, NOON, 1).intervals, findings=()).edits[0].reason.startswith("no usable reading: ")
    assert propose(contradicted(LOAD, NOON, 1).intervals, findings=()).edits[0].reason.startswith("duplicate: ")


def test_a_wrong_unit_is_put_right_and_not_estimated():
    wrong = [replace(one, energy_wh=one.energy_wh * 4) for one in LOAD[8 * 96 : 9 * 96]]
    load = [*LOAD[: 8 * 96], *wrong, *LOAD[9 * 96 :]]
    found = propose(load)
    assert found.edits == ()
    (refused,) = found.refused
    assert refused.reason.startswith("unit: the data have to be read again")
    # Nor is it a basis for other days.
    gapped = gap(load, 15 * 96 + 48, 8).intervals
    other = [edit for edit in propose(gapped).edits if edit.method is Method.LIKE_DAYS]
    assert other[0].energy_wh == pytest.approx(fmean(LOAD[day * 96 + 48].energy_wh for day in (1, 22)))


def test_beside_a_wrong_unit_the_register_scales_nothing():
    wrong = [replace(one, energy_wh=one.energy_wh * 4) for one in LOAD[8 * 96 : 9 * 96]]
    load = gap([*LOAD[: 8 * 96], *wrong, *LOAD[9 * 96 :]], 10 * 96 + 48, 8).intervals
    found = propose(load, registers=register(LOAD, *WEEKS))
    assert [edit.method for edit in found.edits] == [Method.LIKE_DAYS] * 8
    assert [one.reason.split(":")[0] for one in found.refused] == ["unit"]


def test_local_time_taken_for_utc_is_read_again_and_not_estimated():
    first = date(2026, 3, 23)
    load = local_time_as_utc(clean_load(first, 14, BRUSSELS), BRUSSELS)
    found = propose(load, start=load[0].starts_at, end=load[-1].ends_at)
    assert found.edits == ()
    assert [one.reason.split(":")[0] for one in found.refused] == ["local-time"]


def test_a_sum_that_fails_without_a_gap_is_not_guessed_at():
    lower = [replace(one, energy_wh=one.energy_wh * 0.8) for one in LOAD[WEEK : 2 * WEEK]]
    found = propose([*LOAD[:WEEK], *lower, *LOAD[2 * WEEK :]], registers=register(LOAD, *WEEKS))
    assert found.edits == ()
    (refused,) = found.refused
    assert refused.reason.startswith("register: nobody can tell which interval is wrong")
    assert (refused.starts_at, refused.ends_at) == (WEEKS[1], WEEKS[2])


def test_a_spike_is_scaled_to_the_register_and_the_sum_check_passes_then():
    load = spike(LOAD, NOON, 1).intervals
    read = register(LOAD, first_instant(date(2026, 5, 18), BRUSSELS), first_instant(date(2026, 5, 19), BRUSSELS))
    kinds = {one.kind for one in validate(
        load, interval_s=900.0, zone=BRUSSELS, start=WEEKS[0], end=WEEKS[4], rules=STANDARD, registers=read
    )}  # fmt: skip
    assert kinds == {Kind.SPIKE, Kind.REGISTER}
    found = propose(load, registers=read)
    assert found.edits[0].method is Method.INTERPOLATION_TO_REGISTER
    assert found.edits[0].energy_wh == pytest.approx(LOAD[NOON].energy_wh)
