"""What ``gridgate statement portfolio`` answers: several statements as one sum, how sure it is, and settled as one."""

import json
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime

from pydantic import TypeAdapter, ValidationError

from gateway.cli.counterparty_file import CounterpartyFileError, read_statement
from gateway.cli.statement_month import sum_in_words
from gateway.domain.assurance.placebo import Placebo
from gateway.domain.assurance.portfolio import PortfolioBound, SiteEvent, portfolio
from gateway.domain.contract import Program
from gateway.domain.settlement import SettlementStatement, delivery_of, tariff_of
from gateway.domain.statement_portfolio import StatementSum, add_up
from gateway.domain.tariff.portfolio import PortfolioStatement, settle_portfolio

_PLACEBO = TypeAdapter(Placebo)


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A statement as it was handed in, with its days without an event where it was printed with its assurance."""

    statement: SettlementStatement
    placebo: Placebo | None


@dataclass(frozen=True, slots=True, kw_only=True)
class PortfolioAnswer:
    """``bound`` is ``None`` where ``unbounded`` says why; ``pooled`` is there where it was asked for."""

    sum: StatementSum
    bound: PortfolioBound | None
    unbounded: str = ""
    pooled: PortfolioStatement | None = None


def read_given(content: bytes) -> Given:
    """A statement as ``gridgate statement show --json`` prints it. Raises ``CounterpartyFileError``."""
    statement = read_statement(content)
    found = json.loads(content.decode("utf-8-sig")).get("assurance")
    if not isinstance(found, dict) or "placebo" not in found:
        return Given(statement=statement, placebo=None)
    try:
        return Given(statement=statement, placebo=_PLACEBO.validate_json(json.dumps(found["placebo"])))
    except ValidationError as cause:
        first = cause.errors()[0]
        place = ".".join(map(str, first["loc"]))
        raise CounterpartyFileError(f"assurance.placebo.{place}: {first['msg']}") from cause


def answer(given: Sequence[Given], pooled_under: Program | None) -> PortfolioAnswer:
    """Raises ``ValueError`` where they do not add up, and ``TariffError`` where they cannot be settled as one."""
    added = add_up([one.statement for one in given])
    without = [one.statement.statement_id for one in given if one.placebo is None]
    return PortfolioAnswer(
        sum=added,
        bound=None if without else portfolio(_by_event(given)),
        unbounded=f"printed without --assurance: {', '.join(without)}" if without else "",
        pooled=None if pooled_under is None else _as_one(given, pooled_under),
    )


def _by_event(given: Sequence[Given]) -> list[list[SiteEvent]]:
    """Statements whose first intervals begin at one instant are of one event, whatever each site calls it."""
    found: dict[datetime, list[SiteEvent]] = {}
    for one in given:
        verified = one.statement.verified
        if one.placebo is not None and verified.intervals:
            site = SiteEvent(
                site_id=one.statement.site_id,
                reduction_wh=sum(interval.delivered_wh for interval in verified.intervals),
                placebo=one.placebo,
            )
            found.setdefault(verified.intervals[0].starts_at, []).append(site)
    return [found[at] for at in sorted(found)]


def _as_one(given: Sequence[Given], program: Program) -> PortfolioStatement:
    sites = {}
    for one in (each.statement for each in given):
        delivery = delivery_of(one.verified, program, one.terms, capability_test=one.capability_test)
        # Each site has a name of its own for the event; whether it is one shows in its intervals.
        sites[one.site_id] = replace(delivery, event_id=given[0].statement.verified.event_id)
    return settle_portfolio(tariff_of(program), sites, pooled=True)


def in_words(found: PortfolioAnswer) -> str:
    """The sum, how sure it is, and what it is worth as one."""
    told, bound = [sum_in_words(found.sum)], found.bound
    unsure = "how sure the sum is cannot be said"
    if bound is None:
        told.append(f"{unsure}: {found.unbounded}")
    elif bound.p50_wh is None or bound.p90_wh is None:
        told.append(f"{unsure}: {bound.days} shared days where {bound.days_needed} are needed")
    else:
        one_of_two, nine_of_ten = bound.p50_wh / 1000, bound.p90_wh / 1000
        told.append(f"at least {one_of_two:.3f} kWh in one of two, {nine_of_ten:.3f} kWh in nine of ten such sums")
    if found.pooled is not None:
        currency = found.pooled.currency
        told.append(f"settled as one: {found.pooled.amount} {currency}")
        told += [f"  {share.site_id}: {share.amount} {currency} ({share.working})" for share in found.pooled.shares]
    return "\n".join(told)
