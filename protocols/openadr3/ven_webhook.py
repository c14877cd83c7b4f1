"""Notifications by webhook: the subscription that asks for them, and the door at which they arrive.

A notification is a hint and the poll is the truth: what it says is not read. Whoever shows our token makes the next
poll come at once, and that is all.
"""

import asyncio
from collections.abc import Collection, Iterable
from datetime import datetime
from hmac import compare_digest
from secrets import token_urlsafe
from urllib.parse import urlsplit

from aiohttp import web

from protocols.errors import Rejected
from protocols.json import MAX_BYTES
from protocols.openadr3 import model
from protocols.openadr3.client import Client
from protocols.openadr3.names import Version

READ_TIMEOUT_S = 10.0
LONGEST_ECHO = 4096
MOST_PROGRAMS = 200
"""That are subscribed to one by one, as 3.0 wants it."""

_OBJECTS = ("PROGRAM", "EVENT")
_OPERATIONS = ("CREATE", "UPDATE", "DELETE")


class Webhook:
    """Our callback at ``url``, as the VTN reaches it (https, by the definition); it sets ``woken``.

    The token is made anew in every life, and told to the VTN in the subscription. It is nowhere else.
    """

    def __init__(self, url: str, token: str | None = None) -> None:
        self.url = url
        self.token = token or token_urlsafe(32)
        self.woken = asyncio.Event()

    def routes(self) -> list[web.RouteDef]:
        """GET answers a VTN's challenge, POST takes a notification, both at the path of the URL."""
        path = urlsplit(self.url).path or "/"
        return [web.get(path, self._challenged, allow_head=False), web.post(path, self._notified)]

    async def _challenged(self, request: web.Request) -> web.Response:
        """That this callback is there and is ours (Definition, Webhooks): the word we are asked for."""
        echo = request.query.get("echo", "")
        if not 0 < len(echo) <= LONGEST_ECHO:
            return web.Response(status=400, text=f"a challenge has 1 to {LONGEST_ECHO} characters in echo")
        return web.Response(text=echo, headers={"X-Content-Type-Options": "nosniff"})

    async def _notified(self, request: web.Request) -> web.Response:
        shown = request.headers.get("Authorization", "").encode("utf-8", "surrogateescape")
        if not compare_digest(shown, f"Bearer {self.token}".encode()):
            return web.Response(status=401, headers={"WWW-Authenticate": "Bearer"})
        length = 0
        try:
            async with asyncio.timeout(READ_TIMEOUT_S):
                async for chunk in request.content.iter_chunked(1 << 16):
                    length += len(chunk)
                    if length > MAX_BYTES:
                        return web.Response(status=413, text=f"more than {MAX_BYTES} bytes")
        except TimeoutError:
            return web.Response(status=408)
        self.woken.set()
        return web.Response(status=200)


async def subscribe(
    client: Client,
    webhook: Webhook,
    *,
    client_name: str,
    targets: Collection[str],
    program_ids: Iterable[str],
    anew: bool,
    now: datetime,
) -> None:
    """Have the VTN hold exactly the subscriptions that we want at our callback.

    In 3.1 that is one without targets, and where we have targets one with them: whether the latter would tell of what
    has no targets is left open. In 3.0 it is one for each program. ``anew`` replaces what is there, as the token may
    have changed. Raises what the client does.
    """
    query = (("clientName", client_name),)
    held = {
        _key(item): item
        for item in (await client.list_all(model.Subscription, "/subscriptions", query, now)).items
        if item.client_name == client_name and any(one.callback_url == webhook.url for one in item.object_operations)
    }
    wanted = {_key(item): item for item in _wanted(client.version, webhook, client_name, targets, program_ids)}
    for key, item in wanted.items():
        there = held.get(key)
        if there is None or there.metadata is None:
            await client.create(item, "/subscriptions", now)
        elif anew:
            await client.replace(item, f"/subscriptions/{there.metadata.id}", now)
    for key, item in held.items():
        if key not in wanted and item.metadata is not None:
            try:
                await client.delete(f"/subscriptions/{item.metadata.id}", now)
            except Rejected as fault:
                if fault.code != "404":
                    raise


def _wanted(
    version: Version, webhook: Webhook, client_name: str, targets: Collection[str], program_ids: Iterable[str]
) -> Iterable[model.Subscription]:
    operation = model.ObjectOperation(
        objects=_OBJECTS, operations=_OPERATIONS, callback_url=webhook.url, bearer_token=webhook.token
    )
    if version is Version.V3_0:
        for program_id in sorted(program_ids)[:MOST_PROGRAMS]:
            yield model.Subscription(client_name=client_name, object_operations=(operation,), program_id=program_id)
        return
    yield model.Subscription(client_name=client_name, object_operations=(operation,))
    if targets:
        yield model.Subscription(
            client_name=client_name, object_operations=(operation,), targets=tuple(sorted(targets))
        )


def _key(item: model.Subscription) -> tuple[object, ...]:
    operations = {
        (one.callback_url, frozenset(one.objects), frozenset(one.operations)) for one in item.object_operations
    }
    return item.program_id, frozenset(item.targets), frozenset(operations)
