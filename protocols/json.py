"""The bounded JSON reader that every dialect's codec stands on.

Stricter than the standard library's: a name stands once in an object, numbers are finite, text is UTF-8. Size, depth
and number of values are bounded before anything is built, which bounds time and memory: a megabyte of the worst input
takes a fraction of a second.
"""

import json
import re
from math import isfinite

from protocols.errors import MalformedMessage, MessageTooLarge

MAX_BYTES = 1 << 20
MAX_DEPTH = 32
"""More than twice what the deepest object of OpenADR 3 needs."""
MAX_VALUES = 1 << 18
"""About twice what a full megabyte of intervals holds (some 130,000)."""

_MOST_DIGITS = 300
"""Any whole number of so many digits is one that a float can stand for."""
# A string is passed over whole, the last one also where it does not end. Possessive, so that nothing is tried twice.
_TOKEN = re.compile(rb'"[^"\\]*+(?:\\.[^"\\]*+)*+"?|[\[{]|[\]}]|,', re.DOTALL)


def parse(
    body: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH, max_values: int = MAX_VALUES
) -> object:
    """The value that ``body`` holds: dict, list, str, int, float, bool or None.

    Raises ``MessageTooLarge`` over ``max_bytes``, ``max_depth`` levels (the outermost is the first) or ``max_values``,
    ``MalformedMessage`` for anything that is not JSON, names a field twice or has a number that is not finite.
    """
    if len(body) > max_bytes:
        raise MessageTooLarge(f"{len(body)} bytes, more than the {max_bytes} that we read")
    if not body.strip():
        raise MalformedMessage("an empty body, expected JSON")
    _check_shape(body, max_depth, max_values)
    try:
        text = body.decode("utf-8-sig")
    except UnicodeDecodeError as cause:
        raise MalformedMessage(f"not UTF-8 at byte {cause.start}") from cause
    try:
        value: object = _DECODER.decode(text)
    except json.JSONDecodeError as cause:
        raise MalformedMessage(f"not JSON: {cause.msg} at column {cause.colno}", line=cause.lineno) from cause
    return value


def _check_shape(body: bytes, max_depth: int, max_values: int) -> None:
    """Depth and number of values, from brackets and commas alone. Where these are wrong, the parser will say so."""
    depth = values = 0
    for token in _TOKEN.finditer(body):
        first = body[token.start()]
        if first in b"[{":
            depth += 1
            values += 1
            if depth > max_depth:
                raise MessageTooLarge(f"more than {max_depth} levels")
        elif first in b"]}":
            depth -= 1
        elif first == ord(","):
            values += 1
        if values > max_values:
            raise MessageTooLarge(f"more than the {max_values} values that we read")


def _once_each(pairs: list[tuple[str, object]]) -> dict[str, object]:
    found = dict(pairs)
    if len(found) < len(pairs):
        seen: set[str] = set()
        for name, _ in pairs:
            if name in seen:
                raise MalformedMessage(f"{name[:60]!r} stands twice in one object")
            seen.add(name)
    return found


def _whole(text: str) -> int:
    if len(text) > _MOST_DIGITS:
        raise MalformedMessage(f"a number of {len(text)} digits")
    return int(text)


def _finite(text: str) -> float:
    value = float(text)
    if not isfinite(value):
        raise MalformedMessage(f"the number {text[:60]} is too large")
    return value


def _not_a_number(text: str) -> float:
    raise MalformedMessage(f"{text} is no number in JSON")


_DECODER = json.JSONDecoder(
    object_pairs_hook=_once_each, parse_int=_whole, parse_float=_finite, parse_constant=_not_a_number
)
