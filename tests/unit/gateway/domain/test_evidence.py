import hashlib
import struct
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal
from enum import IntEnum
from zoneinfo import ZoneInfo

import numpy as np
import pytest

from gateway.domain.evidence import ADDED, Difference, canonical_json, fingerprint, first_difference
from hardware.device import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Inner:
    power_w: float
    name: str = "x"


@dataclass(frozen=True, slots=True, kw_only=True)
class Outer:
    zone: ZoneInfo
    at: datetime
    parts: tuple[Inner, ...]


class Level(IntEnum):
    TWO = 2


# The number samples of RFC 8785, appendix B.
@pytest.mark.parametrize(
    ("bits", "spelled"),
    [
        ("0000000000000000", "0"),
        ("8000000000000000", "0"),
        ("0000000000000001", "5e-324"),
        ("8000000000000001", "-5e-324"),
        ("7fefffffffffffff", "1.7976931348623157e+308"),
        ("4340000000000000", "9007199254740992"),
        ("c340000000000000", "-9007199254740992"),
        ("4430000000000000", "295147905179352830000"),
        ("44b52d02c7e14af5", "9.999999999999997e+22"),
        ("44b52d02c7e14af6", "1e+23"),
        ("44b52d02c7e14af7", "1.0000000000000001e+23"),
        ("444b1ae4d6e2ef4e", "999999999999999700000"),
        ("444b1ae4d6e2ef50", "1e+21"),
        ("3eb0c6f7a0b5ed8c", "9.999999999999997e-7"),
        ("3eb0c6f7a0b5ed8d", "0.000001"),
        ("41b3de4355555553", "333333333.3333332"),
        ("becbf647612f3696", "-0.0000033333333333333333"),
        ("43143ff3c1cb0959", "1424953923781206.2"),
    ],
)
def test_numbers_are_spelled_as_ecmascript_spells_them(bits: str, spelled: str):
    (value,) = struct.unpack(">d", bytes.fromhex(bits))
    assert canonical_json(value) == spelled.encode()


# The sample of RFC 8785, section 3.2.3: UTF-16 code units decide, not code points.
def test_members_are_sorted_by_utf16_code_units():
    names = ["\u20ac", "\r", "\ufb33", "1", "\U0001f600", "\u0080", "\u00f6"]
    spelled = canonical_json({name: index for index, name in enumerate(names)}).decode()
    assert spelled == '{"\\r":1,"1":3,"\u0080":5,"\u00f6":6,"\u20ac":0,"\U0001f600":4,"\ufb33":2}'


def test_strings_keep_their_letters_and_escape_what_json_must():
    assert canonical_json("\u20ac$\u000f\nA'B\"\\") == '"\u20ac$\\u000f\\nA\'B\\"\\\\"'.encode()


def test_what_the_domain_is_made_of():
    outer = Outer(
        zone=ZoneInfo("America/Phoenix"),
        at=datetime(2025, 5, 3, 9, 15, tzinfo=ZoneInfo("America/Phoenix")),
        parts=(Inner(power_w=1.0), Inner(power_w=2.5, name="y")),
    )
    assert canonical_json(outer) == (
        b'{"at":"2025-05-03T16:15:00Z","parts":[{"name":"x","power_w":1},{"name":"y","power_w":2.5}],'
        b'"zone":"America/Phoenix"}'
    )


@pytest.mark.parametrize(
    ("value", "spelled"),
    [
        (None, "null"),
        (True, "true"),
        (17, "17"),
        (Decimal("1.50"), '"1.50"'),
        (Quality.SUSPECT, '"suspect"'),
        (Level.TWO, "2"),
        ({1: 0.1, 2: 0.25}, '{"1":0.1,"2":0.25}'),
        ([], "[]"),
        ({}, "{}"),
        (timezone(timedelta(hours=-7)), '"UTC-07:00"'),
        (np.float64(2.0), "2"),
    ],
)
def test_values_have_one_spelling(value: object, spelled: str):
    assert canonical_json(value) == spelled.encode()


@pytest.mark.parametrize(
    "value",
    [float("nan"), float("inf"), 2**53, datetime(2025, 1, 1), "\ud800"],  # noqa: DTZ001 - naive is the point
)
def test_what_has_no_exact_spelling_is_refused(value: object):
    with pytest.raises(ValueError):  # noqa: PT011 - each has its own words
        canonical_json(value)


@pytest.mark.parametrize("value", [b"bytes", {1.5}, {1.5: 1}, {True: 1}, object(), Inner])
def test_types_without_a_spelling_are_refused(value: object):
    with pytest.raises(TypeError):
        canonical_json(value)


def test_the_fingerprint_is_the_sha256_of_the_spelling():
    assert fingerprint({"b": 1, "a": 2.0}) == hashlib.sha256(b'{"a":2,"b":1}').hexdigest()
    assert fingerprint(datetime(2025, 1, 1, 1, tzinfo=UTC)) == fingerprint(
        datetime(2025, 1, 1, 2, tzinfo=timezone(timedelta(hours=1)))
    )


def test_the_first_difference_is_named_by_its_path():
    at = datetime(2025, 1, 1, tzinfo=UTC)
    zone = ZoneInfo("UTC")
    left = Outer(zone=zone, at=at, parts=(Inner(power_w=1.0), Inner(power_w=2.0)))
    assert first_difference(left, Outer(zone=zone, at=at, parts=(Inner(power_w=1.0), Inner(power_w=2.0)))) is None
    assert first_difference(
        left, Outer(zone=zone, at=at, parts=(Inner(power_w=1.0), Inner(power_w=2.5, name="z")))
    ) == Difference(figure="parts[1].power_w", stated="2", recomputed="2.5")
    assert first_difference(left, Outer(zone=zone, at=at, parts=())) == Difference(
        figure="parts (how many)", stated="2", recomputed="0"
    )
    assert first_difference((None,), (Decimal("1.0"),)) == Difference(figure="[0]", stated="null", recomputed='"1.0"')


@dataclass(frozen=True, slots=True, kw_only=True)
class Grown:
    power_w: float
    name: str = "x"
    weights: tuple[float, ...] = field(default=(), metadata=ADDED)
    limit_w: float | None = field(default=None, metadata=ADDED)


def test_a_field_that_was_added_is_left_out_at_its_default_and_there_otherwise():
    assert canonical_json(Grown(power_w=1.0)) == canonical_json(Inner(power_w=1.0)) == b'{"name":"x","power_w":1}'
    assert canonical_json(Grown(power_w=1.0, limit_w=0.0)) == b'{"limit_w":0,"name":"x","power_w":1}'
    assert canonical_json(Grown(power_w=1.0, weights=(1.0,))) == b'{"name":"x","power_w":1,"weights":[1]}'


def test_a_name_that_equals_another_is_judged_by_its_own_kind() -> None:
    assert canonical_json({1: "one"}) == b'{"1":"one"}'
    with pytest.raises(TypeError, match="bool cannot name a member"):
        canonical_json({True: "one"})
