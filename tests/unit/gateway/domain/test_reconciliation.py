"""The counterparty's statement against ours: every figure that differs, and what it looks like."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal

import pytest

from gateway.domain.reconciliation import CounterpartyInterval, CounterpartyStatement, LineDifference, reconcile
from gateway.domain.settlement import SettlementStatement
from tests.unit.gateway.domain.test_statement_changes import HOUR, START, inputs, statement_of

OURS = statement_of(inputs())
"""Two hours: 1000 Wh of baseline, 700 Wh measured, 300 Wh delivered, 0.30 USD."""


def theirs(**changed: object) -> CounterpartyStatement:
    """The same, as the counterparty states it."""
    intervals = tuple(
        CounterpartyInterval(
            starts_at=START + index * HOUR,
            duration_s=3600.0,
            baseline_kwh=Decimal("1.000"),
            measured_kwh=Decimal("0.7"),
            delivered_kwh=Decimal("0.300"),
        )
        for index in range(2)
    )
    whole = CounterpartyStatement(
        reference="S-7",
        party="utility",
        event_id="e1",
        currency="USD",
        amount=Decimal("0.30"),
        delivered_kwh=Decimal("0.6"),
        intervals=intervals,
    )
    return replace(whole, **changed)


def differing(given: CounterpartyStatement, ours: SettlementStatement = OURS) -> tuple[LineDifference, ...]:
    return reconcile(ours, given).differences


def with_figures(**figures: Decimal | None) -> CounterpartyStatement:
    whole = theirs()
    return replace(whole, intervals=(replace(whole.intervals[0], **figures), whole.intervals[1]))


def test_the_same_agrees_and_every_figure_is_counted() -> None:
    found = reconcile(OURS, theirs())
    assert found.agrees
    assert found.compared == 8
    assert reconcile(OURS, theirs(delivered_kwh=None, intervals=())).compared == 1


def test_energy_within_half_a_watt_hour_is_the_same_and_money_to_the_last_digit() -> None:
    assert differing(with_figures(measured_kwh=Decimal("0.7005"))) == ()
    (beyond,) = differing(with_figures(measured_kwh=Decimal("0.7006")))
    assert (beyond.figure, beyond.ours, beyond.theirs, beyond.difference) == (
        "measured kWh", "0.700000", "0.7006", Decimal("0.0006"),
    )  # fmt: skip
    assert beyond.starts_at == START
    (money,) = differing(theirs(amount=Decimal("0.31")))
    assert (money.figure, money.difference, money.reason) == (
        "amount USD", Decimal("0.01"), "the same energy, rounded otherwise",
    )  # fmt: skip


def test_a_figure_out_of_all_proportion_is_compared_too() -> None:
    given = inputs()
    huge = statement_of(replace(given, measured=(replace(given.measured[0], energy_wh=1e40), given.measured[1])))
    differences = {(one.figure, one.starts_at) for one in differing(theirs(amount=huge.amount), huge)}
    assert differences == {("delivered kWh", None), ("measured kWh", START), ("delivered kWh", START)}


@pytest.mark.parametrize(
    ("figures", "reason"),
    [
        ({"measured_kwh": Decimal(700)}, "looks like Wh given as kWh"),
        ({"baseline_kwh": Decimal("0.001")}, "looks like MWh given as kWh"),
        ({"delivered_kwh": Decimal("-0.3")}, "the other sign"),
        ({"baseline_kwh": Decimal("1.2")}, "another reading or baseline"),
    ],
)
def test_what_a_difference_looks_like_is_said(figures: dict[str, Decimal], reason: str) -> None:
    assert [one.reason for one in differing(with_figures(**figures))] == [reason]


def test_a_negative_reduction_set_to_zero_is_named() -> None:
    given = inputs(measured=tuple(replace(one, energy_wh=1200.0) for one in inputs().measured))
    whole = theirs(amount=Decimal("0.00"), delivered_kwh=Decimal(0), intervals=())
    found = differing(whole, statement_of(given))
    assert [(one.figure, one.reason) for one in found] == [
        ("amount USD", "it follows the energy"),
        ("delivered kWh", "a negative reduction set to zero"),
    ]


def test_a_shift_of_all_intervals_is_seen_for_what_it_is() -> None:
    moved = theirs(
        intervals=tuple(replace(one, starts_at=one.starts_at - timedelta(hours=7)) for one in theirs().intervals)
    )
    found = differing(moved)
    assert len(found) == 4
    assert {one.reason for one in found} == {
        "all their intervals look shifted by -7 h: local time, or stamps at the end?"
    }


def test_a_shift_is_named_where_a_figure_also_looks_like_another_mistake() -> None:
    given = inputs()
    grown = (given.measured[0], replace(given.measured[1], energy_wh=1300.0))
    ours = statement_of(replace(given, measured=grown))
    own = replace(theirs().intervals[0], starts_at=START + HOUR)
    more = replace(own, starts_at=START + 2 * HOUR, measured_kwh=Decimal("1.3"), delivered_kwh=Decimal("-0.3"))
    found = differing(theirs(amount=ours.amount, delivered_kwh=ours.delivered_kwh, intervals=(own, more)), ours)
    assert [one.figure for one in found] == ["interval", "measured kWh", "delivered kWh", "interval"]
    assert {one.reason for one in found} == {
        "all their intervals look shifted by +1 h: local time, or stamps at the end?"
    }


def test_intervals_that_one_side_lacks_or_cuts_otherwise_are_named() -> None:
    whole = theirs()
    (lacking,) = differing(replace(whole, intervals=whole.intervals[:1]))
    assert (lacking.starts_at, lacking.ours, lacking.theirs) == (START + HOUR, "3600 s", "")
    assert lacking.reason == "theirs has no interval there"
    halved = replace(whole, intervals=(replace(whole.intervals[0], duration_s=1800.0), whole.intervals[1]))
    assert [one.reason for one in differing(halved)] == ["another length of interval"]


def test_another_price_another_currency_and_another_sign() -> None:
    assert [one.reason for one in differing(theirs(amount=Decimal("0.36")))] == [
        "the same energy at another price or under other terms"
    ]
    assert [one.reason for one in differing(theirs(amount=Decimal("-0.30")))] == ["the other sign"]
    assert [one.figure for one in differing(theirs(currency="EUR"))] == ["currency"]


def test_another_event_is_refused() -> None:
    with pytest.raises(ValueError, match="is of event e9, ours of e1"):
        reconcile(OURS, theirs(event_id="e9"))


def test_overlapping_and_naive_intervals_are_refused() -> None:
    first, second = theirs().intervals
    with pytest.raises(ValueError, match="overlap: each stretch of time once"):
        theirs(intervals=(first, replace(second, starts_at=START + HOUR / 2)))
    with pytest.raises(ValueError, match="no UTC offset"):
        replace(first, starts_at=first.starts_at.replace(tzinfo=None))
