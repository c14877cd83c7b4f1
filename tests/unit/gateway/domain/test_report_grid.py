from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.report_grid import MOST_INTERVALS, intervals, report_end, report_start
from protocols.grid_report import ReportOrder

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)


def order(granularity_s: float, report_back_s: float, lasts_s: float | None = None) -> ReportOrder:
    return ReportOrder(
        order_id="o",
        connection_id="c",
        resource_id="r",
        granularity_s=granularity_s,
        report_back_s=report_back_s,
        starts_at=NOON,
        ends_at=None if lasts_s is None else at(lasts_s),
    )


def at(seconds: float) -> datetime:
    return NOON + timedelta(seconds=seconds)


def ends(of: ReportOrder, start_s: float = 0.0, most: int = 4) -> list[float]:
    found: list[float] = []
    start: datetime | None = at(start_s)
    while start is not None and len(found) < most:
        start = report_end(of, start)
        if start is not None:
            found.append((start - NOON).total_seconds())
    return found


@pytest.mark.parametrize(
    ("of", "start_s", "expected"),
    [
        (order(10, 60), 0, [60, 120, 180, 240]),
        (order(10, 60), 35, [60, 120, 180, 240]),
        (order(10, 60), 60, [120, 180, 240, 300]),
        (order(7, 60), 0, [56, 119, 175, 238]),
        (order(60, 10), 0, [60, 120, 180, 240]),
        (order(10, 60, 130), 0, [60, 120, 130]),
        (order(10, 60, 120.5), 0, [60, 120.5]),
        (order(10, 0), 0, [10, 20, 30, 40]),
        (order(10, 0, 45), 0, [45]),
        (order(10, 0, 45), 45, []),
        (order(1, 0, 700), 0, [300, 600, 700]),
        (order(0, 2), 0, [2, 4, 6, 8]),
        (order(10, 60), -4, [0, 60, 120, 180]),
        (order(10, 10), -4, [0, 10, 20, 30]),
    ],
)
def test_reports_end_on_the_grid_of_the_orders_start(of: ReportOrder, start_s: float, expected: list[float]) -> None:
    assert ends(of, start_s) == expected


@pytest.mark.parametrize(
    ("of", "start_s", "end_s", "expected"),
    [
        (order(10, 60), 0, 30, [(0, 10), (10, 10), (20, 10)]),
        (order(10, 60), 4, 20, [(4, 6), (10, 10)]),
        (order(10, 60), -6, 10, [(-6, 6), (0, 10)]),
        (order(10, 60), 9.5, 20, [(9.5, 10.5)]),
        (order(10, 0, 45), 30, 45, [(30, 10), (40, 5)]),
        (order(10, 0, 40.5), 30, 40.5, [(30, 10.5)]),
    ],
)
def test_intervals_end_on_the_grid_and_only_the_first_and_the_last_are_shorter(
    of: ReportOrder, start_s: float, end_s: float, expected: list[tuple[float, float]]
) -> None:
    found = intervals(of, at(start_s), at(end_s))
    assert [((piece.starts_at - NOON).total_seconds(), piece.duration_s) for piece in found] == expected


def test_a_report_has_so_many_intervals_and_no_more() -> None:
    long = order(1, 86_400)
    end = report_end(long, NOON)
    assert end is not None
    assert len(intervals(long, NOON, end)) == MOST_INTERVALS


@pytest.mark.parametrize(
    ("of", "at_s", "expected"),
    [
        (order(10, 60), 130, 120),
        (order(7, 60), 130, 119),
        (order(10, 60), -5, 0),
        (order(60, 10), 130, 120),
        (order(10, 0), 25, 20),
        (order(10, 0, 900), 500, 0),
    ],
)
def test_the_report_that_an_instant_falls_in_is_found(of: ReportOrder, at_s: float, expected: float) -> None:
    start = report_start(of, at(at_s))
    assert (start - NOON).total_seconds() == expected
    while (end := report_end(of, start)) is not None and end <= at(at_s):
        start = end
    assert start <= max(at(at_s), NOON)
