"""What the contract's bounds make of our answer to an event."""

from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime
from zoneinfo import ZoneInfo

from gateway.domain.contract import Call, Program, contract_fit
from gateway.domain.event import EventRecord, acts, effective_end
from protocols.grid import GridEvent, Opt, OptDecision, Refusal


def within_contract(
    decision: OptDecision,
    event: GridEvent,
    program: Program | None,
    others: Iterable[EventRecord],
    *,
    notified_at: datetime,
    zone: ZoneInfo,
) -> OptDecision:
    """Our answer, after the contract's bounds. A call outside is taken part in only where its program is mandatory.

    ``others`` are events on record, of which those of the program that were opted into count as calls.
    """
    contract = None if program is None else program.contract
    if program is None or contract is None or decision.opt is Opt.OUT or not acts(event):
        return decision
    calls = [
        Call(starts_at=other.event.starts_at, ends_at=effective_end(other))
        for other in others
        if other.event.program_id == program.program_id
        and (other.event.connection_id, other.event.event_id) != (event.connection_id, event.event_id)
        and acts(other.event)
        and other.decision is not None
        and other.decision.opt is Opt.IN
        and effective_end(other) != other.event.starts_at
    ]
    call = Call(starts_at=event.starts_at, ends_at=event.ends_at)
    fit = contract_fit(contract, calls, call, notified_at=notified_at, zone=zone)
    if fit.fits:
        return decision
    reasons = "; ".join(fit.reasons)
    if program.mandatory:
        return replace(decision, detail=f"{decision.detail}; mandatory, and outside the contract: {reasons}")
    return replace(decision, opt=Opt.OUT, refusal=Refusal.OUTSIDE_CONTRACT, detail=f"outside the contract: {reasons}")
