"""Two versions of a statement differ line by line, and every line says what moved it."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal
from zoneinfo import ZoneInfo

import pytest

from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.contract import Program
from gateway.domain.measurement import IntervalEnergy
from gateway.domain.settlement import SettlementStatement, settle
from gateway.domain.settlement_terms import PricedInterval, SettlementTerms
from gateway.domain.site_verification import verify_by_sites
from gateway.domain.statement_changes import Change, changes
from gateway.domain.tariff.delivery import IntervalPrice
from gateway.domain.tariff.terms import Part
from gateway.domain.verification import VerificationInputs, verify_event
from tests.unit.gateway.domain import test_site_verification as sites

HOUR = timedelta(hours=1)
START = datetime(2026, 7, 15, 20, tzinfo=UTC)
"""A Wednesday, one o'clock in Phoenix."""
PROGRAM = Program(program_id="peak", price_per_kwh=Decimal("0.50"), currency="USD")


def hour(at: datetime, energy_wh: float) -> IntervalEnergy:
    return IntervalEnergy(starts_at=at, duration_s=3600.0, energy_wh=energy_wh, coverage_fraction=1.0)


def inputs(**changed: object) -> VerificationInputs:
    """Forty days of 1000 Wh an hour, and an event of two hours at 700 Wh."""
    begins_at = START - timedelta(days=40)
    history = tuple(hour(begins_at + index * HOUR, 1000.0) for index in range(40 * 24))
    event = tuple(hour(START + index * HOUR, 700.0) for index in range(2))
    whole = VerificationInputs(
        connection_id="utility",
        event_id="e1",
        revision=0,
        event_start=START,
        event_end=START + 2 * HOUR,
        ramp_start=None,
        rule=shipped_rules()["caiso-10-in-10"],
        timezone=ZoneInfo("America/Phoenix"),
        history=(*history, *event),
        measured=event,
    )
    return replace(whole, **changed)


def statement_of(given: VerificationInputs, program: Program = PROGRAM) -> SettlementStatement:
    verified = verify_event(given, verified_at=START)
    return settle(verified, program=program, site_id="phx-1", statement_id="s", issued_at=START)


def differing(
    after: VerificationInputs, *, program: Program = PROGRAM, before: VerificationInputs | None = None
) -> tuple[Change, ...]:
    first = before or inputs()
    return changes(statement_of(first), statement_of(after, program), first, after)


def test_the_same_inputs_change_nothing() -> None:
    assert differing(inputs()) == ()


def test_a_late_reading_of_the_event_moves_its_own_interval_and_the_totals() -> None:
    late = hour(START, 650.0)
    given = inputs()
    found = differing(
        inputs(measured=(late, given.measured[1]), history=(*given.history[:-2], late, given.history[-1]))
    )
    cause = "readings of 2026-07-15T13:00:00-07:00 of the event came late or were edited"
    of_meter = [(one.figure, one.before, one.after, one.cause) for one in found if one.figure == "measured Wh"]
    assert of_meter == [("measured Wh", "700.0", "650.0", cause)]
    assert [(one.figure, one.before, one.after) for one in found if one.starts_at is None] == [
        ("delivered kWh", "0.600", "0.650"),
        ("amount USD", "0.30", "0.32"),
    ]
    assert {one.starts_at for one in found} == {None, START}


def test_an_edited_day_of_the_look_back_moves_the_baseline_and_is_named() -> None:
    hours = {START - timedelta(days=1), START - timedelta(days=1) + HOUR}
    edited = tuple(hour(one.starts_at, 1100.0) if one.starts_at in hours else one for one in inputs().history)
    found = differing(inputs(history=edited))
    (first, *_) = [one for one in found if one.figure == "baseline Wh"]
    assert (first.before, first.starts_at) == ("1000.0", START)
    assert "readings of 2026-07-14 came late or were edited" in first.cause
    assert not [one for one in found if one.figure == "measured Wh"]


def test_many_days_are_counted() -> None:
    edited = tuple(replace(one, energy_wh=one.energy_wh + 1.0) for one in inputs().history[:-2])
    found = differing(inputs(history=edited))
    assert all("readings of 41 days came late" in one.cause for one in found)


@pytest.mark.parametrize(
    ("changed", "says"),
    [
        ({"revision": 1, "event_end": START + HOUR, "measured": inputs().measured[:1]}, "(revision 0 to 1)"),
        ({"rule": shipped_rules()["meter-before-after"]}, "the rule changed from caiso-10-in-10"),
        (
            {"excluded": ((START - timedelta(days=1), START - timedelta(days=1) + HOUR),)},
            "what is known of other events changed (1)",
        ),
    ],
)
def test_every_change_of_the_inputs_is_named(changed: dict[str, object], says: str) -> None:
    found = differing(inputs(**changed))
    assert found
    assert all(says in one.cause for one in found)


def test_a_level_that_was_declared_anew_and_weather_that_came_are_named() -> None:
    declared = {"rule": shipped_rules()["maximum-base-load"]}
    first = inputs(**declared, declared_w=900.0)
    found = differing(inputs(**declared, declared_w=800.0), before=first)
    assert found
    assert all("the declared level changed" in one.cause for one in found)
    output = tuple(replace(one, energy_wh=10.0) for one in inputs().history)
    more = tuple(replace(one, energy_wh=20.0) if one.starts_at >= START else one for one in output)
    generator = {"rule": shipped_rules()["generator-output"]}
    found = differing(inputs(**generator, generation=more), before=inputs(**generator, generation=output))
    assert found
    assert all("readings of the generator came late" in one.cause for one in found)
    degrees = [10.0 + 5 * (place // 24) % 13 for place in range(70 * 24)]
    weeks = tuple(hour(START + (place - 70 * 24) * HOUR, 1000.0 + 20.0 * one) for place, one in enumerate(degrees))
    regression = {"rule": shipped_rules()["time-of-week-regression"], "history": (*weeks, *inputs().measured)}
    warm = tuple(
        (one.starts_at, degree)
        for one, degree in zip((*weeks, *inputs().measured), [*degrees, 22.0, 22.0], strict=True)
    )
    found = differing(inputs(**regression, temperature_c=warm), before=inputs(**regression))
    assert found
    assert all("temperatures came or were corrected" in one.cause for one in found)


def test_a_price_moves_money_alone() -> None:
    found = differing(inputs(), program=replace(PROGRAM, price_per_kwh=Decimal("0.60")))
    assert [(one.figure, one.before, one.after, one.cause) for one in found] == [
        ("amount USD", "0.30", "0.36", "the price changed"),
        ("price a kWh", "0.50 USD", "0.60 USD", "the price changed"),
        ("energy: delivered energy USD", "0.30", "0.36", "the price changed"),
    ]


def test_an_interval_that_is_gone_reads_empty() -> None:
    found = differing(inputs(measured=inputs().measured[:1]))
    gone = [one for one in found if one.starts_at == START + HOUR]
    assert {one.figure for one in gone} == {"baseline Wh", "measured Wh", "delivered Wh", "coverage", "quality"}
    assert {one.after for one in gone} == {""}


def test_a_revision_that_moves_no_figure_is_a_line_of_its_own() -> None:
    (one,) = differing(inputs(revision=1))
    assert (one.figure, one.before, one.after) == ("revision of the event", "0", "1")
    assert one.cause == "the event was changed (revision 0 to 1)"


def test_a_day_that_is_passed_over_for_another_reason_is_named() -> None:
    # The Friday of the third week back lies beyond the ten days that the rule needs.
    gone = {START - timedelta(days=19) + index * HOUR for index in range(-5, 3)}
    fewer = inputs(history=tuple(one for one in inputs().history if one.starts_at not in gone))
    found = differing(inputs(), before=fewer)
    assert [(one.figure, one.before.split(";")[0], one.after) for one in found] == [
        ("day 2026-06-26 is passed over", "incomplete", "not needed")
    ]
    assert found[0].cause == "readings of 2026-06-26 came late or were edited"


def terms(*, requested_kw: int = 1, committed_kw: int = 2, price: str = "0.30", source: str = "day-ahead"):  # type: ignore[no-untyped-def]
    return SettlementTerms(
        requested_kw=Decimal(requested_kw),
        committed_kw=Decimal(committed_kw),
        awarded_kw=Decimal(min(requested_kw, committed_kw)),
        prices=tuple(
            PricedInterval(starts_at=one.starts_at, price=IntervalPrice(per_kwh=Decimal(price), source=source))
            for one in inputs().measured
        ),
    )


def under(tariff: str, *, capacity: int = 2, **more: object) -> SettlementStatement:
    return settle(
        verify_event(inputs(), verified_at=START),
        program=replace(PROGRAM, tariff=tariff, agreed={Part.CAPACITY: Decimal(capacity)}),
        site_id="phx-1",
        statement_id="s",
        issued_at=START,
        terms=terms(**more),  # type: ignore[arg-type]
    )


@pytest.mark.parametrize(
    ("tariff", "changed", "figures", "cause"),
    [
        (
            "capacity-with-tiers",
            {"requested_kw": 3},
            # Of no worth by itself, and still another figure of the statement.
            {"requested kW", "awarded kW", "performance: ratio of delivered to awarded"},
            "what was committed or asked for changed",
        ),
        ("capacity-with-tiers", {"committed_kw": 3}, {"committed kW"}, "what was committed or asked for changed"),
        (
            "guangdong-response",
            {"source": "intraday"},
            {"price of the interval"},
            "prices of intervals came or changed",
        ),
    ],
)
def test_other_terms_are_lines_also_where_no_amount_moves(
    tariff: str, changed: dict[str, object], figures: set[str], cause: str
) -> None:
    found = changes(under(tariff), under(tariff, **changed), inputs(), inputs())  # type: ignore[arg-type]
    assert {one.figure for one in found} == figures
    assert {one.cause for one in found} == {cause}


def test_a_price_that_was_agreed_is_a_cause() -> None:
    found = changes(under("capacity-with-tiers"), under("capacity-with-tiers", capacity=3), inputs(), inputs())
    assert {one.figure for one in found} == {"capacity: capacity, each kW and event"}
    assert {one.cause for one in found} == {"a price that was agreed changed"}


def test_where_no_input_moved_the_terms_of_the_program_did() -> None:
    one = under("capacity-with-tiers")
    (line,) = changes(one, replace(one, unpriced="give agreed.capacity"), inputs(), inputs())
    assert line.cause == "the terms of the program changed"


def test_a_corrected_report_of_a_site_below_is_a_line_also_where_it_says_the_same() -> None:
    first, second = (
        sites.inputs(sites.site("a", *(sites.report(f"a~{said}", 0, 10, said=20.0 + said) for said in range(count))))
        for count in (1, 2)
    )
    made = [
        settle(
            verify_by_sites(given, verified_at=START), program=PROGRAM, site_id="s", statement_id="s", issued_at=START
        )
        for given in (first, second)
    ]
    (line,) = changes(made[0], made[1], first, second)
    assert (line.figure, line.cause) == ("site a", "reports of a came or were corrected")
    assert "reports a~0" in line.before
    assert "a~1" in line.after
