from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gateway.domain.tariff.delivery import Delivery, DeliveryInterval, IntervalPrice
from gateway.domain.tariff.portfolio import settle_portfolio, split
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tariff.terms import Part, TariffError
from hardware.device import Quality

START = datetime(2026, 7, 1, 2, tzinfo=UTC)
D = Decimal
GUANGDONG = shipped_tariffs()["guangdong-response"]
FLAT = shipped_tariffs()["flat-energy"]


def site(*kwh: float, award: int = 100, coverage: float = 1.0, price: str = "2") -> Delivery:
    return Delivery(
        event_id="e-1",
        awarded_kw=D(award),
        intervals=tuple(
            DeliveryInterval(
                starts_at=START + timedelta(hours=n),
                duration_s=3600.0,
                baseline_wh=1000.0 * (one + 200),
                measured_wh=200_000.0,
                delivered_wh=1000.0 * one,
                coverage_fraction=coverage,
                price=IntervalPrice(per_kwh=D(price), source="market"),
            )
            for n, one in enumerate(kwh)
        ),
        agreed={Part.ENERGY: D("0.333")},
        currency="USD",
    )


def test_each_by_itself_adds_up():
    # a: 30 x 2 - (50 - 30) x 2 x 0.5 = 40.00. b: 90 x 2 = 180.00.
    found = settle_portfolio(GUANGDONG, {"a": site(30), "b": site(90)})
    assert [(share.site_id, share.amount) for share in found.shares] == [("a", D("40.00")), ("b", D("180.00"))]
    assert (found.amount, found.currency, found.pooled) == (D("220.00"), "CNY", None)


def test_as_one_a_surplus_makes_up_for_a_shortfall():
    # 120 of 200 kWh: not under half. 240.00, split 30 : 90.
    found = settle_portfolio(GUANGDONG, {"a": site(30), "b": site(90)}, pooled=True)
    assert [(share.site_id, share.amount) for share in found.shares] == [("a", D("60.00")), ("b", D("180.00"))]
    assert found.amount == D("240.00")
    assert found.shares[0].working == "240.00 x 30.000 / 120.000 kWh delivered, by the largest remainder"


def test_a_charge_falls_to_who_fell_short():
    # Delivered 20 and -20 of 300 together: energy 0, short of 150 by 150: 150 x 2 x 0.5 = 150.00.
    # a is short by 80, b by 220: 150 x 80 / 300 = 40, 150 x 220 / 300 = 110.
    found = settle_portfolio(GUANGDONG, {"a": site(20), "b": site(-20, award=200)}, pooled=True)
    assert [share.amount for share in found.shares] == [D("-40.00"), D("-110.00")]
    assert found.amount == D("-150.00")


def test_the_award_counts_as_far_as_each_site_is_covered():
    # 100 kW half covered and 300 kW whole: 350 kWh of award.
    found = settle_portfolio(GUANGDONG, {"a": site(0, coverage=0.5), "b": site(0, award=300)}, pooled=True)
    assert found.pooled is not None
    assert found.pooled.lines[-1].quantity == D("175.000")


@pytest.mark.parametrize(
    ("amount", "weights", "shares"),
    [
        ("1.00", {"a": 1, "b": 1, "c": 1}, {"a": "0.34", "b": "0.33", "c": "0.33"}),
        ("-0.02", {"a": 1, "b": 1, "c": 1}, {"a": "-0.01", "b": "-0.01", "c": "0.00"}),
        # 0.07 x 1 / 6 = 1.17, x 2 = 2.33, x 3 = 3.5 cents: the cent left to the largest remainder.
        ("0.07", {"a": 1, "b": 2, "c": 3}, {"a": "0.01", "b": "0.02", "c": "0.04"}),
        ("0.01", {"b": 0, "a": 0}, {"a": "0.01", "b": "0.00"}),
        ("0.00", {"a": 5}, {"a": "0.00"}),
    ],
)
def test_the_largest_remainder(amount: str, weights: dict[str, int], shares: dict[str, str]):
    found = split(D(amount), {name: D(weight) for name, weight in weights.items()}, D("0.01"))
    assert found == {name: D(share) for name, share in shares.items()}


def test_what_cannot_be_pooled_is_refused():
    with pytest.raises(TariffError, match="one site at the least"):
        settle_portfolio(FLAT, {})
    with pytest.raises(TariffError, match="site b has other intervals or prices"):
        settle_portfolio(GUANGDONG, {"a": site(1), "b": site(1, price="3")}, pooled=True)
    with pytest.raises(TariffError, match="site b has another event, price, currency"):
        settle_portfolio(GUANGDONG, {"a": site(1), "b": replace(site(1), event_id="e-2")}, pooled=True)
    with pytest.raises(TariffError, match="amounts in EUR, USD do not add up"):
        settle_portfolio(FLAT, {"a": site(1), "b": replace(site(1), currency="EUR")})


def test_a_pooled_interval_is_as_good_as_the_worst():
    poor = site(10)
    poor = replace(poor, intervals=(replace(poor.intervals[0], quality=Quality.ESTIMATED),))
    found = settle_portfolio(GUANGDONG, {"a": poor, "b": site(90)}, pooled=True)
    assert found.amount == D("0.00")
    assert found.pooled is not None
    assert "rest on estimated readings" in found.pooled.notes[0]
