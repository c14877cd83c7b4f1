"""What settlement reads: which interval stands, what an edit counts for, and intervals cut at the ends of an event."""

from datetime import UTC, datetime, timedelta

from gateway.domain.measurement import IntervalEnergy, Slice, slices
from gateway.domain.meter_import import ImportedEnergy, MeterImport, MeterKind, covers, standing
from gateway.domain.settled_energy import as_readings, layer, revenue_covers, settled_slices, shared_out
from gateway.domain.vee.edit import Edit, Method
from hardware.device import PowerReading, Quality

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
IMPORTED_AT = NOON + timedelta(days=1)


def at(minute: float) -> datetime:
    return NOON + timedelta(minutes=minute)


def interval(minute: float, minutes: float, energy_wh: float, **changes: object) -> IntervalEnergy:
    given: dict[str, object] = {"coverage_fraction": 1.0, **changes}
    return IntervalEnergy(starts_at=at(minute), duration_s=minutes * 60, energy_wh=energy_wh, **given)  # type: ignore[arg-type] - the fields' own types


def imported(
    *intervals: IntervalEnergy, import_id: str = "i1", kind: MeterKind = MeterKind.REVENUE, days: int = 1
) -> ImportedEnergy:
    return ImportedEnergy(
        source=MeterImport(
            import_id=import_id,
            meter_id="site",
            source="july.csv",
            sha256=import_id,
            unit="Wh",
            kind=kind,
            by="ann",
            at=NOON + timedelta(days=days),
            starts_at=intervals[0].starts_at,
            ends_at=intervals[-1].ends_at,
            count=len(intervals),
        ),
        intervals=intervals,
    )


def edit(minute: float, minutes: float, energy_wh: float | None, *, days: float = 2, **changes: object) -> Edit:
    removed = energy_wh is None
    given: dict[str, object] = {
        "edit_id": f"d{minute}-{days}",
        "method": Method.REMOVED if removed else Method.ENTERED,
        "quality": Quality.SUSPECT if removed else Quality.ESTIMATED,
        **changes,
    }
    return Edit(
        meter_id="site",
        starts_at=at(minute),
        duration_s=minutes * 60,
        energy_wh=energy_wh,
        reason="meter swapped",
        by="ann",
        at=NOON + timedelta(days=days),
        **given,  # type: ignore[arg-type] - the fields' own types
    )


def steady(power_w: float, first: float, last: float, step_s: float = 30.0) -> list[PowerReading]:
    count = int((last - first) * 60 / step_s)
    return [
        PowerReading(meter_id="site", power_w=power_w, measured_at=at(first) + timedelta(seconds=index * step_s))
        for index in range(count)
    ]


def test_of_overlapping_intervals_the_one_imported_last_stands() -> None:
    first = imported(interval(0, 15, 1), interval(15, 15, 2), interval(30, 15, 3))
    second = imported(interval(15, 15, 20), import_id="i2")
    assert [one.interval.energy_wh for one in standing([first, second])] == [1, 20, 3]
    assert [one.interval.energy_wh for one in standing([second, first])] == [1, 2, 3]


def test_an_interval_that_stands_in_part_does_not_stand() -> None:
    hour, quarter = imported(interval(0, 60, 100)), imported(interval(15, 15, 20), import_id="i2")
    assert [one.interval for one in standing([hour, quarter])] == [interval(15, 15, 20)]
    assert [one.interval for one in standing([quarter, hour])] == [interval(0, 60, 100)]


def test_the_revenue_meter_stands_before_a_meter_of_ours_whichever_came_last() -> None:
    revenue = imported(interval(0, 15, 1))
    ours = imported(interval(0, 15, 9), interval(15, 15, 9), import_id="i2", kind=MeterKind.GATEWAY)
    for given in ([revenue, ours], [ours, revenue]):
        assert [one.interval.energy_wh for one in standing(given)] == [1, 9]
        assert revenue_covers(given, (), at(0), at(15))
        assert not revenue_covers(given, (), at(0), at(16))


def test_what_is_covered_is_covered_at_every_instant() -> None:
    found = [interval(15, 15, 1), interval(0, 15, 1), interval(31, 14, 1)]
    assert covers(found, at(0), at(30))
    assert covers(found, at(3), at(29.5))
    assert not covers(found, at(0), at(31))
    assert not covers(found, at(-1), at(3))
    assert covers([], at(0), at(0))
    assert not covers([], at(0), at(1))


def test_an_edit_counts_over_the_import_that_was_there() -> None:
    given = [imported(interval(0, 15, 1), interval(15, 15, 2))]
    assert [one.energy_wh for one in layer(given, [edit(0, 15, 7)])] == [7, 2]
    assert [one.coverage_fraction for one in layer(given, [edit(15, 15, None)])] == [1, 0]
    taken_back = edit(0, 15, None, days=3, method=Method.RAW, quality=Quality.GOOD)
    assert [one.energy_wh for one in layer(given, [edit(0, 15, 7), taken_back])] == [1, 2]


def test_an_import_displaces_the_edits_made_before_it() -> None:
    given = [imported(interval(0, 15, 1), days=5)]
    assert [one.energy_wh for one in layer(given, [edit(0, 15, 7)])] == [1]
    assert [one.energy_wh for one in layer(given, [edit(0, 5, 7), edit(15, 5, 8)])] == [1, 8]


def test_an_edit_of_ours_counts_where_nothing_was_imported() -> None:
    assert layer([], [edit(0, 5, 7)]) == (interval(0, 5, 7, quality=Quality.ESTIMATED),)
    assert layer([], [edit(0, 5, 7), edit(0, 5, None, days=3, method=Method.RAW, quality=Quality.GOOD)]) == ()
    # The site's intervals were longer once: the last edit counts.
    assert [one.energy_wh for one in layer([], [edit(0, 15, 7), edit(5, 5, 8, days=3)])] == [8]


def test_removed_intervals_are_not_covered_by_the_revenue_meter() -> None:
    given = [imported(interval(0, 15, 1), interval(15, 15, 2))]
    assert revenue_covers(given, [edit(0, 15, 7)], at(0), at(30))
    assert not revenue_covers(given, [edit(0, 15, None)], at(0), at(30))
    assert not revenue_covers([], [edit(0, 15, 7)], at(0), at(15))


def test_slices_go_by_the_intervals_that_are_known() -> None:
    known = [interval(0, 15, 1), interval(15, 15, 1)]
    found = settled_slices(at(5), at(37), 300.0, known)
    assert [(one.starts_at, one.duration_s / 60) for one in found] == [
        (at(5), 10),
        (at(15), 15),
        (at(30), 5),
        (at(35), 2),
    ]
    assert settled_slices(at(5), at(37), 300.0, ()) == slices(at(5), at(37), 300.0)
    assert settled_slices(at(5), at(5), 300.0, known) == ()


def test_finer_intervals_are_put_together_on_the_sites_own_grid() -> None:
    known = [interval(minute, 1, minute) for minute in range(10)]
    assert settled_slices(at(2), at(10), 300.0, known) == slices(at(2), at(10), 300.0)
    (first, second) = shared_out(known, slices(at(2), at(10), 300.0), ())
    assert first == interval(2, 3, 2 + 3 + 4)
    assert second == interval(5, 5, 5 + 6 + 7 + 8 + 9)


def test_intervals_off_the_sites_grid_have_cuts_of_their_own() -> None:
    found = settled_slices(at(0), at(20), 300.0, [interval(2, 15, 1)])
    assert [(one.starts_at, one.ends_at) for one in found] == [(at(0), at(2)), (at(2), at(17)), (at(17), at(20))]


def test_an_interval_that_an_event_begins_within_is_shared_out_by_our_readings() -> None:
    # 100 kW for five minutes, 60 kW for ten: by hand 8333.3 Wh and 10 000 Wh, 18 333.3 Wh in all.
    readings = [*steady(100_000, 0, 5), *steady(60_000, 5, 15)]
    known = [interval(0, 15, 18_150)]
    event = Slice(starts_at=at(5), duration_s=600.0)
    (found,) = shared_out(known, [event], readings)
    assert found is not None
    assert abs(found.energy_wh - 18_150 * 10_000 / 18_333.333333333332) < 1e-6
    assert found.quality is Quality.ESTIMATED
    assert found.coverage_fraction == 1.0
    (whole,) = shared_out(known, [Slice(starts_at=at(0), duration_s=900.0)], readings)
    assert whole == known[0]


def test_without_readings_it_is_shared_out_by_time() -> None:
    (found,) = shared_out([interval(0, 15, 9_000)], [Slice(starts_at=at(5), duration_s=600.0)], ())
    assert found == interval(5, 10, 6_000, quality=Quality.ESTIMATED)


def test_where_nobody_looked_the_mean_of_the_interval_counts() -> None:
    # Five minutes of 100 kW were seen, of ten; 100 kW is then the mean of all of it.
    readings = steady(100_000, 0, 5)
    known = [interval(0, 10, 10_000)]
    first, second = shared_out(known, slices(at(0), at(10), 300.0), readings)
    assert first is not None
    assert second is not None
    # The last reading stands for a minute.
    assert abs(first.energy_wh - 5_000) < 1e-6
    assert abs(second.energy_wh - 5_000) < 1e-6


def test_energy_given_back_has_no_share() -> None:
    readings = [*steady(-50_000, 0, 5), *steady(60_000, 5, 10)]
    first, second = shared_out([interval(0, 10, 1_000)], slices(at(0), at(10), 300.0), readings)
    assert first is not None
    assert second is not None
    assert (first.energy_wh, second.energy_wh) == (0.0, 1_000.0)


def test_a_piece_that_is_not_all_covered_is_left_to_others() -> None:
    assert shared_out([interval(0, 15, 1)], [Slice(starts_at=at(10), duration_s=600.0)], ()) == (None,)
    known = [interval(0, 5, 0, coverage_fraction=0.0, quality=Quality.SUSPECT), interval(5, 5, 4)]
    (found,) = shared_out(known, [Slice(starts_at=at(0), duration_s=600.0)], ())
    assert found == interval(0, 10, 4, coverage_fraction=0.5, quality=Quality.SUSPECT)


def test_closed_intervals_stand_for_readings() -> None:
    closed = [
        interval(0, 5, 5_000),
        interval(5, 5, 1_250, coverage_fraction=0.5),
        interval(10, 5, 0, coverage_fraction=0),
    ]
    assert [(one.measured_at, one.power_w) for one in as_readings("site", closed)] == [
        (at(0), 60_000.0),
        (at(5), 30_000.0),
    ]
