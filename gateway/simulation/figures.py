"""What a played scenario comes to: figures of each event, and of the whole.

All from the recording, as a judge without a share in it would: site power by the site's own meter, the counterfactual
by the twin's, work by the jobs' registers.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gateway.simulation.optimum import NoOptimum, OptimumJob, best_throughput
from gateway.simulation.oscillation import Oscillation, oscillation
from gateway.simulation.play import Played, PlayedEvent
from gateway.simulation.recorder import POSSIBLE_STEP_S, STEP_S, Recording
from gateway.simulation.regulation_score import RegulationScore, regulation_score
from hardware.job_terms import MIN_THROUGHPUT
from hardware.workloads import SimulatedJob

Floats = NDArray[np.float64]
Flags = NDArray[np.bool_]

BEFORE_S = 900.0
"""The pre-event mean: over the quarter of an hour before the ramp, as the live baseline."""

AFTER_S = 3600.0
"""So long after the end of an event its rebound is looked for, or up to the next one."""

REBOUND_FRACTION = 0.01
TIER_SLACK = 1e-6


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivered:
    """Against one reference, over the hold: mean watts of it, of what was asked and delivered, and both as shares."""

    reference_w: float
    asked_w: float
    delivered_w: float

    @property
    def asked_fraction(self) -> float:
        """Of the reference."""
        return self.asked_w / self.reference_w

    @property
    def delivered_fraction(self) -> float:
        """Of the reference."""
        return self.delivered_w / self.reference_w


@dataclass(frozen=True, slots=True, kw_only=True)
class Settled:
    """By the program's rule: kilowatt-hours asked (by the live baseline) and delivered, and what they are worth."""

    rule: str
    asked_kwh: float
    delivered_kwh: str
    amount: str
    currency: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Tracking:
    """Over the hold. Shares are of the target, energy of the target's energy.

    ``below_bound_fraction`` counts what was saved beyond the target only as far as caps did it: where the twin too was
    under the target nothing was held down. ``worst_minute_fraction`` is how far the mean of a minute was over it, or
    nearest to that.
    """

    rmse_fraction: float
    minutes: int
    minutes_over: int
    worst_minute_fraction: float
    energy_above_fraction: float
    below_bound_fraction: float
    worst_second_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Reached:
    """Seconds from receipt (for an event with notice, from its ramp) to the end of the first second in which it was so.

    ``site_s`` is for the site at or under its first full target; ``controllable_s`` for the jobs' devices having given
    up the asked share of their own power. ``None`` where it never was.
    """

    site_s: float | None
    controllable_s: float | None
    asked_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebound:
    """After the event's end: minutes over the pre-event mean by over 1 %.

    Where the load rises by itself the twin is over it, too: ``minutes_over_twin`` are those of the minutes in which the
    site is over its twin by as much.
    """

    before_w: float
    minutes: int
    minutes_over: int
    minutes_over_twin: int
    highest_fraction: float


@dataclass(frozen=True, slots=True, kw_only=True)
class Throughput:
    """From the ramp to the end of the recovery, as a share of the twin's.

    ``weighted`` is by weight and devices; ``optimum`` the linear program's (``None`` where it was not asked for, there
    is none, or the site has an electrical tree, of which the program knows nothing). ``tier_violations`` are jobs under
    their tier's minimum.
    """

    weighted: float
    optimum: float | None
    by_tier: dict[str, float]
    by_job: dict[str, float]
    tier_violations: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Followed:
    """A regulation signal: error as a share of the amplitude, and the score."""

    basepoint_w: float
    amplitude_w: float
    rmse_fraction: float
    score: RegulationScore | None


@dataclass(frozen=True, slots=True, kw_only=True)
class EventFigures:
    """All of one event."""

    event: PlayedEvent
    live_baseline: Delivered
    counterfactual: Delivered
    settlement: Settled | None
    tracking: Tracking
    oscillation: Oscillation | None
    reached: Reached
    rebound: Rebound
    throughput: Throughput
    regulation: Followed | None


def figures(played: Played, *, with_optimum: bool = True) -> tuple[EventFigures, ...]:
    """The figures of each event that was acted on. ``with_optimum`` also solves the linear program of each."""
    found: list[EventFigures] = []
    for index, event in enumerate(played.events):
        later = [other.ramp_from_s for other in played.events[index + 1 :]]
        until_s = min([event.ends_s + AFTER_S, *later])
        found.append(_of_event(played, event, until_s, with_optimum=with_optimum))
    return tuple(found)


def _of_event(played: Played, event: PlayedEvent, until_s: float, *, with_optimum: bool) -> EventFigures:
    recording = played.recording
    hold = recording.during(*event.hold) & ~np.isnan(recording.target_w)
    return EventFigures(
        event=event,
        live_baseline=_delivered(recording, hold, recording.baseline_w),
        counterfactual=_delivered(recording, hold, recording.counterfactual_w),
        settlement=_settled(event, recording),
        tracking=_tracking(recording, hold),
        oscillation=oscillation(recording.true_w[hold], recording.twin_true_w[hold], recording.target_w[hold]),
        reached=_reached(recording, event, hold),
        rebound=_rebound(recording, event, until_s),
        throughput=_throughput(played, event, with_optimum=with_optimum),
        regulation=_followed(recording, event, hold),
    )


def _delivered(recording: Recording, hold: Flags, reference_w: Floats) -> Delivered:
    return Delivered(
        reference_w=float(reference_w[hold].mean()),
        asked_w=float((recording.baseline_w - recording.target_w)[hold].mean()),
        delivered_w=float((reference_w - recording.site_w)[hold].mean()),
    )


def _settled(event: PlayedEvent, recording: Recording) -> Settled | None:
    statement = event.statement
    if statement is None:
        return None
    during = recording.during(event.starts_s, event.ends_s)
    asked_w = np.nan_to_num((recording.baseline_w - recording.target_w)[during])
    return Settled(
        rule=statement.verified.rule,
        asked_kwh=float(asked_w.sum()) * STEP_S / 3.6e6,
        delivered_kwh=str(statement.delivered_kwh),
        amount=str(statement.amount),
        currency=statement.currency,
    )


def _tracking(recording: Recording, hold: Flags) -> Tracking:
    site_w, target_w = recording.site_w[hold], recording.target_w[hold]
    over_w = site_w - target_w
    bound_w = np.minimum(target_w, recording.counterfactual_w[hold])
    minute_over_w = by_minute(over_w)
    return Tracking(
        rmse_fraction=float(np.sqrt(np.mean((over_w / target_w) ** 2))),
        minutes=len(minute_over_w),
        minutes_over=int((minute_over_w > 0.0).sum()),
        worst_minute_fraction=float((minute_over_w / by_minute(target_w)).max()) if len(minute_over_w) else 0.0,
        energy_above_fraction=float(over_w.clip(min=0.0).sum() / target_w.sum()),
        below_bound_fraction=float((bound_w - site_w).clip(min=0.0).sum() / target_w.sum()),
        worst_second_fraction=float((over_w / target_w).max()),
    )


def by_minute(values: Floats) -> Floats:
    """Means of each whole minute."""
    seconds = round(60.0 / STEP_S)
    count = len(values) // seconds
    means: Floats = values[: count * seconds].reshape(count, seconds).mean(axis=1)
    return means


def _reached(recording: Recording, event: PlayedEvent, hold: Flags) -> Reached:
    from_s = max(event.received_s, event.ramp_from_s)
    first_w = float(recording.target_w[hold][0])
    after = recording.during(from_s, event.recovered_s)
    before = recording.during(from_s - 60.0, from_s)
    asked_fraction = 1.0 - first_w / event.baseline_w
    given_up_w = (1.0 - asked_fraction) * float(recording.devices_w[before].mean()) if before.any() else math.nan
    return Reached(
        site_s=_first(recording.time_s[after], recording.site_w[after] <= first_w, from_s),
        controllable_s=_first(recording.time_s[after], recording.devices_w[after] <= given_up_w, from_s),
        asked_fraction=asked_fraction,
    )


def _first(time_s: Floats, so: Flags, from_s: float) -> float | None:
    places = np.flatnonzero(so)
    return float(time_s[places[0]]) + STEP_S - from_s if len(places) else None


def _rebound(recording: Recording, event: PlayedEvent, until_s: float) -> Rebound:
    before = recording.during(event.ramp_from_s - BEFORE_S, event.ramp_from_s)
    after = recording.during(event.ends_s, until_s)
    before_w = float(recording.site_w[before].mean())
    site_w, twin_w = by_minute(recording.site_w[after]), by_minute(recording.counterfactual_w[after])
    over = site_w > (1.0 + REBOUND_FRACTION) * before_w
    return Rebound(
        before_w=before_w,
        minutes=len(site_w),
        minutes_over=int(over.sum()),
        minutes_over_twin=int((over & (site_w > (1.0 + REBOUND_FRACTION) * twin_w)).sum()),
        highest_fraction=float(site_w.max() / before_w - 1.0) if len(site_w) else 0.0,
    )


def _throughput(played: Played, event: PlayedEvent, *, with_optimum: bool) -> Throughput:
    recording, jobs = played.recording, played.scenario.fleet.job
    during = recording.during(event.ramp_from_s, event.recovered_s)
    with_optimum = with_optimum and not recording.nodes
    done_s, possible_s = recording.work_s[during].sum(axis=0), recording.twin_work_s[during].sum(axis=0)
    part = done_s / np.maximum(possible_s, 1e-9)
    simulated = [job.job() for job in jobs]
    shares = _shares(simulated)
    return Throughput(
        weighted=float(shares @ done_s / (shares @ possible_s)),
        optimum=_optimum(recording, event, simulated, float(shares @ possible_s)) if with_optimum else None,
        by_tier=_by_tier(simulated, part),
        by_job={job.job_id: float(value) for job, value in zip(simulated, part, strict=True)},
        tier_violations=tuple(
            job.job_id
            for job, value in zip(simulated, part, strict=True)
            if value < MIN_THROUGHPUT[job.tier] - TIER_SLACK
        ),
    )


def _shares(jobs: Sequence[SimulatedJob]) -> Floats:
    counts = np.array([job.weight * job.devices for job in jobs])
    shares: Floats = counts / counts.sum()
    return shares


def _by_tier(jobs: Sequence[SimulatedJob], part: Floats) -> dict[str, float]:
    found: dict[str, float] = {}
    for tier in MIN_THROUGHPUT:
        chosen = [index for index, job in enumerate(jobs) if job.tier == tier]
        if chosen:
            devices = np.array([jobs[index].devices for index in chosen], dtype=np.float64)
            found[tier] = float(devices @ part[chosen] / devices.sum())
    return found


def _optimum(recording: Recording, event: PlayedEvent, jobs: Sequence[SimulatedJob], possible_s: float) -> float | None:
    """The linear program's weighted throughput over the whole minutes of the event, as a share of the twin's."""
    half_s = POSSIBLE_STEP_S / 2.0
    inside = [
        (at_s, possible)
        for at_s, possible in recording.possible
        if event.ramp_from_s <= at_s - half_s and at_s + half_s <= event.recovered_s
    ]
    targets = [float(recording.target_w[recording.during(at_s - half_s, at_s + half_s)].mean()) for at_s, _ in inside]
    asked = [
        OptimumJob(weight=job.weight, devices=job.devices, min_throughput=MIN_THROUGHPUT[job.tier]) for job in jobs
    ]
    try:
        best = best_throughput(asked, [possible for _, possible in inside], targets, step_s=POSSIBLE_STEP_S)
    except NoOptimum:
        return None
    return best * (event.recovered_s - event.ramp_from_s) / possible_s


def _followed(recording: Recording, event: PlayedEvent, hold: Flags) -> Followed | None:
    if event.regulation is None:
        return None
    basepoint_w, amplitude_w = event.regulation
    site_w, target_w = recording.site_w[hold], recording.target_w[hold]
    return Followed(
        basepoint_w=basepoint_w,
        amplitude_w=amplitude_w,
        rmse_fraction=float(np.sqrt(np.mean((site_w - target_w) ** 2))) / amplitude_w,
        score=regulation_score((target_w - basepoint_w).tolist(), (site_w - basepoint_w).tolist()),
    )
