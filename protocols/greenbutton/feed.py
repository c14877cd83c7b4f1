"""The Atom feed that Green Button data travels in: entries by kind, with their links, bounded in size."""

import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from urllib.parse import unquote

from protocols.errors import MalformedMessage, MessageTooLarge, UnsupportedMessage
from protocols.greenbutton.names import ATOM, ESPI, readable
from protocols.xml import Element, line_of, parse

MAX_BYTES = 1 << 26
MAX_ELEMENTS = 1_500_000
"""A year of 5-minute readings in both directions is 1,051,200 elements, and 1,156,320 in one with all that may stand
in a reading (quality, cost, tier, time of use)."""
MAX_RESOURCES = 1000
"""Of each kind but blocks."""
MAX_MARKUP = 1 << 22
"""How many ``<`` are read: what opens, what closes, and comments, of which some utilities write one a reading. It
bounds the memory before the parser takes it."""

_WHOLE = re.compile(r"[+-]?\d{1,19}", re.ASCII)
_HOST = re.compile(r"^[A-Za-z][A-Za-z0-9+.-]*://[^/]*")


@dataclass(frozen=True, slots=True, kw_only=True)
class Entry:
    """One entry of a feed: a resource, or several of a kind. Links are paths without host and outer slashes."""

    kind: str
    title: str
    entry_id: str
    self_link: str
    up_link: str
    related: tuple[str, ...]
    resources: tuple[Element, ...]
    line: int | None

    @property
    def identity(self) -> str:
        """What it is called: the last part of its own link, else its Atom id, else nothing."""
        return unquote(self.self_link.rpartition("/")[2]) or self.entry_id

    def __str__(self) -> str:
        name = self.self_link or self.entry_id or self.title
        # Of a long link the end tells more.
        return f"{self.kind} entry {name[-200:]!r}" if name else f"{self.kind} entry"


@dataclass(frozen=True, slots=True, kw_only=True)
class Feed:
    """The entries that tell of energy, in order of the document. What else a feed holds is not looked at."""

    usage_points: list[Entry] = field(default_factory=list)
    meters: list[Entry] = field(default_factory=list)
    types: list[Entry] = field(default_factory=list)
    blocks: list[Entry] = field(default_factory=list)
    local_times: list[Entry] = field(default_factory=list)


def read_feed(body: bytes) -> Feed:
    """The feed's entries.

    Raises ``MessageTooLarge`` over ``MAX_BYTES``, ``MAX_ELEMENTS``, ``MAX_MARKUP`` or ``MAX_RESOURCES``,
    ``MalformedMessage`` for what is not well-formed XML, ``UnsupportedMessage`` for what is no Atom feed with ESPI
    resources.
    """
    if len(body) <= MAX_BYTES and (count := body.count(b"<")) > MAX_MARKUP:
        raise MessageTooLarge(
            f"{count} opening brackets, more than the {MAX_MARKUP} that we read: ask for a shorter period"
        )
    root = parse(body, max_bytes=MAX_BYTES, max_elements=MAX_ELEMENTS)
    if root.tag != ATOM + "feed":
        raise UnsupportedMessage(
            f"the root element is {readable(root.tag)}, expected atom:feed: a Green Button file is an Atom feed",
            line=line_of(root),
        )
    feed = Feed()
    of_kind = {
        "UsagePoint": feed.usage_points,
        "MeterReading": feed.meters,
        "ReadingType": feed.types,
        "IntervalBlock": feed.blocks,
        "LocalTimeParameters": feed.local_times,
    }
    for element in root.iterchildren(ATOM + "entry"):
        for entry in _entries(element):
            if entry.kind in of_kind:
                of_kind[entry.kind].append(entry)
    for kind, entries in of_kind.items():
        if entries is not feed.blocks:
            check_count(f"{kind} entries", len(entries))
    if not any(of_kind.values()):
        raise UnsupportedMessage("an Atom feed without any Green Button resource (namespace http://naesb.org/espi)")
    return feed


def check_count(what: str, count: int) -> None:
    """Raises ``MessageTooLarge`` over ``MAX_RESOURCES``."""
    if count > MAX_RESOURCES:
        raise MessageTooLarge(f"more than {MAX_RESOURCES} {what}: ask for a feed of one usage point")


def path_of(href: str) -> str:
    """A link as it is compared: without scheme, host, query, fragment, blanks and outer slashes."""
    return _HOST.sub("", href.strip()).partition("#")[0].partition("?")[0].strip("/")


def whole_number(element: Element, entry: Entry) -> int:
    """An element's text as a number; ``MalformedMessage`` names the entry."""
    text = (element.text or "").strip()
    if _WHOLE.fullmatch(text) is not None and not len(element):
        return int(text)
    raise MalformedMessage(
        f"{readable(element.tag)} is {text[:40]!r} in {entry}, expected a whole number", line=line_of(element)
    )


def _entries(element: Element) -> Iterator[Entry]:
    """One for each kind of resource that an entry holds; usually that is one."""
    links: dict[str, list[str]] = {}
    for link in element.iterchildren(ATOM + "link"):
        links.setdefault(link.get("rel") or "alternate", []).append(path_of(link.get("href") or ""))
    by_kind: dict[str, list[Element]] = {}
    for content in element.iterchildren(ATOM + "content"):
        for resource in content:
            if resource.tag.startswith(ESPI):
                by_kind.setdefault(resource.tag[len(ESPI) :], []).append(resource)
    for kind, resources in by_kind.items():
        yield Entry(
            kind=kind,
            title=(element.findtext(ATOM + "title") or "").strip(),
            entry_id=(element.findtext(ATOM + "id") or "").strip(),
            self_link=next(iter(links.get("self", ())), ""),
            up_link=next(iter(links.get("up", ())), ""),
            related=tuple(filter(None, links.get("related", ()))),
            resources=tuple(resources),
            line=line_of(element),
        )
