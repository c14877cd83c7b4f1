"""Records of readings, an hour of a meter each, read into columns: there are hundreds of thousands of readings."""

import math
from datetime import datetime

import numpy as np
from numpy.typing import NDArray
from pydantic import TypeAdapter, ValidationError

from gateway.domain.measurement import epoch_us
from gateway.domain.reading_columns import QUALITIES, ReadingColumns

_NUMBERS = TypeAdapter(list[float | None])
_MARK = b"-7e-99"
"""A number that no meter gives; where one does, its record is left to others."""

_CODES = {quality.value.encode(): code for code, quality in enumerate(QUALITIES)}

_WORTH_US = np.array([600e6, 60e6, 10e6, 1e6, 1e5, 1e4, 1e3, 1e2, 1e1, 1e0])
"""Of the digits of minutes, seconds and their fraction."""
_LARGEST_DIGITS = np.array([5, 9, 5, 9, 9, 9, 9, 9, 9, 9], dtype=np.uint8)


def read_canonical_hour(content: bytes, hour: datetime, meter_id: str) -> ReadingColumns | None:
    """The readings in a record, ``[[instant, watts, joules or null, quality], ...]`` as canonical JSON.

    ``None`` for what is written in any other way, or not all of this hour: that has to be read by other means, right or
    wrong. Where all that stands between quotation marks is as it has to be, so is the rest, if its numbers are.
    """
    pieces = content.split(b'"')
    count = len(pieces) // 4
    if not count or len(pieces) % 4 != 1 or (pieces[0], pieces[-1]) != (b"[[", b"]]"):
        return None
    stamps_us = _stamps_us(pieces[1::4], hour)
    qualities = _qualities(pieces[3::4])
    if stamps_us is None or qualities is None or not _all_are(b"],[", pieces[4:-1:4]):
        return None
    numbers = _numbers(pieces[2::4])
    if numbers is None:
        return None
    powers_w, energies_j = numbers
    return ReadingColumns(
        meter_id=meter_id, stamps_us=stamps_us, powers_w=powers_w, energies_j=energies_j, qualities=qualities
    )


def _numbers(pieces: list[bytes]) -> tuple[NDArray[np.float64], NDArray[np.float64]] | None:
    """Watts and joules of pieces such as ``,100500,null,``; ``None`` where one is none."""
    count = len(pieces)
    try:
        # With a mark before, between and after them they are one list.
        found = _NUMBERS.validate_json(b"[" + _MARK + _MARK.join(pieces) + _MARK + b"]")
    except ValidationError:
        return None
    # Nowhere but at every third place: so each piece held two.
    if len(found) != 3 * count + 1 or found[::3].count(float(_MARK)) != count + 1:
        return None
    powers_w, energies_j = np.array(found[1::3], dtype=np.float64), _or_nan(found[2::3])
    if np.isnan(powers_w).any() or float(_MARK) in powers_w or float(_MARK) in energies_j:
        return None
    return powers_w, energies_j


def _stamps_us(texts: list[bytes], hour: datetime) -> NDArray[np.int64] | None:
    """Microseconds since 1970 of texts such as ``2026-07-15T22:05:30Z`` and ``...30.000250Z``; ``None`` for others."""
    # With what they were split at between them, of which they hold none, each stands where it has to.
    joined = b'"'.join([*texts, b""])
    if len(joined) not in {21 * len(texts), 28 * len(texts)}:
        joined = b'"'.join([*(text[:19] + b".000000Z" if len(text) == 20 else text for text in texts), b""])
    length = len(joined) // len(texts)
    if length not in {21, 28} or len(joined) % length:
        return None
    pattern = np.frombuffer(f'{hour:%Y-%m-%dT%H}:00:00{"" if length == 21 else ".000000"}Z"'.encode(), dtype=np.uint8)
    letters = np.frombuffer(joined, dtype=np.uint8).reshape(-1, length)
    places = [14, 15, 17, 18, *range(20, length - 2)]
    marks = np.delete(np.arange(length), places)
    digits = letters[:, places] - np.uint8(ord("0"))
    if (letters[:, marks] != pattern[marks]).any() or (digits > _LARGEST_DIGITS[: len(places)]).any():
        return None
    within_us: NDArray[np.int64] = (digits @ _WORTH_US[: len(places)]).astype(np.int64)
    return epoch_us(hour) + within_us


def _all_are(expected: bytes, texts: list[bytes]) -> bool:
    """Whether all texts, which hold no quotation mark, are this one."""
    return b'"'.join([*texts, b""]) == (expected + b'"') * len(texts)


def _qualities(texts: list[bytes]) -> NDArray[np.int8] | None:
    first = texts[0]
    if first in _CODES and _all_are(first, texts):
        return np.full(len(texts), _CODES[first], dtype=np.int8)
    codes = [_CODES.get(text, -1) for text in texts]
    return None if -1 in codes else np.array(codes, dtype=np.int8)


def _or_nan(values: list[float | None]) -> NDArray[np.float64]:
    if values.count(None) == len(values):
        return np.full(len(values), math.nan)
    return np.array(values, dtype=np.float64)
