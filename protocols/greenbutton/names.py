"""The namespaces of a Green Button feed, in the form ``{uri}`` that makes an element's name by adding to it."""

ATOM = "{http://www.w3.org/2005/Atom}"
ESPI = "{http://naesb.org/espi}"

PATH = "/espi/1_1/resource"
"""Where resources are, in the links that we write."""

_PREFIXES = {ATOM: "atom:", ESPI: "espi:"}


def readable(tag: str) -> str:
    """An element's name with the customary prefix: ``espi:IntervalBlock``; in a namespace not ours as it is."""
    namespace, brace, local = tag.rpartition("}")
    prefix = _PREFIXES.get(namespace + brace)
    return tag if prefix is None else prefix + local
