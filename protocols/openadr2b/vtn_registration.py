"""EiRegisterParty from the VTN's side: who is who, and who has left."""

from collections.abc import Callable
from dataclasses import replace
from datetime import datetime, timedelta
from urllib.parse import urlsplit

from protocols.grid import Party
from protocols.openadr2b import model
from protocols.openadr2b.conversation import INVALID_ID, NOT_ALLOWED, said_well
from protocols.openadr2b.vtn_events import VtnEvents
from protocols.openadr2b.vtn_parties import Caller, Refused, VtnParties
from protocols.openadr2b.vtn_queue import VtnQueue
from protocols.openadr2b.vtn_state import VtnState

MOST_PARTIES = 10_000
"""VENs of one VTN. Who may register unasked must not fill the store."""

_LONGEST_ADDRESS = 300


class VtnRegistration:
    """Registers VENs, and lets them go. ``pushes`` says whether one may be told instead of asking."""

    def __init__(
        self,
        *,
        state: VtnState,
        parties: VtnParties,
        queue: VtnQueue,
        events: VtnEvents,
        vtn_id: str,
        poll_every: timedelta,
        pushes: bool,
        new_id: Callable[[], str],
    ) -> None:
        self._state = state
        self._parties = parties
        self._queue = queue
        self._events = events
        self._vtn_id = vtn_id
        self._poll_every = poll_every
        self._pushes = pushes
        self._new_id = new_id

    def says(self, request_id: str) -> model.CreatedPartyRegistration:
        """What we speak, to anybody who asks."""
        return model.CreatedPartyRegistration(
            response=said_well(request_id),
            vtn_id=self._vtn_id,
            profiles=(model.Profile(name="2.0b", transports=("simpleHttp",)),),
            poll_every=self._poll_every,
        )

    def refuses(self, request_id: str, code: str, description: str) -> model.CreatedPartyRegistration:
        response = model.EiResponse(code=code, description=description, request_id=request_id)
        return replace(self.says(request_id), response=response)

    async def register(
        self, message: model.CreatePartyRegistration, caller: Caller, now: datetime
    ) -> model.CreatedPartyRegistration:
        """Register a VEN, or know it again: one that is registered keeps its ids."""
        address = self._address(message)
        if message.transport != "simpleHttp" or message.profile != "2.0b" or address is None:
            how = "pull mode, or push mode to an http(s) address" if self._pushes else "pull mode"
            return self.refuses(message.request_id, NOT_ALLOWED, f"only 2.0b over simpleHttp in {how}")
        try:
            name, ven_id, known = self._parties.who_registers(message, caller, self._state.parties.values())
            if address and not (caller.fingerprint or self._parties.named(name)):
                # Else anybody could have us call any address that we can reach.
                raise Refused("only a declared VEN, or one with a certificate, may be pushed to", code=NOT_ALLOWED)
            if known is None and len(self._state.parties) >= MOST_PARTIES:
                raise Refused(f"there are {MOST_PARTIES} VENs already, as many as are kept", code=NOT_ALLOWED)
        except Refused as refused:
            return self.refuses(message.request_id, refused.code, str(refused))
        party = self._party(name, ven_id, known, now)
        party = replace(party, address=address, fingerprint=caller.fingerprint or party.fingerprint)
        if party != known:
            await self._state.save_party(party)
        # What it knew of events may be gone with its registration.
        self._events.forget(party.party_id)
        await self._queue.remove(party.party_id, "oadrRequestReregistration")
        return replace(self.says(message.request_id), registration_id=party.registration_id, ven_id=party.party_id)

    async def deregister(self, message: model.CancelPartyRegistration, party: Party) -> model.CanceledPartyRegistration:
        """A VEN leaves."""
        if message.registration_id != party.registration_id:
            response = model.EiResponse(
                code=INVALID_ID, description="not your registration", request_id=message.request_id
            )
            return model.CanceledPartyRegistration(response=response, ven_id=party.party_id)
        await self.let_go(party)
        return model.CanceledPartyRegistration(
            response=said_well(message.request_id), registration_id=message.registration_id, ven_id=party.party_id
        )

    async def let_go(self, party: Party) -> None:
        """The registration is over. What it called its data by is kept: late reports can still be read."""
        await self._queue.clear(party.party_id)
        await self._state.save_party(replace(party, registration_id="", offers=(), address=""))
        self._events.forget(party.party_id)

    def _party(self, name: str, ven_id: str, known: Party | None, now: datetime) -> Party:
        if known is not None and known.registration_id:
            # Also where it has forgotten its ids: a message that is delivered twice, or late, must change nothing.
            return known
        party_id = f"ven-{self._new_id()}" if known is None else known.party_id
        return Party(
            connection_id=self._state.connection_id,
            party_id=party_id if known is not None or not ven_id else ven_id,
            registration_id=f"registration-{self._new_id()}",
            name=name,
            registered_at=now,
            fingerprint="" if known is None else known.fingerprint,
            detail="" if known is None else known.detail,
        )

    def _address(self, message: model.CreatePartyRegistration) -> str | None:
        """Where to push to, empty for a VEN that polls; ``None`` for one that can be reached in no way that we know."""
        if message.http_pull_model is not False:
            return ""
        address = (message.transport_address or "").strip()
        if not self._pushes or len(address) > _LONGEST_ADDRESS:
            return None
        try:
            parts = urlsplit(address)
            known = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0
        except ValueError:
            return None
        plain = "@" not in parts.netloc and not parts.query and not parts.fragment
        return address.rstrip("/") if known and plain else None
