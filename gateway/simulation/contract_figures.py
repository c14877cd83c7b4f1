"""What a season came to under a contract: what was called, refused, delivered and paid, and what is left of it."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from gateway.domain.contract import Call, Contract, contract_left
from gateway.simulation.figures import EventFigures
from gateway.simulation.play import Played
from gateway.simulation.scenario import Scenario


@dataclass(frozen=True, slots=True, kw_only=True)
class CallFigures:
    """One call that was taken part in. What is left is as of its end; ``None`` is without a bound.

    ``rested_h`` lay between the call before and this one, ``None`` for the first.
    """

    event_id: str
    hours: float
    rested_h: float | None
    calls_left: int | None
    hours_left: float | None
    rests_until: datetime | None
    delivered_w: float


@dataclass(frozen=True, slots=True, kw_only=True)
class ContractFigures:
    """All of it. ``refused`` are calls outside of the contract, each with the reason that the utility was given.

    ``events_met`` delivered the committed watts on their live baseline; ``paid`` is what the statements come to.
    """

    committed_w: float
    events: int
    events_met: int
    events_settled: int
    paid: str
    currency: str
    calls_made: int
    hours_used: float
    rest_s: float
    calls: tuple[CallFigures, ...]
    refused: dict[str, str]


def contract_figures(played: Played, found: Sequence[EventFigures]) -> ContractFigures | None:
    """Against the scenario's contract; ``None`` where it has none."""
    scenario = played.scenario
    if scenario.program.contract is None:
        return None
    contract = scenario.program.contract.contract()
    statements = [one.event.statement for one in found if one.event.statement is not None]
    calls = _calls(scenario, contract, found)
    return ContractFigures(
        committed_w=contract.committed_w,
        events=len(found) + len(played.unanswered) + len(played.refused),
        events_met=sum(one.live_baseline.delivered_w >= contract.committed_w for one in found),
        events_settled=len(statements),
        paid=str(sum((statement.amount for statement in statements), start=0 * scenario.program.price_per_kwh)),
        currency=scenario.program.currency,
        calls_made=len(calls),
        hours_used=sum(call.hours for call in calls),
        rest_s=contract.rest_s,
        calls=calls,
        refused=dict(played.refused),
    )


def _calls(scenario: Scenario, contract: Contract, found: Sequence[EventFigures]) -> tuple[CallFigures, ...]:
    made: list[Call] = []
    figures: list[CallFigures] = []
    for one in sorted(found, key=lambda one: one.event.starts_s):
        call = Call(starts_at=scenario.at(one.event.starts_s), ends_at=scenario.at(one.event.ends_s))
        rested = None if not made or made[-1].ends_at is None else call.starts_at - made[-1].ends_at
        made.append(call)
        left = contract_left(contract, made, scenario.at(one.event.ends_s), scenario.zone)
        figures.append(
            CallFigures(
                event_id=one.event.event_id,
                hours=(one.event.ends_s - one.event.starts_s) / 3600.0,
                rested_h=None if rested is None else rested / timedelta(hours=1),
                calls_left=left.calls_this_season,
                hours_left=left.hours_this_season,
                rests_until=left.rests_until,
                delivered_w=one.live_baseline.delivered_w,
            )
        )
    return tuple(figures)
