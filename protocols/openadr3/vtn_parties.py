"""The vens of a VTN as neutral parties: from what it holds, or, where it does not run here, from the store."""

from protocols.grid import Party
from protocols.object_store import Asked, ObjectStore
from protocols.openadr3 import model
from protocols.openadr3.codec import decode
from protocols.openadr3.codec_objects import TYPES
from protocols.openadr3.names import Version


def party_of(ven: model.Ven, connection_id: str) -> Party | None:
    """The ven as a party, its targets as ``detail``; ``None`` for one that no VTN holds.

    A ven has no offers: what it can report it says by reporting.
    """
    held = ven.metadata
    if held is None or held.created_at is None:
        return None
    return Party(
        connection_id=connection_id,
        party_id=held.id,
        registration_id=held.id,
        name=ven.name,
        registered_at=held.created_at,
        detail=", ".join(target for target in ven.targets if isinstance(target, str)),
    )


async def stored_parties(store: ObjectStore, connection_id: str) -> tuple[Party, ...]:
    """The parties to a VTN of 3.1, as they are stored; of none of another dialect."""
    stored = await store.objects(connection_id, Asked(kind=TYPES[model.Ven]))
    found = (party_of(decode(one.body.encode(), model.Ven, Version.V3_1), connection_id) for one in stored)
    return tuple(party for party in found if party is not None)
