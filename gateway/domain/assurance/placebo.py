"""Placebo days: the very same rule, at the same hours of days without an event, where the true reduction is zero.

What the rule credits there is its error, and a bound of a reduction is what is left of it after an error that is
seldom exceeded. The quantile is the conformal one: of n errors the one of rank ceil((n + 1) * level), which holds with
at least that probability where the event's day is exchangeable with the placebo days (Vovk, Gammerman and Shafer,
Algorithmic Learning in a Random World, 2005; from memory, to be checked). With fewer days than that there is no bound.
"""

import math
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from gateway.domain.assurance.inputs import AssuranceInputs, answer, reduction_wh
from gateway.domain.baseline.days import midnight, same_wall_clock
from gateway.domain.baseline.method import DayMatching, GeneratorOutput
from gateway.domain.baseline.question import type_of
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import Rule
from gateway.domain.verification import VerifiedInterval

_SATURDAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class PlaceboDay:
    """One day's errors, baseline less measured, by interval and in all; ``baseline_days`` is how many the rule took."""

    date: str
    errors_w: tuple[float, ...]
    measured_w: tuple[float, ...]
    error_wh: float
    measured_wh: float
    baseline_days: int


@dataclass(frozen=True, slots=True, kw_only=True)
class PassedDay:
    """A day of the look-back that is no placebo, and why."""

    date: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Bound:
    """A lower bound of a signed reduction (W or Wh, as what it bounds).

    ``rank`` of ``days`` errors was taken off. ``value`` is ``None`` where ``days`` are fewer than ``days_needed``.
    """

    level: float
    value: float | None
    rank: int
    days: int
    days_needed: int


@dataclass(frozen=True, slots=True, kw_only=True)
class BoundedInterval:
    """Signed reduction of one interval, ``None`` without a reading, with its bounds."""

    starts_at: datetime
    reduction_w: float | None
    p50_w: float | None
    p90_w: float | None


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """Bounds of a reduction in all and by interval; ``reduction_wh`` is what they bound."""

    reduction_wh: float
    p50: Bound
    p90: Bound
    intervals: tuple[BoundedInterval, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Placebo:
    """The placebo days of one event, the earliest first."""

    days: tuple[PlaceboDay, ...]
    passed: tuple[PassedDay, ...]


def placebo(inputs: AssuranceInputs, days: Sequence[date] | None = None) -> Placebo:
    """Ask the rule on every day of the event's type in the look-back, or on the ``days`` given.

    The look-back ends the day before the event: what comes later is not known when an event is settled.
    """
    own = inputs.event_start.astimezone(inputs.timezone).date()
    wanted = days or [own - timedelta(days=back) for back in range(inputs.look_back_days, 0, -1)]
    found = [_look_at(inputs, own, day) for day in wanted]
    return Placebo(
        days=tuple(item for item in found if isinstance(item, PlaceboDay)),
        passed=tuple(item for item in found if isinstance(item, PassedDay)),
    )


def bound(observed: float, errors: Sequence[float], level: float) -> Bound:
    """The lower bound of a reduction that holds with at least the probability ``level``, 0 to 1."""
    count = len(errors)
    rank = _rank(count, level)
    value = observed - sorted(errors)[rank - 1] if rank <= count else None
    return Bound(level=level, value=value, rank=rank, days=count, days_needed=_needed(level))


def bounds(inputs: AssuranceInputs, baseline: Baseline, days: Sequence[PlaceboDay]) -> Bounds:
    """P50 and P90 lower bounds, from the errors at the same hours of the placebo days.

    Without a settlement they are of the baseline's own intervals. With one they are of the settled slices, which may be
    shorter or longer than those: an error counts for a slice by the time that both have in common, and as much as the
    slice is covered.
    """
    settled = inputs.settled
    if not settled:
        reductions_wh = reduction_wh(baseline, inputs.event_start, inputs.event_end)
        errors_wh = [day.error_wh for day in days]
        rows = _of_intervals(baseline, days)
    else:
        reductions_wh = math.fsum(one.delivered_wh for one in settled)
        by_slice = _errors_by_slice(baseline, days, settled)
        covered_s = [one.duration_s * one.coverage_fraction for one in settled]
        errors_wh = [
            math.fsum(error_w * seconds for error_w, seconds in zip(errors_w, covered_s, strict=True)) / 3_600
            for errors_w in zip(*by_slice, strict=True)
        ]
        rows = tuple(
            _bounded(one.starts_at, one.delivered_wh * 3_600 / seconds if seconds > 0.0 else None, errors_w)
            for one, errors_w, seconds in zip(settled, by_slice, covered_s, strict=True)
        )
    return Bounds(
        reduction_wh=reductions_wh,
        p50=bound(reductions_wh, errors_wh, 0.5),
        p90=bound(reductions_wh, errors_wh, 0.9),
        intervals=rows,
    )


def _of_intervals(baseline: Baseline, days: Sequence[PlaceboDay]) -> tuple[BoundedInterval, ...]:
    alike = _alike(baseline, days)
    return tuple(
        _bounded(interval.starts_at, interval.reduction_w, [day.errors_w[index] for day in alike])
        for index, interval in enumerate(baseline.intervals)
    )


def _bounded(starts_at: datetime, reduction_w: float | None, errors_w: Sequence[float]) -> BoundedInterval:
    return BoundedInterval(
        starts_at=starts_at,
        reduction_w=reduction_w,
        p50_w=None if reduction_w is None else bound(reduction_w, errors_w, 0.5).value,
        p90_w=None if reduction_w is None else bound(reduction_w, errors_w, 0.9).value,
    )


def _alike(baseline: Baseline, days: Sequence[PlaceboDay]) -> list[PlaceboDay]:
    return [day for day in days if len(day.errors_w) == len(baseline.intervals)]


def _errors_by_slice(
    baseline: Baseline, days: Sequence[PlaceboDay], settled: Sequence[VerifiedInterval]
) -> list[list[float]]:
    """For each slice its mean error in watts, day by day."""
    alike = _alike(baseline, days)
    found = []
    for one in settled:
        ends_at = one.starts_at + timedelta(seconds=one.duration_s)
        shared_s = [
            max(
                0.0,
                (
                    min(ends_at, interval.starts_at + timedelta(seconds=interval.duration_s))
                    - max(one.starts_at, interval.starts_at)
                ).total_seconds(),
            )
            for interval in baseline.intervals
        ]
        found.append(
            [
                math.fsum(error_w * share_s for error_w, share_s in zip(day.errors_w, shared_s, strict=True))
                / one.duration_s
                for day in alike
            ]
        )
    return found


def _rank(count: int, level: float) -> int:
    # A level such as 0.9 is a little more in binary: ten times that must not become eleven.
    return math.ceil((count + 1) * level - 1e-9)


def _needed(level: float) -> int:
    return math.ceil(level / (1.0 - level) - 1e-9)


def _look_at(inputs: AssuranceInputs, own: date, day: date) -> PlaceboDay | PassedDay:
    if _kind(inputs.rule, day) != _kind(inputs.rule, own):
        return PassedDay(date=day.isoformat(), reason="another day type")
    start = same_wall_clock(inputs.event_start, own, day, inputs.timezone)
    if start is None:
        return PassedDay(date=day.isoformat(), reason="the clock skipped these hours")
    end = start + (inputs.event_end - inputs.event_start)
    events = (*inputs.excluded, (inputs.event_start, inputs.event_end))
    opens, closes = midnight(day, inputs.timezone), midnight(day + timedelta(days=1), inputs.timezone)
    if any(begins < closes and ends > opens for begins, ends in events):
        return PassedDay(date=day.isoformat(), reason="event day")
    found = answer(inputs, inputs.rule, start, end, as_placebo=True)
    if isinstance(found, Insufficient):
        return PassedDay(date=day.isoformat(), reason=f"no baseline: {found.reason}")
    measured_w = [interval.measured_w for interval in found.intervals]
    complete_w = tuple(power_w for power_w in measured_w if power_w is not None)
    if len(complete_w) < len(measured_w):
        return PassedDay(date=day.isoformat(), reason="readings are missing in these hours")
    return PlaceboDay(
        date=day.isoformat(),
        errors_w=tuple(
            interval.baseline_w - power for interval, power in zip(found.intervals, complete_w, strict=True)
        ),
        measured_w=complete_w,
        error_wh=reduction_wh(found, start, end),
        measured_wh=math.fsum(
            power_w * interval.duration_s / 3_600 for interval, power_w in zip(found.intervals, complete_w, strict=True)
        ),
        baseline_days=sum(candidate.selected for candidate in found.days),
    )


def _kind(rule: Rule, day: date) -> str:
    """The day type after the rule; a rule without day types tells working days from weekends."""
    match rule.method:
        case DayMatching() as method:
            return type_of(method, day).name
        case GeneratorOutput(typical=method):
            return type_of(method, day).name
        case _:
            return "weekend" if day.weekday() >= _SATURDAY else "working day"
