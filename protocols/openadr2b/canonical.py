"""Canonical XML, of the two kinds that signatures of 2.0b are made over, and bounds on what it costs."""

from dataclasses import dataclass

from lxml import etree

from protocols.errors import MessageTooLarge, NotAuthentic
from protocols.openadr2b.names import readable
from protocols.xml import MAX_BYTES, Element, line_of, parse

INCLUSIVE = "http://www.w3.org/TR/2001/REC-xml-c14n-20010315"
INCLUSIVE_11 = "http://www.w3.org/2006/12/xml-c14n11"
EXCLUSIVE = "http://www.w3.org/2001/10/xml-exc-c14n#"

ALGORITHMS = frozenset({INCLUSIVE, INCLUSIVE_11, EXCLUSIVE})
"""Without comments, which are gone before a signature is looked at."""

MOST_NAMESPACES = 32
MOST_ATTRIBUTES = 64
"""Of one element: canonicalisation takes quadratic time in both. A payload of the widest stack declares about 20
namespaces."""

_XML = "{http://www.w3.org/XML/1998/namespace}"
_INCLUSIVE_NAMESPACES = "{http://www.w3.org/2001/10/xml-exc-c14n#}InclusiveNamespaces"
_CROWDED = etree.XPath(f"boolean(//*[count(@*) > {MOST_ATTRIBUTES}])")


@dataclass(frozen=True, slots=True, kw_only=True)
class Method:
    """One of ``ALGORITHMS``. ``prefixes`` are what an exclusive one treats as the inclusive one does."""

    algorithm: str
    prefixes: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Canonical:
    """An element's canonical octets, and the element read from its own text: what is in both, and nothing else."""

    octets: bytes
    element: Element


def read_method(element: Element) -> Method:
    """The method that a ds:CanonicalizationMethod or ds:Transform names. Raises ``NotAuthentic`` for any other."""
    algorithm = element.get("Algorithm", "")
    if algorithm not in ALGORITHMS:
        raise NotAuthentic(f"{readable(element.tag)} {algorithm!r} is none that we accept", line=line_of(element))
    if len(element) == 0:
        return Method(algorithm=algorithm)
    prefixes = tuple(element[0].get("PrefixList", "").split())
    if (
        algorithm != EXCLUSIVE
        or len(element) > 1
        or element[0].tag != _INCLUSIVE_NAMESPACES
        or len(prefixes) > MOST_NAMESPACES
        # libxml2 does not know the default namespace by this name.
        or "#default" in prefixes
    ):
        raise NotAuthentic(
            f"{readable(element.tag)} has parameters that we do not accept: {readable(element[0].tag)}",
            line=line_of(element),
        )
    return Method(algorithm=algorithm, prefixes=prefixes)


def check_cost(root: Element) -> None:
    """Raise ``MessageTooLarge`` for a document whose canonical form would take long to make."""
    in_scope = 0
    for event, _ in etree.iterwalk(root, events=("start-ns", "end-ns")):
        in_scope += 1 if event == "start-ns" else -1
        if in_scope > MOST_NAMESPACES:
            raise MessageTooLarge(f"more than {MOST_NAMESPACES} namespaces declared within each other")
    if _CROWDED(root):
        raise MessageTooLarge(f"an element with more than {MOST_ATTRIBUTES} attributes")


def canonical(element: Element, method: Method) -> Canonical:
    """The canonical form of one element within its document, with the namespaces that it inherits.

    ``check_cost`` comes first for what others wrote. Raises ``NotAuthentic`` where there is no such form, and where an
    ancestor has an attribute of XML's own namespace, which canonical XML would inherit and we do not.
    """
    for ancestor in element.iterancestors():
        if any(str(name).startswith(_XML) for name in ancestor.attrib):
            raise NotAuthentic(f"{readable(ancestor.tag)} has an xml: attribute, which is not accepted where it signs")
    # Through its text: lxml leaves out inherited namespaces when it canonicalises part of a tree. The lines before it
    # let an error in the copy name the line of the original.
    text = etree.tostring(element, encoding="utf-8", with_tail=False)
    lines = b"\n" * ((line_of(element) or 1) - 1)
    copy = parse(lines + text, max_bytes=3 * MAX_BYTES)
    exclusive = method.algorithm == EXCLUSIVE
    try:
        octets = etree.tostring(
            copy,
            method="c14n",
            exclusive=exclusive,
            with_comments=False,
            inclusive_ns_prefixes=list(method.prefixes) if exclusive else None,
        )
    except etree.C14NError as cause:
        raise NotAuthentic(
            f"{readable(element.tag)} has no canonical form: a namespace that is no absolute URI", line=line_of(element)
        ) from cause
    return Canonical(octets=octets, element=copy)
