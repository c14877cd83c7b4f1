"""What a tariff prices beside energy: what was asked, what was committed, and prices that came as signals."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gateway.domain.contract import Contract, Program
from gateway.domain.event import EventRecord
from gateway.domain.settlement import SettlementStatement, check, recompute, settle, tariff_of
from gateway.domain.settlement_terms import NO_TERMS, SettlementTerms, settlement_terms
from gateway.domain.tariff.terms import Part
from gateway.domain.verification import VerifiedInterval, VerifiedReport, verify_event
from protocols.grid import EventInterval, EventStatus, GridEvent, Signal, SignalKind
from tests.unit.gateway.domain.test_statement_changes import PROGRAM as PLAIN
from tests.unit.gateway.domain.test_statement_changes import inputs, statement_of

START = datetime(2026, 7, 1, 12, tzinfo=UTC)
QUARTER_S = 900.0
PROGRAM = Program(
    program_id="peak",
    levels={1: 0.25, 2: 0.5},
    price_per_kwh=Decimal("0.10"),
    currency="USD",
    tariff="capacity-with-tiers",
    agreed={Part.CAPACITY: Decimal(2)},
)


def verified(*delivered_wh: float, baseline_wh: float = 25_000.0) -> VerifiedReport:
    """Quarter hours with a baseline of 100 kW."""
    return VerifiedReport(
        connection_id="utility",
        event_id="e1",
        revision=0,
        rule="r",
        rule_version="1",
        verified_at=START,
        intervals=tuple(
            VerifiedInterval(
                starts_at=START + timedelta(seconds=QUARTER_S * index),
                duration_s=QUARTER_S,
                baseline_wh=baseline_wh,
                measured_wh=baseline_wh - value,
                delivered_wh=value,
                coverage_fraction=1.0,
            )
            for index, value in enumerate(delivered_wh)
        ),
        days=(),
        adjustment_kind="none",
        adjustment_raw=None,
        adjustment_applied=None,
    )


def signal(kind: SignalKind, *values: float, currency: str | None = None, each_s: float | None = QUARTER_S) -> Signal:
    intervals = tuple(
        EventInterval(starts_at=START + timedelta(seconds=(each_s or 0.0) * index), duration_s=each_s, value=value)
        for index, value in enumerate(values)
    )
    return Signal(name=kind.value, kind=kind, intervals=intervals, currency=currency)


def event(*signals: Signal, event_id: str = "e1") -> GridEvent:
    return GridEvent(
        event_id=event_id,
        connection_id="utility",
        program_id="peak",
        revision=0,
        status=EventStatus.ACTIVE,
        created_at=START,
        starts_at=START,
        duration_s=4 * QUARTER_S,
        signals=signals,
    )


def terms_of(given: GridEvent, program: Program = PROGRAM, *others: EventRecord) -> SettlementTerms:
    report = verified(*[10_000.0] * 4)
    return settlement_terms(tariff_of(program), program, given, report.intervals, others)


@pytest.mark.parametrize(
    ("asked", "requested_kw"),
    [
        (signal(SignalKind.ADJUST, -40_000.0, -20_000.0, -20_000.0, 0.0), "20.000"),
        (signal(SignalKind.ADJUST, 40_000.0), "0.000"),
        (signal(SignalKind.LIMIT, 80_000.0, 80_000.0, 120_000.0, 120_000.0), "10.000"),
        (signal(SignalKind.SETPOINT, 70_000.0, each_s=None), "30.000"),
        (signal(SignalKind.FRACTION, 0.2, each_s=None), "20.000"),
        (signal(SignalKind.LEVEL, 1, 2, 1, 0), "25.000"),
        (signal(SignalKind.CAPACITY, 0.5, each_s=None), "50.000"),
        (signal(SignalKind.PRICE, 0.2, each_s=None, currency="USD"), "0.000"),
    ],
)
def test_what_was_asked_is_a_mean_over_the_event_by_the_settlement_baseline(asked: Signal, requested_kw: str) -> None:
    found = terms_of(event(asked), replace(PROGRAM, capacity_w=100_000.0))
    assert str(found.requested_kw) == requested_kw


@pytest.mark.parametrize(
    ("committed_w", "asked_w", "awarded_kw"),
    [
        (None, 40_000.0, "40.000"),
        (30_000.0, 40_000.0, "30.000"),
        (50_000.0, 40_000.0, "40.000"),
        (30_000.0, 0.0, "30.000"),
    ],
)
def test_the_award_is_the_request_up_to_what_was_committed(
    committed_w: float | None, asked_w: float, awarded_kw: str
) -> None:
    contract = None if committed_w is None else Contract(committed_w=committed_w)
    found = terms_of(event(signal(SignalKind.ADJUST, -asked_w, each_s=None)), replace(PROGRAM, contract=contract))
    assert str(found.awarded_kw) == awarded_kw


def test_a_tariff_of_energy_alone_has_no_terms() -> None:
    asked = event(signal(SignalKind.ADJUST, -10_000.0, each_s=None), signal(SignalKind.PRICE, 1.0, currency="USD"))
    assert terms_of(asked, replace(PROGRAM, tariff="flat-energy")) == NO_TERMS


SPOT = replace(PROGRAM, tariff="pjm-economic")


def record(given: GridEvent, minutes: int = 0, *, ended: bool = False) -> EventRecord:
    at = START - timedelta(hours=1) + timedelta(minutes=minutes)
    return EventRecord(event=given, first_received_at=at, received_at=at, ended_at=at if ended else None)


def prices(found: SettlementTerms) -> list[tuple[str, str]]:
    return [(str(one.price.per_kwh), one.price.source) for one in found.prices]


def test_prices_of_the_event_come_before_those_of_others_and_the_newest_of_these_first() -> None:
    own = event(signal(SignalKind.ADJUST, -1.0), signal(SignalKind.PRICE, 0.3, 0.4, currency="USD"))
    older = record(event(signal(SignalKind.PRICE, 1.0, 1.0, 1.0, 1.0, currency="USD"), event_id="day-ahead"))
    newer = record(event(signal(SignalKind.PRICE, 9.0, 9.0, 2.5, currency="USD"), event_id="intraday"), 30)
    ended = record(event(signal(SignalKind.PRICE, 7.0, 7.0, 7.0, 7.0, currency="USD"), event_id="gone"), 50, ended=True)
    assert prices(terms_of(own, SPOT, older, newer, ended, record(own))) == [
        ("0.3", "price of event e1, revision 0"),
        ("0.4", "price of event e1, revision 0"),
        ("2.5", "price of event intraday, revision 0"),
        ("1.0", "price of event day-ahead, revision 0"),
    ]


def test_a_price_that_changes_within_an_interval_is_a_mean_and_one_that_ends_there_is_none() -> None:
    own = event(signal(SignalKind.PRICE, 0.1, 0.2, 0.4, 0.4, 0.4, each_s=600.0, currency="USD"))
    found = prices(terms_of(own, SPOT))
    assert [price for price, _ in found] == ["0.133333", "0.333333", "0.4"]
    assert found[0][1] == "mean over the interval of price of event e1, revision 0"


@pytest.mark.parametrize("value", [1.5e22, -1.5e22, 1e308])
def test_a_price_out_of_all_proportion_is_still_a_mean(value: float) -> None:
    own = event(signal(SignalKind.PRICE, 0.0, value, value, value, value, value, each_s=600.0, currency="USD"))
    assert [Decimal(price) for price, _ in prices(terms_of(own, SPOT))][-1] == Decimal(repr(value))


def test_a_request_out_of_all_proportion_is_bounded() -> None:
    asked = event(signal(SignalKind.ADJUST, -1e308, each_s=None))
    assert terms_of(asked).requested_kw == Decimal("1e12")


def test_prices_in_another_currency_are_none() -> None:
    assert terms_of(event(signal(SignalKind.PRICE, 0.1, currency="EUR", each_s=None)), SPOT).prices == ()


def stated(program: Program, terms: SettlementTerms, *delivered_wh: float) -> SettlementStatement:
    return settle(
        verified(*delivered_wh), program=program, site_id="s", statement_id="s-1", issued_at=START, terms=terms
    )


def test_lines_add_up_and_say_how_they_are_worked_out() -> None:
    terms = SettlementTerms(requested_kw=Decimal(40), awarded_kw=Decimal(40))
    statement = stated(PROGRAM, terms, *[10_000.0] * 4)
    assert statement.lines
    assert sum((line.amount for line in statement.lines), Decimal(0)) == statement.amount
    assert all(line.working for line in statement.lines)
    assert (statement.tariff, statement.tariff_version) == ("capacity-with-tiers", tariff_of(PROGRAM).version)


def test_what_cannot_be_priced_is_said_and_is_no_silent_zero() -> None:
    statement = stated(SPOT, NO_TERMS, *[10_000.0] * 4)
    assert statement.amount == 0
    assert statement.delivered_kwh == Decimal("40.000")
    assert statement.lines == ()
    assert "price" in statement.unpriced
    assert any(note.startswith("Nothing is priced under pjm-economic") for note in statement.notes)


def test_a_statement_of_a_release_with_one_price_still_follows_from_its_inputs() -> None:
    older = replace(statement_of(inputs()), tariff="", tariff_version="", lines=())
    assert check(older, inputs(), PLAIN) is None
    wrong = check(replace(older, amount=Decimal("0.31")), inputs(), PLAIN)
    assert wrong is not None
    assert wrong.figure == "amount"
    found = check(statement_of(inputs()), inputs(), PLAIN, terms=NO_TERMS)
    assert found is None


def test_other_terms_than_the_record_gives_are_found() -> None:
    given = inputs()
    terms = SettlementTerms(requested_kw=Decimal(1), awarded_kw=Decimal(1))
    program = replace(PROGRAM, agreed={Part.CAPACITY: Decimal(2)})
    honest = settle(
        verify_event(given, verified_at=START),
        program=program,
        site_id="s",
        statement_id="s",
        issued_at=START,
        terms=terms,
    )
    assert check(honest, given, program, terms=terms) is None
    found = check(honest, given, program, terms=replace(terms, awarded_kw=Decimal("0.5")))
    assert found is not None
    assert found.figure
    assert recompute(honest, given, program) == honest
