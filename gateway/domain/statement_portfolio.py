"""Statements of several events and sites added up, to the cent: each event of each site once, by its last version."""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from decimal import Decimal

from gateway.domain.settlement import Run, SettlementStatement


@dataclass(frozen=True, slots=True, kw_only=True)
class Added:
    """One statement in a sum."""

    site_id: str
    event_id: str
    statement_id: str
    run: Run
    shadow: bool
    delivered_kwh: Decimal
    amount: Decimal


@dataclass(frozen=True, slots=True, kw_only=True)
class StatementSum:
    """``amount`` in ``currency`` and ``delivered_kwh`` are the sums of ``statements``, to the last digit.

    ``by_site`` has each site's share; its amounts add up to the whole. ``notes`` say what is not final yet.
    """

    currency: str
    delivered_kwh: Decimal
    amount: Decimal
    by_site: tuple[tuple[str, Decimal, Decimal], ...]
    statements: tuple[Added, ...]
    notes: tuple[str, ...] = ()


def add_up(statements: Sequence[SettlementStatement]) -> StatementSum:
    """Raises ``ValueError`` where there is none, for two currencies, and for two statements of a site's one event."""
    if not statements:
        raise ValueError("nothing to add up: give one statement at the least")
    currencies = sorted({one.currency for one in statements})
    if len(currencies) > 1:
        raise ValueError(f"amounts in {', '.join(currencies)} do not add up: one sum each")
    refuse_two_of_one_event(statements)
    ordered = sorted(statements, key=lambda one: (one.site_id, one.verified.connection_id, one.verified.event_id))
    sites = dict.fromkeys(one.site_id for one in ordered)
    return StatementSum(
        currency=currencies[0],
        delivered_kwh=_sum(one.delivered_kwh for one in ordered),
        amount=_sum(one.amount for one in ordered),
        by_site=tuple(
            (
                site_id,
                _sum(one.delivered_kwh for one in ordered if one.site_id == site_id),
                _sum(one.amount for one in ordered if one.site_id == site_id),
            )
            for site_id in sites
        ),
        statements=tuple(
            Added(
                site_id=one.site_id,
                event_id=one.verified.event_id,
                statement_id=one.statement_id,
                run=one.edition.run,
                shadow=one.edition.shadow,
                delivered_kwh=one.delivered_kwh,
                amount=one.amount,
            )
            for one in ordered
        ),
        notes=tuple(_notes(ordered)),
    )


def refuse_two_of_one_event(statements: Iterable[SettlementStatement]) -> None:
    """Raises ``ValueError`` that names both."""
    seen: dict[tuple[str, str, str], str] = {}
    for one in statements:
        name = (one.site_id, one.verified.connection_id, one.verified.event_id)
        if name in seen:
            raise ValueError(
                f"{seen[name]} and {one.statement_id} are of one event of {one.site_id}: give the last version only"
            )
        seen[name] = one.statement_id


def _sum(values: Iterable[Decimal]) -> Decimal:
    return sum(values, Decimal(0))


def _notes(statements: Sequence[SettlementStatement]) -> Iterable[str]:
    count = len(statements)
    for what, found in (
        ("are not final", [one for one in statements if one.edition.run is not Run.FINAL]),
        ("are shadows: no data of the revenue meter is loaded", [one for one in statements if one.edition.shadow]),
        ("settle nothing, see their notes", [one for one in statements if one.unpriced or one.verified.insufficient]),
    ):
        if found:
            yield f"{len(found)} of {count} statements {what}."
