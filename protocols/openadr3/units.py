"""Units of OpenADR 3 in watts and watt-hours. The definition has KW and KWH; the others are what utilities add."""

from collections.abc import Iterable

from protocols.openadr3 import model

WATTS = {"W": 1.0, "KW": 1e3, "kW": 1e3, "MW": 1e6, "GW": 1e9}
WATT_HOURS = {"WH": 1.0, "Wh": 1.0, "KWH": 1e3, "kWh": 1e3, "MWH": 1e6, "MWh": 1e6, "GWH": 1e9, "GWh": 1e9}
PERCENT = frozenset({"PERCENT", "PERCENTAGE"})
"""A fraction: 1.0 is all of it (Unit Enumerations). Examples also say PERCENTAGE."""


def numbers(values: Iterable[model.Value]) -> tuple[float, ...] | None:
    """The values as numbers, ``None`` where there are none or one is something else."""
    found = []
    for value in values:
        if isinstance(value, bool) or not isinstance(value, int | float):
            return None
        found.append(float(value))
    return tuple(found) or None


_USUAL_UNITS = {"DEMAND": "KW", "USAGE": "KWH"}


def units_of(payload_type: str, units: str | None) -> str | None:
    """The unit of a reported payload type, where none is said the one that the definition has for power or energy.

    USAGE is energy by the definition, and its examples have KW too.
    """
    return units or _USUAL_UNITS.get(payload_type)
