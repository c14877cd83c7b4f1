"""How much of the event was metered, and how well."""

from dataclasses import dataclass

from gateway.domain.assurance.inputs import AssuranceInputs
from hardware.device import Quality


@dataclass(frozen=True, slots=True, kw_only=True)
class MeterQuality:
    """Share of the event that readings stand for, and how many of its intervals rest on which quality."""

    coverage_fraction: float
    good: int
    estimated: int
    suspect: int


def meter_quality(inputs: AssuranceInputs) -> MeterQuality:
    """Count over the intervals that overlap the event; an interval at its edge counts by its share within."""
    covered_s = 0.0
    counts = dict.fromkeys(Quality, 0)
    for energy in inputs.history:
        shared_s = (min(energy.ends_at, inputs.event_end) - max(energy.starts_at, inputs.event_start)).total_seconds()
        if shared_s > 0.0 and energy.coverage_fraction > 0.0:
            covered_s += shared_s * energy.coverage_fraction
            counts[energy.quality] += 1
    return MeterQuality(
        coverage_fraction=min(1.0, covered_s / (inputs.event_end - inputs.event_start).total_seconds()),
        good=counts[Quality.GOOD],
        estimated=counts[Quality.ESTIMATED],
        suspect=counts[Quality.SUSPECT],
    )
