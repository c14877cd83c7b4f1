"""An event cut into the spans over which a tariff looks at it, in Decimals from here on."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from decimal import Decimal
from itertools import groupby
from math import fsum

from gateway.domain.tariff.delivery import Availability, Delivery, DeliveryInterval, Month
from gateway.domain.tariff.statement import EXACT
from gateway.domain.tariff.terms import Over, Part, Price, PriceBy, Rounding, Tariff, TariffError
from hardware.device import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class Span:
    """Delivered and awarded energy of a span, each rounded once to the tariff's step; ``hours`` are the covered ones.

    ``duration_s`` is the length, covered or not. ``prices`` are those of its intervals, each once.
    """

    starts_at: datetime
    duration_s: Decimal
    hours: Decimal
    delivered_kwh: Decimal
    award_kwh: Decimal
    prices: tuple[Decimal | None, ...]


def payable(tariff: Tariff, delivery: Delivery) -> tuple[DeliveryInterval, ...]:
    """The intervals that count: estimates and suspect readings only where the tariff says that they are payable."""
    left_out = not_payable(tariff)
    return tuple(interval for interval in delivery.intervals if interval.quality not in left_out)


def not_payable(tariff: Tariff) -> tuple[Quality, ...]:
    """Qualities of readings on which the tariff pays nothing."""
    paid = ((Quality.ESTIMATED, tariff.estimates_payable), (Quality.SUSPECT, tariff.suspect_payable))
    return tuple(quality for quality, is_paid in paid if not is_paid)


def spans(tariff: Tariff, delivery: Delivery, over: Over) -> tuple[Span, ...]:
    """The event as spans; none where no interval counts."""
    intervals = payable(tariff, delivery)
    loss_factor = tariff.energy.loss_factor if tariff.energy else Decimal(1)
    match over:
        case Over.INTERVAL:
            groups = [[interval] for interval in intervals]
        case Over.EVENT:
            groups = [list(intervals)] if intervals else []
        case Over.HOUR:
            pieces = [piece for interval in intervals for piece in _by_hour(interval)]
            groups = [list(group) for _, group in groupby(pieces, key=lambda piece: _hour(piece.starts_at))]
    return tuple(_span(tariff.rounding, group, delivery.awarded_kw, loss_factor) for group in groups)


def one_price(price: Price, part: Part, terms: Delivery | Month, span: Span | None = None) -> Decimal:
    """The price of a part. Raises ``TariffError`` where the contract or the market's series does not give one."""
    if price.value is not None:
        return price.value
    if price.by is PriceBy.AGREED:
        if part not in terms.agreed:
            raise TariffError(f"the tariff takes its {part.value} price from the contract: give agreed.{part.value}")
        return terms.agreed[part]
    found = span.prices if span is not None else ()
    at = f" from {span.starts_at.isoformat()}" if span is not None else ""
    if len(found) > 1:
        raise TariffError(f"the {part.value} span{at} has more than one price: give one for the whole of it")
    if not found or found[0] is None:
        raise TariffError(f"the tariff prices {part.value} by a series: the interval{at} has no price")
    return found[0]


def ratio(rounding: Rounding, part: Decimal, whole: Decimal) -> Decimal:
    """A ratio rounded to the tariff's step; of nothing awarded it is 0."""
    return Decimal(0) if whole.is_zero() else rounding.rounded(EXACT.divide(part, whole), rounding.ratio)


def mean_kw(rounding: Rounding, kwh: Decimal, hours: Decimal) -> Decimal:
    """Mean power, rounded to the tariff's step; over no time it is 0."""
    return Decimal(0) if hours.is_zero() else rounding.rounded(EXACT.divide(kwh, hours), rounding.power_kw)


def availability_of(terms: Delivery | Month) -> Availability:
    """The availability stated. Raises ``TariffError`` where there is none."""
    if terms.availability is None:
        raise TariffError("the tariff pays for availability: give availability.hours and availability.factor")
    return terms.availability


def _span(rounding: Rounding, group: Sequence[DeliveryInterval], awarded_kw: Decimal, loss_factor: Decimal) -> Span:
    delivered_wh = Decimal(fsum(interval.delivered_wh for interval in group))
    covered_s = Decimal(fsum(interval.duration_s * interval.coverage_fraction for interval in group))
    award_wh = EXACT.divide(EXACT.multiply(awarded_kw, covered_s), Decimal("3.6"))
    return Span(
        starts_at=group[0].starts_at,
        duration_s=Decimal(fsum(interval.duration_s for interval in group)),
        hours=rounding.rounded(EXACT.divide(covered_s, Decimal(3600)), rounding.hours),
        delivered_kwh=_kwh(rounding, EXACT.multiply(delivered_wh, loss_factor)),
        award_kwh=_kwh(rounding, award_wh),
        prices=tuple(dict.fromkeys(interval.price.per_kwh if interval.price else None for interval in group)),
    )


def _kwh(rounding: Rounding, energy_wh: Decimal) -> Decimal:
    return rounding.rounded(EXACT.scaleb(energy_wh, -3), rounding.energy_kwh)


def _hour(at: datetime) -> int:
    return int(at.timestamp() // 3600)


def _by_hour(interval: DeliveryInterval) -> list[DeliveryInterval]:
    pieces: list[DeliveryInterval] = []
    begins = interval.starts_at
    while begins < interval.ends_at:
        until = datetime.fromtimestamp((_hour(begins) + 1) * 3600, tz=begins.tzinfo)
        ends = min(interval.ends_at, until)
        length_s = (ends - begins) / timedelta(seconds=1)
        share = length_s / interval.duration_s
        pieces.append(
            DeliveryInterval(
                starts_at=begins,
                duration_s=length_s,
                baseline_wh=interval.baseline_wh * share,
                measured_wh=interval.measured_wh * share,
                delivered_wh=interval.delivered_wh * share,
                coverage_fraction=interval.coverage_fraction,
                quality=interval.quality,
                price=interval.price,
            )
        )
        begins = ends
    return pieces
