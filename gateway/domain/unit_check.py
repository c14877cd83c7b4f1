"""Whether imported energy is in the unit that it was taken in: held against what our own readings say of it.

Two meters of one site differ by a hundredth or two. Where they differ by just the factor between two units, power taken
for energy (an interval's mean kW written as its kWh) or a thousand, the unit is wrong and not the meter.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from statistics import median

from gateway.domain.measurement import IntervalEnergy

LEAST_COVERAGE_FRACTION = 0.95
"""Of an interval that our readings cover less nothing is said."""

TOLERANCE_FRACTION = 0.1
"""A ratio so near to the factor between two units is taken for it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Comparison:
    """Imported energy against our own of the same intervals.

    ``compared`` intervals are there of both; ``ratio`` is the median of imported over our own, ``None`` where there is
    none. ``suspicion`` says in words which unit it looks like, ``""`` where it looks right.
    """

    compared: int
    ratio: float | None
    suspicion: str = ""


def compare(imported: Sequence[IntervalEnergy], own: Sequence[IntervalEnergy]) -> Comparison:
    """Hold imported intervals against our own, interval by interval: both in the same order and of the same length."""
    pairs = [
        (theirs, ours)
        for theirs, ours in zip(imported, own, strict=True)
        if ours.coverage_fraction >= LEAST_COVERAGE_FRACTION and ours.energy_wh > 0.0
    ]
    if not pairs:
        return Comparison(compared=0, ratio=None)
    ratio = median(theirs.energy_wh / ours.energy_wh for theirs, ours in pairs)
    hours = median(theirs.duration_s for theirs, _ in pairs) / 3600.0
    suspicion = next((words for factor, words in _factors(hours) if _is_near(ratio, factor)), "")
    return Comparison(compared=len(pairs), ratio=ratio, suspicion=suspicion)


def _factors(hours: float) -> tuple[tuple[float, str], ...]:
    """What energy is multiplied by where a wrong unit is taken, and what the values then look like."""
    found = [
        (1_000.0, "a thousandth of it, such as Wh for kWh"),
        (0.001, "a thousand times it, such as kWh for Wh"),
    ]
    # Of intervals of about an hour power and energy are the same number.
    if not _is_near(hours, 1.0):
        found += [
            (1.0 / hours, "mean power taken for energy, such as kW for kWh"),
            (hours, "energy taken for mean power, such as kWh for kW"),
        ]
    return tuple(found)


def _is_near(ratio: float, factor: float) -> bool:
    return abs(ratio / factor - 1.0) <= TOLERANCE_FRACTION
