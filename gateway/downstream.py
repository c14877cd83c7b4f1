"""Sites below us, each as a device: its reports are a meter, a limit on its import, sent through our VTN, is a cap.

A limit is an event of finite length that is renewed by revisions, so that a site that loses us is free again by itself.
The site below holds it by its own control; what it opted out of, or has not answered yet, does not count as held. A
site that is silent counts with what it usually draws: nothing is taken for load that was shed.

Built on the faces alone: which dialect a site speaks, its VTN knows.
"""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import ceil
from typing import Protocol, runtime_checkable

import structlog

from gateway.attach import ClosableFleet
from gateway.clock import Clock
from gateway.domain.site_verification import SiteBelow as VerifyingSite
from hardware.device import (
    CapCommand,
    CapRange,
    CapResult,
    DeviceView,
    Fault,
    Outcome,
    PowerReading,
    Quality,
)
from hardware.errors import Condition
from hardware.job import CurvePoint, JobAction, JobResult, JobView
from protocols.errors import ProtocolError
from protocols.grid import EventInterval, EventStatus, GridEvent, GridProgram, Opt, Signal, SignalKind, Target
from protocols.grid_report import IntervalReport

log = structlog.get_logger()

PREFIX = "gridgate-limit-"
"""Of the ids of our limits: those of a life before this one are known by it."""

SEGMENTS = 32
"""Of a site's curve: a watt costs more the deeper it is cut, so that all give the same share of their range."""

SETTLED_S = 30.0
"""So long after a limit what a site draws is not yet what it draws by itself."""

SMALLEST_CHANGE_FRACTION = 0.01
"""Of a site's range: what moves by less is sent with the next renewal."""

SHOWN_STEP_FRACTION = 0.02
"""Of a site's range: its usual draw is taken anew when it changed by so much, or plans would change all the time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteBelow:
    """A site below us: its party's name with a VTN of ours, and between what it can be limited, in watts of import."""

    party: str
    program: GridProgram
    min_w: float
    max_w: float


@runtime_checkable
class Prepares(Protocol):
    """A VTN whose parties must be let know that events for them alone may come."""

    async def prepare(self, party_id: str) -> None: ...


@dataclass(slots=True, kw_only=True)
class _State:
    """What is known of one site. ``free_since`` is when it was last let go, ``None`` while it is limited."""

    site: SiteBelow
    usual_w: float
    free_since: datetime
    party_id: str | None = None
    power_w: float | None = None
    measured_at: datetime | None = None
    event: GridEvent | None = None
    sent_at: datetime | None = None


class DownstreamSites(ClosableFleet):
    """The sites below VTNs of ours.

    ``program_id`` is under which they are limited. A limit lasts ``hold_s`` and is renewed at half of it; changes go
    out every ``least_gap_s`` at most. A site that has reported nothing for ``silent_after_s`` is silent.
    """

    def __init__(
        self,
        sites: Sequence[SiteBelow],
        *,
        program_id: str,
        clock: Clock,
        hold_s: float = 300.0,
        least_gap_s: float = 5.0,
        silent_after_s: float = 30.0,
    ) -> None:
        now = clock.now()
        self._states = {site.party: _State(site=site, usual_w=site.max_w, free_since=now) for site in sites}
        # Several sites may stand below one VTN: it is asked once for all of them.
        self._programs = {site.program.connection_id: site.program for site in sites}
        self._program_id = program_id
        self._clock = clock
        self._hold_s = hold_s
        self._least_gap_s = least_gap_s
        self._silent_after_s = silent_after_s
        self._epoch = 0
        self._heard_to = dict.fromkeys(self._programs, now - timedelta(seconds=silent_after_s))
        self._looked_back = False

    # One gateway stands over these sites: there are no agents that another could command.

    @property
    def highest_epoch(self) -> int:
        return 0

    @property
    def epoch_to_pass(self) -> int | None:
        return None

    @property
    def taken(self) -> Collection[str]:
        return ()

    def begin(self, epoch: int) -> None:
        self._epoch = epoch

    async def close(self) -> None:
        """Nothing is open: the VTN is closed by who opened it."""

    def below(self) -> tuple[VerifyingSite, ...]:
        """The sites as those who verify their own part."""
        return tuple(
            VerifyingSite(
                party=party,
                connection_id=state.site.program.connection_id,
                party_id=state.party_id or "",
                weight_w=state.site.max_w - state.site.min_w,
            )
            for party, state in self._states.items()
        )

    def devices(self) -> Mapping[str, DeviceView]:
        now = self._clock.now()
        return {party: self._view(state, now) for party, state in self._states.items()}

    def jobs(self) -> Mapping[str, JobView]:
        """Each site as one job that can be slowed and not paused."""
        return {f"site {party}": _job(state) for party, state in self._states.items()}

    async def act(self, actions: Sequence[JobAction]) -> tuple[JobResult, ...]:
        """A site as a whole is not paused: what its jobs allow it decides by itself."""
        return tuple(
            JobResult(
                job_id=action.job_id,
                verb=action.verb,
                state=None,
                outcome=Outcome.REFUSED,
                detail="a site below is limited, never paused",
            )
            for action in actions
        )

    async def refresh(self) -> None:
        """Hear who is registered; in a new life also which limits of an earlier one still stand."""
        for program in self._programs.values():
            by_name = {party.name: party.party_id for party in await program.parties()}
            for name, state in self._states.items():
                if state.site.program is program and state.party_id != by_name.get(name):
                    state.party_id = by_name.get(name)
                    if state.party_id is not None and isinstance(program, Prepares):
                        await program.prepare(state.party_id)
        if not self._looked_back:
            for program in self._programs.values():
                await self._look_back(program)
            self._looked_back = True

    async def _look_back(self, program: GridProgram) -> None:
        """Take up the limits that an earlier life of ours left."""
        now = self._clock.now()
        of_party = self._parties_of(program)
        for event in await program.events():
            over = event.status is EventStatus.CANCELLED or (event.ends_at or now) < now
            if event.event_id.startswith(PREFIX) and not over:
                for party_id in {target.value for target in event.targets} & of_party.keys():
                    of_party[party_id].event = event

    def _parties_of(self, program: GridProgram) -> dict[str, _State]:
        """What is known of the sites below one VTN, by party_id."""
        return {
            state.party_id: state
            for state in self._states.values()
            if state.party_id is not None and state.site.program is program
        }

    async def read(self) -> tuple[PowerReading, ...]:
        """The latest of each site; of one that is silent the most that it may draw, as an estimate."""
        now = self._clock.now()
        await self._hear(now)
        return tuple(self._reading(party, state, now) for party, state in self._states.items())

    async def apply(self, commands: Sequence[CapCommand]) -> tuple[CapResult, ...]:
        now = self._clock.now()
        return tuple([await self._limit(command.device_id, command.cap_w, now) for command in commands])

    async def restore(
        self,
        device_ids: Collection[str],
        epoch: int,  # noqa: ARG002 - the sites' own agents have epochs; here the VTN is one
        sequence: int | None = None,  # noqa: ARG002 - revisions of events are in order by themselves
    ) -> tuple[CapResult, ...]:
        return tuple([await self._free(device_id) for device_id in device_ids])

    async def _hear(self, now: datetime) -> None:
        """Take what was reported since we last looked."""
        for name, program in self._programs.items():
            of_party = self._parties_of(program)
            for party_id, report in await program.reports(self._heard_to[name]):
                self._heard_to[name] = max(self._heard_to[name], report.created_at)
                if party_id in of_party:
                    self._take(of_party[party_id], report, now)

    def _take(self, state: _State, report: IntervalReport, now: datetime) -> None:
        for interval in report.intervals:
            # A site's clock that is ahead of ours makes nothing newer than now.
            ends_at = min(interval.starts_at + timedelta(seconds=interval.duration_s), now)
            if interval.power_w is None or (state.measured_at is not None and ends_at <= state.measured_at):
                continue
            state.power_w, state.measured_at = interval.power_w, ends_at
            self._take_usual(state, interval.power_w, ends_at)

    def _take_usual(self, state: _State, power_w: float, at: datetime) -> None:
        """What a site draws by itself, while nothing is asked of it."""
        free = state.event is None and (at - state.free_since).total_seconds() >= SETTLED_S
        step_w = SHOWN_STEP_FRACTION * (state.site.max_w - state.site.min_w)
        usual_w = min(max(power_w, state.site.min_w + step_w), state.site.max_w)
        if free and abs(usual_w - state.usual_w) >= step_w:
            state.usual_w = usual_w

    def _is_silent(self, state: _State, now: datetime) -> bool:
        return state.measured_at is None or (now - state.measured_at).total_seconds() > self._silent_after_s

    def _view(self, state: _State, now: datetime) -> DeviceView:
        site = state.site
        silent = self._is_silent(state, now)
        said = "not registered" if state.party_id is None else "it reports nothing"
        fault = Fault(condition=Condition.SILENT, detail=f"{site.party}: {said}", cure=CURE) if silent else None
        return DeviceView(
            device_id=site.party,
            host_id=site.party,
            model="site",
            cap_range=CapRange(min_w=site.min_w, default_w=site.max_w, max_w=site.max_w),
            limit_w=_limit_of(state) or site.max_w,
            present=not silent,
            fault=fault,
            restores_to_w=site.max_w,
        )

    def _reading(self, party: str, state: _State, now: datetime) -> PowerReading:
        if state.power_w is None or state.measured_at is None or self._is_silent(state, now):
            return PowerReading(meter_id=party, power_w=state.usual_w, measured_at=now, quality=Quality.ESTIMATED)
        return PowerReading(meter_id=party, power_w=state.power_w, measured_at=state.measured_at)

    async def _limit(self, party: str, cap_w: float, now: datetime) -> CapResult:
        """Have a site draw no more than so much; says whether it has agreed."""
        state = self._states[party]
        if state.party_id is None:
            return _result(party, cap_w, None, Outcome.LOST, "not registered")
        try:
            if self._is_due(state, cap_w, now):
                await self._send(state, cap_w, now)
            return await self._agreed(party, state, cap_w)
        except ProtocolError as fault:
            return _result(party, cap_w, None, Outcome.TIMED_OUT, str(fault))

    def _is_due(self, state: _State, cap_w: float, now: datetime) -> bool:
        held_w = _limit_of(state)
        if state.event is None or held_w is None or state.event.ends_at is None:
            return True
        if (state.event.ends_at - now).total_seconds() <= 0.5 * self._hold_s:
            return True
        moved_w = abs(cap_w - held_w)
        rested = state.sent_at is None or (now - state.sent_at).total_seconds() >= self._least_gap_s
        return rested and moved_w >= SMALLEST_CHANGE_FRACTION * (state.site.max_w - state.site.min_w)

    async def _send(self, state: _State, cap_w: float, now: datetime) -> None:
        known = state.event
        if known is None or known.ends_at is None or known.ends_at <= now:
            number = f"{self._epoch}-{int(now.timestamp() * 1000)}"
            event = self._event(state, f"{PREFIX}{state.site.party}-{number}", now, cap_w)
        else:
            event = replace(
                self._event(state, known.event_id, now, cap_w, starts_at=known.starts_at),
                revision=known.revision + 1,
            )
        await state.site.program.publish(event)
        state.event, state.sent_at = event, now

    def _event(
        self, state: _State, event_id: str, now: datetime, cap_w: float, *, starts_at: datetime | None = None
    ) -> GridEvent:
        begins_at = starts_at or now
        # Whole seconds: all dialects can say them.
        duration_s = float(ceil((now - begins_at).total_seconds() + self._hold_s))
        interval = EventInterval(starts_at=begins_at, duration_s=duration_s, value=cap_w)
        return GridEvent(
            event_id=event_id,
            connection_id=state.site.program.connection_id,
            program_id=self._program_id,
            revision=0,
            status=EventStatus.ACTIVE,
            created_at=now,
            starts_at=begins_at,
            duration_s=duration_s,
            signals=(Signal(name="IMPORT_LIMIT", kind=SignalKind.LIMIT, intervals=(interval,)),),
            targets=(Target(kind="ven", value=state.party_id or ""),),
        )

    async def _agreed(self, party: str, state: _State, cap_w: float) -> CapResult:
        """What the site has answered to its limit, whichever revision."""
        event = state.event
        answers = {} if event is None else dict(await state.site.program.answers(event.event_id))
        answer = answers.get(state.party_id or "")
        if event is not None and not event.response_required:
            return _result(party, cap_w, _limit_of(state), Outcome.APPLIED)
        if answer is None:
            return _result(party, cap_w, None, Outcome.TIMED_OUT, "has not answered yet")
        if answer.opt is Opt.OUT:
            return _result(party, cap_w, None, Outcome.REFUSED, f"opted out: {answer.detail}".rstrip(": "))
        return _result(party, cap_w, _limit_of(state), Outcome.APPLIED)

    async def _free(self, party: str) -> CapResult:
        """Take a site's limit off. One that does not hear of it is free when its limit ends."""
        state = self._states.get(party)
        if state is None:
            return _result(party, 0.0, None, Outcome.LOST, "not declared")
        try:
            if state.event is not None:
                await state.site.program.cancel(state.event.event_id)
                state.free_since = self._clock.now()
        except KeyError:
            log.warning("limit_unknown_to_vtn", party=party)
        except ProtocolError as fault:
            return _result(party, state.site.max_w, None, Outcome.TIMED_OUT, str(fault))
        state.event = state.sent_at = None
        return _result(party, state.site.max_w, state.site.max_w, Outcome.APPLIED)


CURE = "see to the gateway of that site and to its connection; it counts with what it usually draws until it reports"


def _limit_of(state: _State) -> float | None:
    return None if state.event is None else state.event.signals[0].intervals[0].value


def _result(party: str, asked_w: float, holds_w: float | None, outcome: Outcome, detail: str = "") -> CapResult:
    return CapResult(device_id=party, requested_w=asked_w, applied_w=holds_w, outcome=outcome, detail=detail)


def _job(state: _State) -> JobView:
    """A site's curve from its floor to what it usually draws, falling the steeper the deeper it is cut."""
    site, top_w = state.site, state.usual_w
    points = []
    for index in range(SEGMENTS + 1):
        share = index / SEGMENTS
        cap_w = site.min_w + share * (top_w - site.min_w)
        points.append(CurvePoint(cap_w=cap_w, power_w=cap_w, throughput=1.0 - (1.0 - share) ** 2))
    return JobView(
        job_id=f"site {site.party}",
        device_ids=(site.party,),
        tier="flex3",
        # By its range, so that the same share of it costs the same at every site.
        weight=(top_w - site.min_w) / 1000.0,
        min_throughput=0.0,
        mean_throughput=0.0,
        curve=tuple(points),
    )
