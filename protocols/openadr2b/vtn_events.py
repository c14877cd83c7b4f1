"""What a VTN offers to whom, and when: events from its state, told by the clock."""

from collections.abc import Collection, Sequence
from datetime import datetime

from protocols.grid import EventStatus, GridEvent, Opt, OptDecision, Party, Refusal, Target
from protocols.openadr2b import model
from protocols.openadr2b.conversation import (
    INVALID_DATA,
    NOT_RECOGNIZED,
    OTHER_ERROR,
    SIGNAL_NOT_SUPPORTED,
    TARGET_MISMATCH,
)
from protocols.openadr2b.neutral_event import status_at, write_event
from protocols.openadr2b.vtn_parties import VtnParties, meant
from protocols.openadr2b.vtn_state import VtnState

_REFUSALS = {
    SIGNAL_NOT_SUPPORTED: Refusal.SIGNAL_NOT_UNDERSTOOD,
    NOT_RECOGNIZED: Refusal.PROGRAM_UNKNOWN,
    TARGET_MISMATCH: Refusal.NOT_OUR_TARGET,
    INVALID_DATA: Refusal.INVALID,
    OTHER_ERROR: Refusal.INTERNAL_ERROR,
}
_FIRST = {
    EventStatus.ACTIVE: 0,
    EventStatus.NEAR: 1,
    EventStatus.FAR: 1,
    EventStatus.NONE: 1,
    EventStatus.CANCELLED: 2,
    EventStatus.COMPLETED: 3,
}
_NO_RANK = 1 << 32
"""After every priority that there is: 2.0b's 0 is none, and 1 the highest."""


class VtnEvents:
    """The events of one VTN. What was offered is remembered in memory: after a restart it is offered once more."""

    def __init__(self, state: VtnState, parties: VtnParties) -> None:
        self._state = state
        self._parties = parties
        self._offered: dict[str, dict[str, tuple[int, EventStatus]]] = {}

    def all_for(self, party: Party, now: datetime, limit: int | None = None) -> tuple[model.OfferedEvent, ...]:
        """The events there are for a party, as they stand now, the first ``limit`` of them; they count as offered."""
        listed = self._listed(party, now)[:limit]
        offered = self._offered.setdefault(party.party_id, {})
        if limit is None:
            offered.clear()
        for event in listed:
            offered[event.event_id] = (event.revision, status_at(event, now))
        return tuple(write_event(event, now=now) for event in listed)

    def has_news(self, party: Party, now: datetime) -> bool:
        """Whether an event wants an answer still, or anything has changed since it was offered last."""
        listed = self._listed(party, now)
        return self._owes_an_answer(listed, party, now) or self._differs(listed, party, now)

    def has_changed(self, party: Party, now: datetime) -> bool:
        """Whether an event has another revision or status than it was offered with, or is for the party no more."""
        return self._differs(self._listed(party, now), party, now)

    def wants_answer(self, party: Party, now: datetime) -> bool:
        """Whether a party owes an answer to what it was offered as it stands."""
        return self._owes_an_answer(self._listed(party, now), party, now)

    async def take_answer(self, party: Party, answer: model.EventResponse, now: datetime) -> bool:
        """Keep a party's answer, unless it has answered a later revision; false for an event that is not for it."""
        event_id, revision = answer.event.event_id, answer.event.modification_number
        event = await self._state.event(event_id)
        known = self._state.answered(event_id, party.party_id)
        if event is None or revision > event.revision or (known is None and not self.is_for(event, party)):
            return False
        if event_id in self._state.live and (known is None or known.revision <= revision):
            decision = OptDecision(
                connection_id=self._state.connection_id,
                event_id=event_id,
                revision=revision,
                opt=Opt.IN if answer.opt == "optIn" else Opt.OUT,
                decided_at=now,
                refusal=_REFUSALS.get(answer.code) if answer.opt == "optOut" else None,
                detail=answer.description or "",
            )
            if known is None or (decision.revision, decision.opt, decision.refusal) != (
                known.revision,
                known.opt,
                known.refusal,
            ):
                await self._state.save_answer(party.party_id, decision)
                if known is not None:
                    # A change of mind comes after every opt of the event that there is.
                    await self._state.cancel_opts_of(party.party_id, event_id)
        return True

    def forget(self, party_id: str) -> None:
        """Offer everything anew: the party may have forgotten it."""
        self._offered.pop(party_id, None)

    def is_for(self, event: GridEvent, party: Party) -> bool:
        return not event.targets or names(event.targets, party.party_id, self._parties.belongs_to(party))

    def _listed(self, party: Party, now: datetime) -> list[GridEvent]:
        """The events to list for a party: active ones by priority, then those to come by time, then what is over."""
        self._state.drop_long_over(now)
        if not self._state.live:
            return []
        belongs_to = self._parties.belongs_to(party)
        found = [
            event
            for event in self._state.live.values()
            if (not event.targets or names(event.targets, party.party_id, belongs_to))
            and not self._done_with(event, party)
        ]
        return sorted(found, key=lambda event: _order(event, now))

    def _owes_an_answer(self, listed: Sequence[GridEvent], party: Party, now: datetime) -> bool:
        return any(self._wants_answer(event, party, now) for event in listed)

    def _differs(self, listed: Sequence[GridEvent], party: Party, now: datetime) -> bool:
        offered = self._offered.get(party.party_id, {})
        if any(offered.get(event.event_id) != (event.revision, status_at(event, now)) for event in listed):
            return True
        absent = offered.keys() - {event.event_id for event in listed}
        return any(self._taken_away(event_id, party) for event_id in absent)

    def _wants_answer(self, event: GridEvent, party: Party, now: datetime) -> bool:
        # What is over is told, but a VEN may be right not to answer it any more.
        if not event.response_required or status_at(event, now) is EventStatus.COMPLETED:
            return False
        known = self._state.answered(event.event_id, party.party_id)
        return known is None or known.revision < event.revision

    def _taken_away(self, event_id: str, party: Party) -> bool:
        """Whether an event that a party was told of is for others now, so that its absence must be told."""
        event = self._state.live.get(event_id)
        return event is not None and not self.is_for(event, party)

    def _done_with(self, event: GridEvent, party: Party) -> bool:
        """A cancelled event goes from the list once the party has acknowledged that, or has been told."""
        if event.status is not EventStatus.CANCELLED:
            return False
        if event.response_required:
            known = self._state.answered(event.event_id, party.party_id)
            return known is not None and known.revision >= event.revision
        told = self._offered.get(party.party_id, {}).get(event.event_id)
        return told == (event.revision, EventStatus.CANCELLED)


def names(targets: Collection[Target], ven_id: str, belongs_to: frozenset[tuple[str, str]]) -> bool:
    """Whether targets name a VEN. Where venIDs are among them they alone decide: the rest says what of that VEN.

    Else any one of the others is enough: a group, a resource, a party, a service area.
    """
    vens = [target.value for target in targets if target.kind == "ven"]
    if vens:
        return ven_id in vens
    return any(meant(target) in belongs_to for target in targets)


def _order(event: GridEvent, now: datetime) -> tuple[int, float, float, str]:
    status = status_at(event, now)
    rank = float(event.rank or _NO_RANK)
    start = event.starts_at.timestamp()
    by = (rank, start) if status is EventStatus.ACTIVE else (start, rank)
    return (_FIRST[status], *by, event.event_id)
