"""Tests for what makes a baseline say more than it should: each a figure, a limit with its reason, and a verdict.

A finding is a place to look at and no accusation: loads rise before events for honest reasons, too.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from enum import StrEnum
from itertools import pairwise
from statistics import fmean, stdev

from gateway.domain.assurance.inputs import AssuranceInputs, mean_between_w
from gateway.domain.assurance.placebo import Placebo
from gateway.domain.baseline.days import same_wall_clock
from gateway.domain.baseline.result import Baseline

_Z_LIMIT = 2.5
_Z_REASON = "on a clean day a normal error is beyond 2.5 about once in a hundred times"
_LEAST_DAYS = 8
_STALE_DAYS = 7
_EVENT_SHARE = 0.5
_EVENTS_PER_30_DAYS = 8
_YEAR = timedelta(days=365)
_WINDOW = timedelta(hours=4)
_NOTICE = timedelta(hours=2)


class Verdict(StrEnum):
    """What a test came to."""

    PASS = "pass"  # noqa: S105 - a verdict, no password
    LOOK = "look"
    CANNOT_SAY = "cannot say"


@dataclass(frozen=True, slots=True, kw_only=True)
class GamingTest:
    """``figure`` is looked at above ``limit``; ``None`` where it cannot be taken. ``found`` says it in plain words."""

    name: str
    figure: float | None
    limit: float
    reason: str
    verdict: Verdict
    found: str


def gaming_tests(inputs: AssuranceInputs, baseline: Baseline, placebo: Placebo) -> tuple[GamingTest, ...]:
    """All tests, in a fixed order."""
    return (
        _pre_event_ramp(inputs, placebo),
        _change_at_notice(inputs, placebo),
        _stale(inputs, baseline),
        _event_share(baseline),
        _clamp(baseline),
        _switch(inputs),
        _frequency(inputs),
        _jobs(inputs),
    )


def _pre_event_ramp(inputs: AssuranceInputs, placebo: Placebo) -> GamingTest:
    """The rise over the four hours before the ramp against the four before them."""
    until = inputs.ramp_start or inputs.event_start
    return _against_placebo(
        inputs,
        placebo,
        "pre-event ramp",
        lambda moved: _step_w(inputs, until + moved, _WINDOW),
        "load in the 4 h before the event against the 4 h before them",
    )


def _change_at_notice(inputs: AssuranceInputs, placebo: Placebo) -> GamingTest:
    """The step between what was drawn before the notice and after it, up to two hours of each."""
    name = "change at notice"
    noticed = inputs.noticed_at
    if noticed is None:
        return _cannot(name, _Z_LIMIT, _Z_REASON, "when the site was told is not known")
    length = min(_NOTICE, (inputs.ramp_start or inputs.event_start) - noticed)
    if length <= timedelta():
        return _cannot(name, _Z_LIMIT, _Z_REASON, "nothing lies between notice and event")
    return _against_placebo(
        inputs,
        placebo,
        name,
        lambda moved: _step_w(inputs, noticed + moved + length, length),
        "step of the load at the time of notice",
    )


def _step_w(inputs: AssuranceInputs, until: datetime, length: timedelta) -> float | None:
    later = mean_between_w(inputs.history, until - length, until)
    earlier = mean_between_w(inputs.history, until - 2 * length, until - length)
    return None if later is None or earlier is None else later - earlier


def _against_placebo(
    inputs: AssuranceInputs,
    placebo: Placebo,
    name: str,
    step_w: Callable[[timedelta], float | None],
    what: str,
) -> GamingTest:
    own = step_w(timedelta())
    if own is None:
        return _cannot(name, _Z_LIMIT, _Z_REASON, "readings of the event's own day are missing")
    others = [step_w(_moved(inputs, day.date)) for day in placebo.days]
    usual = [found for found in others if found is not None]
    if len(usual) < _LEAST_DAYS:
        return _cannot(name, _Z_LIMIT, _Z_REASON, f"{len(usual)} placebo days where {_LEAST_DAYS} are needed")
    spread = stdev(usual) * math.sqrt(1.0 + 1.0 / len(usual))
    if spread <= 0.0:
        return _cannot(name, _Z_LIMIT, _Z_REASON, "all placebo days are the same: there is no spread to compare with")
    z = (own - fmean(usual)) / spread
    found = f"{what}: {own / 1000:+.3f} kW, on {len(usual)} placebo days {fmean(usual) / 1000:+.3f} kW"
    return _judged(name, z, _Z_LIMIT, _Z_REASON, found)


def _moved(inputs: AssuranceInputs, day: str) -> timedelta:
    own = inputs.event_start.astimezone(inputs.timezone).date()
    start = same_wall_clock(inputs.event_start, own, date.fromisoformat(day), inputs.timezone)
    return timedelta() if start is None else start - inputs.event_start


def _stale(inputs: AssuranceInputs, baseline: Baseline) -> GamingTest:
    name, reason = (
        "stale baseline",
        "every day type recurs within a week: an older latest day was passed over for others",
    )
    taken = [date.fromisoformat(day.date) for day in baseline.days if day.selected]
    if not taken:
        return _cannot(name, _STALE_DAYS, reason, "the rule takes no earlier days")
    age = (inputs.event_start.astimezone(inputs.timezone).date() - max(taken)).days
    return _judged(name, age, _STALE_DAYS, reason, f"the latest day in the baseline is {age} days old")


def _event_share(baseline: Baseline) -> GamingTest:
    name, reason = "share of event days", "ours: beyond half, the few days left without an event decide"
    events = sum(day.reason in {"event day", "refilled"} for day in baseline.days)
    usable = events + sum(day.selected and day.reason != "refilled" for day in baseline.days)
    if not usable:
        return _cannot(name, _EVENT_SHARE, reason, "the rule takes no earlier days")
    return _judged(
        name, events / usable, _EVENT_SHARE, reason, f"{events} of {usable} days that count or would have had an event"
    )


def _clamp(baseline: Baseline) -> GamingTest:
    name, reason = "adjustment at its bound", "a raw adjustment beyond the rule's bound shows an unusual morning"
    raw, applied = baseline.adjustment.raw, baseline.adjustment.applied
    if raw is None or applied is None:
        return _cannot(name, 0.0, reason, "the rule adjusts nothing")
    return _judged(name, abs(raw - applied), 0.0, reason, f"adjustment {raw:.4g} raw, {applied:.4g} applied")


def _switch(inputs: AssuranceInputs) -> GamingTest:
    name, reason = "self-chosen rule", "ours: a rule is chosen before a season and kept for it"
    if inputs.past_rules is None:
        return _cannot(name, 0.0, reason, "earlier rules of the site are not known")
    ordered = sorted(inputs.past_rules, key=lambda item: item.since)
    switched = [
        later
        for earlier, later in pairwise(ordered)
        if later.chosen_by_site
        and later.rule != earlier.rule
        and inputs.event_start - _YEAR <= later.since <= inputs.event_start
    ]
    found = f"{len(switched)} changes of rule by the site itself in the year before the event"
    return _judged(name, len(switched), 0.0, reason, found)


def _frequency(inputs: AssuranceInputs) -> GamingTest:
    reason = "ours: more than two events a week leave few days that nobody shaped"
    opens = inputs.event_start - timedelta(days=30)
    count = sum(opens <= start < inputs.event_start for start, _ in inputs.excluded)
    found = f"{count} other events in the 30 days before"
    return _judged("event frequency", count, _EVENTS_PER_30_DAYS, reason, found)


def _jobs(inputs: AssuranceInputs) -> GamingTest:
    name = "jobs started before the event"
    reason = "three standard deviations of a Poisson count over what the day before had, and at least three"
    if inputs.job_starts is None:
        return _cannot(name, 3.0, reason, "when jobs started is not known")
    until = inputs.ramp_start or inputs.event_start
    opens = until - _WINDOW
    inside = _count(inputs.job_starts, opens, until)
    usual = _count(inputs.job_starts, opens - timedelta(hours=20), opens) / 5.0
    limit = max(3.0, usual + 3.0 * math.sqrt(usual))
    found = f"{inside} jobs started in the 4 h before the event, {usual:.1f} in 4 h of the day before"
    return _judged(name, inside, limit, reason, found)


def _count(instants: Sequence[datetime], start: datetime, end: datetime) -> int:
    return sum(start <= at < end for at in instants)


def _judged(name: str, figure: float, limit: float, reason: str, found: str) -> GamingTest:
    verdict = Verdict.LOOK if figure > limit else Verdict.PASS
    return GamingTest(name=name, figure=float(figure), limit=limit, reason=reason, verdict=verdict, found=found)


def _cannot(name: str, limit: float, reason: str, found: str) -> GamingTest:
    return GamingTest(name=name, figure=None, limit=limit, reason=reason, verdict=Verdict.CANNOT_SAY, found=found)
