"""The event that asks every VEN for what it verifies, all the time."""

import json
from datetime import timedelta
from typing import Any

import pytest

from protocols.grid_report import ReportOffer, ReportOrder, ReportQuantity
from protocols.openadr3 import model
from protocols.openadr3.codec import decode
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_event import read_event
from protocols.openadr3.neutral_order import read_orders
from protocols.openadr3.vtn import REPORTS, VERIFIED
from tests.openadr3_lab import NOON

OFFER = ReportOffer(resource_id="site-a", min_sampling_s=1.0, max_sampling_s=3600.0, quantities=tuple(ReportQuantity))


async def standing(lab: Any, who: str = "ven-a") -> list[dict[str, Any]]:
    _, said = await lab.ask(who, "GET", "/events")
    return [item for item in said if item["id"] == VERIFIED]


def restart(lab: Any, every_s: float | None) -> None:
    lab.more = {"verified_every_s": every_s}
    lab.start()


def orders(event: model.Event, lab: Any) -> list[ReportOrder]:
    found = read_orders(event, connection_id="c", offer=OFFER, version=Version.V3_1, received_at=lab.now)
    return [asked.order for asked in found]


@pytest.fixture
def asking(lab: Any) -> Any:
    restart(lab, 60.0)
    return lab


async def test_it_orders_baseline_and_reduction_of_each_interval_without_end_and_calls_for_nothing(asking: Any) -> None:
    lab = asking
    (said,) = await standing(lab)
    event = decode(json.dumps(said).encode(), model.Event, Version.V3_1)
    lab.later(days=400)
    baseline, reduction = orders(event, lab)
    assert baseline.quantities == (ReportQuantity.BASELINE,)
    assert reduction.quantities == (ReportQuantity.REDUCTION,)
    for order in (baseline, reduction):
        assert (order.granularity_s, order.report_back_s, order.starts_at) == (60.0, 60.0, NOON)
        assert order.ends_at is None or order.ends_at > lab.now + timedelta(days=3650)
    read = read_event(event, connection_id="c", version=Version.V3_1, received_at=lab.now)
    assert read is None or not read.signals


async def test_every_ven_reads_it_in_the_program_of_reports(asking: Any) -> None:
    assert await standing(asking, "ven-a") == await standing(asking, "ven-b") != []
    assert await asking.names("ven-b", "/programs") == [REPORTS]


async def test_it_stays_as_it_was_over_a_restart_and_changes_with_the_setting(asking: Any) -> None:
    lab = asking
    (first,) = await standing(lab)
    lab.later(minutes=10)
    restart(lab, 60.0)
    assert await standing(lab) == [first]
    restart(lab, 300.0)
    (changed,) = await standing(lab)
    event = decode(json.dumps(changed).encode(), model.Event, Version.V3_1)
    assert {order.granularity_s for order in orders(event, lab)} == {300.0}
    assert changed["createdDateTime"] == first["createdDateTime"]


async def test_without_the_setting_nobody_is_asked(lab: Any) -> None:
    assert await standing(lab) == []
