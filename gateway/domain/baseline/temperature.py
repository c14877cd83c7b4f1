"""Temperatures of a place as they are had, put on the meter's intervals."""

from bisect import bisect_right
from collections.abc import Iterable, Sequence
from datetime import datetime, timedelta

HELD = timedelta(hours=1)
"""A temperature stands until the next and no longer: weather comes by the hour."""


def by_interval(
    series: Sequence[tuple[datetime, float]], starts: Iterable[datetime]
) -> tuple[tuple[datetime, float], ...]:
    """The temperature at each of these starts, in order; one that has none within ``HELD`` before it is left out.

    ``series`` is in order of time, in degrees Celsius.
    """
    instants = [at for at, _ in series]
    found = []
    for start in sorted(set(starts)):
        place = bisect_right(instants, start) - 1
        if place >= 0 and start - instants[place] < HELD:
            found.append((start, series[place][1]))
    return tuple(found)
