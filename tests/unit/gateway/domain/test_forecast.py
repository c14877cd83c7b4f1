"""What a site expects to draw: its usual draw, less where a plan asks for less and can have it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.event import EventRecord
from gateway.domain.forecast import Planned, expected_w, usual_w
from gateway.domain.measurement import Slice
from gateway.domain.plan import PlanInterval, PowerPlan
from gateway.domain.report_grid import MOST_INTERVALS, forecast_end, forecast_start
from protocols.grid import EventStatus, GridEvent
from protocols.grid_report import ReportOrder

START = datetime(2026, 7, 1, 16, tzinfo=UTC)


def at(minutes: float) -> datetime:
    return START + timedelta(minutes=minutes)


def planned(start_w: float, end_w: float, *, expected: float = 0.0, revision: int = 0, **event: object) -> Planned:
    """From the start on for half an hour."""
    said = GridEvent(
        event_id="ev1",
        connection_id="utility",
        program_id="peak",
        revision=0,
        status=EventStatus.FAR,
        created_at=at(-600),
        starts_at=START,
        duration_s=1800.0,
        signals=(),
    )
    plan = PowerPlan(
        connection_id="utility",
        event_id="ev1",
        revision=revision,
        made_at=at(-60),
        baseline_w=100.0,
        intervals=(PlanInterval(starts_at=START, ends_at=at(30), start_w=start_w, end_w=end_w),),
        paused_job_ids=(),
        expected_w=expected,
        shortfall_w=0.0,
        reason="",
    )
    record = EventRecord(event=replace(said, **event), first_received_at=at(-500), received_at=at(-500))  # type: ignore[arg-type]
    return record, plan


HOURS = (Slice(starts_at=at(-60), duration_s=3600.0), Slice(starts_at=START, duration_s=3600.0))


@pytest.mark.parametrize(
    ("plans", "mean_w"),
    [
        ((), 100.0),
        ((planned(60.0, 60.0),), 80.0),
        ((planned(100.0, 60.0),), 90.0),
        ((planned(60.0, 60.0, expected=80.0),), 90.0),
        ((planned(150.0, 150.0),), 100.0),
        ((planned(60.0, 60.0), planned(40.0, 40.0)), 70.0),
        ((planned(60.0, 60.0, revision=1),), 100.0),
        ((planned(60.0, 60.0, test=True),), 100.0),
        ((planned(60.0, 60.0, status=EventStatus.CANCELLED),), 100.0),
    ],
)
def test_a_plan_lowers_what_is_expected_while_it_holds(plans: tuple[Planned, ...], mean_w: float) -> None:
    assert expected_w(HOURS, 100.0, plans) == pytest.approx((100.0, mean_w))


def test_the_usual_draw_is_the_baseline_while_something_is_held() -> None:
    held = (planned(60.0, 60.0),)
    assert usual_w(61.0, held, at(10)) == 100.0
    assert usual_w(61.0, held, at(40)) == 61.0
    assert usual_w(None, held, at(10)) == 100.0
    assert usual_w(None, (), at(10)) is None


def order(**changes: object) -> ReportOrder:
    usual: dict[str, object] = {
        "order_id": "1",
        "connection_id": "utility",
        "resource_id": "site",
        "granularity_s": 900.0,
        "report_back_s": 3600.0,
        "starts_at": START,
        "ends_at": None,
        "ahead_s": 7200.0,
    }
    return ReportOrder(**{**usual, **changes})  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("changes", "cursor", "now", "start"),
    [
        ({}, None, -30, 0),
        ({}, None, 0, 0),
        ({}, 60, 10, 60),
        ({}, 60, 250, 240),
        ({"ends_at": at(120)}, 120, 60, None),
        ({"ends_at": at(120)}, None, 200, None),
        ({"report_back_s": 0.0, "ends_at": at(120)}, None, 50, 45),
        ({"report_back_s": 0.0}, 120, 50, None),
    ],
)
def test_a_missed_forecast_is_not_made_up_for(
    changes: dict[str, object], cursor: float | None, now: float, start: float | None
) -> None:
    found = forecast_start(order(**changes), None if cursor is None else at(cursor), at(now))
    assert found == (None if start is None else at(start))


def test_a_forecast_ends_where_it_was_asked_to_and_has_not_too_many_intervals() -> None:
    assert forecast_end(order(), at(60)) == at(180)
    assert forecast_end(order(report_back_s=0.0), at(45)) == at(120)
    assert forecast_end(order(ahead_s=1e7), at(0)) == at(15 * MOST_INTERVALS)
