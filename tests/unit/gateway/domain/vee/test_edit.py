from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.vee.edit import Edit, EditError, Method, resolve, undo
from hardware.device import Quality

START = datetime(2026, 3, 2, tzinfo=UTC)
QUARTER = timedelta(minutes=15)
MADE = datetime(2026, 3, 9, 8, tzinfo=UTC)


def series(*energies_wh: float) -> tuple[IntervalEnergy, ...]:
    return tuple(
        IntervalEnergy(starts_at=START + n * QUARTER, duration_s=900.0, energy_wh=wh, coverage_fraction=1.0)
        for n, wh in enumerate(energies_wh)
    )


def edit(slot: int = 1, **changes: Any) -> Edit:
    values: dict[str, Any] = {
        "edit_id": "e-1",
        "meter_id": "m-1",
        "starts_at": START + slot * QUARTER,
        "duration_s": 900.0,
        "energy_wh": 50.0,
        "quality": Quality.ESTIMATED,
        "reason": "spike",
        "by": "ada",
        "at": MADE,
        "method": Method.ENTERED,
    }
    return Edit(**(values | changes))


def removal(**changes: Any) -> Edit:
    return edit(energy_wh=None, method=Method.REMOVED, quality=Quality.SUSPECT, **changes)


def test_an_edit_stands_in_place_of_the_raw_interval_and_leaves_the_others():
    raw = series(10.0, 9_000.0, 12.0)
    resolved = resolve(raw, [edit()])
    assert resolved.intervals == (raw[0], replace(raw[1], energy_wh=50.0, quality=Quality.ESTIMATED), raw[2])
    assert resolved.counted == (edit(),)
    assert raw == series(10.0, 9_000.0, 12.0)


def test_without_edits_the_raw_intervals_are_answered_in_order_of_time():
    raw = series(10.0, 11.0, 12.0)
    assert resolve(raw[::-1], []).intervals == raw
    assert resolve(raw, []).counted == ()
    assert resolve([], []).intervals == ()


def test_the_latest_edit_counts_whatever_the_order():
    first, second = edit(), edit(edit_id="e-2", energy_wh=60.0, at=MADE + timedelta(hours=1))
    for edits in ([first, second], [second, first]):
        resolved = resolve(series(10.0, 11.0), edits)
        assert resolved.intervals[1].energy_wh == 60.0
        assert resolved.counted == (second,)


def test_an_id_says_nothing_about_which_edit_is_later():
    first, second = edit(edit_id="e-9"), edit(edit_id="e-1", energy_wh=60.0, at=MADE + timedelta(hours=1))
    assert resolve(series(10.0, 11.0), [first, second]).counted == (second,)


def test_of_two_edits_at_the_same_instant_the_id_decides():
    first, second = edit(), edit(edit_id="e-2", energy_wh=60.0)
    for edits in ([first, second], [second, first]):
        assert resolve(series(10.0, 11.0), edits).counted == (second,)


def test_an_undo_points_back_to_the_raw_value_and_stays_in_the_ledger():
    raw = series(10.0, 9_000.0)
    back = undo(edit(), edit_id="e-2", reason="the meter was right", by="bob", at=MADE + timedelta(hours=1))
    resolved = resolve(raw, [back, edit()])
    assert resolved.intervals == raw
    assert resolved.counted == (back,)
    assert (back.method, back.energy_wh, back.meter_id) == (Method.RAW, None, "m-1")
    # Taken up again by an edit later than the undo.
    again = edit(edit_id="e-3", energy_wh=70.0, at=MADE + timedelta(hours=2))
    assert resolve(raw, [back, edit(), again]).intervals[1].energy_wh == 70.0


def test_an_undo_in_a_gap_leaves_the_gap():
    raw = series(10.0, 11.0, 12.0)
    kept = (raw[0], raw[2])
    back = undo(edit(), edit_id="e-2", reason="no estimate wanted", by="bob", at=MADE + timedelta(hours=1))
    assert len(resolve(kept, [edit()]).intervals) == 3
    assert resolve(kept, [edit(), back]).intervals == kept


def test_a_removed_interval_is_not_covered_and_suspect():
    resolved = resolve(series(10.0, 9_000.0), [removal()])
    assert resolved.intervals[1] == IntervalEnergy(
        starts_at=START + QUARTER, duration_s=900.0, energy_wh=0.0, coverage_fraction=0.0, quality=Quality.SUSPECT
    )


def test_an_edit_replaces_every_raw_record_of_its_interval_and_an_undo_brings_them_back():
    raw = series(10.0, 11.0, 12.0)
    twice = (*raw, replace(raw[1], energy_wh=13.0))
    resolved = resolve(twice, [edit()])
    assert [one.energy_wh for one in resolved.intervals] == [10.0, 50.0, 12.0]
    back = undo(edit(), edit_id="e-2", reason="wrong choice", by="bob", at=MADE + timedelta(hours=1))
    assert [one.energy_wh for one in resolve(twice, [edit(), back]).intervals] == [10.0, 11.0, 13.0, 12.0]


def test_the_same_edit_twice_is_one():
    resolved = resolve(series(10.0, 11.0), [edit(), edit()])
    assert resolved.counted == (edit(),)


def test_a_raw_interval_off_the_grid_can_be_named_exactly():
    raw = series(10.0, 11.0, 12.0)
    stepped = replace(raw[1], starts_at=raw[1].starts_at + timedelta(minutes=5))
    resolved = resolve((raw[0], stepped, raw[2]), [removal(starts_at=stepped.starts_at)])
    assert [one.coverage_fraction for one in resolved.intervals] == [1.0, 0.0, 1.0]


@pytest.mark.parametrize(
    ("wrong", "says"),
    [
        (
            edit(starts_at=START + timedelta(minutes=20)),
            "within an interval of the meter: let it begin at 2026-03-02T00:15:00\\+00:00 or 2026-03-02T00:30:00",
        ),
        (edit(duration_s=3_600.0), "it lasts 3600 s, the meter's intervals last 900 s: write one edit for each"),
    ],
)
def test_an_edit_off_the_grid_is_refused(wrong: Edit, says: str):
    with pytest.raises(EditError, match=says) as refused:
        resolve(series(10.0, 11.0, 12.0), [wrong])
    assert refused.value.edit_id == "e-1"


def test_without_raw_intervals_the_edits_make_the_grid():
    assert [one.energy_wh for one in resolve([], [edit(), edit(3, edit_id="e-2")]).intervals] == [50.0, 50.0]
    with pytest.raises(EditError, match="within an interval"):
        resolve([], [edit(), edit(2, edit_id="e-2"), edit(edit_id="e-3", starts_at=START + timedelta(minutes=50))])


def test_edits_of_two_meters_and_two_edits_of_one_id_are_refused():
    with pytest.raises(EditError, match="of the meters m-1, m-2: resolve one at a time"):
        resolve(series(10.0, 11.0), [edit(), edit(edit_id="e-2", meter_id="m-2")])
    with pytest.raises(EditError, match="two edits have this id and differ"):
        resolve(series(10.0, 11.0), [edit(), edit(energy_wh=51.0)])


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"starts_at": datetime(2026, 3, 2)}, "need a time zone"),  # noqa: DTZ001 - what is refused
        ({"at": datetime(2026, 3, 2)}, "need a time zone"),  # noqa: DTZ001 - as above
        ({"duration_s": 0.0}, "is not positive"),
        ({"duration_s": float("nan")}, "is not positive"),
        ({"energy_wh": float("inf")}, "wants energy in watt-hours, not inf"),
        ({"energy_wh": None}, "the method entered wants energy in watt-hours, not None"),
        ({"method": Method.RAW}, "the method raw has no energy of its own"),
        ({"method": Method.REMOVED, "energy_wh": None}, "that is removed is suspect, not estimated"),
        ({"reason": " "}, "say who edits"),
        ({"by": ""}, "say who edits"),
    ],
)
def test_an_edit_that_says_nothing_clear_is_refused(changes: dict[str, Any], says: str):
    with pytest.raises(EditError, match=says):
        edit(**changes)
