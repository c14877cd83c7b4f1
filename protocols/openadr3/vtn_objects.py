"""What a VTN holds: objects with ids and times of its own, decoded in memory and durable in the ``ObjectStore``.

Reports are not kept in memory, since there is no end to them. One VTN writes to the objects of a connection.

Conflicts are answered 409: a name that is taken (Definition: Object names), and an object that is spoken of and is not
there. Nothing refuses a deletion, as the definition has no answer for it; what belongs to the deleted goes with it:
a program's events and subscriptions, an event's reports, a ven's resources.

A POST of a report or a subscription equal to one that its client has there already is the same one delivered again,
and answered with that one. Other kinds are kept apart by their names, but for events, which may well be alike.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from typing import Any, TypeVar
from uuid import uuid4

from protocols.errors import MessageError, MessageTooLarge
from protocols.object_store import Asked, ObjectStore, StoredObject
from protocols.openadr3 import model
from protocols.openadr3.codec import decode, encode
from protocols.openadr3.codec_objects import TYPES
from protocols.openadr3.model import Held
from protocols.openadr3.names import Version
from protocols.openadr3.vtn_answers import Refused

T = TypeVar("T", bound=Held)
_IN_MEMORY: tuple[type[Held], ...] = (model.Program, model.Event, model.Subscription, model.Ven, model.Resource)

MOST_OBJECTS = 100_000
"""Of one kind in memory; more are refused."""
MOST_OF_ONE = 1000
"""Of one kind that belong to one client, so that no VEN can fill our memory."""
MOST_BYTES = {model.Ven: 1 << 16, model.Resource: 1 << 16, model.Subscription: 1 << 16}
"""Of an object of a kind that VENs make and we keep in memory. Others are as large as a body may be."""
_TICK = timedelta(microseconds=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class Change:
    """What was done to an object: CREATE has no ``before``, DELETE no ``after``."""

    operation: str
    before: Held | None
    after: Held | None


Heed = Callable[[Sequence[Change]], Sequence[StoredObject]]
"""Told of changes before they are durable; what it returns is stored in the same transaction, then ``heeded``."""


def id_of(value: Held) -> str:
    """The id of an object that a VTN holds."""
    if value.metadata is None:
        raise ValueError("an object that no VTN holds")
    return value.metadata.id


class VtnObjects:
    """The objects of one VTN."""

    def __init__(
        self,
        *,
        connection_id: str,
        store: ObjectStore,
        now: Callable[[], datetime],
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._connection_id = connection_id
        self._store = store
        self._now = now
        self._new_id = new_id
        self._heed: Heed = lambda _: ()
        self._heeded: Callable[[Sequence[StoredObject]], None] = lambda _: None
        self._writing = asyncio.Lock()
        self._loaded = False
        self._held: dict[type, dict[str, Any]] = {kind: {} for kind in _IN_MEMORY}
        self._owners_of_keys: dict[tuple[str, str], str] = {}
        self._keys: dict[tuple[str, str], str] = {}
        self._granted: dict[str, frozenset[str]] | None = None
        self._last = datetime.min.replace(tzinfo=UTC)

    def listen(self, heed: Heed, heeded: Callable[[Sequence[StoredObject]], None]) -> None:
        """Have ``heed`` told of changes before they are durable, and ``heeded`` of what it had stored with them."""
        self._heed = heed
        self._heeded = heeded

    async def load(self) -> None:
        """Read what is stored, unless that was done."""
        async with self._writing:
            if self._loaded:
                return
            for kind in _IN_MEMORY:
                stored = await self._store.objects(self._connection_id, Asked(kind=TYPES[kind]))
                self._held[kind] = {item.object_id: _decoded(item, kind) for item in stored}
                for item in stored:
                    self._remember(item)
            self._loaded = True

    def all(self, kind: type[T]) -> Iterable[T]:
        """The objects of a kind that is kept in memory, in order of creation."""
        return self._held[kind].values()

    def one(self, kind: type[T], object_id: str) -> T | None:
        """The object of a kind that is kept in memory."""
        found: T | None = self._held[kind].get(object_id)
        return found

    def program_of(self, value: Held) -> str | None:
        """The id of the program that an object belongs to, or is."""
        if isinstance(value, model.Program):
            return id_of(value)
        event = self.one(model.Event, value.event_id) if isinstance(value, model.Report) else value
        return event.program_id if isinstance(event, model.Event | model.Subscription) else None

    async def reports(self, asked: Asked) -> tuple[model.Report, ...]:
        """Reports; ``asked.parent_id`` is their event's id, ``asked.name`` the clientName."""
        found = await self._store.objects(self._connection_id, asked)
        return tuple(_decoded(item, model.Report) for item in found)

    def granted(self, client_id: str) -> frozenset[str]:
        """The targets granted to a client by its vens and their resources (Definition: Object Privacy)."""
        if self._granted is None:
            owners = {id_of(ven): ven.client_id or "" for ven in self.all(model.Ven)}
            gathered: dict[str, set[str]] = {owner: set() for owner in owners.values()}
            for ven in self.all(model.Ven):
                gathered[ven.client_id or ""].update(_words(ven.targets))
            for resource in self.all(model.Resource):
                gathered[owners[resource.ven_id or ""]].update(_words(resource.targets))
            self._granted = {owner: frozenset(targets) for owner, targets in gathered.items()}
        return self._granted.get(client_id, frozenset())

    async def add(self, value: T, *, object_id: str | None = None) -> T:
        """Keep a new object and return it as it is held. Raises ``Refused`` (409)."""
        async with self._writing:
            return await self._add(value, object_id or self._new_id())

    async def change(self, known: T, make: Callable[[T], T]) -> T:
        """Keep what ``make`` makes of an object as it is now, which may be later than it is ``known``, in its place.

        What is the same as before is no change: it stays as it was modified then, and nobody is told. Raises
        ``Refused`` (404, 409).
        """
        async with self._writing:
            before = await self._current(known)
            if before is None or before.metadata is None:
                raise Refused(404, "this object was deleted meanwhile")
            after = replace(make(before), metadata=before.metadata)
            if after == before:
                return before
            after = replace(after, metadata=replace(before.metadata, modified_at=self._instant()))
            stored = self._stored(after)
            await self._check(after, stored)
            moved = await self._moved_with(before, after)
            await self._commit([Change(operation="UPDATE", before=before, after=after)], [stored, *moved])
            return after

    async def remove(self, known: T) -> T:
        """Delete an object and what belongs to it; returns it as it was. Raises ``Refused`` (404)."""
        async with self._writing:
            value = await self._current(known)
            if value is None:
                raise Refused(404, "this object was deleted already")
            gone = [*await self._belonging(value), value]
            await self._commit([Change(operation="DELETE", before=item, after=None) for item in gone], [])
            return value

    async def _add(self, value: T, object_id: str) -> T:
        created_at = self._instant()
        after = replace(value, metadata=model.Metadata(id=object_id, created_at=created_at, modified_at=created_at))
        stored = self._stored(after)
        if isinstance(value, model.Report | model.Subscription):
            asked = Asked(kind=stored.kind, unique_key=stored.unique_key)
            for same in await self._store.objects(self._connection_id, asked):
                return _decoded(same, type(value))
        self._check_number(value)
        await self._check(after, stored)
        await self._commit([Change(operation="CREATE", before=None, after=after)], [stored])
        return after

    def _check_number(self, value: Held) -> None:
        if not isinstance(value, _IN_MEMORY):
            return
        held = self._held[type(value)]
        owner = getattr(value, "client_id", None)
        if len(held) >= MOST_OBJECTS:
            raise Refused(409, f"there are {len(held)} objects of this kind: delete some")
        if owner and sum(item.client_id == owner for item in held.values()) >= MOST_OF_ONE:
            raise Refused(409, f"{owner} has {MOST_OF_ONE} objects of this kind: delete some")

    async def _moved_with(self, before: Held, after: Held) -> list[StoredObject]:
        """The reports of an event that goes to another program: they are asked for by their program."""
        if not isinstance(before, model.Event) or self.program_of(before) == self.program_of(after):
            return []
        asked = Asked(kind=TYPES[model.Report], parent_id=id_of(before))
        reports = await self._store.objects(self._connection_id, asked)
        return [replace(report, program_id=self.program_of(after) or "") for report in reports]

    def _instant(self) -> datetime:
        """Now, but later than ever before: orders and revisions are by time."""
        now = self._now()
        self._last = now if now > self._last else self._last + _TICK
        return self._last

    async def _current(self, known: T) -> T | None:
        kind = type(known)
        if not isinstance(known, model.Report):
            return self.one(kind, id_of(known))
        asked = Asked(kind=TYPES[kind], object_id=id_of(known))
        found = await self._store.objects(self._connection_id, asked)
        return _decoded(found[0], kind) if found else None

    async def _check(self, value: Held, stored: StoredObject) -> None:
        """Raise ``Refused`` for a name that is taken, and for an object that is spoken of and not there."""
        taken_by = await self._owner_of(stored.kind, stored.unique_key, value)
        if taken_by not in {None, stored.object_id}:
            raise Refused(409, f"there is such a {_word(type(value))} already: change that one, or this one's name")
        kind, other = _spoken_of(value)
        if other is not None and other not in self._held[kind]:
            raise Refused(409, f"there is no {_word(kind)} {other}")

    async def _owner_of(self, kind: str, unique_key: str | None, value: Held) -> str | None:
        if unique_key is None or not isinstance(value, model.Report):
            return None if unique_key is None else self._owners_of_keys.get((kind, unique_key))
        found = await self._store.objects(self._connection_id, Asked(kind=kind, unique_key=unique_key))
        return next((item.object_id for item in found), None)

    async def _belonging(self, value: Held) -> list[Held]:
        own_id = id_of(value)
        if isinstance(value, model.Ven):
            return [item for item in self.all(model.Resource) if item.ven_id == own_id]
        if isinstance(value, model.Event):
            return list(await self.reports(Asked(kind=TYPES[model.Report], parent_id=own_id)))
        if isinstance(value, model.Program):
            events = [item for item in self.all(model.Event) if item.program_id == own_id]
            reports = [report for event in events for report in await self._belonging(event)]
            return [*reports, *events, *(item for item in self.all(model.Subscription) if item.program_id == own_id)]
        return []

    async def _commit(self, changes: Sequence[Change], kept: Sequence[StoredObject]) -> None:
        gone = [(TYPES[type(item.before)], id_of(item.before)) for item in changes if item.before and not item.after]
        heeded = self._heed(changes)
        await self._store.change(self._connection_id, kept=[*kept, *heeded], gone=gone)
        for kind, object_id in gone:
            self._forget_key(kind, object_id)
        for change in changes:
            if change.after is not None and not isinstance(change.after, model.Report):
                self._held[type(change.after)][id_of(change.after)] = change.after
            elif change.before is not None and change.after is None and not isinstance(change.before, model.Report):
                del self._held[type(change.before)][id_of(change.before)]
        for stored in kept:
            self._remember(stored)
        if any(isinstance(change.after or change.before, model.Ven | model.Resource) for change in changes):
            self._granted = None
        self._heeded(heeded)

    def _remember(self, stored: StoredObject) -> None:
        self._last = max(self._last, stored.modified_at)
        self._forget_key(stored.kind, stored.object_id)
        if stored.unique_key is not None and stored.kind != TYPES[model.Report]:
            self._keys[stored.kind, stored.object_id] = stored.unique_key
            self._owners_of_keys[stored.kind, stored.unique_key] = stored.object_id

    def _forget_key(self, kind: str, object_id: str) -> None:
        key = self._keys.pop((kind, object_id), None)
        if key is not None:
            del self._owners_of_keys[kind, key]

    def _stored(self, value: Held) -> StoredObject:
        metadata = value.metadata
        if metadata is None or metadata.created_at is None or metadata.modified_at is None:
            raise ValueError("an object without its metadata")
        parent_id = value.event_id if isinstance(value, model.Report) else getattr(value, "ven_id", None)
        return StoredObject(
            kind=TYPES[type(value)],
            object_id=metadata.id,
            owner=getattr(value, "client_id", None) or "",
            program_id=self.program_of(value) or "",
            parent_id=parent_id or "",
            name=getattr(value, "client_name", None) or getattr(value, "name", None) or "",
            unique_key=_unique_key(value),
            created_at=metadata.created_at,
            modified_at=metadata.modified_at,
            body=_encoded(value),
        )


def _encoded(value: Held) -> str:
    """The object as it is kept. Raises ``Refused`` for what we could not read again, such as what grew by writing."""
    try:
        body = encode(value, Version.V3_1)
        decode(body, type(value), Version.V3_1)
    except MessageTooLarge as cause:
        raise Refused(413, f"too large to be kept: {cause}") from cause
    except (ValueError, MessageError) as cause:
        raise Refused(400, f"cannot be kept: {cause}") from cause
    most = MOST_BYTES.get(type(value), len(body))
    if len(body) > most:
        raise Refused(413, f"{len(body)} bytes, more than the {most} of a {_word(type(value))}")
    return body.decode()


def _word(kind: type) -> str:
    return kind.__name__.lower()


def _spoken_of(value: Held) -> tuple[type, str | None]:
    """The kind and id of the object that an object stands on."""
    if isinstance(value, model.Report):
        return model.Event, value.event_id
    if isinstance(value, model.Resource):
        return model.Ven, value.ven_id
    return model.Program, value.program_id if isinstance(value, model.Event | model.Subscription) else None


def _unique_key(value: Held) -> str | None:
    if isinstance(value, model.Program | model.Ven):
        return value.name
    if isinstance(value, model.Resource):
        return f"{value.ven_id}/{value.name}"
    if isinstance(value, model.Report | model.Subscription):
        said = encode(replace(value, metadata=None, client_id=None), Version.V3_1)
        return sha256((value.client_id or "").encode() + b"\0" + said).hexdigest()
    return None


def _words(targets: model.Targets) -> Iterable[str]:
    return (target for target in targets if isinstance(target, str))


def _decoded(stored: StoredObject, kind: type[T]) -> T:
    return decode(stored.body.encode(), kind, Version.V3_1)
