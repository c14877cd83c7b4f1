import json
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.storage.documents import canonical_json, digest, from_microseconds, to_microseconds
from protocols.grid import ReportInterval, SignalKind

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9000, 1, 1), timezones=zones)  # noqa: DTZ001 - Hypothesis wants bounds without a zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    name: str
    amount: Decimal
    at: datetime


def test_one_instant_is_one_number() -> None:
    assert to_microseconds(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)) == 1_000_005
    assert to_microseconds(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1_000_000


@given(instants)
def test_an_instant_comes_back(instant: datetime) -> None:
    assert from_microseconds(to_microseconds(instant)) == instant


@given(instants, instants)
def test_numbers_order_as_their_instants_do(one: datetime, other: datetime) -> None:
    assert (to_microseconds(one) < to_microseconds(other)) == (one < other)


def test_canonical_json_is_one_text_for_one_value() -> None:
    money = Money(name="Zähler", amount=Decimal("0.10"), at=NOON)

    assert canonical_json(money) == '{"amount":"0.10","at":"2026-07-01T12:00:00Z","name":"Zähler"}'
    assert canonical_json({"b": (1, 0.1), "a": SignalKind.PRICE}) == '{"a":"price","b":[1,0.1]}'


def test_one_instant_in_two_zones_is_one_text() -> None:
    elsewhere = NOON.astimezone(timezone(timedelta(hours=-7)))

    assert canonical_json(elsewhere) == canonical_json(NOON)


@given(st.floats(allow_nan=False, allow_infinity=False))
def test_a_float_comes_back_to_the_last_bit(value: float) -> None:
    interval = ReportInterval(starts_at=NOON, duration_s=1.0, power_w=value, coverage_fraction=1.0)

    assert json.loads(canonical_json(interval))["power_w"] == value


@pytest.mark.parametrize("value", [float("nan"), float("inf"), datetime(2026, 7, 1)])  # noqa: DTZ001 - the case in question
def test_what_has_no_meaning_is_refused(value: object) -> None:
    with pytest.raises(ValueError, match=r"JSON|time zone"):
        canonical_json({"value": value})


def test_what_we_do_not_know_is_a_bug() -> None:
    with pytest.raises(TypeError, match="set"):
        canonical_json({1, 2})


def test_equal_values_have_equal_digests_and_others_have_not() -> None:
    assert digest({"a": 1, "b": 2}) == digest({"b": 2, "a": 1})
    assert digest({"a": 1}) != digest({"a": 2})
    assert len(digest("")) == 64
