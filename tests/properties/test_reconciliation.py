"""A counterparty's statement against ours: the same agrees, one figure off is named, and usual mistakes are seen."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.contract import Program
from gateway.domain.reconciliation import (
    FIGURES,
    KWH_TOLERANCE,
    CounterpartyInterval,
    CounterpartyStatement,
    LineDifference,
    reconcile,
)
from gateway.domain.settlement import SettlementStatement, settle
from gateway.domain.verification import VerifiedInterval, VerifiedReport

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
LENGTH = timedelta(minutes=15)
PROGRAM = Program(program_id="peak", price_per_kwh=Decimal("0.75"), currency="USD")
WATT_HOUR = Decimal("0.001")

energies_wh = st.one_of(st.floats(-5e5, 5e5), st.integers(-2, 2).map(lambda thousands: 1000.0 * thousands))
"""Few whole ones among them, so that neighbours are often alike, or each other's opposite."""


@st.composite
def statements(draw: st.DrawFn) -> SettlementStatement:
    pairs = draw(st.lists(st.tuples(energies_wh, energies_wh), min_size=1, max_size=8))
    verified = VerifiedReport(
        connection_id="utility",
        event_id="e1",
        revision=0,
        rule="r",
        rule_version="1",
        verified_at=START,
        intervals=tuple(
            VerifiedInterval(
                starts_at=START + index * LENGTH,
                duration_s=LENGTH.total_seconds(),
                baseline_wh=baseline_wh,
                measured_wh=measured_wh,
                delivered_wh=baseline_wh - measured_wh,
                coverage_fraction=1.0,
            )
            for index, (baseline_wh, measured_wh) in enumerate(pairs)
        ),
        days=(),
        adjustment_kind="none",
        adjustment_raw=None,
        adjustment_applied=None,
    )
    return settle(verified, program=PROGRAM, site_id="s", statement_id="s-1", issued_at=START)


def as_stated(ours: SettlementStatement, step: Decimal = Decimal("0.000001")) -> CounterpartyStatement:
    """Ours as the counterparty writes it, its energies in kWh to ``step``."""

    def kwh(energy_wh: float) -> Decimal:
        # Once, from the exact value, as ours is rounded.
        return Decimal(energy_wh).quantize(step.scaleb(3)).scaleb(-3)

    return CounterpartyStatement(
        reference="S-7",
        party="utility",
        event_id=ours.verified.event_id,
        currency=ours.currency,
        amount=ours.amount,
        delivered_kwh=ours.delivered_kwh,
        intervals=tuple(
            CounterpartyInterval(
                starts_at=one.starts_at,
                duration_s=one.duration_s,
                baseline_kwh=kwh(one.baseline_wh),
                measured_kwh=kwh(one.measured_wh),
                delivered_kwh=kwh(one.delivered_wh),
            )
            for one in ours.verified.intervals
        ),
    )


def reasons(found: tuple[LineDifference, ...]) -> set[str]:
    return {one.reason for one in found}


@given(ours=statements(), step=st.sampled_from(["0.000001", "0.0001", "0.001"]))
def test_ours_as_the_counterparty_writes_it_agrees_and_every_figure_is_compared(
    ours: SettlementStatement, step: str
) -> None:
    found = reconcile(ours, as_stated(ours, Decimal(step)))
    assert found.differences == ()
    assert found.compared == 2 + len(FIGURES) * len(ours.verified.intervals)


beyond = st.builds(
    lambda sign, micro: sign * (KWH_TOLERANCE + Decimal(micro).scaleb(-6)),
    st.sampled_from([1, -1]),
    st.integers(1, 10**9),
)


@given(ours=statements(), off_kwh=beyond, figure=st.sampled_from(FIGURES), data=st.data())
def test_one_figure_beyond_the_tolerance_is_the_only_difference_and_is_named(
    ours: SettlementStatement, off_kwh: Decimal, figure: str, data: st.DataObject
) -> None:
    whole = as_stated(ours)
    index = data.draw(st.integers(0, len(whole.intervals) - 1))
    stated = list(whole.intervals)
    value = getattr(stated[index], figure)
    stated[index] = replace(stated[index], **{figure: value + off_kwh})
    (one,) = reconcile(ours, replace(whole, intervals=tuple(stated))).differences
    assert (one.figure, one.starts_at) == (figure.replace("_kwh", " kWh"), START + index * LENGTH)
    assert (one.difference, Decimal(one.ours), Decimal(one.theirs)) == (off_kwh, value, value + off_kwh)
    assert one.reason


@given(ours=statements(), off_kwh=beyond, off_cents=st.integers(-500, 500).filter(bool))
def test_a_total_that_is_off_is_the_only_difference(
    ours: SettlementStatement, off_kwh: Decimal, off_cents: int
) -> None:
    whole = as_stated(ours)
    (energy,) = reconcile(ours, replace(whole, delivered_kwh=ours.delivered_kwh + off_kwh)).differences
    assert (energy.figure, energy.starts_at) == ("delivered kWh", None)
    (money,) = reconcile(ours, replace(whole, amount=ours.amount + Decimal(off_cents).scaleb(-2))).differences
    assert (money.figure, money.difference) == ("amount USD", Decimal(off_cents).scaleb(-2))


@given(ours=statements())
def test_the_other_sign_is_seen(ours: SettlementStatement) -> None:
    whole = as_stated(ours)
    stated = tuple(replace(one, delivered_kwh=-(one.delivered_kwh or Decimal(0))) for one in whole.intervals)
    turned = replace(whole, intervals=stated, amount=-ours.amount, delivered_kwh=-ours.delivered_kwh)
    found = reconcile(ours, turned).differences
    assert reasons(found) <= {"the other sign"}
    # What turns into itself, within the tolerance, is no difference.
    twice = [2 * one for one in (ours.delivered_kwh, *(one.delivered_kwh or Decimal(0) for one in whole.intervals))]
    assert len(found) == sum(abs(one) > KWH_TOLERANCE for one in twice) + (ours.amount != 0)


@given(ours=statements(), factor=st.sampled_from([(Decimal(1000), "Wh"), (Decimal("0.001"), "MWh")]))
def test_another_unit_is_seen(ours: SettlementStatement, factor: tuple[Decimal, str]) -> None:
    times, unit = factor
    whole = as_stated(ours)
    stated = tuple(
        replace(one, **{figure: times * getattr(one, figure) for figure in FIGURES}) for one in whole.intervals
    )
    found = reconcile(ours, replace(whole, intervals=stated)).differences
    figures = [getattr(one, figure) for one in whole.intervals for figure in FIGURES]
    seen = {one.reason for one in found if abs(Decimal(one.theirs) + Decimal(one.ours)) > KWH_TOLERANCE}
    assert seen <= {f"looks like {unit} given as kWh"}
    assert len(found) == sum(abs(one * times - one) > KWH_TOLERANCE for one in figures)


@given(ours=statements(), by=st.integers(-40, 40).filter(bool))
def test_a_shift_by_whole_intervals_is_seen_in_every_line(ours: SettlementStatement, by: int) -> None:
    whole = as_stated(ours)
    shifted = tuple(replace(one, starts_at=one.starts_at + by * LENGTH) for one in whole.intervals)
    found = reconcile(ours, replace(whole, intervals=shifted)).differences
    hours = by * LENGTH / timedelta(hours=1)
    assert found
    assert reasons(found) == {f"all their intervals look shifted by {hours:+g} h: local time, or stamps at the end?"}


@given(ours=statements(), order=st.randoms(use_true_random=False))
def test_the_order_in_which_they_state_intervals_does_not_matter(ours: SettlementStatement, order) -> None:  # type: ignore[no-untyped-def]
    whole = as_stated(ours)
    moved = [replace(one, measured_kwh=one.delivered_kwh) for one in whole.intervals]
    shuffled = list(moved)
    order.shuffle(shuffled)
    assert reconcile(ours, replace(whole, intervals=tuple(shuffled))) == reconcile(
        ours, replace(whole, intervals=tuple(moved))
    )
