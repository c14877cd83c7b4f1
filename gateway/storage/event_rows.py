"""Events and our answers to them, in rows."""

from dataclasses import replace
from datetime import datetime
from typing import Any

from sqlalchemy import ColumnElement, ScalarSelect, Table, and_, func, or_, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from gateway.domain.event import EventRecord
from gateway.domain.evidence import fingerprint
from gateway.domain.operator import CommandKind, OperatorCommand
from gateway.ledger import LogEntry
from gateway.storage import rows, tables
from gateway.storage.documents import Instant
from protocols.grid import EventStatus, GridEvent, Opt, OptDecision

_event = tables.event
_decision = tables.decision


def named(connection_id: str, event_id: str) -> ColumnElement[bool]:
    """The condition for one event."""
    return (_event.c.connection_id == connection_id) & (_event.c.event_id == event_id)


def not_over_before(since: datetime) -> ColumnElement[bool]:
    """The condition for events that had neither ended nor been ended before the instant."""
    return or_(_event.c.over_at.is_(None), _event.c.over_at >= since)


def _earlier(one: datetime | None, other: datetime | None) -> datetime | None:
    known = [at for at in (one, other) if at is not None]
    return min(known) if known else None


async def add_revision(connection: AsyncConnection, event: GridEvent, at: datetime) -> bool:
    """Keep the revision as the event's latest; false where it or a higher one is known."""
    asked = select(_event.c.revision, _event.c.first_received_at, _event.c.ended_at, _event.c.end_cause)
    known = (await connection.execute(asked.where(named(event.connection_id, event.event_id)))).one_or_none()
    if known is not None and known.revision >= event.revision:
        return False
    key = {"connection_id": event.connection_id, "event_id": event.event_id, "revision": event.revision}
    await rows.add(connection, tables.event_revision, {**key, "received_at": at, "document": event})
    # A revision that is not cancelled takes the mark of an early end off.
    still_ended = known is not None and event.status is EventStatus.CANCELLED
    ended_at = known.ended_at if known is not None and still_ended else None
    latest = {
        **key,
        "first_received_at": at if known is None else known.first_received_at,
        "starts_at": event.starts_at,
        "over_at": _earlier(event.ends_at, ended_at),
        "ended_at": ended_at,
        "end_cause": known.end_cause if known is not None and still_ended else "",
    }
    await rows.replace(connection, _event, latest)
    return True


async def mark_ended(connection: AsyncConnection, connection_id: str, event_id: str, at: datetime, cause: str) -> bool:
    """Mark the event as ended early; false where it is marked already or not known."""
    here = named(connection_id, event_id)
    known = (await connection.execute(select(_event.c.over_at, _event.c.ended_at).where(here))).one_or_none()
    if known is None or known.ended_at is not None:
        return False
    mark = {"ended_at": at, "end_cause": cause, "over_at": _earlier(known.over_at, at)}
    await connection.execute(update(_event).where(here).values(mark))
    return True


async def add_decision(connection: AsyncConnection, decision: OptDecision) -> bool:
    """Keep the decision; false where it is known."""
    row = {
        "connection_id": decision.connection_id,
        "event_id": decision.event_id,
        "revision": decision.revision,
        "digest": fingerprint(decision),
        "document": decision,
    }
    return await rows.add(connection, _decision, row)


async def records(connection: AsyncConnection, *conditions: ColumnElement[bool]) -> tuple[EventRecord, ...]:
    """The latest revision of each event that meets the conditions, by start."""
    revision, acknowledgement = tables.event_revision, tables.acknowledgement
    last_decision = (
        select(func.max(_decision.c.id))
        .where(
            _decision.c.connection_id == _event.c.connection_id,
            _decision.c.event_id == _event.c.event_id,
            _decision.c.revision == _event.c.revision,
        )
        .correlate(_event)
        .scalar_subquery()
    )
    command, outcome = tables.operator_command, tables.command_outcome
    asked = (
        select(
            revision.c.document.label("event"),
            _event.c.first_received_at,
            revision.c.received_at,
            _decision.c.document.label("decision"),
            acknowledgement.c.at.label("acknowledged_at"),
            _event.c.ended_at,
            _event.c.end_cause,
            _restated_at().label("restated_at"),
            command.c.document.label("command"),
            outcome.c.at.label("obeyed_at"),
        )
        .select_from(_event)
        .join(revision, _same_revision(revision))
        .outerjoin(acknowledgement, _same_revision(acknowledgement))
        .outerjoin(_decision, _decision.c.id == last_decision)
        .outerjoin(outcome, outcome.c.id == _last_obeyed())
        .outerjoin(command, command.c.command_id == outcome.c.command_id)
        .where(*conditions)
        .order_by(_event.c.starts_at, _event.c.connection_id, _event.c.event_id)
    )
    return tuple(_record(**row) for row in (await connection.execute(asked)).mappings())


def _record(*, command: OperatorCommand | None, obeyed_at: datetime | None, **row: Any) -> EventRecord:
    """``command`` is the last one that was done for the event."""
    record = EventRecord(**row)
    out = record.decision is not None and record.decision.opt is Opt.OUT
    if command is None or command.kind is not CommandKind.OPT_OUT or not out:
        return record
    return replace(record, left_at=obeyed_at)


def _last_obeyed() -> ScalarSelect[int]:
    """The outcome of the last command that was done for the event."""
    command, outcome = tables.operator_command, tables.command_outcome
    return (
        select(func.max(outcome.c.id))
        .join(command, command.c.command_id == outcome.c.command_id)
        .where(
            command.c.connection_id == _event.c.connection_id,
            command.c.event_id == _event.c.event_id,
            outcome.c.done,
        )
        .correlate(_event)
        .scalar_subquery()
    )


def _restated_at() -> ScalarSelect[datetime]:
    """When the grid was last told of an operator's command; the times when it took no notice don't count."""
    command, told = tables.operator_command, tables.command_told
    return (
        select(func.max(told.c.at, type_=Instant))
        .join(command, command.c.command_id == told.c.command_id)
        .where(
            command.c.connection_id == _event.c.connection_id,
            command.c.event_id == _event.c.event_id,
            told.c.detail == "",
        )
        .correlate(_event)
        .scalar_subquery()
    )


def _same_revision(table: Table) -> ColumnElement[bool]:
    return and_(
        table.c.connection_id == _event.c.connection_id,
        table.c.event_id == _event.c.event_id,
        table.c.revision == _event.c.revision,
    )


async def add_log(connection: AsyncConnection, entry: LogEntry) -> bool:
    """Keep the line; false where it is known."""
    return await rows.add(
        connection,
        tables.event_log,
        {
            "connection_id": entry.connection_id,
            "event_id": entry.event_id,
            "at": entry.at,
            "what": entry.what,
            "detail": entry.detail,
            "digest": fingerprint(entry),
        },
    )


async def log(connection: AsyncConnection, connection_id: str, event_id: str) -> tuple[LogEntry, ...]:
    """The event's history, oldest first."""
    line = tables.event_log
    asked = (
        select(line.c.connection_id, line.c.event_id, line.c.at, line.c.what, line.c.detail)
        .where(line.c.connection_id == connection_id, line.c.event_id == event_id)
        .order_by(line.c.at, line.c.id)
    )
    return tuple(LogEntry(**row) for row in (await connection.execute(asked)).mappings())
