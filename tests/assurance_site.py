"""A synthetic site for tests of an assessment: hourly load of working days, with noise that a seed decides."""

from datetime import UTC, datetime, timedelta
from random import Random

from gateway.domain.assurance.inputs import AssuranceInputs
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.measurement import IntervalEnergy

START = datetime(2026, 6, 24, 14, tzinfo=UTC)  # a Wednesday
END = START + timedelta(hours=2)
DAYS = 60


def site(
    seed: int, *, reduction_w: float = 0.0, raised_w: float = 0.0, raised_from_h: float = -4.0, noise: float = 0.05
) -> list[IntervalEnergy]:
    """``reduction_w`` is taken off in the event, ``raised_w`` put on from ``raised_from_h`` until its start."""
    dice = Random(seed)
    first = START.replace(hour=0) - timedelta(days=DAYS)
    load = []
    for day in range(DAYS + 1):
        level_w = 50_000.0 * dice.gauss(1.0, noise)
        for hour in range(24):
            at = first + timedelta(days=day, hours=hour)
            power_w = level_w * dice.gauss(1.0, noise) + (10_000.0 if 8 <= hour < 18 else 0.0)
            from_start_h = (at - START) / timedelta(hours=1)
            if raised_from_h <= from_start_h < 0:
                power_w += raised_w
            if START <= at < END:
                power_w -= reduction_w
            load.append(IntervalEnergy(starts_at=at, duration_s=3600.0, energy_wh=power_w, coverage_fraction=1.0))
    return load


def asked(history: list[IntervalEnergy], **changed: object) -> AssuranceInputs:
    """An event of two hours under CAISO's ten of ten."""
    plain = {"rule": shipped_rules()["caiso-10-in-10"], "event_start": START, "event_end": END, "timezone": UTC}
    return AssuranceInputs(history=tuple(history), **{**plain, **changed})  # type: ignore[arg-type]
