from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.ledger import Ledger
from gateway.storage.party_store import SqlPartyStore
from gateway.storage.sql_ledger import open_ledger
from protocols.grid import EventStatus, GridEvent, Opt, OptDecision, Party
from protocols.grid_report import IntervalReport, ReportInterval, ReportOffer, ReportOrder
from protocols.party_store import PartyStore, Registration

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def a_registration(**changes) -> Registration:
    registration = Registration(
        connection_id="utility",
        registration_id="reg-1",
        party_id="ven-1",
        counterparty_id="vtn-1",
        poll_s=10.5,
        registered_at=NOON,
    )
    return replace(registration, **changes)


def an_order(order_id: str = "o1", **changes) -> ReportOrder:
    order = ReportOrder(
        order_id=order_id,
        connection_id="utility",
        resource_id="phx-1",
        granularity_s=60.0,
        report_back_s=300.0,
        starts_at=NOON,
        ends_at=None,
    )
    return replace(order, **changes)


def a_party(party_id: str = "ven-1", **changes) -> Party:
    party = Party(
        connection_id="program",
        party_id=party_id,
        registration_id="reg-1",
        name="phx",
        registered_at=NOON,
        offers=(ReportOffer(resource_id="phx-1", min_sampling_s=1.0, max_sampling_s=3600.0),),
    )
    return replace(party, **changes)


def an_event(event_id: str = "e1", revision: int = 0, **changes) -> GridEvent:
    event = GridEvent(
        event_id=event_id,
        connection_id="program",
        program_id="srp-peak",
        revision=revision,
        status=EventStatus.FAR,
        created_at=NOON,
        starts_at=NOON,
        duration_s=3600.0,
        signals=(),
    )
    return replace(event, **changes)


def an_answer(opt: Opt = Opt.IN, event_id: str = "e1") -> OptDecision:
    return OptDecision(connection_id="program", event_id=event_id, revision=0, opt=opt, decided_at=NOON)


def a_report(report_id: str = "r1", minutes: int = 0, **changes) -> IntervalReport:
    report = IntervalReport(
        report_id=report_id,
        order_id="o1",
        connection_id="program",
        resource_id="phx-1",
        created_at=NOON + minutes * MINUTE,
        intervals=(ReportInterval(starts_at=NOON, duration_s=60.0, power_w=1.5, coverage_fraction=1.0),),
    )
    return replace(report, **changes)


async def test_a_registration_is_kept_replaced_and_forgotten_with_its_orders(parties: PartyStore) -> None:
    assert await parties.registration("utility") is None
    await parties.save_registration(a_registration())
    await parties.save_registration(a_registration(registration_id="reg-2"))
    await parties.save_registration(a_registration(connection_id="market"))
    await parties.save_order(an_order())
    await parties.save_order(an_order(connection_id="market"))
    assert await parties.registration("utility") == a_registration(registration_id="reg-2")

    await parties.forget_registration("utility")

    assert await parties.registration("utility") is None
    assert await parties.orders("utility") == ()
    assert await parties.registration("market") == a_registration(connection_id="market")
    assert await parties.orders("market") == (an_order(connection_id="market"),)
    await parties.forget_registration("utility")


async def test_an_order_replaces_the_one_with_its_id(parties: PartyStore) -> None:
    await parties.save_order(an_order())
    await parties.save_order(an_order("o2", starts_at=NOON - MINUTE))
    await parties.save_order(an_order(granularity_s=0.0, ends_at=NOON + MINUTE))

    assert await parties.orders("utility") == (
        an_order("o2", starts_at=NOON - MINUTE),
        an_order(granularity_s=0.0, ends_at=NOON + MINUTE),
    )


async def test_a_cancelled_order_is_gone_and_no_other(parties: PartyStore) -> None:
    for order in (an_order(), an_order("o2"), an_order(connection_id="market")):
        await parties.save_order(order)

    await parties.cancel_order("utility", "o1")
    await parties.cancel_order("utility", "unknown")

    assert await parties.orders("utility") == (an_order("o2"),)
    assert await parties.orders("market") == (an_order(connection_id="market"),)


async def test_a_party_replaces_the_one_with_its_id(parties: PartyStore) -> None:
    await parties.save_party(a_party("ven-2", registered_at=NOON + MINUTE))
    await parties.save_party(a_party())
    await parties.save_party(a_party(offers=()))
    await parties.save_party(a_party(connection_id="other"))

    assert await parties.parties("program") == (a_party(offers=()), a_party("ven-2", registered_at=NOON + MINUTE))
    assert await parties.parties("nobody") == ()


async def test_issued_events_are_the_latest_revisions_oldest_first(parties: PartyStore) -> None:
    for event in (an_event("b"), an_event("a"), an_event("b", 2), an_event("b", 1), an_event(connection_id="other")):
        await parties.save_issued_event(event)
    await parties.save_issued_event(an_event("a", status=EventStatus.ACTIVE))

    assert await parties.issued_events("program") == (an_event("b", 2), an_event("a", status=EventStatus.ACTIVE))


async def test_issued_events_are_not_events_we_were_asked(parties: PartyStore, ledger: Ledger) -> None:
    await parties.save_issued_event(an_event())

    assert await ledger.events() == ()


async def test_the_last_answer_of_each_party_counts(parties: PartyStore) -> None:
    await parties.save_answer("ven-2", an_answer())
    await parties.save_answer("ven-1", an_answer())
    await parties.save_answer("ven-1", an_answer(Opt.OUT))
    await parties.save_answer("ven-1", an_answer(event_id="e2"))

    assert await parties.answers("program", "e1") == (("ven-1", an_answer(Opt.OUT)), ("ven-2", an_answer()))
    assert await parties.answers("program", "e3") == ()
    assert await parties.answers("other", "e1") == ()


async def test_a_report_delivered_again_counts_once(parties: PartyStore) -> None:
    assert await parties.save_received_report("ven-1", a_report()) is True
    assert await parties.save_received_report("ven-1", a_report(minutes=5)) is False
    # Another party, or another connection, may well count its reports in the same way.
    assert await parties.save_received_report("ven-2", a_report()) is True
    assert await parties.save_received_report("ven-1", a_report(connection_id="other")) is True

    received = await parties.received_reports("program", NOON - MINUTE)
    assert received == (("ven-1", a_report()), ("ven-2", a_report()))


async def test_received_reports_are_those_after_the_instant_oldest_first(parties: PartyStore) -> None:
    for minutes in (3, 1, 2, 0):
        await parties.save_received_report("ven-1", a_report(f"r{minutes}", minutes))

    received = await parties.received_reports("program", NOON + MINUTE)

    assert [report.report_id for _, report in received] == ["r2", "r3"]


async def test_what_came_since_is_told_once_in_the_order_of_arrival_whenever_it_was_created(
    parties: PartyStore, ledger: Ledger
) -> None:
    await parties.save_received_report("ven-1", a_report("before", 9))
    number, none = await ledger.received_since("program", None)
    assert none == ()

    for name, minutes, connection_id in (("late", 3, "program"), ("early", 1, "program"), ("else", 2, "other")):
        await parties.save_received_report("ven-1", a_report(name, minutes, connection_id=connection_id))

    number, new = await ledger.received_since("program", number)
    assert [(party_id, report.report_id) for party_id, report in new] == [("ven-1", "late"), ("ven-1", "early")]
    assert (await ledger.received_since("program", number))[1] == ()


async def test_each_call_is_durable_when_it_returns(parties: PartyStore, url: str) -> None:
    await parties.save_registration(a_registration())
    await parties.save_party(a_party())
    await parties.save_answer("ven-1", an_answer())

    async with open_ledger(url, migrate=False) as restarted:
        store = SqlPartyStore(restarted)
        assert await store.registration("utility") == a_registration()
        assert await store.parties("program") == (a_party(),)
        assert await store.answers("program", "e1") == (("ven-1", an_answer()),)


async def test_an_instant_without_a_zone_is_refused(parties: PartyStore) -> None:
    with pytest.raises(ValueError, match="time zone"):
        await parties.save_party(a_party(registered_at=datetime(2026, 7, 1)))  # noqa: DTZ001 - the case in question

    assert await parties.parties("program") == ()
