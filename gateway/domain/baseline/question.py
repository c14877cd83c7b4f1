"""What a day-matching rule asks of earlier days, and each day judged by itself: its type, its events, its readings."""

from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo

from gateway.domain.baseline.days import CALENDARS, is_made_up, midnight, same_wall_clock
from gateway.domain.baseline.history import LoadHistory
from gateway.domain.baseline.method import AdjustmentKind, DayMatching, DayType, RankBy, Refill, Selection

_MONDAY, _SATURDAY = 0, 5


@dataclass(frozen=True, slots=True, kw_only=True)
class Question:
    """What is asked of the earlier days.

    ``day`` is the event's, of type ``day_type``, ``counted_from`` the day that candidates are counted back from;
    ``event``, ``adjustment`` and ``whole`` are the starts of the meter's intervals that overlap the event, the
    adjustment windows and, where the rule looks at all hours, the day; ``compared`` those outside the event that the
    nearest days are chosen by. ``closed`` are events that nothing may be read from.
    """

    method: DayMatching
    load: LoadHistory
    zone: tzinfo
    day: date
    day_type: DayType
    counted_from: date
    event: tuple[datetime, ...]
    adjustment: tuple[datetime, ...]
    whole: tuple[datetime, ...]
    compared: tuple[datetime, ...]
    closed: tuple[tuple[datetime, datetime], ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class Candidate:
    """An earlier day: its load at the event day's intervals, by their start there.

    ``reason`` says why it is out, ``""`` for a day that may be taken; ``missing`` counts intervals without a reading.
    """

    day: date
    load_w: Mapping[datetime, float]
    missing: int
    reason: str
    detail: str


def ask(
    method: DayMatching,
    load: LoadHistory,
    event: tuple[datetime, datetime],
    zone: tzinfo,
    excluded: Sequence[tuple[datetime, datetime]],
    *,
    counted_from: datetime,
    adjustment: tuple[datetime, ...],
) -> Question:
    """The question of one event; ``adjustment`` are the intervals of its adjustment windows."""
    start, end = event
    day = start.astimezone(zone).date()
    every_hour = Selection.NEAREST is method.selection
    by_day = method.rank_by is RankBy.DAY_LOAD or method.refill is Refill.HIGHEST_DAY_LOAD
    whole = (
        load.overlapping(midnight(day, zone), midnight(day + timedelta(days=1), zone)) if every_hour or by_day else ()
    )
    apart = timedelta(hours=method.apart_h)
    beside = set(load.overlapping(start - apart, end + apart))
    return Question(
        method=method,
        load=load,
        zone=zone,
        day=day,
        day_type=type_of(method, day),
        counted_from=counted_from.astimezone(zone).date(),
        event=load.overlapping(start, end),
        adjustment=adjustment if method.adjustment.kind is not AdjustmentKind.NONE else (),
        whole=whole,
        compared=tuple(at for at in whole if at not in beside) if every_hour else (),
        # The event itself too: where it lasts over midnight, the day before it would reach into it.
        closed=(*excluded, (start, end)),
    )


def type_of(method: DayMatching, day: date) -> DayType:
    """The day type that a day belongs to."""
    is_holiday = _holiday(method, day) is not None
    weekday = _MONDAY if is_made_up(method.calendar, day) else day.weekday()
    return next(
        day_type for day_type in method.day_types if (day_type.holidays if is_holiday else weekday in day_type.weekdays)
    )


def look_at(question: Question, day: date) -> Candidate:
    """Judge one earlier day by itself: its type, then events on it, then its readings."""
    asked = {*question.event, *question.adjustment, *question.whole}
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
    outside = why_not(question, day, existing.values())
    if outside is not None:
        reason, detail = outside[0], detail if outside[1] is None else outside[1]
    return Candidate(day=day, load_w=load_w, missing=missing, reason=reason, detail=detail)


def why_not(question: Question, day: date, starts: Collection[datetime]) -> tuple[str, str | None] | None:
    """Why a day is out whatever its readings: reason and detail, which of an event day is what its readings lack.

    ``starts`` are the intervals that would be read. ``None`` for a day that may be taken.
    """
    if type_of(question.method, day) != question.day_type:
        return _other_type(question, day)
    if question.method.exclude_clock_change_days and _changes_clock(day, question.zone):
        return "clock change", "the clocks change on it"
    leaves_out = question.method.exclude_event_days and not question.day_type.with_event_days
    return ("event day", None) if leaves_out and _had_event(question, day, starts) else None


def _holiday(method: DayMatching, day: date) -> str | None:
    if day.weekday() >= _SATURDAY and not method.holidays_on_weekends:
        return None
    return CALENDARS[method.calendar](day.year).get(day)


def _had_event(question: Question, day: date, starts: Collection[datetime]) -> bool:
    """Whether an event lies on the day, or in the hours beside it that the rule would read."""
    interval = timedelta(seconds=question.load.interval_s)
    opens = min([midnight(day, question.zone), *starts])
    closes = max([midnight(day + timedelta(days=1), question.zone), *(start + interval for start in starts)])
    return any(start < closes and end > opens for start, end in question.closed)


def _changes_clock(day: date, zone: tzinfo) -> bool:
    return midnight(day + timedelta(days=1), zone) - midnight(day, zone) != timedelta(days=1)


def _other_type(question: Question, day: date) -> tuple[str, str]:
    holiday = _holiday(question.method, day)
    if holiday:
        return "holiday", holiday
    asked_on_weekends = any(weekday >= _SATURDAY for weekday in question.day_type.weekdays)
    if day.weekday() >= _SATURDAY and not asked_on_weekends:
        return "weekend", ""
    return f"{type_of(question.method, day).name} day", ""
