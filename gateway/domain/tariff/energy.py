"""Payment for delivered energy, and its netting; the signed lines stand beside every clamp."""

from collections.abc import Sequence
from decimal import Decimal

from gateway.domain.tariff.delivery import Delivery
from gateway.domain.tariff.performance import Met, applies
from gateway.domain.tariff.spans import Span, one_price, spans
from gateway.domain.tariff.statement import EXACT, StatementLine, corrected, priced, total_of
from gateway.domain.tariff.terms import EnergyTerms, Netting, Over, Part, PriceBy, Tariff, TariffError, Tier


def energy_lines(tariff: Tariff, delivery: Delivery, met: Met, currency: str) -> list[StatementLine]:
    """The energy of one event. What is netted by month is clamped by ``clamp_lines`` over the month's lines.

    Raises ``TariffError`` where a price or the threshold of the net-benefits test is missing.
    """
    terms = tariff.energy
    if terms is None:
        return []
    by_interval = terms.netting is Netting.INTERVAL or terms.price.by is PriceBy.SERIES
    found = spans(tariff, delivery, Over.INTERVAL if by_interval else Over.EVENT)
    tiers = met.tiers if len(met.tiers) == len(found) else met.tiers * len(found)
    lines: list[StatementLine] = []
    for span, tier in zip(found, tiers, strict=True):
        line = _line(tariff, terms, delivery, span=span, tier=tier, met=met)
        lines.append(line)
        if terms.netting is Netting.INTERVAL:
            lines += clamp_lines(tariff, [line], over="interval", currency=currency)
    if terms.netting is Netting.EVENT:
        lines += clamp_lines(tariff, lines, over="event", currency=currency)
    return lines


def clamp_lines(tariff: Tariff, lines: Sequence[StatementLine], *, over: str, currency: str) -> list[StatementLine]:
    """A line that lifts the sum of energy lines to zero, where it is under zero and the tariff clamps."""
    if tariff.energy is None or not tariff.energy.clamped or total_of(lines) >= 0:
        return []
    what = f"amount under zero is not charged (clamped by {over})"
    line = corrected(
        tariff, lines, part=Part.ENERGY, to=Decimal(0), currency=currency, what=what, because=f"signed {over} lifted"
    )
    return [line]


def _line(tariff: Tariff, terms: EnergyTerms, delivery: Delivery, *, span: Span, tier: Tier, met: Met) -> StatementLine:
    price = one_price(terms.price, Part.ENERGY, delivery, span)
    kwh, factor = span.delivered_kwh, Decimal(1)
    because = f"delivered {span.delivered_kwh} kWh"
    if terms.loss_factor != 1:
        because += f" with the loss factor {terms.loss_factor}"
    if applies(tariff, Part.ENERGY):
        factor = tier.pay_factor if len(met.tiers) > 1 else met.factor
        kwh, counted = counted_of(tariff, tier, kwh, span.award_kwh)
        because += counted
    if terms.net_benefits:
        passed, words = _net_benefits(delivery, price)
        factor = factor if passed else Decimal(0)
        because += words
    return priced(
        tariff,
        part=Part.ENERGY,
        what="delivered energy",
        quantity=kwh,
        unit="kWh",
        price=price,
        factor=factor,
        because=because,
        event_id=delivery.event_id,
        starts_at=span.starts_at,
    )


def counted_of(tariff: Tariff, tier: Tier, delivered: Decimal, award: Decimal) -> tuple[Decimal, str]:
    """What of a delivery counts in its tier, rounded as energy, and the words for it."""
    if tier.cap_ratio is None:
        return delivered, ""
    most = tariff.rounding.rounded(EXACT.multiply(award, tier.cap_ratio), tariff.rounding.energy_kwh)
    if delivered <= most:
        return delivered, ""
    return most, f", of which {tier.cap_ratio} x award {award} = {most} count"


def _net_benefits(delivery: Delivery, price: Decimal) -> tuple[bool, str]:
    threshold = delivery.net_benefits_per_kwh
    if threshold is None:
        raise TariffError("the tariff has a net-benefits test: give net_benefits with the month's per_kwh and source")
    passed = price >= threshold.per_kwh
    sign, then = (">=", "passed") if passed else ("<", "not passed, so unpaid")
    return passed, f"; net-benefits test {price} {sign} {threshold.per_kwh} ({threshold.source}): {then}"
