"""How values of the domain stand in a column: instants as whole microseconds, dataclasses as canonical JSON."""

import dataclasses
import hashlib
import json
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Dialect, Text
from sqlalchemy.types import TypeDecorator

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MICROSECOND = timedelta(microseconds=1)


def to_microseconds(instant: datetime) -> int:
    """Whole microseconds since 1970 UTC. Raises ``ValueError`` for an instant without a time zone."""
    if instant.tzinfo is None:
        raise ValueError(f"{instant.isoformat()} has no time zone; the ledger keeps aware instants only")
    return (instant - _EPOCH) // _MICROSECOND


def from_microseconds(microseconds: int) -> datetime:
    """The aware UTC instant that ``to_microseconds`` was given."""
    return _EPOCH + timedelta(microseconds=microseconds)


def _plain(value: object) -> object:
    """What ``json`` does not know by itself, in its terms; enumerations here are strings already."""
    if isinstance(value, datetime):
        to_microseconds(value)
        return value.astimezone(UTC).isoformat().replace("+00:00", "Z")
    if isinstance(value, Decimal):
        return str(value)
    if dataclasses.is_dataclass(value) and not isinstance(value, type):
        return {field.name: getattr(value, field.name) for field in dataclasses.fields(value)}
    raise TypeError(f"the ledger cannot write a {type(value).__name__}")


def canonical_json(value: object) -> str:
    """One text for one value: keys in order, no spaces, Decimals as strings, instants in UTC with ``Z``.

    Raises ``ValueError`` for NaN, infinity and instants without a time zone.
    """
    return json.dumps(value, default=_plain, sort_keys=True, separators=(",", ":"), ensure_ascii=False, allow_nan=False)


def digest(value: object) -> str:
    """SHA-256 of the canonical JSON, in hexadecimal: equal values have equal digests."""
    return hashlib.sha256(canonical_json(value).encode()).hexdigest()


class Instant(TypeDecorator[datetime]):
    """An aware instant. Integers order and compare alike on every database; time stamps do not."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        return None if value is None else to_microseconds(value)

    def process_result_value(self, value: int | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else from_microseconds(value)


class Document(TypeDecorator[Any]):
    """A dataclass of type ``kind``, whole, as canonical JSON."""

    impl = Text
    cache_ok = True

    def __init__(self, kind: type) -> None:
        super().__init__()
        self.kind = kind
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def process_bind_param(self, value: object, _dialect: Dialect) -> str | None:
        return None if value is None else canonical_json(value)

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        return None if value is None else self._adapter.validate_json(value)
