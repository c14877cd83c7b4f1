"""Settling by sites: it waits for what sites below have still to settle, and not for ever."""

from dataclasses import replace
from datetime import datetime, timedelta

import pytest

from gateway.domain.settlement import check
from gateway.domain.site_verification import SiteBelow
from gateway.services.site_inputs import gather_stated_inputs
from protocols.grid_report import IntervalReport, ReportInterval, ReportOrder, ReportQuantity
from tests.unit.gateway.services.rig import CONNECTION_ID, PROGRAM, PROGRAM_ID, SITE, STARTS_AT, Rig

A, B = (SiteBelow(party=name, connection_id="below", party_id=f"id-{name}", weight_w=1000.0) for name in "ab")
BY_SITES = replace(PROGRAM, by_sites=True, sites_patience_s=200.0)
ORDER = ReportOrder(
    order_id="1",
    connection_id=CONNECTION_ID,
    resource_id="lab-1",
    granularity_s=10.0,
    report_back_s=30.0,
    starts_at=STARTS_AT,
    ends_at=None,
    quantities=(ReportQuantity.BASELINE, ReportQuantity.REDUCTION),
)


async def reports(
    rig: Rig, site: SiteBelow, reduction_w: float, *, preliminary: bool, after: timedelta = timedelta(minutes=1)
) -> None:
    """What a site says of two minutes, which are those of the event but for ``after``."""
    interval = ReportInterval(
        starts_at=STARTS_AT + after,
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


async def stated(rig: Rig) -> None:
    """Both sites have settled, and the statement is there."""

    async def settled() -> None:
        await reports(rig, A, 500.0, preliminary=False)
        await reports(rig, B, 300.0, preliminary=False)

    rig.connection.ordered = (ORDER,)
    await rig.run(rig.metering(), rig.reporting(), rig.settling(A, B), for_s=260, script={185: settled})
    assert len(await rig.ledger.statements()) == 1


async def last_told(rig: Rig) -> IntervalReport:
    """What we reported last of the middle of the event."""
    middle = STARTS_AT + timedelta(seconds=120)
    return [
        report
        for report in rig.connection.reports
        if any(part.starts_at == middle and part.duration_s == 10.0 for part in report.intervals)
    ][-1]


async def test_a_site_that_corrects_itself_later_is_verified_reported_and_stated_anew(
    called: Rig,
) -> None:
    rig = called
    await stated(rig)
    (statement,) = await rig.ledger.statements()
    before = await rig.ledger.verified(CONNECTION_ID, "peak-1")
    assert before == statement.verified
    first = await last_told(rig)
    assert first.intervals[0].reduction_w == pytest.approx(800.0)

    async def corrected() -> None:
        await reports(rig, A, 450.0, preliminary=False)

    # Started anew, and with B no longer below: what was verified of it before is not forgotten.
    await rig.run(rig.metering(), rig.reporting(), rig.settling(A), for_s=60, script={20: corrected})
    after = await rig.ledger.verified(CONNECTION_ID, "peak-1")
    assert after is not None
    assert sum(one.delivered_wh for one in after.intervals) == pytest.approx(750 / 30)
    first_stated, second_stated = await rig.ledger.statements()
    assert first_stated == statement
    assert second_stated.edition.supersedes == statement.statement_id
    assert second_stated.verified == after
    told = await last_told(rig)
    assert told.corrects == first.corrects != ""
    assert told.report_id != first.report_id
    assert told.intervals[0].reduction_w == pytest.approx(750.0)
    history = [line.detail for line in await rig.ledger.log(CONNECTION_ID, "peak-1") if line.what == "verified again"]
    assert history == ["a site has reported other figures: 0.025 kWh in place of 0.027 kWh"]
    again = [line.detail for line in await rig.ledger.log(CONNECTION_ID, "peak-1") if line.what == "settled again"]
    assert len(again) == 1
    assert "in place of 0.027 kWh" in again[0]
    assert again[0].endswith("reports of a came or were corrected")


async def test_a_correction_that_cannot_be_written_just_now_is_made_once_it_can(called: Rig) -> None:
    rig = called
    await stated(rig)
    before = await rig.ledger.verified(CONNECTION_ID, "peak-1")
    seen = []

    async def corrected() -> None:
        await reports(rig, A, 450.0, preliminary=False)
        rig.database.locked = True

    async def unlock() -> None:
        seen.append(await rig.ledger.verified(CONNECTION_ID, "peak-1"))
        rig.database.locked = False

    await rig.run(rig.settling(A, B), for_s=60, script={20: corrected, 40: unlock})
    assert seen == [before]
    after = await rig.ledger.verified(CONNECTION_ID, "peak-1")
    assert after is not None
    assert sum(one.delivered_wh for one in after.intervals) == pytest.approx(750 / 30)


async def test_what_a_site_says_again_or_of_another_time_is_no_new_verification(called: Rig) -> None:
    rig = called
    await stated(rig)
    before = await rig.ledger.verified(CONNECTION_ID, "peak-1")
    told = len(rig.connection.reports)

    async def same() -> None:
        await reports(rig, A, 500.0, preliminary=False)
        await reports(rig, B, 900.0, preliminary=True)

    await rig.run(rig.settling(A, B), rig.reporting(), for_s=60, script={20: same})
    assert await rig.ledger.verified(CONNECTION_ID, "peak-1") == before
    assert not any(report.corrects for report in rig.connection.reports[told:])


async def test_while_it_waits_the_record_is_read_only_when_something_of_the_event_has_come(
    called: Rig, monkeypatch: pytest.MonkeyPatch
) -> None:
    rig = called
    read_at: list[float] = []
    received = rig.ledger.received_reports

    async def counted(connection_id: str, after: datetime) -> tuple[tuple[str, IntervalReport], ...]:
        read_at.append((rig.clock.now() - STARTS_AT).total_seconds())
        return await received(connection_id, after)

    monkeypatch.setattr(rig.ledger, "received_reports", counted)

    async def of_later() -> None:
        await reports(rig, A, 500.0, preliminary=False, after=timedelta(minutes=4))

    async def preliminary() -> None:
        await reports(rig, A, 900.0, preliminary=True)

    script = {200: preliminary, 260: of_later, 300: of_later}
    await rig.run(rig.metering(), rig.settling(A, B), for_s=370, script=script)
    assert len(read_at) == 2, "once when it was over, and once for what came of it"
    assert 200 <= read_at[1] <= 205
    # At the end of patience it is read once more, and that is that.
    await rig.run(rig.settling(A, B), for_s=100)
    assert len(await rig.ledger.statements()) == 1
