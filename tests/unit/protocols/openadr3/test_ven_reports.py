"""The VEN's reports: what is ordered, that each is held once whatever was lost, and how an opt is said."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from protocols.errors import Rejected, Unreachable
from protocols.grid import Opt, OptDecision, Refusal
from protocols.grid_report import IntervalReport, ReportInterval, ReportOffer, ReportOrder, ReportQuantity
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.names import Version
from protocols.openadr3.ven import NO_ANSWER
from protocols.party_store import Direction, RawMessage, StoreUnavailable
from tests.openadr3_definition import Definition
from tests.openadr3_server import NOON, Json, SmallVtn, problem, said
from tests.unit.protocols.openadr3.joined import CANCELLED, HOUR, Pair, event, program, unreachable

DEMAND = {"payloadType": "DEMAND", "units": "KW", "frequency": 1, "repeat": -1}
STATE = {"payloadType": "OPERATING_STATE"}


def asking(pair: Pair, *descriptors: Json, **fields: Any) -> str:
    program_id = pair.vtn.put("programs", program())
    return pair.vtn.put("events", event(program_id, reportDescriptors=list(descriptors or (DEMAND,)), **fields))


def measured(order: ReportOrder, power_w: float = 40_000.0, **fields: Any) -> IntervalReport:
    report = IntervalReport(
        report_id="report-1",
        order_id=order.order_id,
        connection_id="utility",
        resource_id=order.resource_id,
        created_at=NOON + 2 * HOUR,
        intervals=(ReportInterval(starts_at=NOON + HOUR, duration_s=3600.0, power_w=power_w, coverage_fraction=1.0),),
    )
    return replace(report, **fields)


async def ordered(pair: Pair, *descriptors: Json, **fields: Any) -> ReportOrder:
    asking(pair, *descriptors, **fields)
    await pair.poll()
    (order,) = await pair.ven.orders()
    return order


def power_kw(pair: Pair) -> list[float]:
    return [report["resources"][0]["intervals"][0]["payloads"][0]["values"][0] for report in pair.vtn.held("reports")]


async def test_an_event_orders_reports_until_it_is_gone(pair: Pair) -> None:
    order = await ordered(pair)
    (event_id,) = pair.vtn.objects["events"]
    assert order == ReportOrder(
        order_id=f"{event_id}.0",
        connection_id="utility",
        resource_id="site-1",
        granularity_s=3600.0,
        report_back_s=3600.0,
        starts_at=NOON + HOUR,
        ends_at=NOON + 2 * HOUR,
    )
    assert await pair.store.orders("utility") == (order,)
    pair.new_ven()
    assert await pair.ven.orders() == (order,)
    await pair.poll()
    assert await pair.ven.orders() == (order,)
    pair.vtn.objects["events"].clear()
    await pair.poll()
    assert await pair.ven.orders() == await pair.store.orders("utility") == ()


async def test_a_cancelled_event_orders_nothing(pair: Pair) -> None:
    await ordered(pair)
    (event_id,) = pair.vtn.objects["events"]
    held = pair.vtn.objects["events"][event_id]
    pair.vtn.put("events", held | CANCELLED, event_id)
    await pair.poll()
    assert await pair.ven.orders() == ()


@pytest.mark.parametrize("same_life", [True, False])
async def test_an_order_outlives_an_event_that_is_over_for_its_last_report(pair: Pair, same_life: bool) -> None:
    order = await ordered(pair)
    if not same_life:
        pair.new_ven()
    # A VTN of 3.1 lists no more what has passed, and still has it under its id.
    pair.vtn.before = lambda request: said(200, []) if request.path == "/events" else None
    await pair.poll(3 * HOUR)
    assert await pair.store.orders("utility") == (order,)
    assert (await pair.ven.send_report(measured(order), pair.now)).accepted
    await pair.poll(timedelta(days=2))
    assert await pair.ven.orders() == await pair.store.orders("utility") == ()


async def test_several_resources_have_orders_of_their_own(definitions: dict[Version, Definition]) -> None:
    offers = tuple(ReportOffer(resource_id=name, min_sampling_s=1, max_sampling_s=60) for name in ("a", "b"))
    pair = Pair(SmallVtn(definitions[Version.V3_1]), offers=offers)
    asking(pair)
    await pair.poll()
    orders = await pair.ven.orders()
    assert {order.resource_id for order in orders} == {"a", "b"}
    assert len({order.order_id for order in orders}) == 2
    for order in orders:
        await pair.ven.send_report(measured(order, report_id=f"for {order.resource_id}"), pair.now)
    assert [report["resources"][0]["resourceName"] for report in pair.vtn.held("reports")] == ["a", "b"]


async def test_what_is_not_offered_is_not_ordered(definitions: dict[Version, Definition]) -> None:
    both = (ReportQuantity.POWER, ReportQuantity.BASELINE)
    offer = ReportOffer(resource_id="a", min_sampling_s=1, max_sampling_s=60, quantities=both)
    pair = Pair(SmallVtn(definitions[Version.V3_1]), offers=(offer,))
    asking(pair, DEMAND, {"payloadType": "BASELINE", "units": "KW"}, {"payloadType": "DELTA_USAGE"})
    await pair.poll()
    assert [order.quantities for order in await pair.ven.orders()] == [(quantity,) for quantity in both]


async def test_a_programs_descriptor_says_the_unit_that_an_event_leaves_open(pair: Pair) -> None:
    said_by_program = [{"objectType": "REPORT_PAYLOAD_DESCRIPTOR", "payloadType": "READING", "units": "MW"}]
    program_id = pair.vtn.put("programs", program(payloadDescriptors=said_by_program))
    pair.vtn.put("events", event(program_id, reportDescriptors=[{"payloadType": "READING"}]))
    await pair.poll()
    (order,) = await pair.ven.orders()
    await pair.ven.send_report(measured(order), pair.now)
    assert power_kw(pair) == [0.04]


async def test_a_report_is_held_with_what_was_measured(pair: Pair) -> None:
    order = await ordered(pair)
    receipt = await pair.ven.send_report(measured(order), pair.now)
    assert (receipt.report_id, receipt.accepted, receipt.code) == ("report-1", True, "201")
    (report,) = pair.vtn.held("reports")
    assert (report["reportName"], report["clientName"]) == ("report-1", "gateway")
    assert power_kw(pair) == [40.0]


async def test_one_that_is_delivered_again_or_corrected_takes_its_own_place(pair: Pair) -> None:
    order = await ordered(pair)
    await pair.ven.send_report(measured(order), pair.now)
    assert (await pair.ven.send_report(measured(order, 41_000.0), pair.now)).code == "200"
    assert power_kw(pair) == [41.0]
    pair.new_ven()
    await pair.poll()
    corrected = measured(order, 42_000.0, report_id="report-2", corrects="report-1")
    assert (await pair.ven.send_report(corrected, pair.now)).code == "200"
    assert (await pair.ven.send_report(corrected, pair.now)).code == "200"
    assert power_kw(pair) == [42.0]
    await pair.ven.send_report(measured(order, 1_000.0, report_id="report-3"), pair.now)
    assert power_kw(pair) == [42.0, 1.0]


@pytest.mark.parametrize("new_life", [False, True])
async def test_after_a_lost_answer_it_is_found_again(pair: Pair, new_life: bool) -> None:
    order = await ordered(pair)
    pair.vtn.after = lose_answers_to("POST")
    with pytest.raises(Unreachable):
        await pair.ven.send_report(measured(order), pair.now)
    pair.vtn.after = lambda _, __: None
    if new_life:
        pair.new_ven()
        await pair.poll()
    assert (await pair.ven.send_report(measured(order), pair.now)).accepted
    (report,) = pair.vtn.held("reports")
    assert report["createdDateTime"] == report["modificationDateTime"], "and does not count as changed"
    await pair.ven.send_report(measured(order, 42_000.0), pair.now)
    assert power_kw(pair) == [42.0]


async def test_one_found_again_and_lost_later_is_made_anew(pair: Pair) -> None:
    order = await ordered(pair)
    pair.vtn.after = lose_answers_to("POST")
    with pytest.raises(Unreachable):
        await pair.ven.send_report(measured(order), pair.now)
    pair.vtn.after = lambda _, __: None
    await pair.ven.send_report(measured(order), pair.now)
    pair.vtn.forget()
    assert (await pair.ven.send_report(measured(order), pair.now)).code == "201"
    assert len(pair.vtn.held("reports")) == 1


async def test_somebody_elses_report_of_our_name_is_left_alone(pair: Pair) -> None:
    order = await ordered(pair)
    (event_id,) = pair.vtn.objects["events"]
    resource = {"resourceName": "x", "intervals": []}
    theirs = {"eventID": event_id, "clientName": "other", "reportName": "report-1", "resources": [resource]}
    pair.vtn.put("reports", theirs | {"programID": next(iter(pair.vtn.objects["programs"]))})
    everything = said(200, pair.vtn.held("reports"))
    pair.vtn.before = lambda request: everything if (request.method, request.path) == ("GET", "/reports") else None
    assert (await pair.ven.send_report(measured(order), pair.now)).code == "201"
    assert [report["clientName"] for report in pair.vtn.held("reports")] == ["other", "gateway"]


async def test_an_order_stands_while_events_may_have_been_missed(pair: Pair) -> None:
    order = await ordered(pair)
    pair.vtn.objects["events"].clear()
    pair.vtn.before = lambda request: said(200, [{"no": "id"}]) if request.path == "/events" else None
    batch = await pair.listed()
    assert not batch.complete
    assert await pair.ven.orders() == await pair.store.orders("utility") == (order,)


async def test_a_store_that_fails_after_the_answer_makes_no_second_report(pair: Pair) -> None:
    order = await ordered(pair)
    record = pair.store.record_message

    async def full(message: RawMessage) -> None:
        if message.name == "POST /reports" and message.direction is Direction.IN:
            raise StoreUnavailable("the disk is full")
        await record(message)

    pair.store.record_message = full  # type: ignore[method-assign]  # for once
    with pytest.raises(StoreUnavailable):
        await pair.ven.send_report(measured(order), pair.now)
    pair.store.record_message = record  # type: ignore[method-assign]  # well again
    assert (await pair.ven.send_report(measured(order), pair.now)).accepted
    assert len(pair.vtn.held("reports")) == 1


async def test_one_that_the_vtn_lost_is_made_anew(pair: Pair) -> None:
    order = await ordered(pair)
    await pair.ven.send_report(measured(order), pair.now)
    pair.vtn.forget()
    assert (await pair.ven.send_report(measured(order), pair.now)).code == "201"
    assert len(pair.vtn.held("reports")) == 1


async def test_a_vtn_that_lets_us_write_and_not_read_reports_has_them_all_the_same(pair: Pair) -> None:
    order = await ordered(pair)
    pair.vtn.forbidden = {("GET", "reports")}
    await pair.ven.send_report(measured(order), pair.now)
    assert (await pair.ven.send_report(measured(order), pair.now)).code == "200"
    assert len(pair.vtn.held("reports")) == 1


@pytest.mark.parametrize("status", [400, 403, 404, 422])
async def test_a_report_that_is_refused_is_not_sent_again(pair: Pair, status: int) -> None:
    order = await ordered(pair)
    pair.vtn.before = posts(problem(status, "No", "not like this"))
    receipt = await pair.ven.send_report(measured(order), pair.now)
    assert (receipt.accepted, receipt.code) == (False, str(status))
    assert "not like this" in receipt.detail


@pytest.mark.parametrize("status", [401, 408, 425, 429, 500, 503])
async def test_an_error_that_may_pass_is_raised(pair: Pair, status: int) -> None:
    order = await ordered(pair)
    pair.vtn.before = posts(problem(status, "Not now"))
    with pytest.raises(Rejected):
        await pair.ven.send_report(measured(order), pair.now)
    pair.vtn.before = lambda _: None
    assert (await pair.ven.send_report(measured(order), pair.now)).accepted


async def test_a_report_on_an_event_that_is_withdrawn_is_refused_by_us(pair: Pair) -> None:
    order = await ordered(pair)
    pair.vtn.objects["events"].clear()
    await pair.poll()
    receipt = await pair.ven.send_report(measured(order), pair.now)
    assert (receipt.accepted, receipt.detail) == (False, "the grid asks for this report no longer")


async def test_an_answer_that_cannot_be_read_is_an_acceptance_all_the_same(pair: Pair) -> None:
    order = await ordered(pair)

    def garbled(request: Request) -> Response | None:
        if request.method != "POST":
            return None
        pair.vtn.before = lambda _: None
        pair.vtn.answer(request)
        return Response(status=201, body=b"<ok/>")

    pair.vtn.before = garbled
    assert (await pair.ven.send_report(measured(order), pair.now)).accepted
    assert (await pair.ven.send_report(measured(order), pair.now)).code == "200"
    assert len(pair.vtn.held("reports")) == 1


def decision(pair: Pair, opt: Opt, at: datetime = NOON) -> OptDecision:
    (event_id,) = pair.vtn.objects["events"]
    refusal = Refusal.OPERATOR if opt is Opt.OUT else None
    return OptDecision(
        connection_id="utility", event_id=event_id, revision=1, opt=opt, decided_at=at, refusal=refusal, detail="Ann"
    )


def states(pair: Pair) -> list[str]:
    return [report["resources"][0]["intervals"][0]["payloads"][0]["values"][0] for report in pair.vtn.held("reports")]


async def test_opting_out_is_a_report_of_state_where_that_is_asked_for(pair: Pair) -> None:
    asking(pair, STATE)
    batch = await pair.ven.receive(pair.now)
    assert batch is not None
    assert batch.events[0].response_required
    await pair.ven.respond(batch, (decision(pair, Opt.OUT),), pair.now)
    assert states(pair) == ["RUNNING_OPTED_OUT"]
    assert b"Ann" not in b"".join(message.body for message in pair.store.messages)
    await pair.ven.respond(batch, (decision(pair, Opt.OUT),), pair.now)
    assert await pair.ven.restate(decision(pair, Opt.IN), pair.now) is None
    assert states(pair) == ["NORMAL"]


async def test_taking_part_is_said_only_after_we_were_out(pair: Pair) -> None:
    asking(pair, STATE)
    batch = await pair.ven.receive(pair.now)
    assert batch is not None
    await pair.ven.respond(batch, (decision(pair, Opt.IN),), pair.now)
    assert not pair.vtn.held("reports")


async def test_an_event_that_does_not_ask_hears_no_answer(pair: Pair) -> None:
    asking(pair)
    batch = await pair.ven.receive(pair.now)
    assert batch is not None
    assert not batch.events[0].response_required
    await pair.ven.respond(batch, (decision(pair, Opt.OUT),), pair.now)
    assert not pair.vtn.held("reports")
    assert await pair.ven.restate(decision(pair, Opt.OUT), pair.now) == NO_ANSWER


@pytest.mark.parametrize("fault", [None, problem(500, "No"), Response(status=200, body=b"<reports/>")])
async def test_an_opt_that_could_not_be_said_is_said_with_a_later_poll(pair: Pair, fault: Response | None) -> None:
    asking(pair, STATE)
    batch = await pair.ven.receive(pair.now)
    assert batch is not None
    pair.vtn.before = unreachable if fault is None else lambda request: fault if "reports" in request.path else None
    await pair.ven.respond(batch, (decision(pair, Opt.OUT),), pair.now)
    pair.vtn.before = lambda _: None
    assert await pair.poll() is None
    assert states(pair) == ["RUNNING_OPTED_OUT"]


async def test_an_opt_that_is_refused_for_good_is_told_to_the_operator_only(pair: Pair) -> None:
    asking(pair, STATE)
    batch = await pair.ven.receive(pair.now)
    assert batch is not None
    pair.vtn.forbidden = {("POST", "reports")}
    await pair.ven.respond(batch, (decision(pair, Opt.OUT),), pair.now)
    asked = len(pair.vtn.asked)
    await pair.poll()
    assert all(path != "/reports" for _, path in pair.vtn.asked[asked:])
    why = await pair.ven.restate(decision(pair, Opt.OUT), pair.now)
    assert why is not None
    assert "403" in why


def posts(answer: Response) -> Callable[[Request], Response | None]:
    return lambda request: answer if request.method == "POST" else None


def lose_answers_to(method: str) -> Callable[[Request, Response], None]:
    def after(request: Request, _: Response) -> None:
        if request.method == method:
            raise Unreachable("the answer was lost")

    return after
