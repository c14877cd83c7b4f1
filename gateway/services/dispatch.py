"""Dispatch: from durable events to plans, and each second from the plans to caps on devices."""

import asyncio
from collections.abc import Mapping
from dataclasses import replace
from datetime import datetime, timedelta

import structlog

from gateway.clock import Clock
from gateway.domain.allocate import Allocator
from gateway.domain.contract import Program
from gateway.domain.control import ControlMode, ControlState, ControlStep, step
from gateway.domain.event import EventRecord, EventState, acts, dispatch_ends_at, ramp_starts_at, state
from gateway.domain.fleet import Site, allocation_jobs, device_caps
from gateway.domain.measurement import mean_power
from gateway.domain.plan import LiveBaseline, PowerPlan, governing_target, pauses_at, plan
from gateway.ledger import Ledger, LogEntry, Topic
from gateway.services.actuator import Actuator, Fleet
from gateway.services.readiness import EXPECTED_FAULTS, Readiness
from hardware.device import CapRange, Quality
from hardware.job import JobState, JobView
from protocols.grid import GridEvent, Opt

log = structlog.get_logger()

PERIOD_S = 1.0
BASELINE_WINDOW = timedelta(minutes=15)
REFRESH_PERIOD = timedelta(seconds=10)
STALE_AFTER_S = 5.0
"""A reading of the site meter that is older than this is no feedback any more."""

LOOK_BACK = timedelta(hours=6)
"""An event that ended longer ago has nothing left to recover from."""

SHORTEST_STEP_S = 0.05

WHAT_A_MODE_MEANS = {
    ControlMode.HOLD: "the last caps stay, only a lower target lowers them",
    ControlMode.BLIND: "every job is at its floor until the meter speaks",
}

PART = "dispatch"


class Dispatch:
    """The control loop. Its only memory that matters is in the ledger; a restart goes on with an event by itself."""

    def __init__(
        self,
        *,
        fleet: Fleet,
        site: Site,
        programs: Mapping[str, Program],
        ledger: Ledger,
        clock: Clock,
        actuator: Actuator,
        readiness: Readiness,
    ) -> None:
        self._fleet = fleet
        self._site = site
        self._programs = programs
        self._ledger = ledger
        self._clock = clock
        self._actuator = actuator
        self._readiness = readiness
        self._records: tuple[EventRecord, ...] = ()
        self._plans: dict[tuple[str, str], PowerPlan] = {}
        self._jobs: tuple[JobView, ...] = ()
        self._allocator: Allocator | None = None
        self._allocated_paused: tuple[str, ...] = ()
        self._control = ControlState()
        self._holding = False
        self._caps_w: dict[str, float] = {}
        self._caps_paused: tuple[str, ...] = ()
        self._refreshed_at: datetime | None = None
        self._stepped_at: datetime | None = None
        # A gateway that was killed may have left caps behind: the first step without a target puts them back.
        self._released = False

    async def run(self, stop: asyncio.Event) -> None:
        """Step each second until told to stop; then put everything back."""
        events_changed = self._ledger.subscribe(Topic.EVENTS)
        events_changed.set()
        while not stop.is_set():
            try:
                if events_changed.is_set():
                    await self._reload()
                    events_changed.clear()
                await self._refresh()
                trouble = await self._step(self._clock.now())
            except EXPECTED_FAULTS as fault:
                trouble = str(fault) or type(fault).__name__
            if trouble is None:
                self._readiness.well(PART)
            else:
                self._readiness.faulty(PART, trouble)
            await self._clock.wait(self._clock.now() + timedelta(seconds=PERIOD_S), stop, events_changed)
        await self._put_back()

    async def _reload(self) -> None:
        """Read the events anew, and the plans that stand for their present revisions."""
        records = await self._ledger.events(since=self._clock.now() - LOOK_BACK)
        self._records = tuple(record for record in records if _is_ours_to_act_on(record))
        plans: dict[tuple[str, str], PowerPlan] = {}
        for record in self._records:
            stood = await self._ledger.plan(record.event.connection_id, record.event.event_id)
            if stood is not None and stood.revision == record.event.revision:
                plans[_key(record)] = stood
        self._plans = plans

    async def _refresh(self) -> None:
        """Hear of devices and jobs again from time to time."""
        now = self._clock.now()
        if self._refreshed_at is not None and now - self._refreshed_at < REFRESH_PERIOD:
            return
        await self._fleet.refresh()
        self._refreshed_at = now
        jobs = self._controllable_jobs()
        if jobs != self._jobs:
            self._jobs = jobs
            self._allocator = None
            self._caps_w = {}

    async def _step(self, now: datetime) -> str | None:
        """One control step. Returns what is wrong in plain words, ``None`` where nothing is."""
        for record in self._records:
            due = ramp_starts_at(record.event) <= now and record.ended_at is None
            if due and _key(record) not in self._plans and state(record, now) is not EventState.COMPLETED:
                await self._make_plan(record, now)
        running = [
            self._plans[_key(record)]
            for record in self._records
            if _key(record) in self._plans and (record.ended_at is None or now < record.ended_at)
        ]
        governing = governing_target(running, now)
        if governing is None:
            self._control_step(None, (), now)
            return await self._release(now)
        most_w = governing.target_w if self._site.import_limit_w is None else self._site.import_limit_w
        return await self._hold(min(governing.target_w, most_w), self._plans[governing.event_keys[0]], now)

    def _control_step(self, target_w: float | None, paused: tuple[str, ...], now: datetime) -> ControlStep:
        """Feed the meters into the control loop; without a target it only keeps its estimate of other loads."""
        elapsed_s = PERIOD_S if self._stepped_at is None else (now - self._stepped_at).total_seconds()
        self._stepped_at = now
        allocator = self._allocator_with(paused)
        stepped = step(
            self._control,
            target_w=target_w,
            site_w=self._fresh_site_w(now),
            fleet_w=self._jobs_power_w(now),
            floor_w=allocator.floor_w,
            ceiling_w=allocator.ceiling_w,
            dt_s=max(elapsed_s, SHORTEST_STEP_S),
        )
        self._control = stepped.state
        return stepped

    async def _make_plan(self, record: EventRecord, now: datetime) -> None:
        """Freeze the event's live baseline, plan against it, and make both durable before anything is written."""
        event = record.event
        baseline = await self._live_baseline(event, now)
        if baseline is None:
            # Without a single reading nothing can be promised; the next step tries again.
            return
        frozen = await self._ledger.freeze_baseline(baseline)
        fleet_w = self._jobs_power_w(now)
        if fleet_w is None:
            fleet_w = self._allocator_with(()).ceiling_w
        made = plan(
            record,
            self._programs[event.program_id],
            frozen,
            self._jobs,
            fixed_w=max(0.0, frozen.power_w - fleet_w),
            made_at=now,
            ranges=self._ranges(),
        )
        await self._ledger.record_plan(made)
        await self._say(made, "planned", made.reason)
        self._plans[_key(record)] = made

    async def _live_baseline(self, event: GridEvent, now: datetime) -> LiveBaseline | None:
        """Mean site power over the last 15 minutes before the ramp, or over what there is.

        While another event holds the site down its own frozen baseline stands in: what we curtail now must not lower
        what the next event is measured from.
        """
        to_at = min(ramp_starts_at(event), now)
        held = [plan_ for plan_ in self._plans.values() if governing_target([plan_], to_at) is not None]
        if held:
            power_w, count, from_at = held[0].baseline_w, 0, to_at
        else:
            from_at = to_at - BASELINE_WINDOW
            readings = await self._ledger.readings_between(self._site.meter_id, from_at, to_at)
            mean = mean_power(readings, from_at, to_at)
            if mean is None:
                latest = self._ledger.latest_readings().get(self._site.meter_id)
                if latest is None:
                    return None
                mean = (latest.power_w, 1)
                from_at, to_at = latest.measured_at, now
            power_w, count = mean
        return LiveBaseline(
            connection_id=event.connection_id,
            event_id=event.event_id,
            power_w=power_w,
            from_at=from_at,
            to_at=to_at,
            readings=count,
        )

    async def _hold(self, target_w: float, governing: PowerPlan, now: datetime) -> str | None:
        """Bring the site to the target and keep it there."""
        if not self._jobs:
            return "no device with a job is known that could be capped"
        if not self._holding:
            log.info("holding", event_id=governing.event_id, target_w=round(target_w))
            await self._say(governing, "started", f"holding the site at or under {target_w / 1000:.1f} kW")
        self._holding, self._released = True, False
        paused = pauses_at(governing, now)
        stepped = self._control_step(target_w, paused, now)
        stale = stepped.changed or not self._caps_w or paused != self._caps_paused
        if stepped.fleet_budget_w is not None and stale:
            allocation = self._allocator_with(paused).solve(stepped.fleet_budget_w)
            self._caps_w = device_caps(allocation, self._jobs, self._ranges())
            self._caps_paused = paused
        trouble = await self._actuator.hold(self._caps_w, paused)
        if stepped.mode in {ControlMode.HOLD, ControlMode.BLIND}:
            return f"the site meter is silent: {stepped.mode} ({WHAT_A_MODE_MEANS[stepped.mode]})"
        return trouble

    async def _release(self, now: datetime) -> str | None:
        """Put everything back, again and again until it is confirmed."""
        if self._released:
            return None
        trouble = await self._actuator.release()
        self._released = trouble is None
        if self._holding:
            log.info("released", trouble=trouble)
            for record in self._records:
                end = dispatch_ends_at(record)
                if _key(record) in self._plans and end is not None and end <= now < end + timedelta(minutes=1):
                    await self._say(self._plans[_key(record)], "released", trouble or "every limit is put back")
        self._holding = False
        self._caps_w = {}
        return trouble

    async def _put_back(self) -> None:
        """The last act: caps are put back before the edges close. What cannot be reached restores itself by lease."""
        try:
            trouble = await self._actuator.release()
        except EXPECTED_FAULTS as fault:
            trouble = str(fault)
        if trouble is not None:
            log.warning("not_all_put_back", reason=trouble)

    def _allocator_with(self, paused: tuple[str, ...]) -> Allocator:
        if self._allocator is None or self._allocated_paused != paused:
            self._allocator = Allocator(allocation_jobs(self._jobs, ranges=self._ranges()), paused=paused)
            self._allocated_paused = paused
        return self._allocator

    def _ranges(self) -> dict[str, CapRange]:
        return {device_id: device.cap_range for device_id, device in self._fleet.devices().items()}

    def _controllable_jobs(self) -> tuple[JobView, ...]:
        """Jobs that run on devices we can cap: neither lost nor under somebody else's limit."""
        devices = self._fleet.devices()
        usable = {
            device_id
            for device_id, device in devices.items()
            if device.present and device_id not in self._actuator.not_ours
        }
        kept = (
            replace(job, device_ids=tuple(device_id for device_id in job.device_ids if device_id in usable))
            for job in self._fleet.jobs().values()
            if job.state is not JobState.FINISHED
        )
        # What changes from moment to moment would have the allocator rebuilt each time.
        return tuple(replace(job, throughput=1.0, state=JobState.RUNNING) for job in kept if job.device_ids)

    def _fresh_site_w(self, now: datetime) -> float | None:
        reading = self._ledger.latest_readings().get(self._site.meter_id)
        if reading is None or (now - reading.measured_at).total_seconds() > STALE_AFTER_S:
            return None
        return reading.power_w if reading.quality is Quality.GOOD else None

    def _jobs_power_w(self, now: datetime) -> float | None:
        """What the devices draw that our caps can move; ``None`` while any of them has not been heard of lately."""
        latest = self._ledger.latest_readings()
        drawn_w = 0.0
        for job in self._jobs:
            for device_id in job.device_ids:
                reading = latest.get(device_id)
                if reading is None or (now - reading.measured_at).total_seconds() > STALE_AFTER_S:
                    return None
                drawn_w += reading.power_w
        return drawn_w

    async def _say(self, of: PowerPlan, what: str, detail: str) -> None:
        await self._ledger.record_log(
            LogEntry(
                connection_id=of.connection_id, event_id=of.event_id, at=self._clock.now(), what=what, detail=detail
            )
        )


def _key(record: EventRecord) -> tuple[str, str]:
    return record.event.connection_id, record.event.event_id


def _is_ours_to_act_on(record: EventRecord) -> bool:
    return acts(record.event) and record.decision is not None and record.decision.opt is Opt.IN
