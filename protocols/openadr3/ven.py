"""A virtual end node (VEN) of OpenADR 3.1 and 3.0.1: where a utility asks us.

3.x has no answer to an event and no registration that must come first. A VEN reads what the VTN asks, reports what it
is asked to report, and has a ven object and resources where the VTN takes them. It says that it opts out only where an
event asks for reports of OPERATING_STATE (``ven_opt``); everywhere else our answer is for our own record.
"""

import asyncio
from collections.abc import Collection, Sequence
from contextlib import suppress
from dataclasses import replace
from datetime import datetime, timedelta

from aiohttp import web

from protocols.errors import ProtocolError, Rejected, Unreachable
from protocols.grid import EventBatch, Opt, OptDecision
from protocols.grid_report import IntervalReport, Receipt, ReportOffer, ReportOrder
from protocols.openadr3 import model
from protocols.openadr3.client import Client
from protocols.openadr3.client_http import Exchange
from protocols.openadr3.names import Version
from protocols.openadr3.ven_mqtt import MqttTerms, listen
from protocols.openadr3.ven_opt import asks_for_state, write_opt
from protocols.openadr3.ven_polling import Polled, VenPolling
from protocols.openadr3.ven_registration import Standing, find_or_make
from protocols.openadr3.ven_reports import MAY_PASS, VenReports
from protocols.openadr3.ven_webhook import Webhook, subscribe
from protocols.party_store import PartyStore, Registration

LOOK_AFTER_S = 60.0
"""How often our own objects are looked after: a VTN may have lost them, or granted us targets."""

SOON_S = 15.0
"""After the first time in a life they are looked after so soon."""

NO_ANSWER = "OpenADR 3 has no answer to an event, and this one asks for no reports of OPERATING_STATE"


class Ven:
    """One client of one VTN; a ``GridConnection``.

    A turn looks after our own objects where that is due (at the start of every life, after every outage, in which the
    VTN may have been restarted, and every ``LOOK_AFTER_S``), then reads programs and events. It brings a batch, always
    of everything there is, where that is not what the last answered one was.

    ``targets`` are names for us that are agreed upon, beside those that the VTN grants; ``program_names`` limit which
    programs are followed (``None``: all that we may see). Of a ``webhook`` the VTN is told when our own objects are
    looked after; it only sets ``woken``, so that the caller asks at once. With ``mqtt`` the caller keeps ``listen``
    running beside its polls, to the same end.
    """

    def __init__(
        self,
        *,
        connection_id: str,
        ven_name: str,
        exchange: Exchange,
        store: PartyStore,
        offers: Sequence[ReportOffer],
        version: Version = Version.V3_1,
        targets: Collection[str] = (),
        program_names: Collection[str] | None = None,
        poll_s: float = 10.0,
        webhook: Webhook | None = None,
        mqtt: MqttTerms | None = None,
    ) -> None:
        self._connection_id = connection_id
        self._ven_name = ven_name
        self._store = store
        self._resource_names = tuple(dict.fromkeys(offer.resource_id for offer in offers))
        self._targets = frozenset(targets)
        self._poll_s = poll_s
        self._client = Client(connection_id=connection_id, exchange=exchange, store=store, version=version)
        self._woken = asyncio.Event() if webhook is None else webhook.woken
        self._polling = VenPolling(self._client, program_names)
        self._reports = VenReports(self._client, store, offers, ven_name)
        self._standing: Standing | None = None
        self._look_after_at: datetime | None = None
        self._webhook = webhook
        self._mqtt = mqtt
        self._followed: Collection[str] = ()
        self._subscribe_at: datetime | None = None
        self._subscribed = False
        self._events: dict[str, model.Event] = {}
        self._offered: EventBatch | None = None
        self._answered: EventBatch | None = None
        self._refused: EventBatch | None = None
        self._opted_out: set[str] = set()
        self._unsaid: dict[str, OptDecision] = {}

    @property
    def connection_id(self) -> str:
        return self._connection_id

    @property
    def party_ids(self) -> frozenset[str]:
        """Our name, which is how 3.0's targets name us, and the id of our ven object, where there is one."""
        own_id = None if self._standing is None else self._standing.ven_id
        return frozenset({self._ven_name} if own_id is None else {self._ven_name, own_id})

    @property
    def poll_s(self) -> float:
        return self._poll_s

    @property
    def woken(self) -> asyncio.Event:
        """Set when the VTN has something new, as far as it tells; cleared by the next ``receive``."""
        return self._woken

    def routes(self) -> list[web.RouteDef]:
        """The door of the webhook, none where there is none. It belongs on a listener with TLS."""
        return [] if self._webhook is None else self._webhook.routes()

    async def listen(self, now: datetime) -> bool:
        """Follow the VTN's MQTT broker and set ``woken`` at every notification, for as long as the connection lasts.

        Returns false at once where there is nothing to follow, not before the first ``receive`` either. Raises
        ``Unreachable`` when the connection ends, and other ``ProtocolError``. Call it again later: it never waits.
        """
        if self._mqtt is None or self._standing is None or self._client.version is Version.V3_0:
            return False
        ven_id, programs = self._standing.ven_id, self._followed
        return await listen(self._client, self._mqtt, self._woken, ven_id=ven_id, program_ids=programs, now=now)

    async def receive(self, now: datetime) -> EventBatch | None:
        # Before anything is read, so that no word is lost that comes meanwhile.
        self._woken.clear()
        try:
            return await self._turn(now)
        except Unreachable:
            self._look_after_at = None
            raise

    async def respond(self, batch: EventBatch, decisions: Sequence[OptDecision], now: datetime) -> None:
        """Take the batch for answered; opting out is said to the events that ask for our operating state.

        Nothing is raised: what could not be said just now is said again with the polls that follow.
        """
        for decision in decisions:
            self._unsaid[decision.event_id] = decision
        await self._say_unsaid(now)
        if self._offered is batch:
            self._answered = batch

    async def restate(self, decision: OptDecision, now: datetime) -> str | None:
        """Say a changed answer where the event asks for our operating state, else why that cannot be."""
        event = self._events.get(decision.event_id)
        if event is None or not asks_for_state(event):
            return NO_ANSWER
        refused = await self._say(decision, now)
        self._unsaid.pop(decision.event_id, None)
        return refused

    async def refuse(self, batch: EventBatch, detail: str, now: datetime) -> None:
        """Nothing can be said of it in 3.x: it is offered again when our own objects are looked after next."""
        del detail, now
        self._refused = batch

    async def orders(self) -> tuple[ReportOrder, ...]:
        return await self._reports.orders()

    async def send_report(self, report: IntervalReport, now: datetime) -> Receipt:
        """Deliver one report: as a new object, or in the place of itself or of the one that it corrects.

        Raises ``Unreachable``, ``MessageError``, and ``Rejected`` for an error that may pass.
        """
        try:
            return await self._reports.send(report, now)
        except Unreachable:
            self._look_after_at = None
            raise

    async def _turn(self, now: datetime) -> EventBatch | None:
        fault = await self._look_after(now)
        granted = frozenset[str]() if self._standing is None else self._standing.targets
        targets = self._targets | granted
        polled = await self._polling.read(targets, self._ours(targets), now)
        if self._standing is None:
            # Without our targets we may not see all that is for us.
            polled = replace(polled, batch=replace(polled.batch, complete=False))
        self._events = {event.metadata.id: event for event in polled.events if event.metadata is not None}
        self._followed = polled.followed
        self._opted_out &= self._events.keys()
        await self._reports.take(polled.events, polled.programs, now, whole=polled.batch.complete)
        await self._keep_subscribed(targets, polled, now)
        await self._say_unsaid(now)
        batch = self._with_answers_wanted(polled)
        if any(done is not None and _says(batch) == _says(done) for done in (self._answered, self._refused)):
            if fault is not None:
                raise fault
            return None
        self._offered = batch
        return batch

    def _ours(self, targets: frozenset[str]) -> frozenset[str] | None:
        """Every name that means us, ``None`` where we cannot know them."""
        if not self._targets and (self._standing is None or self._standing.ven_id is None):
            return None
        return targets | {self._ven_name, *self._resource_names} | self.party_ids

    def _with_answers_wanted(self, polled: Polled) -> EventBatch:
        return replace(
            polled.batch,
            events=tuple(
                replace(event, response_required=True)
                if event.event_id in self._events and asks_for_state(self._events[event.event_id])
                else event
                for event in polled.batch.events
            ),
        )

    async def _look_after(self, now: datetime) -> ProtocolError | None:
        """Look our own objects up and mend them where that is due.

        What is wrong with them keeps no event from us: it is returned, and told when nothing else is new. Raises
        ``Unreachable``.
        """
        if self._look_after_at is not None and now < self._look_after_at:
            return None
        try:
            standing = await find_or_make(
                self._client, ven_name=self._ven_name, resource_names=self._resource_names, now=now
            )
        except Unreachable:
            raise
        except ProtocolError as fault:
            return fault
        if self._standing is not None and not standing.readable and self._standing.readable:
            # We may not read our own object just now: that takes nothing from what was granted.
            standing = self._standing
        await self._keep(standing, now)
        first = self._standing is None
        self._standing = standing
        self._refused = None
        # Who was just made may be granted its targets in a moment.
        self._look_after_at = now + timedelta(seconds=SOON_S if first else LOOK_AFTER_S)
        return None

    async def _keep_subscribed(self, targets: Collection[str], polled: Polled, now: datetime) -> None:
        """Look after our subscriptions where that is due. A VTN that does not take them is polled all the same."""
        if self._webhook is None or (self._subscribe_at is not None and now < self._subscribe_at):
            return
        self._subscribe_at = now + timedelta(seconds=LOOK_AFTER_S)
        try:
            await subscribe(
                self._client,
                self._webhook,
                client_name=self._ven_name,
                targets=targets,
                program_ids=polled.followed,
                anew=not self._subscribed,
                now=now,
            )
        except ProtocolError:
            return
        self._subscribed = True

    async def _keep(self, standing: Standing, now: datetime) -> None:
        before = await self._store.registration(self._connection_id)
        ven_id = standing.ven_id or ""
        if before is None or (before.registration_id, before.party_id) != (ven_id, self._ven_name):
            await self._store.save_registration(
                Registration(
                    connection_id=self._connection_id,
                    registration_id=ven_id,
                    party_id=self._ven_name,
                    counterparty_id="",
                    poll_s=self._poll_s,
                    registered_at=now,
                )
            )

    async def _say_unsaid(self, now: datetime) -> None:
        for event_id, decision in list(self._unsaid.items()):
            if decision.opt is Opt.IN and event_id not in self._opted_out:
                # Taking part is what is expected, and the reports of our state will show it.
                del self._unsaid[event_id]
                continue
            with suppress(ProtocolError):
                await self._say(decision, now)
                self._unsaid.pop(event_id, None)

    async def _say(self, decision: OptDecision, now: datetime) -> str | None:
        """Tell the VTN of an opt; why it does not take it, ``None`` where it does or need not know."""
        event = self._events.get(decision.event_id)
        if event is None or not asks_for_state(event):
            return None
        report = write_opt(decision, event, self._ven_name, self._resource_names, self._client.version)
        try:
            await self._reports.deliver(report, (report.name or "",), now)
        except Rejected as fault:
            if not fault.code.startswith("4") or fault.code in MAY_PASS:
                raise
            return str(fault)
        if decision.opt is Opt.OUT:
            self._opted_out.add(decision.event_id)
        else:
            self._opted_out.discard(decision.event_id)
        return None


def _says(batch: EventBatch) -> tuple[object, ...]:
    """What a batch says, whenever it was read: neither its instant nor how far its events have come."""
    return (
        batch.complete,
        {
            (event.event_id, event.revision, event.program_id, event.targets, event.response_required)
            for event in batch.events
        },
        {(fault.event_id, fault.revision, fault.detail) for fault in batch.faults},
    )
