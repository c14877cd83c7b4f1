"""What was asked adds up however a signal is cut, and prices do not hang on the order of the record."""

from dataclasses import replace
from datetime import timedelta
from decimal import Decimal
from itertools import pairwise

from hypothesis import given
from hypothesis import strategies as st

from gateway.domain.event import EventRecord
from gateway.domain.settlement import tariff_of
from gateway.domain.settlement_terms import settlement_terms
from protocols.grid import EventInterval, GridEvent, Signal, SignalKind
from tests.unit.gateway.domain.test_settlement_terms import PROGRAM, SPOT, START, event, record, terms_of, verified

EVENT_S = 3600
STEP_KW = Decimal("0.001")
KINDS = {
    SignalKind.ADJUST: st.integers(-90_000, 50_000).map(float),
    SignalKind.LIMIT: st.integers(0, 150_000).map(float),
    SignalKind.FRACTION: st.integers(-100, 100).map(lambda hundredth: hundredth / 100),
    SignalKind.LEVEL: st.sampled_from([0.0, 1.0, 2.0]),
}
seconds = st.integers(1, EVENT_S - 1)


def intervals(cuts: list[int], values: list[float]) -> tuple[EventInterval, ...]:
    return tuple(
        EventInterval(starts_at=START + timedelta(seconds=begin), duration_s=float(end - begin), value=value)
        for (begin, end), value in zip(pairwise(cuts), values, strict=True)
    )


@st.composite
def asked(draw: st.DrawFn) -> Signal:
    """A signal over the whole event, in intervals of any length."""
    kind = draw(st.sampled_from(sorted(KINDS)))
    cuts = [0, *sorted(draw(st.sets(seconds, max_size=5))), EVENT_S]
    values = draw(st.lists(KINDS[kind], min_size=len(cuts) - 1, max_size=len(cuts) - 1))
    return Signal(name="s", kind=kind, intervals=intervals(cuts, values))


def cut(signal: Signal, at_s: set[int]) -> Signal:
    """The same, cut at some seconds more."""
    pieces = []
    for one in signal.intervals:
        begin = int((one.starts_at - START).total_seconds())
        end = begin + int(one.duration_s or 0)
        cuts = [begin, *sorted(at for at in at_s if begin < at < end), end]
        pieces += intervals(cuts, [one.value] * (len(cuts) - 1))
    return Signal(name=signal.name, kind=signal.kind, intervals=tuple(pieces))


def requested_kw(signal: Signal) -> Decimal:
    return terms_of(event(signal)).requested_kw


@given(signal=asked(), at_s=st.sets(seconds, max_size=8))
def test_cutting_a_signal_changes_nothing_that_was_asked(signal: Signal, at_s: set[int]) -> None:
    # A half of the last digit may go either way, since sums of floats differ in their last bit.
    assert abs(requested_kw(cut(signal, at_s)) - requested_kw(signal)) <= STEP_KW


@given(signal=asked())
def test_what_was_asked_is_the_sum_of_what_each_interval_asked(signal: Signal) -> None:
    parts = [requested_kw(Signal(name=signal.name, kind=signal.kind, intervals=(one,))) for one in signal.intervals]
    assert abs(sum(parts, Decimal(0)) - requested_kw(signal)) <= STEP_KW * len(parts)


def test_adding_up_by_example() -> None:
    halves = Signal(name="s", kind=SignalKind.ADJUST, intervals=intervals([0, 1800, 3600], [-40_000.0, -20_000.0]))
    assert requested_kw(halves) == Decimal(30)


@given(signal=asked(), minutes=st.permutations(range(5)))
def test_the_award_does_not_hang_on_other_events(signal: Signal, minutes: list[int]) -> None:
    others = [record(event(signal, event_id=f"o{minute}"), minute) for minute in minutes]
    assert terms_of(event(signal), PROGRAM, *others) == terms_of(event(signal))


@st.composite
def priced(draw: st.DrawFn, event_id: str) -> GridEvent:
    """An event with prices for a run of the event's quarter hours."""
    first = draw(st.integers(0, 3))
    values = draw(st.lists(st.integers(-50, 400), min_size=1, max_size=4 - first))
    cuts = [900 * (first + index) for index in range(len(values) + 1)]
    found = intervals(cuts, [value / 100 for value in values])
    currency = draw(st.sampled_from(["USD", "USD", "EUR"]))
    return event(Signal(name="price", kind=SignalKind.PRICE, intervals=found, currency=currency), event_id=event_id)


@st.composite
def on_record(draw: st.DrawFn) -> list[EventRecord]:
    minutes = draw(st.lists(st.integers(0, 50), max_size=5))
    return [
        record(draw(priced(f"p{index}")), minute, ended=draw(st.sampled_from([False, False, True])))
        for index, minute in enumerate(minutes)
    ]


def first_price(own: GridEvent, others: list[EventRecord], index: int) -> Decimal | None:
    """By hand: the event's own price of a quarter hour, else that of the newest event that has one."""
    at = START + timedelta(seconds=900 * index)
    alive = [one for one in others if one.ended_at is None]
    newest = sorted(alive, key=lambda one: (one.first_received_at, one.event.event_id), reverse=True)
    for given_event in (own, *(one.event for one in newest)):
        for signal in given_event.signals:
            for one in signal.intervals:
                if one.starts_at == at and signal.currency == "USD":
                    return Decimal(repr(one.value))
    return None


@given(own=priced("e1"), others=on_record(), data=st.data())
def test_prices_are_the_newest_events_in_any_order_of_the_record(
    own: GridEvent, others: list[EventRecord], data: st.DataObject
) -> None:
    report = verified(*[10_000.0] * 4)
    shuffled = data.draw(st.permutations([*others, record(own)]))
    found = settlement_terms(tariff_of(SPOT), SPOT, own, report.intervals, shuffled)
    assert found == settlement_terms(tariff_of(SPOT), SPOT, own, report.intervals, others)
    prices = {one.starts_at: one.price.per_kwh for one in found.prices}
    for index in range(4):
        assert prices.get(START + timedelta(seconds=900 * index)) == first_price(own, others, index)


@given(
    kind=st.sampled_from([SignalKind.ADJUST, SignalKind.PRICE]),
    values=st.lists(st.floats(allow_nan=True, allow_infinity=True), min_size=6, max_size=6),
    tariff=st.sampled_from(["capacity-with-tiers", "pjm-economic", "guangdong-response"]),
)
def test_no_value_of_a_signal_ends_the_settlement(kind: SignalKind, values: list[float], tariff: str) -> None:
    given_event = event(
        Signal(name="s", kind=kind, intervals=intervals([600 * index for index in range(7)], values), currency="USD")
    )
    program = replace(PROGRAM, tariff=tariff)
    found = terms_of(given_event, program)
    assert found.requested_kw >= 0
    assert all(one.price.per_kwh.is_finite() for one in found.prices)
