"""The codes and numbers of ESPI that we know, and what they mean here.

Source: the enumerations of the ESPI schema, version 0.7.20121113, as OpenADR 2.0b's schema set carries it
(``oadr_greenbutton.xsd``), unless a line says otherwise.
"""

from collections.abc import Mapping
from datetime import UTC, datetime

from protocols.greenbutton.model import Flow, Quality, Statistic

EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
"""What seconds are counted from (TimeType)."""
LONGEST_S = (1 << 32) - 1
"""UInt32, of a duration."""
DAY_S = 86_400
RANGES: Mapping[str, tuple[int, int]] = {
    "consumptionTier": (-(1 << 15), (1 << 15) - 1),
    "intervalLength": (0, LONGEST_S),
    "powerOfTenMultiplier": (-12, 12),
    "tou": (-(1 << 15), (1 << 15) - 1),
}
"""Of the numbers of a ReadingType: Int16, UInt32, and pico to tera."""

ELECTRIC_SERVICE = 0
"""ServiceKind."""

WATT_HOURS = 72
WATTS = 38

QUALITIES: Mapping[int, Quality] = {
    0: Quality.GOOD,  # valid: passed all checks
    7: Quality.ESTIMATED,  # manually edited: replaced or approved by a human, and nobody can tell which
    8: Quality.ESTIMATED,  # estimated using a reference day
    9: Quality.ESTIMATED,  # estimated by linear interpolation
    10: Quality.SUSPECT,  # questionable: failed one or more checks
    11: Quality.ESTIMATED,  # derived: calculated, not necessarily measured
    12: Quality.ESTIMATED,  # projected: a forecast
    13: Quality.ESTIMATED,  # mixed characteristics
    14: Quality.GOOD,  # raw: measured, not validated yet
    15: Quality.ESTIMATED,  # normalised for weather: no longer what was measured
    16: Quality.SUSPECT,  # other: a characteristic that is not defined
    17: Quality.GOOD,  # validated in accordance with approved procedures
    18: Quality.GOOD,  # verified: failed a check, determined to be actual usage
    19: Quality.GOOD,  # revenue quality. From memory of later versions: the schema at hand ends at 18
}
"""QualityOfReading. What is not listed is suspect."""

QUALITY_CODES: Mapping[Quality, int] = {Quality.GOOD: 0, Quality.ESTIMATED: 8, Quality.SUSPECT: 10}
"""What we write. 8 is what readers know as estimated; how an estimate was made is not ours to say."""

WORST_LAST = (Quality.GOOD, Quality.ESTIMATED, Quality.SUSPECT)

FLOWS: Mapping[int, Flow] = {1: Flow.FORWARD, 4: Flow.NET, 19: Flow.REVERSE}
"""FlowDirectionKind. The others are of reactive energy, of single quadrants, or the sum of both directions."""

FLOW_CODES: Mapping[Flow, int] = {flow: code for code, flow in FLOWS.items()}

NOT_APPLICABLE = 0
SECONDARY_METERED = 1
PRIMARY_METERED = 2
ELECTRICITY = frozenset({NOT_APPLICABLE, SECONDARY_METERED, PRIMARY_METERED})
"""CommodityKind: 0 is "not applicable", which a unit of electricity makes good."""

COMMODITIES: Mapping[int, str] = {7: "natural gas", 8: "propane", 9: "potable water", 10: "steam", 11: "waste water"}

SERVICES: Mapping[int, str] = {0: "electricity", 1: "gas", 2: "water", 3: "time", 4: "heat", 5: "refuse", 6: "sewerage"}
"""ServiceKind of a usage point."""

UNITS: Mapping[int, str] = {
    5: "amperes",
    29: "volts",
    61: "volt-amperes",
    63: "reactive power",
    71: "volt-ampere hours",
    73: "reactive energy",
    119: "cubic feet",
    132: "BTU",
    169: "therms",
}
"""UnitSymbolKind: what else utilities measure, for words."""

DELTA = 4
INTERVAL_DATA = frozenset({NOT_APPLICABLE, DELTA})
"""AccumulationKind of energy by interval: deltaData; 0 is "implied by the unit"."""

REGISTER = 1
REGISTERS = frozenset({REGISTER, 3, 9})
"""bulkQuantity, cumulative, summation: a register that runs on."""

POWERS = frozenset({NOT_APPLICABLE, DELTA, 6, 12})
"""Of a power: not applicable, deltaData (which utilities put on interval demand), indicating, instantaneous."""

PLAIN_QUALIFIERS = frozenset({NOT_APPLICABLE, 11, 12, 26})
"""DataQualifierKind of energy that is simply that: none, nominal, normal, sum."""

STATISTICS: Mapping[int, Statistic] = {2: Statistic.AVERAGE, 8: Statistic.MAXIMUM, 9: Statistic.MINIMUM}
STATISTIC_CODES: Mapping[Statistic, int] = {
    Statistic.UNSTATED: NOT_APPLICABLE,
    **{statistic: code for code, statistic in STATISTICS.items()},
}
UNSTATED_STATISTIC = frozenset({NOT_APPLICABLE, 11, 12})

NORMAL = 12
ENERGY_KIND = 12
POWER_KIND = 37
"""DataQualifierKind and MeasurementKind that we write."""

_HEXADECIMAL = frozenset("0123456789ABCDEF")


def is_rule(text: str) -> bool:
    """Whether this is a DstRuleType, as ``model.LocalTime`` has it: 32 bits in hexadecimal digits, in capitals."""
    return len(text) == 8 and set(text) <= _HEXADECIMAL
