"""One spelling for every record, so that its SHA-256 can be computed anew by anybody.

Canonical JSON after RFC 8785 (JCS): members sorted by the UTF-16 code units of their names, no white space, numbers as
ECMAScript writes them, UTF-8. Into JSON's terms go: dataclasses as objects, instants in UTC with ``Z``, Decimals as
strings (never through a float), enumerations as their values, time zones by name, tuples as arrays.

A field marked ``ADDED`` is left out while it stands at its default: a dataclass may get one, and what was recorded and
fingerprinted before keeps its fingerprint.
"""

import hashlib
import json
import math
from collections.abc import Iterable, Mapping
from dataclasses import MISSING, dataclass, fields, is_dataclass
from datetime import UTC, datetime, tzinfo
from decimal import Decimal
from enum import Enum
from functools import cache, lru_cache
from json.encoder import encode_basestring as _spell_text
from types import MappingProxyType
from typing import Any

ADDED: Mapping[str, bool] = MappingProxyType({"added": True})
"""Metadata of a field that its dataclass got after the first records: ``field(default=..., metadata=ADDED)``."""

_ENCODER = json.JSONEncoder(ensure_ascii=False)

# RFC 8785 section 3.2.2.3 and appendix D: beyond this a double no longer tells neighbouring integers apart.
_LARGEST_EXACT_INTEGER = 2**53 - 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Difference:
    """The first place where two records differ: ``figure`` is its path, the others the two values as canonical JSON."""

    figure: str
    stated: str
    recomputed: str


def fingerprint(value: object) -> str:
    """SHA-256 of the value's canonical JSON, in lower-case hexadecimal."""
    return hashlib.sha256(canonical_json(value)).hexdigest()


def canonical_json(value: object) -> bytes:
    """The value's canonical JSON.

    Raises ``ValueError`` for what has no exact spelling (NaN, infinity, integers beyond 2**53 - 1, a naive instant, a
    lone surrogate) and ``TypeError`` for a type that is not listed above.
    """
    return _spell(value).encode()


def first_difference(stated: object, recomputed: object, *, path: str = "") -> Difference | None:
    """Walk both in the order of their fields and name the first figure that differs, ``None`` where all agree."""
    steps: list[tuple[str, object, object]]
    if type(stated) is not type(recomputed):
        return _difference(path, stated, recomputed)
    if is_dataclass(stated):
        prefix = f"{path}." if path else ""
        names = [field.name for field in fields(stated)]
        steps = [(prefix + name, getattr(stated, name), getattr(recomputed, name)) for name in names]
    elif isinstance(stated, tuple) and isinstance(recomputed, tuple):
        if len(stated) != len(recomputed):
            return _difference(f"{path} (how many)", len(stated), len(recomputed))
        pairs = zip(stated, recomputed, strict=True)
        steps = [(f"{path}[{index}]", left, right) for index, (left, right) in enumerate(pairs)]
    else:
        return None if stated == recomputed else _difference(path, stated, recomputed)
    found = (first_difference(left, right, path=name) for name, left, right in steps)
    return next((difference for difference in found if difference), None)


def _difference(path: str, stated: object, recomputed: object) -> Difference:
    return Difference(figure=path, stated=_spell(stated), recomputed=_spell(recomputed))


def _spell(value: object) -> str:
    # What most of a record consists of comes first: rows by the ten thousand are spelled for one bundle.
    if type(value) is str:
        return _spell_text(value)
    match value:
        case float():
            text = _spell_number(value)
        case list() | tuple():
            text = f"[{','.join(map(_spell, value))}]"
        case _ if is_dataclass(value) and not isinstance(value, type):
            members = [
                f"{spelled}:{_spell(member)}"
                for spelled, name, left_out in _members(type(value))
                if (member := getattr(value, name)) != left_out
            ]
            text = f"{{{','.join(members)}}}"
        case Mapping():
            members = [
                f"{spelled}:{_spell(value[name])}"
                for spelled, name in _named_members(tuple(value), tuple(map(type, value)))
            ]
            text = f"{{{','.join(members)}}}"
        case _:
            text = _spell_scalar(value.value if isinstance(value, Enum) else value)
    return text


def _spell_scalar(value: object) -> str:
    text: object = value
    match value:
        case bool() | None | str():
            pass
        case int():
            if abs(value) > _LARGEST_EXACT_INTEGER:
                raise ValueError(f"{value} is beyond what a JSON number holds exactly: write it as a string")
        case datetime():
            text = _instant(value)
        case Decimal() | tzinfo():
            text = str(value)
        case _:
            raise TypeError(f"a {type(value).__name__} has no canonical spelling")
    return _ENCODER.encode(text)


@lru_cache(maxsize=1024)
def _named_members(names: tuple[object, ...], _types: tuple[type, ...]) -> tuple[tuple[str, object], ...]:
    """A mapping's names in canonical order, each as spelled and as it is; rows of one table have the same.

    Their types tell apart what is equal: 1 may name a member, True may not.
    """
    named = {_name(name): name for name in names}
    return tuple((_spell_text(name), named[name]) for name in _in_order(named))


@cache
def _members(kind: type[Any]) -> tuple[tuple[str, str, object], ...]:
    """A dataclass's fields in canonical order, worked out once a class, for speed.

    Each as spelled, as named, and with the value at which it is left out (``MISSING`` for none).
    """
    left_out = {one.name: one.default if one.metadata.get("added") else MISSING for one in fields(kind)}
    return tuple((_ENCODER.encode(name), name, left_out[name]) for name in _in_order(left_out))


def _in_order(names: Iterable[str]) -> list[str]:
    # Big-endian bytes order as UTF-16 code units do, which differs from code points beyond the basic plane.
    return sorted(names, key=lambda name: name.encode("utf-16-be"))


def _name(name: object) -> str:
    if isinstance(name, str | int) and not isinstance(name, bool):
        return str(name)
    raise TypeError(f"a {type(name).__name__} cannot name a member")


def _instant(at: datetime) -> str:
    if at.tzinfo is None:
        raise ValueError(f"{at.isoformat()} has no time zone")
    return at.astimezone(UTC).isoformat().replace("+00:00", "Z")


def _spell_number(value: float) -> str:
    """A double as ECMAScript's Number::toString writes it: the shortest digits that give it back.

    Python finds the same digits; only where the point and the exponent go differs.
    """
    if not math.isfinite(value):
        raise ValueError(f"{value} has no spelling in JSON")
    if value == 0:
        return "0"
    text = float.__repr__(value)  # a subclass may show itself otherwise
    if "e" not in text:
        return text.removesuffix(".0")
    sign, digit_tuple, exponent = Decimal(text).normalize().as_tuple()
    digits = "".join(map(str, digit_tuple))
    minus = "-" if sign else ""
    point = len(digits) + int(exponent)
    if len(digits) <= point <= 21:
        return minus + digits.ljust(point, "0")
    if -6 < point <= 0:
        return f"{minus}0.{'0' * -point}{digits}"
    fraction = f".{digits[1:]}" if len(digits) > 1 else ""
    return f"{minus}{digits[0]}{fraction}e{point - 1:+d}"
