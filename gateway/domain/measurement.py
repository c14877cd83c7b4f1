"""From readings to energy: a first look at plausibility, slices of time, and energy with coverage and quality.

A power reading is a sample that stands until the next one, and never longer than a largest gap: beyond it nobody knows
what the meter saw, and coverage says so. Sample and hold, not trapezoids, since that is what one row of a power log
means, and since energy then adds up exactly however time is cut.

Readings are taken in the order of their own stamps, whatever the order of their arrival. Of two readings with the same
stamp the first one recorded counts; where the two differ, the intervals it touches are suspect.
"""

import math
from bisect import bisect_right
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from typing import NamedTuple

from hardware.device import PowerReading, Quality

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)
_US_A_SECOND = 1_000_000
_US_AN_HOUR = 3_600 * _US_A_SECOND
_FUTURE_TOLERANCE = timedelta(seconds=5)

# An estimate was put there knowingly, by a rule; a suspect reading is one that nobody has judged yet.
_FROM_GOOD_TO_BAD = (Quality.GOOD, Quality.ESTIMATED, Quality.SUSPECT)


@dataclass(frozen=True, slots=True, kw_only=True)
class IntervalEnergy:
    """Energy over ``[starts_at, starts_at + duration_s)``, import positive.

    ``coverage_fraction`` is the share of the interval that readings stand for, 0 to 1; ``energy_wh`` counts the covered
    share only. ``quality`` is the worst of its readings', and suspect where there are none.
    """

    starts_at: datetime
    duration_s: float
    energy_wh: float
    coverage_fraction: float
    quality: Quality = Quality.GOOD

    @property
    def ends_at(self) -> datetime:
        """The first instant after it."""
        return self.starts_at + timedelta(seconds=self.duration_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class Slice:
    """The stretch of time ``[starts_at, starts_at + duration_s)``."""

    starts_at: datetime
    duration_s: float

    @property
    def ends_at(self) -> datetime:
        """The first instant after it."""
        return self.starts_at + timedelta(seconds=self.duration_s)


class _Sample(NamedTuple):
    """A reading and the time it stands for, in microseconds since the epoch."""

    begin_us: int
    end_us: int
    power_w: float
    quality: Quality


def epoch_us(at: datetime) -> int:
    """Whole microseconds since 1970 in UTC: exact, so that time adds up. A naive stamp raises ``ValueError``."""
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    return (at - _EPOCH) // _MICROSECOND


def from_epoch_us(instant_us: int) -> datetime:
    """The inverse of ``epoch_us``, in UTC."""
    return _EPOCH + instant_us * _MICROSECOND


def seconds_us(seconds: float) -> int:
    """Seconds as whole microseconds."""
    return round(seconds * _US_A_SECOND)


def worst(qualities: Iterable[Quality]) -> Quality:
    """The worst of them: suspect, then estimated, then good; suspect where there are none."""
    return max(qualities, key=_FROM_GOOD_TO_BAD.index, default=Quality.SUSPECT)


def assess(
    readings: Sequence[PowerReading],
    *,
    now: datetime,
    last: Mapping[str, PowerReading] | None = None,
    generates: bool = False,
) -> tuple[PowerReading, ...]:
    """Mark as suspect what cannot be right, before anything is recorded; values are never changed.

    ``last`` holds the reading before these by meter. Suspect are: negative import where the site does not generate; a
    stamp over 5 s ahead of ``now``; a stamp before the meter's last one; another value under the same stamp. A reading
    whose power is no finite number is no reading and is left out.
    """
    previous = dict(last or {})
    assessed = []
    for reading in readings:
        if not math.isfinite(reading.power_w):
            continue
        before = previous.get(reading.meter_id)
        # A stamp from the future is no yardstick: it would make every right one after it look late.
        if before is not None and before.measured_at - now > _FUTURE_TOLERANCE:
            before = None
        doubtful = (
            (reading.power_w < 0 and not generates)
            or reading.measured_at - now > _FUTURE_TOLERANCE
            or (before is not None and _contradicts(reading, before))
        )
        assessed.append(replace(reading, quality=Quality.SUSPECT) if doubtful else reading)
        previous[reading.meter_id] = reading
    return tuple(assessed)


def _contradicts(reading: PowerReading, before: PowerReading) -> bool:
    if reading.measured_at == before.measured_at:
        return reading.power_w != before.power_w
    return reading.measured_at < before.measured_at


def slices(start: datetime, end: datetime, interval_s: float) -> tuple[Slice, ...]:
    """Cut ``[start, end)`` at the multiples of ``interval_s`` since the epoch; the first and last may be shorter.

    Empty where ``end`` is not after ``start``. Raises ``ValueError`` for an interval that is not positive.
    """
    step_us = seconds_us(interval_s)
    if step_us <= 0:
        raise ValueError(f"an interval of {interval_s} s is not positive")
    begin_us, stop_us = epoch_us(start), epoch_us(end)
    inner = range((begin_us // step_us + 1) * step_us, stop_us, step_us)
    cuts = [begin_us, *inner, stop_us] if begin_us < stop_us else []
    return tuple(
        Slice(starts_at=from_epoch_us(left), duration_s=(right - left) / _US_A_SECOND) for left, right in pairwise(cuts)
    )


def integrate(
    readings: Sequence[PowerReading], slices: Sequence[Slice], *, max_gap_s: float = 60.0
) -> tuple[IntervalEnergy, ...]:
    """Energy of one meter over each slice, in the slices' order.

    Each reading stands until the next and at most ``max_gap_s``; hand over the readings from ``max_gap_s`` before the
    first slice on, so that the one in force at its start is among them. Negative watts count as they are. Raises
    ``ValueError`` for a power that is no finite number, a naive stamp, readings of two meters, or a slice without
    duration.
    """
    samples = _samples(readings, max_gap_s)
    begins = [sample.begin_us for sample in samples]
    return tuple(_energy(piece, samples, begins) for piece in slices)


def mean_power(
    readings: Sequence[PowerReading], start: datetime, end: datetime, *, max_gap_s: float = 60.0
) -> tuple[float, int] | None:
    """Mean power in watts over the covered part of ``[start, end)``, and how many readings it rests on.

    ``None`` where no reading stands for any of it. Raises as ``integrate``.
    """
    samples = _samples(readings, max_gap_s)
    parts = list(_parts(samples, [sample.begin_us for sample in samples], epoch_us(start), epoch_us(end)))
    covered_us = sum(overlap_us for overlap_us, _ in parts)
    if not covered_us:
        return None
    return math.fsum(sample.power_w * overlap_us for overlap_us, sample in parts) / covered_us, len(parts)


def _samples(readings: Sequence[PowerReading], max_gap_s: float) -> list[_Sample]:
    """The readings by stamp, each with the time it stands for."""
    if max_gap_s <= 0:
        raise ValueError(f"a largest gap of {max_gap_s} s is not positive")
    if len({reading.meter_id for reading in readings}) > 1:
        raise ValueError("the readings are of more than one meter")
    chosen: dict[int, tuple[float, Quality]] = {}
    for reading in readings:
        if not math.isfinite(reading.power_w):
            raise ValueError(f"meter {reading.meter_id} at {reading.measured_at.isoformat()}: {reading.power_w} W")
        stamp_us = epoch_us(reading.measured_at)
        power_w, quality = chosen.setdefault(stamp_us, (reading.power_w, reading.quality))
        if power_w != reading.power_w:
            chosen[stamp_us] = (power_w, worst((quality, Quality.SUSPECT)))
    gap_us = seconds_us(max_gap_s)
    stamps = sorted(chosen)
    ends = [min(following, stamp + gap_us) for stamp, following in pairwise(stamps)]
    ends += [stamp + gap_us for stamp in stamps[-1:]]
    return [_Sample(stamp, end, *chosen[stamp]) for stamp, end in zip(stamps, ends, strict=True)]


def _parts(samples: list[_Sample], begins: list[int], begin_us: int, end_us: int) -> Iterable[tuple[int, _Sample]]:
    """For how many microseconds each sample stands within ``[begin_us, end_us)``; those that do not are left out."""
    # By index: to skip what lies before would make months of readings quadratic.
    for index in range(max(bisect_right(begins, begin_us) - 1, 0), len(samples)):
        sample = samples[index]
        if sample.begin_us >= end_us:
            return
        overlap_us = min(end_us, sample.end_us) - max(begin_us, sample.begin_us)
        if overlap_us > 0:
            yield overlap_us, sample


def _energy(piece: Slice, samples: list[_Sample], begins: list[int]) -> IntervalEnergy:
    length_us = seconds_us(piece.duration_s)
    if length_us <= 0:
        raise ValueError(f"the slice at {piece.starts_at.isoformat()} lasts {piece.duration_s} s")
    begin_us = epoch_us(piece.starts_at)
    parts = list(_parts(samples, begins, begin_us, begin_us + length_us))
    return IntervalEnergy(
        starts_at=piece.starts_at,
        duration_s=piece.duration_s,
        energy_wh=math.fsum(sample.power_w * overlap_us for overlap_us, sample in parts) / _US_AN_HOUR,
        coverage_fraction=sum(overlap_us for overlap_us, _ in parts) / length_us,
        quality=worst(sample.quality for _, sample in parts),
    )
