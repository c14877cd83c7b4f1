"""Which readings belong to which meter, and which meter to which usage point.

ESPI ties its resources by links: the one above has a link ``related`` to the one below or to the collection that it
is in, which is the one below's link ``up``. Utilities leave out some of them, so the paths of the links count too (a
block below ``.../MeterReading/01`` is of that meter), and where there is one of a kind it is the one.
"""

import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from urllib.parse import unquote

from protocols.errors import MalformedMessage, UnsupportedMessage
from protocols.greenbutton.codes import ELECTRIC_SERVICE, SERVICES
from protocols.greenbutton.feed import Entry, Feed, check_count, whole_number
from protocols.greenbutton.names import ESPI

_ABOVE = {kind: re.compile(rf"^((?:.*/)?{kind}/[^/]+)(?:/|$)") for kind in ("UsagePoint", "MeterReading")}


class _Index:
    """Entries of a kind, by the links that lead to them."""

    def __init__(self, entries: Sequence[Entry]) -> None:
        self.entries = entries
        self.by_self: dict[str, list[Entry]] = {}
        self.by_up: dict[str, list[Entry]] = {}
        self.by_related: dict[str, list[Entry]] = {}
        self.by_name: dict[str, list[Entry]] = {}
        for entry in entries:
            self.by_self.setdefault(entry.self_link, []).append(entry)
            self.by_up.setdefault(entry.up_link, []).append(entry)
            self.by_name.setdefault(_last(entry.self_link), []).append(entry)
            for link in entry.related:
                self.by_related.setdefault(link, []).append(entry)

    @staticmethod
    def at(index: Mapping[str, Sequence[Entry]], links: Iterable[str]) -> Sequence[Entry]:
        """The entries at any of the links, each once."""
        return list({id(entry): entry for link in links if link for entry in index.get(link, ())}.values())


@dataclass(frozen=True, slots=True, kw_only=True)
class Meter:
    """A meter reading with what it is made of. ``entry`` is ``None`` where the feed has only its blocks."""

    meter_id: str
    entry: Entry | None
    type: Entry
    blocks: list[Entry] = field(default_factory=list)

    @property
    def title(self) -> str:
        """As the feed has it."""
        return self.entry.title if self.entry is not None else ""


@dataclass(frozen=True, slots=True, kw_only=True)
class UsagePoint:
    """One usage point's share of a feed."""

    usage_point_id: str
    title: str
    meters: Sequence[Meter]
    local_time: Entry | None
    passed_over: tuple[str, ...]


def usage_point_of(feed: Feed, wanted: str | None) -> UsagePoint:
    """The usage point ``wanted``, or the only one with electricity.

    Raises ``UnsupportedMessage`` where there is none or more than one, or where it has other than electricity, and
    ``MalformedMessage`` where it cannot be told what belongs together.
    """
    chosen, passed_over = _chosen(feed.usage_points, wanted)
    points = _Index(feed.usage_points)
    meters = [meter for meter in _meters(feed) if _is_of(chosen, meter, points)]
    if chosen is None:
        first = next(iter([*feed.meters, *feed.blocks]), None)
        point_id = _last(_above("UsagePoint", first)) if first is not None else ""
    else:
        point_id = chosen.identity
    return UsagePoint(
        usage_point_id=point_id,
        title=chosen.title if chosen is not None else "",
        meters=meters,
        local_time=_local_time(chosen, feed.local_times),
        passed_over=passed_over,
    )


def _chosen(points: Sequence[Entry], wanted: str | None) -> tuple[Entry | None, tuple[str, ...]]:
    if wanted is not None:
        points = [point for point in points if point.identity == wanted] or _unknown(points, wanted)
    if not points:
        return None, ()
    services = [(point, _service(point)) for point in points]
    electric = [point for point, code in services if code == ELECTRIC_SERVICE]
    others = tuple(
        f"{point} is {SERVICES.get(code, f'service {code}')}: only electricity is read"
        for point, code in services
        if code != ELECTRIC_SERVICE
    )
    if not electric:
        raise UnsupportedMessage("; ".join(others[:5]), line=points[0].line)
    if len(electric) > 1:
        raise UnsupportedMessage(f"the feed has several usage points, say which one to read: {_names(electric)}")
    return electric[0], others


def _unknown(points: Sequence[Entry], wanted: str) -> Sequence[Entry]:
    raise UnsupportedMessage(f"no usage point is called {wanted!r}; the feed has {_names(points) or 'none'}")


def _names(points: Sequence[Entry]) -> str:
    names = [f"{point.identity!r} ({point.title})" if point.title else repr(point.identity) for point in points[:20]]
    return ", ".join(names)[:2000] + (" ..." if len(points) > 20 else "")


def _service(point: Entry) -> int:
    kind = point.resources[0].find(f"{ESPI}ServiceCategory/{ESPI}kind")
    return ELECTRIC_SERVICE if kind is None else whole_number(kind, point)


def _meters(feed: Feed) -> list[Meter]:
    """All meter readings with their blocks. A block that no meter reading claims stands for one of its own."""
    types = _Index(feed.types)
    meters = [Meter(meter_id=entry.identity, entry=entry, type=_type_of(entry, types)) for entry in feed.meters]
    claimed = _claims(meters)
    implied: dict[str, Meter] = {}
    for block in feed.blocks:
        meter = _claimant(block, claimed)
        path = _above("MeterReading", block)
        if meter is None and len(meters) == 1 and not path:
            meter = meters[0]
        if meter is None and meters and not path:
            raise MalformedMessage(
                f"{block} belongs to none of the {len(meters)} meter readings: its link rel='up' is in none of their"
                " links rel='related'. Ask the sender for a feed with these links",
                line=block.line,
            )
        if meter is None:
            reading_type = _type_of(block, types)
            meter = implied.setdefault(
                path or reading_type.self_link,
                Meter(meter_id=_last(path) or reading_type.identity, entry=None, type=reading_type),
            )
            check_count("meter readings", len(implied))
        meter.blocks.append(block)
    return [*meters, *implied.values()]


def _claims(meters: Sequence[Meter]) -> Mapping[str, Meter | None]:
    """Which meter a link leads to; ``None`` for a link of several."""
    claims: dict[str, Meter | None] = {}
    for meter in meters:
        if meter.entry is None:
            continue
        for path in {meter.entry.self_link, *meter.entry.related} - {""}:
            claims[path] = None if path in claims else meter
    return claims


def _claimant(block: Entry, claims: Mapping[str, Meter | None]) -> Meter | None:
    for path in (block.self_link, block.up_link, _above("MeterReading", block), *block.related):
        meter = claims.get(path)
        if meter is not None:
            return meter
    return None


def _type_of(entry: Entry, types: _Index) -> Entry:
    """The reading type of a meter reading (or of a block that has none)."""
    by_link = types.at(types.by_self, entry.related)
    found = by_link or types.at(types.by_up, entry.related)
    if not by_link and len(found) != 1:
        found = types.at(types.by_name, [_last(_above("MeterReading", entry))])
        found = found if len(found) == 1 else types.entries
    if len(found) == 1:
        return found[0]
    raise MalformedMessage(
        f"{entry} has no link rel='related' to one of the feed's {len(types.entries)} reading types, so that its unit"
        " is not known. Ask the sender for a feed with these links",
        line=entry.line,
    )


def _is_of(point: Entry | None, meter: Meter, points: _Index) -> bool:
    if point is None or len(points.entries) == 1:
        return True
    for entry in (meter.entry, *meter.blocks[:1]):
        if entry is not None:
            owners = points.at(points.by_related, [entry.self_link, entry.up_link])
            owners = owners or points.at(points.by_self, [_above("UsagePoint", entry)])
            if len(owners) == 1:
                return owners[0] is point
    where = meter.entry or meter.blocks[0]
    raise MalformedMessage(
        f"{where} belongs to none of the {len(points.entries)} usage points: its link rel='up' is in none of their"
        " links rel='related'. Ask the sender for a feed with these links",
        line=where.line,
    )


def _local_time(point: Entry | None, entries: Sequence[Entry]) -> Entry | None:
    related = point.related if point is not None else ()
    linked = [entry for entry in entries if entry.self_link and entry.self_link in related]
    for found in (linked, entries):
        if len(found) == 1:
            return found[0]
    return None


def _above(kind: str, entry: Entry) -> str:
    """The path of the resource of a kind that an entry stands below, or is; ``""`` where its links do not say."""
    for link in (entry.self_link, entry.up_link):
        match = _ABOVE[kind].match(link)
        if match is not None:
            return match[1]
    return ""


def _last(path: str) -> str:
    return unquote(path.rpartition("/")[2])
