"""Tariffs against an oracle in exact fractions, written apart from the engine, and what must hold of any delivery."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.tariff.delivery import Availability, Delivery, DeliveryInterval, IntervalPrice, Month
from gateway.domain.tariff.portfolio import settle_portfolio, split
from gateway.domain.tariff.settle import settle_event, settle_month
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tariff.statement import TariffStatement
from gateway.domain.tariff.terms import Cap, Netting, Over, Part, Per, Tariff

START = datetime(2026, 7, 1, 2, tzinfo=UTC)
CENT = Decimal("0.01")
TARIFFS = shipped_tariffs()

energies = st.lists(st.integers(-50_000, 50_000), min_size=1, max_size=8)
"""Watt-hours of each interval: whole, so that an energy is exact and only money is rounded."""
months = st.lists(energies, min_size=1, max_size=4)
cents = st.integers(0, 400).map(lambda count: count * CENT)
prices = st.lists(st.integers(-200, 400), min_size=8, max_size=8).map(lambda found: [one * CENT for one in found])


def delivery(
    wh: Sequence[float],
    *,
    at: int = 0,
    minutes: int = 60,
    award: int = 20,
    series: Sequence[Decimal] = (),
    price: Decimal = Decimal(1),
) -> Delivery:
    return Delivery(
        event_id=f"e-{at}",
        awarded_kw=Decimal(award),
        committed_kw=Decimal(2 * award),
        requested_kw=Decimal(award),
        intervals=tuple(
            DeliveryInterval(
                starts_at=START + timedelta(days=at, minutes=minutes * n),
                duration_s=60.0 * minutes,
                baseline_wh=one + 100_000,
                measured_wh=100_000,
                delivered_wh=one,
                price=IntervalPrice(per_kwh=series[n] if series else price, source="market"),
            )
            for n, one in enumerate(wh)
        ),
        agreed=dict.fromkeys((Part.ENERGY, Part.CAPACITY, Part.AVAILABILITY), price),
        currency="USD",
        availability=Availability(hours=Decimal(10), factor=Decimal("0.9")),
        net_benefits_per_kwh=IntervalPrice(per_kwh=Decimal("0.50"), source="test"),
    )


def july(price: Decimal = Decimal(1)) -> Month:
    return Month(
        name="2026-07",
        committed_kw=Decimal(40),
        agreed=dict.fromkeys((Part.CAPACITY, Part.AVAILABILITY), price),
        currency="USD",
        availability=Availability(hours=Decimal(700), factor=Decimal("0.9")),
    )


def energy_of(tariff_id: str, **changes) -> Tariff:
    one = TARIFFS[tariff_id]
    assert one.energy is not None
    return replace(one, energy=replace(one.energy, **changes))


def netted(netting: Netting, *, clamped: bool, tariff_id: str = "flat-energy") -> Tariff:
    return energy_of(tariff_id, netting=netting, clamped=clamped, net_benefits=False)


def cent(amount: Fraction) -> Fraction:
    """Half to even, as ``round`` of a fraction is."""
    return Fraction(round(amount * 100), 100)


# The oracle.


def oracle_netted(events: list[list[Fraction]], netting: Netting) -> Fraction:
    """Amounts that are exact to the cent, clamped over each span."""
    if netting is Netting.INTERVAL:
        return sum((max(one, Fraction(0)) for event in events for one in event), Fraction(0))
    if netting is Netting.EVENT:
        return sum((max(sum(event), Fraction(0)) for event in events), Fraction(0))
    return max(sum((sum(event) for event in events), Fraction(0)), Fraction(0))


def oracle_tiers(wh: Sequence[int], award_kw: int, price: Fraction) -> Fraction:
    """Capacity by the mean kW: nothing under 80 %, no more than 120 %; kW to a thousandth."""
    mean_kw = Fraction(sum(wh), 1000 * len(wh))
    if mean_kw < Fraction(80, 100) * award_kw:
        return Fraction(0)
    counted = min(mean_kw, Fraction(120, 100) * award_kw)
    return cent(Fraction(round(counted * 1000), 1000) * price)


def oracle_guangdong(wh: Sequence[int], award_kw: int, series: Sequence[Decimal]) -> Fraction:
    total = Fraction(0)
    for one, price in zip(wh, map(Fraction, series), strict=False):
        short = Fraction(award_kw, 2) - Fraction(one, 1000)
        total += cent(Fraction(one, 1000) * price)
        if short > 0:
            total += cent(-short * price / 2)
    return total


def oracle_ers(wh: Sequence[int], award_kw: int, price: Fraction) -> Fraction:
    def to_4(value: Fraction) -> Fraction:
        return Fraction(round(value * 10_000), 10_000)

    factors = [min(Fraction(1), max(Fraction(0), to_4(Fraction(one, 1000 * award_kw)))) for one in wh]
    mean = to_4(sum(factors, Fraction(0)) / len(factors))
    met = mean if mean < Fraction(95, 100) else Fraction(1)
    return cent(40 * 700 * price * Fraction(9, 10) * met)


@given(events=months, price=cents)
def test_netting_is_what_fractions_say(events: list[list[int]], price: Decimal):
    # Whole kilowatt-hours times whole cents are whole cents.
    whole = [[round(one, -3) for one in event] for event in events]
    deliveries = [delivery(event, at=at, price=price) for at, event in enumerate(whole)]
    amounts = [[Fraction(one, 1000) * Fraction(price) for one in event] for event in whole]
    for tariff_id in ("flat-energy", "pjm-economic"):
        for netting in Netting:
            tariff = replace(netted(netting, clamped=True, tariff_id=tariff_id), currency="agreed")
            found = settle_month(tariff, deliveries, july())
            assert Fraction(found.amount) == oracle_netted(amounts, netting)


@given(wh=energies, award=st.integers(1, 60), price=cents)
def test_tiers_are_what_fractions_say(wh: list[int], award: int, price: Decimal):
    found = settle_event(TARIFFS["capacity-with-tiers"], delivery(wh, award=award, price=price))
    assert Fraction(found.amount) == oracle_tiers(wh, award, Fraction(price))


@given(wh=energies, award=st.integers(1, 60), series=prices)
def test_guangdong_is_what_fractions_say(wh: list[int], award: int, series: list[Decimal]):
    found = settle_event(TARIFFS["guangdong-response"], delivery(wh, award=award, series=series))
    assert Fraction(found.amount) == oracle_guangdong(wh, award, series)


@given(wh=energies, award=st.integers(1, 60), price=cents)
def test_ers_is_what_fractions_say(wh: list[int], award: int, price: Decimal):
    found = settle_month(TARIFFS["ercot-ers"], [delivery(wh, award=award)], july(price))
    assert Fraction(found.amount) == oracle_ers(wh, award, Fraction(price))


def test_the_oracle_by_example():
    # 10 + 30 of 2 x 20 kWh: mean 20 kW, all of the award. 5 of 20 is under half: short by 5.
    assert oracle_tiers([10_000, 30_000], 20, Fraction(2)) == 40
    assert oracle_tiers([10_000, 10_000], 20, Fraction(2)) == 0
    assert oracle_guangdong([5_000], 20, [Decimal(2)]) == 10 - 5
    assert oracle_ers([10_000, 30_000], 20, Fraction(1)) == 40 * 700 * Fraction(9, 10) * Fraction(3, 4)


# What must hold of any.

anything = st.sampled_from(sorted(TARIFFS))
bounds = st.sampled_from(
    [
        (),
        (Cap(part=None, per=Per.EVENT, floor=Decimal(-5), ceiling=Decimal(20)),),
        (
            Cap(part=Part.ENERGY, per=Per.MONTH, ceiling=Decimal("7.77")),
            Cap(part=None, per=Per.MONTH, floor=Decimal(1)),
        ),
    ]
)


def holds(tariff: Tariff, statement: TariffStatement) -> None:
    assert sum((line.amount for line in statement.lines), Decimal(0)) == statement.amount
    assert sum((part.amount for part in statement.parts), Decimal(0)) == statement.amount
    assert statement.amount == statement.amount.quantize(CENT)
    for line in statement.lines:
        exact = Fraction(line.quantity) * Fraction(line.price) * Fraction(line.factor)
        assert Fraction(line.amount) == (cent(exact) if tariff.rounding.each_line else exact)
        assert str(line.quantity) in line.working
        assert str(line.amount) in line.working or Fraction(line.amount) == exact


@given(tariff_id=anything, events=months, series=prices, caps=bounds, each_line=st.booleans())
def test_the_total_is_the_sum_of_lines_and_each_line_its_product(
    tariff_id: str, events: list[list[int]], series: list[Decimal], caps: tuple[Cap, ...], each_line: bool
):
    plain = TARIFFS[tariff_id]
    tariff = replace(plain, caps=caps, rounding=replace(plain.rounding, each_line=each_line))
    deliveries = [delivery(wh, at=at, series=series, price=series[0]) for at, wh in enumerate(events)]
    for one in deliveries:
        holds(tariff, settle_event(tariff, one))
    holds(tariff, settle_month(tariff, deliveries, july(series[0])))


floats = st.lists(st.floats(-1e6, 1e6), min_size=1, max_size=6)


@given(wh=floats, parts=st.integers(2, 7), price=cents)
def test_splitting_an_interval_changes_no_energy_of_an_event(wh: list[float], parts: int, price: Decimal):
    whole = delivery(wh, price=price)
    pieces = tuple(
        replace(
            one,
            starts_at=one.starts_at + timedelta(seconds=n * one.duration_s / parts),
            duration_s=one.duration_s / parts,
            baseline_wh=one.baseline_wh / parts,
            measured_wh=one.measured_wh / parts,
            delivered_wh=one.delivered_wh / parts,
        )
        for one in whole.intervals
        for n in range(parts)
    )
    # Starts are of whole microseconds: a piece must not begin before the one before it ends.
    pieces = tuple(replace(piece, duration_s=int(piece.duration_s * 1e6 - 1) / 1e6) for piece in pieces)
    tariff = netted(Netting.EVENT, clamped=False)
    left, right = (settle_event(tariff, one).lines[0] for one in (whole, replace(whole, intervals=pieces)))
    assert abs(left.quantity - right.quantity) <= Decimal("0.001")
    assert abs(left.amount - right.amount) <= Decimal("0.001") * price + CENT


@given(events=months, series=prices, tariff_id=st.sampled_from(["flat-energy", "pjm-economic"]))
def test_the_finer_the_clamp_the_more_is_paid(events: list[list[int]], series: list[Decimal], tariff_id: str):
    deliveries = [delivery(wh, at=at, series=series, price=series[0]) for at, wh in enumerate(events)]

    def amount(netting: Netting, *, clamped: bool) -> Decimal:
        tariff = replace(netted(netting, clamped=clamped, tariff_id=tariff_id), currency="USD")
        return settle_month(tariff, deliveries, july()).amount

    # A flat price rounds the lines of intervals by themselves: half a cent each, and half a watt-hour is none here.
    count = sum(map(len, events)) + len(events)
    slack = Decimal(0) if tariff_id == "pjm-economic" else count * CENT / 2
    by_interval, by_event = amount(Netting.INTERVAL, clamped=True), amount(Netting.EVENT, clamped=True)
    by_month, signed = amount(Netting.MONTH, clamped=True), amount(Netting.EVENT, clamped=False)
    assert by_interval + slack >= by_event >= by_month >= signed


def test_the_finer_the_clamp_by_example():
    one = delivery([10_000, -4_000])
    amounts = [
        settle_event(netted(netting, clamped=clamped), one).amount
        for netting, clamped in ((Netting.INTERVAL, True), (Netting.EVENT, True), (Netting.EVENT, False))
    ]
    assert amounts == [Decimal("10.00"), Decimal("6.00"), Decimal("6.00")]


@given(tariff_id=anything, events=months, series=prices, scale=st.integers(0, 7))
def test_scaling_every_price_scales_the_amount_before_rounding(
    tariff_id: str, events: list[list[int]], series: list[Decimal], scale: int
):
    plain = TARIFFS[tariff_id]
    tariff = replace(plain, rounding=replace(plain.rounding, each_line=False, money=Decimal("0.000000000001")))
    if tariff.energy is not None:
        tariff = replace(tariff, energy=replace(tariff.energy, net_benefits=False))
        if tariff_id == "hainan-2025-draft":
            return  # its prices are the sheet's

    def amount(times: int) -> Decimal:
        used = [one * times for one in series]
        deliveries = [delivery(wh, at=at, series=used, price=used[0]) for at, wh in enumerate(events)]
        return settle_month(tariff, deliveries, july(used[0])).amount

    assert amount(scale) == scale * amount(1)


@given(
    tariff_id=anything,
    sites=st.lists(st.lists(st.integers(-50_000, 50_000), min_size=3, max_size=3), min_size=1, max_size=6),
    series=prices,
    pooled=st.booleans(),
)
def test_a_portfolio_adds_up_to_the_cent(tariff_id: str, sites: list[list[int]], series: list[Decimal], pooled: bool):
    members = {f"s-{n}": delivery(wh, series=series, price=series[0]) for n, wh in enumerate(sites)}
    found = settle_portfolio(TARIFFS[tariff_id], members, pooled=pooled)
    assert sum((share.amount for share in found.shares), Decimal(0)) == found.amount
    assert [share.site_id for share in found.shares] == list(members)
    if found.pooled is not None:
        assert found.pooled.amount == found.amount


@given(amount=st.integers(-10_000, 10_000), weights=st.lists(st.integers(0, 1000), min_size=1, max_size=9))
def test_a_split_is_within_a_cent_of_its_proportion(amount: int, weights: list[int]):
    named = {f"s-{n}": Decimal(weight) for n, weight in enumerate(weights)}
    shares = split(amount * CENT, named, CENT)
    total = sum(weights)
    assert sum(shares.values()) == amount * CENT
    for name, weight in named.items():
        exact = Fraction(amount, 100) * (Fraction(weight) / total if total else Fraction(1, len(weights)))
        assert abs(Fraction(shares[name]) - exact) < Fraction(1, 100)


@given(wh=energies, award=st.integers(1, 60), price=cents)
def test_a_penalty_over_the_event_is_never_more_than_by_the_interval(wh: list[int], award: int, price: Decimal):
    plain = TARIFFS["guangdong-response"]
    assert plain.penalty is not None

    def charge(over: Over) -> Decimal:
        tariff = replace(plain, penalty=replace(plain.penalty, over=over))
        found = settle_event(tariff, delivery(wh, award=award, price=price))
        return -sum((line.amount for line in found.lines if line.part is Part.PENALTY), Decimal(0))

    assert charge(Over.HOUR) == charge(Over.INTERVAL)
    assert charge(Over.EVENT) <= charge(Over.INTERVAL) + (len(wh) + 1) * CENT / 2
