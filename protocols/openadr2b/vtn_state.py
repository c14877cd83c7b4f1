"""What a VTN knows, in memory in front of its store: written there first, so that nothing is told that could be lost.

A VTN is the only writer of its connection. Events that are over for long are not held; the store keeps them.
"""

import asyncio
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import datetime, timedelta

from protocols.grid import GridEvent, Opt, OptDecision, OptSchedule, Party, Refusal
from protocols.party_store import PartyStore, PlacedOrder, QueuedMessage

KEPT_AFTER_END = timedelta(hours=1)
"""A finished event stays listed for so long: a VEN takes an absent one for cancelled, and its clock may be behind."""


class VtnState:
    """The parties, live events, answers, opts, orders and waiting messages of one connection."""

    def __init__(self, connection_id: str, store: PartyStore) -> None:
        self.connection_id = connection_id
        self.store = store
        self.parties: dict[str, Party] = {}
        self.live: dict[str, GridEvent] = {}
        self.orders: dict[str, PlacedOrder] = {}
        self.waiting: dict[str, dict[str, QueuedMessage]] = {}
        self._revisions: dict[str, int] = {}
        self._answers: dict[str, dict[str, OptDecision]] = {}
        self._opts: dict[str, dict[str, OptSchedule]] = {}
        self._loaded = False
        self._loading = asyncio.Lock()

    async def load(self, now: datetime) -> None:
        """Read the store, once. What fails is tried again at the next call."""
        if self._loaded:
            return
        async with self._loading:
            if not self._loaded:
                await self._read(now)

    async def _read(self, now: datetime) -> None:
        connection_id = self.connection_id
        self.parties = {party.party_id: party for party in await self.store.parties(connection_id)}
        self.orders = {order.order.order_id: order for order in await self.store.placed_orders(connection_id)}
        self.waiting, self._opts = {}, {}
        for message in await self.store.queued(connection_id):
            self.waiting.setdefault(message.party_id, {})[message.message_id] = message
        for party_id, opt in await self.store.opts(connection_id):
            self._opts.setdefault(party_id, {})[opt.opt_id] = opt
        for event in await self.store.issued_events(connection_id):
            self._revisions[event.event_id] = event.revision
            if not _long_over(event, now):
                self.live[event.event_id] = event
                self._answers[event.event_id] = dict(await self.store.answers(connection_id, event.event_id))
        self._loaded = True

    def registered(self, party_id: str | None) -> Party | None:
        """The party of this id, if it is registered."""
        party = self.parties.get(party_id or "")
        return party if party is not None and party.registration_id else None

    async def save_party(self, party: Party) -> None:
        await self.store.save_party(party)
        self.parties[party.party_id] = party

    def revision(self, event_id: str) -> int | None:
        """The latest revision of an event that we issued, whether it is over or not."""
        return self._revisions.get(event_id)

    async def save_event(self, event: GridEvent) -> None:
        await self.store.save_issued_event(event)
        self._revisions[event.event_id] = event.revision
        if event.event_id not in self.live:
            self._answers[event.event_id] = dict(await self.store.answers(self.connection_id, event.event_id))
        self.live[event.event_id] = event

    def drop_long_over(self, now: datetime) -> None:
        """Hold no longer what nobody is told of any more."""
        for event in [event for event in self.live.values() if _long_over(event, now)]:
            del self.live[event.event_id]
            self._answers.pop(event.event_id, None)

    async def event(self, event_id: str) -> GridEvent | None:
        """An event that we issued, over or not."""
        if event_id in self.live or event_id not in self._revisions:
            return self.live.get(event_id)
        issued = await self.store.issued_events(self.connection_id)
        return next((event for event in issued if event.event_id == event_id), None)

    def answered(self, event_id: str, party_id: str) -> OptDecision | None:
        """A party's last oadrCreatedEvent to a live event."""
        return self._answers.get(event_id, {}).get(party_id)

    async def save_answer(self, party_id: str, decision: OptDecision) -> None:
        await self.store.save_answer(party_id, decision)
        if decision.event_id in self.live:
            self._answers.setdefault(decision.event_id, {})[party_id] = decision

    async def answers(self, event_id: str) -> tuple[tuple[str, OptDecision], ...]:
        """Each party's word on an event: what it answered, unless a later opt of its own says otherwise."""
        given = dict(await self.store.answers(self.connection_id, event_id))
        for party_id, opts in self._opts.items():
            for opt in opts.values():
                if opt.event_id != event_id:
                    continue
                known = given.get(party_id)
                if known is None or opt.revision >= known.revision:
                    given[party_id] = _word_on(opt)
        return tuple(sorted(given.items()))

    def opts(self, party_id: str) -> tuple[OptSchedule, ...]:
        return tuple(self._opts.get(party_id, {}).values())

    async def save_opt(self, party_id: str, opt: OptSchedule) -> None:
        await self.store.save_opt(party_id, opt)
        self._opts.setdefault(party_id, {})[opt.opt_id] = opt

    async def cancel_opt(self, party_id: str, opt_id: str) -> bool:
        """Forget an opt; false where there is none of this id."""
        if opt_id not in self._opts.get(party_id, {}):
            return False
        await self.store.cancel_opt(self.connection_id, party_id, opt_id)
        self._opts.get(party_id, {}).pop(opt_id, None)
        return True

    async def cancel_opts_of(self, party_id: str, event_id: str) -> None:
        """Forget a party's opts of one event."""
        for opt in self.opts(party_id):
            if opt.event_id == event_id:
                await self.cancel_opt(party_id, opt.opt_id)

    async def save_order(self, order: PlacedOrder) -> None:
        await self.store.save_placed_order(order)
        self.orders[order.order.order_id] = order

    def orders_of(self, party_id: str, now: datetime) -> Iterator[PlacedOrder]:
        """The orders of a party that have not ended."""
        for order in self.orders.values():
            if order.party_id == party_id and order.ended_at is None:
                ends_at = order.order.ends_at
                if ends_at is None or ends_at > now or order.order.history:
                    yield order

    async def end_orders(self, order_ids: Iterable[str], at: datetime) -> None:
        for order_id in order_ids:
            order = self.orders.get(order_id)
            if order is not None and order.ended_at is None:
                await self.save_order(replace(order, ended_at=at))

    async def queue(self, message: QueuedMessage) -> None:
        await self.store.queue(message)
        self.waiting.setdefault(message.party_id, {})[message.message_id] = message

    async def unqueue(self, party_id: str, message_id: str) -> None:
        await self.store.unqueue(self.connection_id, party_id, message_id)
        self.waiting.get(party_id, {}).pop(message_id, None)


def _long_over(event: GridEvent, now: datetime) -> bool:
    return event.ends_at is not None and now > event.ends_at + KEPT_AFTER_END


def _word_on(opt: OptSchedule) -> OptDecision:
    return OptDecision(
        connection_id=opt.connection_id,
        event_id=opt.event_id,
        revision=opt.revision,
        opt=opt.opt,
        decided_at=opt.created_at,
        refusal=Refusal.OPERATOR if opt.opt is Opt.OUT else None,
        detail=opt.reason,
    )
