"""Payments for kilowatts held ready: capacity and availability, by event or by month."""

from collections.abc import Sequence
from decimal import Decimal

from gateway.domain.tariff.delivery import Delivery, Month
from gateway.domain.tariff.energy import counted_of
from gateway.domain.tariff.performance import Met, applies, met_in_month
from gateway.domain.tariff.spans import availability_of, mean_kw, one_price, spans
from gateway.domain.tariff.statement import EXACT, StatementLine, priced
from gateway.domain.tariff.terms import CapacityBy, CapacityTerms, Over, Part, Per, Tariff


def event_commitment_lines(tariff: Tariff, delivery: Delivery, met: Met) -> list[StatementLine]:
    """Capacity and availability of one event, of a tariff that pays them by event."""
    lines = []
    if tariff.capacity is not None and tariff.capacity.per is Per.EVENT:
        kw, because = _event_kw(tariff, tariff.capacity, delivery, met)
        lines.append(
            priced(
                tariff,
                part=Part.CAPACITY,
                what="capacity, each kW and event",
                quantity=kw,
                unit="kW",
                price=one_price(tariff.capacity.price, Part.CAPACITY, delivery),
                factor=met.factor if applies(tariff, Part.CAPACITY) else Decimal(1),
                because=because,
                event_id=delivery.event_id,
            )
        )
    if tariff.availability is not None and tariff.availability.per is Per.EVENT:
        factor = met.factor if applies(tariff, Part.AVAILABILITY) else Decimal(1)
        lines.append(
            _availability(
                tariff,
                delivery,
                kw=delivery.awarded_kw,
                performance=factor,
                held="awarded",
                event_id=delivery.event_id,
            )
        )
    return lines


def month_commitment_lines(
    tariff: Tariff, month: Month, deliveries: Sequence[Delivery], events: Sequence[Met]
) -> list[StatementLine]:
    """Capacity and availability of a month, of a tariff that pays them by month."""
    factor, how = met_in_month(tariff, events)
    lines = []
    if tariff.capacity is not None and tariff.capacity.per is Per.MONTH:
        on_it = applies(tariff, Part.CAPACITY)
        kw, because = _month_kw(tariff.capacity, month, deliveries)
        lines.append(
            priced(
                tariff,
                part=Part.CAPACITY,
                what=f"capacity, each kW in {month.name}",
                quantity=kw,
                unit="kW",
                price=one_price(tariff.capacity.price, Part.CAPACITY, month),
                factor=factor if on_it else Decimal(1),
                because=f"{because}; {how}" if on_it else because,
            )
        )
    if tariff.availability is not None and tariff.availability.per is Per.MONTH:
        on_it = applies(tariff, Part.AVAILABILITY)
        held = "committed" + (f"; {how}" if on_it else "")
        lines.append(
            _availability(tariff, month, kw=month.committed_kw, performance=factor if on_it else Decimal(1), held=held)
        )
    return lines


def _availability(
    tariff: Tariff, terms: Delivery | Month, *, kw: Decimal, performance: Decimal, held: str, event_id: str = ""
) -> StatementLine:
    assert tariff.availability is not None  # noqa: S101 - the callers look
    found = availability_of(terms)
    return priced(
        tariff,
        part=Part.AVAILABILITY,
        what="availability, each kW and hour",
        quantity=EXACT.multiply(kw, found.hours),
        unit="kW h",
        price=one_price(tariff.availability.price, Part.AVAILABILITY, terms),
        factor=EXACT.multiply(found.factor, performance),
        because=f"{kw} kW x {found.hours} h; factor availability {found.factor} x performance {performance}, {held}",
        event_id=event_id,
    )


def _event_kw(tariff: Tariff, terms: CapacityTerms, delivery: Delivery, met: Met) -> tuple[Decimal, str]:
    if terms.by is not CapacityBy.DELIVERED:
        awarded = terms.by is CapacityBy.AWARD
        return (delivery.awarded_kw, "awarded") if awarded else (delivery.committed_kw, "committed")
    found = spans(tariff, delivery, Over.EVENT)
    if not found or not found[0].hours:
        return Decimal(0), "no interval counts"
    span = found[0]
    kwh, counted = span.delivered_kwh, ""
    if applies(tariff, Part.CAPACITY):
        kwh, counted = counted_of(tariff, met.tiers[0], kwh, span.award_kwh)
    kw = mean_kw(tariff.rounding, kwh, span.hours)
    because = f"delivered {span.delivered_kwh} kWh{counted}; {kwh} kWh / {span.hours} h = {kw} kW"
    return (kw, because) if kw > 0 else (Decimal(0), f"{because}, no kW under zero is paid or charged")


def _month_kw(terms: CapacityTerms, month: Month, deliveries: Sequence[Delivery]) -> tuple[Decimal, str]:
    if terms.by is not CapacityBy.UNCALLED:
        return month.committed_kw, "committed"
    called = max((delivery.requested_kw for delivery in deliveries), default=Decimal(0))
    kw = max(Decimal(0), EXACT.subtract(month.committed_kw, called))
    return kw, f"committed {month.committed_kw} kW less the highest request {called} kW, not under zero"
