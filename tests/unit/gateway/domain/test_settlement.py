from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

import pytest

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Program
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.settlement import SettlementStatement, check, recompute, settle
from gateway.domain.verification import VerificationInputs, VerifiedInterval, VerifiedReport, verify_event
from hardware.device import Quality

START = datetime(2025, 5, 3, 16, tzinfo=UTC)
PROGRAM = Program(program_id="srp-peak", price_per_kwh=Decimal("0.75"), currency="USD")


def report(
    *delivered_wh: float, coverage: float = 1.0, quality: Quality = Quality.GOOD, raw: float = 1.0, applied: float = 1.0
) -> VerifiedReport:
    return VerifiedReport(
        connection_id="srp",
        event_id="e-1",
        revision=0,
        rule="some-rule",
        rule_version="7",
        verified_at=START,
        intervals=tuple(
            VerifiedInterval(
                starts_at=START + timedelta(seconds=300 * index),
                duration_s=300.0,
                baseline_wh=value + 10.0,
                measured_wh=10.0,
                delivered_wh=value,
                coverage_fraction=coverage,
                quality=quality,
            )
            for index, value in enumerate(delivered_wh)
        ),
        days=(),
        adjustment_kind="multiplicative",
        adjustment_raw=raw,
        adjustment_applied=applied,
        inputs_sha256="ab" * 32,
    )


def settled(verified: VerifiedReport, program: Program = PROGRAM, **more) -> SettlementStatement:
    return settle(verified, program=program, site_id="phx-1", statement_id="s-1", issued_at=START, **more)


def test_energy_is_summed_with_its_sign_and_priced():
    statement = settled(report(1500.0, -500.0, 250.0))
    assert (statement.delivered_kwh, statement.amount) == (Decimal("1.250"), Decimal("0.94"))
    assert (statement.price_per_kwh, statement.currency, statement.program_id) == (Decimal("0.75"), "USD", "srp-peak")
    assert (statement.statement_id, statement.site_id, statement.notes) == ("s-1", "phx-1", ())


def test_less_than_nothing_was_delivered_and_is_said_so():
    statement = settled(report(-2000.0))
    assert (statement.delivered_kwh, statement.amount) == (Decimal("-2.000"), Decimal("-1.50"))


@pytest.mark.parametrize(
    ("delivered_wh", "kwh"),
    [(0.5, "0.000"), (1.5, "0.002"), (2.5, "0.002"), (1.4999, "0.001"), (-0.4, "0.000"), (1234567.5, "1234.568")],
)
def test_energy_is_rounded_once_half_to_even_without_a_signed_zero(delivered_wh: float, kwh: str):
    assert str(settled(report(delivered_wh)).delivered_kwh) == kwh


def test_rounding_comes_after_the_sum():
    assert settled(report(*[0.4] * 10)).delivered_kwh == Decimal("0.004")


@pytest.mark.parametrize(
    ("price", "amount"), [("0.005", "0.00"), ("0.015", "0.02"), ("0.025", "0.02"), ("-0.1", "-0.10")]
)
def test_money_is_rounded_half_to_even(price: str, amount: str):
    assert str(settled(report(1000.0), replace(PROGRAM, price_per_kwh=Decimal(price))).amount) == amount


def test_the_three_figures_of_a_statement_multiply():
    statement = settled(report(1234.5678), replace(PROGRAM, price_per_kwh=Decimal("123.45")))
    assert statement.delivered_kwh == Decimal("1.235")
    assert statement.amount == Decimal("152.46")  # 1.235 * 123.45 = 152.46075; of 1.2345678 it would be 152.41


def test_without_a_baseline_the_statement_is_of_nothing_and_says_why():
    statement = settled(replace(report(), insufficient="too few days", adjustment_raw=None, adjustment_applied=None))
    assert (statement.delivered_kwh, statement.amount) == (Decimal("0.000"), Decimal("0.00"))
    assert len(statement.notes) == 1
    assert "too few days" in statement.notes[0]


@pytest.mark.parametrize(
    ("verified", "words"),
    [
        (report(1.0, 2.0, coverage=0.94), "2 of 2 intervals are covered"),
        (report(1.0, quality=Quality.SUSPECT), "1 of 1 intervals rest on suspect readings"),
        (report(1.0, quality=Quality.ESTIMATED), "estimated readings"),
        (report(1.0, raw=1.5, applied=1.2), "came to 1.5 and was bounded to 1.2"),
    ],
)
def test_what_a_reader_must_know_is_noted(verified: VerifiedReport, words: str):
    notes = settled(verified).notes
    assert len(notes) == 1
    assert words in notes[0]


@pytest.mark.parametrize("delivered_wh", [1e16, -1e16, 1e40])
def test_an_energy_out_of_all_proportion_is_stated_and_not_priced(delivered_wh: float):
    statement = settled(report(1000.0, delivered_wh))
    assert float(statement.delivered_kwh) == pytest.approx(1.0 + delivered_wh / 1000)
    assert (statement.amount, statement.lines) == (Decimal("0.00"), ())
    assert "at most 1e+15" in statement.unpriced
    assert any(statement.unpriced in note for note in statement.notes)


def test_a_capability_test_is_flagged():
    statement = settled(report(1000.0), capability_test=True)
    assert statement.capability_test
    assert "capability test" in statement.notes[0]


@pytest.mark.parametrize(
    "other",
    [
        {"program": replace(PROGRAM, price_per_kwh=Decimal("0.76"))},
        {"program": replace(PROGRAM, currency="EUR")},
        {"program": replace(PROGRAM, program_id="other")},
        {"capability_test": True},
        {"raw_sha256": "cd" * 32},
        {"verified": replace(report(1000.0), inputs_sha256="ef" * 32)},
    ],
)
def test_the_fingerprint_of_the_inputs_moves_with_each_of_them(other: dict):
    arguments = {"verified": report(1000.0), "program": PROGRAM, **other}
    assert settled(**arguments).inputs_sha256 != settled(report(1000.0)).inputs_sha256


def test_the_fingerprint_of_the_inputs_is_of_inputs_only():
    again = settle(
        report(1000.0), program=PROGRAM, site_id="phx-1", statement_id="s-2", issued_at=START + timedelta(days=1)
    )
    assert again.inputs_sha256 == settled(report(1000.0)).inputs_sha256


def inputs() -> VerificationInputs:
    history = tuple(
        IntervalEnergy(
            starts_at=START + timedelta(minutes=offset),
            duration_s=60.0,
            energy_wh=(100.0 if offset < 0 else 70.0) + offset % 7 / 3,
            coverage_fraction=1.0,
        )
        for offset in range(-15, 45)
    )
    return VerificationInputs(
        connection_id="srp",
        event_id="e-1",
        revision=0,
        event_start=START,
        event_end=START + timedelta(minutes=30),
        ramp_start=None,
        rule=shipped_rules()["meter-before-after"],
        timezone=UTC,
        history=history,
        measured=history[15:45],
    )


def from_inputs() -> SettlementStatement:
    return settled(verify_event(inputs(), verified_at=START))


def test_a_statement_is_found_again_from_its_inputs():
    assert check(from_inputs(), inputs(), PROGRAM) is None
    assert recompute(from_inputs(), inputs(), PROGRAM) == from_inputs()


def forged_interval(statement: SettlementStatement) -> SettlementStatement:
    intervals = list(statement.verified.intervals)
    intervals[3] = replace(intervals[3], measured_wh=intervals[3].measured_wh - 1.0)
    return replace(statement, verified=replace(statement.verified, intervals=tuple(intervals)))


@pytest.mark.parametrize(
    ("forge", "figure"),
    [
        (forged_interval, "verified.intervals[3].measured_wh"),
        (lambda statement: replace(statement, delivered_kwh=Decimal("9.999")), "delivered_kwh"),
        (lambda statement: replace(statement, amount=statement.amount + Decimal("0.01")), "amount"),
        (lambda statement: replace(statement, price_per_kwh=Decimal("0.80")), "price_per_kwh"),
        (lambda statement: replace(statement, site_id="other"), "inputs_sha256"),
        (lambda statement: replace(statement, raw_sha256="ab" * 32), "inputs_sha256"),
        (lambda statement: replace(statement, notes=("all is well",)), "notes (how many)"),
    ],
)
def test_a_figure_that_does_not_follow_from_the_inputs_is_named(forge, figure: str):
    found = check(forge(from_inputs()), inputs(), PROGRAM)
    assert found is not None
    assert found.figure == figure


def test_an_input_that_changed_is_noticed_even_where_no_figure_moves():
    # A reading after the event changes nothing that is paid, and still is not what the statement was made from.
    history = inputs().history
    later = replace(inputs(), history=(*history[:-1], replace(history[-1], energy_wh=1.0)))
    found = check(from_inputs(), later, PROGRAM)
    assert found is not None
    assert found.figure == "verified.inputs_sha256"
