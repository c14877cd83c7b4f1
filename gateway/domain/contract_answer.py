"""What the contract's bounds make of our answer to an event."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from zoneinfo import ZoneInfo

from gateway.domain.contract import Call, Program, contract_fit, contract_left
from gateway.domain.event import EventRecord, acts, effective_end, took_part_until
from protocols.grid import GridEvent, Opt, OptDecision, Refusal

_INSTANT = timedelta(microseconds=1)


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
    call = Call(starts_at=event.starts_at, ends_at=event.ends_at)
    fit = contract_fit(contract, _other_calls(event, program, others), call, notified_at=notified_at, zone=zone)
    if fit.fits:
        return decision
    reasons = "; ".join(fit.reasons)
    if program.mandatory:
        return replace(decision, detail=f"{decision.detail}; mandatory, and outside the contract: {reasons}")
    return replace(decision, opt=Opt.OUT, refusal=Refusal.OUTSIDE_CONTRACT, detail=f"outside the contract: {reasons}")


def left_after(event: GridEvent, program: Program | None, others: Iterable[EventRecord], *, zone: ZoneInfo) -> str:
    """What the contract still allows once an event that was opted into is over, in words; empty without bounds."""
    contract = None if program is None else program.contract
    if program is None or contract is None or not acts(event):
        return ""
    call = Call(starts_at=event.starts_at, ends_at=event.ends_at)
    left = contract_left(contract, [*_other_calls(event, program, others), call], event.starts_at + _INSTANT, zone)
    said = []
    if left.calls_today is not None:
        said.append(f"{left.calls_today} of {contract.calls_per_day} calls of the day")
    if left.calls_this_season is not None:
        said.append(f"{left.calls_this_season} of {contract.calls_per_season} calls of the season")
    if left.hours_this_season is not None:
        said.append(f"{left.hours_this_season:.1f} of {contract.hours_per_season:.1f} hours of the season")
    words = [f"{_listed(said)} are left after it"] if said else []
    if contract.rest_s > 0.0 and event.ends_at is not None and left.rests_until is not None:
        words.append(f"the rest after it lasts until {left.rests_until.astimezone(zone):%H:%M on %-d %B}")
    return "; ".join(words)


def _other_calls(event: GridEvent, program: Program, others: Iterable[EventRecord]) -> list[Call]:
    """The program's other events that we take or took part in, as calls; one that an operator left counts whole."""
    return [
        Call(starts_at=other.event.starts_at, ends_at=effective_end(other))
        for other in others
        if other.event.program_id == program.program_id
        and (other.event.connection_id, other.event.event_id) != (event.connection_id, event.event_id)
        and acts(other.event)
        and took_part_until(other) != other.event.starts_at
    ]


def _listed(said: Sequence[str]) -> str:
    return " and ".join(part for part in (", ".join(said[:-1]), said[-1]) if part)
