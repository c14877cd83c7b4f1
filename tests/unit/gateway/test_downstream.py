"""Sites below a VTN of ours as devices, with VENs of ours at the other end that answer and report as a site would."""

from collections.abc import AsyncIterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from zoneinfo import ZoneInfo

import pytest

from gateway import app
from gateway.clock import VirtualClock
from gateway.domain.fleet import Site
from gateway.downstream import DownstreamSites, SiteBelow
from hardware.device import CapCommand, CapResult, Lease, Outcome, Quality
from hardware.errors import Condition
from hardware.job import JobAction, Verb
from protocols.grid import EventBatch, EventStatus, GridConnection, Opt, OptDecision, SignalKind
from protocols.grid_report import IntervalReport, ReportInterval

NOON = datetime(2026, 7, 1, 12, 0, tzinfo=UTC)
LEASE = Lease(epoch=1, sequence=1, duration_s=15.0)


@dataclass
class Below:
    """The site ``a`` from both ends."""

    clock: VirtualClock
    vtn: app.BuiltInVtn
    ven: GridConnection
    sites: DownstreamSites

    def pass_time(self, seconds: float) -> None:
        self.clock._now += timedelta(seconds=seconds)

    async def hears(self, opt: Opt = Opt.IN) -> EventBatch | None:
        """The site takes its turn, and answers what it is asked."""
        batch = await self.ven.receive(self.clock.now())
        if batch is not None:
            decisions = [
                OptDecision(
                    connection_id=event.connection_id,
                    event_id=event.event_id,
                    revision=event.revision,
                    opt=opt,
                    decided_at=self.clock.now(),
                )
                for event in batch.events
            ]
            await self.ven.respond(batch, decisions, self.clock.now())
        return batch

    async def reports(self, power_w: float, lasts_s: float = 2.0) -> None:
        (order,) = await self.ven.orders()
        now = self.clock.now()
        interval = ReportInterval(
            starts_at=now - timedelta(seconds=lasts_s), duration_s=lasts_s, power_w=power_w, coverage_fraction=1.0
        )
        report = IntervalReport(
            report_id=now.isoformat(),
            order_id=order.order_id,
            connection_id="a",
            resource_id=order.resource_id,
            created_at=now,
            intervals=(interval,),
        )
        await self.ven.send_report(report, now)

    async def limited(self, cap_w: float) -> CapResult:
        (result,) = await self.sites.apply([CapCommand(device_id="a", cap_w=cap_w, lease=LEASE)])
        return result


@pytest.fixture
async def below(tmp_path: Path) -> AsyncIterator[Below]:
    clock = VirtualClock(NOON)
    site = Site(site_id="a", timezone=ZoneInfo("UTC"), meter_id="site", interval_s=60)
    async with (
        app.open_record(f"sqlite+aiosqlite:///{tmp_path}/above.db", migrate=True) as above,
        app.open_record(f"sqlite+aiosqlite:///{tmp_path}/a.db", migrate=True) as ours,
    ):
        vtn = app.built_in_vtn("below", above.parties, clock)
        ven = app.joined_ven("a", vtn, ours.parties, site)
        sites = over(vtn, clock)
        made = Below(clock=clock, vtn=vtn, ven=ven, sites=sites)
        await made.hears()
        await sites.refresh()
        yield made


def over(vtn: app.BuiltInVtn, clock: VirtualClock) -> DownstreamSites:
    return DownstreamSites(
        [SiteBelow(party="a", program=vtn, min_w=2000.0, max_w=6000.0)],
        program_id="portfolio",
        clock=clock,
        hold_s=60.0,
        least_gap_s=5.0,
        silent_after_s=10.0,
    )


async def test_a_limit_holds_once_the_site_has_agreed(below: Below) -> None:
    assert (await below.limited(4000.0)).outcome is Outcome.TIMED_OUT
    batch = await below.hears()
    assert batch is not None
    (event,) = batch.events
    assert (event.signals[0].kind, event.signals[0].intervals[0].value) == (SignalKind.LIMIT, 4000.0)
    assert (event.program_id, event.duration_s) == ("portfolio", 60.0)
    result = await below.limited(4000.0)
    assert (result.outcome, result.applied_w) == (Outcome.APPLIED, 4000.0)
    assert below.sites.devices()["a"].limit_w == 4000.0


async def test_a_site_that_opts_out_refuses(below: Below) -> None:
    await below.limited(4000.0)
    await below.hears(Opt.OUT)
    assert (await below.limited(4000.0)).outcome is Outcome.REFUSED


async def test_small_changes_wait_and_large_ones_too_for_a_few_seconds(below: Below) -> None:
    await below.limited(4000.0)
    for seconds, cap_w, sent_w in (
        (6.0, 4010.0, 4000.0),
        (1.0, 3500.0, 3500.0),
        (1.0, 3000.0, 3500.0),
        (5.0, 3000.0, 3000.0),
    ):
        below.pass_time(seconds)
        await below.limited(cap_w)
        (event,) = await below.vtn.events()
        assert event.signals[0].intervals[0].value == sent_w
    assert event.revision == 2


async def test_a_limit_is_finite_and_renewed_at_half_of_its_length(below: Below) -> None:
    await below.limited(4000.0)
    below.pass_time(29.0)
    await below.limited(4000.0)
    (event,) = await below.vtn.events()
    assert (event.revision, event.ends_at) == (0, NOON + timedelta(seconds=60))
    below.pass_time(1.0)
    await below.limited(4000.0)
    (event,) = await below.vtn.events()
    assert (event.revision, event.starts_at, event.ends_at) == (1, NOON, NOON + timedelta(seconds=90))


async def test_a_limit_that_ran_out_is_an_event_of_its_own(below: Below) -> None:
    await below.limited(4000.0)
    below.pass_time(200.0)
    await below.limited(3000.0)
    first, second = await below.vtn.events()
    assert first.event_id != second.event_id
    assert (second.starts_at, second.revision) == (below.clock.now(), 0)


async def test_to_let_go_is_to_cancel_and_may_be_said_twice(below: Below) -> None:
    await below.limited(4000.0)
    for _ in range(2):
        (result,) = await below.sites.restore(["a"], 1)
        assert result.outcome is Outcome.APPLIED
    (event,) = await below.vtn.events()
    assert event.status is EventStatus.CANCELLED
    assert below.sites.devices()["a"].limit_w == 6000.0


async def test_the_next_life_takes_up_the_limits_of_the_one_before(below: Below) -> None:
    await below.limited(4000.0)
    again = over(below.vtn, below.clock)
    await again.refresh()
    assert again.devices()["a"].limit_w == 4000.0
    await again.restore(["a"], 2)
    (event,) = await below.vtn.events()
    assert event.status is EventStatus.CANCELLED


async def test_a_report_is_a_reading_and_silence_counts_as_the_usual_draw(below: Below) -> None:
    (before,) = await below.sites.read()
    assert (before.power_w, before.quality) == (6000.0, Quality.ESTIMATED)
    assert below.sites.devices()["a"].fault.condition is Condition.SILENT

    below.pass_time(40.0)
    await below.reports(3200.0)
    (reading,) = await below.sites.read()
    assert (reading.power_w, reading.quality, reading.measured_at) == (3200.0, Quality.GOOD, below.clock.now())
    assert below.sites.devices()["a"].present

    below.pass_time(11.0)
    (silent,) = await below.sites.read()
    assert (silent.power_w, silent.quality) == (3200.0, Quality.ESTIMATED)
    assert not below.sites.devices()["a"].present


async def test_what_a_site_draws_under_a_limit_is_not_its_usual_draw(below: Below) -> None:
    below.pass_time(40.0)
    await below.reports(4000.0)
    await below.sites.read()
    await below.limited(2500.0)
    below.pass_time(5.0)
    await below.reports(2500.0)
    await below.sites.read()
    (job,) = below.sites.jobs().values()
    assert job.curve[-1].power_w == 4000.0
    assert (job.curve[0].cap_w, job.weight) == (2000.0, 2.0)
    throughputs = [point.throughput for point in job.curve]
    gains = [after - before for before, after in pairwise(throughputs)]
    assert gains == sorted(gains, reverse=True), "a watt costs the more the deeper it is cut"


async def test_a_site_is_never_paused(below: Below) -> None:
    (result,) = await below.sites.act([JobAction(job_id="site a", verb=Verb.PAUSE, lease=LEASE)])
    assert result.outcome is Outcome.REFUSED
