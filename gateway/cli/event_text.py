"""An event as ``gridgate event`` finds it in the record and tells it."""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from datetime import datetime

from gateway.domain.event import EventRecord, is_answer_told, state
from gateway.domain.operator import OperatorCommand
from gateway.domain.plan import PowerPlan
from gateway.ledger import Ledger, LogEntry
from protocols.grid import Refusal


@dataclass(frozen=True, slots=True, kw_only=True)
class EventHistory:
    """All that is on record about one event; ``open_commands`` are those that no gateway has acted on yet."""

    record: EventRecord
    plan: PowerPlan | None
    log: tuple[LogEntry, ...]
    open_commands: tuple[OperatorCommand, ...]


async def all_events(ledger: Ledger) -> tuple[EventRecord, ...]:
    """Every event on record, by start."""
    return await ledger.events()


def histories(event_id: str, connection_id: str | None) -> Callable[[Ledger], Awaitable[list[EventHistory]]]:
    """A question for the events of that id, over one connection or any."""

    async def asked(ledger: Ledger) -> list[EventHistory]:
        open_commands = await ledger.open_commands()
        return [
            EventHistory(
                record=record,
                plan=await ledger.plan(record.event.connection_id, event_id),
                log=await ledger.log(record.event.connection_id, event_id),
                open_commands=tuple(
                    command
                    for command in open_commands
                    if (command.connection_id, command.event_id) == (record.event.connection_id, event_id)
                ),
            )
            for record in await ledger.events()
            if record.event.event_id == event_id and connection_id in {None, record.event.connection_id}
        ]

    return asked


def listing(records: Sequence[EventRecord], now: datetime) -> str:
    """One line an event."""
    if not records:
        return "no events on record"
    return "\n".join(
        f"{record.event.starts_at:%Y-%m-%d %H:%M:%SZ}  {state(record, now):<10}"
        f"  {record.event.event_id}  revision {record.event.revision}"
        f"  {record.event.program_id}  opt {record.decision.opt if record.decision else 'undecided'}"
        for record in records
    )


def in_words(history: EventHistory, now: datetime) -> str:
    """One event as a person reads it: what was asked, what we answered and planned, what happened."""
    record, plan = history.record, history.plan
    event = record.event
    lines = [
        (
            f"{event.event_id} (revision {event.revision}) of {event.program_id} over {event.connection_id}:"
            f" {state(record, now)}"
        ),
        f"  {event.starts_at:%Y-%m-%d %H:%M:%SZ} to "
        + ("further notice" if event.ends_at is None else f"{event.ends_at:%Y-%m-%d %H:%M:%SZ}")
        + (", a test: answered, not acted on" if event.test else ""),
    ]
    for signal in event.signals:
        values = ", ".join(f"{interval.value:g}" for interval in signal.intervals)
        lines.append(f"  signal {signal.name} ({signal.kind}): {values}")
    if record.decision is not None:
        by_operator = record.decision.refusal is Refusal.OPERATOR
        answer = record.decision.detail if by_operator else f"we opted {record.decision.opt} {record.decision.detail}"
        told = "" if is_answer_told(record) else "; the grid has not been told yet"
        lines.append(f"  {answer.rstrip()}{told}")
    if plan is not None:
        lines.append(f"  plan: {plan.reason}")
    lines += [f"  {entry.at:%H:%M:%SZ} {entry.what} {entry.detail}".rstrip() for entry in history.log]
    lines += [
        f"  {command.at:%H:%M:%SZ} {command.kind.replace('_', '-')} asked by {command.by}, not acted on yet"
        for command in history.open_commands
    ]
    return "\n".join(lines)
