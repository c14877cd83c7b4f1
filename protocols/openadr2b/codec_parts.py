"""Tables of the parts that several messages share."""

from protocols.errors import MalformedMessage
from protocols.openadr2b.model import (
    EiResponse,
    ItemBase,
    Period,
    PowerAttributes,
    QualifiedEvent,
    Targets,
    TransportInterface,
)
from protocols.openadr2b.names import EI, EMIX, GML, OADR, POWER, PYLD, SCALE, XCAL, readable
from protocols.openadr2b.schema import Content, Field, Inside, Leaf, Sequence, many, maybe, one, tags
from protocols.openadr2b.values import (
    BOOLEAN,
    CODE,
    COORDINATES,
    COUNT,
    DATE_TIME,
    DECIMAL,
    DURATION,
    FLOAT,
    TEXT,
    fixed,
    one_of,
)
from protocols.xml import Element, line_of

# The schema's list of ISO 4217 codes (2010-04-07); later currencies came after the profile was closed.
_CURRENCIES = (
    "AED AFN ALL AMD ANG AOA ARS AUD AWG AZN BAM BBD BDT BGN BHD BIF BMD BND BOB BOV BRL BSD BTN BWP BYR "
    "BZD CAD CDF CHE CHF CHW CLF CLP CNY COP COU CRC CUC CUP CVE CZK DJF DKK DOP DZD EEK EGP ERN ETB EUR "
    "FJD FKP GBP GEL GHS GIP GMD GNF GTQ GWP GYD HKD HNL HRK HTG HUF IDR ILS INR IQD IRR ISK JMD JOD JPY "
    "KES KGS KHR KMF KPW KRW KWD KYD KZT LAK LBP LKR LRD LSL LTL LVL LYD MAD MDL MGA MKD MMK MNT MOP MRO "
    "MUR MVR MWK MXN MXV MYR MZN NAD NGN NIO NOK NPR NZD OMR PAB PEN PGK PHP PKR PLN PYG QAR RON RSD RUB "
    "RWF SAR SBD SCR SDG SEK SGD SHP SLL SOS SRD STD SVC SYP SZL THB TJS TMT TND TOP TRY TTD TWD TZS UAH "
    "UGX USD USN USS UYI UYU UZS VEF VND VUV WST XAF XAG XAU XBA XBB XBC XBD XCD XDR XFU XOF XPD XPF XPT "
    "XTS XXX YER ZAR ZMK ZWL"
)

text = Leaf(TEXT)
number = Leaf(FLOAT)
count = Leaf(COUNT)
boolean = Leaf(BOOLEAN)
date_time = Leaf(DATE_TIME)
plain_duration = Leaf(DURATION)
duration = Inside(XCAL + "duration", plain_duration)
start = Inside(XCAL + "date-time", date_time)
uid = Inside(XCAL + "text", text)
payload_float = Inside(EI + "value", number)
opt_type = Leaf(one_of("optIn", "optOut"))

request_id = one("request_id", PYLD + "requestID", text)
maybe_ven_id = maybe("ven_id", EI + "venID", text)

ei_response = Sequence(
    EiResponse,
    one("code", EI + "responseCode", Leaf(CODE)),
    maybe("description", EI + "responseDescription", text),
    request_id,
)
response = one("response", EI + "eiResponse", ei_response)

qualified_event = Sequence(
    QualifiedEvent,
    one("event_id", EI + "eventID", text),
    one("modification_number", EI + "modificationNumber", count),
)

_area = Inside(
    GML + "FeatureCollection",
    Inside(
        GML + "location",
        Inside(
            GML + "Polygon",
            Inside(GML + "exterior", Inside(GML + "LinearRing", Inside(GML + "posList", Leaf(COORDINATES)))),
        ),
    ),
)
_mrid = Inside(POWER + "mrid", text)
_node = Inside(POWER + "node", text)

targets = Sequence(
    Targets,
    many("aggregated_pnodes", POWER + "aggregatedPnode", _node),
    many("end_device_assets", POWER + "endDeviceAsset", _mrid),
    many("meter_assets", POWER + "meterAsset", _mrid),
    many("pnodes", POWER + "pnode", _node),
    many("service_areas", EMIX + "serviceArea", _area),
    many("service_delivery_points", POWER + "serviceDeliveryPoint", _node),
    many("service_locations", POWER + "serviceLocation", _area),
    many(
        "transport_interfaces",
        POWER + "transportInterface",
        Sequence(
            TransportInterface,
            one("point_of_receipt", POWER + "pointOfReceipt", text),
            one("point_of_delivery", POWER + "pointOfDelivery", text),
        ),
    ),
    many("group_ids", EI + "groupID", text),
    many("group_names", EI + "groupName", text),
    many("resource_ids", EI + "resourceID", text),
    many("ven_ids", EI + "venID", text),
    many("party_ids", EI + "partyID", text),
)

properties = Sequence(
    Period,
    one("starts_at", XCAL + "dtstart", start),
    one("duration", XCAL + "duration", duration),
    maybe(
        "start_after",
        XCAL + "tolerance",
        Inside(XCAL + "tolerate", Inside(XCAL + "startafter", plain_duration, or_nothing=True)),
    ),
    maybe("notification", EI + "x-eiNotification", duration),
    maybe("ramp_up", EI + "x-eiRampUp", duration),
    maybe("recovery", EI + "x-eiRecovery", duration),
)
period = Inside(XCAL + "properties", properties)


class ActivePeriod(Content):
    """The properties and, after them, components, in which 2.0b says nothing."""

    def read(self, element: Element) -> Period:
        if [child.tag for child in element] != [XCAL + "properties", XCAL + "components"]:
            raise MalformedMessage(
                f"{readable(element.tag)} needs xcal:properties and xcal:components, in this order",
                line=line_of(element),
            )
        value: Period = properties.read(element[0])
        return value

    def write(self, out: list[str], tag: str, value: Period) -> None:
        opening, closing = tags(tag)
        out.append(opening)
        properties.write(out, XCAL + "properties", value)
        out.append(f"<{readable(XCAL + 'components')}/>{closing}")


_scale = one("scale", SCALE + "siScaleCode", Leaf(one_of("p", "n", "micro", "m", "c", "d", "k", "M", "G", "T", "none")))
_power_attributes = Sequence(
    PowerAttributes,
    one("hertz", POWER + "hertz", Leaf(DECIMAL)),
    one("voltage", POWER + "voltage", Leaf(DECIMAL)),
    one("ac", POWER + "ac", boolean),
)


def _unit(namespace: str, kind: str, description: Content, units: Content, *more: Field) -> tuple[str, Sequence]:
    def make(**fields: object) -> ItemBase:
        return ItemBase(kind=kind, **fields)  # type: ignore[arg-type]  # the table's fields are ItemBase's

    return namespace + kind, Sequence(
        make,
        one("description", namespace + "itemDescription", description),
        one("units", namespace + "itemUnits", units),
        *more,
    )


def _fixed_unit(namespace: str, kind: str, description: str, units: str, *more: Field) -> tuple[str, Sequence]:
    return _unit(namespace, kind, Leaf(fixed(description)), Leaf(fixed(units)), *(more or (_scale,)))


_with_power = (_scale, one("power", POWER + "powerAttributes", _power_attributes))
_currency = (Leaf(one_of("currency", "currencyPerKW", "currencyPerKWh")), Leaf(one_of(*_CURRENCIES.split())))

# Green Button's oadrGBDataDescription is left out: a feed of another standard, which no telemetry of ours needs.
item_bases: dict[str, Content] = dict(
    [
        _fixed_unit(POWER, "voltage", "Voltage", "V"),
        _fixed_unit(POWER, "energyApparent", "ApparentEnergy", "VAh"),
        _fixed_unit(POWER, "energyReactive", "ReactiveEnergy", "VARh"),
        _fixed_unit(POWER, "energyReal", "RealEnergy", "Wh"),
        _fixed_unit(POWER, "powerApparent", "ApparentPower", "VA", *_with_power),
        _fixed_unit(POWER, "powerReactive", "ReactivePower", "VAR", *_with_power),
        _unit(POWER, "powerReal", Leaf(fixed("RealPower")), Leaf(one_of("W", "J/s")), *_with_power),
        _unit(OADR, "customUnit", text, text, _scale),
        _fixed_unit(OADR, "current", "Current", "A"),
        *(
            _unit(OADR, kind, *_currency, _scale)
            for kind in ("currency", "currencyPerKWh", "currencyPerKW", "currencyPerThm")
        ),
        _fixed_unit(OADR, "frequency", "Frequency", "Hz"),
        _fixed_unit(OADR, "Therm", "Therm", "thm"),
        _unit(OADR, "temperature", Leaf(fixed("temperature")), Leaf(one_of("celsius", "fahrenheit")), _scale),
        _fixed_unit(OADR, "pulseCount", "pulse count", "count", one("pulse_factor", OADR + "pulseFactor", number)),
    ]
)
_TAG_OF_KIND = {tag.rpartition("}")[2]: tag for tag in item_bases}


def item_base_tag(value: ItemBase) -> str:
    """The element for a unit; ``ValueError`` for a kind the schema does not have."""
    try:
        return _TAG_OF_KIND[value.kind]
    except KeyError as cause:
        raise ValueError(f"{value.kind} is no kind of unit in 2.0b") from cause


unit = Field("unit", item_bases, required=False, tag_of=item_base_tag)
