"""How well an event was met: tiers of the ratio of delivered to awarded, or the mean of the intervals' ratios."""

from collections.abc import Sequence
from dataclasses import dataclass
from decimal import Decimal

from gateway.domain.tariff.delivery import Delivery
from gateway.domain.tariff.spans import Span, ratio, spans
from gateway.domain.tariff.statement import EXACT, StatementLine, priced
from gateway.domain.tariff.terms import IntervalPerformance, Over, Part, Tariff, Tier, TieredPerformance

_NOT_WORTH = Decimal(0)
_WHOLE = Tier(from_ratio=Decimal(0), to_ratio=None, pay_factor=Decimal(1))


@dataclass(frozen=True, slots=True, kw_only=True)
class Met:
    """What performance makes of one event: the factor on what is paid, and the bound on what counts.

    ``tiers`` are those of the spans, in their order, where tiers are by interval; else the one of the event.
    """

    tiers: tuple[Tier, ...]
    factor: Decimal
    hours: Decimal
    lines: tuple[StatementLine, ...] = ()


def met(tariff: Tariff, delivery: Delivery) -> Met:
    """The performance in one event, with a line for each figure."""
    over_event = spans(tariff, delivery, Over.EVENT)
    hours = over_event[0].hours if over_event else Decimal(0)
    match tariff.performance:
        case TieredPerformance() as terms:
            found = spans(tariff, delivery, terms.over)
            tiers = tuple(_tier(terms, span) for span in found)
            lines = tuple(_tier_line(tariff, delivery, span, tier) for span, tier in zip(found, tiers, strict=True))
            return Met(tiers=tiers, factor=_tier_factor(tariff, tiers, found), hours=hours, lines=lines)
        case IntervalPerformance() as terms:
            return _by_intervals(tariff, terms, delivery, hours)
        case None:
            return Met(tiers=(_WHOLE,), factor=Decimal(1), hours=hours)


def met_in_month(tariff: Tariff, events: Sequence[Met]) -> tuple[Decimal, str]:
    """The factor of a month and how it came about: the mean over its events by their hours, 1 where there was none."""
    hours = sum((event.hours for event in events), Decimal(0))
    if not hours:
        return Decimal(1), "no event with intervals that count in the month, factor 1"
    weighed = sum((EXACT.multiply(event.factor, event.hours) for event in events), Decimal(0))
    factor = ratio(tariff.rounding, weighed, hours)
    terms = " + ".join(f"{event.factor} x {event.hours} h" for event in events)
    return factor, f"factor ({terms}) / {hours} h = {factor}"


def applies(tariff: Tariff, part: Part) -> bool:
    """Whether performance bears on a part."""
    return tariff.performance is not None and part in tariff.performance.applies_to


def _by_intervals(tariff: Tariff, terms: IntervalPerformance, delivery: Delivery, hours: Decimal) -> Met:
    lines = []
    weighed = length_s = Decimal(0)
    for span in spans(tariff, delivery, Over.INTERVAL):
        plain = _ratio(tariff, span)
        bounded = min(Decimal(1), max(Decimal(0), plain))
        weighed = EXACT.add(weighed, EXACT.multiply(bounded, span.duration_s))
        length_s = EXACT.add(length_s, span.duration_s)
        because = f"{span.delivered_kwh} kWh / {span.award_kwh} kWh = {plain}, within 0 and 1"
        lines.append(_figure(tariff, delivery, "interval factor", value=bounded, because=because, span=span))
    mean = ratio(tariff.rounding, weighed, length_s)
    factor = Decimal(1) if mean >= terms.pass_mark else mean
    because = f"mean of the interval factors by length {mean}, pass mark {terms.pass_mark}, so the factor is {factor}"
    lines.append(_figure(tariff, delivery, "event performance factor", value=mean, because=because))
    return Met(tiers=(_WHOLE,), factor=factor, hours=hours, lines=tuple(lines))


def _ratio(tariff: Tariff, span: Span) -> Decimal:
    return ratio(tariff.rounding, span.delivered_kwh, span.award_kwh)


def _tier(terms: TieredPerformance, span: Span) -> Tier:
    """The tier that a span reaches, by its energies: no rounding of the ratio moves an edge.

    Less than nothing delivered, or nothing awarded, counts as the first.
    """
    if span.award_kwh.is_zero():
        return terms.tiers[0]
    reached = (
        tier for tier in reversed(terms.tiers) if span.delivered_kwh >= EXACT.multiply(span.award_kwh, tier.from_ratio)
    )
    return next(reached, terms.tiers[0])


def _tier_factor(tariff: Tariff, tiers: Sequence[Tier], found: Sequence[Span]) -> Decimal:
    """One factor for the event: that of its tier, or the mean of the intervals' by their award."""
    if len(tiers) == 1:
        return tiers[0].pay_factor
    weighed = sum(
        (EXACT.multiply(tier.pay_factor, span.award_kwh) for tier, span in zip(tiers, found, strict=True)), Decimal(0)
    )
    return ratio(tariff.rounding, weighed, sum((span.award_kwh for span in found), Decimal(0)))


def _tier_line(tariff: Tariff, delivery: Delivery, span: Span, tier: Tier) -> StatementLine:
    reached = _ratio(tariff, span)
    to = "without end" if tier.to_ratio is None else f"under {tier.to_ratio}"
    cap = "all of it counts" if tier.cap_ratio is None else f"up to {tier.cap_ratio} of the award counts"
    because = (
        f"{span.delivered_kwh} kWh / {span.award_kwh} kWh = {reached}: tier from {tier.from_ratio}, {to}; "
        f"pay factor {tier.pay_factor}, {cap}"
    )
    return _figure(tariff, delivery, "ratio of delivered to awarded", value=reached, because=because, span=span)


def _figure(
    tariff: Tariff, delivery: Delivery, what: str, *, value: Decimal, because: str, span: Span | None = None
) -> StatementLine:
    return priced(
        tariff,
        part=Part.PERFORMANCE,
        what=what,
        quantity=value,
        unit="of 1",
        price=_NOT_WORTH,
        because=because,
        event_id=delivery.event_id,
        starts_at=None if span is None else span.starts_at,
    )
