"""A day-matching rule for many sites at once, with what ``evaluate`` says of each of them.

What is alike for the sites (the calendar, where an interval lies on another day, events) is worked out once, the rest
in arrays of intervals by sites. Sites in a rare position (too few days, days of the same load, a gap beside the event)
are evaluated one by one, and so are all of them by rules with low use, a search back or the nearest days.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta, tzinfo
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gateway.domain.baseline.adjusting import windows
from gateway.domain.baseline.days import same_wall_clock
from gateway.domain.baseline.fleet_load import FleetLoad
from gateway.domain.baseline.history import LoadHistory
from gateway.domain.baseline.matching import match_load
from gateway.domain.baseline.method import AdjustmentKind, Anchor, DayMatching, RankBy, Selection
from gateway.domain.baseline.question import Question, ask, why_not
from gateway.domain.baseline.result import Baseline, Insufficient
from gateway.domain.baseline.rule import Rule
from gateway.domain.baseline.selecting import kept
from gateway.domain.measurement import epoch_us

Event = tuple[datetime, datetime]
Floats = NDArray[np.float64]

TIE = 1e-9
"""Sums in arrays are rounded where ``evaluate`` sums exactly: days nearer to each other than this are left to it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class FleetBaseline:
    """Watts by interval and site; what the sites say one by one is in ``alone``, by site, and not in the arrays.

    ``days`` are the candidate days, the latest first; ``reason`` by day and site is an index into ``reasons``, whose
    words are those of ``CandidateDay``. ``raw`` and ``applied`` are the adjustment by site, ``None`` without one.
    """

    rule: str
    rule_version: str
    starts_at: tuple[datetime, ...]
    unadjusted_w: Floats
    baseline_w: Floats
    raw: Floats | None
    applied: Floats | None
    days: tuple[date, ...]
    reasons: tuple[str, ...]
    reason: NDArray[np.uint8]
    alone: Mapping[int, Baseline | Insufficient]

    def days_of(self, site: int) -> dict[str, str]:
        """Why each candidate day of a site was taken or passed over, by date."""
        if site in self.alone:
            return {day.date: day.reason for day in self.alone[site].days}
        named = zip(self.days, self.reason[:, site], strict=True)
        return {day.isoformat(): self.reasons[code] for day, code in named}


def evaluate_fleet(
    rule: Rule,
    load: FleetLoad,
    *,
    event_start: datetime,
    event_end: datetime,
    timezone: tzinfo,
    excluded: Sequence[Sequence[Event]] | None = None,
    noticed_at: datetime | None = None,
) -> FleetBaseline:
    """Evaluate a day-matching rule for one event of many sites, as ``evaluate`` does for one.

    ``excluded`` are the other events of each site, in the order of the sites; few different ones among them are fast.
    Raises ``ValueError`` for a rule of another kind, an event without length, or as many lists of events as not sites.
    """
    method, event = rule.method, (event_start, event_end)
    if not isinstance(method, DayMatching):
        raise ValueError(f"{rule.rule_id} matches no days: evaluate it site by site")
    if epoch_us(event_end) <= epoch_us(event_start):
        raise ValueError(f"the event ends at {event_end.isoformat()}, not after its start {event_start.isoformat()}")
    closed = [tuple(one) for one in excluded] if excluded is not None else [()] * load.sites
    if len(closed) != load.sites:
        raise ValueError(f"{len(closed)} lists of events for {load.sites} sites")
    grid = LoadHistory(interval_us=load.interval_us, offset_us=load.first_us % load.interval_us, power_w={})
    counted_from = noticed_at if method.count_from is Anchor.NOTICE else event_start
    adjustment_at = windows(method.adjustment, grid, event, noticed_at=noticed_at, excluded=())
    plain = method.low_use is None and method.selection is not Selection.NEAREST
    empty = np.full((len(grid.overlapping(*event)), load.sites), np.nan)
    made = FleetBaseline(
        rule=rule.rule_id,
        rule_version=rule.version,
        starts_at=grid.overlapping(*event),
        unadjusted_w=empty,
        baseline_w=empty,
        raw=None,
        applied=None,
        days=(),
        reasons=(),
        reason=np.zeros((0, load.sites), dtype=np.uint8),
        alone={},
    )
    aside = np.ones(load.sites, dtype=bool)
    if plain and not method.adjustment.search_back_h and counted_from and not isinstance(adjustment_at, str):
        question = ask(method, grid, event, timezone, (), counted_from=counted_from, adjustment=adjustment_at)
        made, aside = _together(made, question, load, closed)
    alone = {
        int(site): match_load(
            rule,
            method,
            load.of_site(int(site)),
            event_start=event_start,
            event_end=event_end,
            timezone=timezone,
            excluded=closed[site],
            noticed_at=noticed_at,
        )
        for site in np.flatnonzero(aside)
    }
    return replace(made, alone=alone)


def _together(
    empty: FleetBaseline, question: Question, load: FleetLoad, closed: Sequence[tuple[Event, ...]]
) -> tuple[FleetBaseline, NDArray[np.bool_]]:
    """The answer in arrays, and the sites that it does not hold for."""
    method, day_type = question.method, question.day_type
    days = [
        question.counted_from - timedelta(days=count)
        for count in range(method.first_day_back, method.look_back_days + 1)
    ]
    asked = sorted({*question.event, *question.adjustment, *question.whole})
    own = _own(load, asked)
    places = [_places(question, load, asked, own, day) for day in days]
    reasons, code = _outside(question, days, closed, asked)
    absent = np.array([load.absent(place) for place in places])
    free = (code == 0) & (absent == 0)
    pool = free & (np.cumsum(free, axis=0) <= day_type.target_days)
    found = pool.sum(axis=0)
    rank, tied = _ranks(question, load, asked, places, pool)
    first, last = np.array([kept(method, day_type, count) for count in range(day_type.target_days + 1)]).T
    selected = pool & (rank > first[found]) & (rank <= last[found])
    share = np.array([0.0, *(day_type.weights or (1.0,) * day_type.target_days)])
    weights = np.where(selected, share[np.where(selected, rank, 0)], 0.0)
    weights /= np.maximum(weights.sum(axis=0), 1e-300)
    mean_w = load.weighted(places, weights)
    row = {at: number for number, at in enumerate(asked)}
    event_rows, beside = [row[at] for at in question.event], [row[at] for at in question.adjustment]
    unadjusted_w = mean_w[_cut(event_rows)]
    raw, applied, unsure = _adjusted(question, load, mean_w[_cut(beside)] if beside else None)
    baseline_w = _moved(method, unadjusted_w, applied)
    # Where the rule looks further back for more days, or has too few, a site is looked at by itself.
    needed = day_type.target_days if method.extended_days is not None else day_type.minimum_days
    reasons += ["incomplete", "not needed", f"not {method.selection.value}", "selected"]
    code[(code == 0) & (absent > 0)] = reasons.index("incomplete")
    code[free] = reasons.index("not needed")
    code[pool] = len(reasons) - 2
    code[selected] = len(reasons) - 1
    aside = (found < needed) | tied | unsure
    unadjusted_w[:, aside] = baseline_w[:, aside] = np.nan
    made = replace(
        empty,
        unadjusted_w=unadjusted_w,
        baseline_w=baseline_w,
        raw=raw,
        applied=applied,
        days=tuple(days),
        reasons=tuple(reasons),
        reason=code.astype(np.uint8),
    )
    return made, aside


def _places(
    question: Question, load: FleetLoad, asked: Sequence[datetime], own: NDArray[np.int64], day: date
) -> NDArray[np.int64]:
    """Where on the grid the asked intervals lie on another day; -1 where they do not, or the clocks skip them."""

    def moved(at: datetime) -> int:
        found = same_wall_clock(at, question.day, day, question.zone)
        place, beside = (0, 1) if found is None else divmod(epoch_us(found) - load.first_us, load.interval_us)
        return -1 if beside else place

    first, last = moved(asked[0]), moved(asked[-1])
    if min(first, last) >= 0 and last - first == own[-1] - own[0]:
        # The clocks do not change in between.
        shifted: NDArray[np.int64] = own + (first - own[0])
        return shifted
    return np.array([moved(at) for at in asked], dtype=np.int64)


def _own(load: FleetLoad, starts: Sequence[datetime]) -> NDArray[np.int64]:
    """Where intervals lie on the grid."""
    return np.array([(epoch_us(at) - load.first_us) // load.interval_us for at in starts], dtype=np.int64)


def _outside(
    question: Question, days: Sequence[date], closed: Sequence[tuple[Event, ...]], asked: Sequence[datetime]
) -> tuple[list[str], NDArray[Any]]:
    """The reasons of days that are out whatever their readings, 0 for those that are not, by day and site."""
    reasons = [""]
    kinds = list(dict.fromkeys(closed))
    table = np.zeros((len(days), len(kinds)), dtype=np.int64)
    for column, events in enumerate(kinds):
        held = replace(question, closed=(*events, *question.closed))
        for number, day in enumerate(days):
            ends = [same_wall_clock(at, question.day, day, question.zone) for at in (asked[0], asked[-1])]
            out = why_not(held, day, [at for at in ends if at is not None])
            if out is not None:
                reasons += [] if out[0] in reasons else [out[0]]
                table[number, column] = reasons.index(out[0])
    number_of = {events: column for column, events in enumerate(kinds)}
    return reasons, table[:, [number_of[events] for events in closed]]


def _ranks(
    question: Question,
    load: FleetLoad,
    asked: Sequence[datetime],
    places: Sequence[NDArray[np.int64]],
    pool: NDArray[np.bool_],
) -> tuple[NDArray[np.int64], NDArray[np.bool_]]:
    """The rank of each day of the pool, from 1, by day and site; and the sites where rounding could decide it."""
    sites = pool.shape[1]
    if question.method.selection not in {Selection.HIGHEST, Selection.MIDDLE}:
        return np.cumsum(pool, axis=0, dtype=np.int64), np.zeros(sites, dtype=bool)
    hours = set(question.whole if question.method.rank_by is RankBy.DAY_LOAD else question.event)
    ranked = [number for number, at in enumerate(asked) if at in hours]
    sums = np.full(pool.shape, -np.inf)
    for number, place in enumerate(places):
        if pool[number].any():
            sums[number] = np.where(pool[number], load.total(place[ranked]), -np.inf)
    order = np.argsort(-sums, axis=0, kind="stable")
    ordered = np.take_along_axis(sums, order, axis=0)
    with np.errstate(invalid="ignore"):
        near = np.abs(ordered[:-1] - ordered[1:]) <= TIE * np.abs(ordered[:-1])
    rank = np.empty_like(order)
    np.put_along_axis(rank, order, np.arange(1, len(places) + 1)[:, None], axis=0)
    return rank, (near & np.isfinite(ordered[1:])).any(axis=0)


def _adjusted(
    question: Question, load: FleetLoad, expected: Floats | None
) -> tuple[Floats | None, Floats | None, NDArray[np.bool_]]:
    """The adjustment before and after the clamp by site, and the sites that cannot have one."""
    rule = question.method.adjustment
    if expected is None:
        return None, None, np.zeros(load.sites, dtype=bool)
    # An interval of two windows counts twice, as it does for one site.
    place = _own(load, question.adjustment)
    missing = load.absent(place) > 0
    actual_w, expected_w = load.total(place) / len(place), expected.mean(axis=0)
    if rule.kind is AdjustmentKind.MULTIPLICATIVE:
        missing |= expected_w <= 0
        raw = actual_w / np.where(expected_w > 0, expected_w, 1.0)
    else:
        raw = actual_w - expected_w
    return raw, raw if rule.clamp is None else np.clip(raw, *rule.clamp), missing


def _moved(method: DayMatching, unadjusted_w: Floats, applied: Floats | None) -> Floats:
    moved_w = unadjusted_w
    if applied is not None:
        multiplies = method.adjustment.kind is AdjustmentKind.MULTIPLICATIVE
        moved_w = unadjusted_w * applied if multiplies else unadjusted_w + applied
    return np.maximum(moved_w, 0.0) if method.never_negative else moved_w


def _cut(rows: list[int]) -> slice | list[int]:
    """Rows as a slice where they follow each other: no copy."""
    whole = range(rows[0], rows[-1] + 1)
    return slice(whole.start, whole.stop) if rows == list(whole) else rows
