"""What a VTN remembers of those that it asks: orders, messages not taken yet, opts; and stamps of their messages."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest

from gateway.storage.nonces import SqlNonceStore
from gateway.storage.sql_ledger import SqlLedger, open_ledger
from protocols.errors import NotAuthentic
from protocols.grid import Opt, OptSchedule
from protocols.grid_report import IntervalReport, ReportInterval, ReportOrder
from protocols.party_store import PartyStore, PlacedOrder, QueuedMessage
from protocols.replay import Stamp

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def an_order(order_id: str, connection_id: str = "program") -> PlacedOrder:
    order = ReportOrder(
        order_id=order_id,
        connection_id=connection_id,
        resource_id="phx-1",
        granularity_s=60.0,
        report_back_s=300.0,
        starts_at=NOON,
        ends_at=None,
    )
    return PlacedOrder(party_id="ven-1", order=order)


def a_message(message_id: str, party_id: str = "ven-1", connection_id: str = "program") -> QueuedMessage:
    return QueuedMessage(
        connection_id=connection_id,
        party_id=party_id,
        message_id=message_id,
        name="oadrCreateReport",
        body="<é/>",
        created_at=NOON,
    )


def an_opt(opt_id: str, connection_id: str = "program") -> OptSchedule:
    return OptSchedule(
        opt_id=opt_id, connection_id=connection_id, opt=Opt.OUT, created_at=NOON, periods=((NOON, 3600.0),)
    )


async def test_orders_come_in_the_order_of_asking_and_replace_their_like(parties: PartyStore) -> None:
    for order in (an_order("b"), an_order("a"), an_order("a", "other")):
        await parties.save_placed_order(order)
    ended = replace(an_order("b"), ended_at=NOON)
    await parties.save_placed_order(ended)

    assert await parties.placed_orders("program") == (ended, an_order("a"))


async def test_messages_wait_in_order_until_they_are_taken(parties: PartyStore) -> None:
    for message in (a_message("2"), a_message("1"), a_message("2", "ven-2"), a_message("2", connection_id="other")):
        await parties.queue(message)
    again = replace(a_message("2"), body="<again/>")
    await parties.queue(again)
    assert await parties.queued("program") == (again, a_message("1"), a_message("2", "ven-2"))

    await parties.unqueue("program", "ven-1", "2")
    await parties.unqueue("program", "ven-1", "unknown")

    assert await parties.queued("program") == (a_message("1"), a_message("2", "ven-2"))
    assert await parties.queued("other") == (a_message("2", connection_id="other"),)


async def test_opts_stand_until_they_are_cancelled(parties: PartyStore) -> None:
    await parties.save_opt("ven-1", an_opt("o"))
    await parties.save_opt("ven-2", an_opt("o"))
    await parties.save_opt("ven-1", an_opt("o", "other"))
    changed = replace(an_opt("o"), opt=Opt.IN)
    await parties.save_opt("ven-1", changed)
    assert await parties.opts("program") == (("ven-1", changed), ("ven-2", an_opt("o")))

    await parties.cancel_opt("program", "ven-1", "o")

    assert await parties.opts("program") == (("ven-2", an_opt("o")),)
    assert await parties.opts("other") == (("ven-1", an_opt("o", "other")),)


async def test_a_received_report_is_found_by_its_party_and_id(parties: PartyStore) -> None:
    report = IntervalReport(
        report_id="r1",
        order_id="o1",
        connection_id="program",
        resource_id="phx-1",
        created_at=NOON,
        intervals=(ReportInterval(starts_at=NOON, duration_s=60.0, power_w=1.5, coverage_fraction=1.0),),
    )
    await parties.save_received_report("ven-1", report)

    assert await parties.received_report("program", "ven-1", "r1") == report
    assert await parties.received_report("program", "ven-2", "r1") is None


async def test_a_stamp_counts_once_over_a_restart_until_it_is_over(ledger: SqlLedger, url: str) -> None:
    stamp = Stamp(signer="AA", signed_at=NOON, nonce="n")
    others = (replace(stamp, nonce="m"), replace(stamp, signer="BB"), replace(stamp, signed_at=NOON + MINUTE))
    nonces = SqlNonceStore(ledger)
    for one in (stamp, *others):
        assert await nonces.remember(one, now=NOON, until=NOON + MINUTE)

    async with open_ledger(url, migrate=False) as restarted:
        again = SqlNonceStore(restarted)
        assert not await again.remember(stamp, now=NOON + MINUTE, until=NOON + 2 * MINUTE)
        assert await again.remember(stamp, now=NOON + 2 * MINUTE, until=NOON + 3 * MINUTE)


async def test_a_signer_who_sends_too_much_shuts_out_nobody_else(ledger: SqlLedger) -> None:
    nonces = SqlNonceStore(ledger, most_per_signer=2)
    for nonce in "ab":
        assert await nonces.remember(Stamp(signer="AA", signed_at=NOON, nonce=nonce), now=NOON, until=NOON + MINUTE)

    with pytest.raises(NotAuthentic, match="more than are"):
        await nonces.remember(Stamp(signer="AA", signed_at=NOON, nonce="c"), now=NOON, until=NOON + MINUTE)

    assert await nonces.remember(Stamp(signer="BB", signed_at=NOON, nonce="c"), now=NOON, until=NOON + MINUTE)
