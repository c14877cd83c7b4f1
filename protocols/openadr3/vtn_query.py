"""What a client asks a list for: the definition's query parameters, read and applied (Response Filtering).

All that is said must match. Of several targets one is enough: an object is found by any of its own. What is asked
for and we do not know is passed over, as it is in bodies.
"""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import TypeVar

from protocols.openadr3 import model
from protocols.openadr3.codec_objects import TYPES
from protocols.openadr3.model import Held
from protocols.openadr3.names import Version
from protocols.openadr3.timing import Contradiction, is_cancelled, lay_out
from protocols.openadr3.values import NAME, OBJECT_ID, Simple, one_of
from protocols.openadr3.vtn_answers import Refused

T = TypeVar("T")

MOST_LISTED = 50
"""The definition's largest limit, and ours where none is said."""
MOST_TARGETS = 256
_MOST_SKIPPED = (1 << 31) - 1
_BOOLEANS = {"true": True, "false": False}


@dataclass(frozen=True, slots=True, kw_only=True)
class Query:
    """The parameters of one request; ``None`` and empty for what is not said."""

    skip: int = 0
    limit: int = MOST_LISTED
    targets: frozenset[str] = frozenset()
    program_id: str | None = None
    event_id: str | None = None
    ven_id: str | None = None
    client_name: str | None = None
    ven_name: str | None = None
    resource_name: str | None = None
    objects: tuple[str, ...] = ()
    active: bool = False

    def page(self, found: Sequence[T]) -> Sequence[T]:
        """The part of a list that is asked for."""
        return found[self.skip : self.skip + self.limit]


def read_query(pairs: Iterable[tuple[str, str]]) -> Query:
    """The parameters of a request. Raises ``Refused`` (400) naming the one that is wrong."""
    said: dict[str, list[str]] = {}
    for key, value in pairs:
        said.setdefault(key, []).append(value)
    targets = said.get("targets", [])
    if len(targets) > MOST_TARGETS:
        raise Refused(400, f"targets: {len(targets)} of them, more than {MOST_TARGETS}")
    return Query(
        skip=_number(said, "skip", 0, _MOST_SKIPPED),
        limit=_number(said, "limit", MOST_LISTED, MOST_LISTED),
        targets=frozenset(_checked("targets", value, NAME) for value in targets),
        program_id=_one(said, "programID", OBJECT_ID),
        event_id=_one(said, "eventID", OBJECT_ID),
        ven_id=_one(said, "venID", OBJECT_ID),
        client_name=_one(said, "clientName", NAME),
        ven_name=_one(said, "venName", NAME),
        resource_name=_one(said, "resourceName", NAME),
        objects=tuple(_checked("objects", value, one_of(*TYPES.values())) for value in said.get("objects", ())),
        active=_BOOLEANS[_one(said, "active", one_of(*_BOOLEANS)) or "false"],
    )


def _checked(key: str, value: str, simple: Simple) -> str:
    try:
        parsed: str = simple.parse(value)
    except ValueError as cause:
        raise Refused(400, f"{key}: {value[:60]!r}, expected {simple.expected}") from cause
    return parsed


def _one(said: dict[str, list[str]], key: str, simple: Simple) -> str | None:
    values = said.get(key, [])
    if len(values) > 1:
        raise Refused(400, f"{key} stands {len(values)} times, expected once")
    return _checked(key, values[0], simple) if values else None


def _number(said: dict[str, list[str]], key: str, default: int, most: int) -> int:
    expected = f"a whole number from 0 to {most}"

    def parse(value: object) -> str:
        text = str(value)
        if not (text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= most):
            raise ValueError(text)
        return text

    text = _one(said, key, Simple(parse, str, expected))
    return default if text is None else int(text)


def selection(query: Query, now: datetime) -> Callable[[Held], bool]:
    """Whether an object is one that is asked for, by everything but its targets and the page."""

    def matches(value: Held) -> bool:
        if isinstance(value, model.Event):
            return query.program_id in {None, value.program_id} and not (query.active and has_transpired(value, now))
        if isinstance(value, model.Subscription):
            told_of = {name for item in value.object_operations for name in item.objects}
            right_objects = not query.objects or not told_of.isdisjoint(query.objects)
            by_ids = query.program_id in {None, value.program_id} and query.client_name in {None, value.client_name}
            return right_objects and by_ids
        if isinstance(value, model.Ven):
            return query.ven_name in {None, value.name}
        if isinstance(value, model.Resource):
            return query.resource_name in {None, value.name} and query.ven_id in {None, value.ven_id}
        return True

    return matches


def has_target(value: Held, targets: frozenset[str]) -> bool:
    """Whether an object has one of the targets; all have where none are asked for. Reports have no targets."""
    own = () if isinstance(value, model.Report) else value.targets
    return not targets or not targets.isdisjoint(own)


def has_transpired(event: model.Event, now: datetime) -> bool:
    """Whether all of an event's intervals are over. One that contradicts itself, or has none, is not known to be."""
    if is_cancelled(event):
        return True
    try:
        spans = lay_out(event, received_at=now, version=Version.V3_1)
    except Contradiction:
        return False
    if not spans and event.period is not None and event.period.start is not None and event.period.duration:
        # What only asks for reports has no intervals of its own; its duration is how long it asks (User Guide 7.5).
        return _ended(event.period.start, event.duration or event.period.duration, now)
    return bool(spans) and all(span.ends_at is not None and span.ends_at <= now for span in spans)


def _ended(start: datetime, duration: timedelta, now: datetime) -> bool:
    try:
        return start + duration <= now
    except OverflowError:
        return False
