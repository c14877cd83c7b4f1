"""Calendars, and the same time of day on another day."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
from functools import cache, partial
from types import MappingProxyType

_MONDAY, _THURSDAY, _SUNDAY = 0, 3, 6


def nerc_holidays(year: int) -> Mapping[date, str]:
    """The six NERC additional off-peak days of a year.

    Source: NERC Resources Subcommittee, "Additional Off-peak Days": one of fixed date that falls on a Sunday is kept on
    the Monday after; one that falls on a Saturday stays there.
    """
    fixed = {
        date(year, 1, 1): "New Year's Day",
        date(year, 7, 4): "Independence Day",
        date(year, 12, 25): "Christmas Day",
    }
    kept = {day + timedelta(days=day.weekday() == _SUNDAY): name for day, name in fixed.items()}
    kept[_on_or_before(date(year, 5, 31), _MONDAY)] = "Memorial Day"
    kept[_on_or_before(date(year, 9, 7), _MONDAY)] = "Labor Day"
    kept[_on_or_before(date(year, 11, 28), _THURSDAY)] = "Thanksgiving Day"
    return MappingProxyType(kept)


def no_holidays(year: int) -> Mapping[date, str]:  # noqa: ARG001 - a calendar is asked by year, and this one has no days
    """A calendar without holidays."""
    return MappingProxyType({})


@cache
def _national(country: str, part: str | None, year: int) -> tuple[Mapping[date, str], frozenset[date]]:
    """A country's public holidays of a year, and the days of rest that were made working days for them."""
    # Loaded when a calendar is asked for: it takes as long as all else that a command loads.
    from holidays import country_holidays  # noqa: PLC0415

    found = country_holidays(country, subdiv=part, years=year, language="en_US")
    worked = frozenset(day for day in found.weekend_workdays if day.year == year)
    return MappingProxyType({day: name for day, name in found.items() if day.year == year}), worked


def _national_holidays(country: str, part: str | None, year: int) -> Mapping[date, str]:
    return _national(country, part, year)[0]


_COUNTRIES: Mapping[str, tuple[str, str | None]] = MappingProxyType(
    {
        "us-federal": ("US", None),
        # Elexon's working days are those of England and Wales.
        "england": ("GB", "ENG"),
        "belgium": ("BE", None),
        "greece": ("GR", None),
        "china": ("CN", None),
        "korea": ("KR", None),
        "japan": ("JP", None),
    }
)
"""National calendars as the package ``holidays`` knows them, with its version's knowledge of days yet to be decreed."""

CALENDARS: Mapping[str, Callable[[int], Mapping[date, str]]] = MappingProxyType(
    {
        "nerc": nerc_holidays,
        "none": no_holidays,
        **{name: partial(_national_holidays, *place) for name, place in _COUNTRIES.items()},
    }
)


def is_made_up(calendar: str, day: date) -> bool:
    """Whether a Saturday or Sunday was made a working day, to make up for a holiday (China)."""
    known = _COUNTRIES.get(calendar)
    return known is not None and day in _national(*known, day.year)[1]


def same_wall_clock(at: datetime, anchor: date, day: date, zone: tzinfo) -> datetime | None:
    """The instant that stands to ``day`` as ``at`` stands to ``anchor``, by the clock on the wall; in UTC.

    ``None`` where clocks skipped that time on the day. Where they showed it twice, the first one.
    """
    local = at.astimezone(zone)
    wanted = (local + (day - anchor)).replace(fold=0)
    moved = wanted.astimezone(UTC)
    return moved if moved.astimezone(zone).replace(tzinfo=None, fold=0) == wanted.replace(tzinfo=None) else None


def midnight(day: date, zone: tzinfo) -> datetime:
    """The first instant of a day, in UTC."""
    return datetime.combine(day, datetime.min.time(), tzinfo=zone).astimezone(UTC)


def _on_or_before(day: date, weekday: int) -> date:
    return day - timedelta(days=(day.weekday() - weekday) % 7)
