"""Day matching: the mean of earlier days that are like the event's day, moved by what the day itself drew beside it."""

import math
from collections.abc import Callable, Sequence
from datetime import datetime, timedelta, tzinfo

from gateway.domain.baseline.adjusting import adjust, moved, windows
from gateway.domain.baseline.history import LoadHistory, beside_meter, gather, grid_note
from gateway.domain.baseline.method import Anchor, DayMatching
from gateway.domain.baseline.question import Candidate, Question, ask, look_at, type_of
from gateway.domain.baseline.result import Baseline, CandidateDay, Insufficient
from gateway.domain.baseline.rule import Rule
from gateway.domain.baseline.selecting import Chosen, choose
from gateway.domain.measurement import IntervalEnergy, from_epoch_us


def match_days(
    rule: Rule,
    method: DayMatching,
    history: Sequence[IntervalEnergy],
    *,
    event_start: datetime,
    event_end: datetime,
    timezone: tzinfo,
    excluded: Sequence[tuple[datetime, datetime]],
    noticed_at: datetime | None,
) -> Baseline | Insufficient:
    """The baseline after a day-matching rule, as ``match_load``."""
    load = gather(history, minimum_coverage_fraction=method.minimum_coverage_fraction)
    if load is None:
        return Insufficient(
            rule=rule.rule_id, rule_version=rule.version, reason="there are no readings at all" + _falls_back(method)
        )
    return match_load(
        rule,
        method,
        load,
        event_start=event_start,
        event_end=event_end,
        timezone=timezone,
        excluded=excluded,
        noticed_at=noticed_at,
    )


def match_load(
    rule: Rule,
    method: DayMatching,
    load: LoadHistory,
    *,
    event_start: datetime,
    event_end: datetime,
    timezone: tzinfo,
    excluded: Sequence[tuple[datetime, datetime]],
    noticed_at: datetime | None,
) -> Baseline | Insufficient:
    """The baseline after a day-matching rule, of a history that is on its grid.

    Days are local to ``timezone`` and compared by the clock on the wall. An event or an adjustment window off the
    meter's grid is taken with every interval that overlaps it.
    """

    def insufficient(reason: str, days: tuple[CandidateDay, ...] = ()) -> Insufficient:
        words = reason + _falls_back(method)
        return Insufficient(rule=rule.rule_id, rule_version=rule.version, reason=words, days=days)

    counted_from = noticed_at if method.count_from is Anchor.NOTICE else event_start
    if counted_from is None:
        return insufficient(
            "the rule counts its days from the notice: give the time at which the site was told of the event"
        )
    event = (event_start, event_end)
    adjustment_at = windows(method.adjustment, load, event, noticed_at=noticed_at, excluded=excluded)
    if isinstance(adjustment_at, str):
        return insufficient(adjustment_at)
    question = ask(method, load, event, timezone, excluded, counted_from=counted_from, adjustment=adjustment_at)
    return _answer(question, event, rule, insufficient)


def _falls_back(method: DayMatching) -> str:
    return f"; the rule's text falls back on {method.fallback}: evaluate that" if method.fallback else ""


def _answer(
    question: Question,
    event: tuple[datetime, datetime],
    rule: Rule,
    insufficient: Callable[[str, tuple[CandidateDay, ...]], Insufficient],
) -> Baseline | Insufficient:
    gap = _own_gap(question)
    if gap:
        return insufficient(gap, ())
    candidates, chosen = _look_back(question)
    if chosen.pool < question.day_type.minimum_days:
        return insufficient(_too_few(question, candidates, chosen), chosen.days)
    mean_w = {start: _weighted_w(chosen, start) for start in {*question.event, *question.adjustment}}
    adjustment = adjust(question, mean_w, question.zone)
    if isinstance(adjustment, str):
        return insufficient(adjustment, chosen.days)
    least_w = 0.0 if question.method.never_negative else -math.inf
    return Baseline(
        rule=rule.rule_id,
        rule_version=rule.version,
        intervals=tuple(
            beside_meter(
                question.load,
                start,
                unadjusted_w=mean_w[start],
                baseline_w=max(moved(mean_w[start], adjustment), least_w),
            )
            for start in question.event
        ),
        adjustment=adjustment,
        days=chosen.days,
        notes=grid_note(question.load, *event),
    )


def _look_back(question: Question) -> tuple[list[Candidate], Chosen]:
    """The candidates and the choice; further back where the rule allows it and the days do not reach the target."""
    method = question.method

    def look(first: int, last: int) -> list[Candidate]:
        return [look_at(question, question.counted_from - timedelta(days=count)) for count in range(first, last + 1)]

    candidates = look(method.first_day_back, method.look_back_days)
    chosen = choose(question, candidates)
    if method.extended_days is not None and chosen.pool < question.day_type.target_days:
        candidates += look(method.look_back_days + 1, method.extended_days)
        chosen = choose(question, candidates)
    return candidates, chosen


def _weighted_w(chosen: Chosen, at: datetime) -> float:
    powers_w = [candidate.load_w[at] for candidate in chosen.selected]
    if len(set(chosen.weights)) == 1:
        return math.fsum(powers_w) / len(powers_w)
    return math.fsum(weight * power_w for weight, power_w in zip(chosen.weights, powers_w, strict=True))


def _own_gap(question: Question) -> str:
    """What the event's own day lacks for a comparison with other days."""
    gaps = [at for at in question.compared if question.load.at(at) is None]
    if not gaps:
        return ""
    first = gaps[0].astimezone(question.zone).isoformat(timespec="seconds")
    return (
        f"{len(gaps)} of the {len(question.compared)} intervals outside the event, by which like days are found, are "
        f"missing on the event's own day, the first at {first}"
    )


def _too_few(question: Question, candidates: Sequence[Candidate], chosen: Chosen) -> str:
    method, day_type, load = question.method, question.day_type, question.load
    alike = [candidate for candidate in candidates if type_of(method, candidate.day) == day_type]
    lacking = sum(candidate.missing > 0 for candidate in alike)
    held = sum(candidate.reason == "event day" for candidate in alike)
    low = sum(day.reason == "low use" for day in chosen.days)
    first = from_epoch_us(min(load.power_w)).astimezone(question.zone) if load.power_w else None
    readings = f"the readings begin at {first.isoformat(timespec='seconds')}" if first else "no interval is complete"
    days = method.first_day_back - 1 + len(candidates)
    return (
        f"{chosen.pool} usable {day_type.name} days where the rule needs at least {day_type.minimum_days}: "
        f"of the {len(alike)} in the {days} days before {question.counted_from.isoformat()}, "
        f"{lacking} lack readings and {held} had an event{f', {low} drew too little' if low else ''}; {readings}"
    )
