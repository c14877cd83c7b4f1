"""Everything about one event's reduction that a reviewer would ask, in one record."""

from dataclasses import dataclass

from gateway.domain.assurance.certificate import Certificate, certify
from gateway.domain.assurance.gaming import GamingTest, gaming_tests
from gateway.domain.assurance.inputs import AssuranceInputs, answer
from gateway.domain.assurance.placebo import Bound, BoundedInterval, Placebo, bounds, placebo
from gateway.domain.assurance.quality import MeterQuality, meter_quality
from gateway.domain.assurance.rebound import Rebound, rebound
from gateway.domain.assurance.reconcile import Reconciliation, reconcile
from gateway.domain.assurance.sensitivity import Sensitivity, sensitivity
from gateway.domain.baseline.result import Insufficient
from gateway.domain.evidence import fingerprint


@dataclass(frozen=True, slots=True, kw_only=True)
class Assurance:
    """The assessment of one event; ``inputs_sha256`` is over the canonical JSON of its ``AssuranceInputs``.

    ``reduction_wh`` is signed: as settled, or by the rule where nothing is.
    """

    rule: str
    rule_version: str
    reduction_wh: float
    p50: Bound
    p90: Bound
    intervals: tuple[BoundedInterval, ...]
    placebo: Placebo
    certificate: Certificate
    sensitivity: Sensitivity
    rebound: Rebound
    reconciliation: Reconciliation
    gaming: tuple[GamingTest, ...]
    quality: MeterQuality
    inputs_sha256: str


@dataclass(frozen=True, slots=True, kw_only=True)
class NotAssured:
    """Why there is no assessment of a statement, in plain words."""

    reason: str


def assure(inputs: AssuranceInputs) -> Assurance | Insufficient:
    """Assess one event; where the rule itself gives no baseline, that is the answer. Raises as ``evaluate`` does."""
    baseline = answer(inputs, inputs.rule, inputs.event_start, inputs.event_end)
    if isinstance(baseline, Insufficient):
        return baseline
    days = placebo(inputs)
    bounded = bounds(inputs, baseline, days.days)
    settled_wh = bounded.reduction_wh
    return Assurance(
        rule=baseline.rule,
        rule_version=baseline.rule_version,
        reduction_wh=settled_wh,
        p50=bounded.p50,
        p90=bounded.p90,
        intervals=bounded.intervals,
        placebo=days,
        certificate=certify(days.days),
        sensitivity=sensitivity(inputs, settled_wh),
        rebound=rebound(inputs, settled_wh),
        reconciliation=reconcile(inputs),
        gaming=gaming_tests(inputs, baseline, days),
        quality=meter_quality(inputs),
        inputs_sha256=fingerprint(inputs),
    )
