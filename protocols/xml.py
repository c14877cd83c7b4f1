"""The bounded XML parser that every dialect's codec stands on.

Entities are neither declared nor expanded, nothing is fetched, and a document with a document type declaration is
refused whole. Size, depth and number of elements are bounded, which bounds the time too: a megabyte of the worst input
takes a fraction of a second.
"""

from functools import cache

from lxml import etree

from protocols.errors import MalformedMessage, MessageTooLarge

Element = etree._Element  # noqa: SLF001 - lxml's only name for the type of its elements

MAX_BYTES = 1 << 20
MAX_DEPTH = 64
MAX_ELEMENTS = 1 << 16
"""More than twice what a full megabyte of telemetry holds (some 28,000 elements)."""

_PARSER = etree.XMLParser(
    resolve_entities=False,
    load_dtd=False,
    dtd_validation=False,
    no_network=True,
    huge_tree=False,
    recover=False,
    remove_comments=True,
    remove_pis=True,
)
_COUNT = etree.XPath("count(//*)")


def parse(
    body: bytes, *, max_bytes: int = MAX_BYTES, max_depth: int = MAX_DEPTH, max_elements: int = MAX_ELEMENTS
) -> Element:
    """The root element of ``body``, without comments and processing instructions.

    Raises ``MessageTooLarge`` over ``max_bytes``, ``max_depth`` levels (the root is the first) or ``max_elements``,
    ``MalformedMessage`` for anything that is not well formed or has a document type declaration.
    """
    if len(body) > max_bytes:
        raise MessageTooLarge(f"{len(body)} bytes, more than the {max_bytes} that we read")
    if not body.strip():
        raise MalformedMessage("an empty body, expected XML")
    try:
        root = etree.fromstring(body, _PARSER)
    except etree.XMLSyntaxError as cause:
        raise _unreadable(body, cause) from cause
    except (LookupError, ValueError) as cause:
        raise MalformedMessage(f"not XML that can be read: {cause}") from cause
    if root.getroottree().docinfo.internalDTD is not None:
        raise MalformedMessage("a document type declaration, which is not accepted", line=1)
    count = _COUNT(root)
    assert isinstance(count, float)  # noqa: S101 - what count() is by the definition of XPath 1.0
    if count > max_elements:
        raise MessageTooLarge(f"{count:.0f} elements, more than the {max_elements} that we read")
    # Fewer elements than levels allowed cannot be too deep.
    if count > max_depth and _deeper_than(max_depth)(root):
        raise MessageTooLarge(f"more than {max_depth} levels of elements")
    return root


def line_of(element: Element) -> int | None:
    """The source line of an element, from 1."""
    line: object = element.sourceline
    return line if isinstance(line, int) else None


def _unreadable(body: bytes, cause: etree.XMLSyntaxError) -> MalformedMessage | MessageTooLarge:
    """The clear form of what the parser said."""
    line = cause.lineno or None
    if b"<!DOCTYPE" in body or b"<!ENTITY" in body:
        return MalformedMessage("a document type declaration, which is not accepted", line=line)
    text = (cause.msg or "not well formed").split(", line ")[0]
    if "depth" in text.lower():
        return MessageTooLarge("levels of elements without end", line=line)
    return MalformedMessage(f"not well-formed XML: {text}", line=line)


@cache
def _deeper_than(levels: int) -> etree.XPath:
    return etree.XPath(f"boolean({'/*' * (levels + 1)})")
