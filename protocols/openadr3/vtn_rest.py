"""The operations of the definition on objects, as far as their caller may do and see them.

What a VEN may not see does not exist for it: 404 for an object by its id, absent from a list. What its scopes do not
allow it is told: 403.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any, TypeVar, cast

from protocols.errors import MessageError, MessageTooLarge
from protocols.object_store import Asked
from protocols.openadr3 import model
from protocols.openadr3.codec import decode_request
from protocols.openadr3.codec_objects import TYPES
from protocols.openadr3.model import Held
from protocols.openadr3.names import Version
from protocols.openadr3.vtn_access import READ_ALL, READING, WRITING, Caller, Role, require, seen_by_ven
from protocols.openadr3.vtn_answers import Answer, Refused, Request
from protocols.openadr3.vtn_encoding import Encoder
from protocols.openadr3.vtn_objects import VtnObjects
from protocols.openadr3.vtn_query import Query, has_target, read_query, selection

T = TypeVar("T", bound=Held)

KINDS: dict[str, Any] = {
    "programs": model.Program,
    "events": model.Event,
    "reports": model.Report,
    "subscriptions": model.Subscription,
    "vens": model.Ven,
    "resources": model.Resource,
}

Accept = Callable[[Held, Held | None, bytes], Awaitable[None]]
"""Asked before an object is kept, with the one it replaces and the body that brought it; may raise ``Refused``."""
Kept = Callable[[Held, Caller], Awaitable[None]]
"""Told of an object that is durable."""
Read = Callable[[Sequence[Held], Caller], Awaitable[None]]
"""Told of objects that are about to be given to a reader."""


class VtnRest:
    """GET, POST, PUT and DELETE of objects."""

    def __init__(
        self, *, objects: VtnObjects, now: Callable[[], datetime], accept: Accept, kept: Kept, read: Read
    ) -> None:
        self._objects = objects
        self._now = now
        self._accept = accept
        self._kept = kept
        self._read = read
        self._encoder = Encoder()

    async def answer(self, request: Request, caller: Caller, kind: Any, object_id: str | None) -> Answer:
        """The answer to a request for a list (no id) or an object. Raises ``Refused``."""
        if request.method == "GET":
            # A client without either scope may see nothing of this kind.
            require(caller, READING[kind], READ_ALL)
            query = read_query(request.query)
            if object_id is None:
                listed = await self.list(kind, caller, query)
                await self._read(listed, caller)
                return Answer(status=200, body=self._encoder.all(listed))
            found = await self.get(kind, object_id, caller)
            await self._read([found], caller)
            return self._one(200, found)
        require(caller, WRITING[kind])
        if object_id is None:
            return self._one(201, await self._post(kind, request.body, caller))
        before = await self._writable(kind, object_id, caller)
        if request.method == "DELETE":
            return self._one(200, await self._objects.remove(before))
        return self._one(200, await self._put(kind, before, request.body, caller))

    def _one(self, status: int, value: Held) -> Answer:
        return Answer(status=status, body=self._encoder.one(value))

    async def list(self, kind: type[T], caller: Caller, query: Query) -> Sequence[T]:
        """The page of objects that the caller asks for and may see."""
        if issubclass(kind, model.Report):
            return cast("Sequence[T]", await self._reports(caller, query))
        matches = selection(query, self._now())
        found = (item for item in self._objects.all(kind) if matches(item) and has_target(item, query.targets))
        seen = (self._seen(item, caller, query.targets) for item in found)
        return query.page([item for item in seen if item is not None])

    async def get(self, kind: type[T], object_id: str, caller: Caller) -> T:
        """An object that the caller may see. Raises ``Refused`` (404)."""
        found = await self._find(kind, object_id)
        seen = None if found is None else self._seen(found, caller, None)
        if seen is None:
            raise Refused(404, f"there is no {kind.__name__.lower()} with this id")
        return seen

    def _seen(self, value: T, caller: Caller, requested: frozenset[str] | None) -> T | None:
        if caller.reads_all:
            return value
        granted = self._objects.granted(caller.client_id)
        return cast("T | None", seen_by_ven(value, caller.client_id, requested=requested, granted=granted))

    async def _reports(self, caller: Caller, query: Query) -> Sequence[model.Report]:
        return await self._objects.reports(
            Asked(
                kind=TYPES[model.Report],
                owner=None if caller.reads_all else caller.client_id,
                program_id=query.program_id,
                parent_id=query.event_id,
                name=query.client_name,
                skip=query.skip,
                limit=query.limit,
            )
        )

    async def _find(self, kind: type[T], object_id: str) -> T | None:
        if issubclass(kind, model.Report):
            found = await self._objects.reports(Asked(kind=TYPES[model.Report], object_id=object_id))
            return cast("T", found[0]) if found else None
        return cast("T | None", self._objects.one(kind, object_id))

    async def _writable(self, kind: type[T], object_id: str, caller: Caller) -> T:
        """The object as it is held, where the caller may change it: business logic all, others their own."""
        found = await self._find(kind, object_id)
        if found is None or not _may_change(found, caller):
            raise Refused(404, f"there is no {kind.__name__.lower()} with this id that is yours to change")
        return found

    async def _post(self, kind: type[T], body: bytes, caller: Caller) -> T:
        value = _owned(_read(kind, body), None, caller)
        await self._check_related(value, caller)
        await self._accept(value, None, body)
        kept = await self._objects.add(value)
        await self._kept(kept, caller)
        return kept

    async def _put(self, kind: type[T], before: T, body: bytes, caller: Caller) -> T:
        said = _read(kind, body)
        value = _owned(said, before, caller)
        await self._check_related(value, caller)
        await self._accept(value, before, body)
        kept = await self._objects.change(before, lambda current: self._changed(said, current, caller))
        await self._kept(kept, caller)
        return kept

    def _changed(self, said: T, current: T, caller: Caller) -> T:
        """What becomes of an object as it is at the very moment: business logic may have changed whose it is."""
        value = _owned(said, current, caller)
        if not _may_change(current, caller):
            raise Refused(404, "this object is not yours any more")
        if isinstance(value, model.Ven) and isinstance(current, model.Ven) and value.client_id != current.client_id:
            self._check_without_resources(current)
        return value

    def _check_without_resources(self, ven: model.Ven) -> None:
        if ven.metadata is not None and any(
            item.ven_id == ven.metadata.id for item in self._objects.all(model.Resource)
        ):
            raise Refused(409, "a ven with resources keeps its clientID: delete the resources first")

    async def _check_related(self, value: Held, caller: Caller) -> None:
        """Refuse what speaks of an object that the caller cannot see, in the words for one that does not exist."""
        related: tuple[Any, str | None] = (model.Program, None)
        if isinstance(value, model.Report):
            related = (model.Event, value.event_id)
        elif isinstance(value, model.Subscription):
            related = (model.Program, value.program_id)
        elif isinstance(value, model.Resource):
            related = (model.Ven, value.ven_id)
        kind, other = related
        if other is None:
            return
        found = self._objects.one(kind, other)
        if found is None or self._seen(found, caller, None) is None:
            raise Refused(409, f"there is no {kind.__name__.lower()} {other}")
        if isinstance(value, model.Resource) and isinstance(found, model.Ven) and found.client_id != value.client_id:
            raise Refused(409, "a resource belongs to the client of its ven: give the clientID of the ven")


def _read(kind: type[T], body: bytes) -> T:
    try:
        return decode_request(body, kind, Version.V3_1)
    except MessageTooLarge as cause:
        raise Refused(413, str(cause)) from cause
    except MessageError as cause:
        raise Refused(400, str(cause)) from cause


def _may_change(value: Held, caller: Caller) -> bool:
    return caller.role is Role.BUSINESS_LOGIC or getattr(value, "client_id", None) == caller.client_id


def _owned(value: T, before: T | None, caller: Caller) -> T:
    """The object with whom it belongs to (Object Privacy): whose token it is, or whom business logic names."""
    if isinstance(value, model.Program | model.Event):
        return value
    if isinstance(value, model.Report | model.Subscription):
        owner = caller.client_id if before is None else getattr(before, "client_id", None)
        return replace(value, client_id=owner)
    if caller.role is Role.BUSINESS_LOGIC:
        if value.client_id is None:
            word = "VEN" if isinstance(value, model.Ven) else "RESOURCE"
            raise Refused(400, f"$.objectType: business logic sends BL_{word}_REQUEST, which names the clientID")
        return value
    if value.client_id is not None or value.targets:
        raise Refused(403, "only business logic names clientID and targets: send a VEN_..._REQUEST")
    granted = () if before is None else getattr(before, "targets", ())
    return replace(value, client_id=caller.client_id, targets=granted)
