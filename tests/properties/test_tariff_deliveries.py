"""Every shipped tariff over any delivery: what adds up, what scales, and what a cut in time leaves alone."""

import math
from collections.abc import Sequence
from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from fractions import Fraction

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.settlement import settle
from gateway.domain.settlement_terms import PricedInterval, SettlementTerms
from gateway.domain.tariff.delivery import Delivery, IntervalPrice
from gateway.domain.tariff.settle import settle_event
from gateway.domain.tariff.sheet import shipped_tariffs
from gateway.domain.tariff.terms import Part, Tariff
from hardware.device import Quality
from tests.properties.test_tariff import cents, delivery, energies, prices
from tests.unit.gateway.domain.test_settlement_terms import PROGRAM, verified

TARIFFS = shipped_tariffs()
CENT = Decimal("0.01")
every = st.sampled_from(sorted(TARIFFS))
any_wh = st.one_of(st.floats(-1e9, 1e9), st.sampled_from([1e16, -1e16, 1e40, -1e200]))
watt_hours = st.one_of(st.floats(-1e9, 1e9), st.integers(-(10**6), 10**6).map(lambda halves: halves / 2))
deliveries_wh = st.lists(watt_hours, min_size=1, max_size=8)


@given(
    tariff_id=every,
    wh=deliveries_wh,
    coverages=st.lists(st.floats(0, 1), min_size=8, max_size=8),
    qualities=st.lists(st.sampled_from(Quality), min_size=8, max_size=8),
    series=prices,
    award=st.integers(1, 10**6),
    test=st.booleans(),
)
def test_the_lines_of_any_delivery_add_up_to_its_amount(
    tariff_id: str,
    wh: list[float],
    coverages: list[float],
    qualities: list[Quality],
    series: list[Decimal],
    award: int,
    test: bool,
) -> None:
    plain = delivery(wh, award=award, series=series)
    intervals = tuple(
        replace(one, coverage_fraction=coverage, quality=quality)
        for one, coverage, quality in zip(plain.intervals, coverages, qualities, strict=False)
    )
    found = settle_event(TARIFFS[tariff_id], replace(plain, intervals=intervals, capability_test=test))
    assert sum((line.amount for line in found.lines), Decimal(0)) == found.amount
    assert found.amount == found.amount.quantize(CENT)
    for line in found.lines:
        exact = Fraction(line.quantity) * Fraction(line.price) * Fraction(line.factor)
        assert Fraction(line.amount) == Fraction(round(exact * 100), 100)


@given(
    tariff_id=every,
    wh=st.lists(any_wh, min_size=1, max_size=8),
    series=prices,
    committed=st.integers(0, 100),
    asked=st.integers(0, 100),
)
def test_the_lines_of_any_statement_add_up_to_its_amount_or_it_says_why_there_are_none(
    tariff_id: str, wh: list[float], series: list[Decimal], committed: int, asked: int
) -> None:
    report = verified(*wh, baseline_wh=1e9)
    terms = SettlementTerms(
        requested_kw=Decimal(asked),
        committed_kw=Decimal(committed),
        awarded_kw=Decimal(min(asked, committed)),
        prices=tuple(
            PricedInterval(starts_at=one.starts_at, price=IntervalPrice(per_kwh=price, source="market"))
            for one, price in zip(report.intervals, series, strict=False)
        ),
    )
    statement = settle(
        report,
        program=replace(PROGRAM, tariff=tariff_id),
        site_id="s",
        statement_id="s-1",
        issued_at=report.verified_at,
        terms=terms,
    )
    assert sum((line.amount for line in statement.lines), Decimal(0)) == statement.amount
    assert bool(statement.unpriced) <= (statement.lines == () and statement.amount == 0)
    float_wh = math.fsum(one.delivered_wh for one in report.intervals)
    assert abs(Fraction(statement.delivered_kwh) * 1000 - Fraction(float_wh)) <= Fraction(1, 2)


@given(wh=deliveries_wh, price=cents)
def test_flat_energy_is_the_price_times_the_rounded_energy(wh: list[float], price: Decimal) -> None:
    program = replace(PROGRAM, tariff="flat-energy", price_per_kwh=price)
    report = verified(*wh, baseline_wh=1e9)
    statement = settle(report, program=program, site_id="s", statement_id="s-1", issued_at=report.verified_at)
    exact = Fraction(statement.delivered_kwh) * Fraction(price)
    assert Fraction(statement.amount) == Fraction(round(exact * 100), 100)
    (line,) = statement.lines
    assert (line.quantity, line.price, line.amount) == (statement.delivered_kwh, price, statement.amount)


def unrounded(tariff: Tariff) -> Tariff:
    """Steps so fine that nothing here is rounded."""
    step = Decimal("1e-12")
    return replace(tariff, rounding=replace(tariff.rounding, energy_kwh=step, money=step, each_line=False))


def of_energy(tariff: Tariff, one: Delivery) -> Decimal:
    """What is paid for energy, and charged for energy that is missing."""
    found = settle_event(unrounded(tariff), one)
    return sum((line.amount for line in found.lines if line.part in {Part.ENERGY, Part.PENALTY}), Decimal(0))


@given(tariff_id=every, wh=energies, series=prices, award=st.integers(1, 60), times=st.integers(1, 50))
def test_scaling_energies_and_awards_scales_what_energy_is_worth(
    tariff_id: str, wh: list[int], series: list[Decimal], award: int, times: int
) -> None:
    def worth(factor: int) -> Decimal:
        scaled = [factor * one for one in wh]
        return of_energy(TARIFFS[tariff_id], delivery(scaled, award=factor * award, series=series, price=series[0]))

    assert worth(times) == times * worth(1)


def halved(one: Delivery, which: Sequence[int]) -> Delivery:
    """Some of its intervals in two halves each, which is exact in binary."""
    pieces = []
    for index, interval in enumerate(one.intervals):
        parts = 2 if index in which else 1
        length_s = interval.duration_s / parts
        pieces += [
            replace(
                interval,
                starts_at=interval.starts_at + part * timedelta(seconds=length_s),
                duration_s=length_s,
                baseline_wh=interval.baseline_wh / parts,
                measured_wh=interval.measured_wh / parts,
                delivered_wh=interval.delivered_wh / parts,
            )
            for part in range(parts)
        ]
    return replace(one, intervals=tuple(pieces))


@given(wh=deliveries_wh, which=st.sets(st.integers(0, 7)), price=cents)
def test_an_interval_in_two_halves_keeps_the_amount_of_flat_energy(
    wh: list[float], which: set[int], price: Decimal
) -> None:
    whole = delivery(wh, price=price)
    tariff = TARIFFS["flat-energy"]
    cut = settle_event(tariff, halved(whole, sorted(which)))
    assert (cut.amount, cut.lines) == (settle_event(tariff, whole).amount, settle_event(tariff, whole).lines)


def test_the_smallest_examples() -> None:
    one = delivery([10_001.0], price=Decimal("0.75"))
    assert settle_event(TARIFFS["flat-energy"], one).amount == Decimal("7.50")
    assert settle_event(TARIFFS["flat-energy"], halved(one, [0])).amount == Decimal("7.50")
    assert of_energy(TARIFFS["flat-energy"], one) == Decimal("7.50075")
