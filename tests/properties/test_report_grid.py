"""Reports of any order: every instant once, on the order's grid, whatever it begins and ends with."""

from datetime import UTC, datetime, timedelta
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.report_grid import MOST_INTERVALS, granularity, intervals, report_end, report_start
from protocols.grid_report import ReportOrder

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)
SECOND = timedelta(seconds=1)


@st.composite
def orders(draw: st.DrawFn) -> ReportOrder:
    lasts_s = draw(st.none() | st.floats(1, 5000))
    return ReportOrder(
        order_id="o",
        connection_id="c",
        resource_id="r",
        granularity_s=float(draw(st.integers(0, 900))),
        report_back_s=float(draw(st.integers(0, 2000))),
        starts_at=NOON,
        ends_at=None if lasts_s is None else NOON + timedelta(seconds=lasts_s),
    )


@given(order=orders(), early_s=st.floats(0, 400))
def test_reports_follow_on_each_other_on_the_grid(order: ReportOrder, early_s: float) -> None:
    start = NOON - timedelta(seconds=early_s)
    begin, pieces = start, []
    for _ in range(30):
        end = report_end(order, start)
        if end is None:
            break
        cut = intervals(order, start, end)
        assert 1 <= len(cut) <= MOST_INTERVALS
        assert cut[-1].starts_at + timedelta(seconds=cut[-1].duration_s) == end
        pieces += cut
        start = end
    assert all(one.starts_at + timedelta(seconds=one.duration_s) == other.starts_at for one, other in pairwise(pieces))
    assert not pieces or pieces[0].starts_at == begin
    step = granularity(order)
    for piece in pieces[1:]:
        assert (piece.starts_at - NOON) % step == timedelta(0)
    for piece in pieces:
        assert SECOND <= timedelta(seconds=piece.duration_s) < step + SECOND
    if order.ends_at is not None and report_end(order, start) is None:
        assert order.ends_at - start < SECOND


@given(order=orders(), at_s=st.floats(0, 3000))
def test_the_start_that_is_found_is_one_of_a_report_that_was_made(order: ReportOrder, at_s: float) -> None:
    at = NOON + timedelta(seconds=at_s)
    starts = [NOON]
    while len(starts) < 4000 and starts[-1] <= at:
        end = report_end(order, starts[-1])
        if end is None:
            break
        starts.append(end)
    else:
        assert report_start(order, at) in starts
        assert report_start(order, at) <= at
