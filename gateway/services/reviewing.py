"""Reviewing: what people say to statements, what counterparties state, and the statement that is final."""

from dataclasses import replace
from datetime import datetime

from gateway.domain.reconciliation import CounterpartyStatement, ReceivedStatement, Reconciliation, reconcile
from gateway.domain.settlement import SettlementStatement, statement_name
from gateway.domain.statement_changes import Change, changes
from gateway.domain.statement_review import (
    ReviewKind,
    ReviewRefused,
    StatementReview,
    final_edition,
    may_finalise,
    may_review,
    standing,
)
from gateway.domain.statement_versions import VersionLine
from gateway.ledger import Ledger, LogEntry
from gateway.services.stating import newest_statement


async def versions(ledger: Ledger, statement_id: str) -> tuple[VersionLine, ...]:
    """All versions of the event of a statement, oldest first. Raises ``ReviewRefused`` where it is not on record."""
    statement = await _statement(ledger, statement_id)
    verified = statement.verified
    found = await ledger.statements_of(verified.connection_id, verified.event_id)
    reviews = await ledger.reviews()
    lines = []
    for before, one in zip([None, *found], found, strict=False):
        stands = standing(one.statement_id, reviews)
        moved = () if before is None else await difference(ledger, before, one)
        lines.append(
            VersionLine(
                statement=one,
                reviews=tuple(review for review in reviews if review.statement_id == one.statement_id),
                approved_by=stands.approved_by,
                open_disputes=tuple(review.review_id for review in stands.open_disputes),
                received=tuple(
                    reconcile(one, received.statement)
                    for received in await ledger.counterparty_statements(one.statement_id)
                ),
                changes=moved,
            )
        )
    return tuple(lines)


async def difference(ledger: Ledger, before: SettlementStatement, after: SettlementStatement) -> tuple[Change, ...]:
    """What differs between two versions, line by line, each with its cause."""
    inputs = [await ledger.statement_inputs(one.verified.inputs_sha256) for one in (before, after)]
    return changes(before, after, *inputs)


async def review(ledger: Ledger, said: StatementReview) -> None:
    """Put on record what somebody says to a statement. Raises ``ReviewRefused``."""
    statement = await _statement(ledger, said.statement_id)
    may_review(said, statement, await _newest(ledger, statement), await ledger.reviews())
    await ledger.record_review(said)
    await _note(
        ledger, statement, said.at, f"statement {said.kind.value}", f"by {said.by}: {said.reason or 'no reason'}"
    )


async def reconcile_with(
    ledger: Ledger,
    statement_id: str,
    theirs: CounterpartyStatement,
    *,
    by: str,
    at: datetime,
    dispute_id: str | None = None,
) -> Reconciliation:
    """Keep a counterparty's statement and hold it against ours; with a ``dispute_id`` a difference disputes ours.

    Raises ``ReviewRefused``, and ``ValueError`` for a statement of another event; nothing is recorded then.
    """
    statement = await _statement(ledger, statement_id)
    found = reconcile(statement, theirs)
    dispute = None
    if dispute_id is not None and not found.agrees:
        dispute = StatementReview(
            review_id=dispute_id,
            statement_id=statement_id,
            kind=ReviewKind.DISPUTED,
            by=by,
            at=at,
            reason=f"{theirs.party}'s statement {theirs.reference} differs: {_reasons(found)}",
            lines=tuple(_line(one.figure, one.starts_at) for one in found.differences),
        )
        may_review(dispute, statement, await _newest(ledger, statement), await ledger.reviews())
    await ledger.record_counterparty(ReceivedStatement(statement_id=statement_id, statement=theirs, by=by, at=at))
    outcome = "agrees" if found.agrees else f"differs in {len(found.differences)} of {found.compared} figures"
    await _note(ledger, statement, at, "statement reconciled", f"{theirs.party}'s {theirs.reference} {outcome}")
    if dispute is not None:
        await review(ledger, dispute)
    return found


async def finalise(
    ledger: Ledger, statement_id: str, *, by: str, at: datetime, shadow_because: str = ""
) -> SettlementStatement:
    """Issue the final statement, which says what this one says. Raises ``ReviewRefused``."""
    statement = await _statement(ledger, statement_id)
    reviews = await ledger.reviews()
    verified = statement.verified
    may_finalise(
        statement,
        await ledger.statements_of(verified.connection_id, verified.event_id),
        reviews,
        at,
        agreed=await _agreed(ledger, statement),
        shadow_because=shadow_because,
    )
    edition = final_edition(statement)
    final = replace(
        statement,
        statement_id=statement_name(statement.site_id, statement.verified, edition.version),
        issued_at=at,
        edition=edition,
    )
    if not await ledger.record_statement(final):
        raise ReviewRefused("another version was issued this very moment; see: gridgate statement versions")
    approved = ", ".join(standing(statement_id, reviews).approved_by)
    detail = f"{final.statement_id} by {by}, approved by {approved}"
    if shadow_because:
        detail += f"; without data of the revenue meter: {shadow_because}"
    await _note(ledger, statement, at, "statement final", detail)
    return final


async def _agreed(ledger: Ledger, statement: SettlementStatement) -> bool:
    """Whether the counterparty's last statement of the event, against whichever version it came, says the same."""
    verified = statement.verified
    received: list[ReceivedStatement] = []
    for one in await ledger.statements_of(verified.connection_id, verified.event_id):
        received += await ledger.counterparty_statements(one.statement_id)
    if not received:
        return False
    return reconcile(statement, max(received, key=lambda one: one.at).statement).agrees


async def _statement(ledger: Ledger, statement_id: str) -> SettlementStatement:
    found = await ledger.statement(statement_id)
    if found is None:
        raise ReviewRefused(f"no statement {statement_id!r} on record; see: gridgate statement list")
    return found


async def _newest(ledger: Ledger, statement: SettlementStatement) -> SettlementStatement:
    verified = statement.verified
    return await newest_statement(ledger, verified.connection_id, verified.event_id) or statement


async def _note(ledger: Ledger, statement: SettlementStatement, at: datetime, what: str, detail: str) -> None:
    verified = statement.verified
    await ledger.record_log(
        LogEntry(connection_id=verified.connection_id, event_id=verified.event_id, at=at, what=what, detail=detail)
    )


def _reasons(found: Reconciliation) -> str:
    """Each reason once, with how many figures it is of."""
    counted: dict[str, int] = {}
    for one in found.differences:
        counted[one.reason] = counted.get(one.reason, 0) + 1
    return "; ".join(f"{reason} ({count})" for reason, count in counted.items())


def _line(figure: str, starts_at: datetime | None) -> str:
    return figure if starts_at is None else f"{figure} at {starts_at:%Y-%m-%dT%H:%M:%SZ}"
