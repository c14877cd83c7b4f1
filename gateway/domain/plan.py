"""From an event and a frozen live baseline to a target for the site over time.

The governing signal says how much is asked; ramp and recovery (2.0b ``x-eiRampUp``, ``x-eiRecovery``) move the target
linearly between the baseline and what is asked. A plan is a pure function of what it was made from: the same revision
with the same inputs gives the same plan.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from itertools import pairwise
from math import inf

from gateway.domain.allocate import Allocation, Allocator, choose_pauses
from gateway.domain.contract import Program
from gateway.domain.event import EventRecord, cancelled_at, dispatch_ends_at
from gateway.domain.fleet import allocation_jobs
from gateway.domain.governing import governing_signal
from hardware.device import CapRange
from hardware.job import JobView
from protocols.grid import GridEvent, Opt, Signal, SignalKind

_CEILINGS = frozenset({SignalKind.LIMIT, SignalKind.SETPOINT, SignalKind.CAPACITY})
"""Kinds whose value says site power, whatever the baseline."""

_NOTHING_W = 0.5
"""A shortfall or reduction under half a watt is none."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveBaseline:
    """Mean site power over ``[from_at, to_at)``, frozen for one event; drives dispatch and nothing else."""

    connection_id: str
    event_id: str
    power_w: float
    from_at: datetime
    to_at: datetime
    readings: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PlanInterval:
    """Target for site power over ``[starts_at, ends_at)``, linear from ``start_w`` to ``end_w``.

    ``ends_at`` is ``None`` where the event is open ended (then both values are equal).
    """

    starts_at: datetime
    ends_at: datetime | None
    start_w: float
    end_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class PowerPlan:
    """What we mean to do about one revision of an event.

    ``intervals`` are in order of time, and there is no target between them. ``expected_w`` is the lowest site power
    that the plan expects to reach, ``shortfall_w`` what the lowest target asks beyond it (0 when all can be delivered).
    ``paused_job_ids`` would have to be paused, since caps alone do not reach: an estimate, made at once for this event
    alone. Who is paused when is planned for all events together (``gateway.domain.site_curtailment``).

    Of several events (``gateway.domain.overlap``): ``is_limit`` marks a ceiling on import, ``stacks`` a reduction that
    comes on top of others, and ``rank`` is the event's (lower is more important).
    """

    connection_id: str
    event_id: str
    revision: int
    made_at: datetime
    baseline_w: float
    intervals: tuple[PlanInterval, ...]
    paused_job_ids: tuple[str, ...]
    expected_w: float
    shortfall_w: float
    reason: str
    program_id: str = ""
    rank: int | None = None
    is_limit: bool = False
    stacks: bool = False


def target_w(plan: PowerPlan, at: datetime) -> float | None:
    """The plan's target for site power at an instant, ``None`` where it asks for nothing then."""
    for interval in plan.intervals:
        if interval.starts_at <= at and (interval.ends_at is None or at < interval.ends_at):
            if interval.ends_at is None:
                return interval.start_w
            share = (at - interval.starts_at) / (interval.ends_at - interval.starts_at)
            return interval.start_w + share * (interval.end_w - interval.start_w)
    return None


def asks_later(plan: PowerPlan, at: datetime) -> bool:
    """Whether the plan has a target at an instant or at any later one."""
    return any(interval.ends_at is None or interval.ends_at > at for interval in plan.intervals)


def lowest_target_w(plan: PowerPlan) -> float | None:
    """The lowest site power that the plan asks for at any time, ``None`` where it asks for nothing."""
    return _lowest_w(plan.intervals)


def _lowest_w(intervals: Sequence[PlanInterval]) -> float | None:
    return min((min(interval.start_w, interval.end_w) for interval in intervals), default=None)


def plan(
    record: EventRecord,
    program: Program,
    baseline: LiveBaseline,
    jobs: Sequence[JobView],
    *,
    fixed_w: float,
    made_at: datetime,
    ranges: Mapping[str, CapRange] | None = None,
    idle_w: float | None = None,
    remark: str = "",
) -> PowerPlan:
    """Plan one event.

    ``fixed_w`` is the site power that no cap of ours moves (all but the jobs' devices). ``ranges`` and ``idle_w`` are
    as ``allocation_jobs`` takes them; ``remark`` is what else is to be known of ``jobs``, and ends the reason. An event
    that is a test, cancelled before it began, opted out of or carries no signal that is understood has a plan without
    intervals: nothing is done for it. One cancelled in its middle has a plan up to there.
    """
    signal = governing_signal(record.event, program)
    why_not = _why_not(record, signal)
    intervals: tuple[PlanInterval, ...] = ()
    if signal is not None and why_not is None:
        intervals = _shape(record, _steps(record, signal, program, baseline.power_w), baseline.power_w)
    lowest_w = _lowest_w(intervals)
    if lowest_w is None:
        done = _Delivery(expected_w=baseline.power_w)
        ended = cancelled_at(record) is not None
        reason = why_not or ("the event was cancelled" if ended else f"{record.event.event_id} asks for no reduction")
    else:
        done = _deliver(intervals, lowest_w, jobs, fixed_w=fixed_w, ranges=ranges, idle_w=idle_w)
        reason = _reason(record.event, signal, lowest_w, baseline.power_w, done)
        reason += f"; {remark}" if remark else ""
    return PowerPlan(
        connection_id=record.event.connection_id,
        event_id=record.event.event_id,
        revision=record.event.revision,
        made_at=made_at,
        baseline_w=baseline.power_w,
        intervals=intervals,
        paused_job_ids=done.paused,
        expected_w=done.expected_w,
        shortfall_w=done.shortfall_w,
        reason=reason,
        program_id=program.program_id,
        rank=record.event.rank,
        is_limit=signal is not None and signal.kind in _CEILINGS,
        stacks=program.stacks and not (signal is not None and signal.kind in _CEILINGS),
    )


def _why_not(record: EventRecord, signal: Signal | None) -> str | None:
    if record.event.test:
        return "a test event is answered and not acted on"
    if record.decision is not None and record.decision.opt is Opt.OUT:
        return f"we opted out: {record.decision.detail or record.decision.refusal or 'no reason given'}"
    return None if signal is not None else "no signal of the event calls for power"


@dataclass(frozen=True, slots=True)
class _Step:
    """What is asked over ``[start_s, end_s)``, in seconds after the event's start; ``end_s`` may be infinite."""

    start_s: float
    end_s: float
    target_w: float


def _asked_w(kind: SignalKind, value: float, program: Program, baseline_w: float) -> float | None:
    """Site power that a value asks for, ``None`` where it asks for no less than there is.

    A level 0, a fraction of 0 and an adjustment upwards are no ceilings: nothing is held for them.
    """
    match kind:
        case SignalKind.LIMIT | SignalKind.SETPOINT:
            return value
        case SignalKind.CAPACITY if program.capacity_w is not None:
            return value * program.capacity_w
        case SignalKind.ADJUST:
            less_w = -value
        case SignalKind.FRACTION:
            less_w = value * baseline_w
        case SignalKind.LEVEL:
            less_w = (0.0 if value == 0 else program.levels[int(value)]) * baseline_w
        case _:
            raise ValueError(f"{kind} calls for no power")
    return baseline_w - less_w if less_w > 0.0 else None


def _steps(record: EventRecord, signal: Signal, program: Program, baseline_w: float) -> list[_Step]:
    """The intervals of the signal that ask for something, within the event's active period."""
    event = record.event
    last_s = inf if event.duration_s is None else event.duration_s
    steps: list[_Step] = []
    for interval in signal.intervals:
        start_s = (interval.starts_at - event.starts_at).total_seconds()
        end_s = inf if interval.duration_s is None else start_s + interval.duration_s
        asked_w = _asked_w(signal.kind, interval.value, program, baseline_w)
        start_s, end_s = max(0.0, start_s), min(last_s, end_s)
        if asked_w is not None and start_s < end_s:
            steps.append(_Step(start_s, end_s, asked_w))
    return steps


def _rise(start_s: float, length_s: float) -> Callable[[float], float]:
    """From 0 to 1 over ``length_s``."""
    return lambda at_s: min(1.0, max(0.0, (at_s - start_s) / length_s))


@dataclass(frozen=True, slots=True)
class _Due:
    """The part of the reduction asked that is due, from 0 to 1, over time; straight between its ``corners``."""

    parts: tuple[Callable[[float], float], ...]
    corners: frozenset[float]

    def at(self, at_s: float) -> float:
        return min((part(at_s) for part in self.parts), default=1.0)


def _due(event: GridEvent, end_s: float) -> _Due:
    """It grows over the ramp and falls over the recovery; an event without an end has none."""
    ramp_s, recovery_s = abs(event.ramp_up_s), abs(event.recovery_s)
    ramp_from_s = min(0.0, event.ramp_up_s)
    recovery_from_s = end_s + min(0.0, event.recovery_s)
    corners = {0.0, end_s}
    parts: list[Callable[[float], float]] = []
    if ramp_s > 0.0:
        parts.append(_rise(ramp_from_s, ramp_s))
        corners |= {ramp_from_s, ramp_from_s + ramp_s}
    if recovery_s > 0.0 and end_s < inf:
        back = _rise(recovery_from_s, recovery_s)
        parts.append(lambda at_s: 1.0 - back(at_s))
        corners |= {recovery_from_s, recovery_from_s + recovery_s}
        if ramp_s > 0.0 and recovery_from_s < ramp_from_s + ramp_s:
            # The event is so short that its recovery begins before the ramp is done: they meet here.
            corners.add((ramp_from_s * recovery_s + (recovery_from_s + recovery_s) * ramp_s) / (recovery_s + ramp_s))
    return _Due(tuple(parts), frozenset(corners))


def _shape(record: EventRecord, steps: list[_Step], baseline_w: float) -> tuple[PlanInterval, ...]:
    """Steps with ramp and recovery, up to where the event was cut short."""
    event = record.event
    end_s = inf if event.duration_s is None else event.duration_s
    due = _due(event, end_s)
    cut_at = dispatch_ends_at(record)
    cut_s = inf if cut_at is None else (cut_at - event.starts_at).total_seconds()
    pieces: list[PlanInterval] = []
    for step in steps:
        wide = _widened(event, step, end_s)
        corners = sorted(corner for corner in {*due.corners, cut_s} if wide.start_s < corner < wide.end_s)
        for start_s, stop_s in pairwise([wide.start_s, *corners, wide.end_s]):
            if start_s >= cut_s:
                break
            less_w = baseline_w - step.target_w
            # A ceiling above the baseline has nothing to ramp.
            values = [baseline_w - less_w * (due.at(at_s) if less_w > 0.0 else 1.0) for at_s in (start_s, stop_s)]
            pieces.append(_piece(event, start_s, stop_s, values))
    return tuple(pieces)


def _widened(event: GridEvent, step: _Step, end_s: float) -> _Step:
    """A step that begins (ends) with the event also holds through a ramp before it (a recovery after it)."""
    start_s = min(0.0, event.ramp_up_s) if step.start_s == 0.0 else step.start_s
    stop_s = end_s + max(0.0, event.recovery_s) if step.end_s == end_s else step.end_s
    return _Step(start_s, stop_s, step.target_w)


def _piece(event: GridEvent, start_s: float, stop_s: float, values: list[float]) -> PlanInterval:
    return PlanInterval(
        starts_at=event.starts_at + timedelta(seconds=start_s),
        ends_at=None if stop_s == inf else event.starts_at + timedelta(seconds=stop_s),
        start_w=values[0],
        end_w=values[1],
    )


@dataclass(frozen=True, slots=True, kw_only=True)
class _Delivery:
    """What the fleet can do about the lowest target."""

    expected_w: float
    shortfall_w: float = 0.0
    paused: tuple[str, ...] = ()
    floors_w: float = 0.0
    weighted_throughput: float = 1.0


def _deliver(
    intervals: Sequence[PlanInterval],
    lowest_w: float,
    jobs: Sequence[JobView],
    *,
    fixed_w: float,
    ranges: Mapping[str, CapRange] | None,
    idle_w: float | None,
) -> _Delivery:
    """Caps alone where they reach; else pauses, of jobs that may be paused for as long as caps do not reach."""
    able = allocation_jobs(jobs, ranges=ranges, idle_w=idle_w)
    allocator = Allocator(able)
    floors_w = fixed_w + allocator.floor_w
    allocation = allocator.solve(lowest_w, fixed_w)
    paused: tuple[str, ...] = ()
    if allocation.shortfall_w > 0.0:
        stretch_s = _longest_under(intervals, floors_w)
        pausable = {job.job_id for job in jobs if job.max_pause_s >= stretch_s}
        able = allocation_jobs(jobs, ranges=ranges, pausable=pausable, idle_w=idle_w)
        paused = choose_pauses(able, target_w=lowest_w, fixed_w=fixed_w)
        allocation = Allocator(able, paused=paused).solve(lowest_w, fixed_w)
    return _delivery(allocation, paused, floors_w)


def _delivery(allocation: Allocation, paused: tuple[str, ...], floors_w: float) -> _Delivery:
    return _Delivery(
        expected_w=allocation.expected_w,
        shortfall_w=allocation.shortfall_w,
        paused=paused,
        floors_w=floors_w,
        weighted_throughput=allocation.weighted_throughput,
    )


def _longest_under(intervals: Sequence[PlanInterval], level_w: float) -> float:
    """The longest stretch in seconds over which the target stays under a level; infinite where it may never end."""
    longest_s = running_s = 0.0
    until: datetime | None = None
    for interval in intervals:
        if interval.ends_at is None:
            return inf if interval.start_w < level_w else longest_s
        length_s = (interval.ends_at - interval.starts_at).total_seconds()
        under_s = length_s * _share_under(interval, level_w)
        goes_on = until == interval.starts_at and interval.start_w < level_w
        running_s = running_s + under_s if goes_on else under_s
        longest_s = max(longest_s, running_s)
        until = interval.ends_at if interval.end_w < level_w else None
    return longest_s


def _share_under(interval: PlanInterval, level_w: float) -> float:
    low_w, high_w = sorted((interval.start_w, interval.end_w))
    if high_w <= low_w:
        return 1.0 if low_w < level_w else 0.0
    return min(1.0, max(0.0, (level_w - low_w) / (high_w - low_w)))


def _reason(event: GridEvent, signal: Signal | None, lowest_w: float, baseline_w: float, done: _Delivery) -> str:
    """One sentence for the operator."""
    asked = f"{event.event_id} asks for {_kw(lowest_w)} at most, {_kw(baseline_w - lowest_w)} under the baseline"
    if lowest_w >= baseline_w:
        asked = f"{event.event_id} allows {_kw(lowest_w)}, the baseline being {_kw(baseline_w)}"
    if signal is not None:
        asked = f"{signal.name} of {asked}"
    share = f"{done.weighted_throughput:.1%} of weighted throughput"
    if not done.paused and done.shortfall_w < _NOTHING_W:
        return f"{asked}: caps reach it with {share}"
    floors = f"caps alone reach {_kw(done.floors_w)}"
    if done.paused:
        floors += f", pausing {_named(done.paused)} reaches {_kw(done.expected_w)} with {share}"
    short = f", {_kw(done.shortfall_w)} short" if done.shortfall_w >= _NOTHING_W else ""
    return f"{asked}: {floors}{short}"


def _named(job_ids: Collection[str]) -> str:
    return ", ".join(job_ids) if len(job_ids) <= 4 else f"{len(job_ids)} jobs"


def _kw(power_w: float) -> str:
    return f"{power_w / 1000.0:.1f} kW"
