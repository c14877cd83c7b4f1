"""What must hold of validation, estimation and editing of any meter's data."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from random import Random

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.vee.edit import Edit, Method, resolve
from hardware.device import Quality

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
