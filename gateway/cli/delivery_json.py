"""A delivery as JSON, as ``gridgate tariff try`` reads it; numbers of money and kilowatts are text or exact."""

import json
from collections.abc import Mapping
from datetime import datetime
from decimal import Decimal
from types import MappingProxyType

from gateway.domain.tariff.delivery import Availability, Delivery, DeliveryInterval, IntervalPrice, Month
from gateway.domain.tariff.terms import Part
from hardware.device import Quality

_MOST_BYTES = 32_000_000
_MOST_INTERVALS = 100_000
_LARGEST = Decimal(10) ** 15
_FINEST = -9


class DeliveryError(ValueError):
    """A file that is no delivery; the text names the place."""


def parse_deliveries(content: bytes) -> tuple[tuple[Delivery, ...], Month | None]:
    """One delivery, or ``{"month": ..., "deliveries": [...]}``. Raises ``DeliveryError``."""
    if len(content) > _MOST_BYTES:
        raise DeliveryError(f"more than {_MOST_BYTES // 10**6} MB: one month of one site is meant")
    try:
        # Every number stays exact: a price never passes through a float.
        whole = json.loads(content, parse_float=Decimal, parse_constant=_refuse)
    except (ValueError, RecursionError) as cause:
        raise DeliveryError(f"not JSON: {cause}") from cause
    table = _Table(whole, "")
    if "month" not in table.content:
        return (_delivery(table),), None
    month = _month(table.member("month"))
    deliveries = tuple(_delivery(_Table(one, f"deliveries[{n}]")) for n, one in enumerate(table.members("deliveries")))
    table.done()
    return deliveries, month


class _Table:
    """One JSON object, each member taken once."""

    def __init__(self, value: object, path: str) -> None:
        if not isinstance(value, dict):
            raise DeliveryError(f"{path or 'the file'}: an object is wanted")
        self.content: dict[str, object] = value
        self._path = path
        self._taken: set[str] = set()

    def take(self, key: str, default: object = None) -> object:
        self._taken.add(key)
        found = self.content.get(key, default)
        if found is None:
            raise DeliveryError(f"{self.name(key)}: missing")
        return found

    def has(self, key: str) -> bool:
        """Whether a member that may be left out is there."""
        self._taken.add(key)
        return self.content.get(key) is not None

    def name(self, key: str) -> str:
        return f"{self._path}.{key}" if self._path else key

    def member(self, key: str) -> "_Table":
        return _Table(self.take(key), self.name(key))

    def members(self, key: str) -> list[object]:
        value = self.take(key)
        if not isinstance(value, list) or len(value) > _MOST_INTERVALS:
            raise DeliveryError(f"{self.name(key)}: a list of at most {_MOST_INTERVALS} is wanted")
        return value

    def text(self, key: str, default: str | None = None) -> str:
        value = self.take(key, default)
        if not isinstance(value, str):
            raise DeliveryError(f"{self.name(key)}: text is wanted")
        return value

    def decimal(self, key: str, default: str | None = None) -> Decimal:
        value = self.take(key, default)
        try:
            found = Decimal(value) if isinstance(value, int | str | Decimal) and not isinstance(value, bool) else None
        except ArithmeticError:
            found = None
        exponent = found.as_tuple().exponent if found is not None else None
        if found is None or not isinstance(exponent, int) or abs(found) >= _LARGEST or exponent < _FINEST:
            raise DeliveryError(f"{self.name(key)}: a number under 10^15, with nine decimals at most, is wanted")
        return found

    def real(self, key: str, default: float | None = None) -> float:
        value = self.take(key, default)
        if isinstance(value, bool) or not isinstance(value, int | float | Decimal):
            raise DeliveryError(f"{self.name(key)}: a number is wanted")
        try:
            return float(value)
        except OverflowError as cause:
            raise DeliveryError(f"{self.name(key)}: too large") from cause

    def flag(self, key: str) -> bool:
        value = self.take(key, False)
        if not isinstance(value, bool):
            raise DeliveryError(f"{self.name(key)}: true or false is wanted")
        return value

    def done(self) -> None:
        for key in self.content:
            if key not in self._taken:
                raise DeliveryError(f"{self.name(key)}: unknown, known here: {', '.join(sorted(self._taken))}")


def _refuse(word: str) -> object:
    raise ValueError(f"{word} is no number")


def _delivery(table: _Table) -> Delivery:
    price = _price(table.member("net_benefits")) if table.has("net_benefits") else None
    intervals = tuple(
        _interval(_Table(one, f"{table.name('intervals')}[{n}]")) for n, one in enumerate(table.members("intervals"))
    )
    try:
        delivery = Delivery(
            event_id=table.text("event_id"),
            intervals=intervals,
            committed_kw=table.decimal("committed_kw", "0"),
            awarded_kw=table.decimal("awarded_kw", "0"),
            requested_kw=table.decimal("requested_kw", "0"),
            agreed=_agreed(table),
            currency=table.text("currency", ""),
            availability=_availability(table),
            net_benefits_per_kwh=price,
            capability_test=table.flag("capability_test"),
        )
    except DeliveryError:
        raise
    except ValueError as cause:
        raise DeliveryError(str(cause)) from cause
    table.done()
    return delivery


def _month(table: _Table) -> Month:
    month = Month(
        name=table.text("name"),
        committed_kw=table.decimal("committed_kw", "0"),
        agreed=_agreed(table),
        currency=table.text("currency", ""),
        availability=_availability(table),
    )
    table.done()
    return month


def _interval(table: _Table) -> DeliveryInterval:
    quality = table.text("quality", Quality.GOOD)
    if quality not in list(Quality):
        raise DeliveryError(f"{table.name('quality')}: one of {', '.join(Quality)} is wanted")
    baseline_wh, measured_wh = table.real("baseline_wh"), table.real("measured_wh")
    try:
        interval = DeliveryInterval(
            starts_at=datetime.fromisoformat(table.text("starts_at")),
            duration_s=table.real("duration_s"),
            baseline_wh=baseline_wh,
            measured_wh=measured_wh,
            delivered_wh=table.real("delivered_wh", baseline_wh - measured_wh),
            coverage_fraction=table.real("coverage_fraction", 1.0),
            quality=Quality(quality),
            price=_price(table.member("price")) if table.has("price") else None,
        )
    except DeliveryError:
        raise
    except ValueError as cause:
        raise DeliveryError(f"{table.name('starts_at')}: {cause}") from cause
    table.done()
    return interval


def _price(table: _Table) -> IntervalPrice:
    price = IntervalPrice(per_kwh=table.decimal("per_kwh"), source=table.text("source"))
    table.done()
    return price


def _agreed(table: _Table) -> Mapping[Part, Decimal]:
    if not table.has("agreed"):
        return MappingProxyType({})
    agreed = table.member("agreed")
    prices = {
        part: agreed.decimal(part)
        for part in (Part.ENERGY, Part.CAPACITY, Part.AVAILABILITY, Part.PENALTY)
        if agreed.has(part)
    }
    agreed.done()
    return MappingProxyType(prices)


def _availability(table: _Table) -> Availability | None:
    if not table.has("availability"):
        return None
    found = table.member("availability")
    try:
        availability = Availability(hours=found.decimal("hours"), factor=found.decimal("factor"))
    except DeliveryError:
        raise
    except ValueError as cause:
        raise DeliveryError(f"{table.name('availability')}: {cause}") from cause
    found.done()
    return availability
