"""Deliveries of an event as the tests of tariffs have them."""

from datetime import UTC, datetime, timedelta
from decimal import Decimal

from gateway.domain.tariff.delivery import Delivery, DeliveryInterval, IntervalPrice
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tariff.terms import Tariff
from hardware.device import Quality

START = datetime(2026, 7, 1, 2, tzinfo=UTC)
D = Decimal


def tariff(tariff_id: str) -> Tariff:
    return shipped_tariffs()[tariff_id]


def interval(
    at: int, kwh: float, *, minutes: int = 60, price: str | None = None, quality: Quality = Quality.GOOD
) -> DeliveryInterval:
    return DeliveryInterval(
        starts_at=START + timedelta(minutes=minutes * at),
        duration_s=60.0 * minutes,
        baseline_wh=1000.0 * (kwh + 200),
        measured_wh=200_000.0,
        delivered_wh=1000.0 * kwh,
        quality=quality,
        price=None if price is None else IntervalPrice(per_kwh=D(price), source="market"),
    )


def delivery(*intervals: DeliveryInterval, event_id: str = "e-1", **more) -> Delivery:
    return Delivery(event_id=event_id, intervals=intervals, **more)
