from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from protocols.grid_report import ReportQuantity, ResourceState
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_metadata import METADATA
from tests.unit.protocols.openadr2b.vtn_asking import ask, data, offers, poll, registered, said, update

MINUTE = timedelta(minutes=1)


@pytest.fixture
async def ven_id(joined: Any) -> str:
    """Registered, and everything is on offer."""
    ven = await registered(joined)
    await ask(joined, "EiReport", offers(joined, ven))
    return ven


async def order(joined: Any, ven_id: str, *quantities: ReportQuantity, **more: Any) -> model_report.ReportRequest:
    """The request that a poll brings for a new order, acknowledged."""
    terms = {"granularity_s": 60, "report_back_s": 300, "starts_at": joined.now, **more}
    order_id = await joined.vtn.order_report(ven_id, "hall", quantities, **terms)
    message = await poll(joined, ven_id)
    (request,) = message.requests
    assert request.report_request_id == order_id
    await ask(joined, "EiReport", said(message, ven_id, pending=(order_id,)))
    return request


async def received(joined: Any) -> list[Any]:
    return [report for _, report in await joined.vtn.reports(joined.now - MINUTE)]


async def test_power_is_ordered_as_it_is_offered_under_the_same_id_each_time(joined: Any, ven_id: str) -> None:
    first = (await ask(joined, "EiReport", offers(joined, ven_id))).requests
    again = (await ask(joined, "EiReport", offers(joined, ven_id))).requests
    assert first == again
    ((payload,),) = [request.specifier.payloads for request in first]
    assert payload.r_id == "hall"
    (party,) = await joined.vtn.parties()
    (offer,) = party.offers
    assert (offer.resource_id, offer.quantities, offer.history_s) == ("hall", tuple(ReportQuantity), 86_400.0)


async def test_nothing_is_ordered_unasked_where_no_period_is_set(joined: Any) -> None:
    joined.vtn = joined.new_vtn(report_back_s=0.0)
    ven_id = await registered(joined)
    assert (await ask(joined, "EiReport", offers(joined, ven_id))).requests == ()
    assert (await joined.vtn.parties())[0].offers != ()


async def test_what_sites_verify_is_ordered_beside_power_once(joined: Any) -> None:
    joined.vtn = joined.new_vtn(verified_s=30.0)
    ven_id = await registered(joined)
    first = (await ask(joined, "EiReport", offers(joined, ven_id))).requests
    assert first == (await ask(joined, "EiReport", offers(joined, ven_id))).requests
    ordered = [{payload.r_id for payload in request.specifier.payloads} for request in first]
    assert ordered == [{"hall"}, {"hall-baseline", "hall-reduction"}]
    assert first[1].specifier.report_back == first[1].specifier.granularity == timedelta(seconds=30)


async def test_a_report_is_ordered_at_any_time_and_its_data_kept(joined: Any, ven_id: str) -> None:
    request = await order(
        joined, ven_id, ReportQuantity.BASELINE, ReportQuantity.REDUCTION, ends_at=joined.now + timedelta(hours=2)
    )
    assert request.specifier.report_back == 5 * MINUTE
    assert request.specifier.interval.duration == timedelta(hours=2)
    joined.vtn = joined.new_vtn()
    reported = data(joined, request, "hall-baseline", 5000.0)
    (interval,) = reported.intervals
    less = model_report.ReportPayload(r_id="hall-reduction", value=-750.0)
    both = replace(reported, intervals=(replace(interval, payloads=(*interval.payloads, less)),))
    assert (await update(joined, ven_id, both)).response.code == "200"
    (kept,) = await received(joined)
    assert (kept.resource_id, kept.intervals[0].baseline_w, kept.intervals[0].reduction_w) == ("hall", 5000.0, 750.0)


async def test_status_and_history_are_taken(joined: Any, ven_id: str) -> None:
    status = await order(joined, ven_id, ReportQuantity.STATE)
    online = model_report.ResourceStatus(online=True, manual_override=True)
    await update(joined, ven_id, data(joined, status, "hall-state", online, name="TELEMETRY_STATUS"))
    (kept,) = await received(joined)
    assert kept.intervals[0].state == ResourceState(online=True, overridden=True)

    day = joined.now - timedelta(days=1)
    history = await order(
        joined, ven_id, ReportQuantity.POWER, history=True, report_back_s=0, starts_at=day, ends_at=joined.now
    )
    assert (history.specifier.interval.starts_at, history.specifier.interval.duration) == (day, timedelta(days=1))
    past = data(joined, history, "hall", 1.0, 2.0, name="HISTORY_USAGE", report_id="past")
    assert (await update(joined, ven_id, past)).response.code == "200"
    assert [interval.power_w for interval in (await received(joined))[-1].intervals] == [1.0, 2.0]
    wanted = (await ask(joined, "EiReport", offers(joined, ven_id))).requests
    assert history.report_request_id not in {one.report_request_id for one in wanted}
    assert status.report_request_id in {one.report_request_id for one in wanted}


async def test_only_what_a_known_party_offers_is_ordered(joined: Any, ven_id: str) -> None:
    terms = {"granularity_s": 60.0, "report_back_s": 60.0, "starts_at": joined.now}
    with pytest.raises(KeyError):
        await joined.vtn.order_report("stranger", "hall", **terms)
    with pytest.raises(ValueError, match="no report of mill"):
        await joined.vtn.order_report(ven_id, "mill", **terms)
    with pytest.raises(KeyError):
        await joined.vtn.cancel_report("unknown")


@pytest.mark.parametrize("last_report", [True, False])
async def test_an_order_is_cancelled_and_what_still_comes_is_kept(joined: Any, ven_id: str, last_report: bool) -> None:
    request = await order(joined, ven_id, ReportQuantity.POWER)
    await joined.vtn.cancel_report(request.report_request_id, last_report=last_report)
    message = await poll(joined, ven_id)
    assert (message.report_request_ids, message.to_follow) == ((request.report_request_id,), last_report)
    await ask(joined, "EiReport", said(message, ven_id))
    assert isinstance(await poll(joined, ven_id), model.Response)
    assert (await update(joined, ven_id, data(joined, request, "hall", 7.0))).response.code == "200"
    assert len(await received(joined)) == 1
    wanted = (await ask(joined, "EiReport", offers(joined, ven_id))).requests
    assert request.report_request_id not in {one.report_request_id for one in wanted}


async def test_an_order_that_a_ven_will_not_serve_has_ended(joined: Any, ven_id: str) -> None:
    await joined.vtn.order_report(
        ven_id, "hall", (ReportQuantity.STATE,), granularity_s=60, report_back_s=60, starts_at=joined.now
    )
    message = await poll(joined, ven_id)
    refused = model.EiResponse(code="461", request_id=message.request_id)
    await ask(joined, "EiReport", said(message, ven_id, response=refused))
    ended = [placed for placed in await joined.vtn.orders() if placed.ended_at is not None]
    assert [placed.order.order_id for placed in ended] == [message.requests[0].report_request_id]
    assert isinstance(await poll(joined, ven_id), model.Response)


async def test_what_can_be_reported_is_asked_anew(joined: Any, ven_id: str) -> None:
    await joined.vtn.ask_for_offers(ven_id)
    message = await poll(joined, ven_id)
    (request,) = message.requests
    assert (request.specifier.specifier_id, request.specifier.payloads[0].r_id) == (METADATA, METADATA)
    await ask(joined, "EiReport", said(message, ven_id))
    anew = offers(joined, ven_id, "mill", report_request_id=request.report_request_id)
    answer = await ask(joined, "EiReport", anew)
    assert [one.specifier.payloads[0].r_id for one in answer.requests] == ["mill"]
    assert (await joined.vtn.parties())[0].offers[0].resource_id == "mill"


async def test_a_report_with_the_id_of_another_is_kept_beside_it(joined: Any, ven_id: str) -> None:
    request = await order(joined, ven_id, ReportQuantity.POWER)
    first = data(joined, request, "hall", 7.0)
    joined.now += timedelta(seconds=1)
    later = replace(data(joined, request, "hall", 8.0), intervals=data(joined, request, "hall", 8.0).intervals)
    for one in (first, later, first, later):
        assert (await update(joined, ven_id, one)).response.code == "200"
    assert [report.intervals[0].power_w for report in await received(joined)] == [7.0, 8.0]


async def test_a_correction_names_what_it_corrects(joined: Any, ven_id: str) -> None:
    request = await order(joined, ven_id, ReportQuantity.POWER)
    await update(joined, ven_id, data(joined, request, "hall", 7.0))
    await update(joined, ven_id, data(joined, request, "hall", 9.0, report_id="report-1~2"))
    assert [(report.corrects, report.intervals[0].power_w) for report in await received(joined)] == [
        ("", 7.0),
        ("report-1", 9.0),
    ]


async def test_a_report_is_taken_for_the_orders_of_its_own_party_only(joined: Any, ven_id: str) -> None:
    request = await order(joined, ven_id, ReportQuantity.POWER)
    other = await registered(joined, ven_name="another")
    good, bad = data(joined, request, "hall", 7.0), data(joined, request, "hall", 1.0, report_request_id="nobody's")
    assert (await update(joined, other, good)).response.code == "452"
    assert await received(joined) == []
    mixed = await update(joined, ven_id, bad, good)
    assert (mixed.response.code, mixed.ven_id) == ("452", ven_id)
    assert len(await received(joined)) == 1


async def test_reports_of_ours_are_neither_ordered_nor_cancelled(joined: Any, ven_id: str) -> None:
    specifier = model_report.ReportSpecifier(
        specifier_id="s",
        granularity=MINUTE,
        report_back=MINUTE,
        payloads=(model_report.SpecifierPayload(r_id="r", reading_type="Mean"),),
    )
    request = model_report.ReportRequest(report_request_id="o", specifier=specifier)
    wanted = model_report.CreateReport(request_id="q", requests=(request,), ven_id=ven_id)
    answer = await ask(joined, "EiReport", wanted)
    assert (codec.name_of(answer), answer.response.code) == ("oadrCreatedReport", "461")
    cancel = model_report.CancelReport(request_id="q", report_request_ids=("o",), to_follow=False, ven_id=ven_id)
    answer = await ask(joined, "EiReport", cancel)
    assert (codec.name_of(answer), answer.response.code) == ("oadrCanceledReport", "452")


async def test_too_many_data_points_are_refused(joined: Any, monkeypatch: pytest.MonkeyPatch, ven_id: str) -> None:
    monkeypatch.setattr("protocols.openadr2b.vtn_reports.MOST_POINTS", 2)
    answer = await ask(joined, "EiReport", offers(joined, ven_id))
    assert (answer.response.code, answer.requests) == ("451", ())
