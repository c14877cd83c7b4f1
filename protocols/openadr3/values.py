"""The simple types of OpenADR 3: from a JSON value to a value and back.

Two values are no ordinary ones. A start at the beginning of time is ``NOW`` ("do it now"; 3.0 wrote the day
0000-00-00), a duration of 9999 years is ``FOREVER`` and means no end (User Guide 7.3).
"""

import re
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from math import isfinite
from typing import Any

from protocols.iso8601 import length_of, write_date_time, write_duration

NOW = datetime(1, 1, 1, tzinfo=UTC)
FOREVER = timedelta(days=365 * 9999)

_BEGINNING = re.compile(r"(?:0001-01-01|0000-00-00)(?:T00:00:00(?:\.0+)?(?:Z|\+00:00)?)?", re.ASCII)
# RFC 3339, 5.6: a blank may stand for the T, and an example of the User Guide has one.
_DATE_TIME = re.compile(r"\d{4}-\d\d-\d\d[Tt ]\d\d:\d\d:\d\d(?:\.\d+)?(?:[Zz]|[+-]\d\d:\d\d)", re.ASCII)
_DURATION = re.compile(
    r"(?P<sign>-?)P(?=\d|T\d)(?:(?P<years>\d+)Y)?(?:(?P<months>\d+)M)?(?:(?P<days>\d+)(?P<unit>[DW]))?"
    r"(?:T(?:(?P<hours>\d+)H)?(?:(?P<minutes>\d+)M)?(?:(?P<seconds>\d+(?:\.\d+)?)S)?)?",
    re.ASCII,
)
_OBJECT_ID = re.compile(r"[a-zA-Z0-9_-]+", re.ASCII)
_NO_TEXT = re.compile("[\x00\ud800-\udfff]")
_NO_URI = re.compile(r"[\x00-\x20\x7f\ud800-\udfff]")
_INT32 = (1 << 31) - 1


@dataclass(frozen=True, slots=True)
class Simple:
    """One simple type. ``parse`` raises ``ValueError`` for what is not of it, ``write`` for what cannot be said."""

    parse: Callable[[object], Any]
    write: Callable[[Any], object]
    expected: str


def text(least: int = 0, most: int | None = None) -> Simple:
    """Text of so many characters. A NUL or half a surrogate pair is no text: no database would take it."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or _NO_TEXT.search(value) is not None:
            raise ValueError(value)
        return within(value)

    def within(value: str) -> str:
        if len(value) < least or (most is not None and len(value) > most):
            raise ValueError(f"{value[:60]!r} has {len(value)} characters")
        return value

    def write(value: str) -> str:
        if not isinstance(value, str):
            raise ValueError(f"{value!r} is no text")
        # Free text from us must not be able to make a message unsendable.
        return within(_NO_TEXT.sub("\ufffd", value))

    expected = "text" if most is None else f"text of {least} to {most} characters"
    return Simple(parse, write, expected)


def _object_id(value: object) -> str:
    if not isinstance(value, str) or _OBJECT_ID.fullmatch(value) is None or len(value) > 128:
        raise ValueError(f"{value!r} is no object id")
    return value


def uri(least: int) -> Simple:
    """A URI of so many characters at least. Whether it is one to be followed is for who follows it to judge."""

    def parse(value: object) -> str:
        if not isinstance(value, str) or not least <= len(value) <= 8000 or _NO_URI.search(value) is not None:
            raise ValueError(f"{value!r} is no URI")
        return value

    return Simple(parse, parse, f"a URI of {least} to 8000 characters")


def whole(least: int = -_INT32 - 1, most: int = _INT32) -> Simple:
    """A whole number, also where it is written with a decimal point (as JSON Schema has it)."""

    def parse(value: object) -> int:
        number = int(value) if isinstance(value, float) and value.is_integer() else value
        if isinstance(number, bool) or not isinstance(number, int) or not least <= number <= most:
            raise ValueError(f"{value!r} is not from {least} to {most}")
        return number

    return Simple(parse, parse, f"a whole number from {least} to {most}")


def _number(value: object) -> float:
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{value!r} is no number")
    try:
        number = float(value)
    except OverflowError as cause:
        raise ValueError("a number that is too large") from cause
    if not isfinite(number):
        raise ValueError(f"{value!r} is no number")
    return number


def _boolean(value: object) -> bool:
    if not isinstance(value, bool):
        raise ValueError(f"{value!r} is neither true nor false")
    return value


def one_of(*words: str, also: Mapping[str, str] | None = None) -> Simple:
    """An enumeration; ``also`` has words of another version that are read for one of these."""
    read = {word: word for word in words} | dict(also or {})

    def parse(value: object) -> str:
        if not isinstance(value, str) or value not in read:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return read[value]

    def write(value: str) -> str:
        if value not in words:
            raise ValueError(f"{value!r} is not one of {', '.join(words)}")
        return value

    return Simple(parse, write, f"one of {', '.join(words)}")


def _parse_date_time(value: object) -> datetime:
    # Without an offset it would be anybody's time.
    if not isinstance(value, str) or _DATE_TIME.fullmatch(value) is None:
        raise ValueError(value)
    try:
        return datetime.fromisoformat(value.upper()).astimezone(UTC)
    except OverflowError as cause:
        raise ValueError(value) from cause


def _parse_start(value: object) -> datetime:
    if isinstance(value, str) and _BEGINNING.fullmatch(value) is not None:
        return NOW
    return _parse_date_time(value)


def _parse_duration(value: object) -> timedelta:
    match = None if not isinstance(value, str) else _DURATION.fullmatch(value)
    if match is None:
        raise ValueError(value)
    parts = match.groupdict("0")
    weeks, days = (parts["days"], "0") if parts.pop("unit") == "W" else ("0", parts["days"])
    return length_of(**{**parts, "weeks": weeks, "days": days})


def _write_duration(value: timedelta) -> str:
    return "P9999Y" if value == FOREVER else write_duration(value)


TEXT = text()
NAME = text(1, 128)
SECRET = text(1, 4096)
OBJECT_ID = Simple(_object_id, _object_id, "an object id: 1 to 128 letters, digits, _ and -")
URI = uri(2)
INTEGER = whole()
PERCENT = whole(0, 100)
NUMBER = Simple(_number, _number, "a number")
BOOLEAN = Simple(_boolean, _boolean, "true or false")
DATE_TIME = Simple(_parse_date_time, write_date_time, "an instant with its offset such as 2030-01-31T12:00:00Z")
START = Simple(_parse_start, write_date_time, f"{DATE_TIME.expected}, or 0001-01-01 for now")
DURATION = Simple(_parse_duration, _write_duration, "a duration such as PT15M")
