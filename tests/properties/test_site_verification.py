"""The whole is the sum of the sites' parts, however time is cut and in whatever order reports come, also twice."""

from datetime import timedelta
from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.site_verification import SiteReports, verify_by_sites
from protocols.grid_report import IntervalReport
from tests.unit.gateway.domain.test_site_verification import END, inputs, report, site


@st.composite
def reported(draw: st.DrawFn, party: str) -> list[IntervalReport]:
    """What a site reports: intervals of any length, some preliminary, some missing, some corrected later."""
    cuts = sorted({-1, *draw(st.sets(st.integers(0, 600), max_size=6)), 700})
    made = []
    for index, (begin, end) in enumerate(pairwise(cuts)):
        if not draw(st.booleans()):
            continue
        made += [
            report(
                f"{party}{index}~{said}",
                begin / 60,
                (end - begin) / 60,
                baseline_w=draw(st.floats(0, 1e6)),
                reduction_w=draw(st.floats(-1e6, 1e6)),
                preliminary=draw(st.booleans()),
                said=20.0 + said,
            )
            for said in range(draw(st.integers(1, 2)))
        ]
    return made


@given(reported("a"), reported("b"), st.randoms(use_true_random=False))
def test_the_sum_is_that_of_its_parts_in_any_order_and_with_duplicates(a, b, random) -> None:  # type: ignore[no-untyped-def]
    made = verify_by_sites(inputs(site("a", *a), site("b", *b)), verified_at=END)
    assert sum(one.delivered_wh for one in made.intervals) == pytest.approx(
        sum(part.delivered_wh for part in made.sites), abs=1e-6
    )
    assert sum(one.baseline_wh for one in made.intervals) == pytest.approx(
        sum(part.baseline_wh for part in made.sites), abs=1e-6
    )
    assert all(0.0 <= one.coverage_fraction <= 1.0 for one in made.intervals)
    shuffled = a + a
    random.shuffle(shuffled)
    assert verify_by_sites(inputs(site("a", *shuffled), site("b", *b)), verified_at=END) == made


@given(reported("a"), reported("b"))
def test_a_missing_site_changes_no_figure_of_another(a: list[IntervalReport], b: list[IntervalReport]) -> None:
    def part(*sites: SiteReports) -> object:
        return verify_by_sites(inputs(*sites), verified_at=END).sites[0]

    assert part(site("a", *a), site("b", *b)) == part(site("a", *a), site("b"))


def test_the_smallest_example() -> None:
    made = verify_by_sites(inputs(site("a", report("a", 0, 10)), site("b")), verified_at=END)
    assert sum(one.delivered_wh for one in made.intervals) == pytest.approx(400 * 10 / 60)
    assert made.sites[0].delivered_wh == pytest.approx(400 * timedelta(minutes=10) / timedelta(hours=1))
