"""Instants and lengths of time as ISO 8601 writes them. What of it a dialect allows is its own matter."""

from datetime import UTC, datetime, timedelta


def write_date_time(value: datetime) -> str:
    """An aware instant in UTC with ``Z``; ``ValueError`` for a naive one."""
    if value.tzinfo is None:
        raise ValueError(f"{value} is not aware")
    return value.astimezone(UTC).replace(tzinfo=None).isoformat() + "Z"


def length_of(
    *,
    sign: str = "",
    years: str = "0",
    months: str = "0",
    weeks: str = "0",
    days: str = "0",
    hours: str = "0",
    minutes: str = "0",
    seconds: str = "0",
) -> timedelta:
    """The length that the parts of a duration make, each a whole number, the seconds with or without a fraction.

    Years count 365 days and months 30, for want of a calendar at this place. Of a fraction microseconds count, what is
    finer is cut off. Raises ``ValueError`` for a length that cannot be counted.
    """
    whole_s, _, fraction = seconds.partition(".")
    whole_days = 365 * int(years) + 30 * int(months) + 7 * int(weeks) + int(days)
    whole_seconds = 3600 * int(hours) + 60 * int(minutes) + int(whole_s)
    try:
        length = timedelta(whole_days, whole_seconds, int(fraction[:6].ljust(6, "0")))
    except OverflowError as cause:
        raise ValueError("longer than can be counted") from cause
    return -length if sign == "-" else length


def write_duration(value: timedelta) -> str:
    """Days, hours, minutes and seconds, these with a fraction where there is one: ``P1DT2H``, ``PT0.5S``, ``PT0S``."""
    sign = "-" if value < timedelta(0) else ""
    value = abs(value)
    hours, rest = divmod(value.seconds, 3600)
    minutes, seconds = divmod(rest, 60)
    fraction = f".{value.microseconds:06d}".rstrip("0") if value.microseconds else ""
    day = f"{value.days}D" if value.days else ""
    time = "".join(f"{n}{unit}" for n, unit in ((hours, "H"), (minutes, "M")) if n)
    time += f"{seconds}{fraction}S" if seconds or fraction else ""
    return f"{sign}P{day}T{time}" if time else f"{sign}P{day}" if day else "PT0S"
