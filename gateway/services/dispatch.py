"""Dispatch: from durable events to plans, and each second from the plans to caps on devices."""

import asyncio
from collections import deque
from collections.abc import Coroutine, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.domain.allocate import Allocator
from gateway.domain.contract import Program
from gateway.domain.control import DEFAULTS, ControlMode, ControlSettings, ControlState, ControlStep, step
from gateway.domain.electrical import ceilings_w
from gateway.domain.event import EventRecord, EventState, acts, ramp_starts_at, state
from gateway.domain.fleet import Site, allocation_jobs, device_caps
from gateway.domain.overlap import EventKey, GoverningTarget, governing_target
from gateway.domain.plan import LiveBaseline, PowerPlan, asks_later, plan
from gateway.ledger import Ledger, LogEntry, Topic
from gateway.services.actuator import Actuator, Fleet
from gateway.services.joint_plan import JointPlan
from gateway.services.learned_curves import LearnedCurves
from gateway.services.live_baselines import LiveBaselines
from gateway.services.readiness import EXPECTED_FAULTS, Readiness
from hardware.device import CapRange, Quality
from hardware.job import JobState, JobView
from protocols.grid import Opt

log = structlog.get_logger()

PERIOD_S = 1.0
REFRESH_PERIOD = timedelta(seconds=10)
STALE_AFTER = timedelta(seconds=5)
"""A reading that is older than this is no feedback any more; nor is one that a clock set back left in the future."""

LOOK_BACK = timedelta(hours=6)
"""An event that ended longer ago has nothing left to recover from."""

SHORTEST_STEP_S = 0.05
LONGEST_STEP_S = 10.0
"""So much of a pause, or of a clock that was set, counts as time for the control loop."""

WHAT_A_MODE_MEANS = {
    ControlMode.HOLD: "the last caps stay, only a lower target lowers them",
    ControlMode.BLIND: "every job is at its floor until the meter speaks",
}

PART = "dispatch"


class Dispatch:
    """The control loop. Its only memory that matters is in the ledger; a restart goes on with an event by itself.

    Control does not wait for the record: while the ledger is away an event is planned and held all the same, and what
    was decided is written down later, in order.
    """

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
        joint: JointPlan | None = None,
        curves: LearnedCurves | None = None,
        control: ControlSettings = DEFAULTS,
    ) -> None:
        self._settings = control
        self._curves = curves
        self._joint = joint or JointPlan()
        self._fleet = fleet
        self._site = site
        self._programs = programs
        self._ledger = ledger
        self._clock = clock
        self._actuator = actuator
        self._readiness = readiness
        readiness.expect(PART)
        # None until the events were read for the first time: nothing is done, nor put back, before that.
        self._records: tuple[EventRecord, ...] | None = None
        self._plans: dict[EventKey, PowerPlan] = {}
        self._baselines = LiveBaselines(ledger, site.meter_id)
        self._unwritten: deque[PowerPlan | LogEntry] = deque()
        self._jobs: tuple[JobView, ...] = ()
        self._allocator: Allocator | None = None
        self._allocated_for: tuple[tuple[str, ...], dict[str, float]] = ((), {})
        self._control = ControlState()
        self._held: set[EventKey] = set()
        self._short: set[EventKey] = set()
        self._outranked: set[EventKey] = set()
        self._unknown_names: tuple[str, ...] = ()
        self._ceilings_w: dict[str, float] = {}
        self._caps_w: dict[str, float] = {}
        self._caps_paused: tuple[str, ...] = ()
        self._refreshed_at: datetime | None = None
        self._stepped_at: datetime | None = None
        self.mode = ControlMode.IDLE
        """What the last step's budget stood on."""
        # A gateway that was killed may have left caps behind: the first step without a target puts them back.
        self._released = False

    async def run(self, stop: asyncio.Event) -> None:
        """Step each second until told to stop; then put everything back."""
        events_changed = self._ledger.subscribe(Topic.EVENTS)
        reload_due = True
        while not stop.is_set():
            reload_due |= events_changed.is_set()
            # Cleared before the events are read: a change meanwhile is seen at the next turn.
            events_changed.clear()
            troubles = []
            if reload_due:
                troubles.append(await _trouble(self._reload()))
                reload_due = troubles[0] is not None
            # Each by itself: whatever is away, the others go on.
            troubles.append(await _trouble(self._refresh()))
            troubles.append(await _trouble(self._step(self._clock.now())))
            troubles.append(await _trouble(self._write_down()))
            said = "; ".join(dict.fromkeys(trouble for trouble in troubles if trouble))
            if said:
                self._readiness.faulty(PART, said)
            else:
                self._readiness.well(PART)
            await self._clock.wait(self._clock.now() + timedelta(seconds=PERIOD_S), stop, events_changed)
        await self._put_back()

    async def _reload(self) -> None:
        """Read the events anew, and the plans that stand for their present revisions."""
        found = await self._ledger.events(since=self._clock.now() - LOOK_BACK)
        records = tuple(record for record in found if self._is_ours_to_act_on(record))
        plans: dict[EventKey, PowerPlan] = {}
        for record in records:
            key = _key(record)
            for stood in (self._plans.get(key), await self._ledger.plan(*key)):
                if stood is not None and stood.revision == record.event.revision:
                    plans[key] = stood
        self._records, self._plans = records, plans
        self._baselines.keep({_key(record) for record in records})

    async def _refresh(self) -> None:
        """Hear of devices and jobs again from time to time."""
        now = self._clock.now()
        if self._refreshed_at is not None and abs(now - self._refreshed_at) < REFRESH_PERIOD:
            return
        await self._fleet.refresh()
        self._refreshed_at = now
        most_w = self._look_at_the_tree()
        jobs = self._controllable_jobs()
        if jobs != self._jobs or most_w != self._ceilings_w:
            self._ceilings_w = most_w
            self._jobs = jobs
            self._allocator = None
            self._caps_w = {}

    def _look_at_the_tree(self) -> dict[str, float]:
        """The most that each device can have under it, to the watt; names in it that no agent has are told."""
        if self._site.tree is None:
            return {}
        devices = self._fleet.devices()
        unknown = self._site.tree.unknown_names({device_id: device.host_id for device_id, device in devices.items()})
        if unknown != self._unknown_names:
            self._unknown_names = unknown
            log.warning("tree_names_unknown", names=unknown[:8], count=len(unknown))
        return {device_id: float(round(most_w)) for device_id, most_w in ceilings_w(self._site.tree, devices).items()}

    async def _write_down(self) -> None:
        """What was decided, into the record. What cannot be written now stays, in order."""
        await self._baselines.write_down()
        while self._unwritten:
            match self._unwritten[0]:
                case PowerPlan() as made:
                    await self._ledger.record_plan(made)
                case LogEntry() as line:
                    await self._ledger.record_log(line)
            self._unwritten.popleft()

    async def _step(self, now: datetime) -> str | None:
        """One control step. Returns what is wrong in plain words, ``None`` where nothing is."""
        if self._records is None:
            return None
        for record in self._records:
            if _is_due(record, now) and _key(record) not in self._plans:
                await self._make_plan(record, now)
        running = [
            self._plans[_key(record)]
            for record in self._records
            if _key(record) in self._plans and (record.ended_at is None or now < record.ended_at)
        ]
        governing = governing_target(running, now)
        await self._plan_together(running, now)
        if governing is None:
            self._control_step(None, (), now)
            trouble = await self._release()
        else:
            trouble = await self._hold(governing, now)
        self._learn(now)
        short = self._actuator.shortfall
        return "; ".join(filter(None, (self._actuator.outbid, short, trouble))) or None

    def _control_step(self, target_w: float | None, paused: tuple[str, ...], now: datetime) -> ControlStep:
        """Feed the meters into the control loop; without a target it only keeps its estimate of other loads."""
        elapsed_s = PERIOD_S if self._stepped_at is None else (now - self._stepped_at).total_seconds()
        self._stepped_at = now
        allocator = self._allocator_with(paused)
        stepped = step(
            self._control,
            target_w=target_w,
            site_w=self._fresh_site_w(now),
            site_age_s=self._site_age_s(now),
            fleet_w=self._jobs_power_w(now),
            fleet_age_s=self._jobs_age_s(now),
            settings=self._settings,
            floor_w=allocator.floor_w,
            ceiling_w=allocator.ceiling_w,
            dt_s=min(max(elapsed_s, SHORTEST_STEP_S), LONGEST_STEP_S),
        )
        self._control, self.mode = stepped.state, stepped.mode
        return stepped

    async def _plan_together(self, running: Sequence[PowerPlan], now: datetime) -> None:
        """Have the pauses planned for all that is asked of the site; what comes of it is told to each event."""
        other_w = self._control.other_w
        if other_w is None:
            # The first step of a gateway that begins in the middle of an event: what no cap moves is not known yet.
            return
        asking = [made for made in running if asks_later(made, now)]
        said = await self._joint.keep(
            asking,
            self._jobs,
            now=now,
            fixed_w=max(0.0, other_w),
            ranges=self._ranges,
            states={job_id: job.state for job_id, job in self._fleet.jobs().items()},
            tree=self._site.tree,
            devices=self._fleet.devices,
        )
        if said is not None:
            for made in asking:
                self._say((made.connection_id, made.event_id), "scheduled", said)

    async def _make_plan(self, record: EventRecord, now: datetime) -> None:
        """Freeze the event's live baseline and plan against it."""
        baseline = await self._baselines.of(record.event, now, self._plans.values())
        if baseline is None or not self._jobs:
            # Without a single reading or device nothing can be promised; the next step tries again.
            return
        made = plan(
            record,
            self._programs[record.event.program_id],
            baseline,
            self._jobs,
            fixed_w=self._fixed_w(baseline, now),
            made_at=now,
            ranges=self._ranges(),
        )
        self._plans[_key(record)] = made
        self._unwritten.append(made)
        self._say(_key(record), "planned", made.reason)

    def _fixed_w(self, baseline: LiveBaseline, now: datetime) -> float:
        """Site power that no cap of ours moves: as it is now, since an event before may hold the fleet down already."""
        if self._control.other_w is not None:
            return max(0.0, self._control.other_w)
        fleet_w = self._jobs_power_w(now)
        return max(0.0, baseline.power_w - (self._allocator_with(()).ceiling_w if fleet_w is None else fleet_w))

    async def _hold(self, governing: GoverningTarget, now: datetime) -> str | None:
        """Bring the site to the target and keep it there."""
        if not self._jobs:
            return "no device with a job is known that could be capped"
        limit_w = self._site.import_limit_w
        target_w = governing.target_w if limit_w is None else min(governing.target_w, limit_w)
        for key in governing.event_keys:
            if key not in self._held:
                self._held.add(key)
                self._say(key, "started", f"holding the site at or under {target_w / 1000:.1f} kW")
        self._tell_outranked(governing)
        self._released = False
        paused = self._joint.paused_at(now)
        stepped = self._control_step(target_w, paused, now)
        stale = stepped.changed or not self._caps_w or paused != self._caps_paused
        if stepped.fleet_budget_w is not None and stale:
            allocation = self._allocator_with(paused).solve(stepped.fleet_budget_w)
            self._caps_w = device_caps(allocation, self._jobs, self._ranges())
            self._caps_paused = paused
        trouble = await self._actuator.hold(self._caps_w, paused)
        self._tell_shortfall(governing.event_keys)
        if stepped.mode in {ControlMode.HOLD, ControlMode.BLIND}:
            return f"the site meter is silent: {stepped.mode} ({WHAT_A_MODE_MEANS[stepped.mode]})"
        return trouble

    def _tell_outranked(self, governing: GoverningTarget) -> None:
        """Which events give way to a more important one, into the history of each, once a change."""
        for key in governing.outranked:
            if key not in self._outranked:
                self._say(key, "outranked", "a more important event of its program is in force: it waits meanwhile")
        self._outranked = set(governing.outranked)

    def _tell_shortfall(self, keys: Sequence[EventKey]) -> None:
        """What the electrical tree cannot keep, into the history of each event, at once and once."""
        short = self._actuator.shortfall
        if short is None:
            self._short.clear()
            return
        for key in keys:
            if key not in self._short:
                self._short.add(key)
                self._say(key, "shortfall", short)

    async def _release(self) -> str | None:
        """Put everything back, again and again until it is confirmed, as far as the electrical tree has room."""
        if self._released and not self._actuator.guards:
            return None
        self._caps_w = {}
        trouble = await self._actuator.release()
        if trouble is not None or self._released:
            return trouble
        self._released = True
        for key in sorted(self._held):
            self._say(key, "released", self._actuator.held_back or "every limit is put back")
        self._held.clear()
        return None

    async def _put_back(self) -> None:
        """The last act: caps are put back before the edges close. What cannot be reached restores itself by lease."""
        trouble = await _trouble(self._actuator.put_back())
        if trouble is not None:
            log.warning("not_all_put_back", reason=trouble)
        trouble = await _trouble(self._write_down())
        if trouble is not None:
            log.warning("not_written_down", entries=len(self._unwritten), reason=trouble)

    def _allocator_with(self, paused: tuple[str, ...]) -> Allocator:
        wanted = (paused, self._joint.floors)
        if self._allocator is None or self._allocated_for != wanted:
            able = allocation_jobs(self._jobs, ranges=self._ranges(), floors=self._joint.floors)
            self._allocator = Allocator(able, paused=paused)
            self._allocated_for = wanted
        return self._allocator

    def _ranges(self) -> dict[str, CapRange]:
        """The range of each device, up to what the electrical tree has room for."""
        return {
            device_id: _up_to(device.cap_range, self._ceilings_w.get(device_id))
            for device_id, device in self._fleet.devices().items()
        }

    def _controllable_jobs(self) -> tuple[JobView, ...]:
        """Jobs with a curve that run on devices we can cap: neither lost nor under somebody else's limit."""
        devices = self._fleet.devices()
        usable = {
            device_id
            for device_id, device in devices.items()
            if device.present and device_id not in self._actuator.not_ours
        }
        kept = (
            replace(job, device_ids=tuple(device_id for device_id in job.device_ids if device_id in usable))
            for job in self._fleet.jobs().values()
            if job.state in {JobState.RUNNING, JobState.PAUSED} and job.curve
        )
        # What changes from moment to moment would have the allocator rebuilt each time.
        jobs = tuple(
            replace(job, throughput=1.0, state=JobState.RUNNING, progress=None, priority=None, fault=None)
            for job in kept
            if job.device_ids
        )
        if self._curves is None:
            return jobs
        return self._curves.as_taken(jobs) if self._held else self._curves.taken_up(jobs, self._clock.now())

    def _learn(self, now: datetime) -> None:
        """Have the curves learnt from what is known now."""
        if self._curves is not None:
            self._curves.note(
                now,
                self._fleet.jobs().values(),
                readings=self._ledger.latest_readings(),
                caps_w=self._actuator.caps_w,
            )

    def _fresh_site_w(self, now: datetime) -> float | None:
        reading = self._ledger.latest_readings().get(self._site.meter_id)
        if reading is None or abs(now - reading.measured_at) > STALE_AFTER:
            return None
        return reading.power_w if reading.quality is Quality.GOOD else None

    def _site_age_s(self, now: datetime) -> float:
        """How long ago the site meter's latest reading was taken."""
        reading = self._ledger.latest_readings().get(self._site.meter_id)
        return 0.0 if reading is None else (now - reading.measured_at).total_seconds()

    def _jobs_power_w(self, now: datetime) -> float | None:
        """What the devices draw that our caps can move; ``None`` while any of them has not been heard of lately."""
        latest = self._ledger.latest_readings()
        drawn_w = 0.0
        for job in self._jobs:
            for device_id in job.device_ids:
                reading = latest.get(device_id)
                if reading is None or abs(now - reading.measured_at) > STALE_AFTER:
                    return None
                drawn_w += reading.power_w
        return drawn_w

    def _jobs_age_s(self, now: datetime) -> float | None:
        """How long ago the devices' readings were taken; they are read together."""
        reading = self._ledger.latest_readings().get(self._jobs[0].device_ids[0]) if self._jobs else None
        return None if reading is None else (now - reading.measured_at).total_seconds()

    def _is_ours_to_act_on(self, record: EventRecord) -> bool:
        event, decision = record.event, record.decision
        if not acts(event) or decision is None or decision.opt is not Opt.IN:
            return False
        if event.program_id not in self._programs:
            # It was when we opted in: the settings have changed since.
            log.warning("program_unknown", event_id=event.event_id, program_id=event.program_id)
            return False
        return True

    def _say(self, key: EventKey, what: str, detail: str) -> None:
        connection_id, event_id = key
        log.info(what, connection=connection_id, event_id=event_id, detail=detail)
        self._unwritten.append(
            LogEntry(connection_id=connection_id, event_id=event_id, at=self._clock.now(), what=what, detail=detail)
        )


async def _trouble(work: Coroutine[Any, Any, str | None]) -> str | None:
    """What went wrong in plain words, by its own account or by an expected fault; ``None`` where nothing did."""
    try:
        return await work
    except EXPECTED_FAULTS as fault:
        return str(fault) or type(fault).__name__


def _up_to(cap_range: CapRange, most_w: float | None) -> CapRange:
    if most_w is None or most_w >= cap_range.max_w:
        return cap_range
    return replace(cap_range, max_w=max(cap_range.min_w, most_w))


def _key(record: EventRecord) -> EventKey:
    return record.event.connection_id, record.event.event_id


def _is_due(record: EventRecord, now: datetime) -> bool:
    """Whether power is to move by now, and the event is not over."""
    begun = ramp_starts_at(record.event) <= now and record.ended_at is None
    return begun and state(record, now) is not EventState.COMPLETED
