"""One meter's intervals put in order: what stands on the grid, what beside it, and what like days say."""

import math
from bisect import bisect_left
from collections import Counter
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta, tzinfo
from itertools import pairwise
from types import MappingProxyType

from gateway.domain.baseline.days import CALENDARS, is_made_up, midnight
from gateway.domain.baseline.history import mean_w
from gateway.domain.measurement import IntervalEnergy, epoch_us, from_epoch_us, seconds_us
from gateway.domain.vee.rule import Alike, LikeDays

_SATURDAY, _SUNDAY = 5, 6
_HOUR_US = 3_600_000_000

Span = tuple[int, int]
"""A stretch of time ``[begin, end)`` in microseconds since the epoch."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Series:
    """The usable intervals of one meter around a period ``[begin_us, end_us)``, on a grid of ``interval_us``.

    ``on_grid`` holds the intervals of each slot by its start, duplicates included; ``beside`` those that begin off the
    grid or last longer or shorter. ``power_w`` is the mean power of each slot whose intervals agree. Intervals covered
    too little are not usable and left out of all three. Outside the period the intervals are history.
    """

    interval_us: int
    offset_us: int
    begin_us: int
    end_us: int
    zone: tzinfo
    on_grid: Mapping[int, tuple[IntervalEnergy, ...]]
    beside: tuple[IntervalEnergy, ...]
    power_w: Mapping[int, float]
    starts: tuple[int, ...]
    """The keys of ``power_w`` in order."""
    records: tuple[tuple[int, int, IntervalEnergy], ...]
    """Every usable interval with its start and end, in order of time."""

    @property
    def slots(self) -> range:
        """Starts of the grid's intervals that lie in the period as a whole."""
        first_us = self.begin_us + (self.offset_us - self.begin_us) % self.interval_us
        return range(first_us, self.end_us - self.interval_us + 1, self.interval_us)

    def within(self, begin_us: int, end_us: int) -> tuple[int, ...]:
        """Starts of the slots with a known power that begin in ``[begin_us, end_us)``."""
        return self.starts[bisect_left(self.starts, begin_us) : bisect_left(self.starts, end_us)]

    def touched(self, begin_us: int, end_us: int) -> range:
        """Starts of the slots of the period that lie in ``[begin_us, end_us)``, if only in part."""
        slots = self.slots
        if not slots:
            return slots
        first = max((begin_us - slots.start) // self.interval_us, 0)
        last = min(-((slots.start - end_us) // self.interval_us), len(slots))
        return slots[first : max(first, last)]

    def days(self) -> Iterator[tuple[date, int, int]]:
        """The local days that the period touches, each with its span within the period."""
        day = from_epoch_us(self.begin_us).astimezone(self.zone).date()
        while True:
            after = day + timedelta(days=1)
            begin_us, end_us = epoch_us(midnight(day, self.zone)), epoch_us(midnight(after, self.zone))
            if begin_us >= self.end_us:
                return
            yield day, max(begin_us, self.begin_us), min(end_us, self.end_us)
            day = after


def arrange(
    intervals: Sequence[IntervalEnergy],
    *,
    interval_s: float,
    zone: tzinfo,
    start: datetime,
    end: datetime,
    least_coverage_fraction: float,
) -> Series:
    """Put intervals on their grid, in whatever order they come.

    The grid is the offset that most of them have; of equally common ones that of the local day, which is also taken
    where there are no intervals. Raises ``ValueError`` for an interval length that does not fill an hour, a period that
    ends before it begins, a naive instant, and an interval without duration or with energy that is no finite number.
    """
    interval_us, begin_us, end_us = seconds_us(interval_s), epoch_us(start), epoch_us(end)
    if interval_us <= 0:
        raise ValueError(f"an interval of {interval_s} s is not positive")
    if _HOUR_US % interval_us:
        raise ValueError(f"intervals of {interval_s:g} s do not fill an hour: whole parts of 3600 s are wanted")
    if begin_us >= end_us:
        raise ValueError(f"the period ends at {end.isoformat()} and has to end after {start.isoformat()}")
    for one in intervals:
        if seconds_us(one.duration_s) <= 0:
            raise ValueError(f"the interval at {one.starts_at.isoformat()} lasts {one.duration_s} s")
        if not math.isfinite(one.energy_wh):
            raise ValueError(f"the interval at {one.starts_at.isoformat()} holds {one.energy_wh} Wh")
    usable = [one for one in intervals if 0.0 < one.coverage_fraction >= least_coverage_fraction]
    records = sorted(((*_span(one), one) for one in usable), key=lambda record: (*record[:2], *_value(record[2])))
    daily_us = epoch_us(midnight(start.astimezone(zone).date(), zone)) % interval_us
    offsets = Counter(first_us % interval_us for first_us, last_us, _ in records if last_us - first_us == interval_us)
    offset_us = min(offsets, key=lambda us: (-offsets[us], (us - daily_us) % interval_us), default=daily_us)
    placed: dict[int, list[IntervalEnergy]] = {}
    beside = []
    for first_us, last_us, one in records:
        if last_us - first_us == interval_us and first_us % interval_us == offset_us:
            placed.setdefault(first_us, []).append(one)
        else:
            beside.append(one)
    power_w = {at: mean_w(same[0]) for at, same in placed.items() if len({mean_w(one) for one in same}) == 1}
    return Series(
        interval_us=interval_us,
        offset_us=offset_us,
        begin_us=begin_us,
        end_us=end_us,
        zone=zone,
        on_grid=MappingProxyType({at: tuple(same) for at, same in placed.items()}),
        beside=tuple(beside),
        power_w=MappingProxyType(power_w),
        starts=tuple(power_w),
        records=tuple(records),
    )


class History:
    """What a meter drew at the same time of like days. ``without`` are slots that do not count, such as spikes."""

    def __init__(self, series: Series, like: LikeDays, *, without: Collection[int] = ()) -> None:
        self._like = like
        self._series = series
        self._power_w: dict[tuple[date, int], float] = {}
        self._types: dict[date, int] = {}
        self._alike: dict[date, list[date]] = {}
        left_out = frozenset(without)
        for at in series.starts:
            if at not in left_out:
                day, second, again = self._clock(at)
                if not again:
                    self._power_w[day, second] = series.power_w[at]
        self._known = frozenset(day for day, _ in self._power_w)

    def nearest(self, at_us: int) -> list[float]:
        """Mean power in watts at the same local time of the nearest like days, as many as the rule wants at most."""
        day, second, _ = self._clock(at_us)
        values = (self._power_w.get((other, second)) for other in self._days_like(day))
        return [value for value in values if value is not None][: self._like.days]

    def typical(self) -> dict[tuple[int, int], list[float]]:
        """Mean powers of all days by kind of day and second of the day."""
        found: dict[tuple[int, int], list[float]] = {}
        for (day, second), power_w in self._power_w.items():
            found.setdefault((self._type(day), second), []).append(power_w)
        return found

    def place(self, at_us: int) -> tuple[int, int]:
        """Kind of day and second of the day, the key of ``typical``."""
        day, second, _ = self._clock(at_us)
        return self._type(day), second

    def _clock(self, at_us: int) -> tuple[date, int, bool]:
        local = from_epoch_us(at_us).astimezone(self._series.zone)
        return local.date(), local.hour * 3_600 + local.minute * 60 + local.second, local.fold == 1

    def _days_like(self, day: date) -> list[date]:
        """The known days of the same kind within reach, the nearest first and of equals the earlier one."""
        if day not in self._alike:
            within = range(1, self._like.within_days + 1)
            near = (day + timedelta(days=sign * apart) for apart in within for sign in (-1, 1))
            self._alike[day] = [
                other for other in near if other in self._known and self._type(other) == self._type(day)
            ]
        return self._alike[day]

    def _type(self, day: date) -> int:
        """Kind of day: a day of the week, or working day (0), Saturday (5), Sunday and holiday (6)."""
        if day not in self._types:
            calendar, weekday = self._like.calendar, day.weekday()
            if day in CALENDARS[calendar](day.year):
                weekday = _SUNDAY
            elif self._like.alike is Alike.DAY_TYPE and (weekday < _SATURDAY or is_made_up(calendar, day)):
                weekday = 0
            self._types[day] = weekday
        return self._types[day]


def joined(spans: Iterable[Span]) -> list[Span]:
    """Spans in order, those that touch or overlap made one."""
    whole: list[list[int]] = []
    for begin_us, end_us in sorted(spans):
        if whole and begin_us <= whole[-1][1]:
            whole[-1][1] = max(whole[-1][1], end_us)
        else:
            whole.append([begin_us, end_us])
    return [(begin_us, end_us) for begin_us, end_us in whole]


def uncovered(begin_us: int, end_us: int, spans: Iterable[Span]) -> list[Span]:
    """What ``spans`` leave of ``[begin_us, end_us)``."""
    edges = [(begin_us, begin_us), *joined(spans), (end_us, end_us)]
    cut = ((max(left[1], begin_us), min(right[0], end_us)) for left, right in pairwise(edges))
    return [(first_us, last_us) for first_us, last_us in cut if first_us < last_us]


def runs(starts: Iterable[int], interval_us: int) -> list[Span]:
    """Slots that follow each other without a gap, as spans."""
    return joined((at, at + interval_us) for at in starts)


def _span(interval: IntervalEnergy) -> Span:
    begin_us = epoch_us(interval.starts_at)
    return begin_us, begin_us + seconds_us(interval.duration_s)


def _value(interval: IntervalEnergy) -> tuple[float, float, str]:
    return interval.energy_wh, interval.coverage_fraction, interval.quality.value
