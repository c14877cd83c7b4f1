"""Settling by sites: it waits for what sites below have still to settle, and not for ever."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.domain.settlement import check
from gateway.domain.site_verification import SiteBelow
from gateway.services.site_inputs import gather_stated_inputs
from protocols.grid import IntervalReport, ReportInterval
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, PROGRAM_ID, SITE, STARTS_AT, Rig

A, B = (SiteBelow(party=name, connection_id="below", party_id=f"id-{name}", weight_w=1000.0) for name in "ab")
BY_SITES = replace(PROGRAM, by_sites=True, sites_patience_s=200.0)


async def reports(rig: Rig, site: SiteBelow, reduction_w: float, *, preliminary: bool) -> None:
    """What a site says of an event from a minute after the beginning on, two minutes long."""
    interval = ReportInterval(
        starts_at=STARTS_AT + timedelta(minutes=1),
        duration_s=120.0,
        power_w=None,
        coverage_fraction=1.0,
        baseline_w=2000.0,
        reduction_w=reduction_w,
        preliminary=preliminary,
    )
    report = IntervalReport(
        report_id=f"{site.party}-{rig.clock.now().isoformat()}",
        order_id=f"order-{site.party}",
        connection_id="below",
        resource_id="it",
        created_at=rig.clock.now(),
        intervals=(interval,),
    )
    assert await rig.parties.save_received_report(site.party_id, report)


@pytest.fixture
async def called(rig: Rig) -> Rig:
    rig.programs = {PROGRAM_ID: BY_SITES}
    await rig.take(rig.event(in_s=60, lasts_s=120))
    return rig


async def test_the_statement_is_there_once_all_sites_have_settled_and_follows_from_their_reports(called: Rig) -> None:
    rig = called
    seen: list[int] = []

    async def preliminary() -> None:
        await reports(rig, A, 900.0, preliminary=True)
        await reports(rig, B, 300.0, preliminary=False)

    async def look() -> None:
        seen.append(len(await rig.ledger.statements()))
        await reports(rig, A, 500.0, preliminary=False)

    await rig.run(rig.metering(), rig.settling(A, B), for_s=280, script={185: preliminary, 250: look})
    assert seen == [0]
    (statement,) = await rig.ledger.statements()
    assert [part.delivered_wh for part in statement.verified.sites] == pytest.approx([500 / 30, 10.0])
    assert sum(one.delivered_wh for one in statement.verified.intervals) == pytest.approx(800 / 30)
    assert "power reports come to" in statement.notes[-1]
    # What a site says afterwards changes nothing of what was stated.
    await reports(rig, A, 1.0, preliminary=False)
    record = await rig.ledger.event(CONNECTION_ID, "peak-1")
    assert record is not None
    stated = await gather_stated_inputs(rig.ledger, SITE, record, statement.verified.sites)
    assert check(statement, stated, BY_SITES) is None


async def test_a_site_that_never_settles_is_waited_for_so_long_and_named(called: Rig) -> None:
    rig = called
    seen: list[int] = []

    async def settled() -> None:
        await reports(rig, A, 500.0, preliminary=False)

    async def look() -> None:
        seen.append(len(await rig.ledger.statements()))

    await rig.run(rig.metering(), rig.settling(A, B), for_s=400, script={185: settled, 375: look})
    assert seen == [0]
    (statement,) = await rig.ledger.statements()
    assert {one.coverage_fraction for one in statement.verified.intervals} == {0.5}
    assert statement.verified.sites[1].reason == "has reported no baseline or reduction of this time"
