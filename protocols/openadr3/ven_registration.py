"""A VEN's own objects at the VTN: the ven and its resources, made where they are missing and allowed."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime

from protocols.errors import Rejected
from protocols.openadr3 import model
from protocols.openadr3.client import Client
from protocols.openadr3.names import Version

NOT_FOR_US = frozenset({"403", "404", "405", "501"})
"""Answers by which a VTN, or our scopes, have no such objects for us. Events may be read all the same."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """How the VTN holds us. ``ven_id`` is ``None`` where it has no ven object for us to see.

    ``targets`` are the words that events for us are found under: those that business logic granted to our ven and its
    resources. ``readable`` is false where we may not know them.
    """

    ven_id: str | None
    targets: frozenset[str]
    readable: bool


async def find_or_make(client: Client, *, ven_name: str, resource_names: Sequence[str], now: datetime) -> Standing:
    """Our ven and its resources, as the VTN holds them now; what is missing is made.

    A ven of our name that another client made cannot be seen by us (Definition, Object Privacy): ``Rejected`` with
    the code 409. Raises as ``Client.list_all`` and ``create`` do.
    """
    ven, readable = await _ven(client, ven_name, now)
    if ven is None or ven.metadata is None:
        return Standing(ven_id=None, targets=frozenset(), readable=readable)
    ven_id = ven.metadata.id
    resources = await _resources(client, ven_id, resource_names, now)
    granted = [*ven.targets, *(target for resource in resources for target in resource.targets)]
    return Standing(ven_id=ven_id, targets=frozenset(_words(granted)), readable=readable)


async def _ven(client: Client, name: str, now: datetime) -> tuple[model.Ven | None, bool]:
    """Our ven object, and whether we may read such objects."""
    try:
        found = await _search_ven(client, name, now)
    except Rejected as fault:
        if fault.code not in NOT_FOR_US:
            raise
        return await _make_unseen(client, name, now), False
    if found is not None:
        return found, True
    try:
        return await client.create(model.Ven(name=name), "/vens", now), True
    except Rejected as fault:
        if fault.code in NOT_FOR_US:
            return None, True
        if fault.code != "409":
            raise
        # There after all: an earlier answer was lost, or the search came too early.
        found = await _search_ven(client, name, now)
        if found is None:
            raise Rejected(
                f"another client of the VTN has a ven named {name!r}: choose another name for ours, or have the "
                "utility give that one to our client id",
                code="409",
                connection_id=client.connection_id,
            ) from fault
        return found, True


async def _search_ven(client: Client, name: str, now: datetime) -> model.Ven | None:
    listing = await client.list_all(model.Ven, "/vens", (("venName", name),), now)
    return next((ven for ven in listing.items if ven.name == name), None)


async def _make_unseen(client: Client, name: str, now: datetime) -> model.Ven | None:
    try:
        return await client.create(model.Ven(name=name), "/vens", now)
    except Rejected as fault:
        if fault.code not in NOT_FOR_US | {"409"}:
            raise
        return None


async def _resources(client: Client, ven_id: str, names: Sequence[str], now: datetime) -> tuple[model.Resource, ...]:
    path, query = resources_of(ven_id, client.version)
    try:
        held = (await client.list_all(model.Resource, path, query, now)).items
    except Rejected as fault:
        if fault.code not in NOT_FOR_US:
            raise
        return ()
    ours = [resource for resource in held if resource.ven_id in {None, ven_id}]
    for name in names:
        if all(resource.name != name for resource in ours):
            resource = model.Resource(name=name, ven_id=ven_id if client.version is Version.V3_1 else None)
            try:
                ours.append(await client.create(resource, path, now))
            except Rejected as fault:
                if fault.code not in NOT_FOR_US | {"409"}:
                    raise
    return tuple(ours)


def resources_of(ven_id: str, version: Version) -> tuple[str, tuple[tuple[str, str], ...]]:
    """Path and query of a ven's resources: an endpoint of their own in 3.1, below the ven in 3.0."""
    if version is Version.V3_1:
        return "/resources", (("venID", ven_id),)
    return f"/vens/{ven_id}/resources", ()


def _words(targets: Sequence[str | model.ValuesMap]) -> list[str]:
    found: list[str] = []
    for target in targets:
        found += [target] if isinstance(target, str) else [str(value) for value in target.values]
    return found
