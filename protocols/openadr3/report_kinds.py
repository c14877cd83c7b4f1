"""What a payload type of a report is of: quantities, units, signs and states are mapped here only.

=========================  ===============================================================================
OpenADR 3                  neutral
=========================  ===============================================================================
DEMAND, READING            POWER in a unit of power
USAGE                      POWER: energy as its mean power over the interval
BASELINE                   BASELINE, in a unit of power or energy
DELTA_USAGE                REDUCTION, with the other sign: a change against the baseline, negative for less
LOAD_SHED_DELTA_AVAILABLE  AVAILABLE, positive for what could be shed (User Guide 8.7)
USAGE_FORECAST             POWER, of a forecast only: written, and never read as measured
OPERATING_STATE            STATE: ERROR is not online, ..._OPTED_OUT overridden, ..._CURTAILED curtailed
everything else            carried by the codec, no place in the face
=========================  ===============================================================================
"""

from collections.abc import Mapping

from protocols.grid_report import ReportInterval, ReportQuantity, ResourceState
from protocols.openadr3 import model
from protocols.openadr3.names import OPERATING_STATE
from protocols.openadr3.units import WATT_HOURS, WATTS, units_of

USAGE_FORECAST = "USAGE_FORECAST"
QUANTITIES: Mapping[str, ReportQuantity] = {
    "DEMAND": ReportQuantity.POWER,
    "READING": ReportQuantity.POWER,
    "USAGE": ReportQuantity.POWER,
    "BASELINE": ReportQuantity.BASELINE,
    "DELTA_USAGE": ReportQuantity.REDUCTION,
    "LOAD_SHED_DELTA_AVAILABLE": ReportQuantity.AVAILABLE,
    USAGE_FORECAST: ReportQuantity.POWER,
    OPERATING_STATE: ReportQuantity.STATE,
}
_IN_ENERGY = frozenset({"USAGE", USAGE_FORECAST, "BASELINE", "DELTA_USAGE", "LOAD_SHED_DELTA_AVAILABLE"})
_OURS_TO_CHOOSE = {"BASELINE": "KW", "DELTA_USAGE": "KWH", "LOAD_SHED_DELTA_AVAILABLE": "KW", USAGE_FORECAST: "KWH"}
_IDLE_W = 1.0
"""No significant consumption, as the definition's IDLE states have it."""


def is_forecast(descriptor: model.ReportDescriptor) -> bool:
    """Whether what is to come is asked for: by its direction, or by its type."""
    return not descriptor.historical or descriptor.payload_type == USAGE_FORECAST


def given_units(descriptor: model.ReportDescriptor) -> str | None:
    """The unit that we report in: the one asked for, else a usual one; our report says which."""
    kind = descriptor.payload_type
    return units_of(kind, descriptor.units) or _OURS_TO_CHOOSE.get(kind)


def quantity_of(payload_type: str, units: str | None) -> ReportQuantity | None:
    """What values of the type in the unit are of, ``None`` where that is nothing that we know."""
    quantity = QUANTITIES.get(payload_type)
    if quantity is ReportQuantity.STATE or units in WATTS:
        return quantity
    return quantity if units in WATT_HOURS and payload_type in _IN_ENERGY else None


def to_watts(value: float, payload_type: str, units: str, duration_s: float) -> float:
    """A value of a type that is a quantity, in watts and with our sign."""
    power_w = value * WATTS[units] if units in WATTS else value * WATT_HOURS[units] / (duration_s / 3600)
    return -power_w + 0.0 if payload_type == "DELTA_USAGE" else power_w


def from_watts(power_w: float, payload_type: str, units: str, duration_s: float) -> float:
    """The other way round."""
    signed_w = -power_w + 0.0 if payload_type == "DELTA_USAGE" else power_w
    return signed_w / WATTS[units] if units in WATTS else signed_w * duration_s / 3600 / WATT_HOURS[units]


def watts_of(interval: ReportInterval, quantity: ReportQuantity) -> float | None:
    """What an interval says of a quantity in watts; ``None`` where it does not."""
    match quantity:
        case ReportQuantity.POWER:
            return interval.power_w
        case ReportQuantity.BASELINE:
            return interval.baseline_w
        case ReportQuantity.REDUCTION:
            return interval.reduction_w
        case ReportQuantity.AVAILABLE:
            return interval.available_w
        case _:
            return None


def write_state(state: ResourceState) -> str:
    """The operating state that says the most of how a resource stands."""
    if not state.online:
        return "ERROR"
    running = "IDLE" if state.power_w is not None and state.power_w < _IDLE_W else "RUNNING"
    if state.overridden:
        return f"{running}_OPTED_OUT"
    return f"{running}_CURTAILED" if state.curtailed else "NORMAL"


def read_state(word: str) -> ResourceState:
    """How a resource stands that is in an operating state."""
    return ResourceState(
        online=word not in {"ERROR", "SGD_ERROR_CONDITION"},
        overridden=word.endswith("_OPTED_OUT"),
        curtailed=word.endswith("_CURTAILED"),
    )
