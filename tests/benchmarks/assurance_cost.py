"""Prints what placebo days cost, as a ratio to one evaluation of the rule over the same history.

Sixty days of look-back over a history of 105 days of five minutes, for each kind of rule: at most one evaluation for
each working day is to be expected, and the bound is twice that.
"""

import sys
import time
from datetime import UTC, datetime, timedelta
from random import Random

from gateway.domain.assurance.inputs import AssuranceInputs, answer
from gateway.domain.assurance.placebo import placebo
from gateway.domain.baseline.rule import shipped_rules
from gateway.domain.measurement import IntervalEnergy

START = datetime(2026, 6, 24, 14, tzinfo=UTC)
HISTORY_DAYS = 105
BOUND = 2.0


def history() -> tuple[IntervalEnergy, ...]:
    dice = Random("assurance")
    first = START.replace(hour=0) - timedelta(days=HISTORY_DAYS)
    return tuple(
        IntervalEnergy(
            starts_at=first + timedelta(minutes=5 * n),
            duration_s=300.0,
            energy_wh=dice.gauss(8_000.0, 200.0),
            coverage_fraction=1.0,
        )
        for n in range((HISTORY_DAYS + 1) * 288)
    )


def cost(rule: str, readings: tuple[IntervalEnergy, ...]) -> bool:
    inputs = AssuranceInputs(
        rule=shipped_rules()[rule],
        history=readings,
        event_start=START,
        event_end=START + timedelta(hours=2),
        timezone=UTC,
    )
    began = time.process_time()
    for _ in range(5):
        answer(inputs, inputs.rule, inputs.event_start, inputs.event_end)
    once_s = (time.process_time() - began) / 5
    began = time.process_time()
    days = len(placebo(inputs).days)
    ratio = (time.process_time() - began) / once_s
    kept = ratio <= BOUND * days
    print(
        f"{rule:>22}: {days} placebo days cost {ratio:.1f} evaluations of {len(readings)} intervals; bound "
        f"{BOUND:g} a day: {'kept' if kept else 'BROKEN'}"
    )
    return kept


def main() -> bool:
    readings = history()
    kept = [cost(rule, readings) for rule in ("caiso-10-in-10", "pjm-3-day-types-saa", "meter-before-after")]
    return all(kept)


if __name__ == "__main__":
    sys.exit(0 if main() else 1)
