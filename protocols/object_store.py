"""The face of storage for a VTN of OpenADR 3: objects as they are encoded, with a few columns to ask for them by."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredObject:
    """One object as it is kept; ``body`` is JSON and is not shown in logs.

    ``kind`` and ``object_id`` are its key within a connection. ``owner`` is the id of the client whose object it is,
    ``program_id`` its program and ``parent_id`` the event of a report or the ven of a resource, each empty where there
    is none; ``name`` is what clients may ask for it by. No two objects of one kind have the same ``unique_key``, but
    any number may have none.
    """

    kind: str
    object_id: str
    created_at: datetime
    modified_at: datetime
    body: str = field(repr=False)
    owner: str = ""
    program_id: str = ""
    parent_id: str = ""
    name: str = ""
    unique_key: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """Which objects of a kind: those that match everything that is said, from ``skip`` on, ``limit`` at most."""

    kind: str
    object_id: str | None = None
    owner: str | None = None
    program_id: str | None = None
    parent_id: str | None = None
    name: str | None = None
    unique_key: str | None = None
    skip: int = 0
    limit: int | None = None


class ObjectStore(Protocol):
    """Objects of one VTN. Each call is durable when it returns, and has happened whole or not at all."""

    async def objects(self, connection_id: str, asked: Asked) -> tuple[StoredObject, ...]:
        """What matches, in order of creation (then of id)."""

    async def change(
        self, connection_id: str, *, kept: Sequence[StoredObject] = (), gone: Sequence[tuple[str, str]] = ()
    ) -> None:
        """Remove the objects of these kinds and ids, then keep others, replacing those of the same kind and id.

        Which object a unique key belongs to is for the caller to look after: it is the only writer.
        """
