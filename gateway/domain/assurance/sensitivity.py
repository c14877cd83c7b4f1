"""The same event under other rules: how much of the result is the rule's."""

from dataclasses import dataclass

from gateway.domain.assurance.inputs import AssuranceInputs, answer, reduction_wh
from gateway.domain.baseline.result import Insufficient
from gateway.domain.baseline.rule import Rule


@dataclass(frozen=True, slots=True, kw_only=True)
class UnderRule:
    """What a rule credited in watt-hours, signed; ``None`` where it cannot answer, and ``missing`` says why."""

    rule: str
    reduction_wh: float | None
    missing: str = ""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sensitivity:
    """The other rules from the least credit to the most, then those that cannot answer.

    ``below`` counts how many of those that answer credit less than the settled rule.
    """

    others: tuple[UnderRule, ...]
    lowest_wh: float | None
    highest_wh: float | None
    below: int


def sensitivity(inputs: AssuranceInputs, settled_wh: float) -> Sensitivity:
    """Ask every other rule about the event; the settled rule itself is passed over."""
    found = [_under(inputs, rule) for rule in inputs.other_rules if rule.rule_id != inputs.rule.rule_id]
    credited = sorted((item.reduction_wh, item.rule) for item in found if item.reduction_wh is not None)
    cannot = [item for item in found if item.reduction_wh is None]
    return Sensitivity(
        others=(*(UnderRule(rule=rule, reduction_wh=credit_wh) for credit_wh, rule in credited), *cannot),
        lowest_wh=credited[0][0] if credited else None,
        highest_wh=credited[-1][0] if credited else None,
        below=sum(credit_wh < settled_wh for credit_wh, _ in credited),
    )


def _under(inputs: AssuranceInputs, rule: Rule) -> UnderRule:
    found = answer(inputs, rule, inputs.event_start, inputs.event_end)
    if isinstance(found, Insufficient):
        return UnderRule(rule=rule.rule_id, reduction_wh=None, missing=found.reason)
    return UnderRule(rule=rule.rule_id, reduction_wh=reduction_wh(found, inputs.event_start, inputs.event_end))
