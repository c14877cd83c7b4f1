"""Who may say what to a statement, when it becomes final, and sums of statements."""

from dataclasses import replace
from datetime import datetime, timedelta
from decimal import Decimal

import pytest

from gateway.domain.settlement import Edition, Run, SettlementStatement
from gateway.domain.statement_portfolio import add_up
from gateway.domain.statement_review import (
    ReviewKind,
    ReviewRefused,
    StatementReview,
    final_edition,
    may_finalise,
    may_review,
    standing,
)
from tests.unit.gateway.domain.test_statement_changes import START, inputs, statement_of

UNTIL = START + timedelta(days=60)
GOOD = replace(statement_of(inputs()), edition=Edition(shadow=False, dispute_until=UNTIL))
LATER = replace(
    GOOD, statement_id="s-v2", edition=Edition(version=2, run=Run.RECALCULATED, supersedes="s", shadow=False)
)


def said(kind: ReviewKind, *, at: datetime = START, **more: str) -> StatementReview:
    return StatementReview(review_id=f"{kind.value}-1", statement_id="s", kind=kind, by="Ann", at=at, **more)


APPROVED = said(ReviewKind.APPROVED)
DISPUTED = said(ReviewKind.DISPUTED, reason="the meter was away")
RESOLVED = said(ReviewKind.RESOLVED, answers="disputed-1")


def test_a_dispute_is_open_until_it_is_answered() -> None:
    assert standing("s", [APPROVED, DISPUTED]).open_disputes == (DISPUTED,)
    assert standing("s", [APPROVED, DISPUTED, RESOLVED]).open_disputes == ()
    assert standing("s", [APPROVED]).approved_by == ("Ann",)
    assert standing("another", [APPROVED, DISPUTED]) == standing("another", [])


@pytest.mark.parametrize(
    ("review", "statement", "newest", "why"),
    [
        (replace(DISPUTED, reason=" "), GOOD, GOOD, "needs a reason"),
        (replace(DISPUTED, at=UNTIL + timedelta(seconds=1)), GOOD, GOOD, "could be disputed until 2026-09-13 20:00Z"),
        (DISPUTED, replace(GOOD, edition=final_edition(GOOD)), replace(GOOD, edition=final_edition(GOOD)), "is final"),
        (APPROVED, GOOD, LATER, "superseded by s-v2"),
        (RESOLVED, GOOD, GOOD, "no open dispute 'disputed-1'"),
    ],
)
def test_what_may_not_be_said_is_refused_with_the_reason(
    review: StatementReview, statement: SettlementStatement, newest: SettlementStatement, why: str
) -> None:
    with pytest.raises(ReviewRefused, match=why):
        may_review(review, statement, newest, [])


def test_what_may_be_said() -> None:
    may_review(APPROVED, GOOD, GOOD, [])
    may_review(replace(DISPUTED, at=UNTIL), GOOD, GOOD, [])
    may_review(RESOLVED, GOOD, LATER, [DISPUTED])


def test_everything_that_is_missing_for_a_final_statement_is_said_at_once() -> None:
    shadow = replace(GOOD, edition=replace(GOOD.edition, shadow=True), unpriced="no price")
    with pytest.raises(ReviewRefused) as found:
        may_finalise(shadow, [shadow], [DISPUTED], START)
    assert str(found.value).split("; ") == [
        "it settles nothing yet, see its notes",
        "it is a shadow: import the revenue meter's data first (gridgate meter import)",
        "nobody has approved it (gridgate statement approve)",
        "dispute disputed-1 by Ann is open",
        "it may be disputed until 2026-09-13 20:00Z, and no statement of the counterparty agrees with it",
    ]


def test_a_statement_becomes_final_once_its_time_is_over_or_the_counterparty_agrees() -> None:
    may_finalise(GOOD, [GOOD], [APPROVED], UNTIL)
    may_finalise(GOOD, [GOOD], [APPROVED], START, agreed=True)
    shadow = replace(GOOD, edition=replace(GOOD.edition, shadow=True))
    may_finalise(shadow, [shadow], [APPROVED], UNTIL, shadow_because="the meter burnt")
    with pytest.raises(ReviewRefused, match="superseded by s-v2"):
        may_finalise(GOOD, [GOOD, LATER], [APPROVED], UNTIL)
    final = replace(GOOD, edition=final_edition(GOOD))
    assert (final.edition.version, final.edition.supersedes) == (2, "s")
    with pytest.raises(ReviewRefused, match="final already"):
        may_finalise(final, [GOOD, final], [APPROVED], UNTIL)


def test_an_open_dispute_of_an_earlier_version_holds_back_the_final_one() -> None:
    approved = replace(APPROVED, statement_id="s-v2")
    with pytest.raises(ReviewRefused, match=r"^dispute disputed-1 by Ann against s is open$"):
        may_finalise(LATER, [GOOD, LATER], [approved, DISPUTED], START)
    may_finalise(LATER, [GOOD, LATER], [approved, DISPUTED, RESOLVED], START)


def at_site(site_id: str, amount: str, event_id: str = "e1", **changed: object) -> SettlementStatement:
    return replace(
        GOOD,
        site_id=site_id,
        statement_id=f"{site_id}-{event_id}",
        amount=Decimal(amount),
        verified=replace(GOOD.verified, event_id=event_id),
        **changed,
    )


def test_statements_add_up_to_the_cent_by_site_and_as_a_whole() -> None:
    found = add_up([at_site("b", "0.10"), at_site("a", "0.20"), at_site("a", "-0.05", "e2")])
    assert (found.amount, found.delivered_kwh) == (Decimal("0.25"), Decimal("1.800"))
    assert found.by_site == (("a", Decimal("1.200"), Decimal("0.15")), ("b", Decimal("0.600"), Decimal("0.10")))
    assert sum((amount for *_, amount in found.by_site), Decimal(0)) == found.amount
    assert [one.statement_id for one in found.statements] == ["a-e1", "a-e2", "b-e1"]
    assert found.notes == ("3 of 3 statements are not final.",)


def test_what_does_not_add_up_is_refused() -> None:
    with pytest.raises(ValueError, match="amounts in EUR, USD"):
        add_up([at_site("a", "1"), at_site("b", "1", currency="EUR")])
    with pytest.raises(ValueError, match="a-e1 and second are of one event of a"):
        add_up([at_site("a", "1"), replace(at_site("a", "1"), statement_id="second")])
    with pytest.raises(ValueError, match="nothing to add up"):
        add_up([])


def test_shadows_and_what_settles_nothing_are_said() -> None:
    shadow = at_site("a", "1", edition=Edition(), unpriced="no price")
    assert add_up([shadow, at_site("b", "1", edition=final_edition(GOOD))]).notes == (
        "1 of 2 statements are not final.",
        "1 of 2 statements are shadows: no data of the revenue meter is loaded.",
        "1 of 2 statements settle nothing, see their notes.",
    )
