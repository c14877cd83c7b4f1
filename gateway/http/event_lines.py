"""Events as the page tells them: the one that matters most now comes first."""

from dataclasses import dataclass
from datetime import datetime

from gateway.domain.event import EventRecord, EventState, effective_end, state
from gateway.http import words
from gateway.http.sources import Record, Sources
from protocols.grid import Opt

MOST_EVENTS = 20
LONGEST_COMMENT = 400

AHEAD = (EventState.ACTIVE, EventState.NEAR, EventState.FAR)


@dataclass(frozen=True, slots=True, kw_only=True)
class EventLine:
    """One event, told. ``acting`` is false where nothing is done for it (a test, opted out, not answered)."""

    event_id: str
    connection_id: str
    program_id: str
    revision: int
    state: EventState
    acting: bool
    test: bool
    starts_at: datetime
    ends_at: datetime | None
    words: str
    countdown: str
    answer: str
    note: str
    comment: str
    remark: str
    about: str

    @property
    def ahead(self) -> bool:
        """Whether it runs or is still to come."""
        return self.state in AHEAD


def event_lines(sources: Sources, record: Record, now: datetime) -> tuple[EventLine, ...]:
    """What runs (what is acted on first), then what comes, then what is over, the latest first; so many at most."""
    lines = [(found, _line(found, sources, record, now)) for found in record.events]
    ahead = [line for _, line in lines if line.ahead]
    ahead.sort(key=lambda line: (AHEAD.index(line.state), not line.acting, line.starts_at))
    over = [(effective_end(found) or line.starts_at, line) for found, line in lines if not line.ahead]
    over.sort(key=lambda pair: pair[0], reverse=True)
    return tuple([*ahead, *(line for _, line in over)][:MOST_EVENTS])


def _line(record: EventRecord, sources: Sources, held: Record, now: datetime) -> EventLine:
    event, zone = record.event, sources.site.timezone
    where = state(record, now)
    plan = held.plan_of(event)
    opted_in = record.decision is not None and record.decision.opt is Opt.IN
    told = words.headline(record, where, program=sources.programs.get(event.program_id), plan=plan, zone=zone, now=now)
    return EventLine(
        event_id=event.event_id,
        connection_id=event.connection_id,
        program_id=event.program_id,
        revision=event.revision,
        state=where,
        acting=opted_in and not event.test,
        test=event.test,
        starts_at=event.starts_at,
        ends_at=event.ends_at,
        words=told,
        countdown=words.countdown(record, where, now),
        answer=words.answer(record, zone, now),
        note=_note(record, held, where),
        comment=words.clipped(event.comment, LONGEST_COMMENT),
        remark=f"The grid adds: “{words.clipped(event.comment, LONGEST_COMMENT)}”" if event.comment else "",
        about=_about(record),
    )


def _about(record: EventRecord) -> str:
    """Its names, and what made us take part, such as the signal that governs."""
    event, decision = record.event, record.decision
    names = f"Event {words.clipped(event.event_id)}, revision {event.revision}, from {event.connection_id}"
    return (
        f"{names}; {decision.detail}" if decision is not None and decision.opt is Opt.IN and decision.detail else names
    )


def _note(record: EventRecord, held: Record, where: EventState) -> str:
    """What else a person should know of it."""
    if where is EventState.CANCELLED:
        return f"Why: {record.end_cause}." if record.end_cause else ""
    if record.event.test:
        return "A test: it is answered, and nothing is capped for it."
    if record.decision is not None and record.decision.opt is Opt.OUT:
        return "Nothing is done for it."
    plan = held.plan_of(record.event)
    if where in AHEAD and plan is not None and plan.shortfall_w > 0:
        return f"We expect to stay {words.power(plan.shortfall_w)} short of what it asks."
    return ""
