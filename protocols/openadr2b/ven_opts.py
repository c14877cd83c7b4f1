"""EiOpt, as a VEN uses it: when we will or will not take part, told to the VTN before it asks."""

from collections.abc import Callable
from datetime import datetime

from protocols.errors import Rejected
from protocols.grid import OptDecision, OptSchedule, Refusal
from protocols.openadr2b import model
from protocols.openadr2b.codec import Message, name_of
from protocols.openadr2b.conversation import OPT, Conversation, check
from protocols.openadr2b.neutral_opt import write_opt
from protocols.party_store import Registration

_OVERRIDE = "overrideStatus"


class VenOpts:
    """The opts of one VEN. Nothing is kept here: what stands is the caller's to know."""

    def __init__(self, conversation: Conversation, new_id: Callable[[], str]) -> None:
        self._conversation = conversation
        self._new_id = new_id

    async def create(self, schedule: OptSchedule, registration: Registration, now: datetime) -> None:
        """Tell of a schedule; raises as ``Ven.create_opt``."""
        message = write_opt(schedule, ven_id=registration.party_id, request_id=self._new_id())
        heard = await self._ask(message, now)
        if not isinstance(heard, model.CreatedOpt):
            raise Rejected(f"oadrCreateOpt was answered with {name_of(heard)}", code=name_of(heard))
        if heard.opt_id != schedule.opt_id:
            raise Rejected(
                f"opt {schedule.opt_id} was answered as {heard.opt_id!r}: nobody knows whether it holds, send it again",
                code=name_of(heard),
            )

    async def cancel(self, opt_id: str, registration: Registration, now: datetime) -> None:
        """End an opt; raises as ``Ven.cancel_opt``."""
        message = model.CancelOpt(request_id=self._new_id(), opt_id=opt_id, ven_id=registration.party_id)
        heard = await self._ask(message, now)
        if not isinstance(heard, model.CanceledOpt):
            raise Rejected(f"oadrCancelOpt was answered with {name_of(heard)}", code=name_of(heard))

    async def of_event(self, decision: OptDecision, registration: Registration, now: datetime) -> None:
        """Tell our answer to one event (rule 510: by its id and modification number)."""
        schedule = OptSchedule(
            opt_id=self._new_id(),
            connection_id=decision.connection_id,
            opt=decision.opt,
            created_at=decision.decided_at,
            reason=_OVERRIDE if decision.refusal is Refusal.OPERATOR else "",
            event_id=decision.event_id,
            revision=decision.revision,
        )
        await self.create(schedule, registration, now)

    async def _ask(self, message: model.CreateOpt | model.CancelOpt, now: datetime) -> Message:
        try:
            heard = (await self._conversation.ask(OPT, message, now)).message
            check(heard, f"{name_of(message)} {message.opt_id}", only_our_id=False)
        except Rejected as fault:
            if fault.code in {"404", "405", "501"}:
                raise Rejected(
                    f"the VTN has no EiOpt service ({fault}): opt out of events one by one, or tell the utility",
                    code=fault.code,
                ) from fault
            raise
        return heard
