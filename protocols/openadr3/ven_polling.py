"""What the VTN asks of us: programs and events, read whole at each poll and turned into a batch.

Which events are for us. In 3.1 a VTN gives out what has targets only to who names them, so that each of our targets is
asked for by itself (whether several mean *and* or *or* is left open by the definition), and what comes back is put
together. In 3.0 everything is given out, and an event whose VEN_NAME, RESOURCE_NAME or GROUP names others is passed
over. An event that is no longer listed is asked for by its id before it counts as gone: a list may shift between two
pages, and a VTN drops what has passed by its own clock (``active``).
"""

from collections.abc import Collection, Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import TypeVar

from protocols.errors import MessageError, Rejected
from protocols.grid import EventBatch, EventStatus, GridEvent, OptDecision
from protocols.openadr3 import model
from protocols.openadr3.client import Client, Listing, Query
from protocols.openadr3.codec import encode
from protocols.openadr3.names import Version
from protocols.openadr3.neutral_event import read_batch, unreadable
from protocols.openadr3.ven_registration import NOT_FOR_US

MOST_TARGETS = 50
"""That are asked for one by one."""

MOST_LOOKED_FOR = 50
"""Events and programs that are asked for by their ids in one turn."""

MOST_DELETED = 10_000
"""Programs that are remembered as deleted, so that their events do not come back."""

T = TypeVar("T")

_OTHERS_TARGETS = frozenset({"VEN_NAME", "RESOURCE_NAME", "GROUP"})


@dataclass(frozen=True, slots=True, kw_only=True)
class Polled:
    """What one poll found; ``events`` are the batch's in the protocol's terms, with those that only ask for reports.

    ``followed`` are the ids of the programs whose events are read.
    """

    batch: EventBatch
    events: tuple[model.Event, ...]
    programs: Mapping[str, model.Program]
    followed: Collection[str]


@dataclass(slots=True)
class _Found:
    """Objects of several lists put together, by id."""

    items: dict[str, model.Event]
    faults: dict[str, OptDecision]
    digests: dict[str, str]
    whole: bool = True


class VenPolling:
    """Reads one VTN's programs and events; remembers what it saw, to tell what is gone and when it was to be."""

    def __init__(self, client: Client, program_names: Collection[str] | None) -> None:
        self._client = client
        self._program_names = program_names
        self._active_understood = client.version is Version.V3_1
        self._listed: dict[str, model.Event] = {}
        self._known: dict[str, GridEvent] = {}
        self._seen_programs: dict[str, model.Program] = {}
        self._programs_whole = True
        self._deleted_programs: set[str] = set()
        self._undated: dict[str, tuple[str, datetime]] = {}

    async def read(self, targets: Collection[str], ours: Collection[str] | None, now: datetime) -> Polled:
        """Everything that the VTN asks of us at ``now``.

        ``targets`` are asked for one by one; ``ours`` are all names that mean us, ``None`` where we do not know them.
        Raises as ``Client.list_all``.
        """
        programs = await self._programs(targets, now)
        found = await self._events(programs, targets, now)
        await self._look_for_missing(found, now)
        await self._look_for_programs(found, programs, now)
        events = [
            self._dated(event, now)
            for event in found.items.values()
            if event.program_id not in self._deleted_programs and _is_for(event, ours)
        ]
        self._listed = {_id_of(event): event for event in events}
        self._undated = {key: said for key, said in self._undated.items() if key in self._listed}
        batch = self._batch(events, found, programs, now)
        followed = self._followed(programs)
        return Polled(batch=batch, events=tuple(events), programs=programs, followed=followed)

    def _followed(self, programs: Mapping[str, model.Program]) -> list[str]:
        names = self._program_names
        return sorted(key for key, program in programs.items() if names is None or program.name in names)

    async def _programs(self, targets: Collection[str], now: datetime) -> dict[str, model.Program]:
        """The programs by id. One that was there before and is not found by its id either is deleted.

        One that cannot be read (any more) is as it was; while there is such a one, or the list moved, events that are
        followed by the names of programs may be missed.
        """
        found: dict[str, model.Program] = {}
        self._programs_whole = True
        try:
            for query in self._queries((), targets):
                listing = await self._client.list_all(model.Program, "/programs", query, now)
                found |= {_id_of(program): program for program in listing.items}
                self._programs_whole = self._programs_whole and listing.whole and not listing.faults
        except Rejected as fault:
            if fault.code not in NOT_FOR_US:
                raise
            return dict(self._seen_programs)
        for program_id in [key for key in self._seen_programs if key not in found]:
            program = await self._get(model.Program, f"/programs/{program_id}", now)
            if isinstance(program, MessageError):
                found[program_id] = self._seen_programs[program_id]
            elif program is not None:
                found[program_id] = program
            elif len(self._deleted_programs) < MOST_DELETED:
                self._deleted_programs.add(program_id)
        self._deleted_programs -= found.keys()
        self._seen_programs = dict(found)
        return found

    async def _events(self, programs: Mapping[str, model.Program], targets: Collection[str], now: datetime) -> _Found:
        try:
            return await self._all_events(programs, targets, now)
        except Rejected as fault:
            if fault.code != "400" or not self._active_understood:
                raise
            # 3.1.1 added the parameter; a VTN that does not know it may say so.
            self._active_understood = False
            return await self._all_events(programs, targets, now)

    async def _all_events(
        self, programs: Mapping[str, model.Program], targets: Collection[str], now: datetime
    ) -> _Found:
        by_names = self._program_names is not None
        found = _Found(items={}, faults={}, digests={}, whole=self._programs_whole or not by_names)
        active: Query = (("active", "true"),) if self._active_understood else ()
        bases: list[Query] = [active]
        if by_names:
            bases = [(*active, ("programID", program_id)) for program_id in self._followed(programs)]
        for base in bases:
            for query in self._queries(base, targets):
                self._add(await self._client.list_all(model.Event, "/events", query, now), found, now)
        return found

    def _add(self, listing: Listing[model.Event], found: _Found, now: datetime) -> None:
        found.whole = found.whole and listing.whole
        found.digests |= listing.digests
        for event in listing.items:
            other = found.items.get(_id_of(event))
            found.items[_id_of(event)] = event if other is None else _together(event, other)
        for fault in listing.faults:
            if fault.object_id is not None:
                found.faults[fault.object_id] = self._unreadable(fault.object_id, fault.fault, now)

    def _unreadable(self, event_id: str, fault: MessageError, now: datetime) -> OptDecision:
        return unreadable(event_id, str(fault), connection_id=self._client.connection_id, at=now)

    async def _look_for_missing(self, found: _Found, now: datetime) -> None:
        """Ask for events by their ids that were listed before, are not now, and should still stand."""
        missing = [
            event
            for event_id, event in self._listed.items()
            if event_id not in found.items and event_id not in found.faults and self._should_stand(event, now)
        ]
        found.whole = found.whole and len(missing) <= MOST_LOOKED_FOR
        for event in missing[:MOST_LOOKED_FOR]:
            event_id = _id_of(event)
            still = await self._get(model.Event, f"/events/{event_id}", now)
            if isinstance(still, MessageError):
                found.faults[event_id] = self._unreadable(event_id, still, now)
            elif still is not None and (self._program_names is None or still.program_id == event.program_id):
                # A single object may come without the targets that were not asked for.
                found.items[event_id] = _together(still, event)

    def _should_stand(self, event: model.Event, now: datetime) -> bool:
        neutral = self._known.get(_id_of(event))
        if neutral is None:
            return bool(event.intervals)
        over = neutral.ends_at is not None and neutral.ends_at <= now
        return not over and neutral.status is not EventStatus.CANCELLED

    async def _look_for_programs(self, found: _Found, programs: dict[str, model.Program], now: datetime) -> None:
        """Ask for programs by their ids that events name and no list had: targets may hide them from lists."""
        named = dict.fromkeys(event.program_id for event in found.items.values())
        unknown = [key for key in named if key not in programs and key not in self._deleted_programs]
        for program_id in unknown[:MOST_LOOKED_FOR]:
            program = await self._get(model.Program, f"/programs/{program_id}", now)
            if isinstance(program, model.Program):
                programs[program_id] = program

    async def _get(self, kind: type[T], path: str, now: datetime) -> T | MessageError | None:
        """The object, why it cannot be read, or ``None`` where there is none for us."""
        try:
            return await self._client.get(kind, path, now)
        except MessageError as fault:
            return fault
        except Rejected as fault:
            if fault.code not in NOT_FOR_US:
                raise
            return None

    def _queries(self, base: Query, targets: Collection[str]) -> list[Query]:
        if self._client.version is Version.V3_0:
            return [base]
        return [base, *((*base, ("targets", target)) for target in sorted(targets)[:MOST_TARGETS])]

    def _dated(self, event: model.Event, now: datetime) -> model.Event:
        """The event with an instant of change: where the VTN says none, when we first saw it as it is now."""
        held = event.metadata
        if held is None or held.modified_at is not None or held.created_at is not None:
            return event
        said = sha256(encode(event, self._client.version)).hexdigest()
        before = self._undated.get(held.id)
        first = now if before is None or before[0] != said else before[1]
        self._undated[held.id] = (said, first)
        return replace(event, metadata=replace(held, modified_at=first))

    def _batch(
        self, events: Iterable[model.Event], found: _Found, programs: Mapping[str, model.Program], now: datetime
    ) -> EventBatch:
        by_digest: dict[str, list[model.Event]] = {}
        for event in events:
            by_digest.setdefault(found.digests.get(_id_of(event), ""), []).append(event)
        read: list[GridEvent] = []
        faults = dict(found.faults)
        for digest, of_page in by_digest.items():
            page = read_batch(
                of_page,
                connection_id=self._client.connection_id,
                version=self._client.version,
                received_at=now,
                programs=programs,
                complete=False,
                raw_sha256=digest,
            )
            read += page.events
            faults |= {fault.event_id: fault for fault in page.faults}
        return EventBatch(
            connection_id=self._client.connection_id,
            events=tuple(self._with_known_times(read)),
            complete=found.whole,
            request_id="",
            raw_sha256=next((digest for digest in by_digest if digest), ""),
            received_at=now,
            faults=tuple(faults.values()),
        )

    def _with_known_times(self, events: Iterable[GridEvent]) -> Iterable[GridEvent]:
        """A cancelled event as it was before: its window says no more when it was to be (User Guide 7.9).

        One that was not seen otherwise in this life is left out: it is cancelled by implication then, with the times
        that the ledger has of it.
        """
        known: dict[str, GridEvent] = {}
        for event in events:
            if event.status is not EventStatus.CANCELLED:
                known[event.event_id] = event
                yield event
                continue
            before = self._known.get(event.event_id)
            if before is not None:
                known[event.event_id] = replace(
                    before, status=event.status, revision=event.revision, raw_sha256=event.raw_sha256
                )
                yield known[event.event_id]
        self._known = known


def _id_of(held: model.Held) -> str:
    return "" if held.metadata is None else held.metadata.id


def _together(one: model.Event, other: model.Event) -> model.Event:
    """The later of two readings of one event, with the targets of both: a list has only those that were asked for."""
    later, earlier = (other, one) if _changed_at(other) > _changed_at(one) else (one, other)
    added = tuple(target for target in earlier.targets if target not in later.targets)
    return replace(later, targets=(*later.targets, *added))


def _changed_at(event: model.Event) -> float:
    changed_at = None if event.metadata is None else event.metadata.modified_at
    return 0.0 if changed_at is None else changed_at.timestamp()


def _is_for(event: model.Event, ours: Collection[str] | None) -> bool:
    """Whether an event is for us, as far as its targets say. What they may mean otherwise is the VTN's matter."""
    names = {target for target in event.targets if isinstance(target, str)}
    for target in event.targets:
        if isinstance(target, model.ValuesMap):
            if target.type not in _OTHERS_TARGETS:
                return True
            names |= {str(value) for value in target.values}
    return not names or ours is None or not names.isdisjoint(ours)
