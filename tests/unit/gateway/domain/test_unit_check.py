"""A wrong unit shows as the very factor between two units, and two meters that merely differ do not."""

from datetime import UTC, datetime, timedelta

import pytest

from gateway.domain.measurement import IntervalEnergy
from gateway.domain.unit_check import compare

NOON = datetime(2026, 7, 1, 12, tzinfo=UTC)


def energies(*values_wh: float, minutes: float = 15, coverage_fraction: float = 1.0) -> list[IntervalEnergy]:
    return [
        IntervalEnergy(
            starts_at=NOON + timedelta(minutes=minutes * index),
            duration_s=60 * minutes,
            energy_wh=value_wh,
            coverage_fraction=coverage_fraction,
        )
        for index, value_wh in enumerate(values_wh)
    ]


@pytest.mark.parametrize(
    ("ratio", "minutes", "suspicion"),
    [
        (1.01, 15, ""),
        (0.97, 15, ""),
        (2.0, 15, ""),
        (4.05, 15, "mean power taken for energy, such as kW for kWh"),
        (0.2475, 15, "energy taken for mean power, such as kWh for kW"),
        (2.0, 30, "mean power taken for energy, such as kW for kWh"),
        (12.0, 5, "mean power taken for energy, such as kW for kWh"),
        (1.0, 60, ""),
        (1_010.0, 15, "a thousandth of it, such as Wh for kWh"),
        (0.001, 60, "a thousand times it, such as kWh for Wh"),
    ],
)
def test_a_factor_between_units_is_named(ratio: float, minutes: float, suspicion: str) -> None:
    own = energies(20_000, 25_000, 30_000, minutes=minutes)
    found = compare(energies(*(one.energy_wh * ratio for one in own), minutes=minutes), own)
    assert (found.compared, found.ratio, found.suspicion) == (3, pytest.approx(ratio), suspicion)


def test_one_odd_interval_decides_nothing() -> None:
    found = compare(energies(100_000, 25_000, 25_000), energies(25_000, 25_000, 25_000))
    assert (found.ratio, found.suspicion) == (1.0, "")


def test_without_readings_of_our_own_nothing_is_said() -> None:
    assert compare(energies(1, 2), energies(1, 2, coverage_fraction=0.9)).compared == 0
    assert compare(energies(1, 2), energies(0, -5)).ratio is None
