"""Charges for what was not delivered."""

from gateway.domain.tariff.delivery import Delivery
from gateway.domain.tariff.spans import mean_kw, one_price, spans
from gateway.domain.tariff.statement import EXACT, StatementLine, priced
from gateway.domain.tariff.terms import Part, Tariff


def penalty_lines(tariff: Tariff, delivery: Delivery) -> list[StatementLine]:
    """One line for each span that is short of the threshold, with the shortfall in kWh and in mean kW."""
    terms = tariff.penalty
    if terms is None:
        return []
    lines = []
    for span in spans(tariff, delivery, terms.over):
        wanted_kwh = EXACT.multiply(span.award_kwh, terms.threshold_ratio)
        short_kwh = EXACT.subtract(wanted_kwh, span.delivered_kwh)
        if short_kwh <= 0:
            continue
        short_kw = mean_kw(tariff.rounding, short_kwh, span.hours)
        because = (
            f"award {span.award_kwh} kWh x {terms.threshold_ratio} - delivered {span.delivered_kwh} kWh = "
            f"{short_kwh} kWh short (mean {short_kw} kW over {span.hours} h)"
        )
        lines.append(
            priced(
                tariff,
                part=Part.PENALTY,
                what=f"shortfall of the {terms.over.value}",
                quantity=short_kwh,
                unit="kWh",
                price=one_price(terms.price, Part.PENALTY, delivery, span),
                factor=-terms.factor,
                because=because,
                event_id=delivery.event_id,
                starts_at=span.starts_at,
            )
        )
    return lines
