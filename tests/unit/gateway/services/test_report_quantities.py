"""Reports of more than power: baselines and reductions, first as they are held and then as settled, and states."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from protocols.errors import Rejected
from protocols.grid_report import IntervalReport, Receipt, ReportOrder, ReportQuantity, ResourceState
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, PROGRAM_ID, STARTS_AT, Rig, ScriptedConnection

POWER, BASELINE, REDUCTION, AVAILABLE, STATE = ReportQuantity


def order(*quantities: ReportQuantity, **changes: object) -> ReportOrder:
    values = {
        "order_id": "1",
        "connection_id": CONNECTION_ID,
        "resource_id": "lab-1",
        "granularity_s": 10.0,
        "report_back_s": 30.0,
        "starts_at": STARTS_AT,
        "ends_at": None,
        "quantities": quantities,
        **changes,
    }
    return ReportOrder(**values)  # type: ignore[arg-type] - the values are the dataclass's own


def by_start(reports: list[IntervalReport]) -> dict[float, tuple[float | None, float | None, bool]]:
    return {
        (part.starts_at - STARTS_AT).total_seconds(): (part.baseline_w, part.reduction_w, part.preliminary)
        for report in reports
        for part in report.intervals
    }


async def test_reduction_is_preliminary_while_the_event_runs_and_corrected_once_it_is_settled(rig: Rig) -> None:
    rig.connection.ordered = (order(BASELINE, REDUCTION),)
    await rig.take(rig.event(in_s=60.0, lasts_s=60.0))
    await rig.run(rig.metering(), rig.reporting(), rig.dispatch(), rig.settling(), for_s=400)
    (statement,) = await rig.ledger.statements()
    first = [report for report in rig.connection.reports if not report.corrects]
    corrected = [report for report in rig.connection.reports if report.corrects]
    before, after = by_start(first), by_start(corrected)
    assert before[20.0][1:] == (0.0, False), "outside of the event the site draws what it would have"
    plan = await rig.ledger.plan(CONNECTION_ID, "peak-1")
    assert plan is not None
    assert before[80.0][0] == pytest.approx(plan.baseline_w)
    assert all(before[start][2] for start in (60.0, 70.0, 80.0, 90.0, 100.0, 110.0))
    assert before[100.0][1] is not None
    assert before[100.0][1] > 0.1 * plan.baseline_w
    assert {report.corrects for report in corrected} <= {report.report_id for report in first}
    assert all(report.report_id == f"{report.corrects}~{statement.statement_id}" for report in corrected)
    assert {60.0, 110.0} <= after.keys() <= {60.0 + 10.0 * index for index in range(6)}
    interval = statement.verified.intervals[0]
    assert after[80.0][0] == pytest.approx(interval.baseline_wh * 60.0)
    assert not any(preliminary for _, _, preliminary in after.values())


async def test_an_event_without_a_baseline_by_its_rule_is_reported_as_no_settled_zero(rig: Rig) -> None:
    rig.programs = {PROGRAM_ID: replace(PROGRAM, baseline_rule="caiso-10-in-10")}
    await rig.take(rig.event(in_s=60.0, lasts_s=60.0))
    await rig.run(rig.metering(), rig.dispatch(), rig.settling(), for_s=300)
    (statement,) = await rig.ledger.statements()
    assert statement.verified.insufficient is not None
    # A backlog: what is reported of the event only now.
    rig.connection.ordered = (order(BASELINE, REDUCTION),)
    await rig.run(rig.reporting(), for_s=30)
    told = by_start(rig.connection.reports)
    assert all(told[start][2] for start in (60.0, 80.0, 110.0))
    plan = await rig.ledger.plan(CONNECTION_ID, "peak-1")
    assert plan is not None
    assert told[80.0][0] == pytest.approx(plan.baseline_w)


async def test_a_statement_corrects_once_also_over_a_restart(rig: Rig) -> None:
    rig.connection.ordered = (order(REDUCTION),)
    await rig.take(rig.event(in_s=30.0, lasts_s=60.0))
    await rig.run(rig.metering(), rig.reporting(), rig.dispatch(), rig.settling(), for_s=300)
    await rig.run(rig.metering(), rig.reporting(), for_s=30)
    ids = [report.report_id for report in rig.connection.reports]
    assert len(ids) == len(set(ids))
    assert any("~" in report_id for report_id in ids)


async def test_power_alone_is_corrected_by_no_statement(rig: Rig) -> None:
    rig.connection.ordered = (order(POWER),)
    await rig.take(rig.event(in_s=30.0, lasts_s=60.0))
    await rig.run(rig.metering(), rig.reporting(), rig.dispatch(), rig.settling(), for_s=300)
    assert len(await rig.ledger.statements()) == 1
    assert not any(report.corrects for report in rig.connection.reports)


async def test_states_are_reported_as_they_were_at_the_end_of_each_interval(rig: Rig) -> None:
    rig.connection.ordered = (order(STATE), order(AVAILABLE, order_id="2"))
    calm = ResourceState(online=True, power_w=900.0)
    states = [calm]
    watts: list[float | None] = [500.0]

    def change() -> None:
        states[0] = ResourceState(online=True, overridden=True)
        watts[0] = None

    reporting = rig.reporting(state=lambda: states[0], available_w=lambda: watts[0])
    await rig.run(reporting, for_s=65, script={21: change})
    found: dict[str, list[object]] = {report.order_id: [] for report in rig.connection.reports}
    for report in rig.connection.reports:
        found[report.order_id] += [part.state or part.available_w for part in report.intervals]
    changed = ResourceState(online=True, overridden=True)
    assert found["1"] == [calm, calm, changed, changed, changed, changed]
    assert found["2"] == [500.0, 500.0, None, None, None, None]


async def test_what_nobody_can_tell_is_not_reported(rig: Rig) -> None:
    rig.connection.ordered = (order(STATE, AVAILABLE),)
    await rig.run(rig.reporting(), for_s=35)
    (report,) = rig.connection.reports
    assert all(part.state is None and part.available_w is None for part in report.intervals)


async def test_history_is_reported_at_once_as_it_was_measured(rig: Rig) -> None:
    await rig.run(rig.metering(), for_s=200)
    rig.connection.ordered = (
        order(
            POWER,
            history=True,
            report_back_s=0.0,
            granularity_s=60.0,
            starts_at=STARTS_AT,
            ends_at=STARTS_AT + timedelta(seconds=150),
        ),
    )
    await rig.run(rig.reporting(), for_s=5)
    (report,) = rig.connection.reports
    assert [part.duration_s for part in report.intervals] == [60.0, 60.0, 30.0]
    assert all(part.power_w is not None and part.coverage_fraction > 0.95 for part in report.intervals)


@pytest.mark.parametrize("history", [True, False])
async def test_an_order_does_not_go_on_from_one_that_had_its_end(rig: Rig, history: bool) -> None:
    first = order(POWER, history=history, report_back_s=0.0, ends_at=STARTS_AT + timedelta(seconds=20))
    later = order(POWER, order_id="2", history=history, starts_at=STARTS_AT + timedelta(seconds=50))

    def again() -> None:
        rig.connection.ordered = (later,)

    rig.connection.ordered = (first,)
    await rig.run(rig.metering(), rig.reporting(), for_s=100, script={61: again})
    starts = [
        (one.starts_at - STARTS_AT).total_seconds() for report in rig.connection.reports for one in report.intervals
    ]
    assert starts[:4] == [0.0, 10.0, 50.0, 60.0]


async def test_an_order_that_was_ended_reports_up_to_there(rig: Rig) -> None:
    def end() -> None:
        rig.connection.ordered = (order(POWER, ends_at=STARTS_AT + timedelta(seconds=44)),)

    rig.connection.ordered = (order(POWER),)
    await rig.run(rig.metering(), rig.reporting(), for_s=100, script={44: end})
    parts = [part for report in rig.connection.reports for part in report.intervals]
    assert [((part.starts_at - STARTS_AT).total_seconds(), part.duration_s) for part in parts] == [
        (0.0, 10.0),
        (10.0, 10.0),
        (20.0, 10.0),
        (30.0, 10.0),
        (40.0, 4.0),
    ]


async def test_another_order_of_the_same_id_begins_when_it_says(rig: Rig) -> None:
    rig.connection.ordered = (order(POWER, ends_at=STARTS_AT + timedelta(seconds=20)),)
    await rig.run(rig.metering(), rig.reporting(), for_s=30)
    later = STARTS_AT + timedelta(hours=1)
    await rig.run(for_s=3600)
    rig.connection.ordered = (order(POWER, starts_at=later + timedelta(seconds=30)),)
    await rig.run(rig.metering(), rig.reporting(), for_s=45)
    starts = [part.starts_at for report in rig.connection.reports for part in report.intervals]
    assert starts[2:5] == [later + timedelta(seconds=30 + 10 * index) for index in range(3)]


class Halting(ScriptedConnection):
    """A counterparty that orders what it cannot read, and halts over it."""

    halts = True

    async def send_report(self, report: IntervalReport, now: datetime) -> Receipt:
        if report.order_id == "bad" and self.halts:
            raise Rejected("EiReport: HTTP 500", code="500")
        return await super().send_report(report, now)


async def test_an_order_that_the_grid_cannot_read_holds_up_no_other(rig: Rig) -> None:
    connection = Halting()
    connection.ordered = (order(POWER, order_id="bad", report_back_s=10.0), order(POWER, report_back_s=10.0))
    await rig.run(rig.metering(), rig.reporting(connection), for_s=600)
    starts = [(one.starts_at - STARTS_AT).total_seconds() for report in connection.reports for one in report.intervals]
    assert starts == [10.0 * index for index in range(len(starts))]
    assert starts[-1] >= 570.0
    assert len(await rig.ledger.outbox(CONNECTION_ID)) <= 1, "what cannot be read is given up"


async def test_while_nothing_is_taken_nothing_is_given_up(rig: Rig) -> None:
    connection = Halting()
    connection.ordered = (order(POWER, order_id="bad", report_back_s=10.0),)

    def mend() -> None:
        connection.halts = False

    await rig.run(rig.metering(), rig.reporting(connection), for_s=900, script={700: mend})
    starts = [(one.starts_at - STARTS_AT).total_seconds() for report in connection.reports for one in report.intervals]
    assert starts == [10.0 * index for index in range(len(starts))]
    assert starts[-1] >= 850.0


async def test_a_forecast_goes_out_at_once_and_rolls_on(rig: Rig) -> None:
    later = STARTS_AT + timedelta(seconds=900)
    rig.connection.ordered = (order(POWER, report_back_s=60.0, ahead_s=120.0, granularity_s=60.0, starts_at=later),)
    await rig.run(rig.metering(), rig.reporting(), for_s=1030)
    starts = [report.intervals[0].starts_at for report in rig.connection.reports]
    assert starts == [later + timedelta(seconds=60 * turn) for turn in range(3)]
    for report in rig.connection.reports:
        assert report.created_at - report.intervals[0].starts_at < timedelta(seconds=5)
        assert [part.duration_s for part in report.intervals] == [60.0, 60.0]
        assert all(part.power_w and part.coverage_fraction == 0.0 and part.preliminary for part in report.intervals)


async def test_a_forecast_of_what_nobody_measured_lately_has_no_figure(rig: Rig) -> None:
    rig.connection.ordered = (order(POWER, report_back_s=0.0, ahead_s=60.0, granularity_s=30.0),)
    await rig.run(rig.reporting(), for_s=100)
    (report,) = rig.connection.reports
    assert [part.power_w for part in report.intervals] == [None, None]


async def test_what_can_be_shed_later_is_asked_of_who_knows(rig: Rig) -> None:
    def available_in(start: datetime, end: datetime) -> float | None:
        return 700.0 if end <= STARTS_AT + timedelta(seconds=30) else None

    rig.connection.ordered = (order(AVAILABLE, report_back_s=0.0, ahead_s=60.0, granularity_s=30.0),)
    await rig.run(rig.reporting(available_in=available_in), for_s=20)
    (report,) = rig.connection.reports
    assert [(part.available_w, part.preliminary) for part in report.intervals] == [(700.0, True), (None, True)]
