"""A client's side of the conversation: lists, objects and their changes, kept as they came and went."""

import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from hashlib import sha256
from time import monotonic
from typing import Any, Generic, TypeVar

from protocols.errors import MessageError, MessageTooLarge, Rejected
from protocols.json import parse
from protocols.openadr3 import model
from protocols.openadr3.client_http import Exchange, Request, Response
from protocols.openadr3.codec import ListFault, Page, decode, decode_list, encode
from protocols.openadr3.model_access import Problem
from protocols.openadr3.names import Version
from protocols.party_store import Direction, PartyStore, RawMessage

PAGE_SIZES = (50, 10, 2)
"""Objects asked for at a time: as many as the definition allows, fewer where a page is larger than we read."""

MOST_PAGES = 400
"""Of one list: 20,000 objects."""

MOST_BYTES = 32 << 20
"""Of one list, over all its pages."""

_SECRETS = ("bearerToken", "clientKey")
_MOST_REMEMBERED = 1000
_MOST_PAGES_KEPT = 40
_QUOTED = 200

Query = tuple[tuple[str, str], ...]
H = TypeVar("H", bound=model.Held)
T = TypeVar("T")


@dataclass(frozen=True, slots=True, kw_only=True)
class Listing(Generic[H]):
    """What a list held. ``digests`` are those of the page that each object came in, by the object's id.

    ``whole`` is false where it cannot be said that these are all: the list changed between two of its pages, or an
    object that could not be read has no id that could be read either.
    """

    items: tuple[H, ...]
    faults: tuple[ListFault, ...]
    whole: bool
    digests: Mapping[str, str]


class Client:
    """Asks one VTN. What is said and heard is kept in the store, but an answer that is the same as the last time."""

    def __init__(self, *, connection_id: str, exchange: Exchange, store: PartyStore, version: Version) -> None:
        self.connection_id = connection_id
        self.version = version
        self._exchange = exchange
        self._store = store
        self._last_heard: dict[tuple[str, Query], str] = {}
        self._pages: dict[tuple[str, Query], tuple[bytes, Page[Any]]] = {}
        self._leave_alone: tuple[datetime, str, str] | None = None
        self._page_sizes: dict[str, tuple[int, ...]] = {}

    async def list_all(self, kind: type[H], path: str, query: Query, now: datetime) -> Listing[H]:
        """Every object at ``path``, page by page.

        Each page begins with the last object of the one before: where it does not, the list has moved meanwhile and
        an object may have been missed. Raises as ``send`` does, and ``MessageError`` for what is no list.
        """
        size, *smaller = self._page_sizes.get(path, PAGE_SIZES)
        while True:
            try:
                return await self._list_by(size, kind, path, query, now)
            except MessageTooLarge:
                if not smaller:
                    raise
                # From now on: the list will hardly have shrunk by the next poll.
                self._page_sizes[path] = tuple(smaller)
                size, *smaller = smaller

    async def _list_by(self, size: int, kind: type[H], path: str, query: Query, now: datetime) -> Listing[H]:
        found: dict[str, H] = {}
        faults: dict[str, ListFault] = {}
        digests: dict[str, str] = {}
        whole = True
        skip = length = 0
        before: list[str] = []
        for _ in range(MOST_PAGES):
            of_page: Query = (*query, ("skip", str(skip)), ("limit", str(size)))
            body, digest = await self._hear("GET", path, of_page, now)
            length += len(body)
            if length > MOST_BYTES:
                break
            page = self._read_list(body, kind, (path, of_page), digest)
            ids = [_id_of(item) for item in page.items] + [f"\0{fault.object_id}" for fault in page.faults]
            if before and ids == before:
                return Listing(items=tuple(found.values()), faults=tuple(faults.values()), whole=whole, digests=digests)
            whole = whole and all(fault.object_id is not None for fault in page.faults)
            whole = whole and (not before or not ids or bool(set(ids) & set(before)))
            found |= {_id_of(item): item for item in page.items}
            faults |= {str(fault.object_id or f"{skip}+{fault.index}"): fault for fault in page.faults}
            digests |= dict.fromkeys([_id_of(item) for item in page.items], digest)
            if len(ids) < size:
                whole = whole and (not before or bool(ids))
                return Listing(items=tuple(found.values()), faults=tuple(faults.values()), whole=whole, digests=digests)
            skip += len(ids) - 1
            before = ids
        text = f"GET {path}: a list of more than {MOST_PAGES} pages or {MOST_BYTES} bytes"
        raise MessageTooLarge(text, connection_id=self.connection_id)

    def _read_list(self, body: bytes, kind: type[H], key: tuple[str, Query], digest: str) -> Page[H]:
        """The page, read anew only where its bytes are others than the last time."""
        last, page = self._pages.get(key, (b"", None))
        if page is None or last != body:
            try:
                page = decode_list(body, kind, self.version)
            except MessageError as fault:
                raise self._named(fault, digest) from fault
            if len(self._pages) >= _MOST_PAGES_KEPT:
                self._pages.clear()
            self._pages[key] = (body, page)
        return page

    async def get(self, kind: type[T], path: str, now: datetime, query: Query = ()) -> T | None:
        """The object at ``path``, ``None`` where there is none (404). Raises as ``send`` does, and ``MessageError``."""
        try:
            body, digest = await self._hear("GET", path, query, now)
        except Rejected as fault:
            if fault.code == "404":
                return None
            raise
        return self._read(body, kind, digest)

    async def create(self, value: H, path: str, now: datetime) -> H:
        """Have the VTN hold a new object; returns it as held. Raises as ``send``, and ``MessageError``."""
        return await self._write("POST", value, path, now)

    async def replace(self, value: H, path: str, now: datetime) -> H:
        """Put an object in the place of the one at ``path``; as ``create``."""
        return await self._write("PUT", value, path, now)

    async def delete(self, path: str, now: datetime) -> None:
        """Have the VTN hold no object at ``path`` any more. Raises as ``send``."""
        await self._record(Direction.OUT, f"DELETE {path}", b"", now)
        await self.send(Request(method="DELETE", path=path), now)

    async def _write(self, method: str, value: H, path: str, now: datetime) -> H:
        body = encode(value, self.version)
        await self._record(Direction.OUT, f"{method} {path}", body, now)
        answer = await self.send(Request(method=method, path=path, body=body), now)
        digest = await self._record(Direction.IN, f"{method} {path}", answer.body, now, answer.took_s)
        return self._read(answer.body, type(value), digest)

    async def _hear(self, method: str, path: str, query: Query, now: datetime) -> tuple[bytes, str]:
        """The body of an answer and its digest; kept where it says something else than the last time."""
        answer = await self.send(Request(method=method, path=path, query=query), now)
        body = answer.body
        digest = sha256(_without_secrets(body)).hexdigest()
        if self._last_heard.get((path, query)) != digest:
            await self._record(Direction.IN, f"{method} {path}", body, now, answer.took_s)
            if len(self._last_heard) >= _MOST_REMEMBERED:
                self._last_heard.clear()
            self._last_heard[path, query] = digest
        return body, digest

    async def send(self, request: Request, now: datetime) -> Response:
        """Ask, and hear an answer that is well.

        Raises what the exchange does, and ``Rejected`` with the HTTP status as code and the VTN's own words. A VTN
        that asks to be left alone for a while (Retry-After) is not asked before.
        """
        if self._leave_alone is not None:
            until, text, code = self._leave_alone
            if now < until:
                raise Rejected(text, code=code, connection_id=self.connection_id)
            self._leave_alone = None
        began_s = monotonic()
        response = await self._exchange(request, now)
        response = replace(response, took_s=monotonic() - began_s)
        if 200 <= response.status < 300:
            return response
        text, code = f"{request.method} {request.path}: {_said(response, self.version)}", str(response.status)
        if response.retry_after_s is not None and response.status in {429, 503}:
            self._leave_alone = (now + timedelta(seconds=response.retry_after_s), text, code)
        raise Rejected(text, code=code, connection_id=self.connection_id)

    def _read(self, body: bytes, kind: type[T], digest: str) -> T:
        try:
            return decode(body, kind, self.version)
        except MessageError as fault:
            raise self._named(fault, digest) from fault

    def _named(self, fault: MessageError, digest: str) -> MessageError:
        fault.raw_sha256, fault.connection_id = digest, self.connection_id
        return fault

    async def _record(
        self, direction: Direction, name: str, body: bytes, now: datetime, took_s: float | None = None
    ) -> str:
        kept = _without_secrets(body)
        digest = sha256(kept).hexdigest()
        await self._store.record_message(
            RawMessage(
                connection_id=self.connection_id,
                direction=direction,
                at=now,
                name=name,
                body=kept,
                sha256=digest,
                took_s=took_s,
            )
        )
        return digest


def _id_of(item: model.Held) -> str:
    return "" if item.metadata is None else item.metadata.id


def _without_secrets(body: bytes) -> bytes:
    """The body as it may be kept: the tokens and keys of notifiers are nobody's to read later."""
    if not any(name.encode() in body for name in _SECRETS):
        return body
    try:
        return json.dumps(_blanked(parse(body))).encode()
    except MessageError:
        return b""


def _blanked(value: object) -> object:
    if isinstance(value, dict):
        return {name: None if name in _SECRETS else _blanked(item) for name, item in value.items()}
    return [_blanked(item) for item in value] if isinstance(value, list) else value


def _said(response: Response, version: Version) -> str:
    """What an error says of itself: its problem object (Definition, Problem), else its text."""
    try:
        problem = decode(response.body, Problem, version)
        words = [problem.title, problem.detail]
    except MessageError:
        is_text = response.content_type == "text/plain"
        words = [response.body[:_QUOTED].decode("utf-8", "replace").strip() if is_text else ""]
    said = ": ".join(word for word in words if word)[:_QUOTED]
    return f"HTTP {response.status} {said}".strip()
