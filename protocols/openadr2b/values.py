"""The simple types of OpenADR 2.0b: from an element's text to a value and back, as the schema set allows it.

Enumerations, numbers and instants may stand between blanks, as the schema has it; text and durations may not.
"""

import re
from collections.abc import Callable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from functools import lru_cache
from math import isinf, isnan
from typing import Any

from protocols.iso8601 import length_of, write_date_time
from protocols.iso8601 import write_duration as write_any_duration

_DATE_TIME = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}(\.\d*)?Z?", re.ASCII)
_DURATION = re.compile(r"([+-])?P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)D)?T?(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?|(\d+)W", re.ASCII)
_IN_NUMBERS = "0123456789+-.eE"
_DECIMAL = re.compile(r"[+-]?(\d+(\.\d*)?|\.\d+)", re.ASCII)
_COUNT = re.compile(r"\+?\d+", re.ASCII)
_CODE = re.compile(r"\d{3}", re.ASCII)
_EXTENSION = re.compile(r"x-\S.*")
_NOT_XML = re.compile("[^\t\n\r\u0020-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_NOT_FINITE = {"INF": float("inf"), "-INF": float("-inf"), "NaN": float("nan")}
_MOST = (1 << 32) - 1


@dataclass(frozen=True, slots=True)
class Simple:
    """One simple type. ``parse`` and ``write`` raise ``ValueError`` for what is not of it."""

    parse: Callable[[str], Any]
    write: Callable[[Any], str]
    expected: str


def _parse_date_time(text: str) -> datetime:
    if len(text) == 20 and text[4::3] == "--T::Z":
        # By far the most are written so; what is not digits between these is refused there.
        return datetime.fromisoformat(text)
    text = text.strip()
    match = _DATE_TIME.fullmatch(text)
    if match is None:
        raise ValueError(text)
    value = datetime.fromisoformat(text.replace(".", "") if match[1] == "." else text)
    # 2.0b speaks UTC only: the pattern has no room for an offset, and the Z may be missing.
    return value if value.tzinfo is not None else value.replace(tzinfo=UTC)


@lru_cache(maxsize=256)  # a report says the same one for each of its intervals
def _parse_duration(text: str) -> timedelta:
    match = _DURATION.fullmatch(text)
    if match is None:
        raise ValueError(text)
    sign, years, months, days, hours, minutes, seconds, weeks = match.groups("0")
    return length_of(
        sign=sign,
        years=years,
        months=months,
        weeks=weeks,
        days=days,
        hours=hours,
        minutes=minutes,
        seconds=seconds,
    )


def write_duration(value: timedelta) -> str:
    """Whole seconds in days, hours, minutes and seconds: the schema has no fractions (``ValueError``)."""
    if value.microseconds:
        raise ValueError(f"a duration of {value.total_seconds()} s: 2.0b writes whole seconds only")
    return write_any_duration(value)


def _parse_float(text: str) -> float:
    text = text.strip()
    # Of these characters alone Python's numbers are the schema's; a pattern takes several times as long to say so.
    if not text.strip(_IN_NUMBERS):
        return float(text)
    if text in _NOT_FINITE:
        return _NOT_FINITE[text]
    raise ValueError(text)


def _write_float(value: float) -> str:
    if isnan(value):
        return "NaN"
    if isinf(value):
        return "INF" if value > 0 else "-INF"
    return repr(float(value))


def _parse_decimal(text: str) -> Decimal:
    if _DECIMAL.fullmatch(text.strip()) is None:
        raise ValueError(text)
    return Decimal(text.strip())


def _parse_count(text: str) -> int:
    if _COUNT.fullmatch(text.strip()) is None or (value := int(text)) > _MOST:
        raise ValueError(text)
    return value


def _write_count(value: int) -> str:
    if not 0 <= value <= _MOST:
        raise ValueError(f"{value} is not from 0 to {_MOST}")
    return str(value)


def _parse_boolean(text: str) -> bool:
    text = text.strip()
    if text in {"true", "1"}:
        return True
    if text in {"false", "0"}:
        return False
    raise ValueError(text)


def _parse_code(text: str) -> str:
    if _CODE.fullmatch(text) is None:
        raise ValueError(text)
    return text


def _parse_percent(text: str) -> int:
    value = _parse_count(text)
    if value > 100:
        raise ValueError(text)
    return value


def _parse_coordinates(text: str) -> tuple[float, ...]:
    return tuple(_parse_float(item) for item in text.split())


def _write_text(value: str) -> str:
    # What XML cannot carry is replaced: free text from us must not be able to make a message unsendable.
    return _NOT_XML.sub("\ufffd", value)


def one_of(*words: str, or_extension: bool = False) -> Simple:
    """An enumeration; with ``or_extension`` also any token that begins with ``x-`` (EiExtensionTokenType)."""
    known = frozenset(words)
    expected = f"one of {', '.join(words)}" if len(words) <= 24 else f"a known code such as {words[0]}"
    expected += " or a token beginning with x-" if or_extension else ""

    def parse(text: str) -> str:
        if text in known:
            return text
        token = " ".join(text.split())
        if token in known or (or_extension and _EXTENSION.fullmatch(token) is not None):
            return token
        raise ValueError(f"{text!r} is not {expected}")

    return Simple(parse, parse, expected)


def fixed(word: str) -> Simple:
    """Text that the schema fixes; an empty element stands for it."""

    def parse(text: str) -> str:
        if text not in {word, ""}:
            raise ValueError(f"{text!r} is not {word}")
        return word

    return Simple(parse, parse, word)


TEXT = Simple(str, _write_text, "text")
FLOAT = Simple(_parse_float, _write_float, "a number")
DECIMAL = Simple(_parse_decimal, lambda value: f"{value:f}", "a decimal number")
COUNT = Simple(_parse_count, _write_count, f"a whole number from 0 to {_MOST}")
PERCENT = Simple(_parse_percent, str, "a whole number from 0 to 100")
BOOLEAN = Simple(_parse_boolean, lambda value: "true" if value else "false", "true or false")
DATE_TIME = Simple(_parse_date_time, write_date_time, "an instant in UTC such as 2030-01-31T12:00:00Z")
DURATION = Simple(_parse_duration, write_duration, "a duration such as PT15M")
CODE = Simple(_parse_code, _parse_code, "a response code of three digits")
COORDINATES = Simple(_parse_coordinates, lambda value: " ".join(map(_write_float, value)), "numbers between blanks")
