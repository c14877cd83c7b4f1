"""Several sites that answer as one: a sum of sites, or one settlement whose amount is split to the cent."""

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from decimal import Decimal, localcontext
from math import fsum

from gateway.domain.tariff.delivery import Delivery, DeliveryInterval
from gateway.domain.tariff.settle import settle_event
from gateway.domain.tariff.spans import payable
from gateway.domain.tariff.statement import EXACT, TariffStatement
from gateway.domain.tariff.terms import Tariff, TariffError
from hardware.device import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class SiteShare:
    """What falls to a site. ``statement`` is the site's own, ``None`` where the portfolio is settled as one."""

    site_id: str
    amount: Decimal
    working: str
    statement: TariffStatement | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioStatement:
    """``amount`` is the sum of the shares, to the last digit. ``pooled`` is the one settlement of all, where made."""

    currency: str
    amount: Decimal
    shares: tuple[SiteShare, ...]
    pooled: TariffStatement | None = None


def settle_portfolio(tariff: Tariff, sites: Mapping[str, Delivery], *, pooled: bool = False) -> PortfolioStatement:
    """Settle an event over several sites, each by itself or all as one.

    As one (``pooled``), commitments and awards add up, one site's surplus makes up for another's shortfall, and the
    amount is split by the largest remainder. Raises ``TariffError`` as ``settle_event`` does, where there is no site,
    and for sites that cannot be pooled: other intervals, prices or terms.
    """
    if not sites:
        raise TariffError("a portfolio has one site at the least")
    with localcontext(EXACT):
        if pooled:
            return _as_one(tariff, sites)
        statements = {site_id: settle_event(tariff, delivery) for site_id, delivery in sites.items()}
        currencies = {statement.currency for statement in statements.values()}
        if len(currencies) > 1:
            raise TariffError(f"amounts in {', '.join(sorted(currencies))} do not add up: one portfolio each")
        return PortfolioStatement(
            currency=currencies.pop(),
            amount=sum((statement.amount for statement in statements.values()), Decimal(0)),
            shares=tuple(
                SiteShare(site_id=site_id, amount=one.amount, working="the site's own statement", statement=one)
                for site_id, one in statements.items()
            ),
        )


def split(amount: Decimal, weights: Mapping[str, Decimal], step: Decimal) -> dict[str, Decimal]:
    """An amount in shares by weight that add up to it exactly, by the largest remainder.

    Each share is cut off to whole steps towards zero; the steps that are left go one each to the largest remainders, of
    equals to the one whose name comes first. Weights are from 0 on; where all are 0 the shares are equal. The amount is
    a whole number of steps.
    """
    with localcontext(EXACT):
        total = sum(weights.values(), Decimal(0))
        used = weights if total else dict.fromkeys(weights, Decimal(1))
        total = total or Decimal(len(weights))
        steps = int(abs(amount) / step)
        whole: dict[str, int] = {}
        remainders: dict[str, Decimal] = {}
        for name, weight in used.items():
            # Whole numbers of steps and an exact remainder: no quotient is rounded on the way.
            quotient, remainders[name] = divmod(steps * weight, total)
            whole[name] = int(quotient)
        left = steps - sum(whole.values())
        for name in sorted(remainders, key=lambda name: (-remainders[name], name))[:left]:
            whole[name] += 1
        sign = -1 if amount < 0 else 1
        return {name: sign * count * step for name, count in whole.items()}


def _as_one(tariff: Tariff, sites: Mapping[str, Delivery]) -> PortfolioStatement:
    statement = settle_event(tariff, _pooled(sites))
    weights, by = _weights(tariff, sites, statement.amount)
    total = sum(weights.values(), Decimal(0))
    shares = split(statement.amount, weights, tariff.rounding.money)
    return PortfolioStatement(
        currency=statement.currency,
        amount=statement.amount,
        pooled=statement,
        shares=tuple(
            SiteShare(
                site_id=site_id,
                amount=share,
                working=f"{statement.amount} x {weights[site_id]} / {total} {by}, by the largest remainder"
                if total
                else f"{statement.amount} in {len(sites)} equal parts, by the largest remainder",
            )
            for site_id, share in shares.items()
        ),
    )


def _weights(tariff: Tariff, sites: Mapping[str, Delivery], amount: Decimal) -> tuple[dict[str, Decimal], str]:
    """A gain falls to who delivered, a charge to who fell short of the award."""
    weights = {}
    for site_id, delivery in sites.items():
        counted = payable(tariff, delivery)
        wh = Decimal(fsum(interval.delivered_wh for interval in counted))
        if amount < 0:
            covered_s = Decimal(fsum(interval.duration_s * interval.coverage_fraction for interval in counted))
            wh = delivery.awarded_kw * covered_s / Decimal("3.6") - wh
        weights[site_id] = max(Decimal(0), tariff.rounding.rounded(wh.scaleb(-3), tariff.rounding.energy_kwh))
    return weights, "kWh short" if amount < 0 else "kWh delivered"


def _pooled(sites: Mapping[str, Delivery]) -> Delivery:
    deliveries = list(sites.values())
    first = deliveries[0]
    for site_id, other in sites.items():
        same = replace(
            other, intervals=first.intervals, committed_kw=first.committed_kw, awarded_kw=first.awarded_kw,
            requested_kw=first.requested_kw,
        )  # fmt: skip
        if same != first:
            raise TariffError(f"site {site_id} has another event, price, currency or availability: settle it by itself")
        if [_grid(one) for one in other.intervals] != [_grid(one) for one in first.intervals]:
            raise TariffError(f"site {site_id} has other intervals or prices: settle it by itself")
    return replace(
        first,
        intervals=tuple(
            _sum(column, [one.awarded_kw for one in deliveries])
            for column in zip(*(one.intervals for one in deliveries), strict=True)
        ),
        committed_kw=sum((one.committed_kw for one in deliveries), Decimal(0)),
        awarded_kw=sum((one.awarded_kw for one in deliveries), Decimal(0)),
        requested_kw=sum((one.requested_kw for one in deliveries), Decimal(0)),
    )


def _grid(interval: DeliveryInterval) -> tuple[datetime, float, object]:
    return interval.starts_at, interval.duration_s, interval.price


def _sum(column: tuple[DeliveryInterval, ...], awards_kw: list[Decimal]) -> DeliveryInterval:
    """One interval of all: as good as the worst, and covered as its award is."""
    qualities = {interval.quality for interval in column}
    pairs = list(zip(awards_kw, column, strict=True)) if any(awards_kw) else [(Decimal(1), one) for one in column]
    covered = sum((kw * Decimal(interval.coverage_fraction) for kw, interval in pairs), Decimal(0))
    return replace(
        column[0],
        baseline_wh=fsum(interval.baseline_wh for interval in column),
        measured_wh=fsum(interval.measured_wh for interval in column),
        delivered_wh=fsum(interval.delivered_wh for interval in column),
        coverage_fraction=float(covered / sum(kw for kw, _ in pairs)),
        quality=next(one for one in (Quality.ESTIMATED, Quality.SUSPECT, Quality.GOOD) if one in qualities),
    )
