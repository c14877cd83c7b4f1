"""Every payload type of the definition, and what a site does with it: data, for documents and pages to show.

The rows say what the code does, and a test holds them to it: of an event's type the kind under the row's units, of a
report's the quantity.
"""

from dataclasses import dataclass

from protocols.grid import SignalKind
from protocols.grid_report import ReportQuantity
from protocols.openadr3.names import DATA_QUALITY, OPERATING_STATE

_SHOWN = "shown, and kept for the record"
_CAPACITY = f"{_SHOWN}; a limit on the site comes as IMPORT_CAPACITY_LIMIT"
_EXPORT = f"{_SHOWN}; a data centre gives nothing back"
_NOTED = "noted and shown; it asks nothing of the load"
_ALERT = "its words are shown with the event; nothing is acted on, whatever they say"
_STORAGE = "not given: there is no storage here; read by nobody, kept as it came"
_NOT_GIVEN = "not given; what others report of it is kept as it came"


@dataclass(frozen=True, slots=True, kw_only=True)
class EventPayload:
    """A payload type of events under a unit (``None``: whichever, or none), its kind to us, and what a site does."""

    payload_type: str
    units: str | None
    kind: SignalKind
    holds: str
    site: str


@dataclass(frozen=True, slots=True, kw_only=True)
class ReportPayload:
    """A payload type of reports, its quantity to us (``None``: none that we know), and what a site does with it."""

    payload_type: str
    quantity: ReportQuantity | None
    site: str


def _event(payload_type: str, units: str | None, kind: SignalKind, holds: str, site: str) -> EventPayload:
    return EventPayload(payload_type=payload_type, units=units, kind=kind, holds=holds, site=site)


def _report(payload_type: str, quantity: ReportQuantity | None, site: str) -> ReportPayload:
    return ReportPayload(payload_type=payload_type, quantity=quantity, site=site)


_OTHER = SignalKind.OTHER
EVENT_PAYLOADS: tuple[EventPayload, ...] = (
    _event(
        "SIMPLE", None, SignalKind.LEVEL, "level 0 to 3", "reduces by the fraction that the program gives the level"
    ),
    _event("PRICE", "KWH", SignalKind.PRICE, "price a kWh", "noted and planned by; a price alone moves no power"),
    _event("EXPORT_PRICE", "KWH", SignalKind.NOTICE, "price a kWh given back", _NOTED),
    _event("PRICE_ALTERNATE", "KWH", SignalKind.NOTICE, "price of another form of energy", _NOTED),
    _event("GHG", "GHG", SignalKind.NOTICE, "marginal emissions, g a kWh", _NOTED),
    _event("DISPATCH_SETPOINT", "KW", SignalKind.SETPOINT, "import to hold", "holds the site's import there"),
    _event(
        "DISPATCH_SETPOINT_RELATIVE", "KW", SignalKind.ADJUST, "change of import", "moves import by it, less is < 0"
    ),
    _event(
        "DISPATCH_SETPOINT_RELATIVE",
        "PERCENT",
        SignalKind.FRACTION,
        "change as a fraction",
        "moves import by that part of the live baseline",
    ),
    _event("IMPORT_CAPACITY_LIMIT", "KW", SignalKind.LIMIT, "ceiling on import", "keeps import under it"),
    _event("DISPATCH_INSTRUCTION", None, _OTHER, "words agreed on", f"{_SHOWN}; for people"),
    _event("CONTROL_SETPOINT", None, _OTHER, "a device's setting", f"{_SHOWN}; no watts of a site"),
    _event("CONTROL_LEVEL_OFFSET", None, _OTHER, "level -10 to 10", f"{_SHOWN}; no watts of a site"),
    _event(
        "CONTROL_LEVEL_OFFSET_PERCENT", "PERCENT", _OTHER, "part of a control range", f"{_SHOWN}; no watts of a site"
    ),
    _event("CHARGE_STATE_SETPOINT", "PERCENT", _OTHER, "charge to reach", f"{_SHOWN}; there is no storage here"),
    _event("CURVE", None, _OTHER, "points x, y", f"{_SHOWN} as points; for inverters"),
    _event("OLS", None, _OTHER, "shape of load, 0 to 1", f"{_SHOWN}; each value has its part of the interval"),
    _event("IMPORT_CAPACITY_SUBSCRIPTION", "KW", _OTHER, "import bought in advance", _CAPACITY),
    _event("IMPORT_CAPACITY_RESERVATION", "KW", _OTHER, "import granted on top", _CAPACITY),
    _event("IMPORT_CAPACITY_RESERVATION_FEE", "KW", SignalKind.NOTICE, "price of that", _NOTED),
    _event("IMPORT_CAPACITY_AVAILABLE", "KW", _OTHER, "import to be had", _CAPACITY),
    _event("IMPORT_CAPACITY_AVAILABLE_PRICE", "KW", SignalKind.NOTICE, "price of that", _NOTED),
    _event("EXPORT_CAPACITY_LIMIT", "KW", _OTHER, "ceiling on export", _EXPORT),
    _event("EXPORT_CAPACITY_SUBSCRIPTION", "KW", _OTHER, "export bought in advance", _EXPORT),
    _event("EXPORT_CAPACITY_RESERVATION", "KW", _OTHER, "export granted on top", _EXPORT),
    _event("EXPORT_CAPACITY_RESERVATION_FEE", "KW", SignalKind.NOTICE, "price of that", _NOTED),
    _event("EXPORT_CAPACITY_AVAILABLE", "KW", _OTHER, "export to be had", _EXPORT),
    _event("EXPORT_CAPACITY_AVAILABLE_PRICE", "KW", SignalKind.NOTICE, "price of that", _NOTED),
    _event("ALERT_GRID_EMERGENCY", None, _OTHER, "words", _ALERT),
    _event("ALERT_BLACK_START", None, _OTHER, "words", _ALERT),
    _event("ALERT_POSSIBLE_OUTAGE", None, _OTHER, "words", _ALERT),
    _event("ALERT_FLEX_ALERT", None, _OTHER, "words", _ALERT),
    _event("ALERT_FIRE", None, _OTHER, "words", _ALERT),
    _event("ALERT_FREEZING", None, _OTHER, "words", _ALERT),
    _event("ALERT_WIND", None, _OTHER, "words", _ALERT),
    _event("ALERT_TSUNAMI", None, _OTHER, "words", _ALERT),
    _event("ALERT_AIR_QUALITY", None, _OTHER, "words", _ALERT),
    _event("ALERT_OTHER", None, _OTHER, "words", _ALERT),
    _event("CTA2045_REBOOT", None, _OTHER, "0 soft, 1 hard", f"{_SHOWN}; never acted on"),
    _event("CTA2045_SET_OVERRIDE_STATUS", None, _OTHER, "0 or 1", f"{_SHOWN}; never acted on"),
)

REPORT_PAYLOADS: tuple[ReportPayload, ...] = (
    _report("DEMAND", ReportQuantity.POWER, "mean power of each interval, as measured (to come: as estimated)"),
    _report(
        "USAGE",
        ReportQuantity.POWER,
        "energy of each interval, as measured (to come: as estimated); power if so asked",
    ),
    _report("READING", ReportQuantity.POWER, "mean power, where a unit of power is asked for"),
    _report("BASELINE", ReportQuantity.BASELINE, "by the program's rule, an estimate until it is final"),
    _report("DELTA_USAGE", ReportQuantity.REDUCTION, "power less baseline, so that a reduction is negative"),
    _report(
        "LOAD_SHED_DELTA_AVAILABLE",
        ReportQuantity.AVAILABLE,
        "what could be shed in each interval; to come: for six hours",
    ),
    _report(
        OPERATING_STATE, ReportQuantity.STATE, "NORMAL, ..._CURTAILED, ERROR; ..._OPTED_OUT where we do not take part"
    ),
    _report(DATA_QUALITY, None, "beside every number: OK, ESTIMATED (with its confidence) or MISSING"),
    _report("SETPOINT", None, _NOT_GIVEN),
    _report("UP_REGULATION_AVAILABLE", None, _NOT_GIVEN),
    _report("DOWN_REGULATION_AVAILABLE", None, _NOT_GIVEN),
    _report("REGULATION_SETPOINT", None, _NOT_GIVEN),
    _report("STORAGE_USABLE_CAPACITY", None, _STORAGE),
    _report("STORAGE_CHARGE_LEVEL", None, _STORAGE),
    _report("STORAGE_MAX_DISCHARGE_POWER", None, _STORAGE),
    _report("STORAGE_MAX_CHARGE_POWER", None, _STORAGE),
    _report("STORAGE_DISPATCH_FORECAST", None, _STORAGE),
    _report("SIMPLE_LEVEL", None, _NOT_GIVEN),
    _report("USAGE_FORECAST", ReportQuantity.POWER, "energy expected in each interval, as estimated"),
    _report("GENERATION_DELTA_AVAILABLE", None, _NOT_GIVEN),
    _report("IMPORT_RESERVATION_CAPACITY", None, _NOT_GIVEN),
    _report("IMPORT_RESERVATION_FEE", None, _NOT_GIVEN),
    _report("EXPORT_RESERVATION_CAPACITY", None, _NOT_GIVEN),
    _report("EXPORT_RESERVATION_FEE", None, _NOT_GIVEN),
)
