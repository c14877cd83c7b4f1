"""A VTN's notifications: made of changes, stored with them, and delivered by webhook and MQTT."""

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from typing import Protocol

from protocols.object_store import ObjectStore, StoredObject
from protocols.openadr3 import model
from protocols.openadr3.model import Held
from protocols.openadr3.vtn_access import Caller, Client
from protocols.openadr3.vtn_notices import Told, as_seen, callbacks_for, sight_of, wants
from protocols.openadr3.vtn_objects import Change, VtnObjects, id_of
from protocols.openadr3.vtn_outbox import Notice, Outbox
from protocols.openadr3.vtn_topics import messages_of
from protocols.openadr3.vtn_webhook import Callbacks

_BROKER = "mqtt"
"""The line of what is published; ids of subscriptions are longer."""


class Publisher(Protocol):
    """How a VTN reaches its MQTT broker."""

    async def publish(self, topic: str, body: bytes) -> None:
        """Publish, at least once. Raises ``Unreachable`` where the broker has not taken it."""


class VtnTelling:
    """Notifications of one VTN; without ``callbacks`` or ``publisher`` none go that way."""

    def __init__(
        self,
        *,
        connection_id: str,
        store: ObjectStore,
        objects: VtnObjects,
        clients: Mapping[str, Client],
        now: Callable[[], datetime],
        callbacks: Callbacks | None,
        publisher: Publisher | None,
    ) -> None:
        self._connection_id = connection_id
        self._store = store
        self._objects = objects
        self._clients = clients
        self._now = now
        self._callbacks = callbacks
        self._publisher = publisher
        self._outbox = Outbox(connection_id=connection_id, store=store, send=self._send, clock=now)
        self.load = self._outbox.load
        self.deliver_due = self._outbox.deliver_due
        objects.listen(self._notices, self._outbox.take)

    @property
    def wake(self) -> asyncio.Event:
        """Set when there is something to deliver."""
        return self._outbox.wake

    async def tell_read(self, values: Sequence[Held], caller: Caller) -> None:
        """Tell of objects that were read. Not the reader: it would read again, and be told again, for ever.

        Only callbacks are told; the definition has no topics for reading.
        """
        found: list[StoredObject] = []
        for subscription in self._objects.all(model.Subscription):
            if subscription.client_id != caller.client_id and wants(subscription, "READ"):
                sight = sight_of(subscription, self._clients, self._objects)
                seen = [item for value in values if (item := sight(value)) is not None]
                found += self._calls(subscription, [Told(operation="READ", object=item) for item in seen])
        if found:
            await self._store.change(self._connection_id, kept=found)
            self._outbox.take(found)

    def _notices(self, changes: Sequence[Change]) -> list[StoredObject]:
        """The notifications of changes, to be stored with them."""
        found: list[StoredObject] = []
        for subscription in self._objects.all(model.Subscription):
            sight = sight_of(subscription, self._clients, self._objects)
            told = [said for change in changes if (said := as_seen(change, sight)) is not None]
            found += self._calls(subscription, told)
        if self._publisher is not None:
            for change in changes:
                found += [
                    self._outbox.notice(line=_BROKER, address=topic, body=body, owner="", now=self._now())
                    for topic, body in messages_of(change, self._clients, self._objects)
                ]
        return found

    def _calls(self, subscription: model.Subscription, told: Iterable[Told]) -> list[StoredObject]:
        return [
            self._outbox.notice(
                line=id_of(subscription),
                address=url,
                body=said.body,
                owner=subscription.client_id or "",
                now=self._now(),
            )
            for said in told
            for url in callbacks_for(subscription, said)
        ]

    async def _send(self, notice: Notice) -> None:
        if notice.line == _BROKER:
            if self._publisher is not None:
                await self._publisher.publish(notice.address, notice.body)
            return
        # The subscription may be gone meanwhile, or want to be called elsewhere.
        subscription = self._objects.one(model.Subscription, notice.line)
        client = None if subscription is None else self._clients.get(subscription.client_id or "")
        if subscription is None or client is None or self._callbacks is None:
            return
        wanted = [item for item in subscription.object_operations if item.callback_url == notice.address]
        if wanted:
            await self._callbacks.tell(
                notice.address,
                notice.body,
                notice_id=notice.notice_id,
                bearer_token=wanted[0].bearer_token,
                key=client.webhook_key,
            )
