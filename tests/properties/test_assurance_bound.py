import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.assurance.placebo import bound

errors = st.lists(st.floats(-1e6, 1e6), min_size=2, max_size=60)


def held(days: list[float], level: float) -> int:
    """Of how many days, each in turn the event without a true reduction, the bound from the others holds."""
    bounds = [bound(own, days[:index] + days[index + 1 :], level).value for index, own in enumerate(days)]
    return sum(value is None or value <= 0.0 for value in bounds)


@given(days=errors, level=st.sampled_from([0.5, 0.9]))
def test_among_days_that_are_alike_a_bound_fails_no_more_often_than_it_says(days: list[float], level: float):
    assert held(days, level) >= level * len(days) - 1e-9


def test_of_ten_days_just_one_is_past_the_bound_of_the_nine_others():
    assert held([float(n) for n in range(10)], 0.9) == 9
    assert held([float(n) for n in range(9)], 0.9) == 9  # from eight there is no bound


@given(days=errors, level=st.sampled_from([0.5, 0.9]), by=st.floats(0.0, 1e6))
def test_more_reduction_is_bounded_higher_by_just_that(days: list[float], level: float, by: float):
    before, after = (bound(observed, days, level).value for observed in (0.0, by))
    assert (before is None) == (after is None) == (len(days) < bound(0.0, days, level).days_needed)
    if before is not None:
        assert after == pytest.approx(before + by, abs=1e-6)
