import itertools
from datetime import UTC, datetime, timedelta

import pynvml
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hardware.device import PowerReading
from hardware.nvml.reasons import limiting
from hardware.nvml.sensors import (
    FIELDS,
    EnergyRegister,
    FieldValue,
    PowerSource,
    chosen,
    energy_check,
    milliwatts,
    watts,
)

AT = datetime(2026, 7, 1, tzinfo=UTC)
STATUSES = st.sampled_from([0, 3, 2, 13, 10, 15, 999])


def reading(after_s, power_w, energy_j):
    return PowerReading(meter_id="g", power_w=power_w, energy_j=energy_j, measured_at=AT + timedelta(seconds=after_s))


@given(st.integers(0, 4_000_000))
def test_watts_and_milliwatts_are_inverse(value):
    assert milliwatts(watts(value)) == value


def test_milliwatts_of_a_limit():
    assert (milliwatts(250.0), watts(250_000)) == (250_000, 250.0)


@given(st.tuples(STATUSES, STATUSES, STATUSES, STATUSES))
def test_source_is_one_that_works_and_no_scope_is_passed_over_for_a_moment(statuses):
    source = chosen({field: FieldValue(status, 1.0) for field, status in zip(FIELDS, statuses, strict=True)})
    never = {2, 3, 13}
    if source is None:
        assert not never.issuperset(statuses)
    elif source is PowerSource.POWER_USAGE:
        assert never.issuperset(statuses)
    else:
        assert statuses[FIELDS.index(source)] == 0
        assert not source.is_module or never.issuperset(statuses[:2])


def test_source_by_example():
    works, never, later = FieldValue(0, 1.0), FieldValue(3, 0.0), FieldValue(10, 0.0)
    assert chosen(dict(zip(FIELDS, [works, works, works, works], strict=True))) is PowerSource.GPU_AVERAGE
    assert chosen(dict(zip(FIELDS, [later, works, works, works], strict=True))) is PowerSource.GPU_INSTANT
    assert chosen(dict(zip(FIELDS, [never, later, works, works], strict=True))) is None
    assert chosen(dict(zip(FIELDS, [never, never, works, works], strict=True))) is PowerSource.MODULE_AVERAGE
    assert chosen(dict(zip(FIELDS, [never] * 4, strict=True))) is PowerSource.POWER_USAGE


@given(st.lists(st.floats(0.0, 1e9), min_size=1))
def test_register_never_goes_back_and_never_states_too_much(counters_j):
    register = EnergyRegister()
    before_j = 0.0
    for counter_j in counters_j:
        now_j = register.at(counter_j)
        assert now_j >= before_j
        before_j = now_j
    falls = sum(after < before for before, after in itertools.pairwise(counters_j))
    assert register.resets == falls
    peaks_j = [before for before, after in itertools.pairwise(counters_j) if after < before]
    assert before_j == pytest.approx(sum(peaks_j) + counters_j[-1])


def test_register_over_a_reset():
    register = EnergyRegister()
    assert [register.at(counter_j) for counter_j in (5.0, 9.0, 2.0, 3.0)] == [5.0, 9.0, 11.0, 12.0]


def test_energy_against_power():
    check = energy_check([reading(0, 100.0, 1000.0), reading(1, 200.0, 1150.0), reading(3, 200.0, 1550.0)])
    assert check is not None
    assert (check.duration_s, check.counted_j, check.integrated_j) == (3.0, 550.0, 550.0)
    assert check.difference_fraction == 0.0
    off = energy_check([reading(0, 100.0, 0.0), reading(1, 100.0, 80.0)])
    assert off is not None
    assert off.difference_fraction == pytest.approx(0.25)


@pytest.mark.parametrize(
    "readings",
    [
        [],
        [reading(0, 100.0, 0.0)],
        [reading(0, 100.0, 0.0), reading(60, 100.0, 6000.0)],
        [reading(0, 100.0, 500.0), reading(1, 100.0, 20.0)],
        [reading(0, 100.0, 500.0), reading(1, 100.0, None)],
        [reading(0, 100.0, 500.0), reading(1, 100.0, 500.0)],
        [reading(1, 100.0, 500.0), reading(0, 100.0, 600.0)],
    ],
    ids=["none", "one", "gap", "register fell", "no register", "register stands", "out of order"],
)
def test_energy_against_power_says_nothing_where_nothing_can_be_said(readings):
    assert energy_check(readings) is None


def test_reasons_in_words():
    cap, brake = pynvml.nvmlClocksEventReasonSwPowerCap, pynvml.nvmlClocksEventReasonHwPowerBrakeSlowdown
    assert limiting(cap).ours
    assert not limiting(cap | brake).ours
    assert limiting(brake).others == ("power brake of the host",)
    assert limiting(0) == limiting(1 << 60)
    assert limiting(pynvml.nvmlClocksEventReasonGpuIdle).idle
