"""Each tariff by hand: the arithmetic stands in the comments."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gateway.domain.contract import Program
from gateway.domain.settlement import settle
from gateway.domain.tariff.delivery import (
    Availability,
    Delivery,
    DeliveryInterval,
    IntervalPrice,
    Month,
    delivery_intervals,
)
from gateway.domain.tariff.settle import settle_event, settle_month
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tariff.statement import TariffStatement
from gateway.domain.tariff.terms import (
    Cap,
    CapacityBy,
    CapacityTerms,
    Netting,
    Over,
    Part,
    Per,
    Price,
    PriceBy,
    RoundingMode,
    Tariff,
    TariffError,
)
from gateway.domain.verification import VerifiedInterval, VerifiedReport
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


FLAT = {"agreed": {Part.ENERGY: D(1)}, "currency": "USD"}


def flat(**changes) -> Tariff:
    one = tariff("flat-energy")
    assert one.energy is not None
    return replace(one, energy=replace(one.energy, **changes))


@pytest.mark.parametrize(
    ("netting", "clamped", "amount"),
    [
        # Two events: +10, -4 kWh and -7 kWh, at 1. Signed: -1 whatever the netting.
        (Netting.INTERVAL, False, "-1.00"),
        (Netting.EVENT, False, "-1.00"),
        (Netting.MONTH, False, "-1.00"),
        (Netting.INTERVAL, True, "10.00"),  # 10 + 0 + 0
        (Netting.EVENT, True, "6.00"),  # (10 - 4) + 0
        (Netting.MONTH, True, "0.00"),  # 6 - 7 lifted to 0
    ],
)
def test_netting(netting: Netting, clamped: bool, amount: str):
    events = [delivery(interval(0, 10), interval(1, -4), **FLAT), delivery(interval(2, -7), event_id="e-2", **FLAT)]
    found = settle_month(flat(netting=netting, clamped=clamped), events, Month(name="2026-07", currency="USD"))
    assert str(found.amount) == amount
    # The signed lines stay beside every clamp.
    assert sum(line.amount for line in found.lines if line.unit == "kWh") == D("-1.00")


def test_a_zero_has_no_sign():
    found = settle_event(flat(), delivery(interval(0, -0.0001), **FLAT))
    assert (str(found.amount), [str(line.amount) for line in found.lines]) == ("0.00", ["0.00"])
    capacity = {"awarded_kw": D(1), "agreed": {Part.CAPACITY: D(2)}}
    lost = settle_event(tariff("capacity-with-tiers"), delivery(interval(0, -5), **capacity))
    # -5 of 1 times the price 0 of a figure.
    assert lost.lines[0].working.endswith("-5.0000 of 1 x 0 x 1 = 0.0000")


def test_losses_multiply_before_the_one_rounding():
    # 1.0005 kWh x 1.05 = 1.050525, rounded 1.051 (rounding first would give 1.000 x 1.05).
    found = settle_event(flat(loss_factor=D("1.05")), delivery(interval(0, 1.0005), **FLAT))
    assert found.lines[0].quantity == D("1.051")


@pytest.mark.parametrize(
    ("cap", "amount"),
    [
        (Cap(part=Part.ENERGY, per=Per.EVENT, ceiling=D(25)), "25.00"),
        (Cap(part=None, per=Per.EVENT, floor=D(50)), "50.00"),
        (Cap(part=Part.ENERGY, per=Per.EVENT, ceiling_kwh=D("12.5")), "12.50"),
        (Cap(part=Part.ENERGY, per=Per.EVENT, ceiling=D(31)), "30.00"),
        (Cap(part=Part.ENERGY, per=Per.MONTH, ceiling=D(1)), "30.00"),  # not a matter of one event
    ],
)
def test_bounds_are_lines_of_their_own(cap: Cap, amount: str):
    found = settle_event(replace(flat(), caps=(cap,)), delivery(interval(0, 10), interval(1, 20), **FLAT))
    assert (str(found.amount), str(found.lines[0].amount)) == (amount, "30.00")


def test_bounds_of_event_and_month_stand_on_each_other():
    # 30 and 30, each bounded to 20, the month of 40 bounded to 35.
    caps = (Cap(part=Part.ENERGY, per=Per.EVENT, ceiling=D(20)), Cap(part=Part.ENERGY, per=Per.MONTH, ceiling=D(35)))
    events = [delivery(interval(n, 30), event_id=f"e-{n}", **FLAT) for n in range(2)]
    found = settle_month(replace(flat(), caps=caps), events, Month(name="2026-07", currency="USD"))
    assert [str(line.amount) for line in found.lines] == ["30.00", "-10.00", "30.00", "-10.00", "-5.00"]
    assert found.amount == D("35.00")


def test_the_total_may_be_what_is_rounded():
    # 3 x 0.335 = 1.005: lines exact, the total half up 1.01, with a line for the 0.005.
    rounding = replace(flat().rounding, each_line=False, mode=RoundingMode.HALF_UP)
    one = replace(flat(netting=Netting.INTERVAL), rounding=rounding)
    event = delivery(*(interval(n, 1) for n in range(3)), agreed={Part.ENERGY: D("0.335")}, currency="USD")
    found = settle_event(one, event)
    assert [str(line.amount) for line in found.lines] == ["0.335000", "0.335000", "0.335000", "0.005000"]
    assert found.lines[-1].part is Part.TOTAL
    assert str(found.amount) == "1.01"
    # Line by line, half to even: 3 x 0.34.
    assert settle_event(flat(netting=Netting.INTERVAL), event).amount == D("1.02")


def test_estimates_are_neither_credited_nor_charged_unless_payable():
    event = delivery(interval(0, 10), interval(1, 20, quality=Quality.ESTIMATED), **FLAT)
    assert settle_event(flat(), event).amount == D("30.00")
    strict = settle_event(replace(flat(), estimates_payable=False), event)
    assert strict.amount == D("10.00")
    assert "1 of 2 intervals of event e-1 rest on estimates" in strict.notes[0]


def test_a_capability_test_is_paid_where_the_tariff_says_so():
    event = delivery(interval(0, 10), capability_test=True, **FLAT)
    assert settle_event(flat(), event).amount == D("10.00")
    unpaid = settle_event(replace(flat(), capability_tests_payable=False), event)
    assert (unpaid.amount, unpaid.lines) == (D("0.00"), ())
    assert unpaid.notes == ("Event e-1 was a capability test, which this tariff does not pay for.",)


def test_capacity_by_the_month_and_by_the_event():
    one = replace(
        flat(),
        capacity=CapacityTerms(price=Price(by=PriceBy.FIXED, value=D("4.5")), per=Per.MONTH, by=CapacityBy.COMMITMENT),
    )
    july = Month(name="2026-07", committed_kw=D(80), currency="USD")
    assert settle_month(one, [], july).amount == D("360.00")  # 80 x 4.5
    assert one.capacity is not None
    by_event = replace(one, capacity=replace(one.capacity, per=Per.EVENT, by=CapacityBy.AWARD))
    # 10 kWh x 1 + 60 kW x 4.5.
    assert settle_event(by_event, delivery(interval(0, 10), awarded_kw=D(60), **FLAT)).amount == D("280.00")


def test_what_the_contract_must_say_is_asked_for():
    event = delivery(interval(0, 10))
    with pytest.raises(TariffError, match="give currency"):
        settle_event(tariff("flat-energy"), event)
    with pytest.raises(TariffError, match=r"give agreed\.energy"):
        settle_event(tariff("flat-energy"), replace(event, currency="USD"))
    for tariff_id in ("guangdong-response", "capacity-with-tiers"):
        with pytest.raises(TariffError, match="against its award: give awarded_kw"):
            settle_event(tariff(tariff_id), event)
    with pytest.raises(TariffError, match=r"the interval from 2026-07-01T02:00:00.* has no price"):
        settle_event(tariff("guangdong-response"), replace(event, awarded_kw=D(1)))
    with pytest.raises(TariffError, match=r"give availability\.hours"):
        settle_month(tariff("ercot-ers"), [], Month(name="2026-07"))
    july = Month(name="2026-07", currency="USD")
    with pytest.raises(TariffError, match="event e-1 is there twice"):
        settle_month(flat(), [delivery(interval(0, 10), **FLAT)] * 2, july)
    with pytest.raises(TariffError, match="event e-1 is in EUR, the month in USD"):
        settle_month(flat(), [delivery(interval(0, 10), agreed={Part.ENERGY: D(1)}, currency="EUR")], july)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"duration_s": 0.0}, "above 0"),
        ({"duration_s": 1e9}, "a day at most"),
        ({"coverage_fraction": 1.5}, "coverage"),
        ({"delivered_wh": float("nan")}, "energy of nan"),
        ({"delivered_wh": 5.0}, "not baseline less measured"),
        ({"starts_at": START.replace(tzinfo=None)}, "no UTC offset"),
        ({"starts_at": START.replace(year=9999)}, "out of time"),
    ],
)
def test_a_broken_interval_is_refused(change: dict, says: str):
    with pytest.raises(ValueError, match=says):
        replace(interval(0, 10), **change)


def test_intervals_in_order_and_apart():
    with pytest.raises(ValueError, match="begins before the one before it ends"):
        delivery(interval(1, 1), interval(0, 1))


def test_over_knows_the_spans_of_a_penalty():
    # Award 10 kWh in each of two hours, delivered 4 and 13; price 2, all of it wanted.
    one = tariff("guangdong-response")
    assert one.penalty is not None
    event = delivery(interval(0, 4, price="2"), interval(1, 13, price="2"), awarded_kw=D(10))
    for over, charge in ((Over.INTERVAL, "-12.00"), (Over.HOUR, "-12.00"), (Over.EVENT, "-6.00")):
        # 6 short in the first hour; over the event 20 - 17 = 3 short.
        strict = replace(one, penalty=replace(one.penalty, over=over, threshold_ratio=D(1), factor=D(1)))
        found = settle_event(strict, event)
        assert [str(line.amount) for line in found.lines if line.part is Part.PENALTY] == [charge]
