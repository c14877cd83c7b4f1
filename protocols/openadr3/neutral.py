"""Any message of OpenADR 3 in neutral form, for people and for `gridgate decode`."""

from datetime import UTC, datetime
from hashlib import sha256

from protocols.described import plain, prices_of
from protocols.grid import EventBatch
from protocols.openadr3 import model
from protocols.openadr3.codec import Message, decode_any
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_event import read_batch

_FOR_A_REQUEST = datetime(1970, 1, 1, tzinfo=UTC)


def describe(body: bytes) -> dict[str, object]:
    """What an object, a list of objects or any other message says.

    ``message`` is the kind of object, ``version`` one in which it can be read (3.1 before 3.0.1), ``events`` the
    ``GridEvent`` it brings, ``prices`` their price signals flattened, ``faults`` an ``OptDecision`` for each event that
    contradicts itself, ``content`` everything in the protocol's own terms (durations in seconds). Secrets are left out.
    Raises ``MessageError``.
    """
    version, found = decode_any(body)
    messages = found if isinstance(found, tuple) else (found,)
    batch = _events(messages, version, sha256(body).hexdigest())
    names = dict.fromkeys(type(message).__name__ for message in messages)
    return {
        "message": f"list of {len(messages)}: {', '.join(names)}" if isinstance(found, tuple) else "".join(names),
        "protocol": "openadr",
        "version": version,
        "signed": False,
        "events": list(batch.events),
        "prices": [price for event in batch.events for price in prices_of(event)],
        "faults": list(batch.faults),
        "content": plain(found),
    }


def _events(messages: tuple[Message, ...], version: Version, raw_sha256: str) -> EventBatch:
    said = [message.object if isinstance(message, model.Notification) else message for message in messages]
    events = [item for item in said if isinstance(item, model.Event)]
    changed = [item.metadata.modified_at for item in events if item.metadata is not None]
    return read_batch(
        events,
        connection_id="",
        version=version,
        received_at=max((at for at in changed if at is not None), default=_FOR_A_REQUEST),
        complete=False,
        raw_sha256=raw_sha256,
    )
