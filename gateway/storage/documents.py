"""How values of the domain stand in a column: instants as whole microseconds, dataclasses as canonical JSON."""

from datetime import datetime
from typing import Any

from pydantic import TypeAdapter
from sqlalchemy import BigInteger, Dialect, Text
from sqlalchemy.types import TypeDecorator

from gateway.domain.evidence import canonical_json
from gateway.domain.measurement import epoch_us, from_epoch_us


class Instant(TypeDecorator[datetime]):
    """An aware instant. Integers order and compare alike on every database; time stamps do not."""

    impl = BigInteger
    cache_ok = True

    def process_bind_param(self, value: datetime | None, _dialect: Dialect) -> int | None:
        return None if value is None else epoch_us(value)

    def process_result_value(self, value: int | None, _dialect: Dialect) -> datetime | None:
        return None if value is None else from_epoch_us(value)


class Document(TypeDecorator[Any]):
    """A dataclass of type ``kind``, whole, as canonical JSON.

    With ``plain`` its keys stand as they come, for what is large and never hashed: that takes a tenth of the time.
    """

    impl = Text
    cache_ok = True

    def __init__(self, kind: type, *, plain: bool = False) -> None:
        super().__init__()
        self.kind = kind
        self.plain = plain
        self._adapter: TypeAdapter[Any] = TypeAdapter(kind)

    def process_bind_param(self, value: object, _dialect: Dialect) -> str | None:
        if value is None:
            return None
        return (self._adapter.dump_json(value) if self.plain else canonical_json(value)).decode()

    def process_result_value(self, value: str | None, _dialect: Dialect) -> Any:
        return None if value is None else self._adapter.validate_json(value)
