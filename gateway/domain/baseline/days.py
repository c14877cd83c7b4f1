"""Calendars, and the same time of day on another day."""

from collections.abc import Callable, Mapping
from datetime import UTC, date, datetime, timedelta, tzinfo
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


CALENDARS: Mapping[str, Callable[[int], Mapping[date, str]]] = MappingProxyType(
    {"nerc": nerc_holidays, "none": no_holidays}
)


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
