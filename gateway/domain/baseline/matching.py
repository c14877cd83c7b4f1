"""Day matching: the mean of earlier days that are like the event's day, moved by what the day itself drew before."""

import math
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from gateway.domain.baseline.days import CALENDARS, midnight, same_wall_clock
from gateway.domain.baseline.history import LoadHistory, beside_meter, gather, grid_note
from gateway.domain.baseline.result import AdjustmentWorking, Baseline, CandidateDay, Insufficient
from gateway.domain.baseline.rule import AdjustmentKind, DayMatching, DayType, Refill, Rule
from gateway.domain.measurement import IntervalEnergy, from_epoch_us

_SATURDAY = 5


@dataclass(frozen=True, slots=True, kw_only=True)
class _Question:
    """What is asked of the earlier days.

    ``day`` is the event's, of type ``day_type``; ``event`` and ``adjustment`` are the starts of the meter's intervals
    that overlap the event and the adjustment window; ``closed`` are events that nothing may be read from.
    """

    method: DayMatching
    load: LoadHistory
    zone: tzinfo
    day: date
    day_type: DayType
    event: tuple[datetime, ...]
    adjustment: tuple[datetime, ...]
    closed: tuple[tuple[datetime, datetime], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class _Candidate:
    """An earlier day: its load at the event day's intervals, by their start there.

    ``reason`` says why it is out, ``""`` for a day that may be taken; ``missing`` counts intervals without a reading.
    """

    day: date
    load_w: Mapping[datetime, float]
    missing: int
    reason: str
    detail: str


def match_days(
    rule: Rule,
    method: DayMatching,
    history: Sequence[IntervalEnergy],
    *,
    event_start: datetime,
    event_end: datetime,
    timezone: tzinfo,
    excluded: Sequence[tuple[datetime, datetime]],
) -> Baseline | Insufficient:
    """The baseline after a day-matching rule.

    Days are local to ``timezone`` and compared by the clock on the wall. An event or an adjustment window off the
    meter's grid is taken with every interval that overlaps it.
    """
    load = gather(history, minimum_coverage_fraction=method.minimum_coverage_fraction)
    if load is None:
        return Insufficient(rule=rule.rule_id, rule_version=rule.version, reason="there are no readings at all")
    question = _question(method, load, (event_start, event_end), timezone, excluded)
    back = range(1, method.look_back_days + 1)
    candidates = [_look_at(question, question.day - timedelta(days=count)) for count in back]
    selected = _select(question, candidates)
    days = _verdicts(candidates, selected)
    if len(selected) < question.day_type.minimum_days:
        reason = _too_few(question, candidates, len(selected))
        return Insufficient(rule=rule.rule_id, rule_version=rule.version, reason=reason, days=days)
    mean_w = {
        start: math.fsum(candidate.load_w[start] for candidate in selected) / len(selected)
        for start in {*question.event, *question.adjustment}
    }
    adjustment = _adjust(question, mean_w)
    if isinstance(adjustment, str):
        return Insufficient(rule=rule.rule_id, rule_version=rule.version, reason=adjustment, days=days)
    return Baseline(
        rule=rule.rule_id,
        rule_version=rule.version,
        intervals=tuple(
            beside_meter(load, start, unadjusted_w=mean_w[start], baseline_w=_moved(mean_w[start], adjustment))
            for start in question.event
        ),
        adjustment=adjustment,
        days=days,
        notes=grid_note(load, event_start, event_end),
    )


def _question(
    method: DayMatching,
    load: LoadHistory,
    event: tuple[datetime, datetime],
    zone: tzinfo,
    excluded: Sequence[tuple[datetime, datetime]],
) -> _Question:
    window = method.adjustment
    start, end = event
    opens, closes = start + timedelta(hours=window.from_h), start + timedelta(hours=window.to_h)
    day = start.astimezone(zone).date()
    return _Question(
        method=method,
        load=load,
        zone=zone,
        day=day,
        day_type=_type_of(method, day),
        event=load.overlapping(start, end),
        adjustment=() if window.kind is AdjustmentKind.NONE else load.overlapping(opens, closes),
        # The event itself too: where it lasts over midnight, the day before it would reach into it.
        closed=(*excluded, (start, end)),
    )


def _type_of(method: DayMatching, day: date) -> DayType:
    is_holiday = day in CALENDARS[method.calendar](day.year)
    return next(
        day_type
        for day_type in method.day_types
        if (day_type.holidays if is_holiday else day.weekday() in day_type.weekdays)
    )


def _look_at(question: _Question, day: date) -> _Candidate:
    """Judge one earlier day by itself: its type, then events on it, then its readings."""
    asked = {*question.event, *question.adjustment}
    starts = {at: same_wall_clock(at, question.day, day, question.zone) for at in asked}
    existing = {at: moved for at, moved in starts.items() if moved is not None}
    found = {at: question.load.at(moved) for at, moved in existing.items()}
    load_w = {at: power_w for at, power_w in found.items() if power_w is not None}
    missing = len(asked) - len(load_w)
    reason, detail = "", ""
    if missing:
        skipped = len(asked) - len(existing)
        clock = f", {skipped} of them skipped by the clock change" if skipped else ""
        reason, detail = "incomplete", f"{missing} of {len(asked)} intervals are missing{clock}"
    if question.method.exclude_event_days and _had_event(question, day, existing.values()):
        reason = "event day"
    if _type_of(question.method, day) != question.day_type:
        reason, detail = _other_type(question.method, day)
    return _Candidate(day=day, load_w=load_w, missing=missing, reason=reason, detail=detail)


def _had_event(question: _Question, day: date, starts: Collection[datetime]) -> bool:
    """Whether an event lies on the day, or in the hours beside it that the rule would read."""
    interval = timedelta(seconds=question.load.interval_s)
    opens = min([midnight(day, question.zone), *starts])
    closes = max([midnight(day + timedelta(days=1), question.zone), *(start + interval for start in starts)])
    return any(start < closes and end > opens for start, end in question.closed)


def _other_type(method: DayMatching, day: date) -> tuple[str, str]:
    holiday = CALENDARS[method.calendar](day.year).get(day)
    if holiday:
        return "holiday", holiday
    return ("weekend" if day.weekday() >= _SATURDAY else f"{_type_of(method, day).name} day"), ""


def _select(question: _Question, candidates: Sequence[_Candidate]) -> list[_Candidate]:
    """The latest eligible days up to the target; below the minimum, event days are taken back where the rule says."""
    day_type = question.day_type
    selected = [candidate for candidate in candidates if not candidate.reason][: day_type.target_days]
    lacking = day_type.minimum_days - len(selected)
    if lacking > 0 and question.method.refill is Refill.HIGHEST_EVENT_LOAD:
        spare = [candidate for candidate in candidates if candidate.reason == "event day" and not candidate.missing]
        # Stable: of two days with the same load the later one comes first, as in the walk back.
        spare.sort(key=lambda candidate: math.fsum(candidate.load_w[at] for at in question.event), reverse=True)
        selected += spare[:lacking]
    return selected


def _verdicts(candidates: Sequence[_Candidate], selected: Sequence[_Candidate]) -> tuple[CandidateDay, ...]:
    taken = {candidate.day for candidate in selected}
    words = {True: {"": "selected", "event day": "refilled"}, False: {"": "not needed"}}
    return tuple(
        CandidateDay(
            date=candidate.day.isoformat(),
            selected=candidate.day in taken,
            reason=words[candidate.day in taken].get(candidate.reason, candidate.reason),
            detail=candidate.detail,
        )
        for candidate in candidates
    )


def _too_few(question: _Question, candidates: Sequence[_Candidate], found: int) -> str:
    method, day_type, load = question.method, question.day_type, question.load
    alike = [candidate for candidate in candidates if _type_of(method, candidate.day) == day_type]
    lacking = sum(candidate.missing > 0 for candidate in alike)
    held = sum(candidate.reason == "event day" for candidate in alike)
    first = from_epoch_us(min(load.power_w)).astimezone(question.zone) if load.power_w else None
    readings = f"the readings begin at {first.isoformat(timespec='seconds')}" if first else "no interval is complete"
    return (
        f"{found} usable {day_type.name} days where the rule needs at least {day_type.minimum_days}: "
        f"of the {len(alike)} in the {method.look_back_days} days before {question.day.isoformat()}, "
        f"{lacking} lack readings and {held} had an event; {readings}"
    )


def _adjust(question: _Question, mean_w: Mapping[datetime, float]) -> AdjustmentWorking | str:
    """The adjustment's working, or in words why there is none where the rule wants one."""
    rule = question.method.adjustment
    if rule.kind is AdjustmentKind.NONE:
        return AdjustmentWorking(kind=rule.kind.value, raw=None, applied=None)
    found = [question.load.at(at) for at in question.adjustment]
    actual = [power_w for power_w in found if power_w is not None]
    if len(actual) < len(found):
        first = question.adjustment[found.index(None)].astimezone(question.zone)
        return (
            f"{len(found) - len(actual)} of the {len(found)} intervals of the adjustment window are missing on the "
            f"event's own day, the first at {first.isoformat(timespec='seconds')}"
        )
    actual_w = math.fsum(actual) / len(actual)
    expected_w = math.fsum(mean_w[at] for at in question.adjustment) / len(actual)
    if rule.kind is AdjustmentKind.MULTIPLICATIVE and expected_w <= 0:
        return f"the selected days draw {expected_w:g} W over the adjustment window: no ratio can be taken to that"
    raw = actual_w / expected_w if rule.kind is AdjustmentKind.MULTIPLICATIVE else actual_w - expected_w
    low, high = rule.clamp or (-math.inf, math.inf)
    return AdjustmentWorking(kind=rule.kind.value, raw=raw, applied=min(max(raw, low), high))


def _moved(power_w: float, adjustment: AdjustmentWorking) -> float:
    if adjustment.applied is None:
        return power_w
    if adjustment.kind == AdjustmentKind.ADDITIVE:
        return power_w + adjustment.applied
    return power_w * adjustment.applied
