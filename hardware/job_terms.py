"""What was promised to a job, and what may be asked of it: terms by rules over what its scheduler knows of it."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from fnmatch import fnmatchcase

from hardware.job import NO_COSTS, CurvePoint, PauseCosts, PauseMethod

MIN_THROUGHPUT = {"flex0": 1.00, "flex1": 0.90, "flex2": 0.75, "flex3": 0.50}
"""The least mean throughput promised to a tier, of uncapped. Emerald AI, demo of May 2025 (Apache-2.0), Fig2_data."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobTerms:
    """The terms of one job, as ``JobView`` has them. Without a ``curve`` no cap is planned for its devices."""

    tier: str
    weight: float = 1.0
    min_throughput: float
    curve: tuple[CurvePoint, ...] = ()
    max_pause_s: float = 0.0
    method: PauseMethod = PauseMethod.SIGNAL
    pause_costs: PauseCosts = NO_COSTS
    mean_throughput: float | None = None
    deadline_at: datetime | None = None


NOTHING_AGREED = JobTerms(tier="flex0", min_throughput=1.0)
"""A job that no rule speaks of is neither slowed nor paused."""


@dataclass(frozen=True, slots=True, kw_only=True)
class TermsRule:
    """Terms for the jobs whose attributes match every pattern of ``where``.

    Attributes are the scheduler's own words: ``name``, ``partition``, ``qos``, ``account``, ``user``. Patterns are a
    shell's (``train-*``), with upper and lower case told apart; one for an attribute that a job lacks does not match.
    """

    where: Mapping[str, str] = field(default_factory=dict)
    terms: JobTerms


def terms_of(attributes: Mapping[str, str], rules: Sequence[TermsRule]) -> JobTerms:
    """The terms of the first rule that matches, else ``NOTHING_AGREED``."""
    for rule in rules:
        if all(key in attributes and fnmatchcase(attributes[key], pattern) for key, pattern in rule.where.items()):
            return rule.terms
    return NOTHING_AGREED
