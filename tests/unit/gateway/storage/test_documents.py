from dataclasses import dataclass
from datetime import UTC, datetime, timedelta, timezone
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy.dialects import sqlite

from gateway.storage.documents import Document, Instant

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
DIALECT = sqlite.dialect()
zones = st.integers(-14 * 60, 14 * 60).map(lambda minutes: timezone(timedelta(minutes=minutes)))
instants = st.datetimes(min_value=datetime(1900, 1, 1), max_value=datetime(9000, 1, 1), timezones=zones)  # noqa: DTZ001 - Hypothesis wants bounds without a zone


@dataclass(frozen=True, slots=True, kw_only=True)
class Money:
    name: str
    amount: Decimal
    share: float
    at: datetime


def stored(at: datetime) -> int:
    number = Instant().process_bind_param(at, DIALECT)
    assert number is not None
    return number


def test_one_instant_is_one_number() -> None:
    assert stored(datetime(1970, 1, 1, 0, 0, 1, 5, tzinfo=UTC)) == 1_000_005
    assert stored(datetime(1969, 12, 31, 23, 59, 59, tzinfo=UTC)) == -1_000_000
    assert Instant().process_bind_param(None, DIALECT) is None


def test_an_instant_without_a_zone_is_refused() -> None:
    with pytest.raises(ValueError, match="no time zone"):
        stored(datetime(2026, 7, 1))  # noqa: DTZ001 - the case in question


@given(instants)
def test_an_instant_comes_back(instant: datetime) -> None:
    assert Instant().process_result_value(stored(instant), DIALECT) == instant


@given(instants, instants)
def test_numbers_order_as_their_instants_do(one: datetime, other: datetime) -> None:
    assert (stored(one) < stored(other)) == (one < other)


def test_a_document_reads_as_people_expect() -> None:
    money = Money(name="Zähler", amount=Decimal("0.10"), share=1.0, at=NOON)
    text = Document(Money).process_bind_param(money, DIALECT)
    assert text == '{"amount":"0.10","at":"2026-07-01T12:00:00Z","name":"Zähler","share":1}'


@given(
    st.floats(allow_nan=False, allow_infinity=False),
    st.decimals(allow_nan=False, allow_infinity=False),
    st.text(st.characters(exclude_categories=["Cs"])),
    instants,
)
def test_a_document_comes_back_to_the_last_bit(share: float, amount: Decimal, name: str, at: datetime) -> None:
    money = Money(name=name, amount=amount, share=share, at=at)
    text = Document(Money).process_bind_param(money, DIALECT)
    assert Document(Money).process_result_value(text, DIALECT) == money
