"""A virtual end node (VEN) of OpenADR 2.0b, in HTTP pull or push: where a utility asks us."""

import asyncio
from collections.abc import AsyncIterator, Callable, Collection, Sequence
from contextlib import asynccontextmanager, suppress
from datetime import datetime, timedelta
from uuid import uuid4

from aiohttp import web

from protocols.errors import NotRegistered, ProtocolError, Rejected, Unreachable, UnsupportedMessage
from protocols.grid import EventBatch, GridEvent, OptDecision, OptSchedule, Target
from protocols.grid_report import IntervalReport, Receipt, ReportOffer, ReportOrder
from protocols.openadr2b import model
from protocols.openadr2b.codec import name_of
from protocols.openadr2b.conversation import POLL, REGISTER, AskedToRegister, Conversation, Heard, check
from protocols.openadr2b.exchange import Exchange, HttpExchange
from protocols.openadr2b.signature import Signer, Verifier
from protocols.openadr2b.ven_events import VenEvents
from protocols.openadr2b.ven_opts import VenOpts
from protocols.openadr2b.ven_push import VenPush
from protocols.openadr2b.ven_registration import Wanted, canceled, deregister, is_ours, register
from protocols.openadr2b.ven_reports import MAY_PASS, ReportQuestion, VenReports
from protocols.openadr2b.ven_targets import VenTargets
from protocols.party_store import PartyStore, Registration

__all__ = ["Exchange", "HttpExchange", "Ven"]

MOST_MESSAGES_A_TURN = 8
"""So many messages without events are taken in one turn before the caller gets its own back."""

QUIET = timedelta(minutes=15)
"""In push mode a VTN from which nothing came for so long is asked for its events: it may have forgotten us."""


class Ven:
    """One registration with one VTN; a ``GridConnection``.

    A turn registers where that is needed, then registers the reports and asks for all events where that is due (after
    registration, at the start of every life of the process, and after every outage, in which an answer may have been
    lost or the VTN restarted), then polls. The VTN's ``oadrRequestedOadrPollFreq`` goes before ``poll_s``.

    With ``push_url``, the root address at which the VTN reaches ``routes``, we do not poll: a turn takes what was sent
    to us, and ``woken`` is set when there is something. ``targets`` are our groups, resources and areas, as far as we
    were told them. With ``signer`` we sign, with ``verifier`` we take only what is signed.
    """

    def __init__(
        self,
        *,
        connection_id: str,
        ven_name: str,
        exchange: Exchange,
        store: PartyStore,
        offers: Sequence[ReportOffer],
        poll_s: float = 10.0,
        push_url: str | None = None,
        targets: Collection[Target] = (),
        signer: Signer | None = None,
        verifier: Verifier | None = None,
        new_id: Callable[[], str] = lambda: uuid4().hex,
    ) -> None:
        self._connection_id = connection_id
        self._store = store
        self._wanted = Wanted(ven_name=ven_name, poll_s=poll_s, push_url=push_url)
        self._new_id = new_id
        self._signer = signer
        self._conversation = Conversation(connection_id, exchange, store, signer=signer, verifier=verifier)
        self._events = VenEvents(self._conversation, new_id)
        self._reports = VenReports(self._conversation, store, offers, new_id)
        self._opts = VenOpts(self._conversation, new_id)
        self._targets = VenTargets(targets)
        self._push = VenPush(self._conversation, self._reports, self._stored)
        self._known: Registration | None = None
        self._former: Registration | None = None
        self._left = False
        self._reports_due = False

    @property
    def connection_id(self) -> str:
        return self._connection_id

    @property
    def party_ids(self) -> frozenset[str]:
        return frozenset() if self._known is None else frozenset({self._known.party_id})

    @property
    def poll_s(self) -> float:
        return self._wanted.poll_s if self._known is None else self._known.poll_s

    @property
    def woken(self) -> asyncio.Event:
        """Set while something that was pushed waits for a turn. Whoever waits on it clears it before the turn."""
        return self._push.woken

    @property
    def fingerprint(self) -> str | None:
        """That of the certificate we sign with, as 2.0b writes it, ``None`` where we do not sign."""
        return None if self._signer is None else self._signer.fingerprint

    def not_ours(self, event: GridEvent) -> str | None:
        """Why an event is not for us by its targets, in plain words; ``None`` where it is."""
        return self._targets.not_ours(event, self.party_ids)

    def routes(self, now: Callable[[], datetime], prefix: str = "") -> list[web.RouteDef]:
        """Where the VTN sends to us in push mode, under ``prefix`` (then part of ``push_url``, too)."""
        return self._push.routes(now, prefix)

    async def receive(self, now: datetime) -> EventBatch | None:
        if self._left:
            raise NotRegistered(
                "we cancelled our registration ourselves: start the gateway anew to register again",
                connection_id=self._connection_id,
            )
        try:
            return await self._turn(now)
        except Unreachable:
            self._resume()
            raise
        except NotRegistered as fault:
            await self._forget(fault)
            if isinstance(fault, AskedToRegister):
                return None
            raise
        except Exception as fault:
            # Something said to us may be lost (in a gateway between, or the store could not keep it), and some VTNs
            # say a thing only once. A message that cannot be read or an answered error is not lost.
            lost = not isinstance(fault, ProtocolError) or (isinstance(fault, Rejected) and fault.code.startswith("5"))
            self._events.due = self._events.due or lost
            raise

    async def respond(self, batch: EventBatch, decisions: Sequence[OptDecision], now: datetime) -> None:
        """Acknowledge; ``batch.faults`` are answered with it, events that want no answer are passed over.

        Only ``Unreachable`` is raised. Where the VTN refuses the answer, or no longer knows us, saying it again would
        not help: the next turn asks for its events anew instead.
        """
        registration = await self._stored()
        if registration is None:
            return
        try:
            async with self._minding_outages():
                await self._events.respond(batch, decisions, registration, now)
        except NotRegistered:
            return

    async def refuse(self, batch: EventBatch, detail: str, now: datetime) -> None:
        """Answer with an error, and opt out of each event too: some VTNs look only there. Raises as ``respond``."""
        registration = await self._stored()
        if registration is None:
            return
        try:
            async with self._minding_outages():
                await self._events.refuse(batch, detail, registration, now)
        except NotRegistered:
            return

    async def restate(self, decision: OptDecision, now: datetime) -> str | None:
        """Change our optState by one more oadrCreatedEvent, as 2.0b's EiEvent allows at any time.

        Where the VTN takes no second answer for good, EiOpt says it of the event (rule 510); what it says to the
        first stands where it has no EiOpt either. Raises as ``send_report`` does.
        """
        registration = await self._must_be_registered()
        async with self._minding_outages():
            try:
                await self._events.restate(decision, registration, now)
            except Rejected as fault:
                if not _is_final(fault):
                    raise
                try:
                    await self._opts.of_event(decision, registration, now)
                except Rejected as again:
                    if again.code.startswith("5") or again.code in MAY_PASS:
                        raise
                    return str(fault)
        return None

    async def create_opt(self, schedule: OptSchedule, now: datetime) -> None:
        """Tell the VTN when we will or will not take part, or our answer to one event; it holds when this returns.

        Raises ``ValueError`` for what 2.0b cannot say, ``Rejected`` where the VTN will not have it or has no EiOpt,
        and ``NotRegistered`` and ``Unreachable``: then the same schedule may be told again under the same id.
        """
        registration = await self._must_be_registered()
        async with self._minding_outages():
            await self._opts.create(schedule, registration, now)

    async def cancel_opt(self, opt_id: str, now: datetime) -> None:
        """End an opt that was told before; raises as ``create_opt``."""
        registration = await self._must_be_registered()
        async with self._minding_outages():
            await self._opts.cancel(opt_id, registration, now)

    async def deregister(self, now: datetime) -> None:
        """End our registration. It is not renewed in this life of the process.

        Raises ``Rejected`` where the VTN will not have it, ``Unreachable`` where it cannot be told.
        """
        registration = await self._stored()
        # No turn meanwhile may register anew.
        self._left = True
        try:
            if registration is not None:
                # Where it knows nothing of us, that is what was wanted.
                with suppress(NotRegistered):
                    await deregister(self._conversation, registration, self._new_id, now)
        except BaseException:
            self._left = False
            raise
        await self._forget()

    async def orders(self) -> tuple[ReportOrder, ...]:
        return await self._reports.orders()

    async def send_report(self, report: IntervalReport, now: datetime) -> Receipt:
        """Deliver one report.

        It goes under the order that stands for its resource now where its own was replaced (a VTN asks anew after it
        was restarted), so that an outbox filled during an outage is not lost. A report in which nothing was measured
        is not sent. Raises ``Unreachable``, ``NotRegistered``, and ``Rejected`` for an error that may pass.
        """
        registration = await self._must_be_registered()
        async with self._minding_outages():
            return await self._reports.send(report, registration, now)

    async def _turn(self, now: datetime) -> EventBatch | None:
        self._events.begin_turn()
        registration = await self._registered(now)
        batch = await self._pushed(registration, now)
        if batch is not None:
            return batch
        # Neither may keep us from polling for good: what fails for now is tried again next turn, and the turn goes on.
        if self._reports_due:
            self._reports_due = False
            self._reports_due = not await self._reports.register(registration, now)
        await self._reports.follow_up(registration, now)
        if self._events.due or self._is_quiet(registration, now):
            self._push.heard_at = now
            batch = await self._events.all(registration, now)
            if batch is not None:
                return batch
        return await self._poll(registration, now) if self._wanted.push_url is None else None

    async def _pushed(self, registration: Registration, now: datetime) -> EventBatch | None:
        """What was sent to us: up to the first events; what is left wakes the next turn."""
        while (heard := self._push.next()) is not None:
            message = heard.message
            if isinstance(message, model.DistributeEvent):
                batch = await self._events.take(heard, message, registration, now, pushed=True)
                if self._events.due:
                    self._push.woken.set()
                return batch
            if isinstance(message, model.RequestReregistration):
                raise AskedToRegister("the VTN asks us to register anew", connection_id=self._connection_id)
            if isinstance(message, model.CancelPartyRegistration) and is_ours(message, registration):
                raise NotRegistered("the VTN cancelled our registration", connection_id=self._connection_id)
        return None

    def _is_quiet(self, registration: Registration, now: datetime) -> bool:
        heard_at = self._push.heard_at or registration.registered_at
        return self._wanted.push_url is not None and now - heard_at >= QUIET

    async def _poll(self, registration: Registration, now: datetime) -> EventBatch | None:
        for _ in range(MOST_MESSAGES_A_TURN):
            heard = await self._conversation.ask(POLL, model.Poll(ven_id=registration.party_id), now)
            if isinstance(heard.message, model.DistributeEvent):
                return await self._events.take(heard, heard.message, registration, now)
            if isinstance(heard.message, model.Response):
                check(heard.message, "oadrPoll", only_our_id=True)
                return None
            await self._serve(heard, registration, now)
        return None

    async def _serve(self, heard: Heard, registration: Registration, now: datetime) -> None:
        """Act on a message other than events that a poll brought, and answer it."""
        message = heard.message
        if isinstance(message, ReportQuestion):
            await self._reports.serve(message, registration, now)
        elif isinstance(message, model.CancelPartyRegistration):
            await self._conversation.tell(REGISTER, canceled(message, registration), now)
            if is_ours(message, registration):
                raise NotRegistered("the VTN cancelled our registration", connection_id=self._connection_id)
        else:
            fault = UnsupportedMessage(f"{name_of(message)} is nothing that a VTN sends when it is polled")
            fault.raw_sha256, fault.connection_id = heard.sha256, self._connection_id
            raise fault

    async def _registered(self, now: datetime) -> Registration:
        """Our registration: as we know it, from the store (a new life), or a new one."""
        if self._known is None:
            self._known = await self._store.registration(self._connection_id)
            # Without orders we may have been stopped between registering and offering reports.
            self._reports_due = self._known is not None and not await self.orders()
        if self._known is None:
            self._known = await register(
                self._conversation, self._store, self._wanted, former=self._former, new_id=self._new_id, now=now
            )
            self._former = None
            self._reports_due = self._events.due = True
        return self._known

    async def _stored(self) -> Registration | None:
        return self._known or await self._store.registration(self._connection_id)

    async def _must_be_registered(self) -> Registration:
        registration = await self._stored()
        if registration is None:
            raise NotRegistered("not registered yet", connection_id=self._connection_id)
        return registration

    @asynccontextmanager
    async def _minding_outages(self) -> AsyncIterator[None]:
        """What is learnt about the connection while something else is said over it."""
        try:
            yield
        except Unreachable:
            self._resume()
            raise
        except NotRegistered as fault:
            await self._forget(fault)
            raise

    def _resume(self) -> None:
        """After an outage: an answer to us may have been lost, and the VTN may have forgotten whom it asked what."""
        self._events.due = self._reports_due = True

    async def _forget(self, fault: NotRegistered | None = None) -> None:
        """Forget our registration; one that the VTN wants renewed is named once more."""
        if isinstance(fault, AskedToRegister):
            self._former = self._known or self._former
        self._known = None
        await self._store.forget_registration(self._connection_id)


def _is_final(fault: Rejected) -> bool:
    """Whether saying the same again would not help."""
    return fault.code.startswith("4") and fault.code not in MAY_PASS
