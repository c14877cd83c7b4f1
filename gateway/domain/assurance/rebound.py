"""The hours after an event: what came back as power, and what was put off as work."""

import math
from dataclasses import dataclass
from datetime import timedelta

from gateway.domain.assurance.inputs import AssuranceInputs, answer, mean_between_w
from gateway.domain.baseline.result import Baseline

_OVERSHOOT_FRACTION = 0.02
"""Ours: the mean load afterwards counts as an overshoot when it is over the baseline by more than this."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Rebound:
    """Signed figures over ``hours`` after the event.

    ``rebound_wh`` is measured less baseline (positive: energy came back) and ``net_wh`` the event's reduction less it.
    ``of_before_fraction`` is the mean load afterwards as a fraction of the hour before the ramp.
    ``reference`` says what it is held against. Power figures are ``None`` where readings are missing, and
    ``deferred_gpu_h`` (full GPU-hours that jobs went without) where nobody has told.
    """

    hours: float
    reference: str
    rebound_wh: float | None
    net_wh: float | None
    of_baseline_fraction: float | None
    of_before_fraction: float | None
    deferred_gpu_h: float | None
    finding: str


def rebound(inputs: AssuranceInputs, settled_wh: float) -> Rebound:
    """Hold the hours after against the same rule's baseline for an event of so much longer.

    A longer event and not a later one, so that the adjustment window stays where it was and does not fall into the
    event itself. Where the rule cannot say, the load of the hour before the ramp stands in.
    """
    end = inputs.event_end + timedelta(hours=inputs.after_h)
    ramp = inputs.ramp_start or inputs.event_start
    before_w = mean_between_w(inputs.history, ramp - timedelta(hours=1), ramp)
    after_w = mean_between_w(inputs.history, inputs.event_end, end)
    longer = answer(inputs, inputs.rule, inputs.event_start, end)
    reference, expected_w = "meter before", before_w
    if isinstance(longer, Baseline):
        later = [interval for interval in longer.intervals if interval.starts_at >= inputs.event_end]
        if later:
            reference = inputs.rule.rule_id
            expected_w = math.fsum(interval.baseline_w for interval in later) / len(later)
    rebound_wh = None if after_w is None or expected_w is None else (after_w - expected_w) * inputs.after_h
    work = inputs.work
    deferred = None if work is None else math.fsum(job.gpus * job.lost_s for job in work) / 3_600
    over = after_w / expected_w if after_w is not None and expected_w else None
    return Rebound(
        hours=inputs.after_h,
        reference=reference,
        rebound_wh=rebound_wh,
        net_wh=None if rebound_wh is None else settled_wh - rebound_wh,
        of_baseline_fraction=over,
        of_before_fraction=after_w / before_w if after_w is not None and before_w else None,
        deferred_gpu_h=deferred,
        finding=_finding(over, deferred),
    )


def _finding(over: float | None, deferred: float | None) -> str:
    if over is None:
        power = "the hours after the event are not metered well enough to say whether power came back"
    elif over > 1.0 + _OVERSHOOT_FRACTION:
        power = f"power came back: the hours after drew {over - 1.0:.1%} more than the baseline"
    else:
        power = "power did not overshoot"
    if deferred is None:
        return f"{power}; what work was deferred is not known"
    return f"{power}, " + (
        f"{deferred:.1f} GPU-hours of work were deferred" if deferred > 0 else "no work was deferred"
    )
