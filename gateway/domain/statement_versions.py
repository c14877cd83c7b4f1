"""The versions of an event's statement, with what was said to each and what changed."""

from dataclasses import dataclass

from gateway.domain.reconciliation import Reconciliation
from gateway.domain.settlement import SettlementStatement
from gateway.domain.statement_changes import Change
from gateway.domain.statement_review import StatementReview


@dataclass(frozen=True, slots=True, kw_only=True)
class VersionLine:
    """One version of an event's statement, what was said to it, and what changed from the one before."""

    statement: SettlementStatement
    reviews: tuple[StatementReview, ...]
    approved_by: tuple[str, ...]
    open_disputes: tuple[str, ...]
    received: tuple[Reconciliation, ...]
    changes: tuple[Change, ...] = ()
