"""Sums of statements: to the cent, whatever their order, and every site's share adds up to the whole."""

from dataclasses import replace
from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.settlement import Edition, Run, SettlementStatement
from gateway.domain.statement_portfolio import add_up
from tests.unit.gateway.domain.test_statement_changes import inputs, statement_of

ONE = statement_of(inputs())
names = st.sampled_from(["a", "b", "c-d", "c"])


@st.composite
def statements(draw: st.DrawFn) -> SettlementStatement:
    site_id, connection_id, event_id = draw(names), draw(names), draw(names)
    return replace(
        ONE,
        statement_id=draw(st.uuids()).hex,
        site_id=site_id,
        verified=replace(ONE.verified, connection_id=connection_id, event_id=event_id),
        delivered_kwh=Decimal(draw(st.integers(-(10**15), 10**15))).scaleb(-3),
        amount=Decimal(draw(st.integers(-(10**15), 10**15))).scaleb(-2),
        edition=Edition(run=draw(st.sampled_from(Run)), shadow=draw(st.booleans())),
    )


portfolios = st.lists(
    statements(),
    min_size=1,
    max_size=12,
    unique_by=lambda one: (one.site_id, one.verified.connection_id, one.verified.event_id),
)


@given(found=portfolios, data=st.data())
def test_a_sum_is_to_the_cent_and_does_not_hang_on_the_order(
    found: list[SettlementStatement], data: st.DataObject
) -> None:
    whole = add_up(found)
    # Whole numbers of cents and of watt-hours: nothing is lost on the way.
    assert int(whole.amount.scaleb(2)) == sum(int(one.amount.scaleb(2)) for one in found)
    assert int(whole.delivered_kwh.scaleb(3)) == sum(int(one.delivered_kwh.scaleb(3)) for one in found)
    assert whole.amount == whole.amount.quantize(Decimal("0.01"))
    assert sum((amount for _, _, amount in whole.by_site), Decimal(0)) == whole.amount
    assert sum((kwh for _, kwh, _ in whole.by_site), Decimal(0)) == whole.delivered_kwh
    assert [name for name, _, _ in whole.by_site] == sorted({one.site_id for one in found})
    assert {one.statement_id for one in whole.statements} == {one.statement_id for one in found}
    assert add_up(data.draw(st.permutations(found))) == whole


@given(found=portfolios, data=st.data())
def test_parts_of_a_portfolio_add_up_to_it(found: list[SettlementStatement], data: st.DataObject) -> None:
    cut = data.draw(st.integers(0, len(found)))
    parts = [add_up(part) for part in (found[:cut], found[cut:]) if part]
    assert sum((one.amount for one in parts), Decimal(0)) == add_up(found).amount


@given(found=portfolios, data=st.data())
def test_an_event_that_is_there_twice_is_refused(found: list[SettlementStatement], data: st.DataObject) -> None:
    one = data.draw(st.sampled_from(found))
    twice = data.draw(st.permutations([*found, replace(one, statement_id="again", amount=Decimal(0))]))
    with pytest.raises(ValueError, match="are of one event"):
        add_up(twice)


def test_the_smallest_example() -> None:
    other = replace(ONE, site_id="z", amount=Decimal("-0.31"))
    assert add_up([other, ONE]).amount == ONE.amount - Decimal("0.31") == Decimal("-0.01")
