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


def bounded_intervals(baseline: Baseline, days: Sequence[PlaceboDay]) -> tuple[BoundedInterval, ...]:
    """P50 and P90 lower bounds of each interval, from the errors of the same interval on the placebo days."""
    rows = []
    alike = [day for day in days if len(day.errors_w) == len(baseline.intervals)]
    for index, interval in enumerate(baseline.intervals):
        errors = [day.errors_w[index] for day in alike]
        reduction_w = interval.reduction_w
        rows.append(
            BoundedInterval(
                starts_at=interval.starts_at,
                reduction_w=reduction_w,
                p50_w=None if reduction_w is None else bound(reduction_w, errors, 0.5).value,
                p90_w=None if reduction_w is None else bound(reduction_w, errors, 0.9).value,
            )
        )
    return tuple(rows)


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
        error_wh=reduction_wh(found),
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
