"""What people say to a statement: approvals, disputes and what became of them, and when one may be made final."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum

from gateway.domain.settlement import Edition, Run, SettlementStatement


class ReviewRefused(ValueError):
    """What was asked of a statement is not possible; the text says why and what to do."""


class ReviewKind(StrEnum):
    """What was said."""

    APPROVED = "approved"
    DISPUTED = "disputed"
    RESOLVED = "resolved"
    """A dispute is answered; ``answers`` names it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementReview:
    """One word of one person. ``lines`` name the figures that a dispute is about, empty for the whole of it."""

    review_id: str
    statement_id: str
    kind: ReviewKind
    by: str
    at: datetime
    reason: str = ""
    lines: tuple[str, ...] = ()
    answers: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How a statement stands with those who reviewed it."""

    approved_by: tuple[str, ...] = ()
    open_disputes: tuple[StatementReview, ...] = ()


def standing(statement_id: str, reviews: Iterable[StatementReview]) -> Standing:
    """Of one statement. A dispute is open until it is resolved."""
    ours = [one for one in reviews if one.statement_id == statement_id]
    answered = {one.answers for one in ours if one.kind is ReviewKind.RESOLVED}
    return Standing(
        approved_by=tuple(dict.fromkeys(one.by for one in ours if one.kind is ReviewKind.APPROVED)),
        open_disputes=tuple(one for one in ours if one.kind is ReviewKind.DISPUTED and one.review_id not in answered),
    )


def final_edition(statement: SettlementStatement) -> Edition:
    """The edition of the final statement that says what this one says."""
    return Edition(
        version=statement.edition.version + 1,
        run=Run.FINAL,
        supersedes=statement.statement_id,
        shadow=statement.edition.shadow,
        own_baseline=statement.edition.own_baseline,
    )


def refuse_superseded(statement: SettlementStatement, newest: SettlementStatement) -> None:
    """Raises ``ReviewRefused`` for a version that another one has replaced."""
    if newest.statement_id != statement.statement_id:
        raise ReviewRefused(f"it is superseded by {newest.statement_id}: take that one")


def may_review(
    review: StatementReview,
    statement: SettlementStatement,
    newest: SettlementStatement,
    reviews: Sequence[StatementReview],
) -> None:
    """Whether somebody may say this to a statement. Raises ``ReviewRefused``."""
    if review.kind is ReviewKind.RESOLVED:
        if review.answers not in {one.review_id for one in standing(statement.statement_id, reviews).open_disputes}:
            raise ReviewRefused(f"it has no open dispute {review.answers!r}; see: gridgate statement versions")
        return
    refuse_superseded(statement, newest)
    if review.kind is ReviewKind.DISPUTED:
        until = statement.edition.dispute_until
        if not review.reason.strip():
            raise ReviewRefused("a dispute needs a reason")
        if statement.edition.run is Run.FINAL:
            raise ReviewRefused("it is final: nothing is disputed any more")
        if until is not None and review.at > until:
            raise ReviewRefused(f"it could be disputed until {until:%Y-%m-%d %H:%M}Z")


def may_finalise(
    statement: SettlementStatement,
    versions: Sequence[SettlementStatement],
    reviews: Sequence[StatementReview],
    at: datetime,
    *,
    agreed: bool = False,
    shadow_because: str = "",
) -> None:
    """Whether a statement may be made final.

    It is the newest of the event's ``versions``, approved, and no shadow (or ``shadow_because`` says why there will be
    no data of a revenue meter); no dispute of any version is open; and its time for disputes is over, or (``agreed``)
    the counterparty's own statement says the same. Raises ``ReviewRefused`` with everything that is missing.
    """
    refuse_superseded(statement, max(versions, key=lambda one: one.edition.version, default=statement))
    if statement.edition.run is Run.FINAL:
        raise ReviewRefused("it is final already")
    missing = []
    if statement.unpriced or statement.verified.insufficient is not None:
        missing.append("it settles nothing yet, see its notes")
    if statement.edition.shadow and not shadow_because.strip():
        missing.append("it is a shadow: import the revenue meter's data first (gridgate meter import)")
    if not standing(statement.statement_id, reviews).approved_by:
        missing.append("nobody has approved it (gridgate statement approve)")
    for one in versions:
        of_it = "" if one.statement_id == statement.statement_id else f" against {one.statement_id}"
        missing += [
            f"dispute {dispute.review_id} by {dispute.by}{of_it} is open"
            for dispute in standing(one.statement_id, reviews).open_disputes
        ]
    until = statement.edition.dispute_until
    if not agreed and until is not None and at < until:
        missing.append(
            f"it may be disputed until {until:%Y-%m-%d %H:%M}Z, and no statement of the counterparty agrees with it"
        )
    if missing:
        raise ReviewRefused("; ".join(missing))
