"""What other VENs fail at, each a test of ours, and what certification asks of a VEN."""

import asyncio
from collections.abc import Callable
from dataclasses import replace
from datetime import timedelta
from typing import Any

import pytest

from protocols.errors import NotRegistered, OutOfTime, Rejected, Unreachable
from protocols.grid import Opt, OptDecision
from protocols.grid_report import IntervalReport, ReportInterval, ReportOffer, ReportQuantity
from protocols.openadr2b import codec, model, model_report
from protocols.openadr2b.neutral_metadata import specifier_id
from protocols.openadr2b.neutral_report import write_report
from protocols.openadr2b.signature import encode_signed
from tests.hand_signed import VTN, signer, verifier
from tests.unit.protocols.openadr2b.conftest import NOON, REGISTERED, Joined, MemoryStore, Scripted

EVERYTHING = ReportOffer(
    resource_id="site-1",
    min_sampling_s=1,
    max_sampling_s=3600,
    quantities=tuple(ReportQuantity),
    history_s=86_400.0,
)


def said(code: str = "200", request_id: str = "r") -> model.EiResponse:
    return model.EiResponse(code=code, request_id=request_id)


def decision(event_id: str = "event-1", opt: Opt = Opt.IN) -> OptDecision:
    return OptDecision(connection_id="utility", event_id=event_id, revision=0, opt=opt, decided_at=NOON)


def asked(
    order_id: str, *quantities: ReportQuantity, history: bool = False, back_s: int = 60
) -> model_report.ReportRequest:
    return model_report.ReportRequest(
        report_request_id=order_id,
        specifier=model_report.ReportSpecifier(
            specifier_id=specifier_id("site-1", quantities, history=history),
            granularity=timedelta(seconds=60),
            report_back=timedelta(seconds=back_s),
            payloads=tuple(
                model_report.SpecifierPayload(
                    r_id="site-1" if one is ReportQuantity.POWER else f"site-1-{one}", reading_type="Mean"
                )
                for one in quantities
            ),
        ),
    )


# The checks of failures


async def test_a_ven_that_starts_before_its_vtn_keeps_trying(joined: Joined, event: Any) -> None:
    joined.broken = Unreachable("refused")
    for _ in range(5):
        with pytest.raises(Unreachable):
            await joined.ven.receive(joined.now)
    joined.broken = None
    await joined.vtn.publish(event)
    batch = await joined.ven.receive(joined.now)
    assert batch is not None
    assert [one.event_id for one in batch.events] == ["event-1"]
    assert len(await joined.vtn.parties()) == 1


async def test_after_a_restart_of_the_vtn_reports_are_offered_again(joined: Joined) -> None:
    for _ in range(2):
        await joined.ven.receive(joined.now)
    (before,) = await joined.ven.orders()
    joined.vtn_store.kept_parties.clear()
    joined.vtn = joined.new_vtn()
    # It asks us to register anew; the turn after that does.
    for _ in range(3):
        await joined.ven.receive(joined.now)
    (after,) = await joined.ven.orders()
    assert after.order_id != before.order_id
    assert len(await joined.vtn.parties()) == 1


async def test_after_a_restart_of_the_vtn_that_remembers_us_reports_are_offered_again(vtn: Any) -> None:
    """It knows our venID, and nothing of what it ordered: only the outage tells."""
    vtn.says("OadrPoll", Unreachable("refused"))
    with pytest.raises(Unreachable):
        await vtn.ven.receive(NOON)
    vtn.says("EiReport", model_report.RegisteredReport(response=said(), requests=(asked("new", ReportQuantity.POWER),)))
    await vtn.ven.receive(NOON)
    assert [order.order_id for order in await vtn.ven.orders()] == ["new"]


async def test_after_our_own_restart_events_are_asked_for(vtn: Any, distribute: model.DistributeEvent) -> None:
    vtn.ven = vtn.new_ven()
    vtn.says("EiEvent", distribute)
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
    assert [one.event_id for one in batch.events] == ["event-1"]
    assert len(vtn.sent(model.CreatePartyRegistration)) == 0


async def test_an_answer_to_a_poll_that_is_lost_is_asked_for_again(joined: Joined, event: Any) -> None:
    for _ in range(2):
        await joined.ven.receive(joined.now)
    await joined.vtn.publish(event)
    exchange = joined.ven._conversation._exchange

    async def lossy(service: str, body: bytes) -> bytes:
        await exchange(service, body)
        raise Unreachable("the answer was lost")

    joined.ven._conversation._exchange = lossy
    with pytest.raises(Unreachable):
        await joined.ven.receive(joined.now)
    joined.ven._conversation._exchange = exchange
    batch = await joined.ven.receive(joined.now)
    assert batch is not None
    assert [one.event_id for one in batch.events] == ["event-1"]


async def test_an_outage_in_an_acknowledgement_does_not_lose_it(vtn: Any, distribute: model.DistributeEvent) -> None:
    vtn.says("OadrPoll", distribute)
    batch = await vtn.ven.receive(NOON)
    vtn.says("EiEvent", Unreachable("cut"))
    with pytest.raises(Unreachable):
        await vtn.ven.respond(batch, [decision()], NOON)
    await vtn.ven.respond(batch, [decision()], NOON)
    assert len(vtn.sent(model.CreatedEvent)) == 2


async def test_one_bad_event_does_not_opt_out_of_the_others(vtn: Any, distribute: model.DistributeEvent) -> None:
    (good,) = distribute.events
    period = replace(good.event.period, duration=timedelta(hours=-1))
    descriptor = replace(good.event.descriptor, event_id="bad")
    bad = replace(good, event=replace(good.event, period=period, descriptor=descriptor))
    vtn.says("OadrPoll", replace(distribute, events=(bad, good)))
    batch = await vtn.ven.receive(NOON)
    await vtn.ven.respond(batch, [decision()], NOON)
    (created,) = vtn.sent(model.CreatedEvent)
    answers = {one.event.event_id: (one.opt, one.code) for one in created.event_responses}
    assert answers == {"bad": ("optOut", "454"), "event-1": ("optIn", "200")}


async def test_a_second_change_of_mind_is_told_as_the_first_was(vtn: Any, distribute: model.DistributeEvent) -> None:
    vtn.says("OadrPoll", distribute)
    batch = await vtn.ven.receive(NOON)
    await vtn.ven.respond(batch, [decision()], NOON)
    for opt in (Opt.OUT, Opt.IN, Opt.OUT):
        assert await vtn.ven.restate(decision(opt=opt), NOON) is None
    said_opts = [one.opt for message in vtn.sent(model.CreatedEvent) for one in message.event_responses]
    assert said_opts == ["optIn", "optOut", "optIn", "optOut"]


async def test_two_vens_in_one_process_share_nothing(valid: Callable[[bytes], None], event: Any) -> None:
    one, other = Joined(valid), Joined(valid)
    await one.vtn.publish(event)
    batches = await asyncio.gather(one.ven.receive(one.now), other.ven.receive(other.now))
    assert [len(batch.events) for batch in batches if batch is not None] == [1, 0]
    one.vtn_store.kept_parties.clear()
    one.vtn = one.new_vtn()
    assert await one.ven.receive(one.now) is None
    assert one.ven.party_ids == frozenset()
    assert other.ven.party_ids != frozenset()


@pytest.mark.parametrize("slow_s", [6.0, -6.0])
async def test_a_clock_that_is_six_seconds_wrong_is_well(store: MemoryStore, slow_s: float) -> None:
    assert await _turn_with_clock(store, slow_s) is not None


@pytest.mark.parametrize("ahead_s", [3600.0, -3600.0])
async def test_a_message_from_another_hour_is_not_taken(store: MemoryStore, ahead_s: float) -> None:
    with pytest.raises(OutOfTime, match=r"3600\.0 s"):
        await _turn_with_clock(store, ahead_s)


async def _turn_with_clock(store: MemoryStore, ahead_s: float) -> object:
    await store.save_registration(REGISTERED)
    scripted = Scripted(store, lambda _: None)

    async def exchange(service: str, body: bytes) -> bytes:
        answer = Scripted.NO_EVENTS if service == "EiEvent" else Scripted.NOTHING
        return encode_signed(answer, signer(VTN), NOON + timedelta(seconds=ahead_s))

    scripted.exchange = exchange  # type: ignore[method-assign] - a VTN that signs
    return await scripted.new_ven(signer=signer(VTN), verifier=verifier(), offers=()).receive(NOON)


# What certification asks


@pytest.fixture
async def full(store: MemoryStore, valid: Callable[[bytes], None]) -> Scripted:
    """A VEN that offers everything, registered and past its first turn."""
    await store.save_registration(REGISTERED)
    scripted = Scripted(store, valid)
    scripted.ven = scripted.new_ven(offers=(EVERYTHING,))
    scripted.says("EiReport", model_report.RegisteredReport(response=said()))
    await scripted.ven.receive(NOON)
    return scripted


async def test_rule_311_metadata_that_nobody_asked_for_has_the_request_id_0(full: Scripted) -> None:
    (offer,) = full.sent(model_report.RegisterReport)
    assert {report.report_request_id for report in offer.reports} == {"0"}
    assert {report.name for report in offer.reports} == {
        "METADATA_TELEMETRY_USAGE",
        "METADATA_TELEMETRY_STATUS",
        "METADATA_HISTORY_USAGE",
    }
    assert len(offer.reports[0].descriptions) == 1, "site power stands alone in the first report"


async def test_an_order_is_answered_with_created_report_that_lists_what_is_pending(full: Scripted) -> None:
    several = model_report.CreateReport(
        request_id="r7",
        requests=(
            asked("power", ReportQuantity.POWER),
            asked("both", ReportQuantity.BASELINE, ReportQuantity.REDUCTION),
            asked("status", ReportQuantity.STATE),
            asked("history", ReportQuantity.POWER, history=True, back_s=0),
        ),
    )
    full.says("OadrPoll", several)
    await full.ven.receive(NOON)
    (created,) = full.sent(model_report.CreatedReport)
    assert (created.response.code, created.response.request_id, created.ven_id) == ("200", "r7", "ven-1")
    # What is past can be told at once, so that nothing of it is pending.
    assert created.pending == ("power", "both", "status")
    orders = {order.order_id: order for order in await full.ven.orders()}
    assert orders["both"].quantities == (ReportQuantity.BASELINE, ReportQuantity.REDUCTION)
    assert (orders["history"].history, orders["history"].ends_at) == (True, NOON)
    assert orders["history"].starts_at == NOON - timedelta(days=1)


async def test_the_same_order_twice_is_one_order_on_its_first_grid(full: Scripted) -> None:
    twice = model_report.CreateReport(request_id="r7", requests=(asked("power", ReportQuantity.POWER),))
    full.says("OadrPoll", twice)
    await full.ven.receive(NOON)
    full.says("OadrPoll", twice)
    await full.ven.receive(NOON + timedelta(seconds=7))
    (order,) = await full.ven.orders()
    assert order.starts_at == NOON


@pytest.mark.parametrize(("to_follow", "left"), [(True, ["power"]), (False, [])])
async def test_an_order_is_cancelled_with_and_without_a_last_report(
    full: Scripted, to_follow: bool, left: list[str]
) -> None:
    full.says("OadrPoll", model_report.CreateReport(request_id="r7", requests=(asked("power", ReportQuantity.POWER),)))
    await full.ven.receive(NOON)
    later = NOON + timedelta(seconds=90)
    full.says(
        "OadrPoll",
        model_report.CancelReport(request_id="r8", report_request_ids=("power",), to_follow=to_follow),
    )
    await full.ven.receive(later)
    (canceled,) = full.sent(model_report.CanceledReport)
    assert (canceled.response.code, canceled.pending, canceled.ven_id) == ("200", (), "ven-1")
    orders = await full.ven.orders()
    assert [order.order_id for order in orders] == left
    assert all(order.ends_at == later for order in orders)


async def test_orders_that_ended_long_ago_are_forgotten(full: Scripted) -> None:
    for day in range(12):
        full.says(
            "OadrPoll",
            model_report.CreateReport(request_id="r", requests=(asked(f"once-{day}", ReportQuantity.STATE, back_s=0),)),
        )
        await full.ven.receive(NOON + timedelta(days=day))
    assert [order.order_id for order in await full.ven.orders()] == [f"once-{day}" for day in range(4, 12)]


async def test_there_is_room_for_so_many_orders(full: Scripted) -> None:
    many = tuple(asked(f"order-{index}", ReportQuantity.POWER) for index in range(130))
    full.says("OadrPoll", model_report.CreateReport(request_id="r", requests=many))
    await full.ven.receive(NOON)
    (created,) = full.sent(model_report.CreatedReport)
    assert (created.response.code, len(created.pending)) == ("461", 100)
    assert "cancel some" in (created.response.description or "")


async def test_metadata_that_is_asked_for_a_hundred_times_is_sent_a_few(full: Scripted) -> None:
    power = asked("m", ReportQuantity.POWER)
    metadata = replace(power, specifier=replace(power.specifier, specifier_id="METADATA"))
    full.heard.clear()
    full.says("OadrPoll", model_report.CreateReport(request_id="r", requests=(metadata,) * 100))
    await full.ven.receive(NOON)
    assert len(full.sent(model_report.RegisterReport)) == 4
    assert await full.ven.orders() == ()


async def test_history_is_ordered_once_and_done_when_it_is_delivered(full: Scripted) -> None:
    history = asked("history", ReportQuantity.POWER, history=True, back_s=0)
    full.says("OadrPoll", model_report.CreateReport(request_id="r", requests=(history,)))
    await full.ven.receive(NOON)
    report = IntervalReport(
        report_id="1",
        order_id="history",
        connection_id="utility",
        resource_id="site-1",
        created_at=NOON,
        intervals=(
            ReportInterval(starts_at=NOON - timedelta(hours=2), duration_s=3600.0, power_w=1.0, coverage_fraction=1.0),
        ),
    )
    await full.ven.send_report(report, NOON)
    assert len(await full.ven.orders()) == 1
    (interval,) = report.intervals
    last = replace(interval, starts_at=NOON - timedelta(hours=1))
    await full.ven.send_report(replace(report, report_id="2", intervals=(last,)), NOON)
    assert await full.ven.orders() == ()
    sent = [message.reports[0] for message in full.sent(model_report.UpdateReport)]
    assert {(one.name, one.specifier_id) for one in sent} == {("HISTORY_USAGE", "history-site-1")}


async def test_data_goes_out_under_what_was_ordered(full: Scripted) -> None:
    both = (ReportQuantity.BASELINE, ReportQuantity.REDUCTION)
    full.says("OadrPoll", model_report.CreateReport(request_id="r", requests=(asked("both", *both),)))
    await full.ven.receive(NOON)
    report = IntervalReport(
        report_id="report-1",
        order_id="both",
        connection_id="utility",
        resource_id="site-1",
        created_at=NOON,
        intervals=(
            ReportInterval(
                starts_at=NOON,
                duration_s=60.0,
                power_w=None,
                coverage_fraction=1.0,
                baseline_w=900.0,
                reduction_w=300.0,
                preliminary=True,
            ),
        ),
    )
    await full.ven.send_report(report, NOON)
    await full.ven.send_report(replace(report, report_id="else", corrects="report-1"), NOON)
    first, corrected = (message.reports[0] for message in full.sent(model_report.UpdateReport))
    assert first == write_report(report, order_id="both", quantities=both)
    assert first.specifier_id == "response-site-1"
    assert corrected.report_id == "report-1~else"


@pytest.mark.parametrize(
    "message",
    [
        model.CancelPartyRegistration(request_id="r", registration_id="registration-1", ven_id="ven-1"),
        model.RequestReregistration(ven_id="ven-1"),
        model_report.RegisterReport(request_id="r"),
        model_report.CancelReport(request_id="r", report_request_ids=("x",), to_follow=False),
        model_report.UpdateReport(request_id="r"),
    ],
)
async def test_every_answer_has_our_ven_id(vtn: Any, message: codec.Message) -> None:
    vtn.says("OadrPoll", message)
    try:
        await vtn.ven.receive(NOON)
    except NotRegistered:
        assert isinstance(message, model.CancelPartyRegistration)
    answers = [one for _, one in vtn.heard if not isinstance(one, model.Poll)]
    assert [getattr(one, "ven_id", None) for one in answers] == ["ven-1"]


async def test_a_vtn_without_one_of_the_services_is_still_polled(vtn: Any, distribute: model.DistributeEvent) -> None:
    vtn.ven = vtn.new_ven()
    vtn.says("EiEvent", Rejected("HTTP 404", code="404"))
    vtn.says("OadrPoll", distribute)
    batch = await vtn.ven.receive(NOON)
    assert batch is not None
