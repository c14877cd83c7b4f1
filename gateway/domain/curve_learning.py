"""Power curves learnt while jobs run: what a device draws and gives at each cap, and how sure that is.

A curve begins as a table measured on other work (the seed) and departs from it as evidence comes: near the caps that
were tried at once, elsewhere as far as curves of different work are alike. It always rises with the cap. Once it is
seen what a device draws uncapped the table is stretched to that: a cap slows work down by how far it lies under the
work's own draw. (The V100 of GridPilot draws 207 W at a matrix product and keeps 0.98 of its throughput at 200 W and
0.84 at 150 W; a workload of 346 W in dvfs_sweep.csv keeps 0.97 and 0.90 at the same parts of its draw.)

A cap is a ceiling, so much is no evidence. A device that never comes near its cap is not held down by it: what it
draws then it would draw at any higher cap, too, so it says nothing about what capping saves, and what its job gives
then is not the cap's doing. A device that draws less than even the lowest cap would let it is not at work on anything
that caps touch: that is for ``load_kind`` to tell, and the curve of its work stays as it was.

``curve_observation`` says what is observed and how dispatch comes by it. There is one state a job, kept for its life
and fed to ``observe``; ``learnt`` is asked before a plan is made and when caps are shared out anew, not at each step.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from enum import StrEnum
from itertools import pairwise
from math import hypot, isfinite

import numpy as np

from gateway.domain.allocate import envelope
from gateway.domain.curve_evidence import (
    Departure,
    Evidence,
    Prior,
    Sighting,
    estimated,
    forgotten,
    nothing_seen,
    sightings,
    taken,
    weighed,
)
from gateway.domain.curve_observation import SAME_CAP_FRACTION, WINDOW_S, Observation
from gateway.domain.isotonic import isotonic
from hardware.job import CurvePoint

BINDS_FRACTION = 0.85
"""A device whose highest reading is under this share of its cap is not held down by it. Of the measured workloads that
caps do slow down none drew less on average (Emerald AI, dvfs_sweep.csv, Apache-2.0: 0.858 at 400 W, 0.906 at 350 W)."""

MAY_BIND_FRACTION = 0.7
STEADY_FRACTION = 0.95
"""Down to this share of its cap it may be held down all the same: sensors that average over a second hide shorter gaps.
It is, where it was seen to draw over 1/0.95 of that uncapped. (Of training runs under caps that lowered their mean draw
by over 5 % one in twenty drew less than 0.7 of it; Zeus, Apache-2.0, V100, A40 and RTX 6000.)"""

WIDEST_GAP_FRACTION = 0.2
"""The seed gets points in between where its own are further apart than this part of its last cap."""

POWER_SPREAD_FRACTION = 0.05
"""Standard deviation between workloads of power at a cap, as a fraction: in dvfs_sweep.csv 0.01 to 0.02 where caps
bind, 0.043 at the top."""

THROUGHPUT_SPREAD = 0.6
"""The same of throughput T, as a multiple of T * T * (1 - T), which fits dvfs_sweep.csv: 0.028, 0.082, 0.055, 0.040 and
0.028 at caps of 100, 200, 250, 300 and 350 W, where T is 0.21, 0.71, 0.84, 0.91 and 0.96 on average."""

STRETCH_ERROR = 0.4
"""So much of what the stretch changes in throughput is unsure (standard deviation). With it two errors cover 0.93 to
0.98 of the throughputs of 82 training runs (Zeus: V100, A40) that were learnt from the table of the heaviest; of 34 on
an RTX 6000, whose curves differ most, 0.74 to 0.91 (``tests/benchmarks/curve_learning.py``)."""

POWER_ALIKE = 0.5
THROUGHPUT_ALIKE = 1.0
"""How far along the axis of caps a departure reaches, as parts of its span. In dvfs_sweep.csv the throughputs of two
caps 0.6 of the span apart are still correlated by 0.91, the powers of 200 and 350 W by 0.41."""

POWER_NOISE_FRACTION = 0.02
THROUGHPUT_NOISE = 0.02
"""First guess of the scatter of one observation."""

LEAST_POWER_ERROR_FRACTION = 0.01
LEAST_THROUGHPUT_ERROR = 0.01
"""No point is surer than this: straight lines between points are not the truth."""


@dataclass(frozen=True, slots=True, kw_only=True)
class CurveEvidence:
    """What is known of one job's curve. ``power`` is off the seed as a fraction of it, ``throughput`` plainly."""

    seed: tuple[CurvePoint, ...]
    power: Evidence
    throughput: Evidence


class Source(StrEnum):
    """Where a figure comes from."""

    SEED = "seed"
    MEASURED = "measured"
    """There is more to it from the job itself than from the table."""


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntPoint:
    """A point of a learnt curve with its standard errors. ``seen_at`` is ``None`` where nothing was seen near it."""

    cap_w: float
    power_w: float
    throughput: float
    power_error_w: float
    throughput_error: float
    power_source: Source
    throughput_source: Source
    seen_at: datetime | None


@dataclass(frozen=True, slots=True, kw_only=True)
class LearntCurve:
    """A device's curve as of now: caps rise strictly, power and throughput never fall, the last throughput is 1.

    ``envelope_error`` is the most by which its concave envelope flatters it, ``age_s`` how old the newest evidence is
    (``None``: nothing but the seed), ``shifted_at`` when the job last turned to something else.
    """

    points: tuple[LearntPoint, ...]
    envelope_error: float
    age_s: float | None
    shifted_at: datetime | None

    @property
    def curve(self) -> tuple[CurvePoint, ...]:
        """In the face's words."""
        return tuple(
            CurvePoint(cap_w=point.cap_w, power_w=point.power_w, throughput=point.throughput) for point in self.points
        )

    def cautious(self, errors: float) -> tuple[CurvePoint, ...]:
        """The curve with throughput so many standard errors lower: for floors that keep what was promised to a job."""
        lower, best = [], 0.0
        for point in self.points[:-1]:
            best = max(best, point.throughput - errors * point.throughput_error)
            lower.append(CurvePoint(cap_w=point.cap_w, power_w=point.power_w, throughput=best))
        return (*lower, self.curve[-1])


def seeded(curve: Sequence[CurvePoint]) -> CurveEvidence:
    """What is known of a job before it was observed: a measured table of work like it, in rising order of cap.

    Throughput is taken relative to the last point's. Raises ``ValueError`` without a point, or where caps do not rise
    or power or the last throughput is not positive.
    """
    if not curve or any(low.cap_w >= high.cap_w for low, high in pairwise(curve)):
        raise ValueError("a seed needs points in strictly rising order of cap")
    if curve[-1].throughput <= 0.0 or any(point.power_w <= 0.0 for point in curve):
        raise ValueError("a seed needs power at each point and throughput at its last")
    given = [point.cap_w for point in curve]
    caps_w: list[float] = given[:1]
    for low_w, high_w in pairwise(given):
        parts = int(np.ceil((high_w - low_w) / (WIDEST_GAP_FRACTION * given[-1]) - 1e-9))
        caps_w += [low_w + (high_w - low_w) * part / parts for part in range(1, parts + 1)]
    power_w = np.interp(caps_w, given, [point.power_w for point in curve]).tolist()
    throughput = np.interp(caps_w, given, [point.throughput for point in curve]).tolist()
    return CurveEvidence(
        seed=tuple(
            CurvePoint(cap_w=cap_w, power_w=drawn_w, throughput=part / curve[-1].throughput)
            for cap_w, drawn_w, part in zip(caps_w, power_w, throughput, strict=True)
        ),
        power=nothing_seen(len(caps_w), variance=POWER_NOISE_FRACTION**2, least_variance=LEAST_POWER_ERROR_FRACTION**2),
        throughput=nothing_seen(len(caps_w), variance=THROUGHPUT_NOISE**2, least_variance=LEAST_THROUGHPUT_ERROR**2),
    )


def observe(evidence: CurveEvidence, observation: Observation) -> CurveEvidence:
    """What is known after one more observation; the same where it teaches nothing (see the module).

    Raises ``ValueError`` for figures that are not finite or a duration that is not positive.
    """
    seen = (observation.cap_w, observation.power_w, observation.peak_w, observation.throughput or 0.0)
    if not all(map(isfinite, (*seen, observation.duration_s))) or observation.duration_s <= 0.0:
        raise ValueError(f"an observation of job {observation.job_id!r} has no finite figures or no duration")
    seed = evidence.seed
    cap_w = min(observation.cap_w, seed[-1].cap_w)
    if cap_w < seed[0].cap_w * (1.0 - SAME_CAP_FRACTION) or observation.peak_w < BINDS_FRACTION * seed[0].cap_w:
        return evidence
    weight = min(1.0, observation.duration_s / WINDOW_S)
    binds = _binds(evidence, cap_w, observation)
    departures = _power_departures(seed, cap_w, observation, binds=binds)
    power = taken(evidence.power, departures, weight=weight, at=observation.at)
    throughput = evidence.throughput
    if observation.throughput is not None and binds and cap_w < seed[-1].cap_w:
        departure = _throughput_departure(seed, cap_w, observation.throughput)
        throughput = taken(throughput, [departure], weight=weight, at=observation.at)
    # Work that draws something else gives something else, too, and the other way round.
    shifts = power.shifted_at != evidence.power.shifted_at, throughput.shifted_at != evidence.throughput.shifted_at
    if shifts == (True, False):
        throughput = forgotten(throughput, observation.at)
    elif shifts == (False, True):
        power = forgotten(power, observation.at)
    return replace(evidence, power=power, throughput=throughput)


def learnt(evidence: CurveEvidence, at: datetime) -> LearntCurve:
    """The curve as known at an instant."""
    seed = evidence.seed
    base = _stretched(seed, _free_w(evidence, at))
    power_prior, throughput_prior = _priors(seed, base)
    seen_w = [_rebased(one, seed, base) for one in sightings(evidence.power, at)]
    power = estimated(seen_w, power_prior, shift=evidence.power.shift)
    seen = [_moved(one, seed, base) for one in sightings(evidence.throughput, at)]
    given = estimated(seen, throughput_prior, shift=evidence.throughput.shift)
    base_w = np.array([point.power_w for point in base])
    error_w = base_w * power.error
    power_w = isotonic((base_w * (1.0 + power.off)).clip(0.0).tolist(), (error_w**-2.0).tolist())
    rough = (np.array([point.throughput for point in base]) + given.off)[:-1].clip(0.0, 1.0)
    throughput = [*isotonic(rough.tolist(), (given.error[:-1] ** -2.0).tolist()), 1.0]
    points = tuple(
        LearntPoint(
            cap_w=point.cap_w,
            power_w=power_w[i],
            throughput=throughput[i],
            power_error_w=float(error_w[i]),
            throughput_error=float(given.error[i]) if i < len(seed) - 1 else 0.0,
            power_source=_source(evidence.power, i, power_prior, at),
            throughput_source=_source(evidence.throughput, i, throughput_prior, at),
            seen_at=max(filter(None, _seen_at(evidence, i)), default=None),
        )
        for i, point in enumerate(seed)
    )
    newest = max((point.seen_at for point in points if point.seen_at is not None), default=None)
    shifts = [one for one in (evidence.power.shifted_at, evidence.throughput.shifted_at) if one is not None]
    curve = [CurvePoint(cap_w=one.cap_w, power_w=one.power_w, throughput=one.throughput) for one in points]
    return LearntCurve(
        points=points,
        envelope_error=envelope(curve).error,
        age_s=None if newest is None else (at - newest).total_seconds(),
        shifted_at=max(shifts, default=None),
    )


def _free_w(evidence: CurveEvidence, at: datetime) -> float:
    """What a device draws uncapped: the seed's until that was seen, then soon its own."""
    seed_w, last = evidence.seed[-1].power_w, evidence.power.bins[-1]
    weight = 0.0 if last.before_shift else weighed(last, at)
    return max(seed_w * (1.0 + last.mean * weight / (weight + 1.0)), 1.0)


def _stretched(seed: Sequence[CurvePoint], free_w: float) -> tuple[CurvePoint, ...]:
    """The seed as of work that draws ``free_w`` uncapped.

    Where a cap binds power stays as near to it as the seed's: that is the device's doing, not the work's.
    """
    ratio = free_w / seed[-1].power_w
    fullest = max(point.power_w / point.cap_w for point in seed)
    points = []
    for point in seed:
        there = _between(seed, point.cap_w / ratio)
        # Under the table's first cap it goes down to nothing.
        under = min(1.0, point.cap_w / ratio / seed[0].cap_w)
        points.append(
            CurvePoint(
                cap_w=point.cap_w,
                power_w=min(max(there.power_w * under * ratio, min(point.power_w, free_w)), fullest * point.cap_w),
                throughput=there.throughput * under if point is not seed[-1] else 1.0,
            )
        )
    return tuple(points)


def _rebased(one: Sighting, seed: Sequence[CurvePoint], base: Sequence[CurvePoint]) -> Sighting:
    """Power as a fraction off the base instead of off the seed."""
    ratio = _between(seed, one.cap_w).power_w / _between(base, one.cap_w).power_w
    return one._replace(off=(1.0 + one.off) * ratio - 1.0, variance=one.variance * ratio**2)


def _moved(one: Sighting, seed: Sequence[CurvePoint], base: Sequence[CurvePoint]) -> Sighting:
    """Throughput off the base instead of off the seed."""
    return one._replace(off=one.off + _between(seed, one.cap_w).throughput - _between(base, one.cap_w).throughput)


def _priors(seed: Sequence[CurvePoint], base: Sequence[CurvePoint]) -> tuple[Prior, Prior]:
    """How far power and throughput may be off the stretched seed."""
    spread = [
        hypot(_throughput_spread(point.throughput), STRETCH_ERROR * (point.throughput - one.throughput))
        for one, point in zip(seed, base, strict=True)
    ]
    caps_w = tuple(point.cap_w for point in seed)
    span_w = max(caps_w[-1] - caps_w[0], 1.0)
    power = Prior(
        caps_w=caps_w,
        spread=(POWER_SPREAD_FRACTION,) * len(seed),
        alike_w=POWER_ALIKE * span_w,
        least_error=LEAST_POWER_ERROR_FRACTION,
    )
    throughput = Prior(
        caps_w=caps_w,
        spread=(*spread[:-1], 0.0),
        alike_w=THROUGHPUT_ALIKE * span_w,
        least_error=LEAST_THROUGHPUT_ERROR,
    )
    return power, throughput


def _throughput_spread(throughput: float) -> float:
    return max(THROUGHPUT_SPREAD * throughput**2 * (1.0 - throughput), LEAST_THROUGHPUT_ERROR)


def _binds(evidence: CurveEvidence, cap_w: float, observation: Observation) -> bool:
    """Whether the cap held the devices down."""
    if observation.peak_w >= BINDS_FRACTION * cap_w:
        return True
    last = evidence.power.bins[-1]
    if observation.peak_w < MAY_BIND_FRACTION * cap_w or last.weight == 0.0 or last.before_shift or last.inferred:
        return False
    free_w = evidence.seed[-1].power_w * (1.0 + last.mean)
    return cap_w < evidence.seed[-1].cap_w and observation.power_w < STEADY_FRACTION * free_w


def _power_departures(
    seed: Sequence[CurvePoint], cap_w: float, observation: Observation, *, binds: bool
) -> list[Departure]:
    """At the cap, where it binds; else at every cap that would bind no more than this one."""
    here = _nearest(seed, cap_w)
    at_w = [(here, cap_w)]
    if not binds:
        free_w = observation.peak_w / BINDS_FRACTION
        at_w = [(i, point.cap_w) for i, point in enumerate(seed) if point.cap_w >= free_w]
    return [
        Departure(
            index,
            seen_w,
            observation.power_w / _between(seed, seen_w).power_w - 1.0,
            POWER_SPREAD_FRACTION,
            inferred=index != here,
        )
        for index, seen_w in at_w
    ]


def _throughput_departure(seed: Sequence[CurvePoint], cap_w: float, throughput: float) -> Departure:
    expected = _between(seed, cap_w).throughput
    return Departure(_nearest(seed, cap_w), cap_w, min(throughput, 1.0) - expected, _throughput_spread(expected))


def _nearest(seed: Sequence[CurvePoint], cap_w: float) -> int:
    return min(range(len(seed)), key=lambda i: abs(seed[i].cap_w - cap_w))


def _between(seed: Sequence[CurvePoint], cap_w: float) -> CurvePoint:
    """The seed at a cap, straight between its points."""
    over = next((i for i, point in enumerate(seed) if point.cap_w >= cap_w), len(seed) - 1)
    if over == 0 or seed[over].cap_w <= cap_w:
        return seed[over]
    low, high = seed[over - 1], seed[over]
    share = (cap_w - low.cap_w) / (high.cap_w - low.cap_w)
    return CurvePoint(
        cap_w=cap_w,
        power_w=low.power_w + share * (high.power_w - low.power_w),
        throughput=low.throughput + share * (high.throughput - low.throughput),
    )


def _seen_at(evidence: CurveEvidence, index: int) -> tuple[datetime | None, datetime | None]:
    return evidence.power.bins[index].seen_at, evidence.throughput.bins[index].seen_at


def _source(evidence: Evidence, index: int, prior: Prior, at: datetime) -> Source:
    """Measured where the bin's own observations are surer than the seed."""
    one = evidence.bins[index]
    seen = weighed(one, at)
    if one.before_shift or seen == 0.0 or evidence.variance / seen > prior.spread[index] ** 2:
        return Source.SEED
    return Source.MEASURED
