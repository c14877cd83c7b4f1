"""Reporting: what was ordered goes out, without a gap and nothing twice, whatever is down in between."""

from datetime import timedelta
from itertools import pairwise

from structlog.testing import capture_logs

from gateway import app
from protocols.errors import Unreachable
from protocols.grid_report import IntervalReport, ReportOrder
from protocols.openadr2b.vtn import Vtn
from tests.unit.gateway.services.rig import CONNECTION_ID, STARTS_AT, Rig, ScriptedConnection


def order(**changes: object) -> ReportOrder:
    values = {
        "order_id": "1",
        "connection_id": CONNECTION_ID,
        "resource_id": "lab-1",
        "granularity_s": 5.0,
        "report_back_s": 10.0,
        "starts_at": STARTS_AT,
        "ends_at": None,
        **changes,
    }
    return ReportOrder(**values)  # type: ignore[arg-type] - the values are the dataclass's own


def starts_s(reports: list[IntervalReport]) -> list[float]:
    return [(part.starts_at - STARTS_AT).total_seconds() for report in reports for part in report.intervals]


async def test_reports_come_when_they_are_due_with_what_was_measured(rig: Rig) -> None:
    rig.connection.ordered = (order(),)
    await rig.run(rig.metering(), rig.reporting(), for_s=25)
    assert starts_s(rig.connection.reports) == [0.0, 5.0, 10.0, 15.0]
    parts = [part for report in rig.connection.reports for part in report.intervals]
    assert all(part.power_w is not None and part.coverage_fraction == 1.0 for part in parts)


async def test_an_outage_leaves_no_gap_and_nothing_goes_out_twice(rig: Rig) -> None:
    def go_down(down: bool) -> None:
        rig.connection.down = Unreachable("nobody answers") if down else None

    rig.connection.ordered = (order(),)
    await rig.run(
        rig.metering(), rig.reporting(), for_s=200, script={15: lambda: go_down(True), 120: lambda: go_down(False)}
    )
    found = starts_s(rig.connection.reports)
    assert found == sorted(set(found))
    assert {later - earlier for earlier, later in pairwise(found)} == {5.0}
    assert found[-1] >= 185.0


async def test_a_restart_goes_on_where_it_stopped(rig: Rig) -> None:
    rig.connection.ordered = (order(),)
    await rig.run(rig.metering(), rig.reporting(), for_s=35)
    await rig.run(rig.metering(), rig.reporting(), for_s=30)
    found = starts_s(rig.connection.reports)
    assert found == [5.0 * index for index in range(len(found))]
    assert len({report.report_id for report in rig.connection.reports}) == len(rig.connection.reports)


async def test_what_is_queued_goes_out_at_the_stop(rig: Rig) -> None:
    rig.connection.ordered = (order(report_back_s=5.0),)

    def go_down(down: bool) -> None:
        rig.connection.down = Unreachable("nobody answers") if down else None

    await rig.run(
        rig.metering(), rig.reporting(), for_s=30, script={2: lambda: go_down(True), 29.5: lambda: go_down(False)}
    )
    assert starts_s(rig.connection.reports) == [0.0, 5.0, 10.0, 15.0, 20.0]
    assert await rig.ledger.outbox(CONNECTION_ID) == ()


async def test_a_long_backlog_neither_holds_up_a_stop_nor_is_lost(rig: Rig) -> None:
    rig.connection.ordered = (order(granularity_s=1.0, report_back_s=1.0, starts_at=STARTS_AT - timedelta(hours=1)),)
    delivered: list[int] = []
    queue = rig.ledger.queue_report
    queued = 0

    async def count(report: IntervalReport, cursor: object) -> None:
        nonlocal queued
        queued += 1
        if queued == 50:
            delivered.append(len(rig.connection.reports))
            rig.connection.ordered = ()
        await queue(report, cursor)  # type: ignore[arg-type] - handed on as it came

    rig.ledger.queue_report = count  # type: ignore[method-assign, assignment] - counts on the way
    await rig.run(rig.reporting(), for_s=5)
    assert delivered[0] >= 40, "the first are out before the last are queued"
    assert len(rig.connection.reports) == queued


async def test_two_counterparties_may_number_their_orders_alike(rig: Rig) -> None:
    other = ScriptedConnection()
    other.connection_id = "market"
    rig.connection.ordered = (order(),)
    other.ordered = (order(connection_id="market"),)
    await rig.run(rig.metering(), rig.reporting(), rig.reporting(other), for_s=25)
    assert starts_s(rig.connection.reports) == starts_s(other.reports) == [0.0, 5.0, 10.0, 15.0]


async def test_an_order_that_begins_later_does_not_go_on_from_the_one_before_it(rig: Rig) -> None:
    def order_anew() -> None:
        rig.connection.ordered = (order(order_id="2", starts_at=STARTS_AT + timedelta(seconds=40)),)

    rig.connection.ordered = (order(),)
    await rig.run(rig.metering(), rig.reporting(), for_s=55, script={14: order_anew})
    assert starts_s(rig.connection.reports) == [0.0, 5.0, 40.0, 45.0]


async def test_what_is_ordered_once_is_reported_when_it_is_all_there(rig: Rig) -> None:
    rig.connection.ordered = (order(report_back_s=0.0, ends_at=STARTS_AT + timedelta(seconds=20)),)
    seen: list[int] = []
    await rig.run(
        rig.metering(), rig.reporting(), for_s=40, script={21: lambda: seen.append(len(rig.connection.reports))}
    )
    assert seen == [0]
    (report,) = rig.connection.reports
    assert len(report.intervals) == 4


async def test_time_without_a_reading_is_reported_as_such(rig: Rig) -> None:
    rig.connection.ordered = (order(),)
    await rig.run(rig.reporting(), for_s=13)
    (report,) = rig.connection.reports
    assert [(part.power_w, part.coverage_fraction) for part in report.intervals] == [(None, 0.0), (None, 0.0)]


async def test_a_refusal_is_said_once_and_again_after_a_report_was_taken(rig: Rig) -> None:
    def refuse(refuses: bool) -> None:
        rig.connection.refuses_reports = refuses

    rig.connection.ordered = (order(),)
    refuse(True)
    with capture_logs() as lines:
        await rig.run(
            rig.metering(), rig.reporting(), for_s=75, script={35: lambda: refuse(False), 55: lambda: refuse(True)}
        )
    assert len(rig.connection.reports) >= 6
    assert [line["code"] for line in lines if line["event"] == "report_rejected"] == ["452", "452"]


async def test_a_real_vtn_receives_every_interval_once_through_an_outage(rig: Rig) -> None:
    vtn = Vtn(
        connection_id=CONNECTION_ID,
        vtn_id="Lab-VTN",
        store=rig.parties,
        now=rig.clock.now,
        granularity_s=10.0,
        report_back_s=10.0,
    )
    ven = app.joined_ven(CONNECTION_ID, vtn, rig.parties, rig.site)
    answer = ven._conversation._exchange  # type: ignore[attr-defined] - the way to the VTN is cut for a while

    async def cut(service: str, body: bytes) -> bytes:
        raise Unreachable("the line is cut")

    def set_way(way: object) -> None:
        ven._conversation._exchange = way  # type: ignore[attr-defined] - as above

    await rig.run(
        rig.intake(ven),
        rig.reporting(ven),
        rig.metering(),
        for_s=100,
        script={25: lambda: set_way(cut), 55: lambda: set_way(answer)},
    )
    reports = [report for _, report in await vtn.reports(STARTS_AT - timedelta(days=1))]
    found = starts_s(reports)
    lengths = [part.duration_s for report in reports for part in report.intervals]
    ends = [start + length for start, length in zip(found, lengths, strict=True)]
    assert found[1:] == ends[:-1], "no gap, and nothing twice"
    # The VTN orders anew after the outage: one interval is shorter, so that the others are on the new order's grid.
    assert len([length for length in lengths if length != 10.0]) <= 1
    assert found[-1] >= 80.0
