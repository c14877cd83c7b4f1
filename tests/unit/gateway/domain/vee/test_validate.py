from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, date, datetime, timedelta, tzinfo
from typing import Any

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.vee.finding import Finding, Kind, Severity
from gateway.domain.vee.rule import shipped_rules
from gateway.domain.vee.validate import marked, unchecked, validate
from hardware.device import Quality
from tests.metered_site import (
    BRUSSELS,
    HOUR,
    NEW_YORK,
    QUARTER,
    clean_load,
    contradicted,
    first_instant,
    gap,
    late_clock,
    local_time_as_utc,
    negative,
    put_back_by_an_hour,
    put_forward_by_an_hour,
    register,
    same_again,
    spike,
    stuck,
    without_offset,
)

STANDARD = shipped_rules()["standard"]
MONDAY = date(2026, 5, 4)
LOAD = clean_load(MONDAY, 28, BRUSSELS)
NOON = 14 * 96 + 48
"""Slot of noon on the third Monday."""


def look(intervals: Sequence[IntervalEnergy], **changes: Any) -> tuple[Finding, ...]:
    arguments: dict[str, Any] = {
        "interval_s": 900.0,
        "zone": BRUSSELS,
        "start": first_instant(MONDAY, BRUSSELS),
        "end": first_instant(MONDAY + timedelta(days=28), BRUSSELS),
        "rules": STANDARD,
    }
    return validate(intervals, **(arguments | changes))


def only(findings: Sequence[Finding], kind: Kind) -> Finding:
    (one,) = [finding for finding in findings if finding.kind is kind]
    return one


def kinds(findings: Sequence[Finding]) -> list[Kind]:
    return [finding.kind for finding in findings]


def test_a_gap_says_how_long_and_what_to_do():
    one = only(look(gap(LOAD, NOON, 3).intervals), Kind.GAP)
    assert (one.severity, one.starts_at, one.ends_at) == (
        Severity.SUSPECT,
        LOAD[NOON].starts_at,
        LOAD[NOON + 3].starts_at,
    )
    assert (one.figure("missing"), one.figure("intervals")) == (2700.0, 3.0)
    assert [figure.unit for figure in one.figures] == ["s", ""]
    assert one.text == (
        "For 45 min (3 intervals) there is no usable reading. Ask the meter for it again; what it does not have can be "
        "estimated."
    )


def test_gaps_at_both_ends_of_the_period_count():
    found = [one for one in look(LOAD[4:-8]) if one.kind is Kind.GAP]
    assert [one.figure("missing") for one in found] == [3600.0, 7200.0]
    # An hour at the edge is no step of the clock: it may go on beyond it.
    assert kinds(look(LOAD[4:-4])) == [Kind.GAP, Kind.DAY_COUNT, Kind.DAY_COUNT, Kind.GAP]


def test_a_period_shorter_than_an_interval_has_nothing_to_judge():
    assert look(LOAD, start=LOAD[5].starts_at, end=LOAD[5].starts_at + timedelta(minutes=10)) == ()


def test_without_any_interval_the_whole_period_is_a_gap():
    (one,) = look([])
    assert (one.kind, one.figure("intervals")) == (Kind.GAP, 28 * 96)


def test_an_interval_read_in_part_is_usable_from_the_rule_s_share_on():
    partly = [*LOAD[:NOON], replace(LOAD[NOON], coverage_fraction=0.94), *LOAD[NOON + 1 :]]
    assert kinds(look(partly)) == [Kind.DAY_COUNT, Kind.GAP]
    nearly = replace(LOAD[NOON], coverage_fraction=0.95, energy_wh=LOAD[NOON].energy_wh * 0.95)
    assert look([*LOAD[:NOON], nearly, *LOAD[NOON + 1 :]]) == ()


def test_history_outside_the_period_is_not_judged():
    broken = late_clock(gap(spike(LOAD, NOON, 1).intervals, 200, 5).intervals, 300, 3).intervals
    start = first_instant(MONDAY + timedelta(days=21), BRUSSELS)
    assert look(broken, start=start) == ()
    found = kinds(look(broken, start=LOAD[96].starts_at))
    assert found == [Kind.DAY_COUNT, Kind.GAP, Kind.GAP, Kind.CLOCK_STEP, Kind.OVERLAP, Kind.SPIKE]


def test_a_duplicate_with_the_same_energy_is_a_note_and_with_another_suspect():
    one = only(look(same_again(LOAD, NOON, 2).intervals), Kind.DUPLICATE)
    assert (one.severity, one.figure("intervals")) == (Severity.NOTE, 2)
    one = only(look(contradicted(LOAD, NOON, 2).intervals), Kind.DUPLICATE)
    assert one.severity is Severity.SUSPECT
    assert one.figure("apart") == pytest.approx(0.1 * max(LOAD[NOON].energy_wh, LOAD[NOON + 1].energy_wh))


def test_an_hour_on_top_of_its_quarters_overlaps():
    hour = replace(LOAD[NOON], duration_s=3600.0, energy_wh=LOAD[NOON].energy_wh * 4)
    found = look([*LOAD, hour])
    one = only(found, Kind.OVERLAP)
    assert (one.starts_at, one.ends_at, one.figure("overlap")) == (hour.starts_at, hour.ends_at, 3600.0)
    assert only(found, Kind.LENGTH).figure("length") == 3600.0


def test_stamps_off_the_grid_are_one_step_of_the_clock():
    one = only(look(late_clock(LOAD, NOON, 6).intervals), Kind.CLOCK_STEP)
    assert (one.severity, one.figure("off_grid"), one.figure("intervals")) == (Severity.SUSPECT, 300.0, 6)
    assert one.text.startswith("The stamps of 6 intervals lie 5 min after the grid of the others.")
    early = [replace(one, starts_at=one.starts_at - timedelta(seconds=7)) for one in LOAD[NOON:]]
    one = only(look([*LOAD[:NOON], *early]), Kind.CLOCK_STEP)
    assert one.figure("off_grid") == -7.0
    assert "7 s before the grid" in one.text


def test_a_meter_that_is_late_from_the_first_to_the_last_interval_is_a_note():
    late = [replace(one, starts_at=one.starts_at + timedelta(minutes=5)) for one in LOAD]
    one = only(look(late), Kind.CLOCK_STEP)
    assert (one.severity, one.figure("off_grid")) == (Severity.NOTE, 300.0)


def test_an_hour_twice_or_missing_where_clocks_did_not_change_is_a_step_of_the_clock():
    one = only(look(put_back_by_an_hour(LOAD, NOON, 1).intervals), Kind.CLOCK_STEP)
    assert (one.severity, one.figure("step"), one.ends_at - one.starts_at) == (Severity.SUSPECT, -3600.0, HOUR)
    found = look(put_forward_by_an_hour(LOAD, NOON, 1).intervals)
    one = only(found, Kind.CLOCK_STEP)
    assert (one.severity, one.figure("step")) == (Severity.NOTE, 3600.0)
    assert Kind.GAP in kinds(found)


def test_intervals_cut_at_the_edges_of_the_period_are_right():
    start = LOAD[96].starts_at + timedelta(minutes=5)
    cut = replace(LOAD[96], starts_at=start, duration_s=600.0)
    assert look([cut, *LOAD[97:]], start=start) == ()


@pytest.mark.parametrize(("zone", "spring", "autumn"), [
    (BRUSSELS, date(2026, 3, 29), date(2026, 10, 25)),
    (NEW_YORK, date(2026, 3, 8), date(2026, 11, 1)),
])  # fmt: skip
class TestClockChanges:
    def test_92_and_100_quarter_hours_are_right(self, zone: tzinfo, spring: date, autumn: date):
        for day, expected in ((spring, 92), (autumn, 100)):
            load = clean_load(day, 1, zone)
            start, end = first_instant(day, zone), first_instant(day + timedelta(days=1), zone)
            assert len(load) == expected
            assert look(load, zone=zone, start=start, end=end) == ()
            found = look(load[:-1], zone=zone, start=start, end=end)
            one = only(found, Kind.DAY_COUNT)
            assert (one.severity, one.figure("intervals"), one.figure("expected")) == (
                Severity.NOTE, expected - 1, expected,
            )  # fmt: skip

    def test_local_time_taken_for_utc_is_named(self, zone: tzinfo, spring: date, autumn: date):
        for day, first_hour in ((spring, 2), (autumn, 2 if zone is BRUSSELS else 1)):
            first = day - timedelta(days=7)
            load = local_time_as_utc(clean_load(first, 14, zone), zone)
            start, end = datetime(*first.timetuple()[:3], tzinfo=UTC), load[-1].ends_at
            one = only(look(load, zone=zone, start=start, end=end), Kind.LOCAL_TIME)
            assert one.severity is Severity.SUSPECT
            assert one.starts_at == datetime(day.year, day.month, day.day, first_hour, tzinfo=UTC)
            assert (one.ends_at - one.starts_at, one.figure("hour")) == (HOUR, 3600.0)
            assert "local time was probably taken for UTC" in one.text

    def test_local_time_without_its_offset_is_named(self, zone: tzinfo, spring: date, autumn: date):
        first = autumn - timedelta(days=7)
        load = without_offset(clean_load(first, 14, zone), zone)
        start, end = first_instant(first, zone), first_instant(first + timedelta(days=14), zone)
        found = look(load, zone=zone, start=start, end=end)
        assert set(kinds(found)) == {Kind.LOCAL_TIME, Kind.DUPLICATE, Kind.GAP}
        one = only(found, Kind.LOCAL_TIME)
        assert (one.ends_at - one.starts_at, one.figure("hour")) == (2 * HOUR, 3600.0)
        # In spring nothing is lost by it: no local stamp stands for two instants.
        first = spring - timedelta(days=7)
        load = without_offset(clean_load(first, 14, zone), zone)
        start, end = first_instant(first, zone), first_instant(first + timedelta(days=14), zone)
        assert look(load, zone=zone, start=start, end=end) == ()


def test_a_spike_names_what_it_was_held_against():
    one = only(look(spike(LOAD, NOON, 1).intervals), Kind.SPIKE)
    assert one.figure("power") == pytest.approx(LOAD[NOON].energy_wh * 4 * 20)
    assert 100_000 < one.figure("reference") < 160_000
    assert one.figure("allowed_ratio") == 3.0


def test_a_load_that_rises_and_stays_is_no_spike():
    risen = [replace(one, energy_wh=one.energy_wh * 10) for one in LOAD[NOON : NOON + 8]]
    found = look([*LOAD[:NOON], *risen, *LOAD[NOON + 8 :]])
    assert [(one.starts_at, one.ends_at) for one in found] == []


def test_a_load_that_comes_back_on_each_like_day_is_no_spike():
    load = [*LOAD]
    for week in range(4):
        slot = week * 7 * 96 + 48
        load[slot] = replace(load[slot], energy_wh=load[slot].energy_wh * 10)
    assert look(load) == ()


def test_the_third_peak_of_the_day_is_another_reference():
    rules = shipped_rules()["california-mdma"]
    high = replace(LOAD[NOON], energy_wh=LOAD[NOON].energy_wh * 4)
    one = only(look([*LOAD[:NOON], high, *LOAD[NOON + 1 :]], rules=rules), Kind.SPIKE)
    day = sorted(interval.energy_wh for interval in [*LOAD[14 * 96 : NOON], high, *LOAD[NOON + 1 : 15 * 96]])
    assert one.figure("reference") == pytest.approx(day[-3] * 4)


def test_a_stuck_value_counts_from_the_rule_s_number_on():
    assert look(stuck(LOAD, NOON, 0).intervals) == ()
    one = only(look(stuck(LOAD, NOON, 1).intervals), Kind.STUCK)
    assert (one.severity, one.figure("intervals")) == (Severity.SUSPECT, 8)
    assert one.figure("power") == pytest.approx(LOAD[NOON].energy_wh * 4)


def test_nothing_drawn_for_long_is_a_note():
    off = [replace(one, energy_wh=0.0) for one in LOAD[NOON : NOON + 20]]
    one = only(look([*LOAD[:NOON], *off, *LOAD[NOON + 20 :]]), Kind.STUCK)
    assert (one.severity, one.figure("intervals")) == (Severity.NOTE, 20)


def test_negative_energy_is_wrong_where_the_site_does_not_generate():
    turned = negative(LOAD, NOON, 3).intervals
    one = only(look(turned), Kind.NEGATIVE)
    assert (one.figure("intervals"), one.severity) == (3, Severity.SUSPECT)
    assert look(turned, rules=STANDARD.for_site(generates=True, highest_power_w=None, calendar="none")) == ()


def test_more_than_the_site_can_draw_is_suspect():
    rules = STANDARD.for_site(generates=False, highest_power_w=200_000.0, calendar="none")
    assert look(LOAD, rules=rules) == ()
    risen = [replace(one, energy_wh=one.energy_wh * 2) for one in LOAD[NOON : NOON + 8]]
    one = only(look([*LOAD[:NOON], *risen, *LOAD[NOON + 8 :]], rules=rules), Kind.HIGH)
    assert one.figure("limit") == 200_000.0
    assert one.figure("highest_power") == pytest.approx(max(interval.energy_wh * 4 for interval in risen))


READ_AT = [first_instant(MONDAY + timedelta(days=7 * week), BRUSSELS) for week in range(5)]


def test_at_one_hour_a_wrong_unit_cannot_be_seen_and_is_said_to_be_unchecked():
    load = clean_load(MONDAY, 28, BRUSSELS, step=HOUR)
    arguments: dict[str, Any] = {
        "interval_s": 3600.0, "zone": BRUSSELS, "start": READ_AT[0], "end": READ_AT[4], "rules": STANDARD,
    }  # fmt: skip
    assert validate(load, **arguments) == ()
    said = unchecked(load, registers=register(load, *READ_AT), **arguments)
    assert [sentence.split(":")[0] for sentence in said] == ["Unit", "Highest power"]


def test_what_is_not_checked_is_said():
    said = unchecked(LOAD[: 10 * 96], interval_s=900.0, zone=BRUSSELS, start=READ_AT[0], end=READ_AT[1], rules=STANDARD)
    assert [sentence.split(":")[0] for sentence in said] == ["Sum check", "Highest power", "Like days"]
    # Monday to Wednesday come again, the other four days do not; one like day is fewer than two.
    assert said[2].startswith("Like days: 672 of 672 intervals have fewer than 2 like days within 56 days")
    rules = STANDARD.for_site(generates=False, highest_power_w=1e6, calendar="none")
    arguments: dict[str, Any] = {"interval_s": 900.0, "zone": BRUSSELS, "start": READ_AT[0], "end": READ_AT[4]}
    assert unchecked(LOAD, rules=rules, registers=register(LOAD, *READ_AT), **arguments) == ()


def test_a_holiday_is_like_a_sunday():
    # Whit Monday, 25 May 2026: a Sunday's load on a Monday, and one spike that only Mondays would explain.
    monday, sunday = slice(21 * 96, 22 * 96), LOAD[20 * 96 : 21 * 96]
    load = [*LOAD]
    load[monday] = [replace(one, energy_wh=other.energy_wh) for one, other in zip(LOAD[monday], sunday, strict=True)]
    for week in range(3):
        for slot in range(week * 7 * 96 + 40, week * 7 * 96 + 44):
            load[slot] = replace(load[slot], energy_wh=load[slot].energy_wh * 8)
    slot = 21 * 96 + 41
    load[slot] = replace(load[slot], energy_wh=load[slot].energy_wh * 8)
    assert Kind.SPIKE not in kinds(look(load))
    rules = STANDARD.for_site(generates=False, highest_power_w=None, calendar="belgium")
    assert only(look(load, rules=rules), Kind.SPIKE).starts_at == load[slot].starts_at


def test_suspect_findings_mark_intervals_and_notes_do_not():
    load = same_again(spike(LOAD, NOON, 1).intervals, 200, 1).intervals
    done = marked(load, look(load))
    assert [one.starts_at for one in done if one.quality is Quality.SUSPECT] == [LOAD[NOON].starts_at]
    assert [one.energy_wh for one in done] == [one.energy_wh for one in load]
    estimated = [replace(one, quality=Quality.ESTIMATED) for one in load]
    assert marked(estimated, look(estimated))[NOON].quality is Quality.SUSPECT


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"interval_s": 0.0}, "an interval of 0.0 s is not positive"),
        ({"interval_s": 420.0}, "intervals of 420 s do not fill an hour"),
        ({"interval_s": 7200.0}, "intervals of 7200 s do not fill an hour"),
        ({"end": first_instant(MONDAY, BRUSSELS)}, "has to end after"),
        ({"start": datetime(2026, 5, 4)}, "has no time zone"),  # noqa: DTZ001 - what is refused
        ({"registers": [(datetime(2026, 5, 4), 1.0)]}, "has no time zone"),  # noqa: DTZ001 - as above
    ],
)
def test_what_cannot_be_judged_is_refused(changes: dict[str, Any], says: str):
    with pytest.raises(ValueError, match=says):
        look(LOAD, **changes)


def test_an_interval_without_length_or_with_no_number_is_refused():
    with pytest.raises(ValueError, match=r"lasts 0.0 s"):
        look([replace(LOAD[0], duration_s=0.0)])
    with pytest.raises(ValueError, match="holds nan Wh"):
        look([replace(LOAD[0], energy_wh=float("nan"))])


def test_a_grid_beside_the_whole_hour_is_that_of_the_local_day():
    # India's midnight lies at half past in UTC, so hours of its day do too.
    from zoneinfo import ZoneInfo

    india = ZoneInfo("Asia/Kolkata")
    load = clean_load(MONDAY, 14, india, step=HOUR)
    end = first_instant(MONDAY + timedelta(days=14), india)
    assert look(load, zone=india, interval_s=3600.0, start=first_instant(MONDAY, india), end=end) == ()
    assert load[0].starts_at.minute == 30
    assert QUARTER < HOUR
