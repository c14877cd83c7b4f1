"""The VEN's reports, against a VTN that says what a script tells it to."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from protocols.errors import MalformedMessage, NotRegistered, ProtocolError, Rejected, Unreachable
from protocols.grid_report import IntervalReport, ReportInterval
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_metadata import specifier_id
from protocols.openadr2b.ven import MOST_MESSAGES_A_TURN

NOON = datetime(2030, 1, 31, 12, tzinfo=UTC)

Answer = codec.Message | bytes | Exception


def said(code: str = "200", request_id: str = "r") -> model.EiResponse:
    return model.EiResponse(code=code, request_id=request_id, description="as scripted")


NOTHING = model.Response(response=said(), ven_id="ven-1")
NO_EVENTS = model.DistributeEvent(request_id="r", vtn_id="VTN-1")


@pytest.fixture
def report() -> IntervalReport:
    return IntervalReport(
        report_id="report-1",
        order_id="order-1",
        connection_id="utility",
        resource_id="site-1",
        created_at=NOON,
        intervals=(ReportInterval(starts_at=NOON, duration_s=10.0, power_w=1.0, coverage_fraction=1.0),),
    )


def request(order_id: str, specifier: str = "", r_id: str = "site-1") -> model_report.ReportRequest:
    return model_report.ReportRequest(
        report_request_id=order_id,
        specifier=model_report.ReportSpecifier(
            specifier_id=specifier or specifier_id("site-1"),
            granularity=timedelta(seconds=2),
            report_back=timedelta(seconds=4),
            payloads=(model_report.SpecifierPayload(r_id=r_id, reading_type="Mean"),),
        ),
    )


async def test_polls_go_on_until_there_is_nothing_new(vtn: Any, distribute: model.DistributeEvent) -> None:
    vtn.says(
        "OadrPoll",
        model_report.CreateReport(request_id="r1", requests=(request("order-2"),)),
        model_report.RegisterReport(request_id="r2"),
        distribute,
    )
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    assert [service for service, _ in vtn.heard] == ["OadrPoll", "EiReport", "OadrPoll", "EiReport", "OadrPoll"]


async def test_a_vtn_that_never_stops_does_not_keep_the_turn(vtn: Any) -> None:
    vtn.says("OadrPoll", *[model_report.RegisterReport(request_id="r")] * 50)
    assert await vtn.ven.receive(NOON) is None
    assert len(vtn.sent(model.Poll)) == MOST_MESSAGES_A_TURN


async def test_a_report_is_ordered(vtn: Any) -> None:
    vtn.says("OadrPoll", model_report.CreateReport(request_id="r1", requests=(request("order-2"),)))
    await vtn.ven.receive(NOON)
    (answer,) = vtn.sent(model_report.CreatedReport)
    assert (answer.response.code, answer.response.request_id) == ("200", "r1")
    assert answer.pending == ("order-1", "order-2")
    assert [(order.order_id, order.granularity_s, order.report_back_s) for order in await vtn.ven.orders()] == [
        ("order-1", 10.0, 60.0),
        ("order-2", 2.0, 4.0),
    ]


@pytest.mark.parametrize("asked", [request("order-2", r_id="site-9"), request("order-2", specifier="else")])
async def test_a_report_that_we_do_not_offer_is_refused(vtn: Any, asked: model_report.ReportRequest) -> None:
    vtn.says("OadrPoll", model_report.CreateReport(request_id="r1", requests=(asked,)))
    await vtn.ven.receive(NOON)
    (answer,) = vtn.sent(model_report.CreatedReport)
    assert (answer.response.code, answer.pending) == ("461", ("order-1",))


async def test_a_request_for_metadata_is_answered_with_the_offer(vtn: Any) -> None:
    asked = request("m1", specifier="METADATA", r_id="METADATA")
    vtn.says("OadrPoll", model_report.CreateReport(request_id="r1", requests=(asked,)))
    vtn.says("EiReport", NOTHING, model_report.RegisteredReport(response=said(), requests=(asked,)))
    await vtn.ven.receive(NOON)
    (offer,) = vtn.sent(model_report.RegisterReport)
    assert offer.report_request_id == "m1"
    assert [order.order_id for order in await vtn.ven.orders()] == ["order-1"]


async def test_a_report_is_cancelled(vtn: Any) -> None:
    vtn.says(
        "OadrPoll", model_report.CancelReport(request_id="r1", report_request_ids=("order-1", "else"), to_follow=True)
    )
    await vtn.ven.receive(NOON)
    (answer,) = vtn.sent(model_report.CanceledReport)
    assert (answer.response.code, answer.response.request_id, answer.pending) == ("200", "r1", ())
    assert await vtn.ven.orders() == ()


async def test_reports_of_the_vtn_are_not_wanted(vtn: Any) -> None:
    vtn.says("OadrPoll", model_report.RegisterReport(request_id="r1"), model_report.UpdateReport(request_id="r2"))
    await vtn.ven.receive(NOON)
    (registered,) = vtn.sent(model_report.RegisteredReport)
    (updated,) = vtn.sent(model_report.UpdatedReport)
    assert (registered.response.code, registered.requests) == ("200", ())
    assert (updated.response.code, updated.response.request_id) == ("461", "r2")


async def test_the_answer_to_a_report_may_cancel_it(vtn: Any, report: IntervalReport) -> None:
    cancel = model_report.CancelReport(request_id="r5", report_request_ids=("order-1",), to_follow=False)
    vtn.says("EiReport", model_report.UpdatedReport(response=said(), cancel=cancel), Unreachable("cut"))
    receipt = await vtn.ven.send_report(report, NOON)
    assert receipt.accepted
    assert await vtn.ven.orders() == ()
    (answer,) = vtn.sent(model_report.CanceledReport)
    assert answer.response.request_id == "r5"


@pytest.mark.parametrize(
    ("answer", "code"),
    [
        (model_report.UpdatedReport(response=said("454")), "454"),
        (model.Response(response=said("459")), "459"),
        (Rejected("HTTP 400", code="400"), "400"),
        (Rejected("HTTP 413", code="413"), "413"),
    ],
)
async def test_a_report_that_is_refused_is_not_sent_again(
    vtn: Any, report: IntervalReport, answer: Answer, code: str
) -> None:
    vtn.says("EiReport", answer)
    receipt = await vtn.ven.send_report(report, NOON)
    assert (receipt.report_id, receipt.accepted, receipt.code) == ("report-1", False, code)


@pytest.mark.parametrize(
    ("answer", "fault"),
    [
        (Rejected("HTTP 500", code="500"), Rejected),
        (Rejected("HTTP 429", code="429"), Rejected),
        (model_report.UpdatedReport(response=said("500")), Rejected),
        (Unreachable("cut"), Unreachable),
        (b"", Unreachable),
        (b"<not xml", MalformedMessage),
        (NO_EVENTS, Rejected),
        (model.Poll(ven_id="ven-1"), Rejected),
        (model.Response(response=said("463")), NotRegistered),
        (model.RequestReregistration(ven_id="ven-1"), NotRegistered),
    ],
)
async def test_a_report_without_a_receipt_stays_to_be_sent(
    vtn: Any, report: IntervalReport, answer: Answer, fault: type[ProtocolError]
) -> None:
    vtn.says("EiReport", replace(answer, response=said("500")) if answer is NO_EVENTS else answer)
    with pytest.raises(fault):
        await vtn.ven.send_report(report, NOON)
    assert ("utility" in vtn.store.registrations) == (fault is not NotRegistered)
