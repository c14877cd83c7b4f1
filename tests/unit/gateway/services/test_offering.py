"""What devices want to draw, and what the site could give, on a simulated site in virtual time."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.domain.allocate import Allocator
from gateway.domain.fleet import allocation_jobs
from gateway.domain.load_kind import LoadKind
from gateway.services.dispatch import Dispatch
from gateway.services.offering import PART, Offering
from hardware.faults import Faults
from hardware.job import JobState, JobView
from protocols.grid import SignalKind
from tests.unit.gateway.services.rig import CONNECTION_ID, Rig

ASLEEP = ("inference-8b-00", "finetune-8b-01", "finetune-8b-05", "pretrain-13b-06")
"""Four of the seven jobs of the rig, a device each."""


def services(rig: Rig) -> tuple[Offering, Dispatch]:
    actuator = rig.actuator()
    offering = Offering(
        fleet=rig.fleet,
        site=rig.site,
        ledger=rig.ledger,
        clock=rig.clock,
        actuator=actuator,
        readiness=rig.readiness,
    )
    dispatch = Dispatch(
        fleet=rig.fleet,
        site=rig.site,
        programs=rig.programs,
        ledger=rig.ledger,
        clock=rig.clock,
        actuator=actuator,
        readiness=rig.readiness,
        demand=offering,
    )
    return offering, dispatch


def kinds(offering: Offering) -> dict[str, int]:
    """The kinds of device that there are."""
    assert offering.latest is not None
    return {str(kind): count for kind, count in offering.latest.kinds.items() if count}


def put_to_sleep(rig: Rig) -> None:
    """Let these jobs do nothing, and look as if they ran."""
    truly = rig.physical.jobs
    for job_id in ASLEEP:
        rig.physical.pause(job_id)

    def jobs() -> tuple[JobView, ...]:
        return tuple(replace(job, state=JobState.RUNNING) if job.job_id in ASLEEP else job for job in truly())

    rig.physical.jobs = jobs  # type: ignore[method-assign]


async def test_devices_are_unknown_at_first_and_steady_after_five_minutes(rig: Rig) -> None:
    offering, dispatch = services(rig)
    early: list[object] = []
    assert offering.latest is None
    jobs = tuple(rig.physical.jobs())
    script = {120.0: lambda: early.extend((kinds(offering), offering.in_words(jobs)))}
    await rig.run(offering, dispatch, rig.metering(), for_s=400, script=script)
    assert early == [{"unknown": 7}, "7 devices are not known long enough and count with their full draw"]
    assert kinds(offering) == {"steady": 7}
    assert rig.readiness.parts()[PART] is None
    allocator = Allocator(allocation_jobs(jobs))
    assert offering.latest is not None
    now = offering.latest.held[0]
    assert now.expected_w == pytest.approx(allocator.ceiling_w - allocator.floor_w, rel=0.05)
    assert 0.0 < now.lower_w <= now.expected_w
    assert offering.in_words(jobs) == ""
    assert offering.in_words([replace(jobs[0], job_id="new")]).startswith("1 device is not known long enough")


async def test_jobs_that_are_held_down_or_paused_do_not_look_idle(rig: Rig) -> None:
    offering, dispatch = services(rig)
    await rig.take(rig.event(in_s=350, lasts_s=2000, value=3.0))
    seen: list[object] = []
    # Twenty minutes later no window remembered is from before the event.
    script = {1550.0: lambda: seen.extend((kinds(offering), rig.capped()))}
    await rig.run(offering, dispatch, rig.metering(), for_s=1600, script=script)
    assert seen[1] == 6, "a job that is promised all of its throughput is not capped"
    assert seen[0] == {"steady": 7}


async def test_a_paused_job_becomes_unknown_not_idle(rig: Rig) -> None:
    offering, dispatch = services(rig)
    paused = ASLEEP[1]
    script = {400.0: lambda: rig.physical.pause(paused)}
    await rig.run(offering, dispatch, rig.metering(), for_s=1500, script=script)
    assert kinds(offering) == {"steady": 6, "unknown": 1}


async def test_what_the_site_gives_is_found_anew_when_a_device_is_lost(rig: Rig) -> None:
    offering, dispatch = services(rig)
    before: list[float] = []

    def lose() -> None:
        assert offering.latest is not None
        before.append(offering.latest.held[0].expected_w)
        rig.physical.inject(Faults(lost=frozenset({"h00-d1"})))

    await rig.run(offering, dispatch, rig.metering(), for_s=447, script={425.0: lose})
    assert sum(kinds(offering).values()) == 6
    assert offering.latest is not None
    assert offering.latest.held[0].expected_w < before[0]
    assert rig.clock.now() - offering.latest.at < timedelta(seconds=20)


async def test_an_event_asked_of_a_fleet_half_of_which_is_idle_is_planned_truthfully(rig: Rig) -> None:
    offering, dispatch = services(rig)
    put_to_sleep(rig)
    held_w: list[float] = []
    await rig.take(rig.event(in_s=400, lasts_s=600, kind=SignalKind.LIMIT, value=500.0))
    script = {900.0: lambda: held_w.append(rig.physical.site_w())}
    await rig.run(offering, dispatch, rig.metering(), for_s=910, script=script)
    plan = await rig.ledger.plan(CONNECTION_ID, "peak-1")
    assert plan is not None
    # The plan does not know that cooling falls, too. By nameplate it would expect 2.1 kW.
    assert held_w[0] <= plan.expected_w == pytest.approx(held_w[0], rel=0.04)
    assert plan.shortfall_w == pytest.approx(plan.expected_w - 500.0)
    assert "4 idle devices are not counted on" in plan.reason
    (said,) = (line.detail for line in await rig.ledger.log(CONNECTION_ID, "peak-1") if line.what == "planned")
    assert said == plan.reason
    assert kinds(offering) == {"idle": 4, "steady": 3}


async def test_jobs_as_drawn_have_their_present_terms_and_the_work_that_is_left(rig: Rig) -> None:
    offering, dispatch = services(rig)
    put_to_sleep(rig)
    truly = rig.physical.jobs
    rig.physical.jobs = lambda: tuple(replace(job, remaining_s=60.0) for job in truly())  # type: ignore[method-assign]
    await rig.run(offering, dispatch, rig.metering(), for_s=400)
    stripped = [replace(job, remaining_s=None) for job in rig.fleet.jobs().values()]
    drawn = offering.as_drawn(stripped)
    assert [job.remaining_s for job in drawn] == [60.0] * 7
    assert [job.job_id for job in drawn if job.curve[-1].power_w < 200.0] == list(ASLEEP)
    # Another floor than the one that was found with.
    other = offering.as_drawn([replace(job, min_throughput=0.3) for job in stripped])
    assert all(one.curve[0].cap_w < before.curve[0].cap_w for one, before in zip(other, drawn, strict=True))
    unheard = replace(stripped[0], job_id="new", device_ids=("nowhere",))
    assert offering.as_drawn([unheard]) == (unheard,)
    assert LoadKind.IDLE.value in offering.in_words(stripped)
