"""A statement as ``gridgate statement`` finds it in the record, computes it again and tells it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from functools import partial

from gateway.app import assurance_sources, check_signature, decode_message, product_version, recheck
from gateway.bundle_file import BundleFile
from gateway.bundle_verify import verify
from gateway.bundling import HeadTooOld, NotBundled, make_bundle
from gateway.cli.evidence_asked import NotSigned, head_signed
from gateway.cli.statement_review_text import standing_in_words
from gateway.config import Settings
from gateway.domain.assurance.assure import Assurance, NotAssured
from gateway.domain.baseline.rule import shipped_sheets
from gateway.domain.report.assured import range_words, verdict_words
from gateway.domain.report.document import MINUS
from gateway.domain.settlement import SettlementStatement
from gateway.domain.tariff.sheet import shipped_tariff_sheets
from gateway.ledger import Ledger
from gateway.services.assuring import assurance_of
from gateway.stages import Record


async def all_statements(ledger: Ledger) -> tuple[SettlementStatement, ...]:
    """Every statement on record."""
    return await ledger.statements()


def one_statement(statement_id: str) -> Callable[[Ledger], Awaitable[SettlementStatement | None]]:
    """A question for one statement; answered with ``None`` where there is none."""

    async def asked(ledger: Ledger) -> SettlementStatement | None:
        return await ledger.statement(statement_id)

    return asked


def difference(statement: SettlementStatement, settings: Settings) -> Callable[[Ledger], Awaitable[str | None]]:
    """A question for the first figure that does not follow from raw readings and signals; ``None`` where all do."""

    async def asked(ledger: Ledger) -> str | None:
        return await recheck(ledger, settings, statement)

    return asked


def assured(
    statement: SettlementStatement, settings: Settings
) -> Callable[[Ledger], Awaitable[Assurance | NotAssured]]:
    """A question for how far a statement can be trusted."""

    async def asked(ledger: Ledger) -> Assurance | NotAssured:
        return await assurance_of(assurance_sources(ledger, settings), statement)

    return asked


@dataclass(frozen=True, slots=True, kw_only=True)
class Bundled:
    """A bundle, what does not hold in it, and what of note was done for it."""

    bundle: BundleFile
    faults: tuple[str, ...]
    notes: tuple[str, ...]


def bundle_of(statement_id: str, settings: Settings) -> Callable[[Record], Awaitable[Bundled]]:
    """A question for the bundle of a statement, under a new head where the last one is too old for it.

    Raises ``NotBundled``.
    """

    async def asked(record: Record) -> Bundled:
        statement = await record.ledger.statement(statement_id)
        if statement is None:
            raise NotBundled("no such statement on record; see: gridgate statement list")
        program = settings.programs().get(statement.program_id)
        if program is None:
            raise NotBundled(f"program {statement.program_id!r} is no longer declared")
        make = partial(
            make_bundle,
            record.ledger,
            record.evidence,
            statement,
            site=settings.site.site(),
            program=program,
            sheet=shipped_sheets()[statement.verified.rule],
            tariff_sheet=shipped_tariff_sheets()[program.tariff],
            product_version=product_version(),
        )
        notes: tuple[str, ...] = ()
        try:
            made = await make()
        except HeadTooOld as cause:
            notes = await _new_head(record, settings, cause)
            made = await make()
        found = await verify(made, decode=decode_message, check_signature=check_signature)
        faults = tuple(f"{one.name}: {fault}" for one in found.checks for fault in one.faults)
        return Bundled(bundle=made, faults=faults, notes=notes)

    return asked


def assurance_in_words(found: Assurance | NotAssured) -> str:
    """Range, verdict and what came after, in three lines."""
    if isinstance(found, NotAssured):
        return f"  how sure: cannot be said, {found.reason}"
    certificate = found.certificate
    accuracy = (
        ""
        if certificate.rrmse_fraction is None or certificate.bias_fraction is None
        else f" (on {certificate.days} days without an event: RRMSE {certificate.rrmse_fraction:.1%},"
        f" bias {certificate.bias_fraction:+.1%})"
    )
    return "\n".join(
        [
            f"  how sure: {range_words(found).replace(MINUS, '-')}{accuracy}",
            f"  tests for gaming: {verdict_words(found)}",
            f"  in the {found.rebound.hours:g} hours after: {found.rebound.finding}",
        ]
    )


async def _new_head(record: Record, settings: Settings, reason: HeadTooOld) -> tuple[str, ...]:
    """Sign a head, and say so. Raises ``NotBundled`` where the key is not at hand, or there can be no head."""
    try:
        head = await head_signed(record.evidence, settings)
    except NotSigned as cause:
        raise NotBundled(
            f"{reason}, and no head is made here: {cause}. On its host run gridgate evidence head --config FILE, "
            "then ask again"
        ) from cause
    made = head.signed.head
    told = (
        f"{reason}: a head of {made.made_at:%Y-%m-%d %H:%M:%S}Z over {made.size} entries was signed for it, and given "
        f"to {', '.join(head.given_to) or 'nobody, since nobody is declared under [evidence]'}"
    )
    return (told, head.fault) if head.fault else (told,)


def listing(statements: Sequence[SettlementStatement]) -> str:
    """One line a statement."""
    if not statements:
        return "no statements on record"
    after = {item.edition.supersedes: item.statement_id for item in statements}
    return "\n".join(
        f"{item.statement_id}  {item.verified.event_id}  {item.delivered_kwh} kWh  {item.amount} {item.currency}"
        f"  by {item.verified.rule}  {item.edition.run.value}{', shadow' if item.edition.shadow else ''}"
        + (f", superseded by {after[item.statement_id]}" if item.statement_id in after else "")
        for item in statements
    )


def in_words(item: SettlementStatement) -> str:
    """A statement as an auditor reads it, interval by interval."""
    verified = item.verified
    lines = [
        (
            f"Statement {item.statement_id} for event {verified.event_id} (revision {verified.revision}),"
            f" program {item.program_id}, site {item.site_id}"
        ),
        f"  baseline rule {verified.rule} {verified.rule_version}, issued {item.issued_at:%Y-%m-%d %H:%M:%SZ}",
        f"  {standing_in_words(item)}",
    ]
    if verified.adjustment_raw is not None:
        lines.append(
            f"  adjustment {verified.adjustment_kind}: raw {verified.adjustment_raw:.6f},"
            f" applied {verified.adjustment_applied:.6f}"
        )
    lines += [f"  {day.date} {'taken' if day.selected else 'passed'}: {day.reason}" for day in verified.days]
    lines += [
        f"  site {part.party}: {part.delivered_wh / 1000:.3f} of {part.baseline_wh / 1000:.3f} kWh delivered,"
        f" {part.coverage_fraction:.1%} covered, from {len(part.report_ids)} reports"
        + (f" ({part.reason})" if part.reason else "")
        for part in verified.sites
    ]
    lines.append("  interval              baseline kWh  measured kWh  delivered kWh  coverage")
    lines += [
        f"  {row.starts_at:%Y-%m-%d %H:%M:%SZ}  {row.baseline_wh / 1000:12.3f}  {row.measured_wh / 1000:12.3f}"
        f"  {row.delivered_wh / 1000:13.3f}  {row.coverage_fraction:8.1%}"
        for row in verified.intervals
    ]
    lines += [
        f"  {line.part.value}: {line.what}  {line.amount} {item.currency}\n    {line.working}" for line in item.lines
    ]
    under = f" under {item.tariff} {item.tariff_version}" if item.tariff else ""
    lines.append(f"  delivered {item.delivered_kwh} kWh{under}: {item.amount} {item.currency}")
    return "\n".join(lines + [f"  note: {note}" for note in item.notes])
