"""What the fleet could do now and in the next hours: how many watts, for how long, how surely, and what binds.

Caps alone hold each job at its floor for as long as it runs: the floor is the tier's mean, so time costs nothing more.
Pauses add what is left of the draw, up to the tested maximum of each and as far as the throughput that the job has in
hand over its tier lasts; over longer than that jobs take turns.

``expected_w`` is a mean. ``lower_w`` is what is there nine times of ten: the errors of the curves and the swings of
the load, a normal sum in which any two jobs are correlated by ``correlation`` (a job's own devices entirely: they work
together, and their curve is one). Swings are those of single windows, so a mean over hours is surer than is said.
"""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import exp, hypot, sqrt
from typing import NamedTuple

import numpy as np

from gateway.domain.allocate import AllocationJob, envelope
from gateway.domain.curve_learning import LearntCurve
from gateway.domain.load_kind import Floats, JobLoad, LoadKind, job_loads

NINE_OF_TEN = 1.2816
"""A normal figure is over its mean less so many standard deviations nine times of ten."""

CORRELATION = 0.3
"""Assumed, not measured: jobs of a site share hours of the day, pipelines and the table that their curves began as."""

HOLDS_S = (900.0, 3600.0, 2 * 3600.0, 3 * 3600.0, 4 * 3600.0)
HOURS = 6

_TELLING = 0.1
"""What lowers the sure figure is told where it is lower by more than this part."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CapableJob:
    """A job as capability must know it.

    ``learnt`` is its curve with errors (``None``: the curve of ``job`` is taken to be exact). ``demand_w`` is what its
    devices wanted in the last windows, as ``load_kind`` has it (``None``: they are taken to work steadily along the
    curve). ``ends_at`` is until when it is counted on, by the work that is left, ``None`` where nobody knows.
    ``max_pause_s`` is its longest tested pause; ``in_hand_s`` the throughput in seconds that it has over its tier's
    mean (``None``: nobody keeps account, and only the tested maximum counts). ``pause_share`` is the part of any
    stretch that it may be paused, beside running at its floor, by what was promised of its mean.
    """

    job: AllocationJob
    learnt: LearntCurve | None = None
    demand_w: Floats | None = None
    ends_at: datetime | None = None
    max_pause_s: float = 0.0
    in_hand_s: float | None = None
    pause_share: float = 1.0


@dataclass(frozen=True, slots=True, kw_only=True)
class CapabilityRow:
    """What can be held from ``starts_at`` to ``ends_at`` without a break, in watts of reduction.

    ``expected_w`` and ``lower_w`` are of caps alone. With pauses, taken in turns where they do not last, it is
    ``with_pauses_w``, an upper bound since turns do not always fit; ``with_pauses_lower_w`` counts only pauses that
    last to the end. ``reason`` says what binds.
    """

    starts_at: datetime
    ends_at: datetime
    expected_w: float
    lower_w: float
    with_pauses_w: float
    with_pauses_lower_w: float
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Capability:
    """``held`` begins now and lasts ever longer; ``hours`` are single hours, one after another.

    ``jobs`` counts the devices of each job by how they work.
    """

    at: datetime
    held: tuple[CapabilityRow, ...]
    hours: tuple[CapabilityRow, ...]
    jobs: Mapping[str, Mapping[LoadKind, int]]

    @property
    def kinds(self) -> dict[LoadKind, int]:
        """How many devices of jobs there are of each kind."""
        return {kind: sum(counts.get(kind, 0) for counts in self.jobs.values()) for kind in LoadKind}


class _Offer(NamedTuple):
    """What one job offers while it runs; ``pause_w`` on top of its caps, for ``pause_s``."""

    caps_w: float
    curve_error_w: float
    load_error_w: float
    pause_w: float
    pause_s: float
    pause_share: float
    ends_at: datetime | None
    kinds: tuple[LoadKind, ...]


def capability(
    jobs: Sequence[CapableJob],
    *,
    at: datetime,
    holds_s: Sequence[float] = HOLDS_S,
    hours: int = HOURS,
    correlation: float = CORRELATION,
    leaving_per_h: float = 0.0,
) -> Capability:
    """The capability of these jobs at an instant.

    ``leaving_per_h`` is the share of jobs of unknown end that end in an hour (assumed alike for all, at any age); they
    free power, too, but whoever comes next may take it. Raises ``ValueError`` for a correlation outside 0 to 1.
    """
    if not 0.0 <= correlation <= 1.0:
        raise ValueError(f"a correlation of {correlation} between jobs is none")
    offers = [_offer(job) for job in jobs]

    def row(from_s: float, to_s: float) -> CapabilityRow:
        return _row(
            offers,
            at + timedelta(seconds=from_s),
            at + timedelta(seconds=to_s),
            staying=exp(-leaving_per_h * to_s / 3600.0),
            correlation=correlation,
        )

    return Capability(
        at=at,
        held=tuple(row(0.0, hold_s) for hold_s in holds_s),
        hours=tuple(row(3600.0 * hour, 3600.0 * (hour + 1)) for hour in range(hours)),
        jobs={able.job.job_id: Counter(offer.kinds) for able, offer in zip(jobs, offers, strict=True)},
    )


def _offer(able: CapableJob) -> _Offer:
    job = able.job
    floor_w = envelope(job.curve).power_for(job.min_throughput)
    free_w = job.curve[-1].power_w
    idle_w = min(job.idle_w, floor_w)
    error_w = _error_w(able.learnt, floor_w)
    if able.demand_w is None:
        # Nobody saw what it draws: both ends of the saving come from the curve.
        error_w = hypot(error_w, _error_w(able.learnt, free_w))
        capped, paused = (_as_the_curve_says(job, power_w) for power_w in (floor_w, idle_w))
    else:
        capped, paused = job_loads(able.demand_w, (floor_w, idle_w), lowest_cap_w=job.curve[0].cap_w, free_w=free_w)
    return _Offer(
        caps_w=capped.expected_w,
        # Only who draws more than the floor is held to it.
        curve_error_w=capped.devices_over * error_w,
        # A load that comes and goes is not normal: one job alone is to be as sure as its low quantile.
        load_error_w=max(capped.scatter_w, (capped.expected_w - capped.countable_w) / NINE_OF_TEN),
        pause_w=paused.expected_w - capped.expected_w,
        pause_s=_pause_s(able),
        pause_share=able.pause_share,
        ends_at=able.ends_at,
        kinds=capped.kinds,
    )


def _as_the_curve_says(job: AllocationJob, capped_w: float) -> JobLoad:
    saved_w = job.devices * max(0.0, job.curve[-1].power_w - capped_w)
    return JobLoad(
        kinds=(LoadKind.STEADY,) * job.devices,
        devices_over=job.devices if saved_w else 0.0,
        expected_w=saved_w,
        scatter_w=0.0,
        countable_w=saved_w,
    )


def _pause_s(able: CapableJob) -> float:
    """How long the job may be paused: a pause gives nothing, and so uses up what is in hand at the tier's rate."""
    if not able.job.can_pause:
        return 0.0
    if able.in_hand_s is None or able.job.min_throughput <= 0.0:
        return able.max_pause_s
    return min(able.max_pause_s, max(0.0, able.in_hand_s) / able.job.min_throughput)


def _error_w(learnt: LearntCurve | None, power_w: float) -> float:
    """The standard error of the curve where it draws so much."""
    if learnt is None:
        return 0.0
    return float(
        np.interp(power_w, [one.power_w for one in learnt.points], [one.power_error_w for one in learnt.points])
    )


def _row(
    offers: Sequence[_Offer], starts_at: datetime, ends_at: datetime, *, staying: float, correlation: float
) -> CapabilityRow:
    length_s = (ends_at - starts_at).total_seconds()
    there = [offer for offer in offers if offer.ends_at is None or offer.ends_at >= ends_at]
    table = np.array(
        [(one.caps_w, one.load_error_w, one.curve_error_w, one.pause_w, one.pause_s, one.pause_share) for one in there]
    ).reshape(len(there), 6)
    caps_w, load_w, curve_w, pause_w, pause_s, pause_share = table.T
    stays = np.array([staying if offer.ends_at is None else 1.0 for offer in there])
    lasts = np.minimum(np.minimum(1.0, pause_share), pause_s / length_s)
    whole_w = caps_w + np.where(lasts >= 1.0, pause_w, 0.0)
    expected_w = float(stays @ caps_w)
    doubts = {
        "load that swings": np.sqrt(stays) * load_w,
        "curves that are not learnt yet": np.sqrt(stays) * curve_w,
        "jobs that may end": np.sqrt(stays * (1.0 - stays)) * caps_w,
    }
    known_w = stays * (load_w**2 + curve_w**2)

    def sure_w(mean_w: Floats) -> float:
        spread_w = np.sqrt(known_w + stays * (1.0 - stays) * mean_w**2)
        return max(0.0, float(stays @ mean_w) - NINE_OF_TEN * _summed(spread_w, correlation))

    lower_w = sure_w(caps_w)
    doubt = max(doubts, key=lambda name: _summed(doubts[name], correlation))
    return CapabilityRow(
        starts_at=starts_at,
        ends_at=ends_at,
        expected_w=expected_w,
        lower_w=lower_w,
        with_pauses_w=expected_w + float(stays @ (pause_w * lasts)),
        with_pauses_lower_w=max(lower_w, sure_w(whole_w)),
        reason=_reason(offers, there, doubt if lower_w < (1.0 - _TELLING) * expected_w else None),
    )


def _summed(spread_w: Floats, correlation: float) -> float:
    """The standard deviation of a sum whose terms are correlated pairwise."""
    apart, together = float((spread_w**2).sum()), float(spread_w.sum()) ** 2
    return sqrt((1.0 - correlation) * apart + correlation * together)


def _reason(offers: Sequence[_Offer], there: Sequence[_Offer], doubt: str | None) -> str:
    """What binds, in one sentence."""
    said = [f"the floors of {_counted(len(there), 'job')} bind" if there else "no job with a curve runs so long"]
    if gone := len(offers) - len(there):
        said.append(f"{_counted(gone, 'job')} will have ended")
    kinds = [kind for offer in there for kind in offer.kinds]
    if idle := kinds.count(LoadKind.IDLE):
        said.append(f"{_counted(idle, 'device')} idle")
    if unknown := kinds.count(LoadKind.UNKNOWN):
        said.append(f"{_counted(unknown, 'device')} not known long enough")
    pausable = [offer.pause_s for offer in there if min(offer.pause_s, offer.pause_share, offer.pause_w) > 0.0]
    if pausable:
        said.append(f"{_counted(len(pausable), 'job')} may be paused, the longest for {max(pausable):.0f} s")
    if doubt is not None:
        said.append(f"less is sure because of {doubt}")
    return "; ".join(said)


def _counted(count: int, what: str) -> str:
    return f"{count} {what}" if count == 1 else f"{count} {what}s"
