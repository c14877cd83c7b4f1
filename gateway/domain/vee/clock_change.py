"""When a zone's clocks change, and what local time taken for UTC makes of it."""

from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import date, timedelta, tzinfo

from gateway.domain.baseline.days import midnight
from gateway.domain.measurement import epoch_us, from_epoch_us
from gateway.domain.vee.series import Span

_MINUTE_US = 60_000_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ClockChange:
    """Clocks change at ``at_us`` by ``forward_us``, negative where an hour is shown twice; ``before_us`` is the offset.

    Instants and offsets from UTC are in microseconds.
    """

    at_us: int
    before_us: int
    forward_us: int

    @property
    def as_utc(self) -> Span:
        """The wall clock's skipped or repeated hour, taken for UTC."""
        first_us = self.at_us + self.before_us
        return min(first_us, first_us + self.forward_us), max(first_us, first_us + self.forward_us)

    @property
    def first_pass(self) -> Span:
        """The repeated hour as it is shown first; for a skipped one an empty span."""
        return min(self.at_us + self.forward_us, self.at_us), self.at_us

    @property
    def second_pass(self) -> Span:
        """The repeated hour as it is shown again; for a skipped one an empty span."""
        return self.at_us, max(self.at_us - self.forward_us, self.at_us)


def clock_changes(first: date, last: date, zone: tzinfo) -> Iterator[ClockChange]:
    """The changes from the beginning of the first local day to the end of the last, one a day at the most."""
    day = first
    while day <= last:
        begin_us, end_us = epoch_us(midnight(day, zone)), epoch_us(midnight(day + timedelta(days=1), zone))
        before_us, after_us = _offset_us(begin_us, zone), _offset_us(end_us, zone)
        if before_us != after_us:
            # Clocks change on whole minutes.
            minutes = range(begin_us, end_us, _MINUTE_US)
            number = bisect_left(minutes, True, key=lambda us: _offset_us(us, zone) == after_us)
            yield ClockChange(at_us=minutes[number], before_us=before_us, forward_us=after_us - before_us)
        day += timedelta(days=1)


def _offset_us(at_us: int, zone: tzinfo) -> int:
    offset = from_epoch_us(at_us).astimezone(zone).utcoffset() or timedelta(0)
    return offset // timedelta(microseconds=1)
