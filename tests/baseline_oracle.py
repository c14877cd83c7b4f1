"""Baselines in exact fractions, written from the sources that the rule sheets name; nothing is shared with the product.

Load is by naive local stamp on a grid of ``step``; an event is ``(start, end)`` within one day.
"""

from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from fractions import Fraction

# NERC's six days and the public holidays of 2025, and what China worked to make up for them.
NERC = {date(2025, m, d) for m, d in [(1, 1), (5, 26), (7, 4), (9, 1), (11, 27), (12, 25)]} | {date(2013, 9, 2)}
ENGLAND = {date(2025, m, d) for m, d in [(1, 1), (4, 18), (4, 21), (5, 5), (5, 26), (8, 25), (12, 25), (12, 26)]}
BELGIUM = {
    date(2025, m, d) for m, d in
    [(1, 1), (4, 21), (5, 1), (5, 29), (6, 9), (7, 21), (8, 15), (11, 1), (11, 11), (12, 25)]
}  # fmt: skip
GREECE = {
    date(2025, m, d) for m, d in
    [(1, 1), (1, 6), (3, 3), (3, 25), (4, 18), (4, 21), (5, 1), (6, 9), (8, 15), (10, 28), (12, 25), (12, 26)]
}  # fmt: skip
CHINA = {
    *(date(2025, 1, 28) + timedelta(days=n) for n in range(8)), *(date(2025, 5, n) for n in range(1, 6)),
    *(date(2025, 10, n) for n in range(1, 9)), date(2025, 1, 1), date(2025, 4, 4), date(2025, 6, 2),
}  # fmt: skip
CHINA_WORKED = {date(2025, m, d) for m, d in [(1, 26), (2, 8), (4, 27), (9, 28), (10, 11)]}
KOREA = {
    date(2025, m, d) for m, d in
    [(1, 1), (1, 27), (1, 28), (1, 29), (1, 30), (3, 1), (3, 3), (5, 5), (5, 6), (6, 3), (6, 6), (8, 15), (10, 3),
     (10, 6), (10, 7), (10, 8), (10, 9), (12, 25)]
}  # fmt: skip
JAPAN = {
    date(2025, m, d) for m, d in
    [(1, 1), (1, 13), (2, 11), (2, 23), (2, 24), (3, 20), (4, 29), (5, 3), (5, 4), (5, 5), (5, 6), (7, 21), (8, 11),
     (9, 15), (9, 23), (10, 13), (11, 3), (11, 23), (11, 24)]
}  # fmt: skip


@dataclass(frozen=True)
class Case:
    """One question."""

    load: Mapping[datetime, Fraction]
    start: datetime
    end: datetime
    step: timedelta
    events: Sequence[tuple[datetime, datetime]] = ()

    @property
    def day(self) -> date:
        return self.start.date()

    def grid(self, opens: datetime, closes: datetime) -> list[datetime]:
        return [opens + n * self.step for n in range(int((closes - opens) / self.step))]

    @property
    def event(self) -> list[datetime]:
        return self.grid(self.start, self.end)

    def hours(self, first: float, last: float, *, after: bool = False) -> list[datetime]:
        base = self.end if after else self.start
        return self.grid(base + timedelta(hours=first), base + timedelta(hours=last))

    @property
    def around(self) -> list[datetime]:
        midnight = datetime.combine(self.day, datetime.min.time())
        return self.grid(midnight, midnight + timedelta(days=1))

    def on(self, day: date, stamps: Collection[datetime]) -> list[Fraction] | None:
        moved = [at + (day - self.day) for at in stamps]
        return [self.load[at] for at in moved] if all(at in self.load for at in moved) else None


def mean(values: Collection[Fraction]) -> Fraction:
    return sum(values, Fraction(0)) / len(values)


def workday(day: date, holidays: Collection[date]) -> bool:
    return day.weekday() < 5 and day not in holidays


def kind3(day: date, holidays: Collection[date]) -> str:
    if day in holidays or day.weekday() == 6:
        return "sunday"
    return "saturday" if day.weekday() == 5 else "weekday"


def busy(case: Case, day: date) -> bool:
    return any(start.date() <= day <= (end - timedelta(microseconds=1)).date() for start, end in case.events)


def back(
    case: Case, days: range, alike: Callable[[date], object], needed: Collection[datetime], *, events_too: bool = False
) -> Iterator[date]:
    """Days like the event's, complete and without an event, the latest first."""
    for count in days:
        day = case.day - timedelta(days=count)
        free = events_too or not busy(case, day)
        if alike(day) == alike(case.day) and free and case.on(day, needed) is not None:
            yield day


def at_event(case: Case, day: date, stamps: Collection[datetime] | None = None) -> Fraction:
    found = case.on(day, case.event if stamps is None else stamps)
    assert found is not None
    return mean(found)


def over(case: Case, days: Sequence[date], stamps: Collection[datetime]) -> list[Fraction]:
    rows = [case.on(day, stamps) for day in days]
    return [mean([row[n] for row in rows if row is not None]) for n in range(len(stamps))]


def added(case: Case, days: Sequence[date], window: list[datetime]) -> list[Fraction]:
    own = case.on(case.day, window)
    assert own is not None
    shift = mean(own) - mean(over(case, days, window))
    return [value + shift for value in over(case, days, case.event)]


def scaled(
    case: Case, days: Sequence[date], window: list[datetime], low: Fraction | None = None, high: Fraction | None = None
) -> list[Fraction]:
    own = case.on(case.day, window)
    assert own is not None
    ratio = mean(own) / mean(over(case, days, window))
    ratio = ratio if low is None else max(low, ratio)
    ratio = ratio if high is None else min(high, ratio)
    return [value * ratio for value in over(case, days, case.event)]


def highest(case: Case, days: Sequence[date], count: int, stamps: Collection[datetime] | None = None) -> list[date]:
    return sorted(days, key=lambda day: at_event(case, day, stamps), reverse=True)[:count]


def ten_of_ten(case: Case) -> list[Fraction]:
    works = workday(case.day, NERC)
    return over(case, _ten(case, case.event)[: 10 if works else 4], case.event)


def _ten(case: Case, needed: list[datetime]) -> list[date]:
    return list(back(case, range(1, 46), lambda day: workday(day, NERC), needed))


def caiso_10(case: Case) -> list[Fraction]:
    window = case.hours(-4, -1)
    days = _ten(case, case.event + window)[: 10 if workday(case.day, NERC) else 4]
    return scaled(case, days, window, Fraction(4, 5), Fraction(6, 5))


def caiso_5(case: Case) -> list[Fraction]:
    window = case.hours(-4, -2) + case.hours(2, 4, after=True)
    works = workday(case.day, NERC)
    days = highest(case, _ten(case, case.event + window)[: 10 if works else 5], 5 if works else 3)
    parts = [Fraction(1, 5)] * 5 if works else [Fraction(5, 10), Fraction(3, 10), Fraction(2, 10)]

    def weighed(stamps: list[datetime]) -> list[Fraction]:
        rows = [case.on(day, stamps) or [] for day in days]
        return [sum((w * row[n] for w, row in zip(parts, rows, strict=True)), Fraction(0)) for n in range(len(stamps))]

    own = case.on(case.day, window)
    assert own is not None
    ratio = min(max(mean(own) / mean(weighed(window)), Fraction(5, 7)), Fraction(7, 5))
    return [value * ratio for value in weighed(case.event)]


def _not_low(case: Case, days: list[date], count: int) -> list[date]:
    """The latest days, none of them below a quarter of their mean."""
    while True:
        pool = days[:count]
        average = mean([at_event(case, day) for day in pool])
        low = [day for day in pool if at_event(case, day) < average / 4]
        if not low:
            return pool
        days = [day for day in days if day not in low]


def pjm(case: Case) -> list[Fraction]:
    window = case.hours(-4, -1)
    pool, chosen = (5, 4) if kind3(case.day, NERC) == "weekday" else (3, 2)
    for reach in (45, 60):
        found = list(back(case, range(1, reach + 1), lambda day: kind3(day, NERC), case.event + window))
        days = _not_low(case, found, pool)
        if len(days) == pool:
            break
    return [max(value, Fraction(0)) for value in added(case, highest(case, days, chosen), window)]


def match_day(case: Case) -> list[Fraction]:
    near = set(case.hours(-1, 0)) | set(case.event) | set(case.hours(0, 1, after=True))
    compared = [at for at in case.around if at not in near]
    own = case.on(case.day, compared) or []

    def apart(day: date) -> Fraction:
        return sum(((a - b) ** 2 for a, b in zip(case.on(day, compared) or [], own, strict=True)), Fraction(0))

    days = list(back(case, range(1, 46), lambda day: workday(day, NERC), case.around))
    return over(case, sorted(days, key=apart)[:3], case.event)


def three_and_two(case: Case) -> list[Fraction]:
    own = case.on(case.day, case.hours(-4, -1) + case.hours(1, 3, after=True))
    assert own is not None
    return [mean(own)] * len(case.event)


def _new_york(case: Case, needed: list[datetime]) -> list[date]:
    def kind(day: date) -> str:
        return kind3(day, {day for day in NERC if day.weekday() < 5})

    weekday = kind(case.day) == "weekday"
    days = list(back(case, range(2, 31), kind, needed, events_too=not weekday))
    level = max(at_event(case, day) for day in days)
    accepted: list[date] = []
    for day in days:
        if at_event(case, day) >= level / 4 and len(accepted) < (10 if weekday else 3):
            accepted.append(day)
            level = mean([at_event(case, day) for day in accepted])
    return highest(case, accepted, 5 if weekday else 2)


def new_york(case: Case) -> list[Fraction]:
    return over(case, _new_york(case, case.event), case.event)


def new_york_adjusted(case: Case) -> list[Fraction]:
    window = case.hours(-4, -2)
    return scaled(case, _new_york(case, case.event + window), window, Fraction(4, 5), Fraction(6, 5))


def new_england(case: Case) -> list[Fraction]:
    window = case.hours(-2, 0)
    count = 10 if kind3(case.day, NERC) == "weekday" else 5
    days = list(back(case, range(1, 46), lambda day: kind3(day, NERC), case.event + window))
    return added(case, days[:count], window)


def ercot(case: Case) -> list[Fraction]:
    window = case.hours(-2, 0)
    days = list(back(case, range(1, 46), lambda day: workday(day, NERC), {*case.around, *window}))[:10]
    middle = sorted(days, key=lambda day: at_event(case, day, case.around))[1:-1]
    return scaled(case, middle, window)


def britain(case: Case) -> list[Fraction]:
    window = case.hours(-3, 0)
    days = list(back(case, range(1, 61), lambda day: workday(day, ENGLAND), case.event + window))
    return added(case, days[: 10 if workday(case.day, ENGLAND) else 4], window)


def elia(case: Case) -> list[Fraction]:
    window = case.hours(-4, -1)
    works = workday(case.day, BELGIUM)
    days = list(back(case, range(1, 46), lambda day: workday(day, BELGIUM), case.event + window))
    return added(case, highest(case, days[: 5 if works else 3], 4 if works else 2), window)


def greece(case: Case) -> list[Fraction]:
    window = case.hours(-3, 0)
    while case.on(case.day, window) is None or any(
        start < window[-1] + case.step and end > window[0] for start, end in case.events
    ):
        window = [at - case.step for at in window]
    weekday = kind3(case.day, GREECE) == "weekday"
    days = list(back(case, range(1, 46), lambda day: kind3(day, GREECE), {*case.around, *window}))
    chosen = highest(case, days[: 10 if weekday else 3], 5 if weekday else 2)
    return [max(value, Fraction(0)) for value in added(case, chosen, window)]


def _china(day: date) -> bool:
    return day in CHINA_WORKED or workday(day, CHINA)


def beijing(case: Case) -> list[Fraction]:
    days = list(back(case, range(2, 46), _china, case.around))
    works = _china(case.day)
    return over(case, highest(case, days[: 10 if works else 4], 5 if works else 2, case.around), case.event)


def jiangsu(case: Case) -> list[Fraction]:
    """The invitation is taken to come on the event's own day."""
    return over(case, list(back(case, range(1, 46), _china, case.event))[: 5 if _china(case.day) else 4], case.event)


def korea(case: Case) -> list[Fraction]:
    works = workday(case.day, KOREA)
    days = list(back(case, range(1, 46), lambda day: workday(day, KOREA), case.event))[: 10 if works else 4]
    dropped = 2 if works else 1
    return over(case, sorted(days, key=lambda day: at_event(case, day))[dropped:-dropped], case.event)


def japan(case: Case) -> list[Fraction]:
    window = case.hours(-5, -2)
    works = workday(case.day, JAPAN)
    days = list(back(case, range(1, 31), lambda day: workday(day, JAPAN), case.event + window))
    pool = _not_low(case, days, 5 if works else 3)
    return added(case, highest(case, pool, 4 if works else 2), window)


def last_quarter(case: Case) -> list[Fraction]:
    """For starts on a quarter of an hour; the instruction is taken to come at the start."""
    own = case.on(case.day, case.hours(-0.25, 0))
    assert own is not None
    return [mean(own)] * len(case.event)


def time_of_week(case: Case) -> list[Fraction]:
    """Without temperature the fit is the mean of what there is of the same time of the week."""
    free = [day for n in range(1, 71) if not busy(case, day := case.day - timedelta(days=n))]
    weeks = [day for day in free if day.weekday() == case.day.weekday()]
    moved = [[at + (day - case.day) for day in weeks] for at in case.event]
    return [mean([case.load[at] for at in stamps if at in case.load]) for stamps in moved]


def generator_output(case: Case, output: Case) -> list[Fraction]:
    """The site's load and what its generator gave more than on the ten days."""
    rows = zip(case.event, ten_of_ten(output), strict=True)
    return [case.load[at] + output.load[at] - typical for at, typical in rows]


ORACLE: Mapping[str, Callable[[Case], list[Fraction]]] = {
    "10-of-10": ten_of_ten,
    "beijing": beijing,
    "caiso-10-in-10": caiso_10,
    "caiso-5-in-10": caiso_5,
    "elia-high-x-of-y": elia,
    "elia-last-quarter-hour": last_quarter,
    "ercot-meter-before-after": last_quarter,
    "ercot-middle-8-of-10": ercot,
    "gb-bl01": britain,
    "ipto": greece,
    "iso-ne": new_england,
    "japan-high-4-of-5": japan,
    "jiangsu": jiangsu,
    "korea-middle-6-of-10": korea,
    "meter-before-after": last_quarter,
    "nyiso-average-day": new_york,
    "nyiso-average-day-adjusted": new_york_adjusted,
    "pjm-3-day-types-saa": pjm,
    "pjm-match-day": match_day,
    "pjm-same-day-3-2": three_and_two,
    "time-of-week-regression": time_of_week,
}
