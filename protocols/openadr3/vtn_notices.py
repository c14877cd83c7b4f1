"""Whom a VTN tells of a change, and what (Definition: Subscriptions; Object Privacy).

A subscription is told of what its client may see, the subscription's targets standing for those of a request. An
update that brings an object into a client's sight is told to it as CREATE, one that takes it out of sight as DELETE,
with the object as it was: who goes by notifications must not hold on to an event that is no longer its own.
"""

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass

from protocols.openadr3 import model
from protocols.openadr3.codec import encode
from protocols.openadr3.codec_objects import TYPES
from protocols.openadr3.model import Held
from protocols.openadr3.names import Version
from protocols.openadr3.vtn_access import Client, Role, seen_by_ven
from protocols.openadr3.vtn_objects import Change, VtnObjects
from protocols.openadr3.vtn_query import has_target

Sight = Callable[[Held], Held | None]
"""An object as somebody may see it, ``None`` where it may not be seen."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Told:
    """A notification as one party may see it."""

    operation: str
    object: Held

    @property
    def body(self) -> bytes:
        """The notification in JSON."""
        return encode(model.Notification(operation=self.operation, object=self.object), Version.V3_1)


def as_seen(change: Change, sight: Sight) -> Told | None:
    """A change in somebody's sight, ``None`` where there is nothing to be told."""
    before = None if change.before is None else sight(change.before)
    after = None if change.after is None else sight(change.after)
    if after is not None:
        return Told(operation="CREATE" if before is None else change.operation, object=after)
    return None if before is None else Told(operation="DELETE", object=before)


def sight_of(subscription: model.Subscription, clients: Mapping[str, Client], objects: VtnObjects) -> Sight:
    """What the client of a subscription may be told of by it; nothing where the client is not known any more."""
    client = clients.get(subscription.client_id or "")
    targets = frozenset(target for target in subscription.targets if isinstance(target, str))

    def sight(value: Held) -> Held | None:
        if client is None or not has_target(value, targets):
            return None
        if subscription.program_id not in {None, objects.program_of(value)}:
            return None
        if client.role is Role.BUSINESS_LOGIC:
            return value
        return seen_by_ven(value, client.client_id, requested=targets, granted=objects.granted(client.client_id))

    return sight


def callbacks_for(subscription: model.Subscription, told: Told) -> Iterable[str]:
    """The URLs of a subscription that want to know; each once."""
    return dict.fromkeys(
        item.callback_url
        for item in subscription.object_operations
        if TYPES[type(told.object)] in item.objects and told.operation in item.operations
    )


def wants(subscription: model.Subscription, operation: str) -> bool:
    """Whether a subscription is to an operation at all."""
    return any(operation in item.operations for item in subscription.object_operations)
