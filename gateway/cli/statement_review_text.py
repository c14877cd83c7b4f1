"""Versions, differences and reconciliations as people read them."""

from collections.abc import Awaitable, Callable, Sequence
from datetime import datetime

from gateway.domain.reconciliation import CounterpartyStatement, Reconciliation
from gateway.domain.settlement import SettlementStatement
from gateway.domain.statement_changes import Change
from gateway.domain.statement_review import ReviewKind, ReviewRefused
from gateway.domain.statement_versions import VersionLine
from gateway.ledger import Ledger
from gateway.services.reviewing import difference, reconcile_with

SHOWN = 20
"""So many lines of a difference are printed; --json has all of them."""


def two_of_one_event(before_id: str, after_id: str) -> Callable[[Ledger], Awaitable[tuple[Change, ...]]]:
    """A question for the difference of two statements. Raises ``ReviewRefused``."""

    async def asked(ledger: Ledger) -> tuple[Change, ...]:
        before, after = [await _known(ledger, name) for name in (before_id, after_id)]
        if before.verified.event_id != after.verified.event_id:
            raise ReviewRefused(
                f"{before_id} is of event {before.verified.event_id}, {after_id} of {after.verified.event_id}: "
                "they are no versions of one"
            )
        return await difference(ledger, before, after)

    return asked


def reconciling(
    statement_id: str,
    read: Callable[[str], CounterpartyStatement],
    *,
    by: str,
    at: datetime,
    dispute_id: str | None,
) -> Callable[[Ledger], Awaitable[Reconciliation]]:
    """A question that takes in a counterparty's statement; ``read`` gets the id of our event."""

    async def asked(ledger: Ledger) -> Reconciliation:
        theirs = read((await _known(ledger, statement_id)).verified.event_id)
        return await reconcile_with(ledger, statement_id, theirs, by=by, at=at, dispute_id=dispute_id)

    return asked


async def _known(ledger: Ledger, statement_id: str) -> SettlementStatement:
    found = await ledger.statement(statement_id)
    if found is None:
        raise ReviewRefused(f"no statement {statement_id!r} on record; see: gridgate statement list")
    return found


def standing_in_words(statement: SettlementStatement) -> str:
    """Which version it is, in a few words."""
    edition = statement.edition
    shadow = ", a shadow: no data of the revenue meter" if edition.shadow else ""
    shadow += ", its baseline in part by our own meter" if edition.own_baseline else ""
    until = "" if edition.dispute_until is None else f", disputes until {edition.dispute_until:%Y-%m-%d %H:%MZ}"
    before = f", in place of {edition.supersedes}" if edition.supersedes else ""
    return f"version {edition.version} ({edition.run.value}){before}{shadow}{until}"


def versions_in_words(lines: Sequence[VersionLine]) -> str:
    """Oldest first."""
    told: list[str] = []
    for line in lines:
        one = line.statement
        told.append(f"{one.statement_id}  {one.issued_at:%Y-%m-%d %H:%M:%SZ}  {one.delivered_kwh} kWh  {_money(one)}")
        told.append(f"  {standing_in_words(one)}")
        told += [f"  {text}" for text in _changes(line.changes)]
        for review in line.reviews:
            about = f" of {', '.join(review.lines[:5])}" if review.lines else ""
            answers = f" (dispute {review.answers})" if review.kind is ReviewKind.RESOLVED else f" ({review.review_id})"
            told.append(
                f"  {review.kind.value}{about} by {review.by}, {review.at:%Y-%m-%d %H:%MZ}{answers}: {review.reason}"
            )
        told += [f"  open dispute: {name}" for name in line.open_disputes]
        for received in line.received:
            outcome = "agrees" if received.agrees else f"differs in {len(received.differences)} figures"
            told.append(f"  {received.party}'s statement {received.reference} {outcome}")
    return "\n".join(told)


def changes_in_words(found: Sequence[Change]) -> str:
    """One line a figure."""
    return "\n".join(_changes(found)) or "they say the same"


def reconciliation_in_words(found: Reconciliation, dispute_id: str | None) -> str:
    """What agrees and what does not."""
    head = f"{found.statement_id} and {found.party}'s {found.reference}: {found.compared} figures compared"
    if found.agrees:
        return f"{head}, all the same"
    told = [f"{head}, {len(found.differences)} differ"]
    for one in found.differences[:SHOWN]:
        at = "" if one.starts_at is None else f"{one.starts_at:%Y-%m-%d %H:%M:%SZ} "
        told.append(f"  {at}{one.figure}: ours {one.ours or '-'}, theirs {one.theirs or '-'} ({one.reason})")
    told += _rest(len(found.differences))
    told += [f"  disputed: {dispute_id}"] if dispute_id else []
    return "\n".join(told)


def _changes(found: Sequence[Change]) -> list[str]:
    """A line a figure, under the cause that it moved for; each cause once."""
    by_cause: dict[str, list[str]] = {}
    for one in found[:SHOWN]:
        at = "" if one.starts_at is None else f"{one.starts_at:%Y-%m-%d %H:%M:%SZ} "
        line = f"  {at}{one.figure}: {_short(one, one.before)} -> {_short(one, one.after)}"
        by_cause.setdefault(one.cause, []).append(line)
    told = []
    for cause, lines in by_cause.items():
        told += [f"{cause or 'no cause found'}:", *lines]
    return told + _rest(len(found))


def _short(change: Change, value: str) -> str:
    """Energy to a tenth of a watt-hour; --json has all of its digits."""
    return f"{float(value):.1f}" if value and change.figure.endswith(" Wh") else value or "-"


def _rest(count: int) -> list[str]:
    return [f"... and {count - SHOWN} more; --json has all of them"] if count > SHOWN else []


def _money(statement: SettlementStatement) -> str:
    return f"{statement.amount} {statement.currency}"
