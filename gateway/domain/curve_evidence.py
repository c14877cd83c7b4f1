"""What was seen of one figure (power, or throughput) along a power curve, as it departs from a seed table.

A departure is kept in bins, one a point of the seed: its robust mean, how many independent observations stand behind
it, where on the axis of caps they lay and when the last came. Each observation costs the same, whatever came before.
What is between bins, and how sure all of it is, follows from how far curves of different work differ and how alike
that difference is at neighbouring caps (Gaussian process regression, a few points to a job).
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from math import exp, sqrt
from statistics import median
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

FORGET_S = 2 * 3600.0
"""Evidence loses all but 1/e of its weight in this time: hours later a job may do something else."""

CLIP = 4.0
"""An observation counts for no more standard deviations than this, so that a single wrong one moves little."""

SPREAD_CLIP = 2.0
"""For the estimate of scatter, which outliers would blow up most. Of a normal figure 0.921 of the variance is left."""

CLIPPED_VARIANCE = 0.921

SCATTER_RATE = 0.1
"""So much of the estimate of scatter is renewed by one independent observation."""

SLACK = 0.5
ALARM = 8.0
"""CUSUM of normalised departures: a lasting shift of 1 is found in 16 observations, of 4 in 3, and without any shift
there is a false alarm in about 10,000 (Siegmund's approximation), a day of ten-second windows."""

ESTABLISHED = 3.0
"""A bin shows a shift only after so many observations, or by departures that have to be clipped: the first few find the
seed to be a little wrong, and that is no change of the work."""

REMEMBERED = 3
"""The size of a shift is the median of so many departures before its alarm."""

INFERRED_ERROR = 0.03
"""Error of what was seen under another cap and holds for this one, too, as a fraction. In 362 cases of training runs on
three devices (Zeus, Apache-2.0: V100, A40, RTX 6000) a cap over 1.4 times the draw lowered it by 0.005 with a standard
deviation of 0.025."""

RETAINED = 1.0
"""What was seen before a shift counts as so many observations at most, and is no surer than the seed."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Bin:
    """Departures near one point of the seed. ``weight`` is in independent observations as of ``seen_at``.

    ``inferred`` means that all of it was seen under other caps.
    """

    weight: float = 0.0
    mean: float = 0.0
    cap_w: float = 0.0
    seen_at: datetime | None = None
    before_shift: bool = False
    inferred: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class Evidence:
    """All that was seen of one figure.

    ``variance`` is that of one independent observation, ``shift`` the size of the last lasting change, at
    ``shifted_at``; ``rise`` and ``fall`` are the running sums that find the next, ``recent`` the last departures.
    """

    bins: tuple[Bin, ...]
    variance: float
    least_variance: float
    rise: float = 0.0
    fall: float = 0.0
    recent: tuple[float, ...] = ()
    shift: float = 0.0
    shifted_at: datetime | None = None


class Departure(NamedTuple):
    """That at ``cap_w``, nearest to bin number ``bin_at``, the figure was off the seed by ``off``.

    ``spread`` is how far curves of different work are apart there (standard deviation). ``inferred`` means that it was
    seen under another cap.
    """

    bin_at: int
    cap_w: float
    off: float
    spread: float
    inferred: bool = False


def nothing_seen(bins: int, *, variance: float, least_variance: float) -> Evidence:
    """The evidence before the first observation, with a first guess of the variance of one."""
    return Evidence(bins=(Bin(),) * bins, variance=variance, least_variance=least_variance)


def weighed(one: Bin, at: datetime) -> float:
    """The weight of a bin at an instant; what is older weighs less."""
    if one.seen_at is None:
        return 0.0
    return one.weight * exp(-max(0.0, (at - one.seen_at).total_seconds()) / FORGET_S)


def taken(evidence: Evidence, departures: Sequence[Departure], *, weight: float, at: datetime) -> Evidence:
    """The evidence after one observation, which may speak for several bins; ``weight`` in independent observations.

    Whether something changed for good is judged at the last of them.
    """
    bins = list(evidence.bins)
    judged = off = scatter_sd = known = 0.0
    for departure in departures:
        one = bins[departure.bin_at]
        # What is seen itself takes the place of what was inferred.
        anew = one.before_shift or (one.inferred and not departure.inferred)
        known = 0.0 if anew else weighed(one, at)
        spread = departure.spread**2 + evidence.shift**2
        scatter_sd = sqrt(evidence.variance + spread / (1.0 + known))
        off = departure.off - one.mean
        judged = min(max(off / scatter_sd, -CLIP), CLIP)
        share = weight / (known + weight)
        bins[departure.bin_at] = Bin(
            weight=known + weight,
            mean=one.mean + share * judged * scatter_sd,
            cap_w=departure.cap_w if known == 0.0 else one.cap_w + share * (departure.cap_w - one.cap_w),
            seen_at=at,
            inferred=departure.inferred and (one.inferred or known == 0.0),
        )
    variance = evidence.variance
    if known >= 1.0:
        seen_sd = min(abs(judged), SPREAD_CLIP) * scatter_sd
        variance += SCATTER_RATE * min(1.0, weight) * (seen_sd**2 / CLIPPED_VARIANCE - variance)
    after = replace(evidence, bins=tuple(bins), variance=max(variance, evidence.least_variance))
    if known < ESTABLISHED and abs(judged) < CLIP:
        return after
    after = replace(
        after,
        rise=max(0.0, evidence.rise + judged - SLACK),
        fall=max(0.0, evidence.fall - judged - SLACK),
        recent=(*evidence.recent[1 - REMEMBERED :], off),
    )
    if max(after.rise, after.fall) <= ALARM:
        return after
    return _shifted(after, before=evidence, departures=departures, at=at)


def forgotten(evidence: Evidence, at: datetime) -> Evidence:
    """What is left once something else than this figure is known to have changed: a memory, no longer evidence."""
    return replace(evidence, bins=tuple(_aged(one, at) for one in evidence.bins), rise=0.0, fall=0.0)


def _shifted(evidence: Evidence, *, before: Evidence, departures: Sequence[Departure], at: datetime) -> Evidence:
    """The bins that showed the shift begin anew where they are now; the others are memories."""
    moved = median(evidence.recent)
    bins = [_aged(one, at) for one in evidence.bins]
    for departure in departures:
        bins[departure.bin_at] = Bin(
            weight=1.0, mean=departure.off, cap_w=departure.cap_w, seen_at=at, inferred=departure.inferred
        )
    return replace(
        evidence,
        bins=tuple(bins),
        # The departures before the alarm were the shift's, not scatter.
        variance=before.variance,
        rise=0.0,
        fall=0.0,
        recent=(),
        shift=abs(moved),
        shifted_at=at,
    )


def _aged(one: Bin, at: datetime) -> Bin:
    return replace(one, weight=min(weighed(one, at), RETAINED), before_shift=True)


@dataclass(frozen=True, slots=True, kw_only=True)
class Prior:
    """How curves of different work depart from the seed: standard deviation at each cap, alike over ``alike_w``.

    Raises ``ValueError`` where the two sequences differ in length.
    """

    caps_w: tuple[float, ...]
    spread: tuple[float, ...]
    alike_w: float
    least_error: float = 0.0

    def __post_init__(self) -> None:
        if len(self.caps_w) != len(self.spread):
            raise ValueError("a spread belongs to each cap")


class Estimate(NamedTuple):
    """Departure from the seed and its standard error, one a cap of the prior."""

    off: NDArray[np.float64]
    error: NDArray[np.float64]


class Sighting(NamedTuple):
    """A figure ``off`` the seed at ``cap_w``, with the variance of its error."""

    cap_w: float
    off: float
    variance: float
    before_shift: bool


def sightings(evidence: Evidence, at: datetime) -> list[Sighting]:
    """What the bins hold at an instant."""
    return [
        Sighting(one.cap_w, one.mean, evidence.variance / weight + one.inferred * INFERRED_ERROR**2, one.before_shift)
        for one in evidence.bins
        if (weight := weighed(one, at)) > 0.0
    ]


def estimated(seen: Sequence[Sighting], prior: Prior, *, shift: float = 0.0) -> Estimate:
    """The best guess of the departure at each cap of the prior.

    ``shift`` widens what may be between caps: the job has turned to something else by so much.
    """
    caps_w, known = np.array(prior.caps_w), np.array(prior.spread)
    # What is certain by definition (no spread) stays so.
    spread = np.hypot(known, np.where(known > 0.0, shift, 0.0))
    if not seen:
        return Estimate(np.zeros(len(caps_w)), np.hypot(spread, prior.least_error))
    table = np.array(seen, dtype=np.float64)
    at_w = table[:, 0]
    seen_spread = np.interp(at_w, caps_w, spread)
    # A memory from before a shift is worth as much as the seed is.
    noise = table[:, 2] + table[:, 3] * seen_spread**2 + prior.least_error**2
    among = _alike(at_w, at_w, prior.alike_w) * seen_spread[:, None] * seen_spread
    towards = _alike(caps_w, at_w, prior.alike_w) * spread[:, None] * seen_spread
    gain = np.linalg.solve(among + np.diag(noise), towards.T).T
    left = np.maximum(0.0, spread**2 - (gain * towards).sum(axis=1))
    return Estimate(gain @ table[:, 1], np.sqrt(left + prior.least_error**2))


def _alike(left_w: NDArray[np.float64], right_w: NDArray[np.float64], alike_w: float) -> NDArray[np.float64]:
    """Matern's covariance of order 3/2: curves bend, some of them sharply where a cap ceases to bind."""
    apart = np.abs(left_w[:, None] - right_w) * (sqrt(3.0) / alike_w)
    return np.asarray((1.0 + apart) * np.exp(-apart))
