"""Reports that are ordered one by one: events that ask for nothing else, read by our own VEN as orders."""

from datetime import timedelta
from typing import Any

import pytest

from gateway.storage.object_store import SqlObjectStore
from protocols.grid_report import ReportOffer, ReportQuantity
from protocols.openadr3.client_http import Request, Response
from protocols.openadr3.ven import LOOK_AFTER_S, Ven
from protocols.openadr3.vtn_parties import stored_parties
from tests.openadr3_lab import NOON
from tests.unit.protocols.openadr2b.conftest import MemoryStore

POWER = (ReportQuantity.POWER,)


def ven_of(lab: Any) -> Ven:
    """Our VEN, joined to the VTN by a function."""

    async def exchange(request: Request, now: Any) -> Response:
        answer = await lab.raw("ven-a", request.method, request.path, request.body or None, **_query(request))
        return Response(status=answer.status, body=answer.body)

    return Ven(
        connection_id="utility",
        ven_name="name of ven-a",
        exchange=exchange,
        store=MemoryStore(),
        offers=(
            ReportOffer(
                resource_id="site-1",
                min_sampling_s=1,
                max_sampling_s=3600,
                quantities=(ReportQuantity.POWER, ReportQuantity.REDUCTION),
            ),
        ),
    )


def _query(request: Request) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for key, value in request.query:
        found.setdefault(key, []).append(value)
    return found


async def turn(ven: Ven, lab: Any) -> None:
    batch = await ven.receive(lab.now)
    if batch is not None:
        await ven.respond(batch, (), lab.now)


async def test_our_ven_reads_an_order_just_as_it_was_placed_and_forgets_a_cancelled_one(lab: Any) -> None:
    ven = ven_of(lab)
    await turn(ven, lab)
    (party,) = await lab.vtn.parties()
    order_id = await lab.vtn.order_report(
        party.party_id,
        "",
        (ReportQuantity.POWER, ReportQuantity.REDUCTION),
        granularity_s=60.0,
        report_back_s=300.0,
        starts_at=NOON,
        ends_at=NOON + timedelta(hours=1),
        order_id="order-1",
    )
    lab.later(seconds=LOOK_AFTER_S)
    await turn(ven, lab)
    orders = await ven.orders()
    assert [order.quantities for order in orders] == [POWER, (ReportQuantity.REDUCTION,)]
    for order in orders:
        assert (order.granularity_s, order.report_back_s) == (60.0, 300.0)
        assert (order.starts_at, order.ends_at) == (NOON, NOON + timedelta(hours=1))

    await lab.vtn.cancel_report(order_id)
    lab.later(seconds=10)
    await turn(ven, lab)
    assert await ven.orders() == ()
    (placed,) = await lab.start().orders()
    assert (placed.order.order_id, placed.ended_at) == ("order-1", NOON + timedelta(seconds=LOOK_AFTER_S))


async def test_only_the_ven_that_is_asked_can_read_an_order_and_twice_is_once(lab: Any) -> None:
    ours, _ = await lab.grant("ven-a"), await lab.grant("ven-b")
    for _ in range(2):
        await lab.vtn.order_report(
            ours["id"], "", POWER, granularity_s=60.0, report_back_s=60.0, starts_at=NOON, order_id="order-1"
        )
    assert await lab.names("ven-a", "/events", targets=ours["id"]) == ["order-1"]
    _, seen = await lab.ask("ven-b", "GET", "/events", targets=ours["id"])
    assert "order-1" not in str(seen)
    assert len(await lab.vtn.orders()) == 1


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"history": True}, "no reports of the past"),
        ({"report_back_s": 90.0}, "not of whole intervals"),
        ({"report_back_s": 0.0}, "needs an end"),
        ({"granularity_s": 0.0}, "a second or more"),
        ({"resource_id": "rack-1"}, "leave the resource out"),
    ],
)
async def test_what_3_1_cannot_ask_for_is_refused_and_leaves_nothing(
    lab: Any, changes: dict[str, Any], why: str
) -> None:
    ours = await lab.grant("ven-a")
    wish = {"resource_id": "", "granularity_s": 60.0, "report_back_s": 60.0, "starts_at": NOON} | changes
    with pytest.raises(ValueError, match=why):
        await lab.vtn.order_report(ours["id"], quantities=POWER, **wish)
    assert await lab.vtn.orders() == ()
    assert await lab.names("bl", "/events") == []


async def test_a_ven_that_is_cancelled_is_deleted_with_its_orders_ended(lab: Any) -> None:
    ours = await lab.grant("ven-a", "west")
    store = SqlObjectStore(lab.ledger)
    (listed,) = await stored_parties(store, lab.connection_id)
    assert (listed.name, listed.detail) == ("name of ven-a", "west")
    await lab.vtn.order_report(ours["id"], "", POWER, granularity_s=60.0, report_back_s=60.0, starts_at=NOON)
    await lab.vtn.cancel_registration(ours["id"])
    assert await lab.vtn.parties() == await stored_parties(store, lab.connection_id) == ()
    (placed,) = await lab.vtn.orders()
    assert placed.ended_at == lab.now


async def test_words_that_3_1_does_not_have_are_refused(lab: Any) -> None:
    with pytest.raises(ValueError, match="no word to ask"):
        await lab.vtn.ask_to_reregister("id-1")
    with pytest.raises(ValueError, match="one last report"):
        await lab.vtn.cancel_report("order-1", last_report=True)
