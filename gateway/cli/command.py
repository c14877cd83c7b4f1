"""An operator's command: written into the record, and what the running gateway made of it."""

import asyncio
import time
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar
from uuid import uuid4

from gateway.cli.ask import read_record
from gateway.domain.operator import CommandKind, CommandOutcome, OperatorCommand
from gateway.ledger import Ledger, LedgerUnavailable

T = TypeVar("T")

LOOK_S = 0.2
"""How often we ask whether the gateway has acted, and how long we leave a record that is busy alone."""


class NoSuchEvent(Exception):
    """The event that a command is about is not on record, or its name is not unique. Nothing was written."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Given:
    """A command that is on record, and what became of it; ``outcome`` is ``None`` where nobody has acted yet."""

    command: OperatorCommand
    outcome: CommandOutcome | None


def give(
    url: str,
    kind: CommandKind,
    event_id: str,
    *,
    connection_id: str | None,
    by: str,
    reason: str,
    wait_s: float,
    json_wanted: bool,
) -> Given:
    """Write a command into the record and wait up to ``wait_s`` seconds for the gateway to act on it.

    A record that is busy is tried again for as long. Raises ``NoSuchEvent``; ends the command with exit code 1 where
    the record cannot be read or written.
    """
    until_s = time.monotonic() + wait_s

    async def given(ledger: Ledger) -> Given:
        command = OperatorCommand(
            command_id=uuid4().hex,
            at=datetime.now(UTC),
            by=by,
            kind=kind,
            connection_id=await patiently(lambda: _connection_of(ledger, event_id, connection_id), until_s),
            event_id=event_id,
            reason=reason,
        )
        outcome = await recorded(
            lambda: ledger.record_command(command), lambda: ledger.command_outcome(command.command_id), until_s
        )
        return Given(command=command, outcome=outcome)

    return read_record(url, given, json_wanted=json_wanted)


def not_done(given: Given, wait_s: float) -> str | None:
    """Why a command that was waited for is not done, ``None`` where it is, or nobody wanted to wait."""
    outcome = given.outcome
    if outcome is not None:
        return None if outcome.done else f"refused: {outcome.detail}"
    if wait_s == 0:
        return None
    return (
        f"the command is on record and stands, but no gateway has acted on it within {wait_s:g} s: is it running?"
        f" See: gridgate event show {given.command.event_id}"
    )


async def _connection_of(ledger: Ledger, event_id: str, connection_id: str | None) -> str:
    """The connection that the event came over."""
    found = [record.event.connection_id for record in await ledger.events() if record.event.event_id == event_id]
    if connection_id is not None:
        found = [one for one in found if one == connection_id]
    if not found:
        where = "" if connection_id is None else f" over {connection_id!r}"
        raise NoSuchEvent(f"no event {event_id!r} on record{where}; see: gridgate event list")
    if len(found) > 1:
        raise NoSuchEvent(f"event {event_id!r} came over {', '.join(found)}: choose with --connection")
    return found[0]


async def recorded(
    write: Callable[[], Awaitable[None]], look: Callable[[], Awaitable[CommandOutcome | None]], until_s: float
) -> CommandOutcome | None:
    """Write a command, and look what became of it. Raises ``LedgerUnavailable`` where it is not on record."""
    try:
        await patiently(write, until_s)
    except LedgerUnavailable as cause:
        raise LedgerUnavailable(f"the command is not recorded, give it again: {cause}") from cause
    return await _outcome_of(look, until_s)


async def _outcome_of(look: Callable[[], Awaitable[CommandOutcome | None]], until_s: float) -> CommandOutcome | None:
    """What became of a command, looked for until that instant of the monotonic clock."""
    while time.monotonic() < until_s:
        await asyncio.sleep(min(LOOK_S, max(0.0, until_s - time.monotonic())))
        try:
            outcome = await look()
        except LedgerUnavailable:
            continue
        if outcome is not None:
            return outcome
    return None


async def patiently(work: Callable[[], Awaitable[T]], until_s: float) -> T:
    """Do it, again and again while the record is busy, until that instant of the monotonic clock."""
    while True:
        try:
            return await work()
        except LedgerUnavailable:
            if time.monotonic() >= until_s:
                raise
        await asyncio.sleep(LOOK_S)
