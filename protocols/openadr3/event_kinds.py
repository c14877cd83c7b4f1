"""What a payload type of an event is to a site: kinds, units and signs are mapped here only.

====================================  ======================================================================
OpenADR 3                             neutral
====================================  ======================================================================
SIMPLE 0 to 3                         LEVEL
DISPATCH_SETPOINT, power              SETPOINT in watts of import
DISPATCH_SETPOINT_RELATIVE, power     ADJUST in watts, with its sign: a change of what is consumed, so
                                      that negative asks for less, which is our sign too
DISPATCH_SETPOINT_RELATIVE, PERCENT   FRACTION: -0.25 asks for a quarter less, which is a FRACTION of 0.25
IMPORT_CAPACITY_LIMIT, power          LIMIT in watts
PRICE, energy or no unit              PRICE a kWh; without a unit the currency stays open (the program knows it)
EXPORT_PRICE, PRICE_ALTERNATE, GHG,   NOTICE: of energy given or of another kind, of a reservation, or emissions, in
..._FEE, ..._AVAILABLE_PRICE          the sender's unit: nothing is asked of the load
CONTROL_SETPOINT,                     OTHER: settings and levels of devices, which are no watts of a site
CONTROL_LEVEL_OFFSET(_PERCENT)          (the percentage "does not refer to specific load consumptions values")
DISPATCH_INSTRUCTION                  OTHER: words agreed out of band
CHARGE_STATE_SETPOINT, CURVE, OLS     OTHER: for storage, inverters and shapes of load
IMPORT_CAPACITY_SUBSCRIPTION,         OTHER: what was bought or may be; a limit on the site comes as
_RESERVATION, _AVAILABLE              IMPORT_CAPACITY_LIMIT
EXPORT_CAPACITY_...                   OTHER: a data centre gives nothing back
ALERT_..., CTA2045_...                OTHER; the words of an alert go into the event's comment
X_TEST_ and any of these              the same, of a test event: our own words, since 3.x has none, and of a
                                      kind that who does not know them leaves alone
everything else, or another unit      OTHER, carried and shown (power without a unit too: W or kW?)
====================================  ======================================================================

Power comes in KW by the definition; W, MW and GW are read too. Energy over an interval (KWH) is its mean power. A
payload that holds no numbers (words, points) reads as 1 while it is in force, with these beside it. What a site does
with each type is told in ``payload_table``.
"""

from collections.abc import Iterable
from datetime import timedelta
from math import isfinite

from protocols.grid import SignalKind
from protocols.openadr3 import model
from protocols.openadr3.timing import Contradiction
from protocols.openadr3.units import PERCENT, WATT_HOURS, WATTS, numbers

TEST_PREFIX = "X_TEST_"
"""Before a payload type it makes the event a test. VENs leave alone what they do not know (Private Strings)."""

LONGEST_TEXT = 2000

_IN_POWER = {
    "DISPATCH_SETPOINT": SignalKind.SETPOINT,
    "DISPATCH_SETPOINT_RELATIVE": SignalKind.ADJUST,
    "IMPORT_CAPACITY_LIMIT": SignalKind.LIMIT,
}
_NOTICES = frozenset(
    {
        *("EXPORT_PRICE", "PRICE_ALTERNATE", "GHG"),
        *("IMPORT_CAPACITY_RESERVATION_FEE", "IMPORT_CAPACITY_AVAILABLE_PRICE"),
        *("EXPORT_CAPACITY_RESERVATION_FEE", "EXPORT_CAPACITY_AVAILABLE_PRICE"),
    }
)
_POWERS = frozenset(_IN_POWER.values())
CARRIED = frozenset({SignalKind.OTHER, SignalKind.NOTICE})
"""Kinds whose values are the sender's own, under the sender's own type and unit."""

_LEVELS = frozenset({0.0, 1.0, 2.0, 3.0})
_HOUR = timedelta(hours=1)


def kind_of(payload_type: str, units: str | None) -> SignalKind:
    """What the values of a payload type mean to us; the type without ``TEST_PREFIX``."""
    if payload_type == "SIMPLE":
        return SignalKind.LEVEL
    if payload_type in _NOTICES:
        return SignalKind.NOTICE
    if payload_type == "PRICE":
        return SignalKind.PRICE if units is None or units in WATT_HOURS else SignalKind.OTHER
    if payload_type == "DISPATCH_SETPOINT_RELATIVE" and units in PERCENT:
        return SignalKind.FRACTION
    if units in WATTS or units in WATT_HOURS:
        return _IN_POWER.get(payload_type, SignalKind.OTHER)
    return SignalKind.OTHER


def values_of(
    payload: model.ValuesMap, kind: SignalKind, units: str | None, duration: timedelta | None
) -> tuple[float, ...]:
    """The payload's values in our terms: several divide the interval evenly. Raises ``Contradiction``."""
    found = numbers(payload.values)
    if found is None:
        if kind in CARRIED:
            return (1.0,)
        raise Contradiction(f"{payload.type} has the values {_shown(payload.values)}, expected numbers")
    if len(found) > 1 and duration is None:
        raise Contradiction(f"{payload.type} has {len(found)} values for an interval without end")
    part = None if duration is None else duration / len(found)
    values = tuple(_in_our_terms(value, payload.type, kind, units, part) for value in found)
    if not all(map(isfinite, values)):
        raise Contradiction(f"{payload.type} has a value that is too large")
    return values


def text_of(payload: model.ValuesMap) -> str:
    """The words of a payload that holds words, as much of them as is good to show; else ``""``."""
    words = [value for value in payload.values if isinstance(value, str)]
    text = " ".join(words)
    return text if len(text) <= LONGEST_TEXT else f"{text[: LONGEST_TEXT - 1]}…"


def points_of(payload: model.ValuesMap) -> tuple[tuple[float, float], ...]:
    """The points of a payload that holds a curve, in their order."""
    return tuple((value.x, value.y) for value in payload.values if isinstance(value, model.Point))


def _in_our_terms(
    value: float, payload_type: str, kind: SignalKind, units: str | None, duration: timedelta | None
) -> float:
    if kind is SignalKind.LEVEL and value not in _LEVELS:
        raise Contradiction(f"{payload_type} is {value:g}, expected 0, 1, 2 or 3")
    if kind is SignalKind.FRACTION:
        if abs(value) > 1.0:
            raise Contradiction(f"{payload_type} is {value:g}, expected a fraction from -1 to 1")
        return -value + 0.0  # no negative zero
    if kind is SignalKind.PRICE:
        return value if units is None else value * (WATT_HOURS["KWH"] / WATT_HOURS[units])
    if kind in _POWERS and units is not None:
        if kind is SignalKind.LIMIT and value < 0:
            raise Contradiction(f"{payload_type} is {value:g}: a limit on import is not negative")
        return value * WATTS[units] if units in WATTS else _mean_w(value, payload_type, units, duration)
    return value


def _mean_w(value: float, payload_type: str, units: str, duration: timedelta | None) -> float:
    if duration is None:
        raise Contradiction(f"{payload_type} is an energy ({units}) over an interval without end")
    return value * WATT_HOURS[units] / (duration / _HOUR)


def words_of(payload: model.ValuesMap) -> str:
    """The words of an alert, ``""`` for any other payload."""
    if not payload.type.startswith("ALERT_"):
        return ""
    return f"{payload.type}: {text_of(payload)}"


def _shown(values: Iterable[object]) -> str:
    return repr(list(values))[:60]
