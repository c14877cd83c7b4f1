"""When an event's intervals are, as absolute times (User Guide 7.3 and 7.4).

A start at the beginning of time, or none, follows the interval before. For the first it is the event's own start, and
now where that is the beginning of time too. *Now* is when the event was last changed at the VTN: so it is the same
for everybody who reads it, and at every reading.
"""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from math import floor

from protocols.openadr3 import model
from protocols.openadr3.names import Version
from protocols.openadr3.values import NOW

AS_GOOD_AS_FOREVER = timedelta(days=3660)
"""A duration over ten years has no end that anybody plans for; so P9999Y, which is how the definition says infinity."""

REPEATED_AHEAD = timedelta(days=366)
"""How far ahead intervals that repeat are laid out: a year of hourly prices is some 8,800 of them."""

MOST_VALUES = 20_000
"""Of intervals and their values, over time. A week of a value a minute is about as much."""

_NOTHING = timedelta(0)
_EMPTY = model.IntervalPeriod()


class Contradiction(Exception):
    """An event or a report that contradicts itself."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """One interval in absolute time; ``duration`` is ``None`` where it has no end."""

    starts_at: datetime
    duration: timedelta | None
    interval: model.Interval

    @property
    def ends_at(self) -> datetime | None:
        """Where it ends."""
        return None if self.duration is None else self.starts_at + self.duration


def said_at(held: model.Event | model.Report, received_at: datetime) -> datetime:
    """When an object was last changed at the VTN, as far as it says so: the *now* of what it says."""
    metadata = held.metadata
    changed_at = None if metadata is None else metadata.modified_at or metadata.created_at
    return received_at if changed_at is None else changed_at


def is_cancelled(event: model.Event) -> bool:
    """Whether its window is of no duration at the beginning of time, which is how 3.x cancels (User Guide 7.9)."""
    periods = [
        event.period or _EMPTY,
        *(interval.period for interval in event.intervals if interval.period is not None),
    ]
    first, *own = periods
    return (
        bool(event.intervals)
        and (first.start, first.duration) == (NOW, _NOTHING)
        and all(period.start in {None, NOW} and period.duration in {None, _NOTHING} for period in own)
    )


def lay_out(event: model.Event, *, received_at: datetime, version: Version) -> tuple[Span, ...]:
    """The event's intervals, in their order, without those of no duration; cut short or repeated as its duration says.

    Intervals that repeat are laid out from a round before ``received_at`` on, and no farther ahead than
    ``REPEATED_AHEAD``. Raises ``Contradiction``.
    """
    try:
        spans = spans_of(event.intervals, event.period, now=said_at(event, received_at), version=version)
        _check_number(spans, 1)
        if not spans or not event.duration:
            # A duration of zero is what the definition has by default, so it says nothing.
            return spans
        if event.duration < _NOTHING:
            raise Contradiction("the event has a negative duration")
        return _for_so_long(spans, event.duration, received_at)
    except OverflowError as cause:
        raise Contradiction("the intervals leave the calendar") from cause


def spans_of(
    intervals: Sequence[model.Interval], default: model.IntervalPeriod | None, *, now: datetime, version: Version
) -> tuple[Span, ...]:
    """Intervals in absolute time, those without a duration left out. Raises ``Contradiction`` and ``OverflowError``."""
    default = default or _EMPTY
    found: list[Span] = []
    cursor = _first_start(intervals, default, now)
    for interval in intervals:
        own = interval.period or _EMPTY
        starts_at = cursor if own.start in {None, NOW} else own.start
        if starts_at is None:
            raise Contradiction(f"interval {interval.id} follows one that has no end")
        duration = _duration(interval, default, version)
        if duration is None or duration > _NOTHING:
            found.append(Span(starts_at=starts_at, duration=duration, interval=interval))
        cursor = None if duration is None else starts_at + duration
    return tuple(found)


def _first_start(intervals: Sequence[model.Interval], default: model.IntervalPeriod, now: datetime) -> datetime | None:
    if not intervals:
        return None
    own = intervals[0].period or _EMPTY
    if own.start is None and default.start is None:
        raise Contradiction("nothing says when it begins")
    return now if default.start in {None, NOW} else default.start


def _duration(interval: model.Interval, default: model.IntervalPeriod, version: Version) -> timedelta | None:
    own = interval.period or _EMPTY
    duration = default.duration if own.duration is None else own.duration
    if duration is None:
        if version is Version.V3_0:
            return None
        raise Contradiction(f"interval {interval.id} has no duration")
    if duration < _NOTHING:
        raise Contradiction(f"interval {interval.id} has a negative duration")
    if duration > AS_GOOD_AS_FOREVER or (not duration and version is Version.V3_0):
        # In 3.0 a duration of zero, which is its default, may stand for infinity.
        return None
    return duration


def _for_so_long(spans: tuple[Span, ...], duration: timedelta, received_at: datetime) -> tuple[Span, ...]:
    """The spans cut off where the event ends, or repeated until it does."""
    begins_at = min(span.starts_at for span in spans)
    endless = duration > AS_GOOD_AS_FOREVER
    ends = [span.ends_at for span in spans]
    last = None if None in ends else max(end for end in ends if end is not None)
    if last is not None and (endless or begins_at + duration > last):
        if len(spans) == 1:
            return (replace(spans[0], duration=None if endless else duration),)
        until = received_at + REPEATED_AHEAD
        until = until if endless else min(until, begins_at + duration)
        spans = _repeated(spans, last - begins_at, begins_at, received_at, until)
    return spans if endless else _cut(spans, begins_at + duration)


def _repeated(
    spans: tuple[Span, ...], every: timedelta, begins_at: datetime, received_at: datetime, until: datetime
) -> tuple[Span, ...]:
    first = max(0, floor((min(received_at, until) - begins_at) / every) - 1)
    rounds = max(1, -floor((begins_at - until) / every) - first)
    _check_number(spans, rounds)
    return tuple(
        replace(span, starts_at=span.starts_at + (first + round_) * every) for round_ in range(rounds) for span in spans
    )


def _check_number(spans: Sequence[Span], rounds: int) -> None:
    found = rounds * sum(1 + sum(len(payload.values) for payload in span.interval.payloads) for span in spans)
    if found > MOST_VALUES:
        raise Contradiction(f"{found} intervals and values over time, more than the {MOST_VALUES} that we lay out")


def _cut(spans: tuple[Span, ...], ends_at: datetime) -> tuple[Span, ...]:
    found = []
    for span in spans:
        if span.starts_at >= ends_at:
            continue
        left = ends_at - span.starts_at
        found.append(span if span.duration is not None and span.duration <= left else replace(span, duration=left))
    return tuple(found)
