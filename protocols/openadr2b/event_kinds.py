"""What a signal of OpenADR 2.0b is to a site: kinds, units and signs are mapped here only.

==================================  ==========================================================================
2.0b                                neutral
==================================  ==========================================================================
SIMPLE, level 0 to 3                LEVEL
LOAD_DISPATCH, delta, powerReal     ADJUST in watts, with its sign. 2.0b defines a delta as "the amount to
                                    change from what one would have used without the signal": a change of the
                                    load, so that negative asks for less, which is our sign too.
LOAD_DISPATCH, setpoint, powerReal  SETPOINT in watts
LOAD_DISPATCH, multiplier v         FRACTION 1 - v: v is applied to what one would have used
ELECTRICITY_PRICE or ENERGY_PRICE,  PRICE a kWh; without a unit the currency stays open (the program knows it)
price (currencyPerKWh, or no unit)
LOAD_CONTROL,                       CAPACITY v: "operate at a level that is some percentage of its maximum load
x-loadControlCapacity v             consumption capacity", and 1.0 is all of it
LOAD_CONTROL,                       FRACTION -v, v from -1 to 1: the "percentage change from normal load control
x-loadControlPercentOffset v        operations", so that negative asks for less. In 2.0b 1.0 is 100 %.
DEMAND_CHARGE, relative prices and  NOTICE: nothing is asked of the load. BID_PRICE is the price of our own bid
multipliers of prices, BID_PRICE    (what these names are of is from memory, to be checked)
x-importLimit, setpoint, powerReal  LIMIT: our own extension, since 2.0b has no word for an import limit
everything else                     OTHER, carried and shown (a dispatch without a unit too: W or kW?): levels and
                                    set points of a load controller have no quantity by the schema, bids of load and
                                    energy say what was bid and not what to draw, and there is no storage to charge
==================================  ==========================================================================
"""

from decimal import Decimal
from math import isfinite

from protocols.grid import SignalKind
from protocols.openadr2b import model

IMPORT_LIMIT = "x-importLimit"

SCALES = {
    "p": 1e-12,
    "n": 1e-9,
    "micro": 1e-6,
    "m": 1e-3,
    "c": 1e-2,
    "d": 1e-1,
    "none": 1.0,
    "k": 1e3,
    "M": 1e6,
    "G": 1e9,
    "T": 1e12,
}
WATTS = model.ItemBase(
    kind="powerReal",
    description="RealPower",
    units="W",
    scale="none",
    power=model.PowerAttributes(hertz=Decimal(60), voltage=Decimal(480), ac=True),
)
"""Real power in watts. The schema demands a nominal supply; 480 V, 60 Hz is the usual feed of a data hall."""

_CHANGE = ("LOAD_CONTROL", "x-loadControlPercentOffset")
_WITHOUT_UNIT = {
    ("SIMPLE", "level"): SignalKind.LEVEL,
    ("LOAD_DISPATCH", "multiplier"): SignalKind.FRACTION,
    ("LOAD_CONTROL", "x-loadControlCapacity"): SignalKind.CAPACITY,
    _CHANGE: SignalKind.FRACTION,
    ("BID_PRICE", "price"): SignalKind.NOTICE,
    ("DEMAND_CHARGE", "price"): SignalKind.NOTICE,
    **{
        (name, kind): SignalKind.NOTICE
        for name in ("DEMAND_CHARGE", "ELECTRICITY_PRICE", "ENERGY_PRICE")
        for kind in ("priceRelative", "priceMultiplier")
    },
}
_IN_POWER = {
    ("LOAD_DISPATCH", "delta"): SignalKind.ADJUST,
    ("LOAD_DISPATCH", "setpoint"): SignalKind.SETPOINT,
    (IMPORT_LIMIT.upper(), "setpoint"): SignalKind.LIMIT,
}
_PRICES = {("ELECTRICITY_PRICE", "price"), ("ENERGY_PRICE", "price")}


class Faulty(Exception):
    """An event that contradicts itself."""


def kind_of(signal: model.EventSignal) -> tuple[SignalKind, float]:
    """What the signal's values mean, and the factor that brings them to watts or to money."""
    unit = signal.unit
    factor = 1.0 if unit is None else SCALES[unit.scale or "none"]
    meaning = (signal.name.upper(), signal.type)
    if meaning in _WITHOUT_UNIT:
        return _WITHOUT_UNIT[meaning], 1.0
    if meaning in _IN_POWER and unit is not None and unit.kind == "powerReal":
        return _IN_POWER[meaning], factor
    if meaning in _PRICES and (unit is None or unit.kind == "currencyPerKWh"):
        return SignalKind.PRICE, factor
    return SignalKind.OTHER, 1.0


def in_our_terms(value: float, signal: model.EventSignal, kind: SignalKind, factor: float) -> float:
    """One value; ``Faulty`` for one that the signal cannot have."""
    if not isfinite(value):
        raise Faulty(f"signal {signal.name} has the value {value}")
    if kind is SignalKind.LEVEL and value not in {0.0, 1.0, 2.0, 3.0}:
        raise Faulty(f"signal {signal.name} has the level {value:g}, expected 0, 1, 2 or 3")
    if kind is SignalKind.CAPACITY and not 0.0 <= value <= 1.0:
        raise Faulty(f"signal {signal.name} has the capacity {value:g}, expected a fraction from 0 to 1")
    if kind is not SignalKind.FRACTION:
        return value * factor
    if (signal.name.upper(), signal.type) == _CHANGE:
        if abs(value) > 1.0:
            raise Faulty(f"signal {signal.name} changes by {value:g}, expected a fraction from -1 to 1")
        return -value + 0.0  # no negative zero
    if value < 0:
        raise Faulty(f"signal {signal.name} multiplies by {value:g}")
    return complement(value)


def complement(value: float) -> float:
    """A share of what is left of the load as the share that goes, and the other way round."""
    # Rounded so that 0.9 comes back as 0.1; twelve digits are far below what anybody measures.
    return round(1.0 - value, 12)
