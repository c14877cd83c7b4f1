"""EiOpt from the VTN's side: when a VEN will not take part, and what it says of one event."""

from dataclasses import replace

from protocols.errors import MalformedMessage
from protocols.grid import Party, Target
from protocols.openadr2b import model
from protocols.openadr2b.conversation import INVALID_DATA, INVALID_ID, NOT_ALLOWED, said_well
from protocols.openadr2b.neutral_opt import read_opt
from protocols.openadr2b.vtn_events import VtnEvents
from protocols.openadr2b.vtn_state import VtnState

MOST_OPTS = 1000
"""Opts of one VEN that stand at a time."""


class VtnOpts:
    """Takes opts and forgets them. One of an event is that VEN's word on it, until it is cancelled (rule 510)."""

    def __init__(self, state: VtnState, events: VtnEvents) -> None:
        self._state = state
        self._events = events

    async def create(self, message: model.CreateOpt, party: Party) -> model.CreatedOpt:
        """Keep an opt in place of the one with its id."""

        def refuse(code: str, description: str) -> model.CreatedOpt:
            response = model.EiResponse(code=code, description=description, request_id=message.request_id)
            return model.CreatedOpt(response=response, opt_id=message.opt_id)

        try:
            opt = read_opt(message, connection_id=self._state.connection_id)
        except (MalformedMessage, OverflowError) as fault:
            return refuse(INVALID_DATA, str(fault)[:200])
        itself = Target(kind="ven", value=party.party_id)
        opt = replace(opt, targets=tuple(target for target in opt.targets if target != itself))
        if any(target.kind == "ven" for target in opt.targets):
            return refuse(INVALID_ID, "an opt can be for yourself only")
        if opt.event_id:
            event = await self._state.event(opt.event_id)
            if event is None or opt.revision > event.revision or not self._events.is_for(event, party):
                return refuse(INVALID_ID, "an event that we never sent")
        standing = {one.opt_id for one in self._state.opts(party.party_id)}
        if opt.opt_id not in standing and len(standing) >= MOST_OPTS:
            return refuse(NOT_ALLOWED, f"{MOST_OPTS} opts stand already: cancel some")
        await self._state.save_opt(party.party_id, opt)
        return model.CreatedOpt(response=said_well(message.request_id), opt_id=message.opt_id)

    async def cancel(self, message: model.CancelOpt, party: Party) -> model.CanceledOpt:
        """Forget an opt. One that is not there (any more) is refused."""
        if await self._state.cancel_opt(party.party_id, message.opt_id):
            return model.CanceledOpt(response=said_well(message.request_id), opt_id=message.opt_id)
        response = model.EiResponse(
            code=INVALID_ID, description="no opt of this id stands", request_id=message.request_id
        )
        return model.CanceledOpt(response=response, opt_id=message.opt_id)
