from dataclasses import replace
from datetime import UTC, datetime, timedelta
from decimal import Decimal

from gateway.domain.settlement import SettlementStatement
from gateway.domain.verification import CandidateDay, VerifiedInterval, VerifiedReport
from gateway.ledger import Ledger, Topic
from protocols.grid_report import IntervalReport, Receipt, ReportInterval

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)
MINUTE = timedelta(minutes=1)


def a_report(report_id: str = "r1", **changes) -> IntervalReport:
    report = IntervalReport(
        report_id=report_id,
        order_id="o1",
        connection_id="utility",
        resource_id="phx-1",
        created_at=NOON,
        intervals=(
            ReportInterval(starts_at=NOON, duration_s=60.0, power_w=81_000.7, coverage_fraction=1.0),
            ReportInterval(starts_at=NOON + MINUTE, duration_s=60.0, power_w=None, coverage_fraction=0.0),
        ),
    )
    return replace(report, **changes)


def a_receipt(report_id: str = "r1", accepted: bool = True) -> Receipt:
    return Receipt(report_id=report_id, accepted=accepted, received_at=NOON, code="200")


def a_verification(**changes) -> VerifiedReport:
    report = VerifiedReport(
        connection_id="utility",
        event_id="e1",
        revision=1,
        rule="caiso-10-in-10",
        rule_version="1",
        verified_at=NOON,
        intervals=(
            VerifiedInterval(
                starts_at=NOON,
                duration_s=300.0,
                baseline_wh=7500.1,
                measured_wh=7700.0,
                delivered_wh=-199.9,
                coverage_fraction=1.0,
            ),
        ),
        days=(CandidateDay(date="2026-06-30", selected=False, reason="an event day"),),
        adjustment_kind="same-day multiplicative",
        adjustment_raw=1.31,
        adjustment_applied=1.2,
    )
    return replace(report, **changes)


def a_statement(statement_id: str = "s1", **changes) -> SettlementStatement:
    statement = SettlementStatement(
        statement_id=statement_id,
        site_id="phx-1",
        program_id="srp-peak",
        verified=a_verification(),
        price_per_kwh=Decimal("0.10"),
        currency="USD",
        delivered_kwh=Decimal("-0.200"),
        amount=Decimal("-0.02"),
        issued_at=NOON,
        capability_test=False,
        raw_sha256="ab" * 32,
        inputs_sha256="cd" * 32,
        notes=("one interval estimated",),
    )
    return replace(statement, **changes)


async def test_reports_wait_in_the_outbox_oldest_first_until_there_is_a_receipt(ledger: Ledger) -> None:
    for name in ("r2", "r1", "r3"):
        await ledger.queue_report(a_report(name), NOON)
    await ledger.queue_report(a_report("other", connection_id="market"), NOON)

    assert await ledger.outbox("utility") == (a_report("r2"), a_report("r1"), a_report("r3"))
    assert await ledger.outbox("utility", limit=1) == (a_report("r2"),)
    await ledger.record_receipt(a_receipt("r2"))
    await ledger.record_receipt(a_receipt("r3", accepted=False))
    assert await ledger.outbox("utility") == (a_report("r1"),)
    assert await ledger.outbox("market") == (a_report("other", connection_id="market"),)


async def test_the_cursor_moves_with_the_report_and_never_back(ledger: Ledger) -> None:
    assert await ledger.report_cursor("utility", "o1") is None

    await ledger.queue_report(a_report("r1"), NOON + MINUTE)
    await ledger.queue_report(a_report("r2"), NOON + 2 * MINUTE)
    await ledger.queue_report(a_report("r1"), NOON + 9 * MINUTE)
    await ledger.queue_report(a_report("late"), NOON)

    assert await ledger.report_cursor("utility", "o1") == NOON + 2 * MINUTE
    assert await ledger.report_cursor("utility", "o2") is None
    assert len(await ledger.outbox("utility")) == 3


async def test_a_report_that_has_a_receipt_is_not_queued_again(ledger: Ledger) -> None:
    await ledger.queue_report(a_report(), NOON)
    await ledger.record_receipt(a_receipt())

    await ledger.queue_report(a_report(), NOON)

    assert await ledger.outbox("utility") == ()


async def test_a_receipt_for_a_report_that_we_never_sent_is_kept_and_changes_nothing_else(ledger: Ledger) -> None:
    await ledger.queue_report(a_report(), NOON)

    await ledger.record_receipt(a_receipt("stray"))

    assert await ledger.outbox("utility") == (a_report(),)


async def test_the_latest_verification_counts(ledger: Ledger) -> None:
    assert await ledger.verified("utility", "e1") is None
    insufficient = a_verification(intervals=(), adjustment_raw=None, insufficient="2 of 10 days")
    for report in (insufficient, a_verification(), a_verification(event_id="e2", revision=9), insufficient):
        await ledger.record_verified(report)

    assert await ledger.verified("utility", "e1") == a_verification()
    assert await ledger.verified("market", "e1") is None


async def test_statements_come_back_to_the_cent_in_order(ledger: Ledger) -> None:
    for name in ("s2", "s1"):
        await ledger.record_statement(a_statement(name))

    statements = await ledger.statements()

    assert statements == (a_statement("s2"), a_statement("s1"))
    assert [str(amount) for amount in (statements[0].price_per_kwh, statements[0].delivered_kwh)] == ["0.10", "-0.200"]
    assert await ledger.statement("s1") == a_statement("s1")
    assert await ledger.statement("s3") is None


async def test_a_statement_is_kept_as_it_was(ledger: Ledger) -> None:
    await ledger.record_statement(a_statement())
    await ledger.record_statement(a_statement(amount=Decimal("1000.00")))

    assert await ledger.statements() == (a_statement(),)


async def test_reporting_and_settling_wake_their_subscribers_once(ledger: Ledger) -> None:
    reports, statements = ledger.subscribe(Topic.REPORTS), ledger.subscribe(Topic.STATEMENTS)
    verbs = (
        (reports, lambda: ledger.queue_report(a_report(), NOON)),
        (reports, lambda: ledger.record_receipt(a_receipt())),
        (reports, lambda: ledger.record_verified(a_verification())),
        (statements, lambda: ledger.record_verified(a_verification(event_id="e2"))),
        (statements, lambda: ledger.record_statement(a_statement())),
    )
    for wake, verb in verbs:
        wake.clear()
        await verb()
        assert wake.is_set()
        wake.clear()
        await verb()
        assert not wake.is_set()
