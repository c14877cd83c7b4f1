"""Which of the candidate days form the mean, with what weight, and every other day's reason."""

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

from gateway.domain.baseline.method import DayMatching, DayType, LowUse, RankBy, Refill, Selection
from gateway.domain.baseline.question import Candidate, Question
from gateway.domain.baseline.result import CandidateDay


@dataclass(frozen=True, slots=True, kw_only=True)
class Chosen:
    """``selected`` days with their ``weights``, which add up to 1; ``pool`` counts the days they were chosen from."""

    selected: tuple[Candidate, ...]
    weights: tuple[float, ...]
    pool: int
    days: tuple[CandidateDay, ...]


def choose(question: Question, candidates: Sequence[Candidate]) -> Chosen:
    """The latest eligible days up to the target, refilled where the rule says, and of them those it selects."""
    day_type = question.day_type
    judged = _without_low_use(question, candidates)
    pool = [candidate for candidate in judged if not candidate.reason][: day_type.target_days]
    lacking = day_type.minimum_days - len(pool)
    if lacking > 0 and question.method.refill is not Refill.NONE:
        hours = question.event if question.method.refill is Refill.HIGHEST_EVENT_LOAD else question.whole
        spare = [candidate for candidate in judged if candidate.reason == "event day" and not candidate.missing]
        # Stable: of two days with the same load the later one comes first, as in the walk back.
        spare.sort(key=lambda candidate: math.fsum(candidate.load_w[at] for at in hours), reverse=True)
        pool += spare[:lacking]
    ranked, words = _rank(question, pool)
    first, last = kept(question.method, question.day_type, len(ranked))
    selected = tuple(ranked[first:last])
    weights = day_type.weights[: len(selected)] or (1.0,) * len(selected)
    passed = {
        candidate.day: f"rank {place} of {len(ranked)} by {words}"
        for place, candidate in enumerate(ranked, 1)
        if candidate not in selected
    }
    taken = {candidate.day for candidate in selected}
    return Chosen(
        selected=selected,
        weights=tuple(weight / math.fsum(weights) for weight in weights),
        pool=len(pool),
        days=tuple(
            CandidateDay(
                date=candidate.day.isoformat(),
                selected=candidate.day in taken,
                reason=_reason(question, candidate, taken=candidate.day in taken, passed=candidate.day in passed),
                detail=passed.get(candidate.day, candidate.detail),
            )
            for candidate in judged
        ),
    )


def _reason(question: Question, candidate: Candidate, *, taken: bool, passed: bool) -> str:
    if passed:
        return f"not {question.method.selection.value}"
    words = {"": "selected", "event day": "refilled"} if taken else {"": "not needed"}
    return words.get(candidate.reason, candidate.reason)


def kept(method: DayMatching, day_type: DayType, found: int) -> tuple[int, int]:
    """From where to where the ranked days are selected."""
    wanted = day_type.target_days if day_type.select_days is None else day_type.select_days
    if method.selection is Selection.MIDDLE:
        dropped = (day_type.target_days - wanted) // 2
        return dropped, max(found - dropped, dropped)
    return 0, wanted


def _rank(question: Question, pool: list[Candidate]) -> tuple[list[Candidate], str]:
    """The days in the rule's order, the best first and of equals the later one, and in words what the order is."""
    method = question.method
    match method.selection:
        case Selection.HIGHEST | Selection.MIDDLE:
            by_day = method.rank_by is RankBy.DAY_LOAD
            hours = question.whole if by_day else question.event
            words = "load around the clock" if by_day else "load in the event's hours"
            return sorted(pool, key=lambda day: -math.fsum(day.load_w[at] for at in hours)), f"{words}, highest first"
        case Selection.NEAREST:
            return sorted(pool, key=lambda day: _distance(question, day)), "likeness outside the event"
        case _:
            return pool, "date, latest first"


def _distance(question: Question, candidate: Candidate) -> float:
    """Sum of squared differences from the event's own day, which is complete, outside the event."""
    own_w = {at: question.load.at(at) or 0.0 for at in question.compared}
    return math.fsum((candidate.load_w[at] - own_w[at]) ** 2 for at in question.compared)


def _without_low_use(question: Question, candidates: Sequence[Candidate]) -> list[Candidate]:
    """Mark the days that drew too little in the event's hours."""
    fraction = question.method.low_use_fraction
    free = [candidate for candidate in candidates if not candidate.reason]
    event_w = {
        candidate.day: math.fsum(candidate.load_w[at] for at in question.event) / len(question.event)
        for candidate in free
    }
    low: dict[object, str] = {}
    match question.method.low_use:
        case LowUse.CANDIDATE_MEAN:
            while True:
                pool = [day for day in event_w if day not in low][: question.day_type.target_days]
                mean_w = math.fsum(event_w[day] for day in pool) / len(pool) if pool else 0.0
                below = [day for day in pool if event_w[day] < fraction * mean_w]
                if not below:
                    break
                low |= {day: _low(event_w[day], fraction, mean_w) for day in below}
        case LowUse.RUNNING_MEAN:
            accepted: list[float] = []
            seed_w = max(event_w.values(), default=0.0)
            for day, day_w in event_w.items():
                mean_w = math.fsum(accepted) / len(accepted) if accepted else seed_w
                if day_w < fraction * mean_w:
                    low[day] = _low(day_w, fraction, mean_w)
                elif len(accepted) < question.day_type.target_days:
                    accepted.append(day_w)
    return [
        replace(candidate, reason="low use", detail=low[candidate.day]) if candidate.day in low else candidate
        for candidate in candidates
    ]


def _low(day_w: float, fraction: float, mean_w: float) -> str:
    return f"{day_w / 1000:.3f} kW in the event's hours, below {fraction:.0%} of {mean_w / 1000:.3f} kW"
