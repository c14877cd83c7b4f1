"""Each tariff by hand: the arithmetic stands in the comments."""

from dataclasses import replace
from datetime import timedelta

import pytest

from gateway.domain.contract import Program
from gateway.domain.settlement import settle
from gateway.domain.tariff.delivery import (
    Availability,
    IntervalPrice,
    Month,
    delivery_intervals,
)
from gateway.domain.tariff.settle import settle_event, settle_month
from gateway.domain.tariff.statement import TariffStatement
from gateway.domain.tariff.terms import (
    Part,
    TariffError,
)
from gateway.domain.verification import VerifiedInterval, VerifiedReport
from hardware.device import Quality
from tests.deliveries import START, D, delivery, interval, tariff


def lines(statement: TariffStatement) -> list[tuple[str, str]]:
    return [(line.part.value, str(line.amount)) for line in statement.lines]


@pytest.mark.parametrize(
    "wh", [(1500.0, -500.0, 250.0), (-2000.0,), (0.5,), (1.5, 1.0, 0.1, 0.2), (-0.4,), (1234567.5,), ()]
)
@pytest.mark.parametrize("price", ["0.75", "0.015", "100", "-0.35"])
def test_flat_energy_is_what_settlement_says(wh: tuple[float, ...], price: str):
    verified = tuple(
        VerifiedInterval(
            starts_at=START + timedelta(seconds=300 * index),
            duration_s=300.0,
            baseline_wh=value + 10.0,
            measured_wh=10.0,
            delivered_wh=value,
            coverage_fraction=0.9,
            quality=Quality.ESTIMATED,
        )
        for index, value in enumerate(wh)
    )
    report = VerifiedReport(
        connection_id="c", event_id="e-1", revision=0, rule="r", rule_version="1", verified_at=START,
        intervals=verified, days=(), adjustment_kind="none", adjustment_raw=None, adjustment_applied=None,
    )  # fmt: skip
    program = Program(program_id="p", price_per_kwh=D(price), currency="USD")
    today = settle(report, program=program, site_id="s", statement_id="1", issued_at=START, capability_test=True)
    found = settle_event(
        tariff("flat-energy"),
        delivery(*delivery_intervals(verified), agreed={Part.ENERGY: D(price)}, currency="USD", capability_test=True),
    )
    assert str(found.amount) == str(today.amount)
    assert [str(line.quantity) for line in found.lines] == [str(today.delivered_kwh)] * bool(wh)
    assert found.currency == "USD"


def test_guangdong():
    # Hour 1: 30 of 100 kWh. Paid 30 x 3.5 = 105.00; short of 50 by 20: 20 x 3.5 x 0.5 = 35.00.
    # Hour 2: 100 kWh x 3.2 = 320.00, no shortfall. 105 + 320 - 35 = 390.00.
    found = settle_event(
        tariff("guangdong-response"),
        delivery(interval(0, 30, price="3.5"), interval(1, 100, price="3.2"), awarded_kw=D(100)),
    )
    assert lines(found) == [("energy", "105.00"), ("energy", "320.00"), ("penalty", "-35.00")]
    assert (found.amount, found.currency, found.read) == (D("390.00"), "CNY", "read in a secondary source")
    assert found.lines[2].quantity == D("20.0000")
    assert (
        "award 100.000 kWh x 0.5 - delivered 30.000 kWh = 20.0000 kWh short (mean 20.000 kW" in found.lines[2].working
    )


def test_guangdong_by_the_hour_of_quarters_that_straddle_it():
    # Four quarters from 02:30: 20, 0, 15, 15 kWh. Half an hour in each hour, award 50 kWh there, half of it 25.
    # Hour 2: 20, short by 5: 5 x 2 x 0.5 = 5.00. Hour 3: 30, not short. Paid 50 x 2 = 100.00.
    quarters = [interval(n, kwh, minutes=15, price="2") for n, kwh in enumerate((20, 0, 15, 15), 2)]
    found = settle_event(tariff("guangdong-response"), delivery(*quarters, awarded_kw=D(100)))
    assert [line.amount for line in found.lines if line.part is Part.PENALTY] == [D("-5.00")]
    assert found.amount == D("95.00")
    # One slice of the same from 02:30 to 03:30 is cut at the hour: 25 each, not under 25.
    whole = replace(interval(0, 50, price="2"), starts_at=START + timedelta(minutes=30))
    assert settle_event(tariff("guangdong-response"), delivery(whole, awarded_kw=D(100))).amount == D("100.00")


def test_a_shortfall_hour_with_two_prices_is_refused():
    quarters = [interval(n, 1, minutes=15, price=str(n + 1)) for n in range(4)]
    with pytest.raises(TariffError, match=r"penalty span from 2026-07-01T02:00:00.* has more than one price"):
        settle_event(tariff("guangdong-response"), delivery(*quarters, awarded_kw=D(100)))


def test_ercot_ers():
    # Quarters of an award of 100 kW: 25 kWh each. Delivered 25, 30, 20, 10: factors 1, 1 (bounded), 0.8, 0.4.
    # Mean 3.2 / 4 = 0.8, under 0.95. 100 kW x 720 h = 72000 kW h; factor 0.9 x 0.8 = 0.72;
    # 72000 x 0.01 x 0.72 = 518.40.
    month = Month(
        name="2026-07",
        committed_kw=D(100),
        agreed={Part.AVAILABILITY: D("0.01")},
        availability=Availability(hours=D(720), factor=D("0.9")),
    )
    poor = delivery(*(interval(n, kwh, minutes=15) for n, kwh in enumerate((25, 30, 20, 10))), awarded_kw=D(100))
    found = settle_month(tariff("ercot-ers"), [poor], month)
    assert [str(line.quantity) for line in found.lines[:5]] == ["1", "1", "0.8000", "0.4000", "0.8000"]
    assert found.amount == D("518.40")
    # 24 of 25 in each is 0.96, over the mark: the factor is 1. Of one hour each, the month's is (0.8 + 1) / 2 = 0.9;
    # 72000 x 0.01 x (0.9 x 0.9 = 0.81) = 583.20.
    good = delivery(*(interval(n, 24, minutes=15) for n in range(4)), awarded_kw=D(100), event_id="e-2")
    assert settle_month(tariff("ercot-ers"), [poor, good], month).amount == D("583.20")
    # Without a call nothing reduces: 72000 x 0.01 x 0.9 = 648.00.
    assert settle_month(tariff("ercot-ers"), [], month).amount == D("648.00")
    # Just at the mark counts as passed: 19 of 20 of 25 is 23.75 kWh.
    at_it = delivery(*(interval(n, 23.75, minutes=15) for n in range(4)), awarded_kw=D(100))
    assert settle_month(tariff("ercot-ers"), [at_it], month).amount == D("648.00")


def test_pjm_economic():
    # Threshold 0.025. 10 kWh x 0.040 = 0.40; 20 kWh at 0.020 unpaid; -2 kWh x 0.050 = -0.10; 4 at 0.025 passes: 0.10.
    threshold = IntervalPrice(per_kwh=D("0.025"), source="net-benefits price of July")
    hours = [interval(n, kwh, price=price) for n, (kwh, price) in enumerate(
        [(10, "0.040"), (20, "0.020"), (-2, "0.050"), (4, "0.025")])]  # fmt: skip
    found = settle_event(tariff("pjm-economic"), delivery(*hours, net_benefits_per_kwh=threshold))
    assert [str(line.amount) for line in found.lines] == ["0.40", "0.00", "-0.10", "0.10"]
    assert found.amount == D("0.40")
    assert "0.020 < 0.025 (net-benefits price of July): not passed, so unpaid" in found.lines[1].working
    # An event under zero is not charged, and its signed line stays: -2 x 0.05 = -0.10, lifted by 0.10.
    under = settle_event(tariff("pjm-economic"), delivery(hours[2], net_benefits_per_kwh=threshold))
    assert lines(under) == [("energy", "-0.10"), ("energy", "0.10")]
    assert under.amount == D("0.00")
    with pytest.raises(TariffError, match="give net_benefits"):
        settle_event(tariff("pjm-economic"), delivery(*hours))


@pytest.mark.parametrize(
    ("kwh", "quantity", "amount"),
    [
        # Two hours of an award of 100 kW: 200 kWh. Price 2.
        (159.99, "79.995", "0.00"),  # 0.79995: unpaid, though the ratio is printed as 0.8000
        (158.0, "79.000", "0.00"),  # 0.79: unpaid
        (160.0, "80.000", "160.00"),  # 0.80: 160 / 2 h = 80 kW x 2
        (200.0, "100.000", "200.00"),
        (240.0, "120.000", "240.00"),  # 1.2: all of it
        (300.0, "120.000", "240.00"),  # 1.5: 240 of 300 kWh count
        (-10.0, "0", "0.00"),  # never under zero
    ],
)
def test_capacity_with_tiers(kwh: float, quantity: str, amount: str):
    found = settle_event(
        tariff("capacity-with-tiers"),
        delivery(interval(0, kwh / 2), interval(1, kwh / 2), awarded_kw=D(100), agreed={Part.CAPACITY: D(2)}),
    )
    assert (str(found.lines[-1].quantity), str(found.amount)) == (quantity, amount)


def test_a_short_event_keeps_its_kilowatts():
    # Ten minutes at 90 kW are 15 kWh; 15 / 0.166667 h = 89.99982, 90.000 kW; x 2 = 180.00.
    found = settle_event(
        tariff("capacity-with-tiers"),
        delivery(interval(0, 15, minutes=10), awarded_kw=D(100), agreed={Part.CAPACITY: D(2)}),
    )
    assert (found.lines[-1].quantity, found.amount) == (D("90.000"), D("180.00"))


def test_hainan():
    # 250 kWh x 1.0 = 250.00; 500 kW committed, 300 requested at the most: 200 kW x 0.3 = 60.00.
    july = Month(name="2026-07", committed_kw=D(500))
    events = [
        delivery(interval(0, 150), requested_kw=D(200)),
        delivery(interval(5, 100), requested_kw=D(300), event_id="e-2"),
    ]
    found = settle_month(tariff("hainan-2025-draft"), events, july)
    assert lines(found) == [("energy", "150.00"), ("energy", "100.00"), ("capacity", "60.00")]
    assert found.amount == D("310.00")
    assert [(total.part.value, total.amount) for total in found.parts] == [
        ("energy", D("250.00")),
        ("capacity", D("60.00")),
    ]
    one = settle_event(tariff("hainan-2025-draft"), events[0])
    assert (one.amount, one.notes) == (
        D("150.00"),
        ("The capacity payment is by month and not in this statement of one event.",),
    )


def test_availability_and_utilisation():
    # 400 kW x 60 h = 24000 kW h x 0.125 x 0.98 = 2940.00; 350.5 kWh x 0.30 = 105.15.
    month = Month(
        name="2026-07",
        committed_kw=D(400),
        agreed={Part.AVAILABILITY: D("0.125")},
        availability=Availability(hours=D(60), factor=D("0.98")),
    )
    event = delivery(interval(0, 350.5), agreed={Part.ENERGY: D("0.30")})
    found = settle_month(tariff("availability-and-utilisation"), [event], month)
    assert lines(found) == [("energy", "105.15"), ("availability", "2940.00")]
    assert (found.amount, found.currency) == (D("3045.15"), "GBP")
