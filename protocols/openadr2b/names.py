"""The namespaces of OpenADR 2.0b, in the form ``{uri}`` that makes an element's name by adding to it."""

OADR = "{http://openadr.org/oadr-2.0b/2012/07}"
EI = "{http://docs.oasis-open.org/ns/energyinterop/201110}"
PYLD = "{http://docs.oasis-open.org/ns/energyinterop/201110/payloads}"
EMIX = "{http://docs.oasis-open.org/ns/emix/2011/06}"
POWER = "{http://docs.oasis-open.org/ns/emix/2011/06/power}"
SCALE = "{http://docs.oasis-open.org/ns/emix/2011/06/siscale}"
XCAL = "{urn:ietf:params:xml:ns:icalendar-2.0}"
STRM = "{urn:ietf:params:xml:ns:icalendar-2.0:stream}"
GML = "{http://www.opengis.net/gml/3.2}"
DS = "{http://www.w3.org/2000/09/xmldsig#}"
DSP = "{http://openadr.org/oadr-2.0b/2012/07/xmldsig-properties}"

PREFIXES = {
    "oadr": OADR,
    "ei": EI,
    "pyld": PYLD,
    "emix": EMIX,
    "power": POWER,
    "scale": SCALE,
    "xcal": XCAL,
    "strm": STRM,
    "gml": GML,
    "ds": DS,
    "dsp": DSP,
}
NSMAP = {prefix: namespace[1:-1] for prefix, namespace in PREFIXES.items()}

_PREFIX_OF = {namespace: prefix for prefix, namespace in PREFIXES.items()}


def readable(tag: str) -> str:
    """An element's name with the customary prefix: ``ei:eventID``; in a namespace not ours as it is."""
    namespace, brace, local = tag.rpartition("}")
    prefix = _PREFIX_OF.get(namespace + brace)
    return tag if prefix is None else f"{prefix}:{local}"


def namespace_of(tag: str) -> str:
    """The bare namespace of an element's name, ``""`` where it has none."""
    return tag[1:].partition("}")[0] if tag.startswith("{") else ""
