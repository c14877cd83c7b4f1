"""What a VTN offers to whom, and when: events from the store, told by the clock."""

from datetime import datetime, timedelta

from protocols.grid import EventStatus, GridEvent, Opt, OptDecision, Party, PartyStore, Refusal
from protocols.openadr2b import model
from protocols.openadr2b.conversation import (
    INVALID_DATA,
    NOT_RECOGNIZED,
    OTHER_ERROR,
    SIGNAL_NOT_SUPPORTED,
    TARGET_MISMATCH,
)
from protocols.openadr2b.neutral_event import status_at, write_event

KEPT_AFTER_END = timedelta(hours=1)
"""A finished event stays listed for so long: a VEN takes an absent one for cancelled, and its clock may be behind."""

_REFUSALS = {
    SIGNAL_NOT_SUPPORTED: Refusal.SIGNAL_NOT_UNDERSTOOD,
    NOT_RECOGNIZED: Refusal.PROGRAM_UNKNOWN,
    TARGET_MISMATCH: Refusal.NOT_OUR_TARGET,
    INVALID_DATA: Refusal.INVALID,
    OTHER_ERROR: Refusal.INTERNAL_ERROR,
}


class VtnEvents:
    """The events of one VTN. What was offered is remembered in memory: lost, it is offered once more."""

    def __init__(self, connection_id: str, store: PartyStore) -> None:
        self._connection_id = connection_id
        self._store = store
        self._offered: dict[tuple[str, str], tuple[int, EventStatus]] = {}

    async def all_for(self, party: Party, now: datetime) -> tuple[model.OfferedEvent, ...]:
        """Every event there is for a party, as it stands now; they count as offered."""
        listed = [event for event, _ in await self._listed(party, now)]
        for event in listed:
            self._offered[party.party_id, event.event_id] = (event.revision, status_at(event, now))
        return tuple(write_event(event, now=now) for event in listed)

    async def has_news(self, party: Party, now: datetime) -> bool:
        """Whether an event is not acknowledged yet, or has changed its status since it was offered last."""
        return any(
            (event.response_required and answered < event.revision)
            or self._offered.get((party.party_id, event.event_id)) != (event.revision, status_at(event, now))
            for event, answered in await self._listed(party, now)
        )

    async def take_answer(self, party: Party, answer: model.EventResponse, now: datetime) -> bool:
        """Keep a party's answer, unless it has answered a later revision; false for an event we never issued."""
        event_id, revision = answer.event.event_id, answer.event.modification_number
        issued = await self._store.issued_events(self._connection_id)
        if all(event.event_id != event_id for event in issued):
            return False
        if await self._answered(party, event_id) <= revision:
            decision = OptDecision(
                connection_id=self._connection_id,
                event_id=event_id,
                revision=revision,
                opt=Opt.IN if answer.opt == "optIn" else Opt.OUT,
                decided_at=now,
                refusal=_REFUSALS.get(answer.code) if answer.opt == "optOut" else None,
                detail=answer.description or "",
            )
            await self._store.save_answer(party.party_id, decision)
        return True

    async def _listed(self, party: Party, now: datetime) -> list[tuple[GridEvent, int]]:
        """The events to list for a party, with the revision it has answered (-1 for none)."""
        found: list[tuple[GridEvent, int]] = []
        for event in await self._store.issued_events(self._connection_id):
            if _is_for(event, party) and not (event.ends_at is not None and now > event.ends_at + KEPT_AFTER_END):
                answered = await self._answered(party, event.event_id)
                if not self._done_with(event, party, answered):
                    found.append((event, answered))
        return found

    def _done_with(self, event: GridEvent, party: Party, answered: int) -> bool:
        """A cancelled event goes from the list once the party has acknowledged that, or has been told."""
        if event.status is not EventStatus.CANCELLED:
            return False
        if event.response_required:
            return answered >= event.revision
        return self._offered.get((party.party_id, event.event_id)) == (event.revision, EventStatus.CANCELLED)

    async def _answered(self, party: Party, event_id: str) -> int:
        answers = dict(await self._store.answers(self._connection_id, event_id))
        return answers[party.party_id].revision if party.party_id in answers else -1


def _is_for(event: GridEvent, party: Party) -> bool:
    """Whether the targets name a party: by its id, else by what it reports, else everybody."""
    for kind, own in (("ven", {party.party_id}), ("resource", {offer.resource_id for offer in party.offers})):
        named = {target.value for target in event.targets if target.kind == kind}
        if named:
            return bool(named & own)
    return True
