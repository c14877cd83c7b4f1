"""Any message or fragment of OpenADR 2.0b in neutral form, for people and for `gridgate decode`."""

from datetime import UTC, datetime
from hashlib import sha256

from protocols.described import plain, prices_of
from protocols.grid import GridEvent, OptDecision
from protocols.openadr2b import model
from protocols.openadr2b.codec import Fragment, Message, decode_any, is_signed
from protocols.openadr2b.neutral_event import read_batch
from protocols.xml import parse

_FOR_A_FRAGMENT = datetime(1970, 1, 1, tzinfo=UTC)


def describe(body: bytes) -> dict[str, object]:
    """What a payload, a bare message or a fragment says.

    ``message`` is the element's name, ``events`` the ``GridEvent`` it brings, ``prices`` their price signals flattened,
    ``faults`` an ``OptDecision`` for each event that contradicts itself, ``signed`` whether there is a signature (not
    verified), ``content`` everything in the protocol's own terms (durations in seconds). Raises ``MessageError``.
    """
    root = parse(body)
    name, value = decode_any(root)
    events, faults = _events(value, sha256(body).hexdigest())
    return {
        "message": name,
        "protocol": "openadr",
        "version": "2.0b",
        "signed": is_signed(root),
        "events": list(events),
        "prices": [price for event in events for price in prices_of(event)],
        "faults": list(faults),
        "content": plain(value),
    }


def _events(value: Message | Fragment, raw_sha256: str) -> tuple[tuple[GridEvent, ...], tuple[OptDecision, ...]]:
    if isinstance(value, model.EiEvent):
        offered = model.OfferedEvent(event=value, response_required="always")
        value = model.DistributeEvent(request_id="", vtn_id="", events=(offered,))
    if not isinstance(value, model.DistributeEvent):
        return (), ()
    created = [offered.event.descriptor.created_at for offered in value.events]
    received_at = max(created, default=_FOR_A_FRAGMENT)
    batch = read_batch(value, connection_id="", raw_sha256=raw_sha256, received_at=received_at)
    return batch.events, batch.faults
