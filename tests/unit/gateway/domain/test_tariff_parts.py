"""What the parts of a tariff do, by hand: the arithmetic stands in the comments."""

from dataclasses import replace

import pytest

from gateway.domain.tariff.delivery import (
    Availability,
    Month,
)
from gateway.domain.tariff.settle import settle_event, settle_month
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
    TieredPerformance,
)
from hardware.device import Quality
from tests.deliveries import START, D, delivery, interval, tariff

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


@pytest.mark.parametrize(
    ("over", "netting", "amounts"),
    [
        # Award 10 kWh an hour; 7, 9 and 15 kWh at 1. By interval: 0.7 unpaid, 0.9 as it is, 1.5 counts as 12.
        (Over.INTERVAL, Netting.INTERVAL, ["0.00", "9.00", "12.00"]),
        # Over the event: 31 of 30, all of it.
        (Over.EVENT, Netting.EVENT, ["31.00"]),
    ],
)
def test_tiers_of_energy(over: Over, netting: Netting, amounts: list[str]):
    tiers = tariff("capacity-with-tiers").performance
    assert isinstance(tiers, TieredPerformance)
    one = replace(flat(netting=netting), performance=replace(tiers, over=over, applies_to=(Part.ENERGY,)))
    event = delivery(interval(0, 7), interval(1, 9), interval(2, 15), awarded_kw=D(10), **FLAT)
    found = settle_event(one, event)
    assert [str(line.amount) for line in found.lines if line.part is Part.ENERGY] == amounts
    assert sum(line.part is Part.PERFORMANCE for line in found.lines) == len(amounts)


def test_a_test_that_is_not_paid_does_not_lower_the_month():
    # As without a call: 72000 kW h x 0.01 x 0.9 = 648.00; paid for, its factor of 0 leaves nothing.
    month = Month(
        name="2026-07",
        committed_kw=D(100),
        agreed={Part.AVAILABILITY: D("0.01")},
        availability=Availability(hours=D(720), factor=D("0.9")),
    )
    failed = delivery(interval(0, 0), awarded_kw=D(100), capability_test=True)
    assert settle_month(tariff("ercot-ers"), [failed], month).amount == D("0.00")
    unpaid = replace(tariff("ercot-ers"), capability_tests_payable=False)
    assert settle_month(unpaid, [failed], month).amount == D("648.00")


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


@pytest.mark.parametrize(
    ("quality", "rule"), [(Quality.ESTIMATED, "estimates_payable"), (Quality.SUSPECT, "suspect_payable")]
)
def test_estimates_and_suspect_readings_are_neither_credited_nor_charged_unless_payable(quality: Quality, rule: str):
    event = delivery(interval(0, 10), interval(1, 20, quality=quality), **FLAT)
    assert settle_event(flat(), event).amount == D("30.00")
    strict = settle_event(replace(flat(), **{rule: False}), event)
    assert strict.amount == D("10.00")
    assert f"1 of 2 intervals of event e-1 rest on {quality.value} readings" in strict.notes[0]
    assert len(strict.notes) == 1


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
