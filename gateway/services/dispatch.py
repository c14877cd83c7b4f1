"""Dispatch: from durable events to plans, and each second from the plans to caps on devices."""

import asyncio
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any

import structlog

from gateway.clock import Clock
from gateway.domain.contract import Program
from gateway.domain.control import DEFAULTS, ControlMode, ControlSettings, ControlState, ControlStep, step
from gateway.domain.event import EventRecord, EventState, acts_at, ramp_starts_at, state
from gateway.domain.fleet import Site, device_caps
from gateway.domain.overlap import EventKey, GoverningTarget, governing_target
from gateway.domain.plan import PowerPlan, asks_later
from gateway.domain.site_curtailment import in_debt
from gateway.ledger import Ledger, Topic
from gateway.services.actuator import Actuator, Fleet
from gateway.services.decided import Decided
from gateway.services.foresight import Foresight
from gateway.services.joint_plan import JointPlan
from gateway.services.learned_curves import LearnedCurves
from gateway.services.live_baselines import LiveBaselines
from gateway.services.readiness import EXPECTED_FAULTS, Readiness
from gateway.services.shortfalls import Shortfalls
from gateway.services.site_planning import Demand, SitePlanning
from gateway.services.within_reach import BELIEVED, Believed, WithinReach
from gateway.services.work_accounts import WorkAccounts
from protocols.grid import Opt, Refusal

log = structlog.get_logger()

PERIOD_S = 1.0
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
        demand: Demand | None = None,
        believed: Believed = BELIEVED,
    ) -> None:
        self._settings = control
        self._reach = WithinReach(
            fleet=fleet, site=site, ledger=ledger, actuator=actuator, curves=curves, believed=believed
        )
        self._joint = joint or JointPlan()
        self._planning = SitePlanning(reach=self._reach, fleet=fleet, site=site, programs=programs, demand=demand)
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
        self._opted_out: tuple[EventRecord, ...] = ()
        self._plans: dict[EventKey, PowerPlan] = {}
        self._baselines = LiveBaselines(ledger, site.meter_id)
        self._decided = Decided(ledger, clock)
        self._shortfalls = Shortfalls(self._decided)
        self._accounts = WorkAccounts(ledger)
        self._foresight = Foresight(self._joint.planner, self._decided)
        self._control = ControlState()
        self._held: set[EventKey] = set()
        self._outranked: set[EventKey] = set()
        self._caps_w: dict[str, float] = {}
        self._caps_paused: tuple[str, ...] = ()
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
            troubles.append(await _trouble(self._refresh(self._clock.now())))
            troubles.append(await _trouble(self._step(self._clock.now())))
            troubles.append(await _trouble(self._write_down()))
            said = "; ".join(dict.fromkeys(trouble for trouble in troubles if trouble))
            if said:
                self._readiness.faulty(PART, said)
            else:
                self._readiness.well(PART)
            await self._clock.wait(self._clock.now() + timedelta(seconds=PERIOD_S), stop, events_changed)
        await self._put_back()

    @property
    def holds(self) -> bool:
        """Whether an event holds the site now."""
        return bool(self._held)

    def overridden_at(self, now: datetime) -> bool:
        """Whether an operator keeps us out of an event that runs."""
        return any(state(record, now) is EventState.ACTIVE for record in self._opted_out)

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
        await self._accounts.recall(self._clock.now())
        self._records, self._plans = records, plans
        self._opted_out = tuple(
            record for record in found if record.decision and record.decision.refusal is Refusal.OPERATOR
        )
        self._foresight.forget(records)
        self._baselines.keep({_key(record) for record in records})

    async def _refresh(self, now: datetime) -> None:
        if await self._reach.refresh(now, holding=bool(self._held)):
            self._caps_w = {}

    async def _write_down(self) -> None:
        """What was decided, into the record."""
        await self._baselines.write_down()
        await self._decided.write_down()
        await self._accounts.write_down(self._clock.now())

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
        await self._look_ahead(running, now)
        if governing is None:
            self._control_step(None, (), now)
            trouble = await self._release()
        else:
            trouble = await self._hold(governing, now)
        self._reach.learn(now)
        short = self._actuator.shortfall
        return "; ".join(filter(None, (self._actuator.outbid, short, trouble))) or None

    def _control_step(self, target_w: float | None, paused: tuple[str, ...], now: datetime) -> ControlStep:
        """Feed the meters into the control loop; without a target it only keeps its estimate of other loads."""
        elapsed_s = PERIOD_S if self._stepped_at is None else (now - self._stepped_at).total_seconds()
        self._stepped_at = now
        allocator = self._reach.allocator(paused, self._joint.floors)
        stepped = step(
            self._control,
            target_w=target_w,
            site_w=self._reach.site_w(now),
            site_age_s=self._reach.site_age_s(now),
            fleet_w=self._reach.jobs_w(now),
            fleet_age_s=self._reach.jobs_age_s(now),
            other_w=self._reach.others_w(now),
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
        fixed_w = max(0.0, other_w) + self._over_floor_w(now)
        said = await self._joint.keep(
            asking,
            self._reach.jobs,
            now=now,
            fixed_w=fixed_w,
            states={job_id: job.state for job_id, job in self._fleet.jobs().items()},
            asked=lambda paused_s: self._planning.problem(
                asking, now, fixed_w=fixed_w, paused_s=paused_s, accounts=self._accounts.at(now)
            ),
            indebted=lambda: in_debt(self._reach.jobs, self._accounts.at(now)),
            nominal=self._planning.nominal_floors,
        )
        if said is not None:
            for made in asking:
                self._decided.say((made.connection_id, made.event_id), "scheduled", said)

    async def _look_ahead(self, running: Sequence[PowerPlan], now: datetime) -> None:
        """Say of events that are announced what they will come to as the site is now."""
        other_w = self._control.other_w
        if other_w is None or not self._reach.jobs:
            return
        known = {(made.connection_id, made.event_id) for made in running}
        await self._foresight.look(
            [record for record in self._records or () if _key(record) not in known and record.ended_at is None],
            [made for made in running if asks_later(made, now)],
            now=now,
            provisional=lambda record: self._provisional(record, now),
            problem=lambda plans, at: self._planning.problem(plans, at, fixed_w=max(0.0, other_w)),
        )

    async def _provisional(self, record: EventRecord, now: datetime) -> PowerPlan | None:
        baseline = await self._baselines.as_it_is(record.event, now, self._plans.values())
        return (
            None
            if baseline is None
            else self._planning.plan_of(record, baseline, other_w=self._control.other_w, now=now)
        )

    def _over_floor_w(self, now: datetime) -> float:
        """What the fleet draws over its floor with every job held there: the curves do not know of it."""
        fleet_w, budget_w = self._reach.jobs_w(now), self._control.budget_w
        floor_w = self._reach.allocator(self._caps_paused, self._joint.floors).floor_w
        if fleet_w is None or budget_w is None or budget_w > floor_w:
            return 0.0
        return max(0.0, fleet_w - floor_w)

    async def _make_plan(self, record: EventRecord, now: datetime) -> None:
        """Freeze the event's live baseline and plan against it."""
        baseline = await self._baselines.of(record.event, now, self._plans.values())
        if baseline is None or not self._reach.jobs:
            # Without a single reading or device nothing can be promised; the next step tries again.
            return
        made = self._planning.plan_of(record, baseline, other_w=self._control.other_w, now=now)
        self._plans[_key(record)] = made
        self._decided.planned(made)

    async def _hold(self, governing: GoverningTarget, now: datetime) -> str | None:
        """Bring the site to the target and keep it there."""
        if not self._reach.jobs:
            return "no device with a job is known that could be capped"
        limit_w = self._site.import_limit_w
        target_w = governing.target_w if limit_w is None else min(governing.target_w, limit_w)
        for key in governing.event_keys:
            if key not in self._held:
                self._held.add(key)
                self._decided.say(key, "started", f"holding the site at or under {target_w / 1000:.1f} kW")
        self._tell_outranked(governing)
        self._released = False
        paused = self._joint.paused_at(now)
        stepped = self._control_step(target_w, paused, now)
        stale = stepped.changed or not self._caps_w or paused != self._caps_paused
        if stepped.fleet_budget_w is not None and stale:
            allocation = self._reach.allocator(paused, self._joint.floors).solve(stepped.fleet_budget_w)
            self._caps_w = device_caps(allocation, self._reach.jobs, self._reach.ranges())
            self._caps_paused = paused
            given = {job.job_id: job.throughput for job in allocation.jobs}
            self._accounts.note(now, given, self._reach.jobs)
        trouble = await self._actuator.hold(self._caps_w, paused)
        floor_w = self._reach.allocator(paused, self._joint.floors).floor_w
        self._tell_shortfalls(governing.event_keys, target_w, floor_w, now)
        if stepped.mode in {ControlMode.HOLD, ControlMode.BLIND}:
            return f"the site meter is silent or not believed: {stepped.mode} ({WHAT_A_MODE_MEANS[stepped.mode]})"
        return trouble

    def _tell_outranked(self, governing: GoverningTarget) -> None:
        """Which events give way to a more important one, into the history of each, once a change."""
        for key in governing.outranked:
            if key not in self._outranked:
                self._decided.say(key, "outranked", "it waits: a more important event of its program is in force")
        self._outranked = set(governing.outranked)

    def _tell_shortfalls(self, keys: Sequence[EventKey], target_w: float, floor_w: float, now: datetime) -> None:
        budget_w = self._control.budget_w
        over = self._shortfalls.at_the_meter(
            now,
            site_w=self._reach.site_w(now),
            target_w=target_w,
            spent=budget_w is not None and budget_w <= floor_w,
        )
        self._shortfalls.tell(keys, "tree", self._actuator.shortfall)
        self._shortfalls.tell(keys, "meter", over)

    async def _release(self) -> str | None:
        """Put everything back, again and again until it is confirmed, as far as the electrical tree has room."""
        if self._released and not self._actuator.guards:
            return None
        self._caps_w = {}
        self._accounts.rest(self._clock.now())
        trouble = await self._actuator.release()
        if trouble is not None or self._released:
            return trouble
        self._released = True
        for key in sorted(self._held):
            self._decided.say(key, "released", self._actuator.held_back or "every limit is put back")
        self._held.clear()
        return None

    async def _put_back(self) -> None:
        """The last act: caps are put back before the edges close. What cannot be reached restores itself by lease."""
        self._joint.drop()
        self._foresight.drop()
        trouble = await _trouble(self._actuator.put_back())
        if trouble is not None:
            log.warning("not_all_put_back", reason=trouble)
        trouble = await _trouble(self._write_down())
        if trouble is not None:
            log.warning("not_written_down", entries=self._decided.unwritten, reason=trouble)

    def _is_ours_to_act_on(self, record: EventRecord) -> bool:
        event, decision = record.event, record.decision
        if not acts_at(record, self._clock.now()) or decision is None or decision.opt is not Opt.IN:
            return False
        if event.program_id not in self._programs:
            # It was when we opted in: the settings have changed since.
            log.warning("program_unknown", event_id=event.event_id, program_id=event.program_id)
            return False
        return True


async def _trouble(work: Coroutine[Any, Any, str | None]) -> str | None:
    """What went wrong in plain words, by its own account or by an expected fault; ``None`` where nothing did."""
    try:
        return await work
    except EXPECTED_FAULTS as fault:
        return str(fault) or type(fault).__name__


def _key(record: EventRecord) -> EventKey:
    return record.event.connection_id, record.event.event_id


def _is_due(record: EventRecord, now: datetime) -> bool:
    """Whether power is to move by now, and the event is not over."""
    begun = ramp_starts_at(record.event) <= now and (record.ended_at is None or now < record.ended_at)
    return begun and state(record, now) is not EventState.COMPLETED
