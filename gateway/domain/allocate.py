"""From a target for site power to a cap for each job's devices, by marginal throughput per watt.

A job's curve is one device's, linear between its points. Where throughput against power is not concave it is replaced
by its upper concave envelope (``Envelope.error`` says by how much that flatters it). Filling the steepest segments
first is then exact: no other allocation of the same power gives more weighted throughput. Caps are not rounded.

A job that runs never gets less than its ``min_throughput``; what the floors leave undone is ``shortfall_w``. Pauses
are chosen once for a plan (``choose_pauses``), not at each step.
"""

from bisect import bisect_right
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from hardware.job import CurvePoint

_SAME_W = 1e-9
"""Two powers this near to each other, as a fraction of the larger, are one: rounding, not physics."""


@dataclass(frozen=True, slots=True, kw_only=True)
class AllocationJob:
    """What allocation must know of a job.

    ``curve`` is one device's, in strictly rising order of cap and not empty. ``idle_w`` is what a device draws while
    its job is paused, since a paused job keeps its devices; it never counts for more than the draw at the job's floor.
    """

    job_id: str
    weight: float
    devices: int
    min_throughput: float
    can_pause: bool
    curve: tuple[CurvePoint, ...]
    idle_w: float = 0.0

    def __post_init__(self) -> None:
        if not self.curve:
            raise ValueError(f"job {self.job_id!r} has no curve")


@dataclass(frozen=True, slots=True, kw_only=True)
class JobAllocation:
    """A job's share. ``cap_w`` and ``throughput`` are one device's, ``power_w`` is all of them together.

    A paused job has the cap of its floor, so that it wakes up no higher. ``envelope_error`` is the most by which
    ``throughput`` can flatter the measured curve.
    """

    job_id: str
    cap_w: float
    paused: bool
    power_w: float
    throughput: float
    envelope_error: float = 0.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Allocation:
    """The best way under ``target_w``. ``expected_w`` includes the fixed power.

    ``shortfall_w`` is what remains above the target with every job at its floor. ``weighted_throughput`` is
    sum(weight * devices * throughput) / sum(weight * devices), 1 where that weight is 0.
    """

    target_w: float
    expected_w: float
    shortfall_w: float
    weighted_throughput: float
    jobs: tuple[JobAllocation, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Envelope:
    """Upper concave envelope of throughput against power: rising powers, throughput that never falls.

    What a curve gives past its best throughput is left out. ``error`` is the most that the envelope lies above a
    measured point.
    """

    power_w: tuple[float, ...]
    throughput: tuple[float, ...]
    error: float

    def throughput_at(self, power_w: float) -> float:
        """Throughput of a device that draws ``power_w``."""
        # Not numpy.interp: of a single number it takes ten times as long.
        over = bisect_right(self.power_w, power_w)
        if over == 0:
            return self.throughput[0]
        if over == len(self.power_w):
            return self.throughput[-1]
        low_w, high_w = self.power_w[over - 1], self.power_w[over]
        low, high = self.throughput[over - 1], self.throughput[over]
        return low + (high - low) * ((power_w - low_w) / (high_w - low_w))

    def power_for(self, throughput: float) -> float:
        """Least power that gives ``throughput``; the last point's where none does."""
        if throughput <= self.throughput[0]:
            return self.power_w[0]
        for i in range(1, len(self.power_w)):
            low, high = self.throughput[i - 1], self.throughput[i]
            if throughput <= high:
                share = (throughput - low) / (high - low)
                return self.power_w[i - 1] + share * (self.power_w[i] - self.power_w[i - 1])
        # The envelope's end may be flat: its first point there does as well.
        best = self.throughput[-1]
        return next(power for power, given in zip(self.power_w, self.throughput, strict=True) if given == best)


def envelope(curve: Sequence[CurvePoint]) -> Envelope:
    """The upper concave envelope of a curve, by Andrew's monotone chain."""
    points: list[tuple[float, float]] = []
    for power, throughput in sorted((point.power_w, point.throughput) for point in curve):
        if points and power - points[-1][0] <= _SAME_W * power:
            points[-1] = (points[-1][0], max(throughput, points[-1][1]))
        else:
            points.append((power, throughput))
    hull: list[tuple[float, float]] = []
    for power, throughput in points:
        while len(hull) >= 2 and _below(hull[-2], hull[-1], (power, throughput)):
            hull.pop()
        hull.append((power, throughput))
    while len(hull) >= 2 and hull[-1][1] < hull[-2][1]:
        hull.pop()
    powers, throughputs = zip(*hull, strict=True)
    exact = Envelope(power_w=powers, throughput=throughputs, error=0.0)
    if len(hull) == len(points):
        return exact
    error = max(exact.throughput_at(power) - throughput for power, throughput in points)
    return replace(exact, error=max(0.0, error))


def _below(left: tuple[float, float], middle: tuple[float, float], right: tuple[float, float]) -> bool:
    """Whether the middle point lies on or below the line from left to right."""
    return (middle[1] - left[1]) * (right[0] - left[0]) <= (right[1] - left[1]) * (middle[0] - left[0])


def guarded_floor(curve: Sequence[CurvePoint], min_throughput: float) -> float:
    """The envelope's throughput from which on the *measured* curve gives at least ``min_throughput``.

    Where the curve is not concave the envelope promises more than was measured. A floor set here instead keeps what
    was promised to the job.
    """
    ends = envelope(curve)
    held = len(curve)
    while held > 0 and curve[held - 1].throughput >= min_throughput:
        held -= 1
    if held == 0:
        return min(min_throughput, ends.throughput[0])
    if held == len(curve):
        return ends.throughput[-1]
    under, over = curve[held - 1], curve[held]
    share = (min_throughput - under.throughput) / (over.throughput - under.throughput)
    power_w = under.power_w + share * (over.power_w - under.power_w)
    return max(min_throughput, ends.throughput_at(power_w))


class _Caps:
    """From the power of a device of each job to its cap: the highest at which the measured curve draws no more.

    Curves are rows of one table, filled up to the longest.
    """

    def __init__(self, curves: Sequence[Sequence[CurvePoint]]) -> None:
        self._points = np.array([len(curve) for curve in curves], dtype=np.intp)
        shape = len(curves), int(self._points.max(initial=1))
        self._cap, self._power = np.full(shape, np.inf), np.full(shape, np.inf)
        used = np.arange(shape[1]) < self._points[:, None]
        self._cap[used] = [point.cap_w for curve in curves for point in curve]
        self._power[used] = [point.power_w for curve in curves for point in curve]
        # A noisy curve may fall: what counts is the least power from a point on, which never does.
        self._least = np.minimum.accumulate(self._power[:, ::-1], axis=1)[:, ::-1]

    def at(self, power_w: NDArray[np.float64]) -> NDArray[np.float64]:
        """The cap of each job, in the order of the curves."""
        row = np.arange(len(power_w))
        after = (self._least <= power_w[:, None] * (1.0 + _SAME_W)).sum(axis=1)
        under = np.maximum(after - 1, 0)
        over = np.minimum(under + 1, self._points - 1)
        low_w, high_w = self._power[row, under], self._power[row, over]
        inside = (after > 0) & (power_w > low_w) & (high_w > low_w)
        share = np.where(inside, (power_w - low_w) / np.where(inside, high_w - low_w, 1.0), 0.0)
        cap_w = self._cap[row, under]
        return np.asarray(cap_w + np.minimum(share, 1.0) * (self._cap[row, over] - cap_w))


class Allocator:
    """The segments of a set of jobs, sorted once, so that a control step costs one pass over them.

    ``paused`` jobs draw their idle power and give nothing. ``floor_w`` is the least that the jobs can be held to,
    ``ceiling_w`` what they draw with no cap; both without the site's fixed power.
    """

    def __init__(self, jobs: Sequence[AllocationJob], *, paused: Collection[str] = ()) -> None:
        self._jobs = tuple(jobs)
        self._paused = [job.job_id in paused for job in self._jobs]
        self._envelopes = [envelope(job.curve) for job in self._jobs]
        self._caps = _Caps([job.curve for job in self._jobs])
        floors = [ends.power_for(job.min_throughput) for job, ends in zip(self._jobs, self._envelopes, strict=True)]
        self._floor_caps = self._caps.at(np.array(floors))
        self._devices = np.array([job.devices for job in self._jobs], dtype=np.float64)
        weight = np.array([job.weight for job in self._jobs], dtype=np.float64)
        self._weight = weight * self._devices
        self._floor_power, self._floor_throughput, self._top = self._ends(floors)
        self._sort_segments(floors)
        self.floor_w = float(self._floor_power.sum())
        self.ceiling_w = self.floor_w + float(self._width.sum())

    def _ends(self, floors: Sequence[float]) -> tuple[NDArray[np.float64], NDArray[np.float64], NDArray[np.float64]]:
        """Power (of the job) and throughput (of a device) at the floor, and the throughput at the top."""
        rows = []
        for job, ends, floor, paused in zip(self._jobs, self._envelopes, floors, self._paused, strict=True):
            if paused:
                rows.append((job.devices * min(job.idle_w, floor), 0.0, 0.0))
            else:
                rows.append((job.devices * floor, ends.throughput_at(floor), ends.throughput[-1]))
        table = np.array(rows, dtype=np.float64).reshape(len(rows), 3)
        return table[:, 0], table[:, 1], table[:, 2]

    def _sort_segments(self, floors: Sequence[float]) -> None:
        owner: list[int] = []
        width: list[float] = []
        per_watt: list[float] = []
        for i, (job, ends, floor) in enumerate(zip(self._jobs, self._envelopes, floors, strict=True)):
            low, given = floor, ends.throughput_at(floor)
            for power, throughput in zip(ends.power_w, ends.throughput, strict=True):
                if power <= low or self._paused[i]:
                    continue
                owner.append(i)
                width.append(job.devices * (power - low))
                per_watt.append((throughput - given) / (power - low) / job.devices)
                low, given = power, throughput
        order = np.argsort(-np.array(per_watt) * self._weight[owner], kind="stable")
        self._owner = np.array(owner, dtype=np.intp)[order]
        self._width = np.array(width, dtype=np.float64)[order]
        self._per_watt = np.array(per_watt, dtype=np.float64)[order]
        self._before = np.cumsum(self._width) - self._width

    def solve(self, target_w: float, fixed_w: float = 0.0) -> Allocation:
        """The best allocation with ``fixed_w`` and the jobs together at or under ``target_w``."""
        spare_w = target_w - fixed_w - self.floor_w
        filled = np.clip(spare_w - self._before, 0.0, self._width)
        count = len(self._jobs)
        power = self._floor_power + np.bincount(self._owner, weights=filled, minlength=count)
        throughput = self._floor_throughput + np.bincount(self._owner, weights=filled * self._per_watt, minlength=count)
        throughput = np.minimum(throughput, self._top)
        weight = float(self._weight.sum())
        return Allocation(
            target_w=target_w,
            expected_w=fixed_w + float(power.sum()),
            shortfall_w=max(0.0, -spare_w),
            weighted_throughput=float(self._weight @ throughput) / weight if weight > 0.0 else 1.0,
            jobs=self._shares(power, throughput),
        )

    def _shares(self, power: NDArray[np.float64], throughput: NDArray[np.float64]) -> tuple[JobAllocation, ...]:
        caps = np.where(self._paused, self._floor_caps, self._caps.at(power / self._devices))
        rows = zip(
            self._jobs,
            caps.tolist(),
            self._paused,
            power.tolist(),
            throughput.tolist(),
            self._envelopes,
            strict=True,
        )
        return tuple(
            JobAllocation(
                job_id=job.job_id,
                cap_w=cap_w,
                paused=paused,
                power_w=job_w,
                throughput=given,
                envelope_error=ends.error,
            )
            for job, cap_w, paused, job_w, given, ends in rows
        )


def allocate(
    jobs: Sequence[AllocationJob], *, target_w: float, fixed_w: float = 0.0, paused: Collection[str] = ()
) -> Allocation:
    """One allocation; exact for the given set of paused jobs. Whoever allocates often keeps an ``Allocator``."""
    return Allocator(jobs, paused=paused).solve(target_w, fixed_w)


def choose_pauses(jobs: Sequence[AllocationJob], *, target_w: float, fixed_w: float = 0.0) -> tuple[str, ...]:
    """Which jobs to pause: none where caps at the floors reach the target, else as few as the order below allows.

    The least weighted throughput lost for each watt saved goes first; what turns out not to be needed runs after all.
    All that may be paused are, where even that is not enough.
    """
    at_floors = Allocator(jobs).solve(0.0)
    need_w = fixed_w + at_floors.expected_w - target_w
    tolerance_w = _SAME_W * max(1.0, abs(target_w))
    offers: list[tuple[float, str, float]] = []
    for job, share in zip(jobs, at_floors.jobs, strict=True):
        saved_w = share.power_w - job.devices * job.idle_w
        if job.can_pause and saved_w > 0.0:
            offers.append((job.weight * job.devices * share.throughput / saved_w, job.job_id, saved_w))
    chosen: list[tuple[float, str, float]] = []
    for offer in sorted(offers):
        if need_w <= tolerance_w:
            break
        chosen.append(offer)
        need_w -= offer[2]
    for offer in sorted(chosen, key=lambda one: -one[0] * one[2]):
        if need_w + offer[2] <= tolerance_w:
            chosen.remove(offer)
            need_w += offer[2]
    return tuple(job_id for _, job_id, _ in chosen)
